"""The fold of orders once more, an event at a time, on protobuf objects and Decimals.

Written before the kernels and kept as their second answer: nothing of theirs is used here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import Any

from muster.types.v1.event_pb2 import Event, Property
from services.ingest.domain.drafts import DraftFault, instant_us

STEPS = {
    "order_created": 0,
    "order_updated": 1,
    "order_completed": 2,
    "order_paid": 2,
    "order_delivered": 3,
    "order_cancelled": 4,
    "order_refunded": 5,
}
STATES = "created", "updated", "paid", "delivered", "cancelled", "refunded"
EXACT = Context(prec=80)
ZERO = Decimal(0)
Line = tuple[str, Decimal]


@dataclass
class Said:
    """One event about an order. total and lines: None where it says nothing of them."""

    occur_us: int
    type: str
    total: Decimal | None = None
    currency: str = ""
    lines: tuple[Line, ...] | None = None
    placed_us: int | None = None


@dataclass
class Count:
    """What an order adds to sums."""

    placed_us: int = 0
    orders: int = 0
    value: Decimal = ZERO
    currency: str = ""
    lines: tuple[Line, ...] = ()
    state: str = ""

    @property
    def is_nothing(self) -> bool:
        return not (self.orders or self.value or self.lines)


@dataclass
class _Folded:
    total: Decimal | None = None
    currency: str = ""
    lines: dict[str, Decimal] = field(default_factory=dict)
    state: str = ""
    refunded: dict[str, Decimal] = field(default_factory=dict)
    refunded_all: bool = False
    returned: dict[str, Decimal] = field(default_factory=dict)


def count_of(said: Iterable[Said]) -> Count:
    """What the order counts for by everything said."""
    in_time = sorted(said, key=lambda one: (one.occur_us, STEPS[one.type]))
    folded = _Folded()
    for one in in_time:
        _fold(folded, one)
    total = folded.total or ZERO
    counting = {"", folded.currency} if folded.currency else set(folded.refunded)
    refunded = sum((folded.refunded.get(one, ZERO) for one in counting), ZERO)
    left = ZERO if folded.refunded_all else max(ZERO, total - refunded)
    void = folded.refunded_all or (refunded > 0 and left == 0)
    placed_us = _placed_us(in_time)
    paid = folded.state in ("paid", "delivered")
    if not paid or void:
        return Count(
            placed_us,
            state="refunded" if void and paid else folded.state,
            currency=folded.currency,
        )
    lines = {p: n - folded.returned.get(p, ZERO) for p, n in folded.lines.items()}
    kept = tuple(sorted((p, n) for p, n in lines.items() if n > 0))
    return Count(placed_us, 1, left, folded.currency, kept, folded.state)


def differences(before: Count, after: Count) -> list[Count]:
    """What to say so that what was said adds up to `after`."""
    if (before.placed_us, before.currency) != (after.placed_us, after.currency):
        nothing = Count(before.placed_us, currency=before.currency)
        changes = [_less(nothing, before), after]
    else:
        changes = [_less(after, before)]
    return [change for change in changes if not change.is_nothing]


def _less(after: Count, before: Count) -> Count:
    lines = dict(after.lines)
    for product, quantity in before.lines:
        lines[product] = lines.get(product, ZERO) - quantity
    return Count(
        after.placed_us,
        after.orders - before.orders,
        after.value - before.value,
        after.currency,
        tuple(sorted((p, n) for p, n in lines.items() if n)),
        after.state,
    )


def _fold(folded: _Folded, one: Said) -> None:
    step = STATES[STEPS[one.type]]
    if step == "refunded":
        if one.total is None and one.lines is None:
            folded.refunded_all = True
        elif one.total is not None:
            known = folded.refunded.get(one.currency, ZERO)
            folded.refunded[one.currency] = known + one.total
        for product, quantity in one.lines or ():
            folded.returned[product] = folded.returned.get(product, ZERO) + quantity
        return
    if step == "cancelled":
        folded.state = step
        return
    if one.total is not None:
        folded.total = one.total
        folded.currency = one.currency or folded.currency
    if one.lines is not None:
        folded.lines = {}
        for product, quantity in one.lines:
            folded.lines[product] = folded.lines.get(product, ZERO) + quantity
    if step != "updated":
        folded.state = step


def _placed_us(in_time: list[Said]) -> int:
    for one in in_time:
        if one.placed_us is not None:
            return one.placed_us
    placing = [one.occur_us for one in in_time if one.type in ("order_created", "order_completed")]
    return placing[0] if placing else in_time[0].occur_us


@dataclass
class Naive:
    """Every order by the text of its id. Rows are (who, occur_us, cause, properties)."""

    orders: dict[str, tuple[list[tuple[str, str]], list[Said]]] = field(default_factory=dict)

    def take(self, event: Event) -> list[tuple[Any, ...]]:
        """The differences that an accepted event makes, lines of one difference together."""
        name = order_id(event)
        if event.type not in STEPS or not name:
            return []
        with localcontext(EXACT):
            who, said = self.orders.setdefault(name, (_who(event), []))
            if len(said) == 200:
                return []
            before = count_of(said) if said else Count()
            said.append(said_in(event))
            return [
                (
                    tuple(who),
                    change.placed_us,
                    event.event_id,
                    name,
                    change.orders,
                    _exact(change.value),
                    change.state,
                    change.currency,
                    tuple((product, _exact(n)) for product, n in change.lines),
                )
                for change in differences(before, count_of(said))
            ]


def order_id(event: Event) -> str:
    """The order an event names; "" without one."""
    for one in event.properties:
        if one.key == "order_id":
            which = one.WhichOneof("value")
            number = _decimal(one) if which == "number" else None
            if number is not None and number == number.to_integral_value():
                return str(int(number))
            named = one.text if which == "text" else str(one.whole) if which == "whole" else ""
            return named if len(named) <= 256 else ""
    return ""


def said_in(event: Event) -> Said:
    """What an event says of its order."""
    total = placed_us = None
    currency = ""
    products: dict[int, str] = {}
    quantities: dict[int, Decimal] = {}
    for one in event.properties:
        if one.key == "total":
            total = _decimal(one)
        elif one.key == "currency":
            currency = one.text if len(one.text) <= 16 else ""
        elif one.key == "placed_time":
            placed_us = _instant(one, event.occur_time_us)
        elif one.key == "lines.product_id" and len(products) < 100:
            products[one.item] = (one.text or str(one.whole))[:128]
        elif one.key == "lines.quantity":
            quantities[one.item] = _decimal(one) or Decimal(1)
    lines: dict[str, Decimal] = {}
    for item, product in products.items():
        lines[product] = lines.get(product, ZERO) + quantities.get(item, Decimal(1))
    return Said(
        event.occur_time_us,
        event.type,
        total,
        currency,
        tuple(sorted(lines.items())) if products else None,
        placed_us,
    )


def _decimal(one: Property) -> Decimal | None:
    which = one.WhichOneof("value")
    try:
        if which == "whole":
            made = Decimal(one.whole)
        elif which == "decimal":
            made = Decimal(one.decimal.units).scaleb(-one.decimal.exponent)
        elif which == "number":
            made = Decimal(repr(one.number))
        else:
            made = Decimal(one.text.strip())
    except ArithmeticError:
        return None
    if not made.is_finite() or abs(made) >= Decimal(10) ** 14:
        return None
    if made and made.adjusted() < -18:
        return None
    units = made.scaleb(18, EXACT)
    return made if units == units.to_integral_value() else None


def _exact(value: Decimal) -> Decimal:
    """Without zeros at its end, and without a negative zero."""
    return EXACT.plus(EXACT.normalize(value))


def _instant(one: Property, occur_us: int) -> int | None:
    if one.WhichOneof("value") == "time_us":
        said_us = one.time_us
    else:
        try:
            said_us = instant_us("placed_time", one.text)
        except DraftFault:
            return None
    return said_us if 0 < said_us <= occur_us else None


def _who(event: Event) -> list[tuple[str, str]]:
    return [(one.kind, one.value) for one in event.identifiers if len(one.value.encode()) <= 1_024]

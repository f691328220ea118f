"""Decides what an order is worth, at the instant it was placed, from all that was said of it.

Semantics 3: an order counts at the instant it was placed, by its state; cancel and refund change
that order whenever they come. So whatever is said of an order, in any order, folds to one `Count`;
when that changes, the difference is said again as of the instant of placing. Sums and windows over
those differences are then right without knowing orders at all: what counted in a window is taken
back in the same window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

CREATED, UPDATED, PAID, DELIVERED = "created", "updated", "paid", "delivered"
CANCELLED, REFUNDED = "cancelled", "refunded"
STEPS = {
    "order_created": CREATED,
    "order_updated": UPDATED,
    "order_completed": PAID,
    "order_paid": PAID,
    "order_delivered": DELIVERED,
    "order_cancelled": CANCELLED,
    "order_refunded": REFUNDED,
}
"""Event types that say something of an order, when they name one (`order_id`)."""
_PLACE = {
    step: place
    for place, step in enumerate((CREATED, UPDATED, PAID, DELIVERED, CANCELLED, REFUNDED))
}
PLACING = frozenset({"order_created", "order_completed"})
COUNTING = frozenset({PAID, DELIVERED})
SAID_MAX = 200
"""Events remembered of one order; what is said of it afterwards changes nothing."""

Lines = dict[str, Decimal]
"""Quantities by product."""
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Said:
    """One event about an order. total and lines: None where it says nothing of them."""

    occur_us: int
    type: str
    total: Decimal | None = None
    currency: str = ""
    lines: tuple[tuple[str, Decimal], ...] | None = None
    placed_us: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """What an order adds to sums. orders: 1 or 0; value in currency; lines: quantity by product."""

    placed_us: int = 0
    orders: int = 0
    value: Decimal = ZERO
    currency: str = ""
    lines: tuple[tuple[str, Decimal], ...] = ()
    state: str = ""

    @property
    def is_nothing(self) -> bool:
        return not (self.orders or self.value or self.lines)


@dataclass(slots=True)
class _Folded:
    total: Decimal | None = None
    currency: str = ""
    lines: Lines = field(default_factory=dict)
    state: str = ""
    refunded: dict[str, Decimal] = field(default_factory=dict)
    """By currency: which one is the order's is known when all was read."""
    refunded_all: bool = False
    returned: Lines = field(default_factory=dict)


def count_of(said: Iterable[Said]) -> Count:
    """What the order counts for by everything said: by time; within an instant as orders go, and
    what says the same step as it came."""
    in_time = sorted(said, key=lambda one: (one.occur_us, _PLACE[STEPS[one.type]]))
    folded = _Folded()
    for one in in_time:
        _fold(folded, one)
    placed_us = _placed_us(in_time)
    total = folded.total or ZERO
    counting = {"", folded.currency} if folded.currency else folded.refunded.keys()
    refunded = sum((folded.refunded.get(one, ZERO) for one in counting), ZERO)
    left = ZERO if folded.refunded_all else max(ZERO, total - refunded)
    void = folded.refunded_all or (refunded > 0 and left == 0)
    if folded.state not in COUNTING or void:
        state = REFUNDED if void and folded.state in COUNTING else folded.state
        return Count(placed_us, state=state, currency=folded.currency)
    lines = {
        product: quantity - folded.returned.get(product, ZERO)
        for product, quantity in folded.lines.items()
    }
    kept = tuple(sorted((product, n) for product, n in lines.items() if n > 0))
    return Count(placed_us, 1, left, folded.currency, kept, folded.state)


def differences(before: Count, after: Count) -> list[Count]:
    """What to say so that what was said adds up to `after`; nothing when it does already.

    Each is a difference as of its placed_us; two when the instant or the currency changed.
    """
    if (before.placed_us, before.currency) != (after.placed_us, after.currency):
        changes = [_less(Count(before.placed_us, currency=before.currency), before), after]
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
        tuple(sorted((product, n) for product, n in lines.items() if n)),
        after.state,
    )


def _fold(folded: _Folded, one: Said) -> None:
    step = STEPS[one.type]
    if step == REFUNDED:
        if one.total is None and one.lines is None:
            folded.refunded_all = True
        elif one.total is not None:
            known = folded.refunded.get(one.currency, ZERO)
            folded.refunded[one.currency] = known + one.total
        for product, quantity in one.lines or ():
            folded.returned[product] = folded.returned.get(product, ZERO) + quantity
        return
    if step == CANCELLED:
        folded.state = CANCELLED
        return
    if one.total is not None:
        folded.total = one.total
        folded.currency = one.currency or folded.currency
    if one.lines is not None:
        folded.lines = {}
        for product, quantity in one.lines:
            folded.lines[product] = folded.lines.get(product, ZERO) + quantity
    if step != UPDATED:
        folded.state = step


def _placed_us(in_time: list[Said]) -> int:
    """What an event says of it; else the first that places an order; else the first at all."""
    for one in in_time:
        if one.placed_us is not None:
            return one.placed_us
    placing = [one.occur_us for one in in_time if one.type in PLACING]
    return placing[0] if placing else in_time[0].occur_us

"""Remembers orders, and says what changes when something more is said of one.

An order is kept as a line of JSON and unpacked only when it is spoken of: orders are few among
events. Lines lie in buckets, so that a snapshot joins only what changed. Nothing is forgotten to
make room: at the named maximum further orders are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from muster.types.v1.event_pb2 import Event, Property
from services.chassis.identifiers import VALUE_BYTES_MAX
from services.ingest.domain.drafts import Draft, DraftFault, instant_us, value_of
from services.ingest.domain.orders import SAID_MAX, STEPS, Count, Said, count_of, differences
from services.ingest.domain.registry import DERIVED_TYPE

BUCKETS = 256
ORDER_ID_MAX = 256
CURRENCY_MAX = 16
WHOLE_DIGITS_MAX = 18
FRACTION_DIGITS_MAX = 9
LINES_MAX = 100
PRODUCT_MAX = 128
"""Digits, products and letters of an order that count; what goes beyond is left out, so that a
difference always fits an event."""
_PREFIX = "orders"
_ONE = Decimal(1)


@dataclass(slots=True)
class Order:
    """One order: who it is of, what was said, how many differences were said of it so far."""

    identifiers: list[tuple[str, str]]
    said: list[Said] = field(default_factory=list)
    told: int = 0


class OrderBook:
    """The orders of one tenant. orders_max: how many are remembered."""

    def __init__(self, orders_max: int) -> None:
        self._orders_max = orders_max
        self._buckets: list[dict[bytes, bytes]] = [{} for _ in range(BUCKETS)]
        self._joined: dict[int, bytes] = {}
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Further orders are refused."""
        return self.count >= self._orders_max

    def has_room(self, event: Event) -> bool:
        """Whether an event about an order can be remembered though no further orders can."""
        key = _key_of(event)
        return not key or key in self._buckets[key[0]]

    def take(self, event: Event, time_us: int) -> list[Draft]:
        """What an accepted event changes: differences as drafts of DERIVED_TYPE."""
        key = _key_of(event)
        if not key:
            return []
        bucket = self._buckets[key[0]]
        held = bucket.get(key)
        if held is None:
            order = Order(_who(event))
            self.count += 1
        else:
            order = _unpacked(held)
        if len(order.said) == SAID_MAX:
            return []
        before = count_of(order.said) if order.said else Count()
        order.said.append(_said_in(event))
        changes = differences(before, count_of(order.said))
        drafts = []
        for change in changes:
            order.told += 1
            drafts.append(_draft(key, order, change, event, time_us))
        bucket[key] = _packed(order)
        self._joined.pop(key[0], None)
        return drafts

    def dump(self) -> dict[str, bytes]:
        """A buffer per bucket that holds orders."""
        for number, bucket in enumerate(self._buckets):
            if bucket and number not in self._joined:
                lines = (
                    key + len(line).to_bytes(4, "little") + line for key, line in bucket.items()
                )
                self._joined[number] = b"".join(lines)
        return {f"{_PREFIX}.{number}": body for number, body in sorted(self._joined.items())}

    def load(self, state: Mapping[str, memoryview]) -> None:
        """Takes over what `dump` gave; other buffers are none of it."""
        self._buckets = [{} for _ in range(BUCKETS)]
        self._joined = {}
        for name, buffer in state.items():
            what, _, number = name.partition(".")
            if what != _PREFIX:
                continue
            body = bytes(buffer)
            at = 0
            while at < len(body):
                size = int.from_bytes(body[at + 16 : at + 20], "little")
                self._buckets[int(number)][body[at : at + 16]] = body[at + 20 : at + 20 + size]
                at += 20 + size
        self.count = sum(map(len, self._buckets))


def is_ours(name: str) -> bool:
    """Whether a buffer of a snapshot is one of an order book."""
    return name.partition(".")[0] == _PREFIX


def _key_of(event: Event) -> bytes:
    """16 bytes that stand for the order; b"" when the event names none."""
    for one in event.properties:
        if one.key == "order_id":
            which = one.WhichOneof("value")
            named = one.text if which == "text" else str(one.whole) if which == "whole" else ""
            if not 0 < len(named) <= ORDER_ID_MAX:
                return b""
            return hashlib.blake2b(named.encode(), digest_size=16).digest()
    return b""


def _said_in(event: Event) -> Said:
    total = currency = placed_us = None
    products: dict[int, str] = {}
    quantities: dict[int, Decimal] = {}
    for one in event.properties:
        if one.key == "total":
            total = _decimal(one)
        elif one.key == "currency":
            currency = one.text if len(one.text) <= CURRENCY_MAX else ""
        elif one.key == "placed_time":
            placed_us = _instant(one, event.occur_time_us)
        elif one.key == "lines.product_id" and len(products) < LINES_MAX:
            products[one.item] = (one.text or str(one.whole))[:PRODUCT_MAX]
        elif one.key == "lines.quantity":
            quantities[one.item] = _decimal(one) or _ONE
    lines: dict[str, Decimal] = {}
    for item, product in products.items():
        lines[product] = lines.get(product, Decimal(0)) + quantities.get(item, _ONE)
    return Said(
        event.occur_time_us,
        event.type,
        total,
        currency or "",
        tuple(sorted(lines.items())) if products else None,
        placed_us,
    )


def _decimal(one: Property) -> Decimal | None:
    which = one.WhichOneof("value")
    if which == "whole":
        return Decimal(one.whole)
    if which == "decimal":
        sign, digits = int(one.decimal.units < 0), str(abs(one.decimal.units))
        return Decimal((sign, tuple(map(int, digits)), -one.decimal.exponent))
    try:
        made = Decimal(repr(one.number) if which == "number" else one.text.strip())
    except ArithmeticError:
        return None
    return _bounded(made)


def _bounded(made: Decimal) -> Decimal | None:
    """The number, when sums of it are exact in Decimal's 28 digits."""
    if not made.is_finite() or made.adjusted() >= WHOLE_DIGITS_MAX:
        return None
    exponent = made.as_tuple().exponent
    assert isinstance(exponent, int)
    return made if exponent >= -FRACTION_DIGITS_MAX else None


def _instant(one: Property, occur_us: int) -> int | None:
    """When the order was placed; None when that is not before what is said of it."""
    if one.WhichOneof("value") == "time_us":
        said_us = one.time_us
    else:
        try:
            said_us = instant_us("placed_time", one.text)
        except DraftFault:
            return None
    return said_us if 0 < said_us <= occur_us else None


def _who(event: Event) -> list[tuple[str, str]]:
    """The identifiers that can name somebody: longer values never do."""
    return [
        (one.kind, one.value)
        for one in event.identifiers
        if len(one.value.encode()) <= VALUE_BYTES_MAX
    ]


def _draft(key: bytes, order: Order, change: Count, cause: Event, time_us: int) -> Draft:
    draft = Draft(
        f"order-{key.hex()}-{order.told}",
        DERIVED_TYPE,
        change.placed_us,
        time_us,
        identifiers=list(order.identifiers),
    )
    named = next(one for one in cause.properties if one.key == "order_id")
    draft.properties = [
        ("order_id", 0, named.text or str(named.whole)),
        ("orders", 0, change.orders),
        ("value", 0, value_of("value", change.value)),
        ("state", 0, change.state),
        ("cause", 0, cause.event_id),
    ]
    if change.currency:
        draft.properties.append(("currency", 0, change.currency))
    for item, (product, quantity) in enumerate(change.lines):
        draft.properties.append(("lines.product_id", item, product))
        draft.properties.append(("lines.quantity", item, value_of("lines.quantity", quantity)))
    return draft


def _packed(order: Order) -> bytes:
    said = [
        [
            one.occur_us,
            one.type,
            None if one.total is None else str(one.total),
            one.currency,
            None if one.lines is None else [[p, str(n)] for p, n in one.lines],
            one.placed_us,
        ]
        for one in order.said
    ]
    tree = [order.identifiers, order.told, said]
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


def _unpacked(line: bytes) -> Order:
    identifiers, told, said = json.loads(line)
    return Order(
        [(kind, value) for kind, value in identifiers], [_unsaid(one) for one in said], told
    )


def _unsaid(one: list[Any]) -> Said:
    occur_us, kind, total, currency, lines, placed_us = one
    return Said(
        occur_us,
        kind,
        None if total is None else Decimal(total),
        currency,
        None if lines is None else tuple((product, Decimal(n)) for product, n in lines),
        placed_us,
    )


def order_types(types: list[str]) -> list[int]:
    """Numbers of the event types that say something of an order."""
    return [number for number, name in enumerate(types) if name in STEPS]

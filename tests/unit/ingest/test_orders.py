"""Orders: whatever is said, in any order of arrival, sums hold what counts where it was placed."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from muster.ingest.v1.facts_pb2 import ReceiptBatch
from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis.core import Message
from services.ingest.core import EVENTS, RECEIPTS, IngestCore
from services.ingest.settings import IngestSettings
from tests.integration.test_ingest_http import rows_of
from tests.support.orders import STEPS, Count, Said, count_of, differences

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
NOW = 1_790_000_000 * SECOND


def said(kind: str, hours: int, total: str | None = None, **rest: Any) -> Said:
    value = None if total is None else Decimal(total)
    return Said(NOW + hours * HOUR, f"order_{kind}", value, "EUR" if total else "", **rest)


def test_an_order_counts_from_payment_at_the_instant_it_was_placed() -> None:
    placed = [said("created", 0, "100")]
    assert count_of(placed).is_nothing
    paid = [*placed, said("paid", 48)]
    assert count_of(paid) == Count(NOW, 1, Decimal(100), "EUR", (), "paid")
    assert count_of([*paid, said("delivered", 50)]).state == "delivered"
    assert count_of([*paid, said("cancelled", 60)]).is_nothing
    part = count_of([*paid, said("refunded", 60, "30")])
    assert (part.orders, part.value, part.placed_us) == (1, Decimal(70), NOW)
    assert count_of([*paid, said("refunded", 60, "30"), said("refunded", 61, "70")]).is_nothing
    assert count_of([*paid, said("refunded", 60)]).is_nothing
    assert count_of([*paid, said("refunded", 60)]).state == "refunded"
    assert count_of([said("completed", 0, "5")]).value == Decimal(5)
    assert count_of([*paid, said("updated", 49, "80")]).value == Decimal(80)


def test_lines_come_and_go_with_their_order() -> None:
    two = (("p1", Decimal(2)), ("p2", Decimal(1)))
    paid = [said("completed", 0, "100", lines=two)]
    assert count_of(paid).lines == two
    back = count_of([*paid, said("refunded", 1, "10", lines=(("p1", Decimal(1)),))])
    assert back.lines == (("p1", Decimal(1)), ("p2", Decimal(1)))
    assert differences(count_of(paid), back) == [
        Count(NOW, 0, Decimal(-10), "EUR", (("p1", Decimal(-1)),), "paid")
    ]


def test_an_earlier_instant_learned_late_moves_the_whole_count() -> None:
    before = count_of([said("paid", 5, "9")])
    after = count_of([said("paid", 5, "9"), said("created", 0, "9")])
    there, here = differences(before, after)
    assert (there.placed_us, there.orders, there.value) == (NOW + 5 * HOUR, -1, Decimal(-9))
    assert (here.placed_us, here.orders, here.value) == (NOW, 1, Decimal(9))
    assert differences(after, after) == []


def event_of(number: int, order: int, one: Said) -> Event:
    made = Event(
        event_id=f"e{number}", type=one.type, occur_time_us=one.occur_us, send_time_us=NOW + 9 * DAY
    )
    made.identifiers.add(kind="user_id", value=f"u{order}")
    made.properties.add(key="order_id", text=f"o{order}")
    if one.total is not None:
        made.properties.add(key="total", text=str(one.total))
        made.properties.add(key="currency", text=one.currency)
    for item, (product, quantity) in enumerate(one.lines or ()):
        made.properties.add(key="lines.product_id", item=item, text=product)
        made.properties.add(key="lines.quantity", item=item, whole=int(quantity))
    return made


def random_said(chance: random.Random) -> Said:
    kind = chance.choice(sorted(STEPS))
    total = None
    if kind not in ("order_delivered", "order_cancelled") and chance.random() < 0.8:
        total = Decimal(chance.randrange(1, 20_000)).scaleb(-2)
    lines = None
    if chance.random() < 0.4:
        lines = tuple(
            (f"p{n}", Decimal(chance.randrange(1, 4))) for n in range(chance.randrange(3))
        )
        lines = lines or None
    occur_us = NOW + chance.randrange(0, 48) * HOUR
    return Said(occur_us, kind, total, "EUR" if total is not None else "", lines)


def messages_of(events: list[Event], chance: random.Random) -> list[list[Message]]:
    """The events in batches, batches in cuts."""
    cuts: list[list[Message]] = []
    sequence = 0
    while events:
        size = chance.randrange(1, 8)
        batch, events = events[:size], events[size:]
        sequence += 1
        body = EventBatch(events=batch).SerializeToString()
        message = Message(0, "muster.intake.v1.demo.shop", sequence, NOW + 9 * DAY, body)
        if cuts and chance.random() < 0.5:
            cuts[-1].append(message)
        else:
            cuts.append([message])
    return cuts


def derived(bodies: list[bytes]) -> list[dict[str, Any]]:
    rows = [row for body in bodies for row in rows_of(EventColumns.FromString(body))]
    return [row for row in rows if row["type"] == "purchase_counted"]


def summed(rows: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """(orders, value, quantities) per order and instant; zeroes left out."""
    sums: dict[tuple[str, int], list[Any]] = defaultdict(lambda: [0, Decimal(0), defaultdict(int)])
    for row in rows:
        sum_ = sums[row["said"]["order_id"][0], row["occur_us"]]
        sum_[0] += row["said"]["orders"][0]
        sum_[1] += Decimal(str(row["said"]["value"][0]).replace("e-", "E-"))
        lines = zip(
            row["said"].get("lines.product_id", []),
            row["said"].get("lines.quantity", []),
            strict=True,
        )
        for product, quantity in lines:
            sum_[2][product] += quantity
        assert row["flags"] & 4
        assert row["who"] == {"user_id": "u" + row["said"]["order_id"][0][1:]}
    found = {
        key: (orders, value, {p: n for p, n in lines.items() if n})
        for key, (orders, value, lines) in sums.items()
    }
    return {key: value for key, value in found.items() if value != (0, Decimal(0), {})}


@pytest.mark.parametrize("seed", range(30))
def test_any_arrival_sums_to_what_the_orders_are(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    stories = {n: [random_said(chance) for _ in range(chance.randrange(1, 7))] for n in range(12)}
    # Distinct instants: within one, arrival decides.
    stories = {
        n: [
            Said(
                one.occur_us + place,
                *[getattr(one, f) for f in ("type", "total", "currency", "lines", "placed_us")],
            )
            for place, one in enumerate(story)
        ]
        for n, story in stories.items()
    }
    pairs = [(n, one) for n, story in stories.items() for one in story]
    chance.shuffle(pairs)
    events = [event_of(place, n, one) for place, (n, one) in enumerate(pairs)]
    events += chance.sample(events, 5)  # repeats change nothing
    core = IngestCore(IngestSettings())
    bodies: list[bytes] = []
    for cut in messages_of(events, chance):
        facts = core.step(cut, NOW + 9 * DAY)
        bodies += facts.bodies.get(EVENTS, [])
        if chance.random() < 0.2:
            again = IngestCore(IngestSettings())
            again.load({name: memoryview(bytes(b)) for name, b in core.dump().items()})
            core = again
    wanted = {f"o{n}": naive(story) for n, story in stories.items()}
    found = {order: (at_us, *sums) for (order, at_us), sums in summed(derived(bodies)).items()}
    assert found == {order: count for order, count in wanted.items() if count}
    assert len(found) == len(summed(derived(bodies)))
    assert core.orders == 12


def naive(story: list[Said]) -> tuple[Any, ...] | None:
    """(placed, 1, value, quantities) of an order that counts; from the words of semantics 3."""
    story = sorted(story, key=lambda one: one.occur_us)
    state, total, back, whole = None, Decimal(0), Decimal(0), False
    lines: dict[str, int] = {}
    returned: dict[str, int] = defaultdict(int)
    for one in story:
        quantities = {product: int(quantity) for product, quantity in one.lines or ()}
        if one.type == "order_refunded":
            back += one.total or 0
            whole = whole or (one.total is None and one.lines is None)
            for product, quantity in quantities.items():
                returned[product] += quantity
        elif one.type == "order_cancelled":
            state = "cancelled"
        else:
            state = state if one.type == "order_updated" else one.type
            total = total if one.total is None else one.total
            lines = lines if one.lines is None else quantities
    if whole or (back and back >= total) or state not in COUNTED:
        return None
    placed = [one for one in story if one.type in ("order_created", "order_completed")] or story
    kept = {p: n - returned[p] for p, n in lines.items() if n > returned[p]}
    return placed[0].occur_us, 1, total - back, kept


COUNTED = ("order_paid", "order_completed", "order_delivered")


def test_nobody_else_says_what_counts_and_a_full_book_refuses() -> None:
    core = IngestCore(IngestSettings(orders_max=1))
    forged = event_of(0, 1, said("paid", 0, "5"))
    forged.type = "purchase_counted"
    first, second = event_of(1, 1, said("paid", 0, "5")), event_of(2, 2, said("paid", 0, "5"))
    more = event_of(3, 1, said("refunded", 1))
    facts = [
        core.step(
            [
                Message(
                    0,
                    "muster.intake.v1.demo.shop",
                    n,
                    NOW + 9 * DAY,
                    EventBatch(events=[event]).SerializeToString(),
                )
            ],
            NOW + 9 * DAY,
        )
        for n, event in enumerate([forged, first, second, more], 1)
    ]
    codes = [
        receipt.exceptions[0].code
        for one in facts
        for body in one.bodies.get(RECEIPTS, [])
        for receipt in ReceiptBatch.FromString(body).receipts
    ]
    assert codes == ["reserved_type", "orders_full"]
    bodies = [body for one in facts for body in one.bodies.get(EVENTS, [])]
    assert [row["said"]["orders"][0] for row in derived(bodies)] == [1, -1]


def test_hostile_orders_always_fit_an_event() -> None:
    core = IngestCore(IngestSettings())
    event = event_of(0, 1, said("paid", 0, "5"))
    event.event_id = "e" * 128
    del event.properties[:]
    event.properties.add(key="order_id", text="o" * 256)
    event.properties.add(key="total", text="0." + "1" * 4_000)
    event.properties.add(key="currency", text="x" * 4_000)
    event.properties.add(key="placed_time", text="9999-01-01T00:00:00Z")
    for item in range(120):
        event.properties.add(key="lines.product_id", item=item, text=f"{item:03}" + "é" * 60)
    message = Message(
        0,
        "muster.intake.v1.demo.shop",
        1,
        NOW + 9 * DAY,
        EventBatch(events=[event]).SerializeToString(),
    )
    rows = derived(core.step([message], NOW + 9 * DAY).bodies[EVENTS])
    assert [row["said"]["orders"] for row in rows] == [[1], [0], [0]]
    assert sum(len(row["said"]["lines.product_id"]) for row in rows) == 100

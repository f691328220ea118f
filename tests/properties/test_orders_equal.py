"""Orders on columns against orders one by one: every difference, its cause, its lines, exactly.

Events of every type in any order of arrival, with amounts as people and machines write them,
products that no line should have, the same instants, more than an order remembers; in random cuts,
and through snapshots.
"""

from __future__ import annotations

import os
import random
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis.appended import AppendedFiles
from services.chassis.core import Appended, Message
from services.ingest.adapters import order_book
from services.ingest.adapters.order_tables import TOLD_PER_ROW_MAX
from services.ingest.adapters.order_wire import ROW_BYTES_MAX
from services.ingest.core import EVENTS, IngestCore
from services.ingest.settings import IngestSettings
from tests.integration.test_ingest_http import rows_of
from tests.support.orders import EXACT, STEPS, Naive

SECOND = 1_000_000
HOUR = 3_600 * SECOND
NOW = 1_790_000_000 * SECOND
FIRST = int(os.environ.get("MUSTER_SEED", "20261122"))
TYPES = (*STEPS, *(name for name in STEPS if name[6:] not in ("refunded", "cancelled")), "seen")
NUMBERS = (
    "5", "0", "-3.25", "+7.50", "0.1", "1e3", " 12 ", "12,50", "NaN", "Infinity", "", "abc",
    "1_000", ".5", "5.", "99999999999999", "99999999999999.999999999999999999", "100000000000000",
    "0.000000000000000001", "0.0000000000000000001", "1.500000000000000000000000", "٣", "-0",
    "-0.5", "000000000000000000000012", "1e-18", "1e-19", "1.2.3", "--1",
)  # fmt: skip
PRODUCTS = ("p1", "p2", "a", "", "é" * 200, "p1 ", "zz", "P1", "10")
TIMES = ("2026-09-20T10:00:00Z", "2026-09-20", "yesterday", "9999-01-01T00:00:00Z", "")


def amount_into(one: Any, chance: random.Random) -> None:
    match chance.randrange(7):
        case 0:
            one.text = chance.choice(NUMBERS)
        case 1:
            one.whole = chance.choice(
                (0, 1, -2, 10**14 - 1, 10**14, -(10**14), 2**63 - 1, -(2**63))
            )
        case 2:
            one.decimal.units = chance.choice((1999, -5, 0, 10**18, -(2**63), 2**63 - 1))
            one.decimal.exponent = chance.choice((0, 2, 4, 5, 9, 18))
        case 3:
            one.number = chance.choice((0.1, 0.1 + 0.2, -7.25, 1e13, 1e14, 5e-19, 3.0, 1e300))
        case 4:
            one.flag = True
        case _:
            one.decimal.units = chance.randrange(1, 9_999)
            one.decimal.exponent = 2


def event(number: int, chance: random.Random, orders: int) -> Event:
    made = Event(
        event_id=f"e{number}",
        type=chance.choice(TYPES),
        occur_time_us=NOW + chance.randrange(6) * HOUR,
        send_time_us=NOW,
    )
    for _ in range(chance.randint(1, 3)):
        made.identifiers.add(kind="user_id", value=f"u{chance.randrange(9)}")
    order = chance.randrange(orders)
    if chance.random() < 0.97:
        made.properties.add(key="order_id", text=f"o{order}")
    elif chance.random() < 0.5:
        made.properties.add(key="order_id", whole=-order)
    else:
        made.properties.add(key="order_id", flag=True)
    if chance.random() < (0.98 if made.type == "order_refunded" else 0.7):
        amount_into(made.properties.add(key="total"), chance)
    if chance.random() < 0.5:
        currency = chance.choice(("EUR", "EUR", "USD", "", "x" * 17, "€" * 16))
        made.properties.add(key="currency", text=currency)
    if chance.random() < 0.2:
        one = made.properties.add(key="placed_time")
        if chance.random() < 0.5:
            one.time_us = NOW + chance.randrange(-2, 9) * HOUR
        else:
            one.text = chance.choice(TIMES)
    for item in range(chance.choice((0, 0, 1, 2, 5))):
        item = chance.choice((item, item, 0))
        one = made.properties.add(key="lines.product_id", item=item)
        if chance.random() < 0.9:
            one.text = chance.choice(PRODUCTS)
        else:
            one.whole = chance.choice((10, 7, -1))
        if chance.random() < 0.7:
            amount_into(made.properties.add(key="lines.quantity", item=item), chance)
    if chance.random() < 0.1:
        made.properties.add(key="order_id", text="another")
    properties = list(made.properties)
    if chance.random() < 0.3:
        chance.shuffle(properties)
        del made.properties[:]
        made.properties.extend(properties)
    return made


def told(bodies: list[bytes]) -> list[tuple[Any, ...]]:
    """The differences said, as `Naive` has them; those of one turn put together again."""
    rows = []
    for body in bodies:
        for row in rows_of(EventColumns.FromString(body)):
            if row["type"] != "purchase_counted":
                continue
            said = {key: [exact(key, value) for value in row["said"][key]] for key in row["said"]}
            lines = zip(
                said.get("lines.product_id", ()), said.get("lines.quantity", ()), strict=True
            )
            rows.append(
                (
                    row["id"],
                    (
                        row["occur_us"],
                        said["cause"][0],
                        said["order_id"][0],
                        said["orders"][0],
                        said["value"][0],
                        said["state"][0],
                        said.get("currency", [""])[0],
                        tuple(lines),
                    ),
                )
            )
    assert len({name for name, _ in rows}) == len(rows), "an id was used twice"
    return [row for _, row in rows]


def exact(key: str, value: Any) -> Any:
    if key in ("value", "lines.quantity"):
        return EXACT.plus(EXACT.normalize(Decimal(str(value).replace("e-", "E-"))))
    return value


def cuts_of(events: list[Event], chance: random.Random) -> list[list[Message]]:
    cuts: list[list[Message]] = []
    sequence = 0
    while events:
        size = chance.randrange(1, 40)
        batch, events = events[:size], events[size:]
        sequence += 1
        body = EventBatch(events=batch).SerializeToString()
        message = Message(0, "muster.intake.v1.demo.shop", sequence, NOW + 9 * HOUR, body)
        if cuts and chance.random() < 0.5:
            cuts[-1].append(message)
        else:
            cuts.append([message])
    return cuts


def through_a_snapshot(core: IngestCore, files: AppendedFiles, step: int) -> IngestCore:
    """What a snapshot keeps of a core, loaded into another."""
    dumped = core.dump()
    columns = {name: one for name, one in dumped.items() if isinstance(one, Appended)}
    kept, _ = files.write(step, columns)
    state = {n: memoryview(bytes(b)) for n, b in dumped.items() if n not in columns}
    mapped = AppendedFiles(files.folder).map(kept)
    assert mapped is not None
    again = IngestCore(IngestSettings())
    again.load({**state, **mapped})
    return again


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 12))
def test_columns_say_what_one_by_one_says(seed: int, tmp_path: Path) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    orders = chance.choice((40, 150, 300))
    events = [event(number, chance, orders) for number in range(600)]
    naive, core = Naive(), IngestCore(IngestSettings())
    wanted = [row[1:] for one in events for row in naive.take(one)]
    files = AppendedFiles(tmp_path)
    bodies: list[bytes] = []
    for step, cut in enumerate(cuts_of(events, chance)):
        bodies += core.step(cut, NOW + 9 * HOUR).bodies.get(EVENTS, [])
        if chance.random() < 0.2:
            core = through_a_snapshot(core, files, step)
    found = told(bodies)
    assert found == wanted
    assert core.orders == len(naive.orders)
    assert len(wanted) > 70, "nothing was compared"


def test_differences_that_fill_their_room_are_said_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What one call of the kernel has no room for, the next one says: the same bytes."""
    chance = random.Random(FIRST)
    cuts = cuts_of([event(number, chance, 60) for number in range(600)], chance)

    def said() -> list[bytes]:
        core = IngestCore(IngestSettings())
        return [b for cut in cuts for b in core.step(cut, NOW + 9 * HOUR).bodies.get(EVENTS, [])]

    at_once = said()
    monkeypatch.setattr(order_book, "_OUT_BYTES", ROW_BYTES_MAX + 1_000)
    in_turns = said()
    monkeypatch.setattr(order_book, "_OUT_BYTES", 2 * ROW_BYTES_MAX)
    monkeypatch.setattr(order_book, "_TOLD_MAX", TOLD_PER_ROW_MAX + 2)
    assert at_once == in_turns == said()


def test_a_difference_with_many_lines_comes_in_several_events() -> None:
    """200 products of 512 bytes: once they made a worker stop, as no event holds them."""
    core, naive = IngestCore(IngestSettings()), Naive()
    events = []
    for number, letter in enumerate("xy"):
        made = Event(event_id=f"e{number}", type="order_completed", occur_time_us=NOW + number)
        made.send_time_us = NOW
        for k in range(20):
            made.identifiers.add(kind="user_id", value=f"{k}" + "u" * 500)
        made.properties.add(key="order_id", text="ö" * 256)
        made.properties.add(key="total", whole=5)
        made.properties.add(key="placed_time", time_us=NOW)
        for item in range(100):
            text = f"{item:03}{letter}" + "€" * 50
            made.properties.add(key="lines.product_id", item=item, text=text)
        events.append(made)
    wanted = [row[1:] for one in events for row in naive.take(one)]
    bodies = [
        body
        for number, one in enumerate(events, 1)
        for body in core.step(
            [
                Message(
                    0,
                    "muster.intake.v1.demo.shop",
                    number,
                    NOW + HOUR,
                    EventBatch(events=[one]).SerializeToString(),
                )
            ],
            NOW + HOUR,
        ).bodies[EVENTS]
    ]
    found = told(bodies)
    assert len(found) > len(wanted) == 2
    by_cause = {}
    for cause, rows in groupby(found, key=lambda row: row[1]):
        parts = list(rows)
        assert all(part[3] == 0 and part[4] == 0 for part in parts[1:])
        by_cause[cause] = (*parts[0][:-1], tuple(line for part in parts for line in part[-1]))
    assert list(by_cause.values()) == wanted


def test_an_order_remembers_no_more_than_it_may() -> None:
    events = []
    for number in range(230):
        made = Event(event_id=f"e{number}", type="order_paid", occur_time_us=NOW, send_time_us=NOW)
        made.identifiers.add(kind="user_id", value="u1")
        made.properties.add(key="order_id", text="o1")
        made.properties.add(key="total", whole=number + 1)
        events.append(made)
    core, naive = IngestCore(IngestSettings()), Naive()
    wanted = [row[1:] for one in events for row in naive.take(one)]
    message = Message(0, "muster.intake.v1.demo.shop", 1, NOW + HOUR, b"")
    message = Message(
        0, message.subject, 1, NOW + HOUR, EventBatch(events=events).SerializeToString()
    )
    assert told(core.step([message], NOW + HOUR).bodies[EVENTS]) == wanted
    assert len(wanted) == 200

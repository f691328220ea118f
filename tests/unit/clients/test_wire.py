"""The client's own protobuf against generated code, and its buffer."""

from __future__ import annotations

import datetime as dt
import math
import random
from decimal import Decimal
from typing import Any

import pytest

from cli.events import event_of
from muster.ingest.v1.facts_pb2 import ReceiptBatch, Verdict
from muster.ingest.v1.service_pb2 import SubmitEventsRequest, SubmitEventsResponse
from muster.types.v1.event_pb2 import Event, EventBatch
from muster_client import events
from muster_client.buffer import Buffer, Held
from muster_client.wire import batch_bytes, event_bytes, exceptions_of, items_of, request_bytes

NAIVE = dt.datetime.fromisoformat("2026-01-01T00:00:00")
ZONE = dt.timezone(dt.timedelta(hours=2))


def random_tree(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for number in range(chance.randrange(6)):
        kind = chance.randrange(8 if depth < 2 else 5)
        value: Any = chance.choice(["", "é", "x" * 200])
        if kind == 1:
            value = chance.choice([0, -1, 2**63 - 1, -(2**63), chance.randrange(10**9)])
        elif kind == 2:
            value = Decimal(chance.randrange(-(10**12), 10**12)).scaleb(-chance.randrange(0, 12))
        elif kind == 3:
            value = chance.random() < 0.5
        elif kind == 4:
            value = None
        elif kind == 5:
            value = random_tree(chance, depth + 1)
        elif kind == 6:
            value = [random_tree(chance, depth + 1) for _ in range(2)]
        elif kind == 7:
            value = [1, "b", True]
        tree[f"k{number}"] = value
    return tree


@pytest.mark.parametrize("seed", range(40))
def test_events_are_what_generated_code_would_write(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    tree = random_tree(chance)
    made = events.event(
        "type", user_id="ada", email="a@x.org", occur_time=dt.datetime(2026, 5, 1, 1, tzinfo=ZONE)
    )
    made.properties = tree
    wanted = event_of(
        {
            "type": "type",
            "event_id": made.event_id,
            "occur_time": "2026-04-30T23:00:00Z",
            "identifiers": {"user_id": "ada", "email": "a@x.org"},
            "properties": tree,
        },
        0,
        "",
    )
    wanted.send_time_us = made.send_time_us
    read = Event.FromString(event_bytes(made))
    assert read == wanted
    assert EventBatch.FromString(batch_bytes([event_bytes(made)] * 3)).events == [wanted] * 3
    request = SubmitEventsRequest.FromString(request_bytes("demo", "shop", [event_bytes(made)]))
    assert (request.tenant, request.publisher, list(request.events)) == ("demo", "shop", [wanted])


def test_answers_are_read_as_generated_code_wrote_them() -> None:
    answer = SubmitEventsResponse()
    answer.items.add(index=0, event_id="a", verdict=Verdict.VERDICT_STORED)
    answer.items.add(index=300, verdict=Verdict.VERDICT_REJECTED, code="c", detail="dé")
    answer.position.token = "i5.c0"
    answer.position.time.FromMicroseconds(5)
    found = items_of(answer.SerializeToString())
    assert [(i.index, i.verdict, i.code, i.detail) for i in found] == [
        (0, 1, "", ""),
        (300, 4, "c", "dé"),
    ]


def test_receipts_are_read_as_generated_code_wrote_them() -> None:
    batch = ReceiptBatch()
    receipt = batch.receipts.add(intake_sequence=9, intake_subject="s.app", events=7, accepted=6)
    receipt.accept_time.FromMicroseconds(5)
    receipt.exceptions.add(index=2, event_id="é", verdict=Verdict.VERDICT_REJECTED, code="c")
    receipt.exceptions.add(verdict=Verdict.VERDICT_DUPLICATE, detail="d")
    found = exceptions_of(batch.SerializeToString())
    assert [(e.subject, e.event_id, e.verdict, e.code, e.detail) for e in found] == [
        ("s.app", "é", 4, "c", ""),
        ("s.app", "", 3, "", "d"),
    ]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, Decimal("NaN"), object(), NAIVE])
def test_what_is_no_value_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(ValueError, match="price"):
        event_bytes(events.event("x", user_id="u", price=wrong))


def test_typed_events_say_what_they_need() -> None:
    order = events.order_completed(user_id="u", order_id="o", total="19.99", currency="EUR")
    assert order.type == "order_completed"
    assert order.properties == {"order_id": "o", "total": Decimal("19.99"), "currency": "EUR"}
    with pytest.raises(ValueError, match="money"):
        events.order_completed(user_id="u", order_id="o", total=19.99, currency="EUR")
    with pytest.raises(ValueError, match="identifiers"):
        events.page_viewed(url="/")
    with pytest.raises(ValueError, match="what"):
        events.message("sniffed", channel="email", user_id="u")
    with pytest.raises(ValueError, match="zone"):
        events.event("x", user_id="u", occur_time=NAIVE)


def test_the_buffer_is_bounded_and_cuts_in_order() -> None:
    buffer = Buffer(events_max=5, bytes_max=100, batch_events_max=2, batch_bytes_max=60)
    helds = [Held(events.event("x", user_id="u"), bytes(20)) for _ in range(5)]
    for held in helds:
        assert buffer.has_room(20)
        buffer.add(held)
    assert not buffer.has_room(1)
    first, second, third = buffer.cut(), buffer.cut(), buffer.cut()
    assert [*first, *second, *third] == helds
    assert [len(first), len(second), len(third)] == [2, 2, 1]
    assert not buffer.has_room(1)
    buffer.settle(first)
    assert (buffer.events, buffer.bytes) == (3, 60)
    big = Buffer(5, 100, 10, 60)
    big.add(Held(helds[0].event, bytes(200)))
    assert len(big.cut()) == 1

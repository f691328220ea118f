"""Bodies of EVENTS: pools without confusion, parts that fit, and the limits of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from muster.ingest.v1.facts_pb2 import ReceiptBatch
from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.common_pb2 import Parked
from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis.columns import pool_texts
from services.chassis.core import PART_BYTES_MAX, Facts, Message
from services.ingest.core import EVENTS, PARKED, RECEIPTS, IngestCore, sample_batch
from services.ingest.settings import IngestSettings

NOW = 1_750_000_000_000_000


def stepped(*bodies: bytes) -> Facts:
    messages = [
        Message(0, "muster.intake.v1.demo.shop", n, NOW, body) for n, body in enumerate(bodies, 1)
    ]
    return IngestCore(IngestSettings()).step(messages, NOW)


def event(number: int) -> Event:
    made = Event(event_id=f"e{number}", type="t", occur_time_us=NOW)
    made.identifiers.add(kind="user_id", value=f"u{number}")
    return made


def texts_of(body: bytes) -> list[str]:
    columns = EventColumns.FromString(body)
    pool = np.frombuffer(columns.text, np.uint8)
    texts = pool_texts(pool, np.array(columns.text_end, np.uint32))
    return [texts[value] for value in columns.prop_value]


def ids_of(body: bytes) -> list[str]:
    columns = EventColumns.FromString(body)
    pool = np.frombuffer(columns.event_id, np.uint8)
    return pool_texts(pool, np.array(columns.event_id_end, np.uint32))


def test_texts_that_share_a_place_in_the_table_stay_apart() -> None:
    """So many texts of one length that places collide: each keeps its own number."""
    batches, expected = [], []
    for batch in range(4):
        events = []
        for number in range(60):
            one = event(batch * 100 + number)
            for place in range(100):
                text = f"{batch}{number:02}{place:03}-same-size"
                expected.append(text)
                one.properties.add(key="k", text=text)
            events.append(one)
        batches.append(EventBatch(events=events).SerializeToString())
    found = [text for body in stepped(*batches).bodies[EVENTS] for text in texts_of(body)]
    assert found == expected


def test_a_step_larger_than_a_message_goes_in_parts_in_order() -> None:
    events = [event(number) for number in range(900)]
    for number, one in enumerate(events):
        for place in range(40):
            one.properties.add(key=f"k{place}", whole=number)
    events[400].properties.add(key="long", text="x" * 8_000)
    batches = [EventBatch(events=events[at : at + 300]).SerializeToString() for at in (0, 300, 600)]
    bodies = stepped(*batches).bodies[EVENTS]
    assert len(bodies) > 1
    assert all(len(body) <= PART_BYTES_MAX for body in bodies)
    assert [name for body in bodies for name in ids_of(body)] == [e.event_id for e in events]


def test_items_are_left_out_when_nothing_is_a_list() -> None:
    plain, listed = event(1), event(2)
    plain.properties.add(key="k", flag=True)
    listed.properties.add(key="k", flag=True)
    listed.properties.add(key="k", item=1, flag=False)
    (body,) = stepped(EventBatch(events=[plain]).SerializeToString()).bodies[EVENTS]
    assert list(EventColumns.FromString(body).prop_item) == []
    (body,) = stepped(EventBatch(events=[plain, listed]).SerializeToString()).bodies[EVENTS]
    assert list(EventColumns.FromString(body).prop_item) == [0, 0, 1]


def test_a_tick_says_nothing() -> None:
    assert not stepped(b"", b"")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            EventBatch(events=[event(n) for n in range(1_001)]).SerializeToString(),
            "batch_too_large",
        ),
        (sample_batch() + b"\x12\x81\x01" + b"i" * 129, "bad_import_id"),
        (sample_batch() + b"\x12\x01\x00", "bad_import_id"),
        (b"\x0a\xff\xff\xff\xff\x7f", "malformed_batch"),
        (b"\x0a" * 600_000, "batch_too_large"),
    ],
)
def test_a_message_nothing_can_be_taken_from_is_parked_whole(body: bytes, code: str) -> None:
    good = EventBatch(events=[event(7)]).SerializeToString()
    facts = stepped(body, good)
    assert ids_of(facts.bodies[EVENTS][0]) == ["e7"]
    (receipt,) = ReceiptBatch.FromString(facts.bodies[RECEIPTS][0]).receipts
    assert [(item.index, item.code) for item in receipt.exceptions] == [(0, code)]
    assert receipt.accepted == 0
    parked = [Parked.FromString(one) for one in facts.bodies[PARKED]]
    assert {one.code for one in parked} == {code}
    assert b"".join(one.body for one in parked) == body
    assert all(len(one) <= PART_BYTES_MAX for one in facts.bodies[PARKED])


def test_one_malformed_event_of_a_message_spoils_no_other() -> None:
    """Bad UTF-8 and nonsense inside a well-framed batch: places and ids stay those of the batch."""
    bad_text = event(1).SerializeToString().replace(b"e1", b"e\xff")
    raws = [bad_text, event(2).SerializeToString(), b"\xff\xff", event(3).SerializeToString()]
    body = b"".join(b"\x0a" + bytes([len(raw)]) + raw for raw in raws)
    facts = stepped(body)
    assert ids_of(facts.bodies[EVENTS][0]) == ["e2", "e3"]
    (receipt,) = ReceiptBatch.FromString(facts.bodies[RECEIPTS][0]).receipts
    assert (receipt.events, receipt.accepted) == (4, 2)
    told = [(item.index, item.event_id, item.code) for item in receipt.exceptions]
    assert told == [(0, "e\ufffd", "bad_text"), (2, "", "malformed_event")]
    parked = [Parked.FromString(one) for one in facts.bodies[PARKED]]
    assert [one.code for one in parked] == ["bad_text", "malformed_event"]
    assert parked[0].body == b"\x0a" + bytes([len(bad_text)]) + bad_text


def test_a_full_memory_refuses_new_events_and_still_knows_the_old() -> None:
    core = IngestCore(IngestSettings(dedupe_prints_max=3))

    def step(*numbers: int) -> list[str]:
        body = EventBatch(events=[event(n) for n in numbers]).SerializeToString()
        facts = core.step([Message(0, "s", 1, NOW, body)], NOW)
        if RECEIPTS not in facts.bodies:
            return []
        (receipt,) = ReceiptBatch.FromString(facts.bodies[RECEIPTS][0]).receipts
        return [item.code for item in receipt.exceptions]

    assert step(1, 2, 3) == []
    assert step(4, 2) == ["deduplication_full", "duplicate"]

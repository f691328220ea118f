"""The fast decoder reads what upb reads, and nothing beyond the bytes it was given."""

from __future__ import annotations

import random

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.types.v1.event_pb2 import Decimal, Event, EventBatch, Identifier, Property
from services.ingest.adapters import rows as at_
from services.ingest.adapters import wire_kernel
from services.ingest.adapters.decoder import KernelDecoder, NotOnTheWire
from services.ingest.adapters.reference import UpbDecoder
from services.ingest.adapters.rows import PADDING, Rows

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=12)
FAST = KernelDecoder(events=4, identifiers=4, properties=4)  # small: growing is tested too
UPB = UpbDecoder()

decimals = st.builds(Decimal, units=INT64, exponent=st.integers(0, 2**32 - 1))
identifiers = st.builds(Identifier, kind=TEXT, value=TEXT)
properties = st.one_of(
    st.builds(Property, key=TEXT, item=st.integers(0, 2**32 - 1), **{name: value})
    for name, value in {
        "text": TEXT,
        "whole": INT64,
        "decimal": decimals,
        "flag": st.booleans(),
        "time_us": INT64,
        "number": st.floats(width=64),
    }.items()
) | st.builds(Property, key=TEXT)
events = st.builds(
    Event,
    event_id=TEXT,
    type=TEXT,
    occur_time_us=INT64,
    send_time_us=INT64,
    identifiers=st.lists(identifiers, max_size=4),
    properties=st.lists(properties, max_size=6),
)
batches = st.builds(EventBatch, events=st.lists(events, max_size=6), import_id=TEXT)


def told(rows: Rows) -> list[tuple[object, ...]]:
    """What the rows say, apart from where their texts lie."""

    def text(line: np.ndarray, start: int) -> bytes:
        return rows.slice(int(line[start]), int(line[start + 1]))

    said: list[tuple[object, ...]] = [
        (
            text(line, at_.ID_START),
            text(line, at_.TYPE_START),
            *line[at_.OCCUR_US : at_.PROPERTIES_END + 1].tolist(),
            text(line, at_.EVENT_START),
            int(line[at_.MESSAGE]),
        )
        for line in rows.events
    ]
    said += [(text(line, at_.KIND_START), text(line, at_.VALUE_START)) for line in rows.identifiers]
    said += [
        (
            text(line, at_.KEY_START),
            *line[at_.ITEM : at_.EXPONENT + 1].tolist(),
            text(line, at_.TEXT_START),
        )
        for line in rows.properties
    ]
    return said


def assert_inside(rows: Rows, size: int) -> None:
    """Every place lies within the bytes that were handed in."""
    for table, columns in (
        (rows.events, (0, 1, 2, 3, at_.EVENT_START, at_.EVENT_END)),
        (rows.identifiers, (0, 1, 2, 3)),
        (rows.properties, (at_.KEY_START, at_.KEY_END, at_.TEXT_START, at_.TEXT_END)),
    ):
        places = table[:, columns]
        assert (places >= 0).all()
        assert (places <= size).all()


def agree(bodies: list[bytes]) -> bool:
    """Whether upb accepts the bodies; then both decoders must say the same."""
    try:
        expected = told(UPB.decode(bodies))
    except DecodeError:
        try:
            rows = FAST.decode(bodies)
        except NotOnTheWire:
            return False
        assert_inside(rows, sum(map(len, bodies)))
        return False
    assert told(FAST.decode(bodies)) == expected
    return True


@settings(max_examples=150, print_blob=True, deadline=None)
@given(st.lists(batches, min_size=1, max_size=3))
def test_both_decoders_read_the_same(messages: list[EventBatch]) -> None:
    assert agree([message.SerializeToString() for message in messages])


@settings(max_examples=100, print_blob=True, deadline=None)
@given(st.lists(properties, min_size=2, max_size=4))
def test_the_last_value_of_a_property_stands(parts: list[Property]) -> None:
    """A property written piecewise is one property on the wire: protobuf merges."""
    merged = b"".join(part.SerializeToString() for part in parts)
    event = b"\x2a" + _varint(len(merged)) + merged
    assert agree([b"\x0a" + _varint(len(event)) + event])


UNKNOWN = [
    b"\x78\x05",  # field 15, varint
    b"\x79" + bytes(8),  # field 15, eight bytes: send_time_us in an event
    b"\x7a\x03abc",  # field 15, length
    b"\x7d" + bytes(4),  # field 15, four bytes
    b"\xa3\x06\x08\x01\xa4\x06",  # group 100 with a varint in it
    b"\xa3\x06\xab\x06\xac\x06\xa4\x06",  # a group in a group
    b"\xa3\x06\xa3\x06\xa4\x06",  # a group that never ends
    b"\xa4\x06",  # the end of no group
    b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # a varint of ten bytes
    b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # and of eleven
    b"\x8a\x80\x80\x80\x00\x01x",  # a tag in more bytes than it needs
    b"\x00\x00",  # field 0
    b"\x0e\x00",  # wire type 6
]


@settings(max_examples=200, print_blob=True, deadline=None)
@given(events, st.lists(st.tuples(st.sampled_from(UNKNOWN), st.integers(0, 3)), max_size=4))
def test_unknown_fields_are_skipped_wherever_they_stand(
    event: Event, strange: list[tuple[bytes, int]]
) -> None:
    places: list[list[bytes]] = [[], [], [], []]
    for raw, place in strange:
        places[place].append(raw)
    batch, inside, identifier, item = (b"".join(raws) for raws in places)
    who = Identifier(kind="user_id", value="1").SerializeToString() + identifier
    what = Property(key="k", whole=-3).SerializeToString() + item
    raw = event.SerializeToString() + inside
    raw += b"\x22" + _varint(len(who)) + who + b"\x2a" + _varint(len(what)) + what
    agree([b"\x0a" + _varint(len(raw)) + raw + batch])


def mutated(body: bytes, chance: random.Random) -> bytes:
    raw = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(raw) + 1)
        match chance.choice((0, 0, 0, 1, 2, 3)):
            case 0 if place < len(raw):
                raw[place] = chance.randrange(256)
            case 1:
                raw.insert(place, chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x2A)))
            case 2:
                del raw[place : place + chance.randint(1, 9)]
            case _:
                raw[place:place] = raw[place : place + chance.randint(1, 30)]
    return bytes(raw)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_mutated_bytes_are_read_as_upb_reads_them_or_not_at_all(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    sample = Event(event_id="e-1", type="order", occur_time_us=1 << 50, send_time_us=1 << 49)
    sample.identifiers.add(kind="email", value="a@b.example")
    for value in ({"text": "blue"}, {"whole": -5}, {"flag": True}, {"number": 0.1}, {"time_us": 7}):
        sample.properties.add(key="k", item=3, **value)
    sample.properties.add(key="d").decimal.MergeFrom(Decimal(units=1999, exponent=2))
    plain = EventBatch(events=[sample, sample]).SerializeToString()
    accepted = 0
    for turn in range(2_000):
        raw = mutated(sample.SerializeToString(), chance)
        # Framed again, so that what is inside an event is reached; one in four is not.
        body = b"\x0a" + _varint(len(raw)) + raw if turn % 4 else mutated(plain, chance)
        accepted += agree([body, plain])
    assert 100 < accepted < 1_900, f"{accepted} of 2,000 accepted: the mutations miss the point"


@pytest.mark.parametrize("seed", [21])
def test_no_bytes_at_all_lead_outside(seed: int) -> None:
    """Truncations of everything, and noise: the places stay inside a body between two others."""
    print("seed", seed)
    chance = random.Random(seed)
    batch = EventBatch(events=[Event(event_id="e", type="t", occur_time_us=1)] * 2)
    batch.events[0].properties.add(key="k", text="v")
    body = batch.SerializeToString()
    bodies = [body[:end] for end in range(len(body))]
    bodies += [chance.randbytes(chance.randint(0, 60)) for _ in range(1_000)]
    for raw in bodies:
        agree([raw])
        _assert_stays_inside(raw)


def _assert_stays_inside(raw: bytes) -> None:
    """Walks only the middle body and looks whether what lies around it changes the result."""
    told_before: list[object] | None = None
    for around in (b"\x0a\x02\x0a\x00", b"\xff" * 4):
        data = np.frombuffer(around + raw + around + PADDING, np.uint8)
        tables = [
            np.zeros((64, width), np.int64)
            for width in (at_.EVENT_WIDTH, at_.IDENTIFIER_WIDTH, at_.PROPERTY_WIDTH)
        ]
        counts = np.zeros(3, np.int64)
        start = np.array([len(around)])
        status = wire_kernel.walk(data, start, start + len(raw), *tables, counts)
        found = [status]
        if status == wire_kernel.DONE:
            found += [table[:n].tolist() for table, n in zip(tables, counts, strict=True)]
        assert told_before in (None, found)
        told_before = found


def test_the_tags_are_those_of_the_contract() -> None:
    expected = {
        "EVENT_ID": (Event, "event_id"),
        "EVENT_TYPE": (Event, "type"),
        "EVENT_OCCUR": (Event, "occur_time_us"),
        "EVENT_IDENTIFIER": (Event, "identifiers"),
        "EVENT_PROPERTY": (Event, "properties"),
        "EVENT_SEND": (Event, "send_time_us"),
        "BATCH_EVENT": (EventBatch, "events"),
        "IDENTIFIER_KIND": (Identifier, "kind"),
        "IDENTIFIER_VALUE": (Identifier, "value"),
        "PROPERTY_KEY": (Property, "key"),
        "PROPERTY_ITEM": (Property, "item"),
        "PROPERTY_TEXT": (Property, "text"),
        "PROPERTY_WHOLE": (Property, "whole"),
        "PROPERTY_DECIMAL": (Property, "decimal"),
        "PROPERTY_FLAG": (Property, "flag"),
        "PROPERTY_TIME": (Property, "time_us"),
        "PROPERTY_NUMBER": (Property, "number"),
        "DECIMAL_UNITS": (Decimal, "units"),
        "DECIMAL_EXPONENT": (Decimal, "exponent"),
    }
    named = {name[4:] for name in vars(wire_kernel) if name.startswith("TAG_")}
    assert named == set(expected)
    for name, (message, field) in expected.items():
        descriptor = message.DESCRIPTOR.fields_by_name[field]
        types = {descriptor.TYPE_SFIXED64: 1, descriptor.TYPE_DOUBLE: 1}
        types |= {descriptor.TYPE_STRING: 2, descriptor.TYPE_MESSAGE: 2}
        tag = descriptor.number << 3 | types.get(descriptor.type, 0)
        assert getattr(wire_kernel, f"TAG_{name}") == tag, name


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])

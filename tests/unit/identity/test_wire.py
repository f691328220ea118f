"""What goes into PROFILES is what came from EVENTS: row for row, in parts that fit."""

from __future__ import annotations

import random

import pytest

from muster.identity.v1 import facts_pb2
from muster.types.v1 import columns_pb2
from services.chassis import subjects
from services.chassis.core import PART_BYTES_MAX, Facts, Message
from services.identity.core import TOUCH_US, IdentityCore
from tests.unit.identity.events import START_US, TENANT, Happened, columns_of, message_of
from tests.unit.identity.follower import Followed
from tests.unit.identity.rows import rows_of
from tests.unit.identity.running import tick


def rich_columns(rng: random.Random, rows: int, joins: bool) -> columns_pb2.EventColumns:
    """Rows with every kind of column, some of them empty, some sealed."""
    people = 40
    events = []
    for place in range(rows):
        person = rng.randrange(people)
        ids = [("cookie", f"c{person}-{rng.randrange(3 if joins else 1)}")]
        if rng.random() < 0.5:
            ids.append(("user_id", f"ü{person}"))
        properties = {
            f"key {rng.randrange(6)}": rng.choice(["", "Köln", "x" * 20, 7, -(2**62)])
            for _ in range(rng.randrange(4))
        }
        kind = rng.choice(["page_viewed", "profile_updated", "order"])
        events.append(Happened(f"e{place}", place, tuple(ids), kind, properties))
    columns = columns_of(events, START_US)
    columns.prop_item.extend(rng.randrange(3) for _ in columns.prop_key)
    columns.prop_exponent = bytes(rng.randrange(19) for _ in columns.prop_key)
    columns.row_flags = bytes(rng.randrange(2) for _ in range(rows))
    sealed = sorted(rng.sample(range(len(columns.prop_key)), len(columns.prop_key) // 4))
    for place in sealed:
        columns.sealed_prop.append(place)
        columns.sealed_key_id.append(rng.getrandbits(64))
        columns.sealed_text += bytes([place % 256]) * (place % 5)
        columns.sealed_text_end.append(len(columns.sealed_text))
    return columns


@pytest.mark.parametrize("partitions", [1, 2, 5])
@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_row_comes_out_once_unchanged_and_in_order(
    partitions: int, joins: bool, seed: int
) -> None:
    print(f"seed {seed}")
    columns = rich_columns(random.Random(seed), 300, joins)
    message = Message(0, "", 1, START_US, columns.SerializeToString())
    followed = Followed(partitions)
    core = IdentityCore(TENANT, partitions)
    followed.take(core.step([message], START_US))
    assert joins == bool(followed.moves)
    came = {row["event_id"]: row for entry in followed.events_seen for row in rows_of(entry)}
    assert list(came.values()) != [] and len(came) == 300
    assert sum(entry.rows for entry in followed.events_seen) == 300
    for row in rows_of(columns):
        assert came[row["event_id"]] == row
    for rows in followed.rows:
        places = [int(event_id[1:]) for event_id, _, _ in rows]
        assert places == sorted(places)


def test_one_partition_appends_to_the_bytes_received() -> None:
    message = message_of([Happened("a", 1, (("cookie", "c"),))], 1, START_US)
    (body,) = IdentityCore(TENANT, 1).step([message], START_US).bodies[0]
    assert message.body in body


def test_attributes_are_the_properties_of_profile_updated_only() -> None:
    events = [
        Happened("a", 10, (("user_id", "ada"),), "profile_updated", {"city": "Köln", "age": 41}),
        Happened("b", 20, (("user_id", "ada"),), "order_completed", {"total": 3}),
        Happened("c", 30, (("cookie", "c"),), "profile_updated", {"city": "Bonn"}),
        Happened("d", 40, (("cookie", "c"),), "profile_updated"),
    ]
    for partitions in (1, 2):
        followed = Followed(partitions)
        core = IdentityCore(TENANT, partitions)
        followed.take(core.step([message_of(events, 1, START_US)], START_US))
        assert sorted(followed.attributes) == [
            (0, 0, "age", 41, 10),
            (0, 0, "city", "Köln", 10),
            (1, 1, "city", "Bonn", 30),
        ]


def test_large_steps_go_in_parts() -> None:
    wide = {f"key{i}": "v" * 900 for i in range(4)}
    events = [
        Happened(f"e{i}", i, (("cookie", f"c{i}"), ("user_id", "u" * 900 + str(i))), "x", wide)
        for i in range(500)
    ]
    for event in events[::2]:
        event.properties["own"] = event.event_id * 100
    message = message_of(events, 1, START_US)
    assert len(message.body) > PART_BYTES_MAX // 2
    for partitions in (1, 2):
        followed = Followed(partitions)
        facts = IdentityCore(TENANT, partitions).step([message], START_US)
        followed.take(facts)
        followed.order(events)
        assert all(len(bodies) > 1 for bodies in facts.bodies.values())


def test_control_comes_first_into_every_partition_untouched() -> None:
    core = IdentityCore(TENANT, 3)
    body = bytes(range(256))
    records = [
        Message(1, subjects.control(TENANT, kind), sequence, START_US, body + kind.encode())
        for sequence, kind in ((7, "segment"), (9, "list"))
    ]
    event = message_of([Happened("a", 1, (("cookie", "c"),))], 1, START_US)
    facts = core.step([*records, event], START_US + 5)
    for partition in range(3):
        (step,) = facts.bodies[partition]
        entries = facts_pb2.ProfileStep.FromString(step).entries
        told = [entry.control for entry in entries[:2]]
        assert [(one.control_sequence, one.subject, one.body) for one in told] == [
            (7, subjects.control(TENANT, "segment"), body + b"segment"),
            (9, subjects.control(TENANT, "list"), body + b"list"),
        ]
        assert {one.take_time.ToMicroseconds() for one in told} == {START_US + 5}
        assert {entry.WhichOneof("entry") for entry in entries[2:]} == (
            {"created", "linked", "events"} if partition == 0 else set()
        )


def test_a_partition_is_told_the_time_after_100_ms() -> None:
    core = IdentityCore(TENANT, 2)
    event = message_of([Happened("a", 1, (("cookie", "c"),))], 1, START_US)
    assert set(core.step([event], START_US).bodies) == {0, 1}
    assert not core.step([tick(2, START_US + 1)], START_US + TOUCH_US - 1)
    again = message_of([Happened("b", 2, (("cookie", "c"),))], 3, START_US)
    facts = core.step([again], START_US + TOUCH_US)
    assert facts.bodies[1] == [b""] and facts.bodies[0] != [b""]
    assert core.step([tick(4, START_US + 3)], START_US + 2 * TOUCH_US) == Facts(
        {0: [b""], 1: [b""]}
    )


def test_what_it_reads_and_owns() -> None:
    core = IdentityCore(TENANT, 2)
    assert [source.stream for source in core.sources] == [subjects.EVENTS, subjects.CONTROL]
    assert [source.fenced for source in core.sources] == [True, False]
    assert [own.subject for own in core.own] == [
        subjects.profiles(TENANT, 0),
        subjects.profiles(TENANT, 1),
        subjects.parked(TENANT, "identity"),
    ]


@pytest.mark.parametrize("column", ["id_end", "id_print", "event_id_end", "occur_time_us"])
def test_columns_that_contradict_each_other_are_refused(column: str) -> None:
    columns = columns_of([Happened("a", 1, (("cookie", "c"),))], START_US)
    getattr(columns, column).append(9)
    with pytest.raises(ValueError, match="do not fit"):
        IdentityCore(TENANT, 1).step(
            [Message(0, "", 1, START_US, columns.SerializeToString())], START_US
        )


def test_a_row_without_identifiers_is_refused() -> None:
    columns = columns_of([Happened("a", 1, ())], START_US)
    with pytest.raises(ValueError, match="no identifier"):
        IdentityCore(TENANT, 1).step(
            [Message(0, "", 1, START_US, columns.SerializeToString())], START_US
        )

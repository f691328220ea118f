"""Who leaves one segment and enters another by one cause: the trigger names from and to."""

from __future__ import annotations

import itertools

import numpy as np

from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import common_pb2
from services.chassis.core import Message
from services.segments.adapters import wire
from services.segments.relay_core import RelayCore
from tests.unit.segments_service.test_relay_core import definition, said

Row = tuple[int, int, int, bool, int]
"""at_us, profile, segment, entered, cause."""

PROSPECTS, CUSTOMERS, OTHERS, SHADOW = 1, 2, 3, 4


def rows(given: list[Row], bytes_max: int = 1 << 19, flags: int = 0) -> list[Message]:
    """The messages of one step of transitions."""
    at, profile, segment, entered, cause = zip(*given, strict=True)
    count = len(given)
    columns = {
        "at_us": np.array(at),
        "profile": np.array(profile),
        "segment": np.array(segment),
        "version": np.ones(count),
        "entered": np.array(entered, np.uint8),
        "reason": np.full(count, common_pb2.REASON_EVENT, np.uint8),
        "ordinal": np.arange(count) + 1,
        "cause_print": np.repeat(np.array(cause, np.uint64), 2),
        "public_id": np.array(profile, np.uint64),
        "row_flags": np.full(count, flags, np.uint8),
    }
    bodies = wire.step_bodies(columns, {}, [], bytes_max)
    return [Message(0, "transitions", n, max(at), body) for n, body in enumerate(bodies, 1)]


def shadow(number: int) -> Message:
    message = definition(number)
    made = segments.SegmentDefined.FromString(message.body)
    made.shadow_of = "segment-1"
    return Message(1, message.subject, message.sequence, 0, made.SerializeToString())


DEFINITIONS = [definition(PROSPECTS), definition(CUSTOMERS), definition(OTHERS), shadow(SHADOW)]
STORY: list[Row] = [
    (10, 7, PROSPECTS, False, 1),
    (10, 7, CUSTOMERS, True, 1),
    (10, 7, OTHERS, True, 2),
    (10, 7, SHADOW, False, 1),
    (10, 8, PROSPECTS, False, 1),
    (11, 7, OTHERS, False, 3),
    (11, 8, CUSTOMERS, True, 1),
]


def moves(triggers: list[segments.SegmentTriggered]) -> list[tuple]:
    return [
        (t.profile_number, t.segment_id, list(t.from_segment_ids), list(t.to_segment_ids))
        for t in triggers
    ]


EXPECTED = [
    (7, "segment-1", [], ["segment-2"]),
    (7, "segment-2", ["segment-1"], []),
    (7, "segment-3", [], []),
    (8, "segment-1", [], []),
    (7, "segment-3", [], []),
    (8, "segment-2", [], []),
]


def test_a_move_has_one_instant_and_one_cause() -> None:
    relay = RelayCore("demo", 0)
    assert moves(said(relay.step([*DEFINITIONS, *rows(STORY)], 11))) == EXPECTED
    silent = RelayCore("demo", 0).step([*DEFINITIONS, *rows(STORY, flags=1)], 11)
    assert not said(silent)


def test_in_whatever_order_definitions_arrive_the_moves_are_the_same() -> None:
    for order in itertools.permutations(range(4)):
        relay = RelayCore("demo", 0)
        found = said(relay.step(rows(STORY), 11))
        for place in order:
            state = {name: memoryview(bytes(b)) for name, b in relay.dump().items()}
            relay = RelayCore("demo", 0)
            relay.load(state)
            found += said(relay.step([DEFINITIONS[place]], 11))
        assert relay.held_rows == 0
        assert sorted(moves(found)) == sorted(EXPECTED)
        of_each = {
            number: [m for m in moves(found) if m[1] == f"segment-{number}"] for number in (1, 2, 3)
        }
        assert of_each == {
            number: [m for m in EXPECTED if m[1] == f"segment-{number}"] for number in (1, 2, 3)
        }


def test_a_policy_may_ask_for_migrations_alone() -> None:
    policy = segments.TriggerPolicy(migrates_from="segment-1")
    relay = RelayCore("demo", 0)
    definitions = [DEFINITIONS[0], definition(CUSTOMERS, 1, policy), *DEFINITIONS[2:]]
    found = said(relay.step([*definitions, *rows(STORY)], 11))
    customers = [t for t in found if t.segment_id == "segment-2"]
    assert moves(customers) == [(7, "segment-2", ["segment-1"], [])]
    assert [t.dense_number for t in customers] == [1]


def test_parts_of_a_step_do_not_part_what_happened_together() -> None:
    story = [row for at in range(200) for row in [
        (at, 7, PROSPECTS, at % 2 == 0, at + 1), (at, 7, CUSTOMERS, at % 2 == 1, at + 1),
        (at, 7, OTHERS, at % 2 == 0, at + 1),
    ]]  # fmt: skip
    for bytes_max in (4_500, 5_000, 7_777, 1 << 19):
        messages = rows(story, bytes_max)
        assert (len(messages) > 1) == (bytes_max < 10_000)
        found = said(RelayCore("demo", 0).step([*DEFINITIONS, *messages], 200))
        assert len(found) == 600
        customers = [t for t in found if t.segment_id == "segment-2"]
        both = ["segment-1", "segment-3"]
        assert all([*t.from_segment_ids, *t.to_segment_ids] == both for t in customers), bytes_max

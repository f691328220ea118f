"""Which transitions become triggers, and that a restart changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import numpy as np
from google.protobuf.duration_pb2 import Duration

from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import common_pb2
from services.chassis import commits, subjects
from services.chassis.core import Facts, Message
from services.segments import relay_core
from services.segments.adapters import wire
from services.segments.relay_core import RelayCore

SECOND = 1_000_000
Row = tuple[int, int, int, int, bool, int, int, int]
"""at_us, profile, segment, version, entered, reason, ordinal, flags."""


def transitions(rows: Sequence[Row], sequence: int = 1) -> Message:
    at, profile, segment, version, entered, reason, ordinal, flags = zip(*rows, strict=True)
    columns = {
        "at_us": np.array(at),
        "profile": np.array(profile),
        "segment": np.array(segment),
        "version": np.array(version),
        "entered": np.array(entered, np.uint8),
        "reason": np.array(reason, np.uint8),
        "ordinal": np.array(ordinal),
        "cause_print": np.repeat(np.array(at, np.uint64), 2),
        "public_id": np.array(profile, np.uint64) + np.uint64(1 << 40),
        "row_flags": np.array(flags, np.uint8),
    }
    (body,) = wire.step_bodies(columns, {}, [])
    return Message(0, subjects.transitions("demo", 0), sequence, max(at), body)


def definition(
    number: int, version: int = 1, triggers: segments.TriggerPolicy | None = None
) -> Message:
    body = segments.SegmentDefined(
        segment_id=f"segment-{number}", segment_number=number, version=version, triggers=triggers
    ).SerializeToString()
    return Message(1, subjects.control("demo", "segment"), version, 0, body)


def said(facts: Facts) -> list[segments.SegmentTriggered]:
    return [segments.SegmentTriggered.FromString(body) for _, body, _ in facts.batch]


def entered(at_us: int, profile: int, segment: int = 1, *, ordinal: int = 1, **rest: int) -> Row:
    reason = rest.get("reason", common_pb2.REASON_EVENT)
    return (
        at_us,
        profile,
        segment,
        rest.get("version", 1),
        True,
        reason,
        ordinal,
        rest.get("flags", 0),
    )


def left(at_us: int, profile: int, *, ordinal: int, reason: int = common_pb2.REASON_TIME) -> Row:
    return at_us, profile, 1, 1, False, reason, ordinal, 0


def test_only_the_reasons_of_the_policy_reach_subscribers() -> None:
    for reasons in ([], [common_pb2.REASON_MERGE, common_pb2.REASON_BACKFILL]):
        relay = RelayCore("demo", 0)
        policy = segments.TriggerPolicy(reasons=reasons)
        rows = [entered(i, i, reason=i) for i in range(1, 12)]
        facts = relay.step([definition(1, 1, policy), transitions(rows)], 20)
        assert [t.reason for t in said(facts)] == sorted(reasons or relay_core.DEFAULT_REASONS)


def test_silent_rows_never_trigger() -> None:
    relay = RelayCore("demo", 0)
    facts = relay.step([definition(1), transitions([entered(1, 5, flags=1), entered(2, 6)])], 2)
    assert [t.profile_number for t in said(facts)] == [6]


def test_without_reentry_only_the_first_entry_triggers() -> None:
    relay = RelayCore("demo", 0)
    policy = segments.TriggerPolicy(reentry=False)
    rows = [entered(1, 5), left(2, 5, ordinal=2), entered(3, 5, ordinal=3), entered(4, 6)]
    facts = relay.step([definition(1, 1, policy), transitions(rows)], 4)
    assert [(t.profile_number, t.ordinal) for t in said(facts)] == [(5, 1), (5, 2), (6, 1)]


def test_a_cool_down_ends_at_exactly_its_length_after_the_last_trigger() -> None:
    relay = RelayCore("demo", 0)
    policy = segments.TriggerPolicy(cool_down=Duration(seconds=10))
    relay.step([definition(1, 1, policy)], 0)
    got = []
    for n, at in enumerate([0, 9 * SECOND, 10 * SECOND - 1, 10 * SECOND, 19 * SECOND, 20 * SECOND]):
        got += said(relay.step([transitions([entered(at, 5, ordinal=2 * n + 1)], n + 1)], at))
    assert [t.at_time.ToMicroseconds() for t in got] == [0, 10 * SECOND, 20 * SECOND]


def test_rows_wait_for_their_definition_and_keep_their_order() -> None:
    relay = RelayCore("demo", 0)
    first = relay.step([definition(2), transitions([entered(1, 5), entered(1, 7, segment=2)])], 1)
    assert [t.segment_id for t in said(first)] == ["segment-2"]
    second = relay.step([transitions([entered(2, 6), left(3, 5, ordinal=2)], 2)], 3)
    assert not second
    assert relay.held_rows == 3
    restarted = RelayCore("demo", 0)
    restarted.load({name: memoryview(bytes(b)) for name, b in relay.dump().items()})
    for one in (relay, restarted):
        late = said(one.step([definition(1)], 3))
        assert [(t.profile_number, t.ordinal, t.dense_number) for t in late] == [
            (5, 1, 1),
            (6, 1, 2),
            (5, 2, 3),
        ]
        assert one.held_rows == 0


def test_a_row_is_judged_by_the_policy_of_its_own_version() -> None:
    relay = RelayCore("demo", 0)
    strict = segments.TriggerPolicy(reasons=[common_pb2.REASON_MERGE])
    batch = [definition(1, 1), definition(1, 2, strict)]
    rows = [entered(1, 5), entered(2, 6, version=2), entered(3, 7, version=2, reason=5)]
    facts = relay.step([*batch, transitions(rows)], 3)
    assert [(t.profile_number, t.segment_version) for t in said(facts)] == [(5, 1), (7, 2)]


def test_many_triggers_go_beside_as_many_leads_as_one_batch_holds() -> None:
    assert relay_core.TRIGGERS_PER_PART == commits.BATCH_MESSAGES_MAX
    relay = RelayCore("demo", 0)
    rows = [entered(i, i) for i in range(2 * relay_core.TRIGGERS_PER_PART + 1)]
    facts = relay.step([definition(1), transitions(rows)], len(rows))
    assert [json.loads(body)["triggers"] for body in facts.bodies[0]] == [900, 900, 1]
    assert [t.dense_number for t in said(facts)] == list(range(1, len(rows) + 1))
    assert len({t.trigger_id for t in said(facts)}) == len(rows)


def test_a_trigger_names_itself_by_cloud_events_headers_and_no_person() -> None:
    relay = RelayCore("demo", 0)
    facts = relay.step([definition(1), transitions([entered(SECOND, 5)])], SECOND)
    ((subject, body, headers),) = facts.batch
    trigger = segments.SegmentTriggered.FromString(body)
    assert subject == "muster.triggers.v1.demo.segment-1"
    assert headers["ce-id"] == trigger.trigger_id
    assert headers["ce-time"] == "1970-01-01T00:00:01Z"
    assert headers["ce-specversion"] == "1.0"
    assert trigger.cause == f"{SECOND:016x}{SECOND:016x}"


def test_a_malformed_definition_is_parked_and_the_rest_goes_on() -> None:
    relay = RelayCore("demo", 0)
    broken = Message(1, subjects.control("demo", "segment"), 9, 0, b"\xff\xff")
    facts = relay.step([broken, definition(1), transitions([entered(1, 5)])], 1)
    (parked,) = [common_pb2.Parked.FromString(body) for body in facts.bodies[1]]
    assert (parked.code, parked.body, parked.source_sequence) == (
        "malformed_definition",
        b"\xff\xff",
        9,
    )
    assert len(said(facts)) == 1


def test_a_dump_anywhere_and_any_cut_give_the_same_triggers() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    policies = [
        segments.TriggerPolicy(cool_down=Duration(seconds=5)),
        segments.TriggerPolicy(reentry=False),
        None,
    ]
    inputs: list[Message] = [definition(n, 1, p) for n, p in enumerate(policies, 1)]
    ordinals: dict[tuple[int, int], int] = {}
    at = 0
    for sequence in range(1, 60):
        rows = []
        for _ in range(rng.randrange(1, 20)):
            at += rng.randrange(1, SECOND)
            profile, segment = rng.randrange(8), rng.randrange(1, 4)
            ordinal = ordinals[segment, profile] = ordinals.get((segment, profile), 0) + 1
            reason = rng.choice([1, 2, 5])
            rows.append((at, profile, segment, 1, ordinal % 2 == 1, reason, ordinal, 0))
        inputs.append(transitions(rows, sequence))
    whole = RelayCore("demo", 0)
    expected = whole.step(inputs, at).batch
    pieces, got = RelayCore("demo", 0), []
    start = 0
    while start < len(inputs):
        end = start + rng.randrange(1, 6)
        cut = inputs[start:end]
        got += pieces.step(cut, max(m.time_us for m in cut)).batch
        again = RelayCore("demo", 0)
        again.load({name: memoryview(bytes(b)) for name, b in pieces.dump().items()})
        pieces, start = again, end
    assert got == expected
    assert len(got) > 20

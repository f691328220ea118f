"""The segments core on the real engine: order, cuts, restarts, what goes where."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

import pytest
from nats.aio.client import Client

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.chassis import subjects
from services.chassis.core import Facts, Message
from services.chassis.parking import timestamp
from services.segments.adapters import wire
from services.segments.core import SegmentsCore
from tests.integration.segments_stack import SECOND, START_US, TENANT, ProfilesLog, bought

Entries = list[identity.ProfileEntry]


class Partition:
    """PROFILES of one partition, written down message by message."""

    def __init__(self, partitions: int = 1, partition: int = 0) -> None:
        self.log = ProfilesLog(cast("Client", None), partitions)
        self.partition = partition
        self.messages: list[Message] = []

    def say(self, entries: Entries, seconds: float = 0.0) -> None:
        self.log.time_us += round(seconds * SECOND)
        body = identity.ProfileStep(entries=entries).SerializeToString()
        subject = subjects.profiles(TENANT, self.partition)
        sequence = len(self.messages) + 1
        self.messages.append(Message(0, subject, sequence, self.log.time_us, body))

    def people(self, numbers: Sequence[int]) -> Entries:
        return self.log.people(numbers).get(self.partition, [])

    def events(self, rows: list[tuple[int, str, int]], seconds: float) -> Entries:
        at_us = self.log.time_us + round(seconds * SECOND)
        return self.log.events(rows, at_us).get(self.partition, [])


def defined(
    number: int, version: int, condition: pb.Condition, *, retired: bool = False
) -> identity.ProfileEntry:
    body = segments.SegmentDefined(
        segment_id=f"segment-{number}",
        segment_number=number,
        version=version,
        condition=condition,
        retired=retired,
    ).SerializeToString()
    return control(body)


def control(body: bytes, kind: str = "segment") -> identity.ProfileEntry:
    record = identity.ControlRecord(
        control_sequence=7,
        subject=subjects.control(TENANT, kind),
        body=body,
        take_time=timestamp(START_US),
    )
    return identity.ProfileEntry(control=record)


def transitions(facts: Facts) -> list[tuple]:
    """(at_us, profile, segment, version, entered, reason, ordinal) of a step, in order."""
    names = ("at_us", "profile", "segment", "version", "entered", "reason", "ordinal")
    rows = []
    for body in facts.bodies.get(0, []):
        columns = wire.transitions_of(body)
        rows += zip(*(columns[name].tolist() for name in names), strict=True)
    return rows


def stepped(core: SegmentsCore, messages: Sequence[Message]) -> Facts:
    return core.step(messages, max(m.time_us for m in messages))


def test_a_rule_counts_what_lies_ahead_of_it_in_the_log_and_nothing_behind() -> None:
    for cut in (1, 2, 3, 4, 10):
        log = Partition()
        log.say(log.people(range(3)))
        log.say(log.events([(0, "bought", 1)], 1), 1)
        log.say([defined(1, 1, bought(1)), *log.events([(1, "bought", 1)], 0.5)], 1)
        log.say(log.events([(2, "bought", 1)], 1), 1)
        core, said = SegmentsCore(TENANT, 0, 1), []
        for start in range(0, len(log.messages), cut):
            said += transitions(stepped(core, log.messages[start : start + cut]))
        assert [(at - START_US, profile, reason) for at, profile, _, _, _, reason, _ in said] == [
            (1_000_000, 0, common_pb2.REASON_BACKFILL),
            (1_500_000, 1, common_pb2.REASON_EVENT),
            (3_000_000, 2, common_pb2.REASON_EVENT),
        ]
        assert core.live["segment-1"].members == 3


def test_any_cut_and_any_restart_say_the_same() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    log = Partition()
    log.say(log.people(range(12)))
    version = {1: 0, 2: 0, 3: 0}
    for _ in range(60):
        rows = [
            (rng.randrange(12), rng.choice(["bought", "viewed"]), rng.randrange(9))
            for _ in range(rng.randrange(4))
        ]
        seconds = rng.choice([0.1, 0.9, 4])
        entries = log.events(rows, seconds)
        if rng.random() < 0.15:
            number = rng.randrange(1, 4)
            version[number] += 1
            rule = bought(rng.randrange(1, 4), 10, rng.choice(["bought", "viewed"]))
            gone = version[number] > 1 and rng.random() < 0.2
            entries = [defined(number, version[number], rule, retired=gone), *entries]
        log.say(entries, seconds)
    whole = [transitions(stepped(SegmentsCore(TENANT, 0, 1), log.messages))]
    for _ in range(4):
        core, said, start = SegmentsCore(TENANT, 0, 1), [], 0
        while start < len(log.messages):
            end = start + rng.randrange(1, 8)
            said += transitions(stepped(core, log.messages[start:end]))
            again = SegmentsCore(TENANT, 0, 1)
            again.load({name: memoryview(bytes(b)) for name, b in core.dump().items()})
            assert again.live == core.live
            core, start = again, end
        whole.append(said)
    assert len(whole[0]) > 10
    assert all(said == whole[0] for said in whole)


def test_a_rule_may_speak_of_one_defined_just_before_it() -> None:
    core, log = SegmentsCore(TENANT, 0, 1), Partition()
    log.say(log.people(range(3)))
    log.say(log.events([(2, "bought", 1)], 1), 1)
    inside = pb.Condition(segment=pb.SegmentLeaf(segment_id="segment-1"))
    outside = pb.Condition()
    getattr(outside, "not").CopyFrom(inside)
    log.say([defined(1, 1, bought(1)), defined(2, 1, inside), defined(3, 1, outside)])
    stepped(core, log.messages)
    assert {name: one.members for name, one in core.live.items()} == {
        "segment-1": 1,
        "segment-2": 1,
        "segment-3": 2,
    }


def test_rows_of_the_same_instant_behind_a_rule_are_not_ahead_of_it() -> None:
    log = Partition()
    log.say(log.people(range(3)))
    log.say(log.events([(0, "bought", 1)], 1), 1)
    log.say([defined(1, 1, bought(1)), *log.events([(1, "bought", 1)], 0)])
    for cut in (1, 3):
        core, said = SegmentsCore(TENANT, 0, 1), []
        for start in range(0, 3, cut):
            said += transitions(stepped(core, log.messages[start : start + cut]))
        assert [(row[1], row[5]) for row in said] == [
            (0, common_pb2.REASON_BACKFILL),
            (1, common_pb2.REASON_EVENT),
        ]


def test_sizes_of_a_new_segment_are_told_even_when_nobody_is_in_it() -> None:
    core, log = SegmentsCore(TENANT, 0, 1), Partition()
    log.say([defined(1, 1, bought(1))])
    (body,) = stepped(core, log.messages).bodies[0]
    (size,) = segments.SegmentStep.FromString(body).sizes
    assert (size.segment_id, size.version, size.members) == ("segment-1", 1, 0)


def test_a_step_in_which_nothing_happens_says_nothing() -> None:
    core, log = SegmentsCore(TENANT, 0, 1), Partition()
    log.say(log.people(range(3)))
    log.say([], 1)
    assert not stepped(core, log.messages)


def test_what_cannot_be_lived_by_is_parked_and_the_rest_goes_on() -> None:
    nowhere = pb.Condition(segment=pb.SegmentLeaf(segment_id="nowhere"))
    core, log = SegmentsCore(TENANT, 0, 1), Partition()
    log.say([control(b"\xff"), defined(1, 1, nowhere), defined(2, 1, bought(1))])
    log.say([control(b"\xff", "audit")], 1)
    facts = stepped(core, log.messages)
    parked = [common_pb2.Parked.FromString(body) for body in facts.bodies[len(core.own) - 1]]
    assert [(one.code, one.source_sequence) for one in parked] == [
        ("malformed_definition", 7),
        ("rule_refused", 7),
    ]
    assert "nowhere" in core.refused["segment-1", 1]
    assert list(core.live) == ["segment-2"]


def test_a_merge_across_partitions_carries_the_past_over() -> None:
    logs = [Partition(2, place) for place in range(2)]
    cores = [SegmentsCore(TENANT, place, 2) for place in range(2)]
    said: list[list[tuple]] = [[], []]
    for place, log in enumerate(logs):
        log.say([defined(1, 1, bought(2)), *log.people(range(4))])
        log.say(log.events([(0, "bought", 1), (1, "bought", 1)], 1), 1)
        said[place] += transitions(stepped(cores[place], log.messages))
    move = identity.AtomsMoved(
        move_id=1,
        from_profile=1,
        to_profile=0,
        atom=[1],
        merge=True,
        move_time_us=logs[0].log.time_us + SECOND,
        across_partitions=True,
    )
    exported: list[bytes] = []
    for place in (1, 0):
        logs[place].say([identity.ProfileEntry(moved=move)], 1)
        facts = stepped(cores[place], logs[place].messages[-1:])
        said[place] += transitions(facts)
        exported += facts.bodies.get(1, [])
    assert cores[1].own[1].subject == subjects.history(TENANT, 0, 1)
    assert exported
    history = [
        Message(1, subjects.history(TENANT, 0, 1), n, logs[0].log.time_us, body)
        for n, body in enumerate(exported, 1)
    ]
    logs[0].say([], 1)
    said[0] += transitions(stepped(cores[0], [*history, logs[0].messages[-1]]))
    assert said[1] == []
    (row,) = said[0]
    assert row[1:] == (0, 1, 1, 1, common_pb2.REASON_MERGE, 1)
    assert cores[1].engine.number_of(cores[1].engine.public_id(1)) == 0


@pytest.mark.parametrize("partitions", [1, 3])
def test_own_subjects_begin_with_the_lead_and_end_with_parked(partitions: int) -> None:
    core = SegmentsCore(TENANT, partitions - 1, partitions)
    assert core.own[0].stream == subjects.TRANSITIONS
    assert core.own[-1].stream == subjects.PARKED
    assert len(core.own) == partitions + 1
    assert [source.stream for source in core.sources] == [
        subjects.PROFILES,
        subjects.HISTORY,
    ][: len(core.sources)]

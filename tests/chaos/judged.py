"""What must hold of a log after a run of the real services, recomputed from INTAKE alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import nats.js.errors
from google.protobuf.duration_pb2 import Duration

from cli.simulation.streams import Stage, Streams
from muster.identity.v1.facts_pb2 import ProfileStep
from muster.segments.v1.facts_pb2 import SegmentDefined, SegmentStep, SegmentTriggered
from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.common_pb2 import Reason, Value
from muster.types.v1.condition_pb2 import (
    AggregateKind,
    Condition,
    EventLeaf,
    EventSelector,
    Group,
    Operator,
    PropertyFilter,
    PropertyTest,
    Test,
    Window,
)
from muster.types.v1.event_pb2 import EventBatch
from services.chassis import subjects
from services.chassis.checkpoint import HEADER, Checkpoint, chained
from services.chassis.pull import Pull, Pulled
from services.identity.core import IdentityCore
from services.ingest.core import IngestCore
from services.ingest.settings import IngestSettings
from services.segments.core import SegmentsCore
from tests.chaos.harness import Report

TRIGGERING = {Reason.REASON_EVENT, Reason.REASON_TIME, Reason.REASON_ATTRIBUTE}

Row = tuple[int, int, int, int, int, int, tuple[int, int]]
"""at_us, profile, segment, entered, reason, ordinal, cause print."""


def leaf(
    kind: str, seconds: int | None, at_least: int, *, total: str = "", page: str = ""
) -> Condition:
    """At least n events, or a sum of at least n, in the last seconds (None: ever)."""
    selector = EventSelector(types=[kind])
    if page:
        test = Test(op=Operator.OPERATOR_EQ, values=[Value(text=page)])
        selector.where.CopyFrom(PropertyFilter(test=PropertyTest(property="page", test=test)))
    made = EventLeaf(events=selector)
    if seconds is not None:
        made.window.CopyFrom(Window(last=Duration(seconds=seconds)))
    made.aggregate.kind = (
        AggregateKind.AGGREGATE_KIND_SUM if total else AggregateKind.AGGREGATE_KIND_COUNT
    )
    made.aggregate.property = total
    made.comparison.op = Operator.OPERATOR_GTE
    made.comparison.values.add(whole=at_least)
    return Condition(event=made)


def rules() -> dict[str, Condition]:
    """Short windows, so that people enter and leave all the time."""
    quiet = Condition()
    getattr(quiet, "not").CopyFrom(leaf("ordered", 3, 1))
    watching = Condition(all=Group(of=[leaf("viewed", 4, 2), quiet]))
    known = Condition(any=Group(of=[leaf("logged_in", None, 1), leaf("ordered", 5, 3)]))
    return {
        "active": leaf("viewed", 3, 1),
        "keen": leaf("viewed", 2, 3),
        "spender": leaf("ordered", 6, 30, total="amount"),
        "phones": leaf("viewed", 5, 1, page="phones"),
        "watching": watching,
        "known": known,
    }


async def define_rules(client: Any, tenant: str) -> None:
    """Writes the rules to CONTROL as the door of segments would."""
    for number, (name, condition) in enumerate(rules().items(), 1):
        defined = SegmentDefined(
            segment_id=name, segment_number=number, version=1, condition=condition
        )
        subject = subjects.control(tenant, "segment")
        await client.jetstream().publish(subject, defined.SerializeToString())


async def times_reached(client: Any, tenant: str, partitions: int) -> list[int]:
    """Log time of every partition of TRANSITIONS and every relay; [] while one is silent."""
    own = [(subjects.TRANSITIONS, subjects.transitions(tenant, p)) for p in range(partitions)]
    own += [(subjects.TRIGGERS, subjects.relay(tenant, p)) for p in range(partitions)]
    times = []
    for stream, subject in own:
        try:
            found = await client.jetstream().get_last_msg(stream, subject)
        except nats.js.errors.NotFoundError:
            return []
        checkpoint = Checkpoint.decode(found.headers[HEADER])
        # Time counts with the last part of a step.
        times.append(checkpoint.time_us if checkpoint.last else 0)
    return times


async def read_all(client: Any, stream: str) -> list[Pulled]:
    """Every message of a stream."""
    last = (await client.jetstream().stream_info(stream)).state.last_seq
    pull = Pull(client, stream, [])
    messages: list[Pulled] = []
    while last and (not messages or messages[-1].sequence < last):
        messages += await pull.take(64 << 20, 5)
    await pull.close()
    return messages


async def judge(
    client: Any,
    tenant: str,
    partitions: int,
    accepted: set[str],
    offered: set[str],
    report: Report,
) -> None:
    """Appends to report.wrong everything that does not hold."""
    wrong = report.wrong
    log = {
        stream: await read_all(client, stream)
        for stream in (
            subjects.INTAKE,
            subjects.CONTROL,
            subjects.EVENTS,
            subjects.PROFILES,
            subjects.HISTORY,
            subjects.TRANSITIONS,
        )
    }
    for stream in list(log)[2:]:
        check_chains(log[stream], wrong)
    events = check_events(log, accepted, offered, wrong)
    report.rows = len(events)
    check_times(log, wrong)
    spoken = rows_of(log[subjects.TRANSITIONS])
    report.transitions = len(spoken)
    check_alternation(spoken, wrong)
    until = min(await times_reached(client, tenant, partitions))
    moved = moved_profiles(log[subjects.PROFILES], partitions)
    report.faults["profiles moved across partitions"] = len(moved)
    expected = recomputed(log, tenant, until)
    check_rows(spoken, expected, moved, until, wrong)
    await check_triggers(client, spoken, wrong)


def check_chains(messages: list[Pulled], wrong: list[str]) -> None:
    """Dense numbers, predecessors and hashes of every subject."""
    heads: dict[str, tuple[int, int, str]] = {}
    for one in messages:
        assert one.checkpoint is not None
        number, sequence, chain = heads.get(one.subject, (0, 0, ""))
        if one.checkpoint.number != number + 1 or one.checkpoint.previous != sequence:
            wrong.append(f"{one.subject}: number {one.checkpoint.number} after {number}")
        if one.checkpoint.chain != chained(chain, one.body):
            wrong.append(f"{one.subject}: the chain breaks at {one.checkpoint.number}")
        heads[one.subject] = (one.checkpoint.number, one.sequence, one.checkpoint.chain)


def ids_of(columns: EventColumns) -> list[str]:
    ends = list(columns.event_id_end)
    return [columns.event_id[a:b].decode() for a, b in pairwise([0, *ends])]


def check_events(
    log: dict[str, list[Pulled]], accepted: set[str], offered: set[str], wrong: list[str]
) -> list[str]:
    """Each accepted event once in EVENTS, and once in one partition of PROFILES."""
    events = [
        name for one in log[subjects.EVENTS] for name in ids_of(EventColumns.FromString(one.body))
    ]
    profiles = [
        name
        for one in log[subjects.PROFILES]
        for entry in ProfileStep.FromString(one.body).entries
        if entry.WhichOneof("entry") == "events"
        for name in ids_of(entry.events)
    ]
    if lost := accepted - set(events):
        wrong.append(f"{len(lost)} accepted events lost, such as {min(lost)}")
    if len(events) != len(set(events)):
        wrong.append(f"{len(events) - len(set(events))} events doubled")
    if set(events) - offered:
        wrong.append("events nobody offered")
    if Counter(events) != Counter(profiles):
        wrong.append("EVENTS and PROFILES do not hold the same rows")
    return events


def check_times(log: dict[str, list[Pulled]], wrong: list[str]) -> None:
    """accept_time is the broker's time of the first message that brought the event, clamped."""
    time_us = 0
    arrived: dict[str, int] = {}
    for one in log[subjects.INTAKE]:
        time_us = max(time_us, one.time_us)
        for event in EventBatch.FromString(one.body).events:
            arrived.setdefault(event.event_id, time_us)
    for one in log[subjects.EVENTS]:
        columns = EventColumns.FromString(one.body)
        wrong.extend(
            f"{name}: accepted at {at}, arrived at {arrived[name]}, in step {one.checkpoint}"
            for name, at in zip(ids_of(columns), columns.accept_time_us, strict=True)
            if arrived[name] != at
        )


def rows_of(messages: list[Pulled]) -> list[Row]:
    """Every transition in the order of its partition."""
    rows: list[Row] = []
    for one in messages:
        columns = SegmentStep.FromString(one.body).transitions
        rows.extend(
            (
                at,
                columns.profile[n],
                columns.segment[n],
                columns.entered[n],
                columns.reason[n],
                columns.ordinal[n],
                (columns.cause_print[2 * n], columns.cause_print[2 * n + 1]),
            )
            for n, at in enumerate(columns.at_us)
        )
    return rows


def check_alternation(rows: list[Row], wrong: list[str]) -> None:
    """Entered and left in turn, ordinals dense, instants never back."""
    last: dict[tuple[int, int], tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for at, profile, segment, entered, _, ordinal, _ in rows:
        before_at, before_entered, before_ordinal = last[profile, segment]
        if entered == before_entered or ordinal != before_ordinal + 1 or at < before_at:
            wrong.append(
                f"profile {profile}, segment {segment}: {entered} #{ordinal} at {at} after "
                f"{before_entered} #{before_ordinal} at {before_at}"
            )
        last[profile, segment] = (at, entered, ordinal)


def moved_profiles(messages: list[Pulled], partitions: int) -> set[int]:
    """Profiles whose past came from, or went to, another partition."""
    moved: set[int] = set()
    for one in messages:
        for entry in ProfileStep.FromString(one.body).entries:
            if entry.WhichOneof("entry") == "moved":
                move = entry.moved
                if (move.from_profile - move.to_profile) % partitions:
                    moved |= {move.from_profile, move.to_profile}
    return moved


def recomputed(log: dict[str, list[Pulled]], tenant: str, until_us: int) -> list[Row]:
    """Every transition up to an instant, by one partition in one process, from INTAKE alone."""
    streams = Streams()
    stages = [
        Stage(IngestCore(IngestSettings(tenant=tenant)), streams),
        Stage(IdentityCore(tenant, 1), streams),
        Stage(SegmentsCore(tenant, 0, 1), streams),
    ]
    for one in log[subjects.CONTROL]:
        streams.append(subjects.CONTROL, one.subject, 0, (one.body,))
    for one in log[subjects.INTAKE]:
        streams.append(subjects.INTAKE, one.subject, one.time_us, (one.body,))
        while any([stage.pump() for stage in stages]):  # noqa: C419 - every stage, each turn
            pass
    rows: list[Row] = []
    for unit in streams.units[subjects.TRANSITIONS]:
        for body in unit.bodies:
            rows.extend(rows_of([Pulled(0, 0, "", body, None, 0)]))
    return [row for row in rows if row[0] <= until_us]


def check_rows(
    spoken: list[Row], expected: list[Row], moved: set[int], until_us: int, wrong: list[str]
) -> None:
    """The same transitions; after a move across partitions the same memberships in the end."""
    timely = {row for row in spoken if row[0] <= until_us}
    settled = {row for row in timely if row[1] not in moved}
    wanted = {row for row in expected if row[1] not in moved}
    if missing := wanted - settled:
        wrong.append(f"{len(missing)} transitions missing, such as {min(missing)}")
    if false := settled - wanted:
        wrong.append(f"{len(false)} transitions false, such as {min(false)}")
    ends = [
        {(row[1], row[2]): row[3] for row in sorted(rows, key=lambda r: r[5])}
        for rows in (timely, expected)
    ]
    wrong.extend(
        f"after its move, profile {key[0]} is wrong in segment {key[1]}"
        for key in {key for end in ends for key in end if key[0] in moved}
        if ends[0].get(key, 0) != ends[1].get(key, 0)
    )


async def check_triggers(client: Any, spoken: list[Row], wrong: list[str]) -> None:
    """One trigger for each transition that the default policy lets out, each once."""
    triggers = [
        SegmentTriggered.FromString(one.body)
        for one in await read_all(client, subjects.TRIGGERS)
        if ".triggers." in one.subject
    ]
    ids = Counter(one.trigger_id for one in triggers)
    if doubled := [name for name, count in ids.items() if count > 1]:
        wrong.append(f"{len(doubled)} triggers twice, such as {doubled[0]}")
    expected = sum(row[4] in TRIGGERING for row in spoken)
    if len(triggers) != expected:
        wrong.append(f"{len(triggers)} triggers for {expected} transitions that should trigger")
    numbers: dict[tuple[str, int], int] = defaultdict(int)
    for one in triggers:
        key = (one.segment_id, one.partition)
        if one.dense_number != numbers[key] + 1:
            wrong.append(f"{key}: trigger {one.dense_number} after {numbers[key]}")
        numbers[key] = one.dense_number

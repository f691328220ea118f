"""Triggers from the engine through the relay: policies, migrations, subjects; watches resumed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.chassis import subjects
from services.chassis.pull import Pull
from tests.integration.segments_stack import TENANT, Stack, bought, read, stack_of, wish

ENTERED, LEFT = common_pb2.DIRECTION_ENTERED, common_pb2.DIRECTION_LEFT


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


async def triggers(stack: Stack, segment_id: str, count: int) -> list[segments.SegmentTriggered]:
    """The first triggers on a segment's own subject."""
    pull = Pull(stack.client, subjects.TRIGGERS, [subjects.triggers(TENANT, segment_id)])
    found: list[segments.SegmentTriggered] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            pulled = await pull.take(1 << 20, 1)
            found += [segments.SegmentTriggered.FromString(one.body) for one in pulled]
    await pull.close()
    return found


async def test_a_prospect_becomes_a_customer_and_subscribers_hear_from_and_to(one: Stack) -> None:
    not_bought = pb.Condition(**{"not": bought(1, 1000)})
    prospect = pb.Condition(all=pb.Group(of=[bought(1, 1000, "viewed"), not_bought]))
    await one.log.say(one.log.people(range(4)))
    await one.door.DefineSegment(wish("prospects", prospect))
    policy = segments.TriggerPolicy(migrates_from="prospects")
    await one.door.DefineSegment(wish("customers", bought(1, 1000), triggers=policy))
    await one.door.DefineSegment(wish("shadows", bought(1, 1000), shadow_of="customers"))
    one.processes.start("relay")
    await one.events([(1, "viewed", 1), (2, "viewed", 1)])
    # 3 was no prospect: it enters, but nobody is told of a migration.
    await one.events([(3, "bought", 1), (1, "bought", 1)])
    await one.events([(2, "bought", 1)])
    moved = await triggers(one, "customers", 2)
    assert [(t.profile_number, t.direction, t.dense_number) for t in moved] == [
        (1, ENTERED, 1),
        (2, ENTERED, 2),
    ]
    assert [list(t.from_segment_ids) for t in moved] == [["prospects"]] * 2
    left = [t for t in await triggers(one, "prospects", 4) if t.direction == LEFT]
    assert [(t.profile_number, list(t.to_segment_ids)) for t in left] == [
        (1, ["customers"]),
        (2, ["customers"]),
    ]
    assert {(t.cause, t.at_time.ToMicroseconds()) for t in left} == {
        (t.cause, t.at_time.ToMicroseconds()) for t in moved
    }


async def test_policies_hold_through_restarts_of_engine_and_relay(one: Stack) -> None:
    await one.log.say(one.log.people(range(3)))
    cool = segments.TriggerPolicy(cool_down=Duration(seconds=60))
    once = segments.TriggerPolicy(reentry=False)
    for name, policy in (("cool", cool), ("once", once), ("all", None)):
        await one.door.DefineSegment(wish(name, bought(1, 10), triggers=policy))
    relay = one.processes.start("relay", snapshot_steps=3)
    # In and out: entries at 0, 20, 40, 60, 80 s of the story; each ends 10 s later.
    for again in range(5):
        await one.events([(1, "bought", 1)], 0 if again == 0 else 9)
        await one.log.tick(11)
        if again == 2:
            await one.processes.ready(relay)
            one.processes.children[relay].kill9()
            one.processes.children["engine-0"].kill9()
            one.processes.start("relay", snapshot_steps=3)
            one.processes.start("engine")
    said = await triggers(one, "all", 10)
    assert [t.direction for t in said] == [ENTERED, LEFT] * 5
    assert [t.dense_number for t in said] == list(range(1, 11))
    first_us = said[0].at_time.ToMicroseconds()

    def entries(found: list[segments.SegmentTriggered]) -> list[int]:
        return [
            (t.at_time.ToMicroseconds() - first_us) // 1_000_000
            for t in found
            if t.direction == ENTERED
        ]

    assert entries(said) == [0, 20, 40, 60, 80]
    assert entries(await triggers(one, "cool", 7)) == [0, 60]
    assert entries(await triggers(one, "once", 6)) == [0]
    found = [t.trigger_id for name in ("all", "cool", "once") for t in await triggers(one, name, 6)]
    assert len(found) == len(set(found))


async def test_a_watch_of_one_segment_resumes_where_it_was_after_a_restart(one: Stack) -> None:
    await one.log.say(one.log.people(range(4)))
    await one.door.DefineSegment(wish("a", bought(1)))
    await one.door.DefineSegment(wish("b", bought(1, kind="viewed")))
    request = api.WatchTransitionsRequest(segment_ids=["a"])
    watch = one.door.WatchTransitions(request)
    await watch.read()
    await one.events([(1, "bought", 1), (1, "viewed", 1)])
    first, token = await read(watch, 1)
    one.processes.children["engine-0"].kill9()
    await one.events([(2, "bought", 1), (2, "viewed", 1)])
    one.processes.start("engine")
    await one.processes.ready("engine-0")
    await one.events([(3, "bought", 1)])
    request.resume_token = token
    rest, _ = await read(one.processes.door().WatchTransitions(request), 2)
    assert {t.segment_id for t in [*first, *rest]} == {"a"}
    assert len({t.transition_id for t in [*first, *rest]}) == 3
    assert [t.ordinal for t in rest] == [1, 1]

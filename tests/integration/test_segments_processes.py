"""Processes of segments: killed, led past the door, and both by one command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import nats
import pytest

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.chassis import subjects, topology
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    LOG_BYTES,
    SECOND,
    TENANT,
    Processes,
    ProfilesLog,
    Stack,
    bought,
    public_id,
    read,
    refused,
    stack_of,
    wish,
)


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


async def test_a_killed_engine_goes_on_where_it_was(one: Stack) -> None:
    await one.log.say(one.log.people(range(8)))
    await one.door.DefineSegment(wish("a", bought(1, within_s=3)))
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest())
    token = (await watch.read()).resume_token
    for step in range(40):
        await one.events([(step % 8, "bought", 1)])
        if step % 15 == 10:
            one.processes.children["engine-0"].kill9()
            one.processes.start("engine")
    await one.log.tick(10)
    await one.processes.ready("engine-0")
    door = one.processes.door()
    watch = door.WatchTransitions(api.WatchTransitionsRequest(resume_token=token))
    found, _ = await read(watch, 80)
    await door.CountMembers(api.CountMembersRequest(at_least=one.log.token))
    for number in range(8):
        own = [t for t in found if t.profile_id == profile_id_text(public_id(number))]
        assert [t.ordinal for t in own] == list(range(1, 11))
        assert [t.direction for t in own] == [1, 2] * 5
        assert [
            (b.at_time.ToMicroseconds() - a.at_time.ToMicroseconds())
            for a, b in zip(own[::2], own[1::2], strict=True)
        ] == [3 * SECOND] * 5


async def test_a_rule_written_past_the_door_is_parked(one: Stack) -> None:
    subject = subjects.control(TENANT, "segment")
    nowhere = pb.Condition(segment=pb.SegmentLeaf(segment_id="nowhere"))
    smuggled = segments.SegmentDefined(
        segment_id="smuggled", segment_number=1, version=1, condition=nowhere
    ).SerializeToString()
    jetstream = one.client.jetstream()
    for body in (b"\xff\xff", smuggled):
        await jetstream.publish(subject, body)
    defined = await one.door.DefineSegment(wish("a"))
    assert defined.segment.definition.segment_number == 2
    parked = []
    async with asyncio.timeout(5):
        while len(parked) < 2:
            parked = []
            last = (await jetstream.stream_info(subjects.PARKED)).state.last_seq
            for sequence in range(1, last + 1):
                message = await jetstream.get_msg(subjects.PARKED, sequence)
                parked.append(common_pb2.Parked.FromString(message.data or b""))
            await asyncio.sleep(0.05)
    assert [(p.code, p.body) for p in parked] == [
        ("malformed_definition", b"\xff\xff"),
        ("rule_refused", smuggled),
    ]
    assert "nowhere" in parked[1].detail
    await refused(
        one.door.GetSegment(api.GetSegmentRequest(segment_id="smuggled")),
        grpc.StatusCode.FAILED_PRECONDITION,
    )


async def test_one_command_runs_the_engine_and_the_relay(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats") as server:
        client = await nats.connect(server.url, allow_reconnect=False)
        await topology.apply(client, LOG_BYTES)
        processes, log = Processes(tmp_path, server.url, 1), ProfilesLog(client, 1)
        both = processes.start("", 0, metrics_port=free_port())
        processes.ports["engine-0"] = processes.ports[both]
        copying = asyncio.create_task(log.copy_control())
        try:
            await processes.ready(both)
            door = processes.door()
            await log.say(log.people(range(3)))
            quiet = segments.TriggerPolicy(reasons=[common_pb2.REASON_TIME])
            await door.DefineSegment(wish("a", bought(1), triggers=quiet))
            await door.DefineSegment(wish("b", bought(1)))
            watch = door.WatchTransitions(api.WatchTransitionsRequest())
            await watch.read()
            arrived = await client.subscribe(subjects.triggers_of(TENANT))
            at_us = log.time_us + SECOND
            await log.say(log.events([(2, "bought", 1)], at_us), at_us)
            await log.tick(20)
            said, _ = await read(watch, 4)
            triggers = [
                segments.SegmentTriggered.FromString((await arrived.next_msg(10)).data)
                for _ in range(3)
            ]
            wanted = {t.transition_id: t for t in said if t.segment_id == "b" or t.direction == 2}
            assert {t.trigger_id for t in triggers} == set(wanted)
            for trigger in triggers:
                transition = wanted[trigger.trigger_id]
                assert trigger.profile_id == transition.profile_id
                assert trigger.at_time == transition.at_time
                assert trigger.cause == transition.cause
        finally:
            copying.cancel()
            processes.children[both].stop()
            await processes.stop()
            await client.close()

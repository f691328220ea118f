"""The segments service over gRPC on a real server: define, ask, watch, two partitions, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nats.aio.client import Client

from muster.identity.v1 import facts_pb2 as identity
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
    bought,
    by_email,
    public_id,
    wish,
)


class Stack:
    """A server, identity's stand-in, and engines of all partitions."""

    def __init__(self, client: Client, processes: Processes, log: ProfilesLog) -> None:
        self.client = client
        self.processes = processes
        self.log = log
        self.door = processes.door()

    async def events(self, rows: list[tuple[int, str, int]], seconds: float = 1) -> str:
        """Events after so much log time; returns the position after them."""
        at_us = self.log.time_us + round(seconds * SECOND)
        return await self.log.say(self.log.events(rows, at_us), at_us)


async def stack_of(folder: Path, partitions: int) -> AsyncIterator[Stack]:
    server = EmbeddedNats(folder / "nats").start()
    client = await nats.connect(server.url, allow_reconnect=False)
    await topology.apply(client, LOG_BYTES)
    processes = Processes(folder, server.url, partitions)
    log = ProfilesLog(client, partitions)
    names = [processes.start("engine", partition) for partition in range(partitions)]
    copying = asyncio.create_task(log.copy_control())
    try:
        await asyncio.gather(*(processes.ready(name) for name in names))
        yield Stack(client, processes, log)
    finally:
        copying.cancel()
        await processes.stop()
        await client.close()
        server.stop()


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def details_of(error: grpc.aio.AioRpcError) -> list[tuple[str, str]]:
    """Field violations of an INVALID_ARGUMENT."""
    found = error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(error).details:  # type: ignore[union-attr]
        if detail.Unpack(found):
            return [(one.field, one.description) for one in found.field_violations]
    return []


async def refused(call: Any, code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert error.value.code() is code, error.value.details()
    return error.value


async def read(watch: Any, count: int) -> tuple[list[api.Transition], str]:
    """So many transitions of a watch and the last resume token."""
    found: list[api.Transition] = []
    token = ""
    async with asyncio.timeout(10):
        while len(found) < count:
            response = await watch.read()
            found += response.transitions
            token = response.resume_token
    return found, token


async def test_a_segment_lives_from_its_definition_to_exits_by_time_alone(one: Stack) -> None:
    await one.log.say(one.log.people(range(5)))
    defined = await one.door.DefineSegment(wish("buyers", bought(2), name="Buyers"))
    assert (defined.segment.definition.version, defined.segment.members) == (1, 0)
    assert defined.segment.definition.segment_number == 1
    assert defined.segment.sentence
    await one.events([(1, "bought", 5), (2, "bought", 5), (3, "viewed", 5)])
    token = await one.events([(1, "bought", 5), (2, "bought", 5), (2, "bought", 5)])
    sizes = await one.door.CountMembers(api.CountMembersRequest(at_least=token))
    assert [(size.segment_id, size.members) for size in sizes.sizes] == [("buyers", 2)]
    assert sizes.position.time.ToMicroseconds() == one.log.time_us
    listed = await one.door.ListMembers(api.ListMembersRequest(segment_id="buyers"))
    assert sorted(listed.profile_ids) == sorted(profile_id_text(public_id(n)) for n in (1, 2))
    for number in (1, 3):
        checked = await one.door.CheckMemberships(
            api.CheckMembershipsRequest(profile=by_email(number))
        )
        assert [m.member for m in checked.memberships] == [number == 1]
        assert checked.profile_id == profile_id_text(public_id(number))
    # The first of profile 1's two purchases leaves the window at exactly 20 s.
    token = await one.log.tick(18.999999)
    sizes = await one.door.CountMembers(api.CountMembersRequest(at_least=token))
    assert sizes.sizes[0].members == 2
    token = await one.log.tick(0.000001)
    sizes = await one.door.CountMembers(api.CountMembersRequest(at_least=token))
    assert sizes.sizes[0].members == 1


async def test_a_preview_counts_without_saving_and_an_explanation_says_why(one: Stack) -> None:
    await one.log.say(one.log.people(range(5)))
    await one.door.DefineSegment(wish("buyers", bought(1)))
    token = await one.events([(1, "bought", 7), (4, "bought", 7)])
    preview = await one.door.PreviewSegment(
        api.PreviewSegmentRequest(condition=bought(1), sample_size=1, at_least=token)
    )
    assert (preview.members, preview.profiles, len(preview.sample_profile_ids)) == (2, 5, 1)
    explained = await one.door.ExplainMembership(
        api.ExplainMembershipRequest(segment_id="buyers", profile=by_email(1))
    )
    assert explained.member
    (leaf,) = explained.leaves
    assert leaf.holds
    assert leaf.found == "1"
    (event,) = leaf.events
    assert event.type == "bought"
    assert event.event_id == f"1-bought-{one.log.time_us}"
    leaves_us = one.log.time_us + 20 * SECOND
    assert event.leave_time.ToMicroseconds() == leaves_us
    assert explained.flip_time.ToMicroseconds() == leaves_us


async def test_refusals_say_what_and_where(one: Stack) -> None:
    two_wrong = pb.Condition(all=pb.Group(of=[bought(1), pb.Condition(all=pb.Group())]))
    two_wrong.all.of[0].event.window.last.FromSeconds(-1)
    error = await refused(
        one.door.DefineSegment(wish("Not An Id", two_wrong)), grpc.StatusCode.INVALID_ARGUMENT
    )
    paths = [path for path, _ in details_of(error)]
    assert paths[0] == "segment_id"
    assert len(paths) == 3
    assert paths[1].startswith("condition.all[0].event")
    assert paths[2].startswith("condition.all[1]")
    unknown = pb.Condition(segment=pb.SegmentLeaf(segment_id="nowhere"))
    error = await refused(
        one.door.DefineSegment(wish("a", unknown)), grpc.StatusCode.INVALID_ARGUMENT
    )
    assert details_of(error)
    for ask in (
        one.door.GetSegment(api.GetSegmentRequest(segment_id="nowhere")),
        one.door.CountMembers(api.CountMembersRequest(segment_ids=["nowhere"])),
        one.door.ListMembers(api.ListMembersRequest(segment_id="nowhere")),
        one.door.CountMembers(api.CountMembersRequest(tenant="another")),
        one.door.CheckMemberships(api.CheckMembershipsRequest(profile=by_email(99))),
    ):
        await refused(ask, grpc.StatusCode.NOT_FOUND)
    for ask in (
        one.door.CheckMemberships(api.CheckMembershipsRequest()),
        one.door.CheckMemberships(
            api.CheckMembershipsRequest(profile=common_pb2.ProfileRef(profile_id="me"))
        ),
        one.door.ListMembers(api.ListMembersRequest(segment_id="a", page_size=-1)),
        one.door.ListSegments(api.ListSegmentsRequest(page_token="=")),
        one.door.CountMembers(api.CountMembersRequest(at_least="yesterday")),
        one.door.PreviewSegment(api.PreviewSegmentRequest(condition=bought(), sample_size=101)),
        one.door.PreviewSegment(api.PreviewSegmentRequest()),
    ):
        await refused(ask, grpc.StatusCode.INVALID_ARGUMENT)
    deep = bought(1)
    for _ in range(45):
        deep = pb.Condition(all=pb.Group(of=[deep]))
    for ask in (
        one.door.DefineSegment(wish("deep", deep)),
        one.door.PreviewSegment(api.PreviewSegmentRequest(condition=deep)),
    ):
        error = await refused(ask, grpc.StatusCode.INVALID_ARGUMENT)
        assert "deep" in (error.details() or "")


async def test_versions_conflicts_repeats_and_retirement(one: Stack) -> None:
    await one.log.say(one.log.people(range(3)))
    await one.events([(1, "bought", 5)])
    first = await one.door.DefineSegment(wish("a", bought(1), request_id="r1"))
    assert first.segment.members == 1
    again = await one.door.DefineSegment(wish("a", bought(1), request_id="r1"))
    assert again.segment.definition == first.segment.definition
    second = await one.door.DefineSegment(wish("a", bought(2), expected_version=1))
    assert (second.segment.definition.version, second.segment.members) == (2, 0)
    await refused(
        one.door.DefineSegment(wish("a", bought(3), expected_version=1)), grpc.StatusCode.ABORTED
    )
    inside = pb.Condition(segment=pb.SegmentLeaf(segment_id="a"))
    await one.door.DefineSegment(wish("b", inside))
    await refused(
        one.door.RetireSegment(api.RetireSegmentRequest(segment_id="a")),
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    await one.door.RetireSegment(api.RetireSegmentRequest(segment_id="b"))
    await one.door.RetireSegment(api.RetireSegmentRequest(segment_id="a"))
    got = await one.door.GetSegment(api.GetSegmentRequest(segment_id="a"))
    assert (got.segment.definition.retired, got.segment.definition.version) == (True, 3)
    listed = await one.door.ListSegments(api.ListSegmentsRequest())
    assert not listed.segments


async def test_segments_are_listed_page_by_page(one: Stack) -> None:
    for name in ("c", "a", "e", "b", "d"):
        await one.door.DefineSegment(wish(name))
    found, token = [], ""
    while True:
        page = await one.door.ListSegments(api.ListSegmentsRequest(page_size=2, page_token=token))
        found += [segment.definition.segment_id for segment in page.segments]
        token = page.next_page_token
        if not token:
            break
    assert found == ["a", "b", "c", "d", "e"]


async def test_pages_stay_at_the_position_of_the_first(one: Stack) -> None:
    await one.log.say(one.log.people(range(7)))
    await one.door.DefineSegment(wish("buyers"))
    token = await one.events([(n, "bought", 1) for n in range(5)])
    request = api.ListMembersRequest(segment_id="buyers", page_size=2, at_least=token)
    first = await one.door.ListMembers(request)
    later = await one.events([(5, "bought", 1), (6, "bought", 1)])
    await one.door.CountMembers(api.CountMembersRequest(at_least=later))
    found, page = list(first.profile_ids), first
    while page.next_page_token:
        request.page_token = page.next_page_token
        page = await one.door.ListMembers(request)
        assert page.position.token == first.position.token
        found += page.profile_ids
    assert sorted(found) == sorted(profile_id_text(public_id(n)) for n in range(5))


async def test_a_watch_resumes_where_it_was_and_filters(one: Stack) -> None:
    await one.log.say(one.log.people(range(6)))
    await one.door.DefineSegment(wish("a", bought(1, kind="bought")))
    await one.door.DefineSegment(wish("b", bought(1, kind="viewed")))
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest())
    begins = (await watch.read()).resume_token
    await one.events([(1, "bought", 1), (2, "viewed", 1)])
    at_us = one.log.time_us
    first, token = await read(watch, 2)
    watch.cancel()
    assert {(t.segment_id, t.profile_id) for t in first} == {
        ("a", profile_id_text(public_id(1))),
        ("b", profile_id_text(public_id(2))),
    }
    assert {t.at_time.ToMicroseconds() for t in first} == {at_us}
    assert {t.reason for t in first} == {common_pb2.REASON_EVENT}
    assert all(len(t.cause) == 32 for t in first)
    await one.events([(3, "bought", 1)], 5)
    await one.log.tick(15)
    rest, _ = await read(
        one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token=token)), 3
    )
    assert [(t.profile_id == profile_id_text(public_id(3)), t.reason) for t in rest] == [
        (True, common_pb2.REASON_EVENT),
        (False, common_pb2.REASON_TIME),
        (False, common_pb2.REASON_TIME),
    ]
    everything, _ = await read(
        one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token=begins)), 5
    )
    assert everything == [*first, *rest]
    only_b, _ = await read(
        one.door.WatchTransitions(
            api.WatchTransitionsRequest(resume_token=begins, segment_ids=["b"])
        ),
        2,
    )
    assert only_b == [t for t in everything if t.segment_id == "b"]


async def test_a_large_step_is_watched_in_pieces_that_resume_to_the_row(one: Stack) -> None:
    await one.log.say(one.log.people(range(1_000)))
    await one.door.DefineSegment(wish("a"))
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest())
    token = (await watch.read()).resume_token
    await one.events([(n, "bought", 1) for n in range(1_000)])
    found: list[str] = []
    while len(found) < 1_000:
        request = api.WatchTransitionsRequest(resume_token=token)
        piece, token = await read(one.door.WatchTransitions(request), 1)
        found += [t.transition_id for t in piece]
    assert len(found) == len(set(found)) == 1_000
    everything, _ = await read(watch, 1_000)
    assert [t.transition_id for t in everything] == found


async def test_a_watch_refuses_tokens_it_cannot_serve(one: Stack) -> None:
    await one.log.say(one.log.people(range(3)))
    await one.door.DefineSegment(wish("a"))
    for token in ("t999999.0", "yesterday", "t-1.0"):
        watch = one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token=token))
        await refused(watch.read(), grpc.StatusCode.INVALID_ARGUMENT)
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest(segment_ids=["nowhere"]))
    await refused(watch.read(), grpc.StatusCode.NOT_FOUND)
    await one.events([(1, "bought", 1)])
    await one.log.tick(1)
    await one.log.tick(30)
    await one.door.CountMembers(api.CountMembersRequest(at_least=one.log.token))
    jetstream = one.client.jetstream()
    config = (await jetstream.stream_info(subjects.TRANSITIONS)).config
    config.max_age = 0.1
    await jetstream.update_stream(config)
    async with asyncio.timeout(10):
        while (await jetstream.stream_info(subjects.TRANSITIONS)).state.first_seq < 3:
            await asyncio.sleep(0.1)
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token="t1.0"))
    await refused(watch.read(), grpc.StatusCode.OUT_OF_RANGE)


async def test_two_partitions_answer_as_one(two: Stack) -> None:
    doors = [two.door, two.processes.door(1)]
    await two.log.say(two.log.people(range(10)))
    defined = await doors[1].DefineSegment(wish("buyers"))
    assert defined.segment.members == 0
    token = await two.events([(n, "bought", 1) for n in range(7)])
    ids = sorted(profile_id_text(public_id(n)) for n in range(7))
    for door in doors:
        sizes = await door.CountMembers(api.CountMembersRequest(at_least=token))
        assert sizes.sizes[0].members == 7
        request = api.PreviewSegmentRequest(condition=bought(), sample_size=10)
        preview = await door.PreviewSegment(request)
        assert (preview.members, preview.profiles) == (7, 10)
        assert sorted(preview.sample_profile_ids) == ids
        found, page_token = [], ""
        while True:
            page = await door.ListMembers(
                api.ListMembersRequest(segment_id="buyers", page_size=3, page_token=page_token)
            )
            found += page.profile_ids
            page_token = page.next_page_token
            if not page_token:
                break
        assert sorted(found) == ids
        for number in (3, 4, 8, 9):
            checked = await door.CheckMemberships(
                api.CheckMembershipsRequest(profile=by_email(number))
            )
            assert [m.member for m in checked.memberships] == [number < 7]
            ref = common_pb2.ProfileRef(profile_id=checked.profile_id)
            explained = await door.ExplainMembership(
                api.ExplainMembershipRequest(segment_id="buyers", profile=ref)
            )
            assert explained.member == (number < 7)
    watch = doors[0].WatchTransitions(api.WatchTransitionsRequest())
    await watch.read()
    await two.log.tick(20)
    left, _ = await read(watch, 7)
    assert sorted(t.profile_id for t in left) == ids


async def test_two_people_of_two_partitions_become_one(two: Stack) -> None:
    doors = [two.door, two.processes.door(1)]
    await two.log.say(two.log.people(range(4)))
    await two.door.DefineSegment(wish("once", bought(1)))
    await two.door.DefineSegment(wish("twice", bought(2)))
    watch = two.door.WatchTransitions(api.WatchTransitionsRequest())
    await watch.read()
    await two.events([(0, "bought", 1), (1, "bought", 1)])
    assert len((await read(watch, 2))[0]) == 2
    move = identity.AtomsMoved(
        move_id=1,
        from_profile=1,
        to_profile=0,
        atom=[1],
        merge=True,
        move_time_us=two.log.time_us + SECOND,
        across_partitions=True,
    )
    entry = identity.ProfileEntry(moved=move)
    await two.log.say({0: [entry], 1: [entry]}, move.move_time_us)
    token = await two.log.tick(1)
    found, _ = await read(watch, 2)
    ids = [profile_id_text(public_id(number)) for number in (0, 1)]
    assert {(t.segment_id, t.profile_id, t.direction, t.reason) for t in found} == {
        ("once", ids[1], common_pb2.DIRECTION_LEFT, common_pb2.REASON_MERGE),
        ("twice", ids[0], common_pb2.DIRECTION_ENTERED, common_pb2.REASON_MERGE),
    }
    refs = [by_email(0), by_email(1), *(common_pb2.ProfileRef(profile_id=one) for one in ids)]
    for door in doors:
        for ref in refs:
            checked = await door.CheckMemberships(
                api.CheckMembershipsRequest(profile=ref, at_least=token)
            )
            assert checked.profile_id == ids[0]
            assert [one.member for one in checked.memberships] == [True, True]
    for name in ("engine-0", "engine-1"):
        two.processes.children[name].kill9()
        two.processes.start("engine", int(name[-1]))
        await two.processes.ready(name)
    sizes = await two.processes.door(1).CountMembers(api.CountMembersRequest(at_least=token))
    assert [(one.segment_id, one.members) for one in sizes.sizes] == [("once", 1), ("twice", 1)]


async def test_a_partition_that_does_not_answer_is_named(two: Stack) -> None:
    await two.door.DefineSegment(wish("buyers"))
    two.processes.children["engine-1"].kill9()
    error = await refused(
        two.door.CountMembers(api.CountMembersRequest()), grpc.StatusCode.UNAVAILABLE
    )
    assert "partition 1" in (error.details() or "")
    two.processes.start("engine", 1)
    await two.processes.ready("engine-1")
    sizes = await two.door.CountMembers(api.CountMembersRequest())
    assert sizes.sizes[0].segment_id == "buyers"


async def test_two_doors_define_at_once_and_numbers_stay_dense(two: Stack) -> None:
    doors = [two.door, two.processes.door(1)]
    wishes = [doors[n % 2].DefineSegment(wish(f"s{n:02}")) for n in range(20)]
    rivals = [door.DefineSegment(wish("same", bought(n + 1))) for n, door in enumerate(doors)]
    defined = await asyncio.gather(*wishes, *rivals)
    definitions = [one.segment.definition for one in defined]
    assert {d.segment_number for d in definitions} == set(range(1, 22))
    assert sorted(d.version for d in definitions if d.segment_id == "same") == [1, 2]


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

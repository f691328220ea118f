"""Two partitions that answer as one, and what happens when one is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    SECOND,
    Stack,
    bought,
    by_email,
    public_id,
    read,
    refused,
    stack_of,
    wish,
)


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


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

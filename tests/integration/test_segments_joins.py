"""Previews of merges and splits over two partitions say what then happens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import joins_pb2 as joins
from muster.segments.v1 import service_pb2 as api
from muster.segments.v1.joins_pb2_grpc import JoinsServiceStub
from muster.types.v1.event_pb2 import Identifier
from tests.integration.segments_stack import (
    SECOND,
    Stack,
    bought,
    by_email,
    refused,
    stack_of,
    wish,
)

Preview = dict[str, tuple[list[bool], list[bool]]]


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def stub(stack: Stack, partition: int) -> Any:
    address = f"127.0.0.1:{stack.processes.ports[f'engine-{partition}']}"
    channel = grpc.aio.insecure_channel(address)
    stack.processes.channels.append(channel)
    return JoinsServiceStub(channel)


def told(answer: joins.PreviewMergeResponse | joins.PreviewSplitResponse) -> Preview:
    assert not answer.unknown and answer.position.token
    return {one.segment_id: (list(one.member), list(one.then_member)) for one in answer.memberships}


async def members_of(door: Any, request: api.CheckMembershipsRequest) -> set[str]:
    """Segments that somebody is in."""
    found = (await door.CheckMemberships(request)).memberships
    return {one.segment_id for one in found if one.member}


async def test_people_of_two_partitions_are_previewed_as_one_then_are(two: Stack) -> None:
    await two.log.say(two.log.people(range(4)))
    for name, count in (("once", 1), ("twice", 2), ("thrice", 3)):
        await two.door.DefineSegment(wish(name, bought(count)))
    token = await two.events([(0, "bought", 1), (1, "bought", 1)])
    asked = joins.PreviewMergeRequest(profiles=[by_email(0), by_email(1)], at_least=token)
    want = {"once": ([True, True], [True]), "twice": ([False, False], [True])}
    for partition in (0, 1):
        assert told(await stub(two, partition).PreviewMerge(asked)) == want
    checked = await two.door.CheckMemberships(api.CheckMembershipsRequest(profile=by_email(0)))
    assert sum(one.member for one in checked.memberships) == 1, "a preview changes nothing"
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
    coming = two.log.people([1])[1][1].linked
    coming.profile[:] = [0]
    linked = identity.ProfileEntry(linked=coming)
    await two.log.say({0: [linked, entry], 1: [entry]}, move.move_time_us)
    token = await two.log.tick(1)
    for partition in (0, 1):
        door = two.processes.door(partition)
        request = api.CheckMembershipsRequest(profile=by_email(1), at_least=token)
        async with asyncio.timeout(30):  # The past comes over from the other partition.
            while await members_of(door, request) != {"once", "twice"}:
                await asyncio.sleep(0.05)
    # And taken apart again, before it is.
    parting = joins.PreviewSplitRequest(profile=by_email(0))
    parting.parts.add(identifiers=[Identifier(kind="email", value=by_email(1).identifier.value)])
    assert told(await stub(two, 1).PreviewSplit(parting)) == {
        "once": ([True], [True, True]),
        "twice": ([True], [False, False]),
    }


async def test_what_cannot_be_previewed_says_why(two: Stack) -> None:
    await two.log.say(two.log.people(range(2)))
    door = stub(two, 0)
    one = [by_email(0)]
    wrong = [
        (door.PreviewMerge(joins.PreviewMergeRequest(profiles=one)), "profiles"),
        (door.PreviewMerge(joins.PreviewMergeRequest(profiles=one * 2)), "profiles"),
        (door.PreviewSplit(joins.PreviewSplitRequest(profile=one[0])), "parts"),
    ]
    for call, path in wrong:
        error = await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
        assert path in str(rpc_status.from_call(error))
    nobody = joins.PreviewMergeRequest(profiles=[by_email(0), by_email(99)])
    await refused(door.PreviewMerge(nobody), grpc.StatusCode.NOT_FOUND)

"""Lists over gRPC on a real server: by hand, by import, following a segment, read and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from muster.segments.v1 import lists_pb2 as lists
from muster.segments.v1 import lists_pb2_grpc as rpc
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from muster.types.v1.event_pb2 import Identifier
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    Stack,
    bought,
    by_email,
    details_of,
    public_id,
    refused,
    stack_of,
    wish,
)

ADDED, ALREADY_IN = lists.LIST_VERDICT_ADDED, lists.LIST_VERDICT_ALREADY_IN
REMOVED, NOT_IN = lists.LIST_VERDICT_REMOVED, lists.LIST_VERDICT_NOT_IN
REJECTED = lists.LIST_VERDICT_REJECTED


@pytest.fixture(params=[1, 2])
async def stack(tmp_path: Path, request: Any) -> AsyncIterator[Stack]:
    async for made in stack_of(tmp_path, request.param):
        await made.log.say(made.log.people(range(8)))
        yield made


def door_of(stack: Stack, partition: int = 0) -> Any:
    address = f"127.0.0.1:{stack.processes.ports[f'engine-{partition}']}"
    channel = grpc.aio.insecure_channel(address)
    stack.processes.channels.append(channel)
    return rpc.ListsServiceStub(channel)


def ids(*numbers: int) -> list[str]:
    return sorted(profile_id_text(public_id(number)) for number in numbers)


async def members(stack: Stack, list_id: str) -> list[str]:
    return sorted(
        (await stack.door.ListMembers(api.ListMembersRequest(segment_id=list_id))).profile_ids
    )


async def changed(door: Any, add: Any = (), remove: Any = (), **more: Any) -> Any:
    return await door.ChangeList(
        lists.ChangeListRequest(
            list_id="vip", add=map(by_email, add), remove=map(by_email, remove), **more
        )
    )


def verdicts(results: Any) -> list[int]:
    return [one.verdict for one in results]


async def test_people_are_added_and_taken_out_each_with_a_verdict(stack: Stack) -> None:
    door = door_of(stack)
    defined = await door.DefineList(lists.DefineListRequest(list_id="vip", name="VIP"))
    assert (defined.definition.version, defined.members) == (1, 0)
    again = await door.DefineList(lists.DefineListRequest(list_id="vip", name="VIP"))
    assert again.definition.version == 1
    answer = await changed(door, add=[1, 2, 2, 99], remove=[3], request_id="a")
    assert verdicts(answer.added) == [ADDED, ADDED, ALREADY_IN, REJECTED]
    assert "email" in answer.added[3].reason
    assert verdicts(answer.removed) == [NOT_IN]
    assert answer.added[0].profile_id == profile_id_text(public_id(1))
    assert await members(stack, "vip") == ids(1, 2)
    # A repeat of the request changes nothing, also when the list was changed since.
    answer = await changed(door_of(stack), remove=[1])
    assert verdicts(answer.removed) == [REMOVED]
    answer = await changed(door, add=[1, 2, 2, 99], remove=[3], request_id="a")
    assert verdicts(answer.added) == [NOT_IN, ALREADY_IN, ALREADY_IN, REJECTED]
    assert await members(stack, "vip") == ids(2)
    checked = await stack.door.CheckMemberships(
        api.CheckMembershipsRequest(profile=by_email(2), segment_ids=["vip"])
    )
    assert checked.memberships[0].member
    explained = await stack.door.ExplainMembership(
        api.ExplainMembershipRequest(segment_id="vip", profile=by_email(2))
    )
    assert explained.member
    assert explained.leaves[0].found == "added by hand"
    assert (await stack.door.GetSegment(api.GetSegmentRequest(segment_id="vip"))).segment.sentence


async def test_an_import_accounts_for_every_row(stack: Stack) -> None:
    door = door_of(stack)
    await door.DefineList(lists.DefineListRequest(list_id="vip"))
    await changed(door, add=[1])
    bad = common_pb2.ProfileRef(identifier=Identifier(kind="email", value="not an address"))
    rows = [[by_email(1), by_email(2), by_email(77)], [bad, by_email(2), by_email(3)]]
    head = lists.ImportListRequest(head=lists.ImportListHead(list_id="vip", request_id="file-1"))

    async def stream() -> AsyncIterator[lists.ImportListRequest]:
        yield head
        for part in rows:
            yield lists.ImportListRequest(rows=lists.ImportListRows(rows=part))

    receipt = await door.ImportList(stream())
    assert (receipt.read, receipt.matched, receipt.added) == (6, 4, 2)
    assert (receipt.already_in, receipt.repeated, receipt.rejected) == (1, 1, 2)
    assert [one.row for one in receipt.rejected_rows] == [3, 4]
    assert all(one.reason for one in receipt.rejected_rows)
    assert await members(stack, "vip") == ids(1, 2, 3)
    receipt = await door.ImportList(stream())
    assert (receipt.added, receipt.already_in, receipt.rejected) == (0, 3, 2)
    await changed(door, remove=[3])
    receipt = await door.ImportList(stream())
    assert (receipt.added, receipt.already_in, receipt.rejected) == (0, 2, 3)
    assert "new request_id" in receipt.rejected_rows[2].reason


async def test_a_list_follows_a_segment_and_hands_stand_until_it_speaks_again(
    stack: Stack,
) -> None:
    door = door_of(stack)
    await stack.door.DefineSegment(wish("buyers", bought(1)))
    await door.DefineList(lists.DefineListRequest(list_id="vip", follows_segment_id="buyers"))
    token = await stack.events([(1, "bought", 1), (2, "bought", 1)])
    sizes = await stack.door.CountMembers(api.CountMembersRequest(at_least=token))
    assert {size.segment_id: size.members for size in sizes.sizes} == {"buyers": 2, "vip": 2}
    answer = await changed(door, add=[5], remove=[1])
    assert (verdicts(answer.added), verdicts(answer.removed)) == ([ADDED], [REMOVED])
    assert await members(stack, "vip") == ids(2, 5)
    # 20 seconds after the purchases both buyers leave; 5, who never bought, stays.
    await stack.log.tick(30)
    token = stack.log.token
    await stack.door.CountMembers(api.CountMembersRequest(at_least=token))
    assert await members(stack, "vip") == ids(5)


async def test_emptying_exporting_and_deleting_leave_people_alone(stack: Stack) -> None:
    door = door_of(stack)
    await door.DefineList(lists.DefineListRequest(list_id="vip"))
    await changed(door, add=[1, 2, 3, 4])
    exported = [one async for one in door.ExportList(lists.ExportListRequest(list_id="vip"))]
    assert sorted(p for one in exported for p in one.profile_ids) == ids(1, 2, 3, 4)
    assert exported[0].position.token
    emptied = await door.EmptyList(lists.EmptyListRequest(list_id="vip", request_id="e"))
    assert emptied.removed == 4
    assert await members(stack, "vip") == []
    await changed(door, add=[1])
    in_vip = pb.Condition(list=pb.ListLeaf(list_id="vip"))
    await stack.door.DefineSegment(wish("vips", in_vip))
    delete = lists.DeleteListRequest(list_id="vip")
    error = await refused(door.DeleteList(delete), grpc.StatusCode.FAILED_PRECONDITION)
    assert "vips" in str(error.details())
    await stack.door.RetireSegment(api.RetireSegmentRequest(segment_id="vips"))
    people = lists.DeleteListRequest(list_id="vip", with_people=True)
    error = await refused(door.DeleteList(people), grpc.StatusCode.FAILED_PRECONDITION)
    assert "not built: erasure. The people in vip (1) cannot" in str(error.details())
    deleted = await door.DeleteList(delete)
    assert deleted.members == 1
    await refused(changed(door, add=[1]), grpc.StatusCode.NOT_FOUND)
    checked = await stack.door.CheckMemberships(
        api.CheckMembershipsRequest(profile=by_email(1), at_least=deleted.position.token)
    )
    assert checked.profile_id == profile_id_text(public_id(1))


async def test_what_cannot_be_is_refused_with_its_path(tmp_path: Path) -> None:
    async for stack in stack_of(tmp_path, 1):
        door = door_of(stack)
        await door.DefineList(lists.DefineListRequest(list_id="vip"))
        in_vip = pb.Condition(list=pb.ListLeaf(list_id="vip"))
        await stack.door.DefineSegment(wish("vips", in_vip))
        for wrong, path in (
            (lists.DefineListRequest(list_id="Not An Id"), "list_id"),
            (lists.DefineListRequest(list_id="a", follows_segment_id="b"), "follows_segment_id"),
            (lists.DefineListRequest(list_id="vip", follows_segment_id="vips"),
             "follows_segment_id"),
            (lists.DefineListRequest(list_id="vip", follows_segment_id="vip"),
             "follows_segment_id"),
        ):  # fmt: skip
            error = await refused(door.DefineList(wrong), grpc.StatusCode.INVALID_ARGUMENT)
            assert [found for found, _ in details_of(error)] == [path]
        a_rule = lists.DefineListRequest(list_id="vips")
        await refused(door.DefineList(a_rule), grpc.StatusCode.FAILED_PRECONDITION)
        a_list = stack.door.DefineSegment(wish("vip"))
        await refused(a_list, grpc.StatusCode.INVALID_ARGUMENT)
        for in_no_list in ("nowhere", "vips"):
            named = pb.Condition(list=pb.ListLeaf(list_id=in_no_list))
            asked = stack.door.DefineSegment(wish("more", named))
            await refused(asked, grpc.StatusCode.INVALID_ARGUMENT)
        nobody = lists.ChangeListRequest(list_id="vips", add=[by_email(1)])
        await refused(door.ChangeList(nobody), grpc.StatusCode.NOT_FOUND)

"""Members taken out of a segment on a real server: frozen, split in exact parts, exported."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import lists_pb2 as lists
from muster.segments.v1 import lists_pb2_grpc as lists_rpc
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import condition_pb2 as pb
from services.chassis import subjects
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    TENANT,
    Stack,
    bought,
    details_of,
    public_id,
    refused,
    stack_of,
    wish,
)


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def profiles(numbers: Any) -> set[str]:
    return {profile_id_text(public_id(number)) for number in numbers}


async def members(stack: Stack, segment_id: str) -> set[str]:
    listed = await stack.door.ListMembers(api.ListMembersRequest(segment_id=segment_id))
    return set(listed.profile_ids)


async def buyers(stack: Stack, count: int) -> None:
    await stack.log.say(stack.log.people(range(40)))
    await stack.door.DefineSegment(wish("buyers", bought(1), name="Buyers"))
    token = await stack.events([(n, "bought", 1) for n in range(count)])
    await stack.door.CountMembers(api.CountMembersRequest(at_least=token))


def split(*list_ids: str, **more: Any) -> api.SplitSegmentRequest:
    parts = [api.SplitPart(list_id=one) for one in list_ids]
    return api.SplitSegmentRequest(segment_id="buyers", parts=parts, **more)


async def test_eleven_are_split_into_six_and_five_and_ten_are_refused(two: Stack) -> None:
    await buyers(two, 10)
    error = await refused(
        two.door.SplitSegment(split("a", "b")), grpc.StatusCode.FAILED_PRECONDITION
    )
    assert "has 10 members" in (error.details() or "")
    token = await two.events([(10, "bought", 1)], 0.1)
    await two.door.CountMembers(api.CountMembersRequest(at_least=token))
    request = split("a", "b", salt="spring", request_id="split-1", author="ada")
    answer = await two.door.SplitSegment(request)
    assert [(one.definition.segment_id, one.members, one.kind) for one in answer.lists] == [
        ("a", 6, api.SEGMENT_KIND_LIST),
        ("b", 5, api.SEGMENT_KIND_LIST),
    ]
    assert [one.definition.name for one in answer.lists] == ["Buyers (1)", "Buyers (2)"]
    assert len(answer.warnings) == 1
    a, b = await members(two, "a"), await members(two, "b")
    assert not a & b
    assert a | b == profiles(range(11))
    # A repeat makes nothing new; the same salt divides alike, another does not.
    await two.door.SplitSegment(request)
    assert (await members(two, "a"), await members(two, "b")) == (a, b)
    await refused(two.door.SplitSegment(split("a", "c")), grpc.StatusCode.ABORTED)
    await two.door.SplitSegment(split("c", "d", salt="spring"))
    assert await members(two, "c") == a
    # People leave the segment; the parts stay as they are.
    token = await two.log.tick(60)
    await two.door.CountMembers(api.CountMembersRequest(at_least=token))
    assert (await members(two, "buyers"), await members(two, "a")) == (set(), a)


async def test_parts_by_shares_add_up(two: Stack) -> None:
    await buyers(two, 23)
    shares = [("x", 500), ("y", 333), ("z", 167)]
    parts = [api.SplitPart(list_id=name, share_permille=share) for name, share in shares]
    answer = await two.door.SplitSegment(
        api.SplitSegmentRequest(segment_id="buyers", parts=parts, salt="1")
    )
    assert [one.members for one in answer.lists] == [11, 8, 4]
    for wrong, path in (
        (split("a"), "parts"),
        (split("a", "a"), "parts[1].list_id"),
        (split("a", "B!"), "parts[1].list_id"),
        (
            api.SplitSegmentRequest(
                segment_id="buyers",
                parts=[api.SplitPart(list_id="a", share_permille=10), api.SplitPart(list_id="b")],
            ),
            "parts",
        ),
    ):
        error = await refused(two.door.SplitSegment(wrong), grpc.StatusCode.INVALID_ARGUMENT)
        assert [one for one, _ in details_of(error)] == [path]


async def test_live_parts_take_in_whoever_comes_later(two: Stack) -> None:
    await buyers(two, 20)
    answer = await two.door.SplitSegment(split("a", "b", salt="spring", live=True))
    assert [one.kind for one in answer.lists] == [api.SEGMENT_KIND_DYNAMIC] * 2
    assert sum(one.members for one in answer.lists) == 20
    a, b = await members(two, "a"), await members(two, "b")
    assert a | b == profiles(range(20))
    token = await two.events([(n, "bought", 1) for n in range(20, 40)], 0.1)
    await two.door.CountMembers(api.CountMembersRequest(at_least=token))
    later_a, later_b = await members(two, "a"), await members(two, "b")
    assert later_a | later_b == profiles(range(40))
    assert not later_a & later_b
    assert (later_a >= a, later_b >= b) == (True, True)
    assert min(len(later_a), len(later_b)) > 8


async def test_a_frozen_list_stays_when_the_rule_goes_on(two: Stack) -> None:
    await buyers(two, 5)
    request = api.FreezeSegmentRequest(segment_id="buyers", list_id="march", request_id="f1")
    frozen = (await two.door.FreezeSegment(request)).list
    assert (frozen.definition.name, frozen.members) == ("Buyers (frozen)", 5)
    token = await two.events([(30, "bought", 1)], 19)
    await two.door.CountMembers(api.CountMembersRequest(at_least=await two.log.tick(5)))
    assert token
    assert await members(two, "buyers") == profiles([30])
    assert await members(two, "march") == profiles(range(5))
    again = (await two.door.FreezeSegment(request)).list
    assert again.members == 5
    copied = api.CopySegmentRequest(segment_id="march", new_segment_id="april")
    error = await refused(two.door.CopySegment(copied), grpc.StatusCode.FAILED_PRECONDITION)
    assert "is a list" in (error.details() or "")
    found = await two.door.FindSegments(api.FindSegmentsRequest(kind=api.SEGMENT_KIND_LIST))
    assert [one.definition.segment_id for one in found.segments] == ["march"]


async def test_an_export_has_the_columns_asked_for_and_leaves_a_trace(two: Stack) -> None:
    await buyers(two, 7)
    everybody = pb.Condition(everyone=pb.Everyone())
    await two.door.DefineSegment(wish("all-of-them", everybody))
    columns = ["profile_id", "channel.email", "channel.sms", "segment.buyers", "attribute.city"]
    export = two.door.ExportSegment(
        api.ExportSegmentRequest(segment_id="all-of-them", columns=columns, author="ada")
    )
    answers = [answer async for answer in export]
    assert list(answers[0].columns) == columns
    rows = [list(row.values) for answer in answers for row in answer.rows]
    assert {row[0] for row in rows} == profiles(range(40))
    assert len(rows) == 40
    assert {tuple(row[1:3]) for row in rows} == {("yes", "no")}
    assert {row[0] for row in rows if row[3] == "yes"} == profiles(range(7))
    assert {row[4] for row in rows} == {""}
    audit = await two.client.jetstream().get_last_msg(
        subjects.CONTROL, subjects.control(TENANT, "audit")
    )
    said = segments.SegmentExported.FromString(audit.data or b"")
    assert (said.segment_id, said.author, said.members) == ("all-of-them", "ada", 40)
    assert list(said.columns) == columns
    wrong = ["e-mail", "channel.pigeon", "segment.nowhere"]
    bad = two.door.ExportSegment(api.ExportSegmentRequest(segment_id="buyers", columns=wrong))
    error = await refused(bad.read(), grpc.StatusCode.INVALID_ARGUMENT)
    assert [path for path, _ in details_of(error)] == [f"columns[{n}]" for n in range(3)]


async def test_who_may_export_shows_a_key_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warehouse has the right; a list is handed out as a segment is, and leaves the trace."""
    kept = hashlib.sha256(b"a long random key").hexdigest()
    monkeypatch.setenv("MUSTER_EXPORT_KEYS", f"warehouse:{kept}")
    async for stack in stack_of(tmp_path, 1):
        await buyers(stack, 3)
        asked = api.ExportSegmentRequest(segment_id="buyers")
        missing = stack.door.ExportSegment(asked)
        await refused(missing.read(), grpc.StatusCode.UNAUTHENTICATED)
        wrong = stack.door.ExportSegment(asked, metadata=[("authorization", "Bearer guess")])
        await refused(wrong.read(), grpc.StatusCode.PERMISSION_DENIED)
        shown = [("authorization", "Bearer a long random key")]
        answers = [one async for one in stack.door.ExportSegment(asked, metadata=shown)]
        assert sum(len(answer.rows) for answer in answers) == 3
        frozen = api.FreezeSegmentRequest(segment_id="buyers", list_id="march", request_id="f")
        await stack.door.FreezeSegment(frozen)
        address = f"127.0.0.1:{stack.processes.ports['engine-0']}"
        async with grpc.aio.insecure_channel(address) as channel:
            door = lists_rpc.ListsServiceStub(channel)
            request = lists.ExportListRequest(list_id="march", author="ada")
            await refused(door.ExportList(request).read(), grpc.StatusCode.UNAUTHENTICATED)
            pages = [one async for one in door.ExportList(request, metadata=shown)]
        assert len(pages[0].profile_ids) == 3
        audit = await stack.client.jetstream().get_last_msg(
            subjects.CONTROL, subjects.control(TENANT, "audit")
        )
        said = segments.SegmentExported.FromString(audit.data or b"")
        assert (said.segment_id, said.author, said.key_name) == ("march", "ada", "warehouse")
        assert (said.members, list(said.columns)) == (3, ["profile_id"])

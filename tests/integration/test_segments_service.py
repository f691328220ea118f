"""The segments service over gRPC on a real server: define, ask, list, refuse."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from cli.commands.segments import explain_lines
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    SECOND,
    Stack,
    bought,
    by_email,
    details_of,
    public_id,
    refused,
    stack_of,
    wish,
)


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


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
    # Who is out is told what would bring them in; that it does not come by itself is known.
    await one.door.DefineSegment(wish("regulars", bought(3)))
    explained = await one.door.ExplainMembership(
        api.ExplainMembershipRequest(segment_id="regulars", profile=by_email(1))
    )
    assert not explained.member
    assert explained.leaves[0].missing == "2 more"
    assert (explained.flip_unknown, explained.HasField("flip_time")) == (False, False)
    lines = explain_lines("regulars", explained)
    assert lines[1].endswith("found 1, 2 more would turn it")
    assert lines[-1] == "  does not flip by time alone"


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

"""The life of a segment on a real server: versions, dry runs, search, copies, shadows, the end."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    Stack,
    bought,
    details_of,
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


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def member_of(segment_id: str) -> pb.Condition:
    return pb.Condition(segment=pb.SegmentLeaf(segment_id=segment_id))


def both(*of: pb.Condition) -> pb.Condition:
    return pb.Condition(all=pb.Group(of=of))


def email() -> pb.Condition:
    return pb.Condition(channel=pb.ChannelLeaf(channel="email"))


def profile(number: int) -> str:
    return profile_id_text(public_id(number))


async def test_every_version_says_who_changed_what_and_why(one: Stack) -> None:
    await one.log.say(one.log.people(range(3)))
    door = one.door
    await door.DefineSegment(wish("buyers", bought(1), author="ada", note="first"))
    await door.DefineSegment(
        wish("buyers", both(bought(2), email()), author="bob", note="two, by mail")
    )
    described = await door.DescribeSegment(
        api.DescribeSegmentRequest(
            segment_id="buyers", name="Buyers", tags=["sales"], author="eve", request_id="d1"
        )
    )
    definition = described.segment.definition
    assert (definition.version, definition.revision, definition.name) == (2, 1, "Buyers")
    again = await door.DescribeSegment(
        api.DescribeSegmentRequest(
            segment_id="buyers", name="Buyers", tags=["sales"], request_id="d1"
        )
    )
    assert again.segment.definition == definition
    found, token = [], ""
    while True:
        page = await door.ListVersions(
            api.ListVersionsRequest(segment_id="buyers", page_size=2, page_token=token)
        )
        found += page.versions
        token = page.next_page_token
        if not token:
            break
    assert [
        (v.definition.version, v.definition.revision, v.definition.author, v.definition.note)
        for v in found
    ] == [(2, 1, "eve", ""), (2, 0, "bob", "two, by mail"), (1, 0, "ada", "first")]
    assert all(v.definition.define_time.seconds for v in found)
    assert [(d.path, d.before, d.after) for d in found[0].differences] == [
        ("name", "buyers", "Buyers"),
        ("tags", "", "sales"),
    ]
    diff = await door.DiffVersions(api.DiffVersionsRequest(segment_id="buyers"))
    assert (diff.from_version, diff.to_version) == (1, 2)
    rule = {d.path: d for d in diff.differences if d.path.startswith("condition")}
    assert rule["condition.all[1]"].kind == api.DIFFERENCE_KIND_ADDED
    assert rule["condition.all[1]"].after == "reachable by email"
    changed = rule["condition.all[0]"] if "condition.all[0]" in rule else rule["condition"]
    assert changed.before != changed.after
    for call, code in (
        (api.DiffVersionsRequest(segment_id="buyers", to_version=9), grpc.StatusCode.NOT_FOUND),
        (api.DiffVersionsRequest(segment_id="nobody"), grpc.StatusCode.NOT_FOUND),
    ):
        await refused(door.DiffVersions(call), code)
    await refused(
        door.DescribeSegment(api.DescribeSegmentRequest(segment_id="buyers", expected_version=1)),
        grpc.StatusCode.ABORTED,
    )


async def test_a_dry_run_says_what_the_change_then_does_over_all_partitions(two: Stack) -> None:
    await two.log.say(two.log.people(range(8)))
    door = two.door
    await door.DefineSegment(wish("buyers", bought(1)))
    await door.DefineSegment(wish("mailed", both(member_of("buyers"), email())))
    await door.DefineSegment(wish("others", pb.Condition(**{"not": member_of("buyers")})))
    # 0 to 3 bought once, 4 to 6 viewed; 3 did both.
    rows = [(n, "bought", 1) for n in range(4)] + [(n, "viewed", 1) for n in (3, 4, 5, 6)]
    token = await two.events(rows)
    dry = await door.PreviewChange(
        api.PreviewChangeRequest(
            segment_id="buyers", condition=bought(1, kind="viewed"), sample_size=10, at_least=token
        )
    )
    assert (dry.enters, dry.leaves, dry.stays, dry.profiles) == (3, 3, 1, 8)
    assert set(dry.entering_profile_ids) == {profile(n) for n in (4, 5, 6)}
    assert set(dry.leaving_profile_ids) == {profile(n) for n in (0, 1, 2)}
    assert {one.channel: one.profiles for one in dry.entering_reach}["email"] == 3
    affected = {one.segment_id: (one.enters, one.leaves) for one in dry.dependents}
    assert affected == {"mailed": (3, 3), "others": (3, 3)}
    assert dry.triggers == 0
    (changed,) = dry.differences
    assert "bought" in changed.before
    assert "viewed" in changed.after
    gone = await door.PreviewChange(api.PreviewChangeRequest(segment_id="buyers"))
    assert (gone.enters, gone.leaves, gone.stays) == (0, 4, 0)
    assert {one.segment_id: (one.enters, one.leaves) for one in gone.dependents} == {
        "mailed": (0, 4),
        "others": (4, 0),
    }
    # The change itself does exactly that, without a trigger: its reason is rule_change.
    watch = door.WatchTransitions(api.WatchTransitionsRequest())
    await watch.read()
    loud = segments.TriggerPolicy(reasons=[common_pb2.REASON_RULE_CHANGE])
    loudly = await door.PreviewChange(
        api.PreviewChangeRequest(
            segment_id="buyers", condition=bought(1, kind="viewed"), triggers=loud
        )
    )
    assert (loudly.triggers, loudly.open_watches) == (6, 1)
    await door.DefineSegment(wish("buyers", bought(1, kind="viewed")))
    said, _ = await read(watch, 18)
    assert {t.reason for t in said} == {common_pb2.REASON_RULE_CHANGE}
    entered = {
        t.profile_id
        for t in said
        if t.segment_id == "buyers" and t.direction == common_pb2.DIRECTION_ENTERED
    }
    assert entered == set(dry.entering_profile_ids)


async def test_a_preview_says_share_and_reach(two: Stack) -> None:
    token = await two.log.say(two.log.people(range(4)))
    await two.events([(0, "bought", 1), (1, "bought", 1), (2, "bought", 1)])
    preview = await two.door.PreviewSegment(
        api.PreviewSegmentRequest(condition=bought(1), sample_size=2, at_least=two.log.token)
    )
    assert token
    assert (preview.members, preview.profiles, preview.share) == (3, 4, 0.75)
    assert len(preview.sample_profile_ids) == 2
    reach = {one.channel: one.profiles for one in preview.reach}
    assert (reach["email"], reach["sms"], preview.reachable) == (3, 0, 3)
    assert preview.cost_us > 0


async def test_search_and_lineage_find_rules_by_what_they_use(one: Stack) -> None:
    door = one.door
    city = pb.Condition(
        attribute=pb.AttributeLeaf(attribute="address.city", test=pb.Test(op=pb.OPERATOR_EXISTS))
    )
    prefixed = pb.Condition(event=pb.EventLeaf(events=pb.EventSelector(type_prefix="order_")))
    await door.DefineSegment(wish("buyers", bought(1), name="People who buy", author="ada"))
    await door.DefineSegment(wish("locals", city, tags=["geo"], author="bob"))
    await door.DefineSegment(wish("orders", prefixed))
    await door.DefineSegment(wish("local-buyers", both(member_of("buyers"), city)))
    await door.DefineSegment(wish("top", both(member_of("local-buyers"), email()), tags=["geo"]))

    async def found(**asked: object) -> list[str]:
        answer = await door.FindSegments(api.FindSegmentsRequest(**asked))
        return [segment.definition.segment_id for segment in answer.segments]

    assert await found(text="BUY") == ["buyers", "local-buyers"]
    assert await found(tags=["geo"]) == ["locals", "top"]
    assert await found(author="ada") == ["buyers"]
    assert await found(uses=api.SegmentUse(attribute="address")) == ["local-buyers", "locals"]
    assert await found(uses=api.SegmentUse(event_type="order_paid")) == ["orders"]
    assert await found(uses=api.SegmentUse(event_type="bought")) == ["buyers"]
    assert await found(uses=api.SegmentUse(segment_id="buyers")) == ["local-buyers"]
    assert await found(uses=api.SegmentUse(channel="email")) == ["top"]
    assert await found(kind=api.SEGMENT_KIND_SHADOW) == []
    first = await door.FindSegments(api.FindSegmentsRequest(page_size=2))
    rest = await door.FindSegments(api.FindSegmentsRequest(page_token=first.next_page_token))
    ids = [s.definition.segment_id for s in [*first.segments, *rest.segments]]
    assert ids == ["buyers", "local-buyers", "locals", "orders", "top"]
    lineage = await door.GetLineage(api.GetLineageRequest(of=api.SegmentUse(event_type="bought")))
    assert [(d.segment_id, d.distance, d.via_segment_id) for d in lineage.dependents] == [
        ("buyers", 1, ""),
        ("local-buyers", 2, "buyers"),
        ("top", 3, "local-buyers"),
    ]
    lineage = await door.GetLineage(
        api.GetLineageRequest(of=api.SegmentUse(segment_id="local-buyers"))
    )
    assert [(use.segment_id, use.attribute) for use in lineage.uses] == [
        ("buyers", ""),
        ("", "address.city"),
    ]
    assert [d.segment_id for d in lineage.dependents] == ["top"]
    await refused(door.GetLineage(api.GetLineageRequest()), grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_forced_retirement_takes_what_rests_on_it_along(one: Stack) -> None:
    door = one.door
    await one.log.say(one.log.people(range(2)))
    await door.DefineSegment(wish("a", bought(1)))
    await door.DefineSegment(wish("b", member_of("a")))
    await door.DefineSegment(wish("c", both(member_of("b"), member_of("a"))))
    await door.DefineSegment(wish("a-next", bought(2), shadow_of="a"))
    error = await refused(
        door.RetireSegment(api.RetireSegmentRequest(segment_id="a")),
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert "a-next, b, c" in (error.details() or "")
    gone = await door.RetireSegment(
        api.RetireSegmentRequest(segment_id="a", force=True, request_id="end", author="ada")
    )
    order = list(gone.retired_segment_ids)
    assert order[-1] == "a"
    assert sorted(order) == ["a", "a-next", "b", "c"]
    assert order.index("c") < order.index("b")
    repeated = await door.RetireSegment(
        api.RetireSegmentRequest(segment_id="a", force=True, request_id="end")
    )
    assert list(repeated.retired_segment_ids) == ["a"]
    assert not (await door.ListSegments(api.ListSegmentsRequest())).segments
    versions = await door.ListVersions(api.ListVersionsRequest(segment_id="b"))
    assert versions.versions[0].definition.note == "rested on a"


async def test_copies_are_of_rules_only(one: Stack) -> None:
    door = one.door
    await one.log.say(one.log.people(range(3)))
    policy = segments.TriggerPolicy(cool_down=Duration(seconds=60))
    await door.DefineSegment(wish("a", bought(1), triggers=policy, zone="Europe/Kyiv", tags=["x"]))
    await one.events([(1, "bought", 1)])
    request = api.CopySegmentRequest(segment_id="a", new_segment_id="b", request_id="copy-1")
    made = (await door.CopySegment(request)).segment
    source = (await door.GetSegment(api.GetSegmentRequest(segment_id="a"))).segment
    assert made.definition.condition == source.definition.condition
    assert made.definition.triggers == policy
    assert (made.definition.zone, list(made.definition.tags)) == ("Europe/Kyiv", ["x"])
    assert (made.members, made.definition.version) == (1, 1)
    assert (await door.CopySegment(request)).segment.definition == made.definition
    taken = api.CopySegmentRequest(segment_id="a", new_segment_id="b")
    await refused(door.CopySegment(taken), grpc.StatusCode.ABORTED)
    await refused(
        door.CopySegment(api.CopySegmentRequest(segment_id="none", new_segment_id="c")),
        grpc.StatusCode.NOT_FOUND,
    )


async def test_a_shadow_is_counted_beside_the_live_rule_and_promoted(one: Stack) -> None:
    door = one.door
    await one.log.say(one.log.people(range(4)))
    live = (await door.DefineSegment(wish("a", bought(2), name="A", tags=["x"]))).segment
    shadow = (await door.DefineSegment(wish("a-next", bought(1), shadow_of="a"))).segment
    assert shadow.kind == api.SEGMENT_KIND_SHADOW
    unnamed = door.WatchTransitions(api.WatchTransitionsRequest())
    named = door.WatchTransitions(api.WatchTransitionsRequest(segment_ids=["a-next"]))
    await unnamed.read()
    await named.read()
    token = await one.events([(1, "bought", 1), (2, "bought", 1), (2, "bought", 1)])
    sizes = await door.CountMembers(api.CountMembersRequest(at_least=token))
    assert {s.segment_id: s.members for s in sizes.sizes} == {"a": 1, "a-next": 2}
    assert [t.segment_id for t in (await read(named, 2))[0]] == ["a-next", "a-next"]
    assert [t.segment_id for t in (await read(unnamed, 1))[0]] == ["a"]
    checked = await door.CheckMemberships(
        api.CheckMembershipsRequest(profile=common_pb2.ProfileRef(profile_id=profile(1)))
    )
    assert [m.segment_id for m in checked.memberships] == ["a"]
    for wrong in (
        wish("x", bought(1), shadow_of="nowhere"),
        wish("x", bought(1), shadow_of="a-next"),
        wish("x", bought(1), shadow_of="a", triggers=segments.TriggerPolicy(reentry=True)),
        wish("x", member_of("a-next")),
        wish("a-next", bought(3)),
        wish("a", bought(3), shadow_of="a"),
    ):
        error = await refused(door.DefineSegment(wrong), grpc.StatusCode.INVALID_ARGUMENT)
        assert details_of(error)
    promoted = await door.PromoteShadow(
        api.PromoteShadowRequest(segment_id="a-next", author="ada", expected_version=1)
    )
    definition = promoted.segment.definition
    assert (definition.segment_id, definition.version, definition.name) == ("a", 2, "A")
    assert definition.condition == shadow.definition.condition
    assert (promoted.segment.members, list(definition.tags)) == (2, ["x"])
    assert live.definition.segment_number == definition.segment_number
    again = await door.PromoteShadow(api.PromoteShadowRequest(segment_id="a-next"))
    assert again.segment.definition == definition
    listed = await door.ListSegments(api.ListSegmentsRequest())
    assert [s.definition.segment_id for s in listed.segments] == ["a"]

"""Questions about the past, the next hours and several segments, over two partitions, for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from muster.segments.v1 import explore_pb2 as api
from muster.segments.v1 import explore_pb2_grpc as rpc
from muster.segments.v1 import lists_pb2 as lists
from muster.segments.v1 import lists_pb2_grpc as lists_rpc
from muster.segments.v1 import service_pb2
from muster.types.v1 import common_pb2
from services.chassis.parking import timestamp
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    SECOND,
    START_US,
    Stack,
    bought,
    by_email,
    details_of,
    public_id,
    refused,
    stack_of,
    wish,
)
from tests.integration.test_cli_segments_life import muster

ENTERED, LEFT = common_pb2.DIRECTION_ENTERED, common_pb2.DIRECTION_LEFT


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def explore(stack: Stack, partition: int = 0) -> Any:
    address = f"127.0.0.1:{stack.processes.ports[f'engine-{partition}']}"
    channel = grpc.aio.insecure_channel(address)
    stack.processes.channels.append(channel)
    return rpc.ExploreServiceStub(channel)


def at(seconds: float) -> Any:
    return timestamp(START_US + round(seconds * SECOND))


def profiles(*numbers: int) -> set[str]:
    return {profile_id_text(public_id(number)) for number in numbers}


async def a_busy_minute(stack: Stack) -> str:
    """Buyers at seconds 1 to 6, each for 20 seconds; it is second 30 at the end."""
    await stack.log.say(stack.log.people(range(8)))
    await stack.door.DefineSegment(wish("buyers", bought(1)))
    await stack.door.DefineSegment(wish("regulars", bought(2)))
    begin = stack.log.time_us
    assert begin == START_US
    for number in range(6):
        await stack.events([(number, "bought", 1)])
    await stack.events([(0, "bought", 1)], 4)  # Second 10: until second 30.
    token = await stack.log.tick(12)  # Second 22.
    await stack.door.CountMembers(service_pb2.CountMembersRequest(at_least=token))
    return token


async def test_the_past_and_the_next_minutes_over_two_partitions(two: Stack) -> None:
    token = await a_busy_minute(two)
    for asked in (explore(two), explore(two, 1)):
        await the_past(asked, token)
        await back_tests(asked)
        await one_profile(asked)
        await together(asked)
    await by_command(two)
    await wrong_questions(explore(two))
    await a_list_as_it_was(two)
    await the_version_of_the_time(two)


async def the_past(asked: Any, token: str) -> None:
    rule = api.RuleRef(segment_id="buyers")
    request = api.ListMembersAsOfRequest(rule=rule, at_time=at(3.5), page_size=2, at_least=token)
    found: set[str] = set()
    answer = await asked.ListMembersAsOf(request)
    assert (answer.members, answer.profiles) == (3, 8)
    assert answer.position.token
    while True:
        assert len(answer.profile_ids) <= 2
        found |= set(answer.profile_ids)
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
        answer = await asked.ListMembersAsOf(request)
    assert found == profiles(0, 1, 2)
    other = api.ListMembersAsOfRequest(rule=rule, at_time=at(4), page_token=request.page_token)
    await refused(asked.ListMembersAsOf(other), grpc.StatusCode.INVALID_ARGUMENT)
    counted = await asked.ListMembersAsOf(
        api.ListMembersAsOfRequest(rule=api.RuleRef(condition=bought(2)), at_time=at(10))
    )
    assert (counted.members, list(counted.profile_ids)) == (1, [])


async def back_tests(asked: Any) -> None:
    instants = [at(second) for second in (0.5, 1, 6, 21, 22)]
    for rule in (api.RuleRef(segment_id="buyers"), api.RuleRef(condition=bought(1))):
        call = asked.BacktestRule(api.BacktestRuleRequest(rule=rule, at_times=instants))
        points = [(p.members, p.entered, p.left, p.profiles) async for p in call]
        # Who bought in second 1 is out at 21, but for the first, who bought again; then the next.
        assert points == [(0, 0, 0, 8), (1, 1, 0, 8), (6, 5, 0, 8), (6, 0, 0, 8), (5, 0, 1, 8)]
    known = api.BacktestRuleRequest(
        rule=api.RuleRef(segment_id="buyers"), at_times=instants, known_time=at(3_600)
    )
    assert [p.members async for p in asked.BacktestRule(known)] == [0, 1, 6, 6, 5]


async def one_profile(asked: Any) -> None:
    for number, rule, turns in (
        (0, "buyers", [(ENTERED, 1)]),
        (1, "buyers", [(ENTERED, 2), (LEFT, 22)]),
        (0, "regulars", [(ENTERED, 10), (LEFT, 21)]),
        (7, "buyers", []),
    ):
        request = api.GetMembershipHistoryRequest(
            rule=api.RuleRef(segment_id=rule), profile=by_email(number)
        )
        answer = await asked.GetMembershipHistory(request)
        said = [(turn.direction, turn.at_time.ToMicroseconds()) for turn in answer.turns]
        assert said == [(way, START_US + second * SECOND) for way, second in turns]
        assert (answer.member_at_start, answer.truncated) == (False, False)
        assert {answer.profile_id} == profiles(number)
    request = api.GetMembershipHistoryRequest(
        rule=api.RuleRef(condition=bought(1)), profile=by_email(1), from_time=at(5), to_time=at(21)
    )
    answer = await asked.GetMembershipHistory(request)
    assert (answer.member_at_start, list(answer.turns)) == (True, [])


async def together(asked: Any) -> None:
    overlap = await asked.GetOverlap(api.GetOverlapRequest(segment_ids=["buyers", "regulars"]))
    assert list(overlap.segment_ids) == ["buyers", "regulars"]
    assert list(overlap.shared) == [5, 0, 0, 0]
    assert (overlap.any, overlap.none) == (5, 3)
    request = api.ListNextFlipsRequest(segment_id="buyers", limit=3)
    request.within.FromSeconds(5)
    soon = await asked.ListNextFlips(request)
    assert (soon.entering, soon.leaving) == (0, 4)
    flips = [(one.profile_id, one.direction, one.flip_time.ToMicroseconds()) for one in soon.flips]
    assert flips == [
        (profile_id_text(public_id(number)), LEFT, START_US + (number + 21) * SECOND)
        for number in (2, 3, 4)
    ]


async def by_command(stack: Stack) -> None:
    rule = stack.processes.folder / "rule.yaml"
    rule.write_text("segment: new\ncondition: {event: {type: bought, window: last 20 seconds}}\n")
    for named in ("buyers", str(rule)):
        said = await muster(stack, "segments", "as-of", named, moment_of(3.5))
        by = " by version 1" if named == "buyers" else ""
        assert said.splitlines()[0] == f"3 of 8 profiles{by}"
        assert {line.strip() for line in said.splitlines()[1:]} == profiles(0, 1, 2)
        instants = ("--every", "5 seconds", moment_of(1), moment_of(22))
        said = await muster(stack, "segments", "backtest", named, *instants)
        sizes = [line.split()[2:5] for line in said.splitlines()]
        assert sizes[0] == ["1", "+0", "-0"]
        assert sizes[1:3] == [["6", "+5", "-0"], ["6", "+0", "-0"]]
        said = await muster(stack, "segments", "history", named, "email=p1@example.com")
        lines = [line for line in said.splitlines() if not line.startswith(" ")]
        ways = [set(line.split()) & {"out", "entered", "left"} for line in lines]
        assert ways == [{"out"}, {"entered"}, {"left"}]
        assert [line.split()[-1] for line in lines[2:]] == ["time"]
    said = await muster(stack, "segments", "overlap", "buyers", "regulars")
    assert "5 in any of them, 3 in none" in said
    said = await muster(stack, "segments", "flips", "buyers", "--within", "5 seconds")
    assert said.splitlines()[0] == "0 will enter, 4 will leave"
    assert len(said.splitlines()) == 5
    said = await muster(stack, "segments", "as-of", "buyers", "yesterday", code=1)
    assert "must be an instant" in said


def moment_of(seconds: float) -> str:
    return str(at(seconds).ToJsonString())


async def wrong_questions(asked: Any) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    buyers = api.RuleRef(segment_id="buyers")
    ahead = timestamp(START_US + 10**6 * 1_000 * SECOND)
    for call, path in (
        (asked.ListMembersAsOf(api.ListMembersAsOfRequest(at_time=at(1))), "rule"),
        (asked.ListMembersAsOf(api.ListMembersAsOfRequest(rule=buyers)), "at_time"),
        (asked.ListMembersAsOf(api.ListMembersAsOfRequest(rule=buyers, at_time=ahead)), "at_time"),
        (asked.GetOverlap(api.GetOverlapRequest()), "segment_ids"),
        (asked.ListNextFlips(api.ListNextFlipsRequest(segment_id="buyers", limit=-1)), "limit"),
    ):
        assert [path for path, _ in details_of(await refused(call, invalid))] == [path]
    backwards = asked.BacktestRule(api.BacktestRuleRequest(rule=buyers, at_times=[at(2), at(1)]))
    assert details_of(await refused(backwards.read(), invalid))[0][0] == "at_times"
    unknown = api.ListMembersAsOfRequest(rule=api.RuleRef(segment_id="nobody"), at_time=at(1))
    await refused(asked.ListMembersAsOf(unknown), grpc.StatusCode.NOT_FOUND)


async def a_list_as_it_was(stack: Stack) -> None:
    """Ann and Ben are put into the list, then Ben is taken out; the past keeps both."""
    address = f"127.0.0.1:{stack.processes.ports['engine-0']}"
    async with grpc.aio.insecure_channel(address) as channel:
        vip = lists_rpc.ListsServiceStub(channel)
        await vip.DefineList(lists.DefineListRequest(list_id="vip"))
        before = await later(stack)
        await vip.ChangeList(lists.ChangeListRequest(list_id="vip", add=[by_email(1), by_email(2)]))
        both = await later(stack)
        await vip.ChangeList(lists.ChangeListRequest(list_id="vip", remove=[by_email(2)]))
        one = await later(stack)
    asked, rule = explore(stack), api.RuleRef(segment_id="vip")
    for instant, expected in ((before, set()), (both, profiles(1, 2)), (one, profiles(1))):
        for known in (None, one):
            request = api.ListMembersAsOfRequest(rule=rule, at_time=timestamp(instant), page_size=9)
            if known:
                request.known_time.CopyFrom(timestamp(known))
            answer = await asked.ListMembersAsOf(request)
            assert (set(answer.profile_ids), answer.segment_version) == (expected, 1)
    call = asked.BacktestRule(
        api.BacktestRuleRequest(rule=rule, at_times=map(timestamp, (before, both, one)))
    )
    assert [(p.members, p.entered, p.left) async for p in call] == [(0, 0, 0), (2, 2, 0), (1, 0, 1)]
    whole = api.GetMembershipHistoryRequest(rule=rule, profile=by_email(2))
    turns = (await asked.GetMembershipHistory(whole)).turns
    assert [(turn.direction, turn.reason) for turn in turns] == [
        (ENTERED, common_pb2.REASON_LIST_CHANGE), (LEFT, common_pb2.REASON_LIST_CHANGE),
    ]  # fmt: skip
    # What it shares now, and its next flips, are no questions about the past.
    overlap = await asked.GetOverlap(api.GetOverlapRequest(segment_ids=["vip", "buyers"]))
    assert overlap.shared[0] == 1
    soon = await asked.ListNextFlips(api.ListNextFlipsRequest(segment_id="vip"))
    assert (soon.entering, soon.leaving) == (0, 0)


async def later(stack: Stack) -> int:
    """Two seconds pass; the instant of the log in the middle of them."""
    instant = stack.log.time_us + SECOND
    token = await stack.log.tick(2)
    await stack.door.CountMembers(service_pb2.CountMembersRequest(at_least=token))
    return instant


def said_at(instant_us: int) -> str:
    return str(timestamp(instant_us).ToJsonString())


async def the_version_of_the_time(stack: Stack) -> None:
    """Who bought once was a regular until the rule asked for a second purchase."""
    await stack.door.DefineSegment(wish("fans", bought(1)))
    await stack.events([(3, "bought", 1)])
    first = await later(stack)
    await stack.door.DefineSegment(wish("fans", bought(2), expected_version=1))
    second = await later(stack)
    asked, rule = explore(stack), api.RuleRef(segment_id="fans")
    for instant, present, expected in (
        (first, False, (1, 1)), (second, False, (0, 2)), (first, True, (0, 0)),
    ):  # fmt: skip
        rule.present = present
        request = api.ListMembersAsOfRequest(rule=rule, at_time=timestamp(instant))
        answer = await asked.ListMembersAsOf(request)
        assert (answer.members, answer.segment_version) == expected
    known = api.ListMembersAsOfRequest(
        rule=api.RuleRef(segment_id="fans"), at_time=timestamp(first), known_time=timestamp(second)
    )
    assert (await asked.ListMembersAsOf(known)).segment_version == 2
    whole = api.GetMembershipHistoryRequest(
        rule=api.RuleRef(segment_id="fans"), profile=by_email(3)
    )
    entered, left = (await asked.GetMembershipHistory(whole)).turns
    assert (entered.reason, entered.segment_version) == (common_pb2.REASON_EVENT, 1)
    assert entered.event_id and "bought" in entered.leaves[0].sentence
    assert (left.reason, left.segment_version) == (common_pb2.REASON_RULE_CHANGE, 2)
    said = await muster(stack, "segments", "history", "fans", "email=p3@example.com")
    assert f"entered  v1  event {entered.event_id}" in said
    assert "left     v2  rule change" in said
    # The sizes of a segment by its versions; withdrawn, it still has a past.
    await stack.door.RetireSegment(service_pb2.RetireSegmentRequest(segment_id="fans"))
    third = await later(stack)
    sizes = api.BacktestRuleRequest(
        rule=api.RuleRef(segment_id="fans"), at_times=map(timestamp, (first, second, third))
    )
    points = [(p.members, p.segment_version) async for p in asked.BacktestRule(sizes)]
    assert points == [(1, 1), (0, 2), (0, 0)]
    instants = ("--every", "2 seconds", said_at(first), said_at(third))
    said = await muster(stack, "segments", "backtest", "fans", *instants)
    lines = said.splitlines()
    assert lines[0].endswith("version 1")
    assert "version 2" in said
    assert lines[-1].endswith("out of service")

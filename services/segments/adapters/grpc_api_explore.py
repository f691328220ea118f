"""ExploreService over gRPC: the past, the next hours, and several segments at once."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from muster.segments.v1 import explore_pb2 as api
from muster.segments.v1 import explore_pb2_grpc as rpc
from muster.segments.v1 import service_pb2
from services.chassis import clock
from services.chassis.parking import timestamp
from services.chassis.subjects import partition_of
from services.segments.adapters import gather
from services.segments.adapters.asks import ask_all
from services.segments.adapters.explore_answers import FLIPS_DEFAULT
from services.segments.adapters.grpc_api import SegmentsApi
from services.segments.adapters.validation import (
    Fault,
    condition_faults,
    refuse,
    segment_id_faults,
    zone_faults,
)

EXPLORE_SERVICE = "muster.segments.v1.ExploreService"
INSTANTS_MAX = 1_000
INSTANTS_AT_ONCE = 4
"""Instants of a back-test that partitions are asked for in one question."""
OVERLAP_MAX = 50
FLIPS_MAX = 1_000
WITHIN_DAYS_MAX = 31
DAY_S = 86_400


class ExploreApi(rpc.ExploreServiceServicer):
    """The servicer; it stands on that of segments, which knows the partitions."""

    def __init__(self, on: SegmentsApi) -> None:
        self._on = on

    async def ListMembersAsOf(
        self, request: api.ListMembersAsOfRequest, context: Any
    ) -> api.ListMembersAsOfResponse:
        self._on.check_tenant(request)
        size = self._on.page_size(request.page_size, 0, "page_members_max")
        await self._on.answers.reach(request.at_least)
        refuse(self._rule_faults(request.rule) + _instant_faults([request.at_time], "at_time"))
        partitions = self._on.partitions
        name = _name_of(request)
        if request.page_token:
            return await self._page(name, size or gather.PAGE_MEMBERS_DEFAULT, request.page_token)
        answers = await ask_all(partitions, "then", request)
        position = gather.smallest(answer.position for answer in answers)
        opened = [
            (place, answer.next_page_token)
            for place, answer in enumerate(answers)
            if answer.next_page_token
        ]
        response = api.ListMembersAsOfResponse(position=position)
        if opened:
            response = await self._page(name, size, gather.written_token(name, opened, position))
        response.members = sum(answer.members for answer in answers)
        response.segment_version = max(answer.segment_version for answer in answers)
        response.profiles = sum(answer.profiles for answer in answers)
        return response

    async def _page(self, name: str, size: int, token: str) -> api.ListMembersAsOfResponse:
        """A page of members that are pinned."""
        asked = service_pb2.ListMembersRequest(segment_id=name, page_size=size, page_token=token)
        page = await gather.list_members(self._on.partitions, asked)
        return api.ListMembersAsOfResponse(
            profile_ids=page.profile_ids,
            next_page_token=page.next_page_token,
            position=page.position,
        )

    async def BacktestRule(
        self, request: api.BacktestRuleRequest, context: Any
    ) -> AsyncIterator[api.BacktestRuleResponse]:
        self._on.check_tenant(request)
        await self._on.answers.reach(request.at_least)
        faults = self._rule_faults(request.rule) + _instant_faults(request.at_times, "at_times")
        if not 1 <= len(request.at_times) <= INSTANTS_MAX:
            faults.append(("at_times", f"1 to {INSTANTS_MAX} instants"))
        refuse(faults)
        asked = api.BacktestRuleRequest(rule=request.rule, at_least=request.at_least)
        if request.HasField("known_time"):
            # The same for all instants, however long they take.
            now_us = self._on.answers.position().time.ToMicroseconds()
            known_us = min(request.known_time.ToMicroseconds(), now_us)
            asked.known_time.CopyFrom(timestamp(known_us))
        for first in range(0, len(request.at_times), INSTANTS_AT_ONCE):
            overlapping = int(first > 0)
            del asked.at_times[:]
            asked.at_times.extend(request.at_times[first - overlapping : first + INSTANTS_AT_ONCE])
            answers = await ask_all(self._on.partitions, "backtest", asked)
            for points in list(zip(*(one.points for one in answers), strict=True))[overlapping:]:
                yield api.BacktestRuleResponse(
                    at_time=points[0].at_time,
                    members=sum(point.members for point in points),
                    profiles=sum(point.profiles for point in points),
                    entered=sum(point.entered for point in points),
                    left=sum(point.left for point in points),
                    position=gather.smallest(point.position for point in points),
                    segment_version=max(point.segment_version for point in points),
                )

    async def GetOverlap(
        self, request: api.GetOverlapRequest, context: Any
    ) -> api.GetOverlapResponse:
        self._on.check_tenant(request)
        named = list(request.segment_ids)
        if not 1 <= len(named) <= OVERLAP_MAX or len(set(named)) < len(named):
            refuse([("segment_ids", f"name 1 to {OVERLAP_MAX} segments, each once")])
        answers = await ask_all(self._on.partitions, "overlap", request)
        response = api.GetOverlapResponse(
            segment_ids=named,
            any=sum(answer.any for answer in answers),
            none=sum(answer.none for answer in answers),
            position=gather.smallest(answer.position for answer in answers),
        )
        columns = zip(*(answer.shared for answer in answers), strict=True)
        response.shared.extend(sum(column) for column in columns)
        return response

    async def GetMembershipHistory(
        self, request: api.GetMembershipHistoryRequest, context: Any
    ) -> api.GetMembershipHistoryResponse:
        self._on.check_tenant(request)
        await self._on.answers.reach(request.at_least)
        faults = self._rule_faults(request.rule)
        given = [name for name in ("from_time", "to_time") if request.HasField(name)]
        for name in given:
            faults += _instant_faults([getattr(request, name)], name)
        if len(given) == 2 and _us(request.from_time) >= _us(request.to_time):
            faults.append(("from_time", "comes before to_time"))
        refuse(faults)
        partitions = self._on.partitions
        number = await gather.find_profile(partitions, request.profile, request.at_least)
        place = partition_of(number, len(partitions))
        answer: api.GetMembershipHistoryResponse = await partitions[place].ask(
            "turns", request, number
        )
        return answer

    async def ListNextFlips(
        self, request: api.ListNextFlipsRequest, context: Any
    ) -> api.ListNextFlipsResponse:
        self._on.check_tenant(request)
        faults = segment_id_faults(request.segment_id)
        if request.HasField("within") and not (
            0 < request.within.ToMicroseconds() <= WITHIN_DAYS_MAX * DAY_S * 1_000_000
        ):
            faults.append(("within", f"more than nothing, at most {WITHIN_DAYS_MAX} days"))
        if not 0 <= request.limit <= FLIPS_MAX:
            faults.append(("limit", f"1 to {FLIPS_MAX}; 0 is {FLIPS_DEFAULT}"))
        refuse(faults)
        answers = await ask_all(self._on.partitions, "soon", request)
        flips = [flip for answer in answers for flip in answer.flips]
        flips.sort(key=lambda flip: (_us(flip.flip_time), flip.profile_id))
        return api.ListNextFlipsResponse(
            flips=flips[: request.limit or FLIPS_DEFAULT],
            entering=sum(answer.entering for answer in answers),
            leaving=sum(answer.leaving for answer in answers),
            position=gather.smallest(answer.position for answer in answers),
        )

    def _rule_faults(self, asked: api.RuleRef) -> list[Fault]:
        """What is wrong with a rule asked about."""
        kind = asked.WhichOneof("rule")
        if kind is None:
            return [("rule", "name a segment, or write a condition")]
        if kind == "segment_id":
            return [(f"rule.{path}", text) for path, text in segment_id_faults(asked.segment_id)]
        found = zone_faults(asked.zone) + condition_faults(
            asked.condition, asked.zone, self._on.settings, self._on.answers.compile_faults
        )
        return [(f"rule.{path}", text) for path, text in found]


def _us(instant: Timestamp) -> int:
    return int(instant.ToMicroseconds())


def _instant_faults(instants: Sequence[Timestamp], path: str) -> list[Fault]:
    """Instants ascend and do not lie ahead."""
    given = [_us(one) for one in instants]
    if any(after <= before for before, after in pairwise(given)):
        return [(path, "instants ascend, each once")]
    if given and given[-1] > clock.wall_us():
        return [(path, "lies ahead: this asks about the past; ListNextFlips looks ahead")]
    if given and not given[0]:
        return [(path, "give an instant")]
    return []


def _name_of(request: api.ListMembersAsOfRequest) -> str:
    """What its pages have in common: a token of another question is refused."""
    bare = api.ListMembersAsOfRequest(rule=request.rule, at_time=request.at_time)
    if request.HasField("known_time"):
        bare.known_time.CopyFrom(request.known_time)
    said = bare.SerializeToString(deterministic=True)
    return hashlib.blake2b(said, digest_size=12).hexdigest()

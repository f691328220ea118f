"""SegmentsService over gRPC: checks a call, asks the partitions, answers at one position."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

from muster.segments.v1 import service_pb2 as api
from muster.segments.v1 import service_pb2_grpc as rpc
from muster.types.v1 import common_pb2
from services.chassis.errors import InvalidRequest, NotFound
from services.chassis.subjects import partition_of
from services.segments.adapters import gather, gather_life
from services.segments.adapters.asks import Partition
from services.segments.adapters.grpc_api_life import LifeCalls
from services.segments.adapters.grpc_api_parts import PartCalls
from services.segments.adapters.grpc_api_search import SearchCalls
from services.segments.adapters.validation import (
    condition_faults,
    refuse,
    segment_id_faults,
    zone_faults,
)

PAGE_SEGMENTS_DEFAULT = 100
SENTENCES_AT_ONCE = 20
"""Rules put into words before steps may run again."""


class SegmentsApi(LifeCalls, PartCalls, SearchCalls, rpc.SegmentsServiceServicer):
    """The servicer; `connect` comes before the first call."""

    # -- definitions --------------------------------------------------------------------------

    async def DefineSegment(
        self, request: api.DefineSegmentRequest, context: Any
    ) -> api.DefineSegmentResponse:
        self.check_tenant(request)
        defined = await self.define(request)
        segment, position = await self.live(defined, "")
        return api.DefineSegmentResponse(segment=segment, position=position)

    async def GetSegment(
        self, request: api.GetSegmentRequest, context: Any
    ) -> api.GetSegmentResponse:
        self.check_tenant(request)
        refuse(segment_id_faults(request.segment_id))
        await self.definitions.refresh()
        defined = self.definitions.by_id.get(request.segment_id)
        if defined is None:
            raise NotFound(f"no segment {request.segment_id}; ListSegments shows what there is")
        segment, position = await self.live(defined, request.at_least)
        return api.GetSegmentResponse(segment=segment, position=position)

    async def ListSegments(
        self, request: api.ListSegmentsRequest, context: Any
    ) -> api.ListSegmentsResponse:
        self.check_tenant(request)
        most = self.page_size(request.page_size, PAGE_SEGMENTS_DEFAULT, "page_segments_max")
        after = self._segment_after(request.page_token)
        await self.definitions.refresh()
        sizes = await gather.count_members(
            self.partitions, api.CountMembersRequest(at_least=self.definitions.token)
        )
        members = {size.segment_id: size.members for size in sizes.sizes}
        known = self.definitions.present()
        ids = sorted(name for name in known if name > after and name in members)
        response = api.ListSegmentsResponse(position=sizes.position)
        for place, name in enumerate(ids[:most], 1):
            response.segments.append(self.segment(known[name], members[name]))
            if place % SENTENCES_AT_ONCE == 0:
                await asyncio.sleep(0)
        if len(ids) > most:
            token = base64.urlsafe_b64encode(ids[most - 1].encode()).decode()
            response.next_page_token = token
        return response

    # -- questions ----------------------------------------------------------------------------

    async def PreviewSegment(
        self, request: api.PreviewSegmentRequest, context: Any
    ) -> api.PreviewSegmentResponse:
        self.check_tenant(request)
        faults = zone_faults(request.zone)
        if not 0 <= request.sample_size <= self.settings.sample_profiles_max:
            faults.append(("sample_size", f"0 to {self.settings.sample_profiles_max}"))
        await self.answers.reach(request.at_least)
        faults += condition_faults(
            request.condition, request.zone, self.settings, self.answers.compile_faults
        )
        refuse(faults)
        return await gather_life.preview(self.partitions, request)

    async def CheckMemberships(
        self, request: api.CheckMembershipsRequest, context: Any
    ) -> api.CheckMembershipsResponse:
        self.check_tenant(request)
        self._check_many(request.segment_ids)
        number, partition = await self._profile(request.profile, request.at_least)
        answer: api.CheckMembershipsResponse = await partition.ask("check", request, number)
        if not request.segment_ids:
            shadows = self.definitions.shadows
            kept = [one for one in answer.memberships if one.segment_id not in shadows]
            del answer.memberships[:]
            answer.memberships.extend(kept)
        return answer

    async def ListMembers(
        self, request: api.ListMembersRequest, context: Any
    ) -> api.ListMembersResponse:
        self.check_tenant(request)
        refuse(segment_id_faults(request.segment_id))
        request.page_size = self.page_size(
            request.page_size, gather.PAGE_MEMBERS_DEFAULT, "page_members_max"
        )
        return await gather.list_members(self.partitions, request)

    async def CountMembers(
        self, request: api.CountMembersRequest, context: Any
    ) -> api.CountMembersResponse:
        self.check_tenant(request)
        self._check_many(request.segment_ids)
        return await gather.count_members(self.partitions, request)

    async def ExplainMembership(
        self, request: api.ExplainMembershipRequest, context: Any
    ) -> api.ExplainMembershipResponse:
        self.check_tenant(request)
        refuse(segment_id_faults(request.segment_id))
        number, partition = await self._profile(request.profile, request.at_least)
        answer: api.ExplainMembershipResponse = await partition.ask("explain", request, number)
        return answer

    async def WatchTransitions(
        self, request: api.WatchTransitionsRequest, context: Any
    ) -> AsyncIterator[api.WatchTransitionsResponse]:
        self.check_tenant(request)
        async for response in self.watches.watch(request):
            yield response

    async def _profile(self, ref: common_pb2.ProfileRef, at_least: str) -> tuple[int, Partition]:
        """The number of the profile named and the partition it lives in."""
        number = await gather.find_profile(self.partitions, ref, at_least)
        return number, self.partitions[partition_of(number, len(self.partitions))]

    # -- checks -------------------------------------------------------------------------------

    def _check_many(self, segment_ids: Any) -> None:
        most = self.settings.check_segments_max
        if len(segment_ids) > most:
            raise InvalidRequest([("segment_ids", f"at most {most}; name none to ask of all")])

    def _segment_after(self, page_token: str) -> str:
        try:
            return base64.b64decode(page_token, b"-_", validate=True).decode()
        except ValueError:
            text = "not a token of ours; hand back next_page_token unchanged"
            raise InvalidRequest([("page_token", text)]) from None

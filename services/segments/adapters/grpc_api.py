"""SegmentsService over gRPC: checks a call, asks the partitions, answers at one position."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.segments.v1 import service_pb2_grpc as rpc
from muster.types.v1 import common_pb2
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest, NotFound, Precondition
from services.chassis.subjects import partition_of
from services.segments.adapters import gather, gather_life
from services.segments.adapters.asks import Partition
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.door import decide_definition
from services.segments.adapters.grpc_api_life import LifeCalls
from services.segments.adapters.grpc_api_parts import AuditLog, PartCalls
from services.segments.adapters.grpc_api_search import SearchCalls
from services.segments.adapters.lists_log import ListsLog
from services.segments.adapters.validation import (
    condition_faults,
    references_of,
    refuse,
    segment_id_faults,
    zone_faults,
)
from services.segments.adapters.variant_sets import VariantSets
from services.segments.adapters.watch import Watches
from services.segments.adapters.wording import kind_of
from services.segments.handlers import PartitionAnswers
from services.segments.settings import SegmentsSettings

PAGE_SEGMENTS_DEFAULT = 100
SENTENCES_AT_ONCE = 20
"""Rules put into words before steps may run again."""


class SegmentsApi(LifeCalls, PartCalls, SearchCalls, rpc.SegmentsServiceServicer):
    """The servicer; `connect` comes before the first call."""

    def __init__(self, answers: PartitionAnswers, settings: SegmentsSettings) -> None:
        self.answers = answers
        self.settings = settings

    def connect(
        self,
        definitions: Definitions,
        variants: VariantSets,
        watches: Watches,
        partitions: list[Partition],
        lists: ListsLog,
        audit: AuditLog,
    ) -> None:
        """Gives what needs the connection. partitions: all of them, in order."""
        self.lists = lists
        self.audit = audit
        self.definitions = definitions
        self.variants = variants
        self.watches = watches
        self.partitions = partitions

    # -- definitions --------------------------------------------------------------------------

    async def DefineSegment(
        self, request: api.DefineSegmentRequest, context: Any
    ) -> api.DefineSegmentResponse:
        self.check_tenant(request)
        defined = await self.define(request)
        segment, position = await self.live(defined, "")
        return api.DefineSegmentResponse(segment=segment, position=position)

    async def define(self, request: api.DefineSegmentRequest) -> Defined:
        """Writes a definition, or finds the one that stands."""
        await self.answers.reach("")
        if request.triggers.variant_set:
            await self.variants.refresh()

        async def decide() -> segments.SegmentDefined | Defined:
            if references_of(request.condition):
                # The engine must know what other doors wrote before it compiles the rule.
                await self.answers.reach(self.definitions.token)
            return decide_definition(
                self.definitions,
                request,
                self.settings,
                self.answers.compile_faults,
                self.variants.in_service(),
            )

        return await self.definitions.write(decide)

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

    # -- parts of answers ---------------------------------------------------------------------

    async def live(
        self, defined: Defined, at_least: str
    ) -> tuple[api.Segment, common_pb2.Position]:
        """The segment as every partition lives by it; waits for all of them."""
        wanted = Origin.parse(at_least).merged(Origin.parse(defined.token)).token()
        sizes = await gather.count_members(
            self.partitions, api.CountMembersRequest(at_least=wanted)
        )
        definition = defined.definition
        why = self.answers.core.refused.get((definition.segment_id, definition.version))
        if why is not None:
            raise Precondition(f"{definition.segment_id} cannot be lived by: {why}")
        members = {size.segment_id: size.members for size in sizes.sizes}
        segment = self.segment(definition, members.get(definition.segment_id, 0))
        return segment, sizes.position

    def segment(self, definition: segments.SegmentDefined, members: int) -> api.Segment:
        sentence = self.answers.sentence(definition)
        return api.Segment(
            definition=definition, members=members, sentence=sentence, kind=kind_of(definition)
        )

    async def _profile(self, ref: common_pb2.ProfileRef, at_least: str) -> tuple[int, Partition]:
        """The number of the profile named and the partition it lives in."""
        number = await gather.find_profile(self.partitions, ref, at_least)
        return number, self.partitions[partition_of(number, len(self.partitions))]

    # -- checks -------------------------------------------------------------------------------

    def check_tenant(self, request: Any) -> None:
        if request.tenant not in ("", self.settings.tenant):
            raise NotFound(f"no tenant {request.tenant} here")

    def _check_many(self, segment_ids: Any) -> None:
        most = self.settings.check_segments_max
        if len(segment_ids) > most:
            raise InvalidRequest([("segment_ids", f"at most {most}; name none to ask of all")])

    def page_size(self, asked: int, default: int, limit: str) -> int:
        most: int = getattr(self.settings, limit)
        if not 0 <= asked <= most:
            raise InvalidRequest([("page_size", f"1 to {most}; 0 is {default}")])
        return asked or default

    def _segment_after(self, page_token: str) -> str:
        try:
            return base64.b64decode(page_token, b"-_", validate=True).decode()
        except ValueError:
            text = "not a token of ours; hand back next_page_token unchanged"
            raise InvalidRequest([("page_token", text)]) from None

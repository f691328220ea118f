"""Calls about the life of a segment: its versions, dry runs, what rests on it, copies, shadows."""

from __future__ import annotations

import asyncio
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis.checkpoint import Origin
from services.chassis.errors import Conflict, Precondition
from services.segments.adapters import gather, gather_life, wording
from services.segments.adapters.call_parts import AT_ONCE, PAGE_DEFAULT, Shared, place_of, token
from services.segments.adapters.definitions import Defined
from services.segments.adapters.door import (
    decide_description,
    decide_retirement,
    retirement_order,
)
from services.segments.adapters.validation import (
    condition_faults,
    refuse,
    segment_id_faults,
    trigger_faults,
    zone_faults,
)
from services.segments.adapters.variant_sets import without_segment

RETIREMENT_ATTEMPTS = 8
"""New dependents that may appear while old ones are retired."""


class LifeCalls(Shared):
    """A part of grpc_api.SegmentsApi."""

    # -- versions -------------------------------------------------------------------------------

    async def DescribeSegment(
        self, request: api.DescribeSegmentRequest, context: Any
    ) -> api.DescribeSegmentResponse:
        self.check_tenant(request)
        refuse(segment_id_faults(request.segment_id))
        await self.answers.reach("")

        async def decide() -> segments.SegmentDefined | Defined:
            return decide_description(self.definitions, request)

        segment, position = await self.live(await self.definitions.write(decide), "")
        return api.DescribeSegmentResponse(segment=segment, position=position)

    async def ListVersions(
        self, request: api.ListVersionsRequest, context: Any
    ) -> api.ListVersionsResponse:
        self.check_tenant(request)
        most = self.page_size(request.page_size, PAGE_DEFAULT, "page_segments_max")
        said = (await self.known(request.segment_id))[:]
        before = place_of(request.page_token, len(said))
        response = api.ListVersionsResponse()
        for place in range(before - 1, max(-1, before - 1 - most), -1):
            definition = said[place].definition
            response.versions.add(
                definition=definition,
                sentence=wording.sentence(definition),
                differences=wording.definition_differences(said[place - 1].definition, definition)
                if place
                else (),
            )
            if len(response.versions) % AT_ONCE == 0:
                await asyncio.sleep(0)
        if before > most:
            response.next_page_token = token(before - most)
        return response

    async def DiffVersions(
        self, request: api.DiffVersionsRequest, context: Any
    ) -> api.DiffVersionsResponse:
        self.check_tenant(request)
        await self.known(request.segment_id)
        after = self.version(request.segment_id, request.to_version)
        earlier = request.from_version or max(1, after.version - 1)
        before = self.version(request.segment_id, earlier)
        return api.DiffVersionsResponse(
            from_version=before.version,
            to_version=after.version,
            sentence_before=wording.sentence(before),
            sentence_after=wording.sentence(after),
            differences=wording.definition_differences(before, after),
        )

    # -- a change before it is made -------------------------------------------------------------

    async def PreviewChange(
        self, request: api.PreviewChangeRequest, context: Any
    ) -> api.PreviewChangeResponse:
        self.check_tenant(request)
        faults = segment_id_faults(request.segment_id)
        if not 0 <= request.sample_size <= self.settings.sample_profiles_max:
            faults.append(("sample_size", f"0 to {self.settings.sample_profiles_max}"))
        faults += zone_faults(request.zone) + trigger_faults(request.triggers, self.settings)
        await self.answers.reach(request.at_least)
        if request.HasField("condition"):
            faults += condition_faults(
                request.condition,
                request.zone,
                self.settings,
                lambda condition, zone: self.answers.compile_faults(
                    condition, zone, request.segment_id
                ),
            )
        refuse(faults)
        await self.known(request.segment_id)
        await self.variants.refresh()
        present = self.version(request.segment_id, 0)
        if present.HasField("list") and request.HasField("condition"):
            raise Precondition(f"{request.segment_id} is a list; it has no rule to change")
        response = await gather_life.change(self.partitions, request)
        self._describe_change(request, present, response)
        return response

    def _describe_change(
        self,
        request: api.PreviewChangeRequest,
        present: segments.SegmentDefined,
        response: api.PreviewChangeResponse,
    ) -> None:
        """What the door knows of a change: words, who is named by whom, what would be let out."""
        wanted = segments.SegmentDefined()
        wanted.CopyFrom(present)
        if request.HasField("condition"):
            wanted.condition.CopyFrom(request.condition)
            wanted.zone = request.zone
        else:
            wanted.retired = True
        if request.HasField("triggers"):
            wanted.triggers.CopyFrom(request.triggers)
        response.sentence_before = wording.sentence(present)
        response.sentence_after = "" if wanted.retired else wording.sentence(wanted)
        response.differences.extend(wording.definition_differences(present, wanted))
        touched = {request.segment_id, *(one.segment_id for one in response.dependents)}
        response.variant_set_ids.extend(self.variants.naming(touched))
        response.open_watches = self.watches.hearing(touched)
        if common_pb2.REASON_RULE_CHANGE in wanted.triggers.reasons and not wanted.shadow_of:
            response.triggers = response.enters + response.leaves

    # -- copies, shadows, the end ---------------------------------------------------------------

    async def CopySegment(
        self, request: api.CopySegmentRequest, context: Any
    ) -> api.CopySegmentResponse:
        self.check_tenant(request)
        source = (await self.known(request.segment_id))[-1].definition
        if source.retired or wording.kind_of(source) == api.SEGMENT_KIND_LIST:
            why = "out of service" if source.retired else "a list: freeze or export it instead"
            raise Precondition(f"{request.segment_id} cannot be copied: it is {why}")
        taken = self.definitions.by_id.get(request.new_segment_id)
        repeats = request.request_id and self.definitions.requested(request.request_id)
        if taken is not None and not taken.definition.retired and not repeats:
            raise Conflict(f"there is a segment {request.new_segment_id} already; name another id")
        wish = api.DefineSegmentRequest(
            segment_id=request.new_segment_id,
            name=request.new_name or f"{source.name} (copy)",
            condition=source.condition,
            triggers=source.triggers if source.HasField("triggers") else None,
            zone=source.zone,
            tags=source.tags,
            author=request.author,
            note=f"copy of {source.segment_id} version {source.version}",
            request_id=request.request_id,
        )
        segment, position = await self.live(await self.define(wish), "")
        return api.CopySegmentResponse(segment=segment, position=position)

    async def PromoteShadow(
        self, request: api.PromoteShadowRequest, context: Any
    ) -> api.PromoteShadowResponse:
        self.check_tenant(request)
        shadow = (await self.known(request.segment_id))[-1].definition
        if not shadow.shadow_of:
            raise Precondition(f"{request.segment_id} is no shadow; DefineSegment changes it")
        beside = self.version(shadow.shadow_of, 0)
        wish = api.DefineSegmentRequest(
            segment_id=beside.segment_id,
            name=beside.name,
            condition=shadow.condition,
            triggers=beside.triggers if beside.HasField("triggers") else None,
            zone=shadow.zone,
            tags=beside.tags,
            author=request.author,
            note=request.note or f"{shadow.segment_id} promoted",
            expected_version=request.expected_version,
        )
        # What was done already is found done: a repeat after half of it does the rest.
        if shadow.retired and _rule_of(beside) != _rule_of(shadow):
            raise Precondition(f"{request.segment_id} is out of service; define it again")
        if _rule_of(beside) == _rule_of(shadow):
            defined = self.definitions.by_id[beside.segment_id]
        else:
            defined = await self.define(wish)
        await self._retire(
            api.RetireSegmentRequest(
                segment_id=shadow.segment_id, author=request.author, note="promoted"
            )
        )
        segment, position = await self.live(defined, self.definitions.token)
        return api.PromoteShadowResponse(segment=segment, position=position)

    async def RetireSegment(
        self, request: api.RetireSegmentRequest, context: Any
    ) -> api.RetireSegmentResponse:
        self.check_tenant(request)
        refuse(segment_id_faults(request.segment_id))
        await self.answers.reach("")
        await self.definitions.refresh()
        response = api.RetireSegmentResponse()
        if request.force:
            await self._retire_above(request, response)
        else:
            await self._retire(request)
        response.retired_segment_ids.append(request.segment_id)
        at_least = Origin(control=max(self.definitions.sequence, self.variants.sequence)).token()
        answer = await gather.count_members(
            self.partitions, api.CountMembersRequest(at_least=at_least)
        )
        response.position.CopyFrom(answer.position)
        return response

    async def _retire(self, request: api.RetireSegmentRequest) -> Defined:
        await self.variants.refresh()

        async def decide() -> segments.SegmentDefined | Defined:
            naming = self.variants.naming({request.segment_id})
            return decide_retirement(self.definitions, request, naming)

        return await self.definitions.write(decide)

    async def _retire_above(
        self, request: api.RetireSegmentRequest, response: api.RetireSegmentResponse
    ) -> None:
        """Retires what rests on a segment, nearest last, then the segment."""
        for _ in range(RETIREMENT_ATTEMPTS):
            for name in retirement_order(self.definitions, request.segment_id):
                await self._forget_in_variants(name, request, response)
                last = name == request.segment_id
                wish = api.RetireSegmentRequest(
                    segment_id=name,
                    author=request.author,
                    note=request.note if last else f"rested on {request.segment_id}",
                    request_id=request.request_id if last else "",
                )
                try:
                    await self._retire(wish)
                except Precondition:
                    break  # Somebody has just made another one that rests on it.
                if last:
                    return
                response.retired_segment_ids.append(name)
        raise Conflict(f"others keep resting new rules on {request.segment_id}; repeat")

    async def _forget_in_variants(
        self,
        segment_id: str,
        request: api.RetireSegmentRequest,
        response: api.RetireSegmentResponse,
    ) -> None:
        await self.variants.refresh()
        for name in self.variants.naming({segment_id}):

            async def decide(name: str = name) -> Any:
                standing = self.variants.get(name)
                return without_segment(standing, segment_id, request.author, "")

            await self.variants.write(decide)
            if name not in response.changed_variant_set_ids:
                response.changed_variant_set_ids.append(name)


def _rule_of(definition: segments.SegmentDefined) -> tuple[bytes, str]:
    return definition.condition.SerializeToString(deterministic=True), definition.zone

"""Calls that look for segments: by what they are called, and by what their rules use."""

from __future__ import annotations

import asyncio
from typing import Any

from muster.segments.v1 import service_pb2 as api
from services.chassis.errors import InvalidRequest
from services.segments.adapters import gather, wording
from services.segments.adapters.call_parts import AT_ONCE, PAGE_DEFAULT, Shared, text_of, token
from services.segments.adapters.uses import (
    resting_on,
    use_message,
    use_of,
    uses,
    uses_of_definition,
)


class SearchCalls(Shared):
    """A part of grpc_api.SegmentsApi."""

    async def FindSegments(
        self, request: api.FindSegmentsRequest, context: Any
    ) -> api.FindSegmentsResponse:
        self.check_tenant(request)
        most = self.page_size(request.page_size, PAGE_DEFAULT, "page_segments_max")
        after = text_of(request.page_token)
        await self.definitions.refresh()
        known = self.definitions.present()
        ids = [name for name in sorted(known) if name > after and self._matches(request, name)]
        sizes = await gather.count_members(
            self.partitions, api.CountMembersRequest(at_least=self.definitions.token)
        )
        members = {size.segment_id: size.members for size in sizes.sizes}
        response = api.FindSegmentsResponse(position=sizes.position)
        for place, name in enumerate(ids[:most], 1):
            response.segments.append(self.segment(known[name], members.get(name, 0)))
            if place % AT_ONCE == 0:
                await asyncio.sleep(0)
        if len(ids) > most:
            response.next_page_token = token(ids[most - 1])
        return response

    def _matches(self, request: api.FindSegmentsRequest, name: str) -> bool:
        definition = self.definitions.by_id[name].definition
        text = request.text.casefold()
        if definition.retired and not request.include_retired:
            return False
        if text not in name and text not in definition.name.casefold():
            return False
        if request.kind and wording.kind_of(definition) != request.kind:
            return False
        if not set(request.tags) <= set(definition.tags):
            return False
        if request.author and all(
            one.definition.author != request.author for one in self.definitions.history[name]
        ):
            return False
        use = use_of(request.uses)
        return use is None or uses(uses_of_definition(definition), use)

    async def GetLineage(
        self, request: api.GetLineageRequest, context: Any
    ) -> api.GetLineageResponse:
        self.check_tenant(request)
        use = use_of(request.of)
        if use is None:
            raise InvalidRequest([("of", "name a segment, attribute, event type or another use")])
        await self.definitions.refresh()
        await self.variants.refresh()
        response = api.GetLineageResponse()
        touched: set[str] = set()
        if use[0] in ("segment_id", "list_id"):
            definition = (await self.known(use[1]))[-1].definition
            response.uses.extend(use_message(one) for one in uses_of_definition(definition))
            touched.add(use[1])
        in_service = self.definitions.in_service()
        for one in resting_on(use, in_service):
            touched.add(one.segment_id)
            response.dependents.add(
                segment_id=one.segment_id,
                distance=one.distance,
                via_segment_id=one.via,
                sentence=wording.sentence(in_service[one.segment_id]),
            )
        response.variant_set_ids.extend(self.variants.naming(touched))
        return response

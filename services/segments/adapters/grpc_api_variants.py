"""VariantsService over gRPC: which variant of a content each profile gets."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2
from muster.segments.v1 import variants_pb2 as api
from muster.segments.v1 import variants_pb2_grpc as rpc
from muster.types.v1 import common_pb2
from services.chassis.errors import InvalidRequest, NotFound
from services.segments.adapters import gather, gather_life
from services.segments.adapters.grpc_api import SegmentsApi
from services.segments.adapters.life_answers import ELSEWHERE
from services.segments.adapters.validation import refuse
from services.segments.adapters.variant_sets import (
    StandingVariants,
    decide_variants,
    decide_variants_retirement,
    rules_faults,
)

VARIANTS_SERVICE = "muster.segments.v1.VariantsService"
PAGE_DEFAULT = 100


class VariantsApi(rpc.VariantsServiceServicer):
    """The servicer; it stands on that of segments, which knows definitions and partitions."""

    def __init__(self, on: SegmentsApi) -> None:
        self._on = on

    async def DefineVariants(
        self, request: api.DefineVariantsRequest, context: Any
    ) -> api.DefineVariantsResponse:
        self._on.check_tenant(request)
        await self._on.answers.reach("")
        await self._on.definitions.refresh()

        async def decide() -> segments.VariantsDefined | StandingVariants:
            return decide_variants(self._on.variants, request, self._on.definitions.in_service())

        standing = await self._on.variants.write(decide)
        position = await self._reached(standing)
        return api.DefineVariantsResponse(variants=standing.variants, position=position)

    async def RetireVariants(
        self, request: api.RetireVariantsRequest, context: Any
    ) -> api.RetireVariantsResponse:
        self._on.check_tenant(request)
        await self._on.answers.reach("")
        await self._on.definitions.refresh()

        async def decide() -> segments.VariantsDefined | StandingVariants:
            present = self._on.definitions.present()
            return decide_variants_retirement(self._on.variants, request, present)

        standing = await self._on.variants.write(decide)
        return api.RetireVariantsResponse(position=await self._reached(standing))

    async def GetVariants(
        self, request: api.GetVariantsRequest, context: Any
    ) -> api.GetVariantsResponse:
        self._on.check_tenant(request)
        await self._on.variants.refresh()
        said = self._on.variants.history.get(request.variant_set_id)
        if not said:
            raise NotFound(
                f"no variant set {request.variant_set_id}; ListVariants shows what there is"
            )
        return api.GetVariantsResponse(
            variants=said[-1].variants, earlier=[one.variants for one in said[-2::-1]]
        )

    async def ListVariants(
        self, request: api.ListVariantsRequest, context: Any
    ) -> api.ListVariantsResponse:
        self._on.check_tenant(request)
        most = self._on.page_size(request.page_size, PAGE_DEFAULT, "page_segments_max")
        try:
            after = base64.b64decode(request.page_token, b"-_", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = "not a token of ours; hand back next_page_token unchanged"
            raise InvalidRequest([("page_token", text)]) from None
        await self._on.variants.refresh()
        found = [one for name, one in self._on.variants.in_service().items() if name > after]
        response = api.ListVariantsResponse(variants=found[:most])
        if len(found) > most:
            last = found[most - 1].variant_set_id
            response.next_page_token = base64.urlsafe_b64encode(last.encode()).decode()
        return response

    async def PreviewVariants(
        self, request: api.PreviewVariantsRequest, context: Any
    ) -> api.PreviewVariantsResponse:
        self._on.check_tenant(request)
        await self._on.answers.reach(request.at_least)
        await self._on.definitions.refresh()
        if not request.rules and not request.default_variant and request.variant_set_id:
            await self._on.variants.refresh()
            standing = self._on.variants.get(request.variant_set_id).variants
            request.rules.extend(standing.rules)
            request.default_variant = standing.default_variant
        refuse(rules_faults(request.rules, self._on.definitions.in_service()))
        return await gather_life.divide(self._on.partitions, request)

    async def BatchGetVariants(
        self, request: api.BatchGetVariantsRequest, context: Any
    ) -> api.BatchGetVariantsResponse:
        self._on.check_tenant(request)
        most = self._on.settings.variants_profiles_max
        if not 1 <= len(request.profiles) <= most:
            raise InvalidRequest([("profiles", f"name 1 to {most} people")])
        size, room = request.ByteSize(), self._on.settings.variants_bytes_max
        if size > room:
            raise InvalidRequest([("profiles", f"{size} bytes, at most {room}: name fewer people")])
        refuse(
            [
                (f"profiles[{place}].profile_id", "a profile id looks like p_1c7qk3v9x0a2m")
                for place, ref in enumerate(request.profiles)
                if ref.profile_id.startswith(ELSEWHERE)
            ]
        )
        await self._on.variants.refresh()
        self._on.variants.get(request.variant_set_id)
        return await gather_life.variants(self._on.partitions, request)

    async def _reached(self, standing: StandingVariants) -> common_pb2.Position:
        """The position of all partitions once they live by a record."""
        asked = service_pb2.CountMembersRequest(at_least=standing.token)
        answer = await gather.count_members(self._on.partitions, asked)
        return answer.position

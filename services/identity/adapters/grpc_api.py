"""IdentityService over gRPC: checks a call, waits for its position, says what is known."""

from __future__ import annotations

from typing import Any

from muster.identity.v1 import service_pb2 as api
from muster.identity.v1 import service_pb2_grpc as rpc
from services.chassis.parking import timestamp
from services.chassis.subjects import partition_of
from services.identity.adapters.grpc_api_decisions import DecisionCalls
from services.identity.adapters.grpc_api_history import HistoryCalls
from services.identity.adapters.grpc_api_rules import RulesCalls
from services.identity.adapters.values import value_of

SERVICE = "muster.identity.v1.IdentityService"
add_to_server = rpc.add_IdentityServiceServicer_to_server


class IdentityApi(HistoryCalls, DecisionCalls, RulesCalls, rpc.IdentityServiceServicer):
    """The servicer; `worker` is there before the first call."""

    async def ResolveProfile(
        self, request: api.ResolveProfileRequest, context: Any
    ) -> api.ResolveProfileResponse:
        worker = await self.reached(request.tenant, request.at_least)
        number = self.number(request.profile)
        return api.ResolveProfileResponse(
            profile_id=self.answers.profile_id(number),
            profile_number=number,
            partition=partition_of(number, self.settings.partitions),
            position=worker.position(),
        )

    async def GetProfile(
        self, request: api.GetProfileRequest, context: Any
    ) -> api.GetProfileResponse:
        worker = await self.reached(request.tenant, request.at_least)
        number = self.number(request.profile)
        person = self.answers.person(number)
        response = api.GetProfileResponse(
            profile_id=person.profile_id,
            profile_number=number,
            position=worker.position(),
            create_time=timestamp(person.create_time_us),
            reach=person.reach,
        )
        for kind, value in person.identifiers:
            response.identifiers.add(kind=kind, value=value)
        for key, given in person.attributes.items():
            response.attributes[key].CopyFrom(value_of(given))
        for absorbed, cause, time_us in person.merges:
            response.merges.add(
                absorbed_profile_id=absorbed, cause_event_id=cause, merge_time=timestamp(time_us)
            )
        return response

    async def GetIdentityReport(
        self, request: api.GetIdentityReportRequest, context: Any
    ) -> api.GetIdentityReportResponse:
        worker = await self.reached(request.tenant)
        report = self.answers.report()
        return api.GetIdentityReportResponse(
            profiles=report.profiles,
            merges=report.merges,
            splits=report.splits,
            identifiers=report.identifiers,
            refused_joins=report.left_out,
            handed_tokens=report.handed_tokens,
            position=worker.position(),
        )

"""IdentityService over gRPC: checks a call, waits for its position, says what is known."""

from __future__ import annotations

from typing import Any, Protocol

from muster.identity.v1 import service_pb2 as api
from muster.identity.v1 import service_pb2_grpc as rpc
from muster.types.v1 import common_pb2
from services.chassis.errors import InvalidRequest, NotFound, NotReady
from services.chassis.parking import timestamp
from services.chassis.subjects import partition_of
from services.identity.engine.attributes import Given
from services.identity.handlers import Answers
from services.identity.settings import IdentitySettings

SERVICE = "muster.identity.v1.IdentityService"
add_to_server = rpc.add_IdentityServiceServicer_to_server


class Reached(Protocol):
    """The worker as questions see it: `chassis.application.Worker`."""

    live: bool

    def position(self) -> common_pb2.Position: ...

    async def reflects(self, token: str, timeout_s: float) -> None: ...


class IdentityApi(rpc.IdentityServiceServicer):
    """The servicer; `worker` is there before the first call."""

    def __init__(self, answers: Answers, settings: IdentitySettings) -> None:
        self._answers = answers
        self._settings = settings
        self.worker: Reached | None = None

    async def ResolveProfile(
        self, request: api.ResolveProfileRequest, context: Any
    ) -> api.ResolveProfileResponse:
        worker = await self._reached(request.tenant, request.at_least)
        number = self._number(request.profile)
        return api.ResolveProfileResponse(
            profile_id=self._answers.profile_id(number),
            profile_number=number,
            partition=partition_of(number, self._settings.partitions),
            position=worker.position(),
        )

    async def GetProfile(
        self, request: api.GetProfileRequest, context: Any
    ) -> api.GetProfileResponse:
        worker = await self._reached(request.tenant, request.at_least)
        number = self._number(request.profile)
        person = self._answers.person(number)
        response = api.GetProfileResponse(
            profile_id=person.profile_id, profile_number=number, position=worker.position()
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
        worker = await self._reached(request.tenant, "")
        report = self._answers.report()
        return api.GetIdentityReportResponse(
            profiles=report.profiles,
            merges=report.merges,
            splits=report.splits,
            identifiers=report.identifiers,
            refused_joins=report.left_out,
            handed_tokens=report.handed_tokens,
            position=worker.position(),
        )

    async def _reached(self, tenant: str, at_least: str) -> Reached:
        """The worker, once it is live and as new as `at_least`."""
        if not tenant:
            raise InvalidRequest([("tenant", f"name the tenant, such as {self._settings.tenant}")])
        if tenant != self._settings.tenant:
            raise NotFound(f"tenant {tenant} is not served here")
        if self.worker is None or not self.worker.live:
            raise NotReady("reading the log up to now; ask again", retry_s=0.5)
        if at_least:
            await self.worker.reflects(at_least, self._settings.at_least_wait_ms / 1_000)
        return self.worker

    def _number(self, profile: common_pb2.ProfileRef) -> int:
        named = profile.WhichOneof("ref")
        if named == "profile_id":
            return self._answers.resolve_profile_id(profile.profile_id)
        if named == "identifier":
            return self._answers.resolve_identifier(
                profile.identifier.kind, profile.identifier.value
            )
        raise InvalidRequest([("profile", "name a person by profile_id or identifier")])


def value_of(given: list[Given]) -> common_pb2.Value:
    """An attribute: one value, or the list of its items."""
    if len(given) == 1 and given[0][0] == 0:
        return _single(given[0])
    items = [_single(one) for one in sorted(given)]
    return common_pb2.Value(list=common_pb2.ValueList(values=items))


def _single(given: Given) -> common_pb2.Value:
    _, kind, value, exponent, text = given
    answer = common_pb2.Value()
    if kind == 1:
        answer.text = text.decode()
    elif kind == 2:
        answer.whole = value
    elif kind == 3:
        answer.decimal.units, answer.decimal.exponent = value, exponent
    elif kind == 4:
        answer.flag = bool(value)
    elif kind == 5:
        answer.time.CopyFrom(timestamp(value))
    else:
        raise AssertionError(f"an attribute of kind {kind} was stored")
    return answer

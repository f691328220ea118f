"""The calls of FrequencyService."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muster.frequency.v1 import service_pb2
from muster.frequency.v1.service_pb2_grpc import FrequencyServiceServicer
from muster.types.v1.common_pb2 import Position
from services.chassis.errors import InvalidRequest, NotFound, Refusal
from services.chassis.parking import timestamp
from services.frequency.adapters import wire
from services.frequency.adapters.lanes import Lanes
from services.frequency.adapters.previews import MergePreviews
from services.frequency.adapters.report import Report
from services.frequency.adapters.settlements import Settle, Settled
from services.frequency.adapters.store import Answer, Wish
from services.frequency.adapters.strategies import Kept, Strategies
from services.frequency.domain.strategy import Kind
from services.frequency.settings import FrequencySettings

PREVIEW_PROFILES_MAX = 20


class FrequencyServicer(FrequencyServiceServicer):
    """Strategies, places and the report of one tenant."""

    def __init__(
        self,
        settings: FrequencySettings,
        strategies: Strategies,
        reserving: Lanes[Wish, Answer | Refusal],
        settling: Lanes[Settle, Settled | Refusal],
        report: Report,
        previews: MergePreviews,
        position: Callable[[], Position],
    ) -> None:
        self._settings = settings
        self._strategies = strategies
        self._reserving = reserving
        self._settling = settling
        self._report = report
        self._previews = previews
        self._position = position

    async def DefineStrategy(
        self, request: service_pb2.DefineStrategyRequest, _: Any
    ) -> service_pb2.DefineStrategyResponse:
        self._check_tenant(request.tenant)
        found = wire.check_text("request_id", request.request_id, wire.KEY_MAX)
        if found:
            raise InvalidRequest(found)
        kept = await self._strategies.define(request.strategy, request.request_id)
        return service_pb2.DefineStrategyResponse(strategy=kept.message)

    async def GetStrategy(
        self, request: service_pb2.GetStrategyRequest, _: Any
    ) -> service_pb2.GetStrategyResponse:
        self._check_tenant(request.tenant)
        await self._strategies.refresh()
        kept = self._strategies.current(request.strategy_id)
        return service_pb2.GetStrategyResponse(strategy=kept.message)

    async def ReserveMessages(
        self, request: service_pb2.ReserveMessagesRequest, _: Any
    ) -> service_pb2.ReserveMessagesResponse:
        self._check_tenant(request.tenant)
        await self._current(request.strategy_id)
        wishes = await self._wishes(request)
        answers: list[Answer | Refusal] = []
        most = self._settings.lane_wishes_max
        for begin in range(0, len(wishes), most):
            answers += await self._reserving.ask(wishes[begin : begin + most])
        receipts = []
        for place, answer in enumerate(answers):
            if isinstance(answer, Answer):
                receipts.append(answer.receipt)
            elif isinstance(answer, InvalidRequest):
                faults = [(f"wishes[{place}].{path}", text) for path, text in answer.faults]
                raise InvalidRequest(faults)
            else:
                raise answer
        response: service_pb2.ReserveMessagesResponse = service_pb2.ReserveMessagesResponse()
        response.ParseFromString(wire.receipts(receipts))
        response.position.CopyFrom(self._position())
        return response

    async def ConfirmMessage(
        self, request: service_pb2.ConfirmMessageRequest, _: Any
    ) -> service_pb2.ConfirmMessageResponse:
        self._check_tenant(request.tenant)
        settled = await self._settle(request.message_key, confirm=True)
        return service_pb2.ConfirmMessageResponse(
            confirm_time=timestamp(settled.time_us), already_confirmed=not settled.done
        )

    async def ReleaseMessage(
        self, request: service_pb2.ReleaseMessageRequest, _: Any
    ) -> service_pb2.ReleaseMessageResponse:
        self._check_tenant(request.tenant)
        settled = await self._settle(request.message_key, confirm=False)
        return service_pb2.ReleaseMessageResponse(released=settled.done)

    async def GetFrequencyReport(
        self, request: service_pb2.GetFrequencyReportRequest, _: Any
    ) -> service_pb2.GetFrequencyReportResponse:
        self._check_tenant(request.tenant)
        await self._current(request.strategy_id)
        answer = await self._report.since(request.strategy_id, wire.time_us(request.from_time))
        answer.position.CopyFrom(self._position())
        return answer

    async def PreviewMerge(
        self, request: service_pb2.PreviewMergeRequest, _: Any
    ) -> service_pb2.PreviewMergeResponse:
        self._check_tenant(request.tenant)
        if not 1 <= len(request.profile_ids) <= PREVIEW_PROFILES_MAX:
            text = f"{len(request.profile_ids)} profiles; name 1 to {PREVIEW_PROFILES_MAX}"
            raise InvalidRequest([("profile_ids", text)])
        found: wire.Faults = []
        for place, one in enumerate(request.profile_ids):
            found += wire.check_text(f"profile_ids[{place}]", one, least=1)
        if found:
            raise InvalidRequest(found)
        caps = await self._previews.of(request.profile_ids, request.strategy_id)
        return service_pb2.PreviewMergeResponse(caps=caps, position=self._position())

    async def PreviewSplit(
        self, request: service_pb2.PreviewSplitRequest, _: Any
    ) -> service_pb2.PreviewSplitResponse:
        self._check_tenant(request.tenant)
        leaving = list(dict.fromkeys(request.leaving_profile_ids))
        found = wire.check_text("profile_id", request.profile_id, least=1)
        if not 1 <= len(leaving) <= PREVIEW_PROFILES_MAX:
            text = f"{len(leaving)} profiles; name 1 to {PREVIEW_PROFILES_MAX}"
            found.append(("leaving_profile_ids", text))
        if found:
            raise InvalidRequest(found)
        caps = await self._previews.of_parts(request.profile_id, leaving, request.strategy_id)
        return service_pb2.PreviewSplitResponse(caps=caps, position=self._position())

    async def _settle(self, message_key: str, *, confirm: bool) -> Settled:
        found = wire.check_text("message_key", message_key, wire.KEY_MAX, least=1)
        if found:
            raise InvalidRequest(found)
        (answer,) = await self._settling.ask([Settle(message_key, confirm)])
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def _current(self, strategy_id: str) -> Kept:
        try:
            return self._strategies.current(strategy_id)
        except NotFound:
            # Another process may just have defined it.
            await self._strategies.refresh()
            return self._strategies.current(strategy_id)

    async def _wishes(self, request: service_pb2.ReserveMessagesRequest) -> list[Wish]:
        """The wishes of a call. Raises InvalidRequest with the faults of all of them."""
        most = self._settings.wishes_max
        if not 1 <= len(request.wishes) <= most:
            raise InvalidRequest([("wishes", f"{len(request.wishes)} wishes; send 1 to {most}")])
        numbers: dict[tuple[str, str], int] = {}
        found: wire.Faults = []
        wishes = []
        for place, wanted in enumerate(request.wishes):
            key, profile_id = wanted.message_key, wanted.profile_id
            names = wanted.message_type, wanted.channel
            if not (wire.plain(key, wire.KEY_MAX) and wire.plain(profile_id, wire.NAME_MAX)):
                found += wire.wish_faults(place, wanted)
            elif names in numbers:
                wishes.append(Wish(key, profile_id, request.strategy_id, numbers[names]))
            elif faults := wire.wish_faults(place, wanted):
                found += faults
            else:
                number = numbers[names] = await self._strategies.kind(Kind(*names))
                wishes.append(Wish(key, profile_id, request.strategy_id, number))
        if found:
            raise InvalidRequest(found)
        return wishes

    def _check_tenant(self, tenant: str) -> None:
        if tenant != self._settings.tenant:
            raise NotFound(f"tenant {tenant!r} does not live here")

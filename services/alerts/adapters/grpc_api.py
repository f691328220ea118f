"""The calls of AlertsService."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muster.alerts.v1 import facts_pb2, service_pb2, service_pb2_grpc
from muster.types.v1.common_pb2 import Position
from services.alerts.adapters import wire
from services.alerts.adapters.store import Kept, PostgresWatches
from services.alerts.settings import AlertsSettings
from services.chassis.errors import InvalidRequest, NotFound
from services.chassis.parking import timestamp

PAGE_DEFAULT = 100
NEWEST = (1 << 63) - 1


class AlertsServicer(service_pb2_grpc.AlertsServiceServicer):
    """Watches, points and alerts of one tenant. Pages go by keys, so that they stay where they are
    while new rows come."""

    def __init__(
        self, settings: AlertsSettings, watches: PostgresWatches, position: Callable[[], Position]
    ) -> None:
        self._settings = settings
        self._watches = watches
        self._position = position

    async def DefineWatch(
        self, request: service_pb2.DefineWatchRequest, _: Any
    ) -> service_pb2.DefineWatchResponse:
        self._check_tenant(request.tenant)
        found = wire.check_text("request_id", request.request_id, wire.KEY_MAX)
        if found:
            raise InvalidRequest(found)
        kept = await self._watches.define(request.watch, request.request_id)
        return service_pb2.DefineWatchResponse(watch=kept.message)

    async def RetireWatch(
        self, request: service_pb2.RetireWatchRequest, _: Any
    ) -> service_pb2.RetireWatchResponse:
        self._check_tenant(request.tenant)
        await self._watches.retire(self._id(request.watch_id))
        return service_pb2.RetireWatchResponse()

    async def ListWatches(
        self, request: service_pb2.ListWatchesRequest, _: Any
    ) -> service_pb2.ListWatchesResponse:
        self._check_tenant(request.tenant)
        size = self._size(request.page_size)
        after = self._id(request.page_token, "page_token") if request.page_token else ""
        found = await self._watches.page_of_watches(after, size + 1)
        return service_pb2.ListWatchesResponse(
            watches=[_state_message(kept) for kept in found[:size]],
            next_page_token=found[size - 1].watch.watch_id if len(found) > size else "",
            position=self._position(),
        )

    async def ListPoints(
        self, request: service_pb2.ListPointsRequest, _: Any
    ) -> service_pb2.ListPointsResponse:
        self._check_tenant(request.tenant)
        size, before = self._size(request.page_size), self._token(request.page_token)
        found = await self._watches.page_of_points(self._id(request.watch_id), before, size + 1)
        return service_pb2.ListPointsResponse(
            points=[wire.point_message(point) for point in found[:size]],
            next_page_token=str(found[size - 1].from_us) if len(found) > size else "",
            position=self._position(),
        )

    async def ListAlerts(
        self, request: service_pb2.ListAlertsRequest, _: Any
    ) -> service_pb2.ListAlertsResponse:
        self._check_tenant(request.tenant)
        size, before = self._size(request.page_size), self._token(request.page_token)
        watch_id = self._id(request.watch_id) if request.watch_id else ""
        found = await self._watches.page_of_notices(watch_id, before, size + 1)
        return service_pb2.ListAlertsResponse(
            notices=[facts_pb2.AlertNotice.FromString(body) for _, body in found[:size]],
            next_page_token=str(found[size - 1][0]) if len(found) > size else "",
            position=self._position(),
        )

    def _check_tenant(self, tenant: str) -> None:
        if tenant != self._settings.tenant:
            raise NotFound(f"tenant {tenant!r} does not live here")

    def _id(self, watch_id: str, path: str = "watch_id") -> str:
        if found := wire.check_id(path, watch_id):
            raise InvalidRequest(found)
        return watch_id

    def _size(self, asked: int) -> int:
        if asked < 0:
            raise InvalidRequest([("page_size", "must not be negative; 0 is 100")])
        return min(asked or PAGE_DEFAULT, self._settings.page_max)

    def _token(self, token: str) -> int:
        if not token:
            return NEWEST
        if not token.lstrip("-").isdecimal() or len(token) > 19:
            raise InvalidRequest([("page_token", "hand back the token of an earlier answer")])
        return int(token)


def _state_message(kept: Kept) -> service_pb2.WatchState:
    state = service_pb2.WatchState(
        watch=kept.message, status=service_pb2.WatchStatus.Name(int(kept.state.status))
    )
    if kept.state.since_us:
        state.status_time.CopyFrom(timestamp(kept.state.since_us))
    return state

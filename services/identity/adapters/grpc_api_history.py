"""Calls about what lies behind a profile: its links, its events, what became of it, who waits."""

from __future__ import annotations

from typing import Any

from muster.identity.v1 import facts_pb2 as identity
from muster.identity.v1 import service_pb2 as api
from services.chassis.errors import NotReady
from services.chassis.parking import timestamp
from services.identity.adapters.door import Door, identifier_of
from services.identity.adapters.past_events import PastEvents

PAGE_MAX = 1_000
EVENTS_PAGE_MAX = 200


class HistoryCalls(Door):
    """GetProfileGraph, ListProfileEvents, ListProfileChanges, ListQuarantine."""

    past: PastEvents | None = None
    """Reads events from the log; there before the first call."""

    async def GetProfileGraph(
        self, request: api.GetProfileGraphRequest, context: Any
    ) -> api.GetProfileGraphResponse:
        worker = await self.reached(request.tenant, request.at_least)
        size, after = self.page(request.page_size, request.page_token, 100, PAGE_MAX)
        number = self.number(request.profile)
        links = self.answers.links(number)
        response = api.GetProfileGraphResponse(
            profile_id=self.answers.profile_id(number), position=worker.position()
        )
        for link in links[after : after + size]:
            made = response.links.add(
                cause_id=link.cause, occur_time=timestamp(link.time_us), untrusted=link.untrusted
            )
            for one, why in link.identifiers:
                made.identifiers.add(identifier=identifier_of(one), left_out=why)
        if len(links) > after + size:
            response.next_page_token = str(after + size)
        return response

    async def ListProfileEvents(
        self, request: api.ListProfileEventsRequest, context: Any
    ) -> api.ListProfileEventsResponse:
        worker = await self.reached(request.tenant, request.at_least)
        size, before = self.page(request.page_size, request.page_token, 50, EVENTS_PAGE_MAX)
        if self.past is None:
            raise NotReady("not connected to the log yet; ask again", retry_s=0.5)
        number = self.number(request.profile)
        found, more = self.answers.rows(number, before or 1 << 62, size)
        response = api.ListProfileEventsResponse(
            profile_id=self.answers.profile_id(number),
            older_left_out=self.answers.rows_left_out(),
            position=worker.position(),
        )
        response.events.extend(await self.past.read(found))
        if more:
            response.next_page_token = str(found[-1].number)
        return response

    async def ListProfileChanges(
        self, request: api.ListProfileChangesRequest, context: Any
    ) -> api.ListProfileChangesResponse:
        worker = await self.reached(request.tenant, request.at_least)
        size, before = self.page(request.page_size, request.page_token, 100, PAGE_MAX)
        number = self.number(request.profile) if request.HasField("profile") else None
        found, more = self.answers.changes(number, request.cause, before or 1 << 62, size)
        response = api.ListProfileChangesResponse(position=worker.position())
        for change, decided in found:
            response.changes.add(
                number=change.number,
                cause=identity.MoveCause.Name(change.kind),
                from_profile_id=self.answers.text_of(change.source_id),
                to_profile_id=self.answers.text_of(change.target_id),
                cause_id=change.cause,
                change_time=timestamp(change.time_us),
                actor=decided.actor if decided else "",
                reason=decided.reason if decided else "",
            )
        if more:
            response.next_page_token = str(found[-1][0].number)
        return response

    async def ListQuarantine(
        self, request: api.ListQuarantineRequest, context: Any
    ) -> api.ListQuarantineResponse:
        worker = await self.reached(request.tenant)
        size, after = self.page(request.page_size, request.page_token, 100, PAGE_MAX)
        profiles, ignored = self.answers.quarantine()
        response = api.ListQuarantineResponse(position=worker.position())
        for number, identifiers in profiles[after : after + size]:
            response.profiles.add(
                profile_id=self.answers.profile_id(number), identifiers=identifiers
            )
        left = size - len(response.profiles)
        start = max(0, after - len(profiles))
        for one in ignored[start : start + left]:
            name = identifier_of(self.answers.name(one))
            reason, pattern = self.answers.why_ignored(one)
            response.ignored_identifiers.append(name)
            response.ignored.add(identifier=name, reason=reason, pattern=pattern)
        if len(profiles) + len(ignored) > after + size:
            response.next_page_token = str(after + size)
        return response

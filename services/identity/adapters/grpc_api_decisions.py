"""Calls by which people link identifiers, take links back, and look first."""

from __future__ import annotations

from typing import Any

from muster.identity.v1 import service_pb2 as api
from services.chassis.errors import InvalidRequest, NotFound, NotReady, Precondition
from services.identity.adapters.decider import Decider, printed, printed_pair
from services.identity.adapters.door import Door, identifier_of
from services.identity.engine.previews import Pair

PROFILE_UNLINK = api.PreviewUnlinkRequest | api.UnlinkIdentifiersRequest


class DecisionCalls(Door):
    """PreviewLink, LinkIdentifiers, PreviewUnlink, UnlinkIdentifiers."""

    decider: Decider | None = None
    """Writes decisions; there before the first call."""

    async def PreviewLink(
        self, request: api.PreviewLinkRequest, context: Any
    ) -> api.PreviewLinkResponse:
        worker = await self.reached(request.tenant)
        wanted = self.wanted(request.identifiers)
        preview = self.answers.preview_link(wanted, not request.untrusted)
        response = api.PreviewLinkResponse(position=worker.position())
        if preview.survivor is not None:
            response.survivor_profile_id = self.answers.profile_id(preview.survivor)
        for number, holds in sorted(preview.absorbed.items()):
            response.absorbed.add(
                profile_id=self.answers.profile_id(number),
                holds=[identifier_of((one.kind, one.value)) for one in holds],
            )
        for one in dict.fromkeys(wanted):
            response.identifiers.add(
                identifier=identifier_of((one.kind, one.value)),
                left_out=preview.left_out.get(one, ""),
            )
        response.handed_over.extend(identifier_of((one.kind, one.value)) for one in preview.handed)
        return response

    async def LinkIdentifiers(
        self, request: api.LinkIdentifiersRequest, context: Any
    ) -> api.LinkIdentifiersResponse:
        worker = await self.reached(request.tenant)
        decider = self._decider()
        wanted = self.wanted(request.identifiers, least=2)
        record = decider.record(request.request_id, request.actor, request.reason)
        record.asserted.identifiers.extend(printed(one) for one in dict.fromkeys(wanted))
        await decider.decide(record, worker)
        numbers = [self.answers.find(one) for one in wanted]
        held = [number for number in numbers if number is not None]
        return api.LinkIdentifiersResponse(
            profile_ids=[self.answers.profile_id(number) for number in dict.fromkeys(held)],
            position=worker.position(),
        )

    async def PreviewUnlink(
        self, request: api.PreviewUnlinkRequest, context: Any
    ) -> api.PreviewUnlinkResponse:
        worker = await self.reached(request.tenant)
        number, pairs = self._unlinking(request)
        response = api.PreviewUnlinkResponse(position=worker.position())
        for part in self.answers.preview_unlink(number, pairs):
            response.profiles.add(
                profile_id=self.answers.text_of(part.public_id),
                identifiers=[identifier_of(self.answers.name(i)) for i in part.identifiers],
            )
        for first, second in pairs:
            response.forbids.add(
                first=identifier_of(self.answers.name(first)),
                second=identifier_of(self.answers.name(second)),
            )
        return response

    async def UnlinkIdentifiers(
        self, request: api.UnlinkIdentifiersRequest, context: Any
    ) -> api.UnlinkIdentifiersResponse:
        worker = await self.reached(request.tenant)
        decider = self._decider()
        record = decider.record(request.request_id, request.actor, request.reason)
        response = api.UnlinkIdentifiersResponse()
        number = self.number(request.profile)
        held = self.answers.identifiers_of(number)
        if self.answers.decided(record.request_id) is None:
            number, pairs = self._unlinking(request)
            record.forbidden.pairs.extend(printed_pair(self.answers, pair) for pair in pairs)
            await decider.decide(record, worker)
        for owner in dict.fromkeys(self.answers.owner(i) for i in held):
            if owner is not None:
                response.profiles.add(
                    profile_id=self.answers.profile_id(owner),
                    identifiers=[
                        identifier_of(self.answers.name(i))
                        for i in self.answers.identifiers_of(owner)
                    ],
                )
        response.position.CopyFrom(worker.position())
        return response

    def _unlinking(self, request: PROFILE_UNLINK) -> tuple[int, list[Pair]]:
        """(profile, pairs that shall stand apart); the refusals say what to do instead."""
        number = self.number(request.profile)
        which = request.WhichOneof("link")
        if which == "identifier":
            one = request.identifier
            wanted = self.answers.wanted(one.kind, one.value, "identifier")
            pairs = self.answers.pairs_by_identifier(number, wanted)
            if pairs is None:
                raise NotFound("the profile does not hold this identifier")
            if not pairs:
                raise Precondition("it is the only identifier of the profile: nothing to unlink")
            return number, pairs
        if which == "cause_id":
            pairs = self.answers.pairs_by_cause(number, request.cause_id)
            if pairs is None:
                raise NotFound(
                    f"{request.cause_id} asserted no link of this profile; GetProfileGraph names "
                    "those that did"
                )
            if not pairs:
                raise Precondition(
                    "other evidence joins the same identifiers: name the identifier that does not "
                    "belong, or take back the other links too"
                )
            return number, pairs
        raise InvalidRequest([("identifier", "name an identifier, or a cause_id")])

    def _decider(self) -> Decider:
        if self.decider is None:
            raise NotReady("not connected to the log yet; ask again", retry_s=0.5)
        return self.decider

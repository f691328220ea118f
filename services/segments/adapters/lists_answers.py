"""What one partition answers about people somebody wants to put into a list."""

from __future__ import annotations

import asyncio

from muster.segments.v1 import lists_pb2 as api
from services.chassis.errors import InvalidRequest
from services.segments.adapters.answering import Answering

NOBODY = -1
LOCATED_AT_ONCE = 500
"""References looked up before steps may run again."""


class ListAnswers(Answering):
    """A part of handlers.PartitionAnswers."""

    async def located(
        self, request: api.LocateProfilesRequest, _profile: int
    ) -> api.LocateProfilesResponse:
        """Numbers of the people named as far as this partition knows them, and who of its own is
        in the list. A reference that cannot be one is said so, not refused."""
        await self.reach(request.at_least)
        engine = self.core.engine
        response = api.LocateProfilesResponse()
        for place, ref in enumerate(request.profiles):
            if place and place % LOCATED_AT_ONCE == 0:
                await asyncio.sleep(0)
            number, member, public_id, fault = NOBODY, False, 0, ""
            try:
                found = self.number_of_ref(ref, "")
                number = NOBODY if found is None else found
            except (InvalidRequest, ValueError) as refusal:
                fault = _said(refusal)
            if number != NOBODY and engine.part.people.is_here(number):
                member = request.list_id in self.core.live and engine.is_member(
                    number, request.list_id
                )
                public_id = engine.public_id(number)
            response.number.append(number)
            response.member.append(member)
            response.public_id.append(public_id)
            response.fault.append(fault)
        response.position.CopyFrom(self.position())
        return response


def _said(refusal: Exception) -> str:
    if isinstance(refusal, InvalidRequest):
        return "; ".join(text for _, text in refusal.faults)
    return str(refusal)

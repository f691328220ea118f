"""What one partition answers, read from its engine between two steps.

Every answer names the position it was read at. Work that grows with the number of members goes in
slices, so that steps are never held up for longer than `slice_ms`; what it works on was copied at
the position named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from google.protobuf.wrappers_pb2 import Int64Value

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1.condition_pb2 import Condition
from services.chassis import clock
from services.segments.adapters.explanations import explained
from services.segments.adapters.explore_answers import ExploreAnswers
from services.segments.adapters.join_answers import JoinAnswers
from services.segments.adapters.life_answers import LifeAnswers
from services.segments.adapters.lists_answers import ListAnswers
from services.segments.adapters.member_answers import MemberAnswers
from services.segments.adapters.names import profile_id_text
from services.segments.adapters.score_answers import ScoreAnswers
from services.segments.adapters.validation import Fault
from services.segments.domain.faults import ConditionFaults

NOBODY = -1
SLICE_IDS = 1_000


class PartitionAnswers(
    LifeAnswers, ListAnswers, MemberAnswers, ScoreAnswers, ExploreAnswers, JoinAnswers
):
    """Answers about the profiles of one partition."""

    def compile_faults(self, condition: Condition, zone: str, of: str = "") -> list[Fault]:
        """What the engine says against a rule (of a segment); [] when it can live by it."""
        try:
            self.engine.definitions.read(condition, zone, of)
        except ConditionFaults as refusal:
            return list(refusal.faults)
        return []

    def sentence(self, definition: segments.SegmentDefined) -> str:
        """A rule in plain English; empty when it no longer stands, as when its parts are gone."""
        try:
            return self.engine.sentence(definition.condition, definition.zone)
        except ConditionFaults:
            return ""

    async def locate(self, request: api.CheckMembershipsRequest, _profile: int) -> Int64Value:
        """The number of the profile named, NOBODY when this partition does not know it.

        The number may be of another partition: the one that lives on after a merge.
        """
        await self.reach(request.at_least)
        number = self.number_of_ref(request.profile, "profile")
        return Int64Value(value=NOBODY if number is None else number)

    # -- answers ------------------------------------------------------------------------------

    async def count(
        self, request: api.CountMembersRequest, _profile: int
    ) -> api.CountMembersResponse:
        """Sizes of the segments named, of all when none is."""
        await self.reach(request.at_least)
        chosen = self.chosen(request.segment_ids)
        sizes = [
            segments.SegmentSize(
                segment_number=self.core.live[name].number,
                segment_id=name,
                version=self.core.live[name].version,
                members=self.core.live[name].members,
            )
            for name in chosen
        ]
        return api.CountMembersResponse(sizes=sizes, position=self.position())

    async def check(
        self, request: api.CheckMembershipsRequest, profile: int
    ) -> api.CheckMembershipsResponse:
        """One profile of this partition against the segments named, or all."""
        await self.reach(request.at_least)
        chosen = self.chosen(request.segment_ids)
        return api.CheckMembershipsResponse(
            memberships=[
                api.Membership(
                    segment_id=name,
                    segment_version=self.core.live[name].version,
                    member=bool(self.engine.is_member(profile, name)),
                )
                for name in chosen
            ],
            profile_id=profile_id_text(self.engine.public_id(profile)),
            position=self.position(),
        )

    async def explain(
        self, request: api.ExplainMembershipRequest, profile: int
    ) -> api.ExplainMembershipResponse:
        """Why a profile of this partition is in or out, and when that changes."""
        await self.reach(request.at_least)
        self.chosen([request.segment_id])
        response = explained(self.engine.explain(request.segment_id, profile))
        response.profile_id = profile_id_text(self.engine.public_id(profile))
        response.position.CopyFrom(self.position())
        return response

    async def list(self, request: api.ListMembersRequest, _profile: int) -> api.ListMembersResponse:
        """A page of this partition's members; without a token it pins a listing and says its name.

        page_token: `<listing>:<offset>`. page_size 0 gives no members, only the token.
        """
        now_s = clock.monotonic()
        if not request.page_token:
            await self.reach(request.at_least)
            self.chosen([request.segment_id])
            members = np.array(self.engine.members(request.segment_id), np.uint32)
            position = self.position()
            name = clock.new_id()
            if len(members):
                self.listings.pin(name, request.segment_id, members, now_s)
            token = f"{name}:0" if len(members) else ""
            return api.ListMembersResponse(next_page_token=token, position=position)
        await self.reach("")
        name, _, offset_text = request.page_token.partition(":")
        offset = max(0, int(offset_text))
        members = self.listings.read(name, now_s).members
        page = members[offset : offset + request.page_size]
        response = api.ListMembersResponse()
        async for number in self._sliced(page):
            response.profile_ids.append(profile_id_text(self.engine.public_id(number)))
        if offset + len(page) < len(members):
            response.next_page_token = f"{name}:{offset + len(page)}"
        return response

    async def _sliced(self, numbers: np.ndarray) -> AsyncIterator[int]:
        """The numbers one by one, letting steps run after every `slice_ms`."""
        until_s = clock.monotonic() + self.settings.slice_ms / 1_000
        for start in range(0, len(numbers), SLICE_IDS):
            for number in numbers[start : start + SLICE_IDS].tolist():
                yield number
            if clock.monotonic() >= until_s:
                await asyncio.sleep(0)
                until_s = clock.monotonic() + self.settings.slice_ms / 1_000

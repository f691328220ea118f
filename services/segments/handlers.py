"""What one partition answers, read from its engine between two steps.

Every answer names the position it was read at. Work that grows with the number of members goes in
slices, so that steps are never held up for longer than `slice_ms`; what it works on was copied at
the position named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import numpy as np
from google.protobuf.wrappers_pb2 import Int64Value

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1.condition_pb2 import Condition
from muster.types.v1.event_pb2 import Identifier
from services.chassis import clock, prints
from services.chassis.errors import InvalidRequest, NotFound, NotReady
from services.chassis.identifiers import BadIdentifier, Normaliser
from services.segments.adapters.explanations import explained
from services.segments.adapters.explore_answers import ExploreAnswers
from services.segments.adapters.life_answers import LifeAnswers
from services.segments.adapters.listings import Listings
from services.segments.adapters.lists_answers import ListAnswers
from services.segments.adapters.member_answers import MemberAnswers
from services.segments.adapters.names import profile_id_text, public_id_of
from services.segments.adapters.score_answers import ScoreAnswers
from services.segments.adapters.validation import Fault
from services.segments.core import SegmentsCore
from services.segments.domain.faults import ConditionFaults
from services.segments.settings import SegmentsSettings

NOBODY = -1
SLICE_IDS = 1_000


class Reached(Protocol):
    """The worker as questions see it: `chassis.application.Worker`."""

    live: bool

    def position(self) -> common_pb2.Position: ...

    async def reflects(self, token: str, timeout_s: float) -> None: ...


class PartitionAnswers(LifeAnswers, ListAnswers, MemberAnswers, ScoreAnswers, ExploreAnswers):
    """Answers about the profiles of one partition."""

    def __init__(self, core: SegmentsCore, settings: SegmentsSettings) -> None:
        super().__init__()
        self.core = core
        self.engine = core.engine
        self.settings = settings
        self.worker: Reached | None = None
        self.listings = Listings(
            settings.listings_max, settings.listings_bytes_max, settings.listing_kept_ms / 1_000
        )
        self._normaliser = Normaliser(settings.phone_country)
        self._print_key = prints.print_key(settings.print_key)

    # -- what is asked about ------------------------------------------------------------------

    async def reach(self, at_least: str) -> None:
        """Returns once the engine is live and as new as the position in `at_least`."""
        if self.worker is None or not self.worker.live:
            raise NotReady("reading the log up to now; ask again", retry_s=0.5)
        if at_least:
            await self.worker.reflects(at_least, self.settings.at_least_wait_ms / 1_000)

    def position(self) -> common_pb2.Position:
        """The position of an answer read now."""
        assert self.worker is not None
        return self.worker.position()

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

    def number_of_ref(self, ref: common_pb2.ProfileRef, path: str) -> int | None:
        """The number of the profile named, in this partition or another; None when unknown."""
        if ref.WhichOneof("ref") == "profile_id":
            return self.engine.number_of(_public_id(ref.profile_id, path))
        if ref.WhichOneof("ref") == "identifier":
            return self.engine.resolve(*self._print_of(ref.identifier, path))
        raise InvalidRequest([(path, "name a person by profile_id or identifier")])

    def _print_of(self, identifier: Identifier, path: str) -> tuple[int, int]:
        try:
            normal = self._normaliser.normal(identifier.kind, identifier.value)
        except BadIdentifier as refusal:
            raise InvalidRequest([(f"{path}.identifier", str(refusal))]) from None
        return prints.print_of(identifier.kind, normal, self._print_key)

    # -- answers ------------------------------------------------------------------------------

    async def count(
        self, request: api.CountMembersRequest, _profile: int
    ) -> api.CountMembersResponse:
        """Sizes of the segments named, of all when none is."""
        await self.reach(request.at_least)
        chosen = self._chosen(request.segment_ids)
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
        chosen = self._chosen(request.segment_ids)
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
        self._chosen([request.segment_id])
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
            self._chosen([request.segment_id])
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

    def _chosen(self, named: Sequence[str]) -> Sequence[str]:
        """The names asked about, all when none is; NotFound names those that do not live."""
        missing = sorted(set(named) - self.core.live.keys())
        if missing:
            shown = ", ".join(missing[:10])
            raise NotFound(f"no segment {shown}; ListSegments shows what there is")
        return list(dict.fromkeys(named)) or sorted(self.core.live)


def _public_id(profile_id: str, path: str) -> int:
    try:
        return public_id_of(profile_id)
    except ValueError as refusal:
        raise InvalidRequest([(f"{path}.profile_id", str(refusal))]) from None

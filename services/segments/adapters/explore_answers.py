"""What one partition answers about the past, the next hours, and what segments share."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, TypeVar

import numpy as np

from muster.segments.v1 import explore_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis import clock
from services.chassis.errors import NotFound, NotReady, Precondition
from services.chassis.parking import timestamp
from services.segments.adapters.answering import Answering
from services.segments.adapters.names import profile_id_text
from services.segments.adapters.validation import refuse
from services.segments.domain import conditions as rule
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.asked.across import Then, overlap, then
from services.segments.engine.asked.asof import PastUnknown, rules_at
from services.segments.engine.asked.stretches import NOBODY
from services.segments.engine.asked.turns import Turn, flips_within, turns_of
from services.segments.engine.base.pieces import Pieces
from services.segments.engine.language.expressions import Expression, express

HOUR_US = 3_600_000_000
FLIPS_DEFAULT = 100
T = TypeVar("T")


class Asked(NamedTuple):
    """A rule; of a segment its version, and the instant of the rules it refers to (None: now)."""

    expression: Expression
    version: int = 0
    rules_us: int | None = None


class ExploreAnswers(Answering):
    """A part of handlers.PartitionAnswers."""

    async def then(
        self, request: api.ListMembersAsOfRequest, _profile: int
    ) -> api.ListMembersAsOfResponse:
        """Counts members as of an instant; pins them for the pages of `list` when a page is
        asked for. next_page_token: `<listing>:0`."""
        await self.reach(request.at_least)
        part, position = self.core.engine.part, self.position()
        at = request.at_time.ToMicroseconds()
        known = self._known(request, at)
        asked = self._asked(request.rule, at, known)
        found = await self._in_pieces(then(part, asked.expression, at, known, asked.rules_us))
        response = api.ListMembersAsOfResponse(
            members=int(np.count_nonzero(found.members)),
            profiles=found.profiles,
            position=position,
            segment_version=asked.version,
        )
        if request.page_size and response.members:
            rows = np.flatnonzero(found.members)
            numbers = (rows * part.people.partitions + part.people.partition).astype(np.uint32)
            name = clock.new_id()
            self.listings.pin(name, "", numbers, clock.monotonic())
            response.next_page_token = f"{name}:0"
        return response

    async def backtest(self, request: api.BacktestRuleRequest, _profile: int) -> api.BacktestPoints:
        """A rule at some instants, each compared with the one before it."""
        await self.reach(request.at_least)
        part = self.core.engine.part
        points, before = api.BacktestPoints(), None
        for given in request.at_times:
            position, at = self.position(), given.ToMicroseconds()
            known = self._known(request, at)
            asked = self._asked(request.rule, at, known)
            found = await self._in_pieces(then(part, asked.expression, at, known, asked.rules_us))
            point = points.points.add(
                at_time=given, profiles=found.profiles, position=position,
                segment_version=asked.version,
            )  # fmt: skip
            point.members = int(np.count_nonzero(found.members))
            if before is not None:
                point.entered, point.left = _between(before, found)
            before = found
        return points

    async def overlap(
        self, request: api.GetOverlapRequest, _profile: int
    ) -> api.GetOverlapResponse:
        """What segments share in this partition."""
        await self.reach(request.at_least)
        chosen, position = self.chosen(request.segment_ids), self.position()
        found = await self._in_pieces(overlap(self.core.engine.part, chosen))
        response = api.GetOverlapResponse(segment_ids=chosen, position=position)
        response.shared.extend(found.shared.ravel().tolist())
        response.any, response.none = found.reached, found.profiles - found.reached
        return response

    async def turns(
        self, request: api.GetMembershipHistoryRequest, profile: int
    ) -> api.GetMembershipHistoryResponse:
        """When a profile of this partition entered and left."""
        await self.reach(request.at_least)
        part, position = self.core.engine.part, self.position()
        low = request.from_time.ToMicroseconds() if request.HasField("from_time") else None
        high = request.to_time.ToMicroseconds() if request.HasField("to_time") else part.now
        self._reached(high)
        named = "" if request.rule.present else request.rule.segment_id
        if named:
            self._ever(named)
        asked = named or self._node(request.rule)
        found = await self._in_pieces(turns_of(part, part.people.row_of(profile), asked, low, high))
        turns = [_turn(one) for one in found.turns]
        return api.GetMembershipHistoryResponse(
            member_at_start=found.member_at_low,
            turns=turns,
            truncated=found.truncated,
            profile_id=profile_id_text(self.core.engine.public_id(profile)),
            from_time=timestamp(found.low_us),
            to_time=timestamp(high),
            position=position,
        )

    async def soon(
        self, request: api.ListNextFlipsRequest, _profile: int
    ) -> api.ListNextFlipsResponse:
        """Who of this partition flips within a time."""
        await self.reach(request.at_least)
        self.chosen([request.segment_id])
        part, position = self.core.engine.part, self.position()
        within = request.within.ToMicroseconds() if request.HasField("within") else HOUR_US
        found = (await self._in_pieces(flips_within(part, request.segment_id, within))).flips
        response = api.ListNextFlipsResponse(
            entering=sum(enters for _, _, enters in found),
            leaving=sum(not enters for _, _, enters in found),
            position=position,
        )
        for at, row, enters in found[: request.limit or FLIPS_DEFAULT]:
            response.flips.add(
                profile_id=profile_id_text(int(part.people.public_id[row])),
                direction=_direction(enters),
                flip_time=timestamp(at),
            )
        return response

    async def _in_pieces(self, pieces: Pieces[T]) -> T:
        """What a question answers as of where it began; steps run after every `slice_ms`."""
        until_s = clock.monotonic() + self.settings.slice_ms / 1_000
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                answer: T = end.value
                return answer
            except PastUnknown as why:
                raise Precondition(f"that is not known: {why}") from None
            if clock.monotonic() >= until_s:
                await asyncio.sleep(0)
                until_s = clock.monotonic() + self.settings.slice_ms / 1_000

    def _asked(self, asked: api.RuleRef, at: int, known: int) -> Asked:
        """The rule asked about, of a segment the version that was known."""
        if asked.WhichOneof("rule") != "segment_id" or asked.present:
            return Asked(express(self._node(asked)))
        self._ever(asked.segment_id)
        part = self.core.engine.part
        one = rules_at(part, known, min(at, known, part.now))[asked.segment_id]
        if one.node is None:
            return Asked(express(NOBODY), 0, known)
        return Asked(one.expression, one.version, known)

    def _ever(self, segment_id: str) -> None:
        """Refuses a segment that never was."""
        if segment_id not in self.core.engine.part.segments:
            raise NotFound(f"no segment {segment_id}; ListSegments shows what there is")

    def _node(self, asked: api.RuleRef) -> rule.Node:
        """The rule asked about, as it is now."""
        if asked.WhichOneof("rule") == "segment_id":
            self.chosen([asked.segment_id])
            node = self.core.engine.part.segments[asked.segment_id].node
            assert node is not None, "what lives has a rule"
            return node
        try:
            return self.core.engine.definitions.read(asked.condition, asked.zone)
        except ConditionFaults as refusal:
            refuse([(f"rule.condition.{path}", text) for path, text in refusal.faults])
            raise

    def _known(self, request: api.ListMembersAsOfRequest | api.BacktestRuleRequest, at: int) -> int:
        """The instant of the knowledge a question is answered with; at the latest now."""
        self._reached(at)
        if not request.HasField("known_time"):
            return at
        return min(request.known_time.ToMicroseconds(), self.core.engine.part.now)

    def _reached(self, at: int) -> None:
        if at > self.core.engine.part.now:
            raise NotReady("the log has not come as far as that instant; ask again", retry_s=0.2)


def _between(before: Then, found: Then) -> tuple[int, int]:
    """Who entered and who left; rows are only ever added."""
    old = np.zeros(found.members.size, bool)
    old[: before.members.size] = before.members
    entered = int(np.count_nonzero(found.members & ~old))
    return entered, int(np.count_nonzero(old & ~found.members))


def _turn(one: Turn) -> api.MembershipTurn:
    return api.MembershipTurn(
        direction=_direction(one.entered),
        at_time=timestamp(one.at_us),
        reason=common_pb2.Reason.Name(one.why.reason),
        event_id=one.why.event_id,
        leaves=[api.TurnedLeaf(path=path, sentence=said) for path, said in one.why.leaves],
        segment_version=one.version,
    )


def _direction(entered: bool) -> common_pb2.Direction:
    return common_pb2.DIRECTION_ENTERED if entered else common_pb2.DIRECTION_LEFT

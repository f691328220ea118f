"""What one partition answers about rules nobody has saved, changes of a rule, and variants."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from google.protobuf.wrappers_pb2 import Int64Value

from muster.segments.v1 import service_pb2 as api
from muster.segments.v1 import variants_pb2
from muster.types.v1 import common_pb2
from services.chassis import clock
from services.chassis.errors import NotFound
from services.segments.adapters.answering import Answering
from services.segments.adapters.names import profile_id_text
from services.segments.adapters.pacing import Slices, let_steps_run
from services.segments.adapters.preparations import Preparations
from services.segments.adapters.validation import refuse
from services.segments.core import SegmentsCore
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.asked.trials import Changed, Reached, change_of, reach_of
from services.segments.engine.asked.variants import VariantSet, deciding_rules, divide
from services.segments.engine.base.pieces import Pieces
from services.segments.engine.language.expressions import Expression, express
from services.segments.settings import SegmentsSettings

ELSEWHERE = "@"
"""Between partitions only: before the number of a profile that lives in another one."""
RESOLVED_AT_ONCE = 500
"""References looked up before steps may run again."""
UNKNOWN = -1
NOT_YET = -1

A = TypeVar("A", Reached, Changed)


class LifeAnswers(Answering):
    """A part of handlers.PartitionAnswers."""

    def __init__(self, core: SegmentsCore, settings: SegmentsSettings) -> None:
        super().__init__(core, settings)
        self._preparations = Preparations(core, settings)

    # -- rules ----------------------------------------------------------------------------------

    async def preview(
        self, request: api.PreviewSegmentRequest, _profile: int
    ) -> api.PreviewSegmentResponse:
        """The exact answer of a rule nobody has saved."""
        await self.reach(request.at_least)
        began_us = clock.performance_us()
        engine = self.core.engine
        pieces = reach_of(engine.part, self._expression(request, ""))
        reached, position = await self._in_slices(pieces)
        return api.PreviewSegmentResponse(
            members=reached.members,
            profiles=reached.profiles,
            sample_profile_ids=self._ids(reached.rows[: request.sample_size]),
            sentence=engine.sentence(request.condition, request.zone),
            reach=_reach(reached.reach),
            reachable=reached.reachable,
            cost_us=clock.performance_us() - began_us,
            position=position,
        )

    async def change(
        self, request: api.PreviewChangeRequest, _profile: int
    ) -> api.PreviewChangeResponse:
        """What a new rule for a segment would do to this partition's profiles."""
        await self.reach(request.at_least)
        began_us = clock.performance_us()
        if request.segment_id not in self.core.live:
            raise NotFound(f"no segment {request.segment_id}; ListSegments shows what there is")
        retires = not request.HasField("condition")
        expression = () if retires else self._expression(request, request.segment_id)
        pieces = change_of(self.core.engine.part, request.segment_id, expression)
        changed, position = await self._in_slices(pieces)
        return api.PreviewChangeResponse(
            enters=changed.enters.size,
            leaves=changed.leaves.size,
            stays=changed.stays,
            profiles=changed.profiles,
            entering_profile_ids=self._ids(changed.enters[: request.sample_size]),
            leaving_profile_ids=self._ids(changed.leaves[: request.sample_size]),
            entering_reach=_reach(changed.reach),
            dependents=[
                api.AffectedSegment(segment_id=name, enters=enters, leaves=leaves)
                for name, (enters, leaves) in changed.dependents.items()
            ],
            cost_us=clock.performance_us() - began_us,
            position=position,
        )

    async def prepare(self, request: api.PreviewChangeRequest, _profile: int) -> Int64Value:
        """Begins what the rule needs that is about to be a segment's; milliseconds it took, or
        NOT_YET: ask again."""
        await self.reach(request.at_least)
        began_us = clock.performance_us()
        assert self.worker is not None
        if self._preparations.after_step not in self.worker.on_step:
            self.worker.on_step.append(self._preparations.after_step)
        expression = self._expression(request, request.segment_id)
        within_s = self.settings.at_least_wait_ms / 1_000
        done = await self._preparations.prepare(request.segment_id, expression, within_s)
        took_ms = (clock.performance_us() - began_us) // 1_000
        return Int64Value(value=took_ms if done else NOT_YET)

    async def _in_slices(self, pieces: Pieces[A]) -> tuple[A, common_pb2.Position]:
        """What a question answers, and the position it began at; steps run in between."""
        begun, position = 0, self.position()
        slices = Slices(self.settings.slice_ms)
        while True:
            here = self.position()
            try:
                at = next(pieces)
            except StopIteration as end:
                answer: A = end.value
                return answer, position if answer.begun == begun else here
            if at != begun:
                begun, position = at, here
            await slices.rest()

    def _expression(
        self, request: api.PreviewSegmentRequest | api.PreviewChangeRequest, of: str
    ) -> Expression:
        """The rule asked about, compiled; `of`: the segment it would define."""
        try:
            return express(self.core.engine.definitions.read(request.condition, request.zone, of))
        except ConditionFaults as refusal:
            refuse([(f"condition.{path}", text) for path, text in refusal.faults])
            raise

    def _ids(self, rows: np.ndarray) -> list[str]:
        public = self.core.engine.part.people.public_id
        return [profile_id_text(int(public[row])) for row in rows.tolist()]

    # -- variants -------------------------------------------------------------------------------

    async def divided(
        self, request: variants_pb2.PreviewVariantsRequest, _profile: int
    ) -> variants_pb2.PreviewVariantsResponse:
        """How a set would divide this partition's profiles."""
        await self.reach(request.at_least)
        rules = tuple((rule.segment_id, rule.variant) for rule in request.rules)
        variants = VariantSet(0, rules, request.default_variant)
        decided, members = divide(self.core.engine.part, variants)
        return variants_pb2.PreviewVariantsResponse(
            counts=[
                variants_pb2.VariantCount(
                    segment_id=variants.segment_of(place),
                    variant=variants.name_of(place),
                    profiles=decided[place],
                    members=members[place],
                )
                for place in range(len(rules) + 1)
            ],
            profiles=members[-1],
            position=self.position(),
        )

    async def variants(
        self, request: variants_pb2.BatchGetVariantsRequest, _profile: int
    ) -> variants_pb2.BatchGetVariantsResponse:
        """The variants of profiles of this partition, all at one position.

        Whom this partition does not know has no profile id; who lives in another one, the number
        after ELSEWHERE. A reference may be such a number too.
        """
        await self.reach(request.at_least)
        numbers = np.array(await self._numbers(request), np.int64)
        # From here on nothing waits until everything is read: one position for all of them.
        found = self.core.variant_sets.get(request.variant_set_id)
        if found is None:
            raise NotFound(f"no variant set {request.variant_set_id}")
        part, known = self.core.engine.part, numbers != UNKNOWN
        partitions, ours = part.people.partitions, part.people.partition
        numbers[known] = [part.people.survivor(one) for one in numbers[known].tolist()]
        here = known & (numbers % partitions == ours) & (numbers // partitions < part.people.rows)
        rows = numbers[here] // partitions
        places = np.full(numbers.size, len(found.rules))
        places[here] = deciding_rules(part, found, rows)
        public_ids = np.zeros(numbers.size, np.uint64)
        public_ids[here] = part.people.public_id[rows]
        response = variants_pb2.BatchGetVariantsResponse(
            version=found.version, position=self.position()
        )
        said = zip(
            numbers.tolist(), here.tolist(), places.tolist(), public_ids.tolist(), strict=True
        )
        for count, (number, is_here, place, public_id) in enumerate(said):
            elsewhere = "" if number == UNKNOWN else f"{ELSEWHERE}{number}"
            response.variants.add(
                profile_id=profile_id_text(public_id) if is_here else elsewhere,
                variant=found.name_of(place),
                segment_id=found.segment_of(place),
            )
            if count % RESOLVED_AT_ONCE == RESOLVED_AT_ONCE - 1:
                await let_steps_run()
        return response

    async def _numbers(self, request: variants_pb2.BatchGetVariantsRequest) -> list[int]:
        numbers: list[int] = []
        for place, ref in enumerate(request.profiles):
            number: int | None
            if ref.profile_id.startswith(ELSEWHERE):
                number = int(ref.profile_id.removeprefix(ELSEWHERE))
            else:
                number = self.number_of_ref(ref, f"profiles[{place}]")
            numbers.append(UNKNOWN if number is None else number)
            if place % RESOLVED_AT_ONCE == RESOLVED_AT_ONCE - 1:
                await let_steps_run()
        return numbers


def _reach(counts: dict[str, int]) -> list[api.ChannelReach]:
    return [api.ChannelReach(channel=name, profiles=count) for name, count in counts.items()]

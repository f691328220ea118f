"""JoinsService over gRPC: memberships of people as one, or of one as several, before it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from muster.segments.v1 import joins_pb2 as api
from muster.segments.v1 import joins_pb2_grpc as rpc
from muster.types.v1 import common_pb2
from services.chassis.subjects import partition_of
from services.segments.adapters import gather
from services.segments.adapters.grpc_api import SegmentsApi
from services.segments.adapters.validation import Fault, refuse
from services.segments.engine.asked.joins import Trial

JOINS_SERVICE = "muster.segments.v1.JoinsService"
PROFILES_MAX = 20
PARTS_MAX = 20
PAST_BYTES_MAX = 900_000
"""Of a past from another partition: the broker's messages hold 1 MiB."""


class JoinsApi(rpc.JoinsServiceServicer):
    """The servicer; it stands on that of segments, which knows the partitions."""

    def __init__(self, on: SegmentsApi) -> None:
        self._on = on

    async def PreviewMerge(
        self, request: api.PreviewMergeRequest, context: Any
    ) -> api.PreviewMergeResponse:
        self._on.check_tenant(request)
        if not 2 <= len(request.profiles) <= PROFILES_MAX:
            refuse([("profiles", f"name 2 to {PROFILES_MAX}, who would survive first")])
        numbers, pasts = await self._pasts(request.profiles, request.at_least)
        if len(set(numbers)) < len(numbers):
            refuse([("profiles", "two of them are one person already: name each person once")])
        trial = Trial(self._on.answers.engine.part, numbers[0])
        # The trial has an engine of its own; steps go on beside it.
        then = await asyncio.to_thread(_joined, trial, pasts, list(request.newest_attributes))
        now = [set(past.member_of) for past in pasts]
        return api.PreviewMergeResponse(
            memberships=self._memberships(now, [then], trial),
            unknown=_unknown(trial),
            position=gather.smallest(past.position for past in pasts),
        )

    async def PreviewSplit(
        self, request: api.PreviewSplitRequest, context: Any
    ) -> api.PreviewSplitResponse:
        self._on.check_tenant(request)
        if not 1 <= len(request.parts) <= PARTS_MAX:
            refuse([("parts", f"name 1 to {PARTS_MAX} parts that would leave")])
        faults: list[Fault] = []
        parts = []
        for place, part in enumerate(request.parts):
            if not part.identifiers:
                faults.append((f"parts[{place}].identifiers", "name at least one"))
            parts.append(
                {
                    self._on.answers.print_of(one, f"parts[{place}].identifiers[{at}]")
                    for at, one in enumerate(part.identifiers)
                }
            )
        refuse(faults)
        numbers, pasts = await self._pasts([request.profile], request.at_least)
        trial = Trial(self._on.answers.engine.part, numbers[0], split=True)
        then = await asyncio.to_thread(_parted, trial, pasts[0], parts)
        return api.PreviewSplitResponse(
            memberships=self._memberships([set(pasts[0].member_of)], then, trial),
            unknown=_unknown(trial),
            position=pasts[0].position,
        )

    async def _pasts(
        self, profiles: Sequence[common_pb2.ProfileRef], at_least: str
    ) -> tuple[list[int], list[api.ProfilePast]]:
        """Numbers and pasts of the people named; NotFound."""
        await self._on.answers.reach(at_least)
        partitions = self._on.partitions
        numbers = [await gather.find_profile(partitions, one, at_least) for one in profiles]
        pasts = []
        for number in numbers:
            place = partition_of(number, len(partitions))
            own = place == self._on.settings.partition
            asked = api.ExportPastRequest(at_least=at_least, bytes_max=0 if own else PAST_BYTES_MAX)
            pasts.append(await partitions[place].ask("past", asked, number))
        return numbers, pasts

    def _memberships(
        self, now: Sequence[set[str]], then: Sequence[set[str]], trial: Trial
    ) -> list[api.MembershipPreview]:
        named = set().union(*now, *then) - trial.unknown.keys()
        live = self._on.answers.core.live
        return [
            api.MembershipPreview(
                segment_id=name,
                version=live[name].version if name in live else 0,
                member=[name in one for one in now],
                then_member=[name in one for one in then],
            )
            for name in sorted(named)
        ]


def _joined(trial: Trial, pasts: Sequence[api.ProfilePast], newest: Sequence[str]) -> set[str]:
    for past in pasts:
        trial.enter(past, newest)
    return trial.member_of()


def _parted(
    trial: Trial, past: api.ProfilePast, parts: Sequence[set[tuple[int, int]]]
) -> list[set[str]]:
    """Of who stays, then of each part."""
    trial.enter(past)
    left = [trial.leave(prints) for prints in parts]
    return [trial.member_of(), *(trial.member_of(number) for number in left)]


def _unknown(trial: Trial) -> list[api.UnknownPreview]:
    return [
        api.UnknownPreview(segment_id=name, reason=reason)
        for name, reason in sorted(trial.unknown.items())
    ]

"""Previews, dry runs and variants over all partitions, put together at the smallest position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from muster.segments.v1 import service_pb2 as api
from muster.segments.v1 import variants_pb2
from services.segments.adapters.asks import Partition, ask_all
from services.segments.adapters.gather import smallest
from services.segments.adapters.life_answers import ELSEWHERE

ROUNDS_MAX = 4
"""Merges that may follow each other while variants are asked for."""


async def preview(
    partitions: list[Partition], request: api.PreviewSegmentRequest
) -> api.PreviewSegmentResponse:
    """Counts added up; the sample comes from the partitions in their order."""
    answers = await ask_all(partitions, "preview", request)
    members, profiles = _sum(answers, "members"), _sum(answers, "profiles")
    return api.PreviewSegmentResponse(
        members=members,
        profiles=profiles,
        share=members / profiles if profiles else 0.0,
        sample_profile_ids=_sample(answers, "sample_profile_ids", request.sample_size),
        sentence=answers[0].sentence,
        reach=_reach(answer.reach for answer in answers),
        reachable=_sum(answers, "reachable"),
        cost_us=_sum(answers, "cost_us"),
        position=smallest(answer.position for answer in answers),
    )


async def change(
    partitions: list[Partition], request: api.PreviewChangeRequest
) -> api.PreviewChangeResponse:
    """The partitions' part of a dry run: counts added up, samples in the partitions' order."""
    answers = await ask_all(partitions, "change", request)
    affected: dict[str, api.AffectedSegment] = {}
    for answer in answers:
        for one in answer.dependents:
            total = affected.setdefault(
                one.segment_id, api.AffectedSegment(segment_id=one.segment_id)
            )
            total.enters += one.enters
            total.leaves += one.leaves
    size = request.sample_size
    return api.PreviewChangeResponse(
        enters=_sum(answers, "enters"),
        leaves=_sum(answers, "leaves"),
        stays=_sum(answers, "stays"),
        profiles=_sum(answers, "profiles"),
        entering_profile_ids=_sample(answers, "entering_profile_ids", size),
        leaving_profile_ids=_sample(answers, "leaving_profile_ids", size),
        entering_reach=_reach(answer.entering_reach for answer in answers),
        dependents=[affected[name] for name in sorted(affected)],
        cost_us=_sum(answers, "cost_us"),
        position=smallest(answer.position for answer in answers),
    )


async def divide(
    partitions: list[Partition], request: variants_pb2.PreviewVariantsRequest
) -> variants_pb2.PreviewVariantsResponse:
    """How a set divides everybody, rule by rule."""
    answers = await ask_all(partitions, "divided", request)
    counts = [
        variants_pb2.VariantCount(
            segment_id=same[0].segment_id,
            variant=same[0].variant,
            profiles=_sum(same, "profiles"),
            members=_sum(same, "members"),
        )
        for same in zip(*(answer.counts for answer in answers), strict=True)
    ]
    return variants_pb2.PreviewVariantsResponse(
        counts=counts,
        profiles=_sum(answers, "profiles"),
        position=smallest(answer.position for answer in answers),
    )


async def variants(
    partitions: list[Partition], request: variants_pb2.BatchGetVariantsRequest
) -> variants_pb2.BatchGetVariantsResponse:
    """For each profile the answer of the partition it lives in, in the order asked; all answers of
    a partition are of one position.

    A merge across partitions reaches them one after the other: whom one partition knows to live in
    another, and that one did not know by the same reference, is asked for by number, together with
    everybody else.
    """
    asked = variants_pb2.BatchGetVariantsRequest()
    asked.CopyFrom(request)
    for _ in range(ROUNDS_MAX):
        answers = await ask_all(partitions, "variants", asked)
        chosen = [_held(said) for said in zip(*(one.variants for one in answers), strict=True)]
        moved = [
            (place, one.profile_id)
            for place, one in enumerate(chosen)
            if one.profile_id.startswith(ELSEWHERE)
        ]
        if not moved:
            break
        for place, number in moved:
            asked.profiles[place].profile_id = number
    for place, _ in moved:
        chosen[place].profile_id = ""
    return variants_pb2.BatchGetVariantsResponse(
        variants=chosen,
        version=min(answer.version for answer in answers),
        position=smallest(answer.position for answer in answers),
    )


def _held(said: Sequence[variants_pb2.VariantOfProfile]) -> variants_pb2.VariantOfProfile:
    """Of what partitions say of one reference: who holds the profile, else who knows where."""
    known = [one for one in said if one.profile_id]
    held = [one for one in known if not one.profile_id.startswith(ELSEWHERE)]
    return [*held, *known, said[0]][0]


def _sum(answers: Iterable[object], field: str) -> int:
    return sum(getattr(answer, field) for answer in answers)


def _sample(answers: Sequence[object], field: str, size: int) -> list[str]:
    return [profile for answer in answers for profile in getattr(answer, field)][:size]


def _reach(said: Iterable[Iterable[api.ChannelReach]]) -> list[api.ChannelReach]:
    total: dict[str, int] = {}
    for reach in said:
        for one in reach:
            total[one.channel] = total.get(one.channel, 0) + one.profiles
    return [api.ChannelReach(channel=name, profiles=count) for name, count in total.items()]

"""What one partition answers about the figures of its profiles at a midnight, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from muster.segments.v1 import cuts_pb2 as api
from services.chassis.errors import NotReady
from services.segments.adapters.answering import Answering
from services.segments.core import SegmentsCore
from services.segments.engine.asked.scoring import everybody, quantile_leaves
from services.segments.engine.base.arrays import Array
from services.segments.settings import SegmentsSettings

PAGE_FIGURES = 30_000
"""Distinct figures of an answer: 16 bytes each."""
PAGE_TEXTS = 5_000
COLLECTED_MAX = 2
"""Collections kept for the pages that follow."""


@dataclass(frozen=True, slots=True)
class Distinct:
    """One figure of a partition, ascending. profiles: how many have it; profile: whose it is, where
    equals are told apart."""

    units: Array
    exponent: int
    texts: tuple[str, ...]
    profiles: Array
    profile: Array

    @property
    def size(self) -> int:
        return self.profiles.size


class ScoreAnswers(Answering):
    """A part of handlers.PartitionAnswers."""

    def __init__(self, core: SegmentsCore, settings: SegmentsSettings) -> None:
        super().__init__(core, settings)
        self._collected: dict[tuple[str, int], tuple[Distinct, ...]] = {}

    async def figures(
        self, request: api.CollectFiguresRequest, _profile: int
    ) -> api.CollectFiguresResponse:
        """A page of one figure. NotReady before this partition has reached the midnight."""
        await self.reach("")
        if self.core.engine.time_us < request.midnight_us:
            raise NotReady("this partition has not reached that midnight; ask again")
        key = (request.key, request.midnight_us)
        if key not in self._collected and not self._collect(*key):
            return api.CollectFiguresResponse(unknown=True)
        figure = self._collected[key][request.figure]
        start = request.offset
        end = min(figure.size, start + (PAGE_TEXTS if figure.texts else PAGE_FIGURES))
        return api.CollectFiguresResponse(
            units=figure.units[start:end],
            exponent=figure.exponent,
            profiles=figure.profiles[start:end],
            profile=figure.profile[start:end],
            text=figure.texts[start:end],
            next_offset=end if end < figure.size else 0,
        )

    def _collect(self, key: str, midnight_us: int) -> bool:
        part = self.core.engine.part
        leaves = quantile_leaves(part).get(key)
        if not leaves:
            return False
        leaf = leaves[0][1]
        everyone = everybody(part, leaf, midnight_us)
        self._collected[key, midnight_us] = tuple(
            _distinct(one.units, one.exponent, one.exact, everyone.profiles, leaf.ties_by_id)
            for one in everyone.figures
        )
        while len(self._collected) > COLLECTED_MAX:
            del self._collected[next(iter(self._collected))]
        return True


def _distinct(
    units: Array, exponent: int, exact: tuple[Fraction, ...], profiles: Array, ties_by_id: bool
) -> Distinct:
    if exact:
        ranked = sorted(range(len(exact)), key=lambda i: (exact[i], profiles[i]))
        texts = tuple(str(exact[i]) for i in ranked)
        ones = np.ones(len(ranked), np.uint32)
        return Distinct(np.zeros(0, np.int64), 0, texts, ones, profiles[ranked])
    if ties_by_id:
        order = np.lexsort((profiles, units))
        return Distinct(units[order], exponent, (), np.ones(units.size, np.uint32), profiles[order])
    found, counts = np.unique(units, return_counts=True)
    nobody = np.zeros(found.size, np.uint32)
    return Distinct(found, exponent, (), counts.astype(np.uint32), nobody)

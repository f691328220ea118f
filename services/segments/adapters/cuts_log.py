"""Takes the cuts of RFM scores once after each local midnight, for every reader alike.

The process of partition 0 looks which rules score by quantile, gathers everybody's figures from all
partitions when a local midnight has passed, and writes the cuts to CONTROL, from where they come to
every partition in one order. Until then the cuts of the day before hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from nats.aio.client import Client

from muster.segments.v1 import cuts_pb2 as api
from services.chassis import subjects
from services.chassis.control_log import ControlLog
from services.chassis.errors import Refusal
from services.segments.adapters.asks import Partition
from services.segments.core import SegmentsCore
from services.segments.domain import rfm
from services.segments.engine.asked.scoring import last_midnight_us, quantile_leaves
from services.segments.settings import SegmentsSettings

UNITS_MAX = 1 << 62
Weighed = tuple[Fraction, int, int]
"""A figure, the profile that has it (0 when shared), and how many have it."""


@dataclass(frozen=True, slots=True)
class StandingCuts:
    """Cuts that are on the log."""

    key: str
    midnight_us: int
    sequence: int


class CutsLog(ControlLog[api.RfmCutsSet, StandingCuts]):
    """The subject of cuts: the newest midnight of each key."""

    def __init__(self, client: Client, settings: SegmentsSettings) -> None:
        subject = subjects.control(settings.tenant, "cuts")
        attempts = settings.define_attempts_max
        super().__init__(client, subject, api.RfmCutsSet, _standing, attempts)
        self.by_key: dict[str, StandingCuts] = {}

    def take(self, standing: StandingCuts) -> None:
        self.by_key[standing.key] = standing

    def midnight_us(self, key: str) -> int:
        """The midnight that cuts were last taken at; 0 for never."""
        known = self.by_key.get(key)
        return 0 if known is None else known.midnight_us

    async def put(self, cuts: api.RfmCutsSet) -> None:
        """Writes cuts, unless as new ones are there."""

        async def decide() -> api.RfmCutsSet | StandingCuts:
            known = self.by_key.get(cuts.key)
            return known if known and known.midnight_us >= cuts.midnight_us else cuts

        await self.write(decide)


def _standing(record: api.RfmCutsSet, sequence: int) -> StandingCuts:
    return StandingCuts(record.key, record.midnight_us, sequence)


class CutsTaker:
    """Looks every `cuts_every_ms` whether a midnight has passed without its cuts."""

    def __init__(
        self, core: SegmentsCore, log: CutsLog, partitions: list[Partition], every_ms: int
    ) -> None:
        self._core, self._log, self._partitions = core, log, partitions
        self._every_s = every_ms / 1_000

    async def run(self) -> None:
        """For ever. What a partition cannot answer yet is asked again."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.take_due()
            except Refusal:
                continue

    async def take_due(self) -> int:
        """Takes the cuts that are due; how many."""
        taken = 0
        for key, leaves in sorted(quantile_leaves(self._core.engine.part).items()):
            leaf = leaves[0][1]
            midnight_us = last_midnight_us(leaf.zone, self._core.engine.time_us)
            if self._log.midnight_us(key) < midnight_us:
                cuts = await self._gathered(key, midnight_us, leaf.ties_by_id)
                if cuts is not None:
                    await self._log.put(cuts)
                    taken += 1
        return taken

    async def _gathered(
        self, key: str, midnight_us: int, ties_by_id: bool
    ) -> api.RfmCutsSet | None:
        """Cuts over all partitions; None while one does not know the rule."""
        made = api.RfmCutsSet(key=key, midnight_us=midnight_us, ties_by_id=ties_by_id)
        for figure, into in enumerate((made.recency, made.frequency, made.money)):
            pages: list[api.CollectFiguresResponse] = []
            for partition in self._partitions:
                found = await self._pages(partition, key, midnight_us, figure)
                if found is None:
                    return None
                pages += found
            made.profiles = sum(sum(page.profiles) for page in pages)
            into.extend(
                api.RfmCut(figure=str(value), profile=profile) for value, profile in cuts_in(pages)
            )
        return made

    async def _pages(
        self, partition: Partition, key: str, midnight_us: int, figure: int
    ) -> list[api.CollectFiguresResponse] | None:
        request = api.CollectFiguresRequest(key=key, midnight_us=midnight_us, figure=figure)
        pages = []
        while True:
            page: api.CollectFiguresResponse = await partition.ask("figures", request)
            if page.unknown:
                return None
            pages.append(page)
            if not page.next_offset:
                return pages
            request.offset = page.next_offset


def cuts_in(pages: Sequence[api.CollectFiguresResponse]) -> list[rfm.Cut]:
    """The cuts over all pages of a figure; several profiles may have one figure each."""
    if not pages:
        return []
    most = max(page.exponent for page in pages)
    largest = max(
        (abs(one) for page in pages for one in page.units[:1] + page.units[-1:]), default=0
    )
    if any(page.text for page in pages) or largest * 10**most > UNITS_MAX:
        return weighed_cuts(
            [
                (value, profile, count)
                for page in pages
                for value, profile, count in zip(
                    _exact(page), page.profile, page.profiles, strict=True
                )
            ]
        )
    units = np.concatenate(
        [np.array(page.units, np.int64) * 10 ** (most - page.exponent) for page in pages]
    )
    profiles = np.concatenate([np.array(page.profile, np.uint32) for page in pages])
    counts = np.concatenate([np.array(page.profiles, np.int64) for page in pages])
    order = np.lexsort((profiles, units))
    passed = np.cumsum(counts[order])
    places = rfm.places_of_cuts(int(passed[-1]) if passed.size else 0)
    at = order[np.searchsorted(passed, places, "right")].tolist() if places else []
    return [(Fraction(int(units[i]), 10**most), int(profiles[i])) for i in at]


def _exact(page: api.CollectFiguresResponse) -> list[Fraction]:
    if page.text:
        return [Fraction(text) for text in page.text]
    return [Fraction(units, 10**page.exponent) for units in page.units]


def weighed_cuts(everybody: Sequence[Weighed]) -> list[rfm.Cut]:
    """The cuts over figures of which several profiles may have one each."""
    ordered = sorted(everybody)
    places = rfm.places_of_cuts(sum(count for _, _, count in ordered))
    cuts: list[rfm.Cut] = []
    passed = 0
    for value, profile, count in ordered:
        passed += count
        while len(cuts) < len(places) and places[len(cuts)] < passed:
            cuts.append((value, profile))
    return cuts

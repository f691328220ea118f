"""Rules that are about to be defined: what they need is begun beside the steps, and kept a while.

Nothing depends on it but how long the definition holds its step (`engine/preparing.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from services.segments.adapters.pacing import Slices
from services.segments.core import SegmentsCore
from services.segments.engine.language.expressions import Expression
from services.segments.engine.live.preparing import Prepared
from services.segments.settings import SegmentsSettings


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept up for a segment until another version than `version` (0: none) is live."""

    segment_id: str
    version: int
    prepared: Prepared


class Preparations:
    """Of one partition, the oldest first; at most `prepared_max`, each until its segment changes,
    at most `prepared_kept_ms`."""

    def __init__(self, core: SegmentsCore, settings: SegmentsSettings) -> None:
        self._core, self._settings = core, settings
        self._kept: deque[Kept] = deque()
        self._going: dict[tuple[str, Expression], asyncio.Task[None]] = {}

    async def prepare(self, segment_id: str, expression: Expression, within_s: float) -> bool:
        """Whether everything a rule looks at is kept up within so long; if not, it goes on, and who
        asks again joins it."""
        asked = segment_id, expression
        task = self._going.get(asked)
        if task is None:
            task = self._going[asked] = asyncio.create_task(self._prepare(*asked))
            task.add_done_callback(lambda _: self._going.pop(asked))
        await asyncio.wait([task], timeout=within_s)
        return task.done() and task.result() is None

    async def _prepare(self, segment_id: str, expression: Expression) -> None:
        engine, slices = self._core.engine, Slices(self._settings.slice_ms)
        prepared = Prepared(engine.part, engine.walker, engine.leaves)
        kept = Kept(segment_id, self._version(segment_id), prepared)
        try:
            for _ in prepared.begin(expression):
                await slices.rest()
        except BaseException:
            prepared.release()
            raise
        self._kept.append(kept)
        while len(self._kept) > self._settings.prepared_max:
            self._kept.popleft().prepared.release()
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.prepared_kept_ms / 1_000, self._end, kept)

    def _version(self, segment_id: str) -> int:
        live = self._core.live.get(segment_id)
        return live.version if live else 0

    def after_step(self) -> None:
        """Gives up what was kept for rules that have come."""
        for kept in [one for one in self._kept if self._version(one.segment_id) != one.version]:
            self._end(kept)

    def _end(self, kept: Kept) -> None:
        if kept in self._kept:
            self._kept.remove(kept)
            kept.prepared.release()

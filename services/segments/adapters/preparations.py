"""Rules that are about to be defined: what they need is begun beside the steps, and kept a while.

Nothing depends on it but how long the definition holds its step (`engine/preparing.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque

from services.segments.adapters.pacing import Slices
from services.segments.core import SegmentsCore
from services.segments.engine.expressions import Expression
from services.segments.engine.preparing import Prepared
from services.segments.settings import SegmentsSettings


class Preparations:
    """Of one partition, the oldest first; at most `prepared_max`, each `prepared_kept_ms`."""

    def __init__(self, core: SegmentsCore, settings: SegmentsSettings) -> None:
        self._engine, self._settings = core.engine, settings
        self._kept: deque[Prepared] = deque()
        self._going: set[asyncio.Task[None]] = set()

    async def prepare(self, expression: Expression) -> None:
        """Returns when everything a rule looks at is kept up. Goes on if the caller gives up."""
        task = asyncio.create_task(self._prepare(expression))
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        await asyncio.shield(task)

    async def _prepare(self, expression: Expression) -> None:
        engine, slices = self._engine, Slices(self._settings.slice_ms)
        prepared = Prepared(engine.part, engine.walker, engine.leaves)
        try:
            for _ in prepared.begin(expression):
                await slices.rest()
        except BaseException:
            prepared.release()
            raise
        self._kept.append(prepared)
        while len(self._kept) > self._settings.prepared_max:
            self._kept.popleft().release()
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.prepared_kept_ms / 1_000, self._end, prepared)

    def _end(self, prepared: Prepared) -> None:
        if prepared in self._kept:
            self._kept.remove(prepared)
            prepared.release()

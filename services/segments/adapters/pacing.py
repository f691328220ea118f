"""Long work on the loop in slices, so that steps go on in between."""

from __future__ import annotations

import asyncio

from services.chassis import clock

TURNS = 10
"""Of the loop between two slices: a message passes several tasks before its step is computed and
its commit is on its way, and with a slice in each turn it would wait for all of them."""


async def let_steps_run() -> None:
    """Returns when what had arrived before has been dealt with."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Slices:
    """Measures slices. `await rest()` at every place where steps may run."""

    def __init__(self, slice_ms: float) -> None:
        self._slice_s = slice_ms / 1_000
        self._until_s = clock.monotonic() + self._slice_s

    async def rest(self) -> None:
        """Lets steps run when the slice is over."""
        if clock.monotonic() >= self._until_s:
            await let_steps_run()
            self._until_s = clock.monotonic() + self._slice_s

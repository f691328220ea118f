"""What-if jobs: a copy of what is known, folded under other rules in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from muster.types.v1 import common_pb2
from services.chassis import clock
from services.chassis.errors import NotFound, Overloaded
from services.identity.core import IdentityCore
from services.identity.domain.kinds import Rules
from services.identity.engine.previews import Wanted
from services.identity.engine.simulation import Difference, simulate

KEPT_MAX = 20
"""Simulations remembered; the oldest is forgotten first."""


_NAMED = "sim-"


@dataclass(slots=True)
class Job:
    """One simulation. tried: what makes two of them the same."""

    tried: object
    position: common_pb2.Position
    difference: Difference | None = None
    error: str = ""


class Simulations:
    """One simulation at a time, beside the worker."""

    def __init__(self, core: IdentityCore) -> None:
        self._core = core
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._running: asyncio.Task[None] | None = None

    def start(
        self, rules: Rules, blocked: list[Wanted], tried: object, position: common_pb2.Position
    ) -> str:
        """The id of a new job over what is known now; Overloaded while another runs."""
        if self._running is not None and not self._running.done():
            raise Overloaded("another simulation runs; ask again when it is done", retry_s=5.0)
        job = Job(tried, position)
        name = f"{_NAMED}{clock.new_id()}"
        self._jobs[name] = job
        while len(self._jobs) > KEPT_MAX:
            self._jobs.popitem(last=False)
        state = {key: _plain(value) for key, value in self._core.copied().items()}
        prints = [(one.high, one.low) for one in blocked]
        self._running = asyncio.create_task(self._run(job, state, rules, prints))
        return name

    def job(self, name: str) -> Job | None:
        """A job by its id; None for one that is remembered no more, NotFound for what is no id."""
        if not name.startswith(_NAMED):
            raise NotFound(f"{name!r} is no simulation: start it again with SimulateIdentityRules")
        return self._jobs.get(name)

    async def _run(
        self, job: Job, state: dict[str, bytes], rules: Rules, blocked: list[tuple[int, int]]
    ) -> None:
        # A process of its own: a fold in Python would hold up every step and answer of this one.
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                loop = asyncio.get_running_loop()
                asked = (state, self._core.partitions, rules, blocked)
                job.difference = await loop.run_in_executor(pool, simulated, *asked)
        except Exception as error:  # noqa: BLE001 - told to whoever asks for the job
            job.error = f"{type(error).__name__}: {error}"


def simulated(
    state: Mapping[str, bytes], partitions: int, rules: Rules, blocked: list[tuple[int, int]]
) -> Difference:
    """Runs in the other process. state: a dump of the core; blocked: prints."""
    core = IdentityCore("simulation", partitions)
    core.load({key: memoryview(value) for key, value in state.items()})
    found = (core.store.find_identifier(high, low) for high, low in blocked)
    return simulate(core.knowledge, rules, {one for one in found if one is not None})


def _plain(value: Any) -> bytes:
    return bytes(value)

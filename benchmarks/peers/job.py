"""How every engine is played and measured, in a process of its own on one core.

    python -m benchmarks.peers.job_<engine> JOB.npz ANSWER.npz RUNS BUDGET_S CORE

Needs the standard library and NumPy alone, so that it runs in the peers' environment too. Whatever
an engine wants before its first event (imports, compiling, input as its own objects, a first small
run) is done before the clock starts. The answer has, by player, `wall_us` and `cpu_us` of each
run, and the transitions of the last one: int64[n, 4] of at_us, profile, rule, entered.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from services.chassis.clock import performance_us

FIRST = 1_000
"""Events of the run that is not measured."""

Array = np.ndarray[Any, Any]
Said = list[tuple[int, int, int, bool]]
"""(at_us, profile, rule, entered), one object each."""


@dataclass(frozen=True)
class Job:
    """See jobs.py for the columns."""

    name: str
    profiles: int
    seed: int
    time_us: Array
    profile: Array
    type: Array
    amount: Array
    rule_type: Array
    rule_window_us: Array
    rule_bound: Array
    rule_sums: Array

    @property
    def end_us(self) -> int:
        """Exits up to here, and no later ones, are part of the answer."""
        return int(self.time_us[-1])

    def rules(self) -> list[tuple[int, int, int, bool]]:
        """(type, window in microseconds, bound, sums) of each rule, as Python's values."""
        columns = (self.rule_type, self.rule_window_us, self.rule_bound, self.rule_sums)
        return list(zip(*(one.tolist() for one in columns), strict=True))

    def rules_of_type(self) -> dict[int, list[tuple[int, int, int, bool]]]:
        """By type of event: (rule, window in microseconds, bound, sums)."""
        found: dict[int, list[tuple[int, int, int, bool]]] = {}
        for number, (kind, *rest) in enumerate(self.rules()):
            found.setdefault(kind, []).append((number, rest[0], rest[1], bool(rest[2])))
        return found

    def first(self, events: int) -> Job:
        """The same job, cut short."""
        cut = {name: getattr(self, name)[:events] for name in ("time_us", "profile", "type")}
        return replace(self, **cut, amount=self.amount[:events])


@dataclass(frozen=True)
class Player:
    """prepare: what exists before the clock starts; play: the measured part; table: the
    transitions it said as int64[n, 4], not measured."""

    prepare: Callable[[Job], Any]
    play: Callable[[Any], Any]
    table: Callable[[Any], Array]


def table_of(said: Said) -> Array:
    return np.array(said, np.int64).reshape(-1, 4)


def read(file: Path) -> Job:
    with np.load(file) as held:
        columns: dict[str, Any] = {name: held[name] for name in held.files}
    columns |= {"name": str(columns["name"]), "profiles": int(columns["profiles"])}
    return Job(**columns | {"seed": int(columns["seed"])})


def _cpu_us() -> int:
    """Of all threads of this process, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round((used.ru_utime + used.ru_stime) * 1e6)


def _measure(player: Player, job: Job, runs: int, budget_us: int) -> dict[str, Array]:
    player.play(player.prepare(job.first(FIRST)))
    spent: list[tuple[int, int]] = []
    said: Any = None
    began = performance_us()
    while len(spent) < runs and (not spent or performance_us() - began < budget_us):
        said = None
        ready = player.prepare(job)
        gc.collect()
        gc.freeze()
        wall, cpu = performance_us(), _cpu_us()
        said = player.play(ready)
        spent.append((performance_us() - wall, _cpu_us() - cpu))
        gc.unfreeze()
    wall_us, cpu_us = np.array(spent).T
    return {"wall_us": wall_us, "cpu_us": cpu_us, "said": player.table(said)}


def main(players: Mapping[str, Player]) -> None:
    """Plays the job named by the arguments; writes the answer."""
    given, answer, runs, budget_s, core = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    job = read(Path(given))
    found: dict[str, Array] = {}
    for name, player in players.items():
        part = _measure(player, job, int(runs), int(float(budget_s) * 1e6))
        found |= {f"{name}/{key}": value for key, value in part.items()}
    np.savez(answer, **found)  # type: ignore[arg-type]

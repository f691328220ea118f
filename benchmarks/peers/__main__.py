"""Our segments engine beside bytewax and pathway, on one core each: jobs R1 and R20.

    python -m benchmarks.peers [--events 100000 300000] [--profiles 100000] [--peers bytewax]

R1: sum of the amounts of orders in 90 days >= 100. R20: 20 rules over 8 types, windows of 1 hour to
30 days. All start empty, read the same events in order and keep one Python object for each
transition; equal answers are checked against a heap and dicts in plain Python. Figures are events
for each second of CPU of all threads, median of 3 runs: other work on the machine does not count.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import environment
from benchmarks.peers.environment import PEERS
from benchmarks.peers.jobs import RULES, longest_days, shop_of, write
from benchmarks.pipeline.machine import busy_s
from services.chassis.clock import performance_us

OURS, JUDGE = "muster", "dicts"
RUN_S_MAX = 150
"""A player that has not answered by then is stopped."""
NOTES = {
    "bytewax": "its timers are wall clock: exits carry their exact instant, but are said late",
    "pathway": "its exits were written into its input by us, pre-dated, before the clock started",
}


class NoAnswer(Exception):
    """A player ended without one; the text has its last lines."""


@dataclass
class Result:
    """One player at one job."""

    cpu_s: list[float]
    wall_s: list[float]
    said: Any
    events: int
    foreign: float
    """Cores that others kept busy meanwhile."""
    equal: bool = field(default=True)

    @property
    def rate(self) -> float:
        """Events for each second of CPU."""
        return self.events / float(np.median(self.cpu_s))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def play(engine: str, job: Path, events: int, given: argparse.Namespace) -> dict[str, Result]:
    """Runs one engine's process to its end; its players. Raises NoAnswer."""
    python = environment.PYTHON if engine in PEERS else Path(sys.executable)
    answer = job.with_name(f"{engine}.npz")
    paths = [str(environment.ROOT), *([] if engine in PEERS else [str(environment.ROOT / "gen")])]
    command = [str(python), "-m", f"benchmarks.peers.job_{engine}", str(job), str(answer)]
    began, busy, children = performance_us(), busy_s(), _children_s()
    try:
        done = subprocess.run(
            [*command, str(given.runs), str(given.budget_s), str(given.core)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PATHWAY_THREADS": "1"},
            cwd=environment.ROOT, capture_output=True, text=True, check=False, timeout=RUN_S_MAX,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(str(error)) from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-6:])
        raise NoAnswer(f"ended with {done.returncode}; its last lines:\n{last}")
    took = (performance_us() - began) / 1e6
    foreign = max(0.0, busy_s() - busy - (_children_s() - children)) / took
    with np.load(answer) as held:
        names = sorted({name.split("/")[0] for name in held.files})
        return {
            name: Result(
                (held[f"{name}/cpu_us"] / 1e6).tolist(), (held[f"{name}/wall_us"] / 1e6).tolist(),
                _ordered(held[f"{name}/said"]), events, foreign,
            )
            for name in names
        }  # fmt: skip


def _ordered(said: Any) -> Any:
    """Rows by instant, rule, profile: who says it first does not matter."""
    return said[np.lexsort((said[:, 3], said[:, 1], said[:, 2], said[:, 0]))]


def side_by_side(name: str, events: int, given: argparse.Namespace) -> dict[str, Result]:
    """One job by every engine that runs here; prints ratios first."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        job = Path(folder, "job.npz")
        write(shop_of(name, given.profiles, events, given.seed), name, job)
        found = play(JUDGE, job, events, given)
        for engine in ["ours", *given.peers]:
            try:
                found |= play(engine, job, events, given)
            except NoAnswer as error:
                if engine == "ours":
                    raise
                print(f"  {engine} could not be measured: {error}", flush=True)
    expected = found[JUDGE].said
    for result in found.values():
        result.equal = bool(np.array_equal(result.said, expected))
    _print(name, events, found, given)
    return found


def _print(name: str, events: int, found: dict[str, Result], given: argparse.Namespace) -> None:
    expected, ours = found[JUDGE].said, found[OURS].rate
    entered = int(expected[:, 3].sum())
    rules = f"{len(RULES[name])} rules" if len(RULES[name]) > 1 else "one rule"
    print(
        f"\n{name.upper()}: {rules}, windows up to {longest_days(name):.0f} days, "
        f"{events:,} events of {given.profiles:,} profiles: "
        f"{entered:,} entered, {len(expected) - entered:,} left"
    )
    for other in [*given.peers, JUDGE]:
        if other in found:
            print(f"  {ours / found[other].rate:6.1f} x {other}")
    print("                     events a s   CPU s   wall s  runs  others' cores  answer")
    for player, result in sorted(found.items(), key=lambda one: -one[1].rate):
        same = "equal" if result.equal else f"NOT EQUAL, {_differences(result.said, expected)} rows"
        print(
            f"  {player:16} {result.rate:12,.0f} {np.median(result.cpu_s):7.2f}"
            f" {np.median(result.wall_s):8.2f} {len(result.cpu_s):5} {result.foreign:14.1f}  {same}"
            f"{'; ' + NOTES[player] if player in NOTES else ''}",
            flush=True,
        )


def _differences(said: Any, expected: Any) -> int:
    """Transitions that one has and the other has not."""
    mine, theirs = (set(map(tuple, one.tolist())) for one in (said, expected))
    return len(mine ^ theirs)


def _installed(peers: list[str]) -> list[str]:
    """The peers that can run here; says why when none can."""
    try:
        environment.make()
    except environment.NoPeers as error:
        print(f"no peers: {error}\ngoing on with plain Python alone", flush=True)
        return []
    return peers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs=2, default=[100_000, 300_000])
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--budget-s", type=float, default=60, help="no run begins after that")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.peers = _installed(given.peers)
    print(f"seed {given.seed}, core {given.core}, load average {os.getloadavg()[0]:.1f}")
    found = {
        name: side_by_side(name, events, given)
        for name, events in zip(RULES, given.events, strict=True)
    }
    line: dict[str, Any] = {
        f"{name}_events_per_s": {player: round(one.rate) for player, one in results.items()}
        for name, results in found.items()
    }
    best = {
        name: max((results[one].rate for one in given.peers if one in results), default=0.0)
        for name, results in found.items()
    }
    times = {name: round(found[name][OURS].rate / rate, 1) for name, rate in best.items() if rate}
    line |= {f"{name}_times_best_peer": one for name, one in times.items()}
    line["times_best_peer"] = min(times.values(), default=None)
    line["equal"] = {
        name: {player: one.equal for player, one in results.items()}
        for name, results in found.items()
    }
    print(json.dumps(line))
    if not all(results[OURS].equal for results in found.values()):
        sys.exit("our answer is not that of plain Python: the figures mean nothing until it is")


if __name__ == "__main__":
    main()

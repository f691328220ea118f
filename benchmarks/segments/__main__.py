"""The segments engine at 1 M profiles and 20 M events: asked, kept up, restarted.

    python -m benchmarks.segments [--scale 0.1] [--segments 10 100 1000] [--peers DuckDB Polars]

scale: share of profiles and events, for a quick look. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.segments import asking, keeping
from benchmarks.segments.others import PEERS
from benchmarks.segments.restarting import restart
from benchmarks.segments.workload import DAY_US, LOAD_ROWS, Shop, add, begin
from services.chassis.clock import performance_us
from services.segments.engine.engine import Engine
from services.segments.engine.warm import warm

STEP_ROWS = 1_000
"""Of the first step after a restart."""
PLAYED_SHARE = 0.015
"""Of the events, played at each number of segments."""


def seconds_of(work: Any) -> float:
    began = performance_us()
    work()
    return (performance_us() - began) / 1e6


def midnight(engine: Engine) -> float:
    """Milliseconds of the step over the next midnight, with nothing else in it."""
    at = engine.time_us - engine.time_us % DAY_US + DAY_US
    engine.advance(at - 1)
    return seconds_of(lambda: engine.advance(at)) * 1e3


def memory(shop: Shop, given: argparse.Namespace) -> dict[str, float]:
    """Bytes per event and per profile, from two engines of different lengths."""
    process = psutil.Process()
    rows = min(2_000_000, given.events // 4)
    before = process.memory_info().rss
    engine = begin(shop, 0)
    empty = process.memory_info().rss
    add(engine, shop, 0, rows)
    full = process.memory_info().rss
    return {
        "bytes_per_event": round((full - empty) / rows),
        "bytes_per_profile": round((empty - before) / shop.profiles),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=float(os.environ.get("SCALE") or 1))
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--segments", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--step", type=int, default=10_000)
    parser.add_argument("--live-steps", type=int, nargs="+", default=[50, 1_500])
    parser.add_argument("--live-rate", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.profiles, given.events = (
        int(given.profiles * given.scale), int(given.events * given.scale)
    )  # fmt: skip
    warm()
    print(f"seed {given.seed}, load average {os.getloadavg()[0]:.1f}, scale {given.scale:g}")
    shop = Shop(given.profiles, given.events, given.days, given.seed)
    result: dict[str, Any] = {"profiles": given.profiles, "events": given.events}
    result |= memory(shop, given)
    print(f"{result['bytes_per_event']} B an event, {result['bytes_per_profile']} B a profile")
    reserve = int(given.events * PLAYED_SHARE) // LOAD_ROWS * LOAD_ROWS + LOAD_ROWS
    rows = given.events - reserve * (len(given.segments) + 1)
    engine = begin(shop, rows)
    print(f"loaded {rows:,} events", flush=True)
    result |= asking.run(shop, engine, rows, given.peers)
    rng, defined = np.random.default_rng(7), 0
    for count in sorted(given.segments):
        spent = keeping.define(engine, defined, count - defined, rng)
        defined = count
        part = keeping.play(engine, shop, rows, rows + reserve // 4, given.step)
        part = keeping.play(engine, shop, rows + reserve // 4, rows + reserve, given.step)
        rows += reserve
        part |= {"define_ms_median": round(float(np.median(spent)), 1),
                 "define_ms_max": round(max(spent), 1)}  # fmt: skip
        result[f"events_per_s_{count}_segments"] = part["events_per_s"]
        print(f"{count} segments: {part}", flush=True)
        if count == 100 or len(given.segments) == 1:
            with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
                body = shop.body(rows, rows + STEP_ROWS)
                at = int(shop.accept[rows + STEP_ROWS - 1])
                result |= restart(engine, Path(folder), body, at)
            rows += STEP_ROWS
    keeping.live(shop, rows, given.live_rate)
    for step in given.live_steps:
        end = min(rows + step * 100, given.events)
        print(f"live: {keeping.play(engine, shop, rows, end, step)}", flush=True)
        rows = end
    result["midnight_ms"] = round(midnight(engine), 1)
    print(f"midnight: {result['midnight_ms']} ms", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

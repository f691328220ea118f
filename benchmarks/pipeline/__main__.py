"""Measures publisher -> transition: the most it holds, and latency at 1k and 10k events/s.

    python -m benchmarks.pipeline [--events N] [--history N] [--profiles N] [--segments N]

Everything is real: nats-server with an fsync for every message, ingest, identity and segments as
processes of their own, publisher and sink beside them on the same cores. Latency is from the
instant an event was due at the publisher to the instant a transition that it caused was read by a
consumer. A run during which others used more than 0.2 cores is marked (!): its rate is too low,
its latency too long. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nats
import numpy as np

from benchmarks.pipeline.events import BATCH_EVENTS, Load, make_load
from benchmarks.pipeline.machine import Usage
from benchmarks.pipeline.stack import Stack
from services.chassis import clock, subjects
from services.chassis.prints import event_print, print_key
from services.chassis.settings import Settings

PREPARE_US_PER_EVENT = 60
FOREIGN_CORES_MAX = 0.2
DAY_US = 86_400_000_000


class Bench:
    """One stack, several measurements."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        self.stack = Stack(folder, segments=options.segments)
        self.runs = 0
        self.figures: dict[str, Any] = {}

    async def run(self) -> dict[str, Any]:
        print(f"seed {self.options.seed}; starting the servers", flush=True)
        await self.stack.start()
        try:
            await self.fill()
            await self.throughput()
            for rate in (1_000, 10_000):
                await self.latency(rate)
        finally:
            await self.stack.stop()
        return self.figures

    def make(self, count: int, start_us: int, span_us: int) -> Load:
        self.runs += 1
        seed = self.options.seed + self.runs
        return make_load(
            count,
            self.options.profiles,
            start_us,
            span_us,
            seed,
            f"{self.options.seed}-{self.runs}",
        )

    async def fill(self) -> None:
        """A past to work on: people known, columns filled, windows in steady state."""
        count = self.options.history
        span = 60 * DAY_US
        began = time.time()
        load = self.make(count, clock.wall_us() - span - DAY_US, span)
        # Sent now, though it happened long ago: the deduplication horizon asks for the sending.
        load = without_send_time(load, clock.wall_us())
        print(f"made {count:,} past events in {time.time() - began:.0f} s", flush=True)
        result = await self.measure(load, None)
        print(f"took in the past at {count / result['seconds']:,.0f} events/s", flush=True)
        await self.stack.define_segments()

    async def throughput(self) -> None:
        count = self.options.events
        now = clock.wall_us()
        warm = self.make(count // 5, now, 1_000_000)
        await self.measure(warm, None)
        best: dict[str, Any] | None = None
        for _ in range(self.options.repeats):
            load = self.make(count, clock.wall_us(), 2_000_000)
            result = await self.measure(load, None)
            rate = count / result["seconds"]
            show(f"as fast as it goes: {rate:,.0f} events/s", result, count)
            if best is None or rate > best["rate"]:
                best = {**result, "rate": rate}
        assert best is not None
        self.figures["events_per_s_max"] = round(best["rate"])
        self.figures["us_per_event"] = per_event(best, count)
        self.figures["foreign_cores_at_max"] = round(best["foreign_cores"], 2)
        self.figures["transitions_per_event"] = round(best["transitions"] / count, 2)

    async def latency(self, rate: int) -> None:
        count = int(rate * self.options.seconds)
        lead_s = 3 + count * PREPARE_US_PER_EVENT / 1e6
        start_us = clock.wall_us() + int(lead_s * 1e6)
        load = self.make(count, start_us, int(count / rate * 1e6))
        result = await self.measure(load, rate, start_us)
        waits = self.waits(load, rate, start_us)
        name = f"{rate // 1_000}k"
        show(f"{rate:,} events/s", result, count)
        if len(waits) == 0:
            raise RuntimeError("no transition was caused by any event of the run")
        p50, p99, p999 = (float(np.quantile(waits, q)) for q in (0.5, 0.99, 0.999))
        print(
            f"  publisher -> transition: p50 {p50:.1f} ms, p99 {p99:.1f} ms, p99.9 {p999:.1f} ms "
            f"over {len(waits):,} transitions; publisher at most "
            f"{result['latest_s'] * 1e3:.1f} ms late",
            flush=True,
        )
        self.figures[f"p50_ms_at_{name}"] = round(p50, 2)
        self.figures[f"p99_ms_at_{name}"] = round(p99, 2)
        self.figures[f"foreign_cores_at_{name}"] = round(result["foreign_cores"], 2)

    async def measure(self, load: Load, rate: int | None, start_us: int = 0) -> dict[str, Any]:
        """Publishes a load and waits until all of it is reflected in TRANSITIONS."""
        path = self.folder / "load.pickle"
        path.write_bytes(pickle.dumps(load))
        options = {
            "url": self.stack.url,
            "subject": subjects.intake(self.stack.tenant, "bench"),
            "file": str(path),
            "rate": rate,
            "start_us": start_us,
        }
        publisher = await self.stack.helper("benchmarks.pipeline.publisher", options)
        pids = {**self.stack.pids(), "publisher": publisher.pid}
        await asyncio.sleep(0.3)
        before = Usage.now(pids)
        began = time.time()
        assert publisher.stdin is not None and publisher.stdout is not None
        publisher.stdin.write(b"go\n")
        await publisher.stdin.drain()
        sent = json.loads(await publisher.stdout.readline())
        after_publisher = Usage.now(pids)
        await publisher.wait()
        last = await self.last_intake()
        seen = await self.stack.sink_until(last)
        pids.pop("publisher")
        usage = Usage.now(pids)
        used = {n: usage.by_process[n] - before.by_process[n] for n in pids}
        used["publisher"] = after_publisher.by_process["publisher"] - before.by_process["publisher"]
        elapsed = time.time() - began
        foreign = max(0.0, usage.machine - before.machine - sum(used.values())) / elapsed
        return {
            **seen,
            **sent,
            "seconds": seen["ended"] - sent["began"],
            "cpu_s": used,
            "foreign_cores": foreign,
        }

    async def last_intake(self) -> int:
        client = await nats.connect(self.stack.url)
        state = (await client.jetstream().stream_info(subjects.INTAKE)).state
        await client.close()
        return int(state.last_seq)

    def waits(self, load: Load, rate: int, start_us: int) -> np.ndarray:
        """Milliseconds from due to seen of every transition caused by an event of the load.

        The first sixth is the start and is left out.
        """
        key = print_key(Settings().print_key)
        due = {event_print(i, key): start_us / 1e6 + n / rate for n, i in enumerate(load.ids)}
        seen = np.load(self.stack.sink_file)
        start = start_us / 1e6 + len(load.ids) / rate / 6
        waits = [
            (at - born) * 1e3
            for (high, low), at in zip(seen["prints"].tolist(), seen["times"].tolist(), strict=True)
            if (born := due.get((high, low))) is not None and born >= start
        ]
        return np.array(waits)


def without_send_time(load: Load, send_us: int) -> Load:
    """The same events, first sent at send_us (the last field of each event on the wire)."""
    stamp = send_us.to_bytes(8, "little", signed=True)
    return Load([frame[:-8] + stamp for frame in load.frames], load.ids)


def per_event(result: dict[str, Any], count: int) -> dict[str, float]:
    return {name: round(used / count * 1e6, 2) for name, used in result["cpu_s"].items()}


def show(title: str, result: dict[str, Any], count: int) -> None:
    marked = " (!)" if result["foreign_cores"] > FOREIGN_CORES_MAX else ""
    cores = sum(result["cpu_s"].values()) / max(result["seconds"], 1e-9)
    print(f"{title}{marked}", flush=True)
    print(
        f"  {cores:.2f} cores ours, {result['foreign_cores']:.2f} foreign; "
        f"{result['steps']:,} steps of segments, "
        f"{result['transitions'] / count:.2f} transitions an event",
        flush=True,
    )
    costs = per_event(result, count)
    text = ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items())
    print(f"  us/event: {text}; sum {sum(costs.values()):.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--profiles", type=int, default=200_000)
    parser.add_argument("--segments", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with TemporaryDirectory(prefix="muster-bench-") as folder:
        figures = asyncio.run(Bench(Path(folder), options).run())
    print(f"one message carries {BATCH_EVENTS} events at full speed, what 2 ms brought otherwise")
    print(json.dumps(figures))
    sys.exit(0)


if __name__ == "__main__":
    main()

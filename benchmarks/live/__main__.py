"""Measures a new segment over a million profiles while 10,000 events/s flow.

    python -m benchmarks.live [--profiles N] [--events N] [--rate 10000] [--only RULE ...]

SCALE (environment) multiplies profiles and events, for a quick look. nats-server with an fsync for
every message and segments' engine and relay are real; a feed stands in for identity and is the one
writer of PROFILES. Each rule is previewed over gRPC, then put in force; a moment later an event or
an attribute of a reserved profile enters it, and the clock stops at that trigger. Rules that only
time lets somebody into stop it when their members are in TRANSITIONS. Then the segment is retired:
all are measured beside the same standing ones.

What definitions and previews do to the flow is the time from an event's acceptance to the instant
a transition that it caused was read by a consumer, beside the same with nothing else going on. What
the broker took at most to write a step of the feed is the part of disk and machine in it. Beside
other work the engine waits for a core; the kernel says how long, and the figures `with_a_core` are
without that. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np
from nats.aio.msg import Msg

from benchmarks.live.rules import RULES, Rule
from benchmarks.live.stack import TENANT, Stack
from benchmarks.pipeline.machine import Usage
from benchmarks.segments.rules import kept
from muster.segments.v1 import facts_pb2 as facts
from muster.segments.v1 import service_pb2 as api
from muster.segments.v1.service_pb2_grpc import SegmentsServiceStub
from services.chassis import clock, subjects

STANDING = 21
"""Segments that live before anything is measured, whose transitions show how the flow goes."""
PREVIEWS = 3
QUIET_S = 5.0
PAUSE_S = 0.3
WITHIN_S = 30.0
Span = tuple[float, float]


class Ears:
    """Hears on the broker when a segment's members are said and when a profile triggers."""

    def __init__(self) -> None:
        self.said: dict[str, asyncio.Future[float]] = {}
        self.triggered: dict[tuple[str, int], asyncio.Future[float]] = {}

    async def transitions(self, message: Msg) -> None:
        """A step of segments."""
        now = clock.wall_us() / 1e6
        for size in facts.SegmentStep.FromString(message.data).sizes if self.said else ():
            if waits := self.said.pop(size.segment_id, None):
                waits.set_result(now)

    async def triggers(self, message: Msg) -> None:
        """A trigger of any segment."""
        now = clock.wall_us() / 1e6
        if self.triggered:
            trigger = facts.SegmentTriggered.FromString(message.data)
            if waits := self.triggered.pop((trigger.segment_id, trigger.profile_number), None):
                waits.set_result(now)


@dataclass(slots=True)
class Spent:
    """Seconds that calls took, and of them: what the engine ran, what it waited for a core."""

    took_s: list[float] = field(default_factory=list)
    ran_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)

    def note(
        self, began: float, before: tuple[float, float], after: tuple[float, float],
        ended: float | None = None,
    ) -> None:  # fmt: skip
        """A call that ended now, or then."""
        self.took_s.append((ended or clock.wall_us() / 1e6) - began)
        self.ran_s.append(after[0] - before[0])
        self.waited_s.append(after[1] - before[1])

    def extend(self, other: Spent) -> None:
        self.took_s += other.took_s
        self.ran_s += other.ran_s
        self.waited_s += other.waited_s

    def alone_s(self) -> list[float]:
        """Without the time in which the engine had no core."""
        return [max(a - b, 0.0) for a, b in zip(self.took_s, self.waited_s, strict=True)]


class Bench:
    """One stack and what was measured of it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.stack, self.options = Stack(folder), options
        self.ears = Ears()
        self.previews, self.lives = Spent(), Spent()
        self.defined: list[Rule] = []
        self.spans: dict[str, list[Span]] = {"previews": [], "definitions": []}

    async def run(self) -> dict[str, Any]:
        options = self.options
        print(f"seed {options.seed}: {options.profiles:,} profiles, {options.events:,} events")
        feed = {name: getattr(options, name) for name in ("profiles", "events", "rate", "seed")}
        try:
            began = clock.monotonic()
            await self.stack.start(feed)
            print(f"took in the past in {clock.monotonic() - began:.0f} s", flush=True)
            async with grpc.aio.insecure_channel(self.stack.address) as channel:
                return await self._measure(SegmentsServiceStub(channel))
        finally:
            await self.stack.stop()

    async def _measure(self, door: Any) -> dict[str, Any]:
        client = self.stack.client
        await client.subscribe(subjects.transitions(TENANT, 0), cb=self.ears.transitions)
        await client.subscribe(subjects.triggers_of(TENANT), cb=self.ears.triggers)
        dice = np.random.default_rng(self.options.seed)
        for number in range(STANDING):
            wish = api.DefineSegmentRequest(segment_id=f"standing-{number}")
            wish.condition.CopyFrom(kept(number, dice))
            await self._define(door, wish)
        flow = await self.stack.tell("feed", '{"go": true}')
        await asyncio.sleep(2)
        before, began = Usage.now(self.stack.pids()), clock.monotonic()
        self.spans["nothing else"] = [await self._span(lambda: asyncio.sleep(QUIET_S))]
        for number, rule in enumerate(RULES):
            if rule.name in self.options.only:
                await self._rule(door, number, rule)
        used = Usage.now(self.stack.pids()).since(before)
        seconds = clock.monotonic() - began
        return await self._figures(flow, used, seconds)

    async def _span(self, work: Callable[[], Any]) -> Span:
        began = clock.wall_us() / 1e6
        await work()
        return began, clock.wall_us() / 1e6

    async def _rule(self, door: Any, number: int, rule: Rule) -> None:
        condition, spent = rule.condition(), Spent()
        asked = api.PreviewSegmentRequest(condition=condition, sample_size=20)
        members = 0
        for _ in range(PREVIEWS):
            began, ran = clock.wall_us() / 1e6, self._ran()
            members = (await door.PreviewSegment(asked, timeout=60)).members
            spent.note(began, ran, self._ran())
            self.spans["previews"].append((began, clock.wall_us() / 1e6))
            await asyncio.sleep(PAUSE_S)
        self.previews.extend(spent)
        name = f"live-{number}"
        heard = self.ears.said[name] = asyncio.get_running_loop().create_future()
        wish = api.DefineSegmentRequest(segment_id=name, condition=condition, request_id=name)
        began, ran = clock.wall_us() / 1e6, self._ran()
        await self._define(door, wish)
        answered = clock.wall_us() / 1e6
        said = await asyncio.wait_for(heard, WITHIN_S)
        last, entered = max(answered, said), ""
        if rule.events or rule.attributes:
            last = await self._enter(name, number, rule)
            entered = f", first trigger {last - began:5.2f} s"
        self.lives.note(began, ran, self._ran(), last)
        slowest_s = (await self.stack.tell("feed", "{}"))["slowest_s"]
        self.spans["definitions"].append((began, last))
        self.defined.append(rule)
        await door.RetireSegment(api.RetireSegmentRequest(segment_id=name), timeout=60)
        print(
            f"{rule.name:22} {members:9,} members; preview "
            f"{'/'.join(f'{one * 1e3:.0f}' for one in spent.took_s):>12} ms; live: answered "
            f"{answered - began:5.2f} s, members said {said - began:5.2f} s{entered}; of it the "
            f"engine ran {self.lives.ran_s[-1]:.2f} s and waited for a core "
            f"{self.lives.waited_s[-1]:.2f} s; slowest write {slowest_s * 1e3:.0f} ms",
            flush=True,
        )
        await asyncio.sleep(PAUSE_S)

    def _ran(self) -> tuple[float, float]:
        """Seconds that the engine's thread ran, and that it was ready and had no core."""
        pid = self.stack.supervisor.services["engine"].child.pid
        ran_ns, waited_ns = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
        return int(ran_ns) / 1e9, int(waited_ns) / 1e9

    async def _define(self, door: Any, wish: api.DefineSegmentRequest) -> None:
        """Until it is live: an overloaded machine may need more than one call waits for."""
        while True:
            try:
                await door.DefineSegment(wish, timeout=60)
                return
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    async def _enter(self, name: str, number: int, rule: Rule) -> float:
        """When the trigger of a profile that enters now was heard."""
        profile = self.options.profiles + number
        heard = asyncio.get_running_loop().create_future()
        self.ears.triggered[name, profile] = heard
        line = {"profile": number, "events": rule.events, "attributes": rule.attributes}
        await self.stack.tell("feed", json.dumps(line))
        return await asyncio.wait_for(heard, WITHIN_S)

    async def _figures(self, flow: dict[str, Any], used: Usage, seconds: float) -> dict[str, Any]:
        await asyncio.sleep(0.5)
        await self.stack.tell("sink", f"until {(await self.stack.tell('feed', '{}'))['step']}")
        due, waits = waits_of(np.load(self.stack.sink_file), flow)
        flows = {}
        for name, spans in self.spans.items():
            inside = np.zeros(due.size, bool)
            for begin, end in spans:
                inside |= (due >= begin) & (due <= end)
            found = waits[inside] if inside.any() else np.zeros(1)
            flows[name] = [float(np.quantile(found, q)) for q in (0.5, 0.99, 1.0)]
            shown = ", ".join(f"{one:.1f}" for one in flows[name])
            print(f"event -> transition, ms, p50, p99, max: {shown} ({name}; {found.size:,})")
        worst = sorted(
            (float(waits[(due >= begin) & (due <= end)].max(initial=0)), rule.name)
            for rule, (begin, end) in zip(self.defined, self.spans["definitions"], strict=True)
        )
        print("longest by rule: " + ", ".join(f"{name} {ms:.0f}" for ms, name in worst[:-6:-1]))
        cores = ", ".join(f"{name} {one / seconds:.2f}" for name, one in used.by_process.items())
        print(f"cores: {cores}; foreign {used.foreign / seconds:.2f}")
        ms = [1e3 * one for one in self.previews.took_s]
        alone_ms = [1e3 * one for one in self.previews.alone_s()]
        return {
            "preview_ms_p50": round(float(np.median(ms)), 1),
            "preview_ms_p99": round(float(np.quantile(ms, 0.99)), 1),
            "preview_ms_max": round(max(ms), 1),
            "preview_ms_p50_with_a_core": round(float(np.median(alone_ms)), 1),
            "preview_ms_p99_with_a_core": round(float(np.quantile(alone_ms, 0.99)), 1),
            "live_s_p50": round(float(np.median(self.lives.took_s)), 2),
            "live_s_max": round(max(self.lives.took_s), 2),
            "live_s_p50_with_a_core": round(float(np.median(self.lives.alone_s())), 2),
            "live_s_max_with_a_core": round(max(self.lives.alone_s()), 2),
            "flow_p99_ms": round(flows["definitions"][1], 1),
            "flow_max_ms": round(flows["definitions"][2], 1),
            "flow_quiet_p99_ms": round(flows["nothing else"][1], 1),
            "foreign_cores": round(used.foreign / seconds, 2),
        }


def waits_of(seen: Any, flow: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Acceptance (s) of each event of the flow that caused a transition, and ms until it was read.

    The feed names an event by its row, twice.
    """
    row = seen["prints"][:, 0].astype(np.int64) - flow["past"]
    ours = (row > 0) & (seen["prints"][:, 0] == seen["prints"][:, 1])
    due = flow["start_us"] / 1e6 + row[ours] / flow["rate"]
    return due, (seen["times"][ours] - due) * 1e3


def main() -> None:
    scale = float(os.environ.get("SCALE", "1"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profiles", type=int, default=int(1_000_000 * scale))
    parser.add_argument("--events", type=int, default=int(3_000_000 * scale))
    parser.add_argument("--rate", type=int, default=10_000)
    names = [rule.name for rule in RULES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="RULE")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    with TemporaryDirectory(prefix="muster-bench-") as folder:
        figures = asyncio.run(Bench(Path(folder), parser.parse_args()).run())
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Follows TRANSITIONS like any consumer and notes when each transition became visible.

    python -m benchmarks.pipeline.sink '{"url", "tenant", "file"}'

Prints "ready"; for each line `until SEQUENCE` on its input waits until INTAKE up to there is
reflected, then writes what it saw to the file and prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import nats
import numpy as np

from muster.segments.v1.facts_pb2 import SegmentStep, TransitionColumns
from services.chassis import subjects
from services.chassis.columns import ColumnCodec, shadow_of
from services.chassis.pull import Pull, Pulled

TRANSITIONS = ColumnCodec(TransitionColumns)
STEP = shadow_of(SegmentStep)


class Seen:
    """Cause prints and arrival times of the transitions of one measurement."""

    def __init__(self) -> None:
        self.prints: list[np.ndarray] = []
        self.times: list[np.ndarray] = []
        self.transitions = 0
        self.steps = 0
        self.reached = 0
        self.ended = 0.0

    def note(self, pulled: Pulled) -> None:
        now = time.time()
        assert pulled.checkpoint is not None
        columns = TRANSITIONS.decode(STEP.FromString(pulled.body).transitions)
        rows = len(columns["at_us"])
        self.steps += 1
        self.transitions += rows
        if pulled.checkpoint.last:
            self.reached = max(self.reached, pulled.checkpoint.origin.intake)
            self.ended = now
        if rows:
            self.prints.append(columns["cause_print"].reshape(-1, 2))
            self.times.append(np.full(rows, now))

    def write(self, path: Path) -> None:
        prints = np.concatenate(self.prints) if self.prints else np.zeros((0, 2), np.uint64)
        times = np.concatenate(self.times) if self.times else np.zeros(0)
        np.savez(path, prints=prints, times=times)


async def main(options: dict[str, Any]) -> None:
    client = await nats.connect(options["url"], allow_reconnect=False)
    state = (await client.jetstream().stream_info(subjects.TRANSITIONS)).state
    pull = Pull(
        client, subjects.TRANSITIONS, [subjects.transitions_of(options["tenant"])], state.last_seq
    )
    await pull.open()
    seen = Seen()
    wanted: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(wanted.put_nowait, int(line.split()[1]))

    loop.run_in_executor(None, read)
    print("ready", flush=True)
    until: int | None = None
    while True:
        for pulled in await pull.take(8 << 20, 0.05):
            seen.note(pulled)
        if until is None and not wanted.empty():
            until = wanted.get_nowait()
        if until is not None and seen.reached >= until:
            seen.write(Path(options["file"]))
            figures = {k: getattr(seen, k) for k in ("transitions", "steps", "ended")}
            print(json.dumps(figures), flush=True)
            seen, until = Seen(), None


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(json.loads(sys.argv[1])))

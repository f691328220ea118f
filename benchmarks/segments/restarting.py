"""A second life of an engine, in a process of its own: until its first answer, until a first step.

    python -m benchmarks.segments.restarting FOLDER INSTANT < a body of EventColumns

In a process that has lived, what was freed is zeroed again before it is used: a restart would seem
slower than it is. The last line is one JSON object; imports and kernels come before the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from benchmarks.segments.workload import EVENTS
from services.chassis.clock import performance_us
from services.chassis.core import Appended
from services.chassis.snapshots import SnapshotFolder
from services.segments.engine.engine import Engine
from services.segments.engine.warm import warm

VERSION = 1
ROOT = Path(__file__).resolve().parents[2]


def size_of(buffer: Any) -> int:
    """Bytes of a buffer of a dump."""
    if isinstance(buffer, Appended):
        buffer = buffer.array
    return len(buffer) if isinstance(buffer, bytes) else int(buffer.nbytes)


def cpu_s() -> float:
    """Seconds that this process has had on a core."""
    spent = psutil.Process().cpu_times()
    return float(spent.user + spent.system)


def sizes(engine: Engine) -> dict[str, int]:
    """Members of every segment, counted."""
    return {one.segment_id: engine.members(one.segment_id).size for one in engine.segments()}


def restart(engine: Engine, folder: Path, body: bytes, at: int) -> dict[str, Any]:
    """Writes two snapshots, lives again from the newer one, and takes one more step in both lives.

    body, at: the events of that step and its instant. Answers the figures; fails when the two lives
    differ.
    """
    kept = SnapshotFolder(folder)
    began = performance_us()
    buffers = engine.dump()
    dumped = performance_us()
    kept.write(1, {"version": VERSION}, buffers)
    wrote = performance_us()
    kept.write(2, {"version": VERSION}, engine.dump())
    again = performance_us()
    before = sizes(engine)
    argv = [sys.executable, "-m", "benchmarks.segments.restarting", str(folder), str(at)]
    child = subprocess.run(argv, input=body, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    engine.add_events(EVENTS.decode(body))
    engine.advance(at)
    assert found.pop("before") == before
    assert found.pop("after") == sizes(engine)
    size = sum(map(size_of, buffers.values()))
    print(
        f"restarted: {found['restart_s']:.2f} s until the first answer, "
        f"{found['restart_step_s']:.2f} s until a step was judged, {found.pop('cpu_s'):.2f} s of "
        f"them on a core, load average {os.getloadavg()[0]:.1f}; snapshot {size / 1e9:.2f} GB: "
        f"{(dumped - began) / 1e3:.0f} ms between two steps, {(wrote - dumped) / 1e6:.1f} s to "
        f"write, the next one {(again - wrote) / 1e6:.1f} s",
        flush=True,
    )
    return found | {"snapshot_again_s": round((again - wrote) / 1e6, 2)}


def main() -> None:
    """The second life."""
    folder, at, body = Path(sys.argv[1]), int(sys.argv[2]), sys.stdin.buffer.read()
    warm()
    spent, began = -cpu_s(), performance_us()
    found = SnapshotFolder(folder).newest(VERSION)
    assert found is not None
    engine = Engine(0, 1)
    engine.load(found.buffers)
    engine.members(next(iter(engine.part.segments)))
    answered, spent = performance_us(), spent + cpu_s()
    before = sizes(engine)
    resumed, spent = performance_us(), spent - cpu_s()
    engine.add_events(EVENTS.decode(body))
    engine.advance(at)
    stepped, spent = performance_us() - resumed + answered, spent + cpu_s()
    result = {
        "restart_s": round((answered - began) / 1e6, 2),
        "restart_step_s": round((stepped - began) / 1e6, 2),
        "cpu_s": spent,
        "before": before,
        "after": sizes(engine),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

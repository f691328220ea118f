"""Bugs planted on purpose: the harness must catch each, or it proves nothing.

python -m tests.chaos.planted [SECONDS] [NAME ...]
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from services.chassis import commits, recovery
from services.chassis.core import Facts, Message
from services.chassis.errors import ExitCode, Stop
from services.chassis.worker import FencedWorker
from tests.chaos import toy


def no_fence() -> None:
    """Commits without the expected last sequence."""

    async def publish(
        client: Any, subject: str, body: bytes, headers: Any, _: int, s: float
    ) -> int:
        answer = await client.request(subject, body, headers=headers, timeout=s)
        return int(json.loads(answer.data)["seq"])

    commits.publish_fenced = publish


def wall_clock() -> None:
    """Takes the time of a step from this machine's clock."""
    step = toy.Window.step

    def late(self: toy.Window, batch: Sequence[Message], time_us: int) -> Facts:
        return step(self, batch, max(time_us, int(time.time() * 1e6)))

    toy.Window.step = late  # type: ignore[method-assign]


def forgets_partitions() -> None:
    """Recovery takes the lead's word for the whole step."""
    recovery.Recorded.complete = property(lambda _: True)  # type: ignore[method-assign, assignment]

    async def commit(self: FencedWorker, step: Any, present: Any = None) -> None:
        places = range(len(self.core.own)) if present is None else present
        bodies = {p: b for p, b in step.facts.bodies.items() if p in places}
        step.facts.bodies = bodies
        await original(self, step, present)

    original = FencedWorker.commit
    FencedWorker.commit = commit  # type: ignore[method-assign]


def retries_in_place() -> None:
    """Repeats a commit of unknown outcome with a fresh expected sequence."""
    publish = commits.publish_fenced

    async def stubborn(
        client: Any, subject: str, body: bytes, headers: Any, after: int, s: float
    ) -> int:
        for _ in range(50):
            try:
                return await publish(client, subject, body, headers, after, 0.05)
            except Stop as stop:
                if stop.code is ExitCode.FENCED:
                    stream = "PROFILES" if ".profiles." in subject else "TRANSITIONS"
                    last = await client.jetstream(timeout=2).get_last_msg(stream, subject)
                    after = last.seq
                await asyncio.sleep(0.05)
        raise Stop(ExitCode.UNKNOWN, "gave up")

    commits.publish_fenced = stubborn


def forgets_what_was_seen() -> None:
    """The sorter's snapshot leaves out the ids it has let through."""
    toy.Sorter.load = lambda self, _: None  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (no_fence, wall_clock, forgets_partitions, retries_in_place, forgets_what_was_seen)
}


def caught(name: str, seconds: float, seed: int) -> bool:
    """Whether a chaos run with the bug says that something is wrong."""
    from tests.chaos.harness import Chaos

    with TemporaryDirectory(prefix="muster-planted-") as folder:
        chaos = Chaos(Path(folder), seconds, seed, 1, bug=name)
        report = asyncio.run(chaos.run())
    print(f"{name}: {report.wrong[0] if report.wrong else 'NOT CAUGHT'}", flush=True)
    return bool(report.wrong)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    missed = [name for name in sys.argv[2:] or BUGS if not caught(name, seconds, seed)]
    sys.exit(f"not caught: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()

"""One owner of one toy stage as a process, with deaths planted between the lines."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import nats

from services.chassis import commits, subjects
from services.chassis.core import Buffers
from services.chassis.errors import ExitCode, Stop
from services.chassis.settings import Settings
from services.chassis.worker import FencedWorker, Step
from tests.chaos.planted import BUGS
from tests.chaos.toy import TENANT, Sorter, Window


class Dying(FencedWorker):
    """Dies at planted points with the given chances."""

    chances: dict[str, float] = {}
    dice = random.Random()

    def dies(self, point: str) -> None:
        if self.live and self.dice.random() < self.chances.get(point, 0):
            with (self.folder / "deaths.log").open("a") as log:
                log.write(point + "\n")
            os.kill(os.getpid(), signal.SIGKILL)

    async def commit(self, step: Step, present: dict[int, dict[int, Any]] | None = None) -> None:
        self.dies("before_commit")
        await super().commit(step, present)
        self.dies("after_commit")

    def _save(self, number: int, head: dict[str, Any], buffers: Buffers) -> None:
        self.dies("before_snapshot")
        super()._save(number, head, buffers)
        self.dies("after_snapshot")


def plant(worker: Dying) -> None:
    """Deaths around single messages: with a publish in flight, and between parts and subjects."""
    publish = commits.publish_fenced

    async def dying(
        client: Any, subject: str, body: bytes, headers: Any, after: int, s: float
    ) -> int:
        if worker.live and worker.dice.random() < worker.chances.get("in_flight", 0):
            fenced = {**headers, commits.EXPECTED: str(after)}
            await client.publish(subject, body, headers=fenced)
            await client.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        sequence = await publish(client, subject, body, headers, after, s)
        worker.dies("between_messages")
        return sequence

    commits.publish_fenced = dying


async def run(options: dict[str, Any]) -> None:
    async def lost() -> None:
        os._exit(int(ExitCode.DISCONNECTED))

    client = await nats.connect(
        options["url"].split(","),
        allow_reconnect=False,
        connect_timeout=2,
        disconnected_cb=lost,
    )
    settings = Settings(
        tenant=TENANT,
        state_dir=options["state_dir"],
        snapshot_steps=options.get("snapshot_steps", 40),
        snapshot_interval_ms=0,
        standby_quiet_ms=options.get("standby_quiet_ms", 1_500),
        commit_timeout_ms=3_000,
        step_bytes_max=options.get("step_bytes_max", 20_000),
    )
    stage = options["stage"]
    core = Sorter() if stage == "sorter" else Window(int(stage.split("-")[1]))
    worker = Dying(client, core, settings)
    worker.chances = options.get("chances", {})
    worker.dice.seed(options.get("seed"))
    plant(worker)
    if stage == "sorter" and options.get("ticks", True):
        task = asyncio.create_task(tick(client, worker))
        task.add_done_callback(lambda t: t.exception())
    await worker.run()


async def tick(client: Any, worker: FencedWorker) -> None:
    while True:
        if worker.live:
            await client.publish(subjects.intake(TENANT, "tick"), b"")
        await asyncio.sleep(0.1)


def main() -> None:
    options = json.loads(sys.argv[1])
    if options.get("bug"):
        BUGS[options["bug"]]()
    try:
        asyncio.run(run(options))
        code, why = 0, ""
    except Stop as stop:
        code, why = int(stop.code), str(stop)
    except OSError as error:  # A connection that was not made in time, as in the application.
        code, why = int(ExitCode.DISCONNECTED), f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the harness reads it from the exit log
        code, why = int(ExitCode.DEFECT), f"{type(error).__name__}: {error}"
    with Path(options["exits"]).open("a") as log:
        log.write(f"{code} {options['stage']} {why[:300]}\n")
    os._exit(code)


if __name__ == "__main__":
    main()

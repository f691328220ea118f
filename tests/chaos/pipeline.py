"""The real services under kill -9 and SIGSTOP, two owners of every stage, two partitions.

    python -m tests.chaos.pipeline SECONDS [SEED]

People browse, buy and log in while ingest, identity, both segments engines, both relays and the
broker are killed and paused. Afterwards one offline world without cuts or partitions recomputes
everything from INTAKE. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nats.errors
import nats.js.errors

from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis import clock, subjects, topology
from services.chassis.embedded import EmbeddedNats
from tests.chaos import judged
from tests.chaos.harness import ROOT, Report, connect
from tests.chaos.owners import Owner

TENANT = "chaos"
PARTITIONS = 2
PEOPLE = 120
LOG_BYTES = 2 << 30
SETTLE_S = 60.0
QUIET_US = 8_000_000
"""Longer than every window of the rules, so that all exits are due."""
MODULES = {
    "ingest": ["services.ingest", "worker"],
    "identity": ["services.identity"],
    "segments-0": ["services.segments", "engine"],
    "segments-1": ["services.segments", "engine"],
    "relay-0": ["services.segments", "relay"],
    "relay-1": ["services.segments", "relay"],
}


class PipelineChaos:
    """One run: `report.wrong` says what does not hold."""

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.dice = random.Random(seed)
        self.report = Report(seed)
        self.broker = EmbeddedNats(folder / "nats")
        self.owners: list[Owner] = []
        self.accepted: set[str] = set()
        self.offered: set[str] = set()
        self.number = 0

    async def run(self) -> Report:
        self.broker.start()
        client = await connect(self.broker.url)
        await topology.apply(client, LOG_BYTES)
        await judged.define_rules(client, TENANT)
        await client.close()
        self.owners = [self._owner(name, copy) for copy in range(2) for name in MODULES]
        stop = asyncio.Event()
        tending = asyncio.create_task(self._tend())
        try:
            await self._wait_until_reflected(120.0)
            publishing = [asyncio.create_task(self._publish(n, stop)) for n in range(2)]
            await self._torment()
            stop.set()
            await asyncio.gather(*publishing)
            for owner in self.owners:
                owner.send(signal.SIGCONT)
            await self._wait_until_reflected(SETTLE_S, QUIET_US)
        finally:
            tending.cancel()
            for owner in self.owners:
                owner.send(signal.SIGKILL)
        self.report.accepted = len(self.accepted)
        client = await connect(self.broker.url)
        await judged.judge(client, TENANT, PARTITIONS, self.accepted, self.offered, self.report)
        await client.close()
        self._count_exits()
        self.broker.stop()
        return self.report

    def _owner(self, name: str, copy: int) -> Owner:
        partition = name.rpartition("-")[2] if name[-1].isdigit() else "0"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_TENANT": TENANT,
            "MUSTER_PARTITIONS": str(PARTITIONS),
            "MUSTER_PARTITION": partition,
            "MUSTER_NATS_URL": self.broker.url,
            "MUSTER_STATE_DIR": str(self.folder / f"copy-{copy}"),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
            "MUSTER_SNAPSHOT_STEPS": "60",
            "MUSTER_STANDBY_QUIET_MS": "1500",
            "MUSTER_COMMIT_TIMEOUT_MS": "3000",
            "OMP_NUM_THREADS": "1",
        }
        argv = [sys.executable, "-m", *MODULES[name]]
        return Owner(f"{name}.{copy}", argv, environment, self.folder / f"{name}.{copy}.log")

    async def _tend(self) -> None:
        while True:
            for owner in self.owners:
                owner.tend()
            await asyncio.sleep(0.05)

    async def _torment(self) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            await asyncio.sleep(self.dice.uniform(0.3, 1.2))
            kind = self.dice.choices(["kill", "pause", "kill server"], [7, 3, 0.7])[0]
            self.report.faults[kind] += 1
            owner = self.dice.choice(self.owners)
            if kind == "kill":
                owner.send(signal.SIGKILL)
            elif kind == "pause":
                owner.send(signal.SIGSTOP)
                loop = asyncio.get_running_loop()
                loop.call_later(self.dice.uniform(0.2, 4), owner.send, signal.SIGCONT)
            else:
                self.broker.kill9()
                await asyncio.sleep(self.dice.uniform(0, 0.5))
                self.broker.start()

    # -- what people do ----------------------------------------------------------------------

    async def _publish(self, number: int, stop: asyncio.Event) -> None:
        subject = subjects.intake(TENANT, f"site-{number}")
        client: Any = None
        old: list[bytes] = []
        while not stop.is_set():
            events = [self._event() for _ in range(self.dice.randint(1, 8))]
            self.offered.update(event.event_id for event in events)
            body = EventBatch(events=events).SerializeToString()
            for _ in range(300):
                try:
                    client = client or await connect(self.broker.url)
                    await client.jetstream(timeout=1).publish(subject, body)
                    self.accepted.update(event.event_id for event in events)
                    break
                except (nats.errors.Error, nats.js.errors.Error, OSError):
                    client = None
                    await asyncio.sleep(0.1)
            old.append(body)
            if self.dice.random() < 0.1 and client is not None:
                try:
                    await client.jetstream(timeout=1).publish(subject, self.dice.choice(old))
                except (nats.errors.Error, nats.js.errors.Error, OSError):
                    client = None
            await asyncio.sleep(self.dice.expovariate(40))

    def _event(self) -> Event:
        """A view, an order or a log-in of somebody; most a little late, some in the future."""
        self.number += 1
        person, device = self.dice.randrange(PEOPLE), self.dice.randrange(2)
        now = clock.wall_us()
        occur = now - int(self.dice.lognormvariate(0, 1) * 60_000)
        if self.dice.random() < 0.03:
            occur = now + self.dice.randrange(3_000_000)
        kind = self.dice.choices(["viewed", "ordered", "logged_in"], [8, 4, 1])[0]
        event = Event(event_id=f"e{self.number}", type=kind, occur_time_us=occur, send_time_us=now)
        event.identifiers.add(kind="cookie", value=f"device-{person}-{device}")
        if kind == "logged_in":
            event.identifiers.add(kind="user_id", value=f"user-{person}")
        amount = event.properties.add(key="amount").decimal
        amount.units, amount.exponent = self.dice.randrange(1, 3_000), 2
        event.properties.add(key="page", text=self.dice.choice(["home", "phones", "books"]))
        return event

    # -- afterwards --------------------------------------------------------------------------

    async def _wait_until_reflected(self, within_s: float, further_us: int = 0) -> None:
        """Until both partitions' log time is past what INTAKE holds now, by `further_us`."""
        wanted = clock.wall_us() + further_us
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            try:
                client = await connect(self.broker.url)
                reached = await judged.times_reached(client, TENANT, PARTITIONS)
                await client.close()
            except (nats.errors.Error, nats.js.errors.Error, OSError):
                reached = []
            if reached and min(reached) >= wanted:
                return
            await asyncio.sleep(0.2)
        self.report.wrong.append(f"the pipeline did not catch up within {within_s:g} s")

    def _count_exits(self) -> None:
        exits: Counter[str] = Counter()
        for owner in self.owners:
            exits.update(owner.exits())
            self.report.wrong += owner.defects()
        self.report.exits = exits
        self.report.faults["lives"] = sum(owner.lives for owner in self.owners)


def run(seconds: float, seed: int) -> Report:
    """One run in a folder of its own; prints the seed first."""
    print(f"pipeline chaos: seed {seed}, {seconds:g} s", flush=True)
    with TemporaryDirectory(prefix="muster-chaos-") as folder:
        return asyncio.run(PipelineChaos(Path(folder), seconds, seed).run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=random.SystemRandom().randrange(10**9))
    arguments = parser.parse_args()
    report = run(arguments.seconds, arguments.seed)
    print(report.as_json())
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()

"""Runs toy workers under faults from one seed, then checks the whole log against a recomputation.

    python -m tests.chaos.harness SECONDS [SEED] [--nodes 1|3]

Two owners of every stage on purpose; kill -9 and SIGSTOP of workers and of the server; deaths
planted in the protocol; publishers that repeat what was not acknowledged. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nats
import nats.errors
import nats.js.errors

from services.chassis import subjects, topology
from services.chassis.checkpoint import HEADER, Checkpoint, chained
from services.chassis.embedded import EmbeddedNats, EmbeddedNatsCluster
from tests.chaos.toy import PARTITIONS, TENANT, WINDOW_US, offline_rows, offline_transitions

ROOT = Path(__file__).resolve().parents[2]
LOG_BYTES = 512 << 20
SETTLE_S = 40.0
CHANCES = {
    "before_commit": 0.004,
    "after_commit": 0.004,
    "in_flight": 0.004,
    "between_messages": 0.004,
    "before_snapshot": 0.05,
    "after_snapshot": 0.05,
}


@dataclass
class Report:
    """What was done to the system, and what was found wrong (nothing, we hope)."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    rows: int = 0
    transitions: int = 0
    wrong: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        return json.dumps(
            {
                "seed": self.seed,
                "accepted": self.accepted,
                "rows": self.rows,
                "transitions": self.transitions,
                "faults": dict(self.faults),
                "exits": dict(self.exits),
                "wrong": self.wrong[:20],
                "holds": not self.wrong,
            }
        )


async def connect(url: str) -> Any:
    async def quiet(_: Exception) -> None:
        return

    return await nats.connect(
        url.split(","), allow_reconnect=False, connect_timeout=2, error_cb=quiet
    )


class Owner:
    """One worker process, started again whenever it ends."""

    def __init__(self, folder: Path, url: str, stage: str, name: str, seed: int) -> None:
        self.exits = folder / "exits.log"
        self.options = {
            "url": url,
            "stage": stage,
            "state_dir": str(folder / name),
            "exits": str(self.exits),
            "chances": CHANCES,
            "standby_quiet_ms": 1_500,
        }
        self.seed = seed
        self.lives = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.not_before = 0.0

    def tend(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        if time.monotonic() < self.not_before:
            return
        self.not_before = time.monotonic() + 0.2
        self.lives += 1
        options = {**self.options, "seed": self.seed * 1_000 + self.lives}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.toy_worker", json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
            stderr=subprocess.DEVNULL,
        )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


class Chaos:
    """One run."""

    def __init__(self, folder: Path, seconds: float, seed: int, nodes: int, bug: str = "") -> None:
        self.folder = folder
        self.seconds = seconds
        self.dice = random.Random(seed)
        self.report = Report(seed)
        self.nodes = nodes
        self.bug = bug
        self.server: EmbeddedNats | EmbeddedNatsCluster = (
            EmbeddedNats(folder / "nats") if nodes == 1 else EmbeddedNatsCluster(folder / "nats")
        )
        self.url = ""
        self.owners: list[Owner] = []
        self.accepted: set[str] = set()
        self.offered: set[str] = set()

    async def run(self) -> Report:
        self.server.start()
        self.url = self.server.url
        client = await connect(self.url)
        await topology.apply(client, LOG_BYTES, 1 if self.nodes == 1 else 3)
        await client.close()
        stages = ["sorter", *(f"window-{p}" for p in range(PARTITIONS))]
        self.owners = [
            Owner(self.folder, self.url, stage, f"owner-{copy}", self.dice.randrange(1 << 30))
            for copy in range(2)
            for stage in stages
        ]
        for owner in self.owners:
            owner.options["bug"] = self.bug
        stop = asyncio.Event()
        tending = asyncio.create_task(self._tend(stop))
        publishing = [asyncio.create_task(self._publish(n, stop)) for n in range(2)]
        try:
            await self._torment()
            stop.set()
            await asyncio.gather(*publishing)
            for owner in self.owners:
                owner.send(signal.SIGCONT)
                owner.options["chances"] = {}
            await self._settle()
        finally:
            stop.set()
            tending.cancel()
            for owner in self.owners:
                owner.send(signal.SIGKILL)
        await self._check()
        self._count_exits()
        self.server.stop()
        return self.report

    async def _tend(self, stop: asyncio.Event) -> None:
        while True:
            for owner in self.owners:
                owner.tend()
            await asyncio.sleep(0.05)

    async def _torment(self) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            await asyncio.sleep(self.dice.uniform(0.2, 1.0))
            kind = self.dice.choices(
                ["kill", "pause", "kill server", "pause server"], [6, 3, 1.2, 0.8]
            )[0]
            self.report.faults[kind] += 1
            owner = self.dice.choice(self.owners)
            pause_s = self.dice.choice([0.1, 0.5, 2.0, 4.0])
            if kind == "kill":
                owner.send(signal.SIGKILL)
            elif kind == "pause":
                owner.send(signal.SIGSTOP)
                loop = asyncio.get_running_loop()
                loop.call_later(pause_s, owner.send, signal.SIGCONT)
            elif kind == "kill server":
                await self._kill_server()
            else:
                await self._pause_server(min(pause_s, 2.0))

    async def _kill_server(self) -> None:
        if isinstance(self.server, EmbeddedNats):
            self.server.kill9()
            await asyncio.sleep(self.dice.uniform(0, 0.5))
            self.server.start()
        else:
            node = self.dice.choice(self.server.servers)
            node.kill9()
            await asyncio.sleep(self.dice.uniform(0, 1.0))
            node.launch()

    async def _pause_server(self, seconds: float) -> None:
        node = (
            self.server
            if isinstance(self.server, EmbeddedNats)
            else self.dice.choice(self.server.servers)
        )
        node.pause()
        await asyncio.sleep(seconds)
        node.resume()

    async def _publish(self, number: int, stop: asyncio.Event) -> None:
        """Offers rows; repeats the same ids until acknowledged; now and then repeats old ones."""
        count = 0
        subject = subjects.intake(TENANT, f"pub-{number}")
        client: Any = None
        old: list[bytes] = []
        while not stop.is_set():
            rows = []
            for _ in range(self.dice.randint(1, 12)):
                count += 1
                rows.append([f"{number}-{count}", f"k{self.dice.randrange(300)}", 8])
            body = json.dumps(rows).encode()
            self.offered.update(row[0] for row in rows)
            for _ in range(200):
                try:
                    if client is None:
                        client = await connect(self.url)
                    await client.jetstream(timeout=1).publish(subject, body)
                    self.accepted.update(row[0] for row in rows)
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
            await asyncio.sleep(self.dice.expovariate(60))

    # -- afterwards --------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Waits until every stage has processed all of INTAKE and all exits are due."""
        client = await connect(self.url)
        jetstream = client.jetstream()
        last = (await jetstream.stream_info(subjects.INTAKE)).state.last_seq
        message = await jetstream.get_msg(subjects.INTAKE, last)
        assert message.time is not None
        wanted = int(message.time.timestamp() * 1e6) + WINDOW_US + 1_000_000
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            times = []
            for partition in range(PARTITIONS):
                subject = subjects.transitions(TENANT, partition)
                try:
                    found = await jetstream.get_last_msg(subjects.TRANSITIONS, subject)
                except nats.js.errors.NotFoundError:
                    break
                times.append(Checkpoint.decode((found.headers or {})[HEADER]).time_us)
            if len(times) == PARTITIONS and min(times) >= wanted:
                break
            await asyncio.sleep(0.2)
        else:
            self.report.wrong.append("the stages did not catch up after the faults had ended")
        await client.close()

    async def _read(self, client: Any, stream: str) -> list[Any]:
        subscription = await client.jetstream().subscribe(
            "", stream=stream, ordered_consumer=True, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        last = (await client.jetstream().stream_info(stream)).state.last_seq
        messages = []
        while not messages or messages[-1].metadata.sequence.stream < last:
            messages.append(await subscription.next_msg(timeout=10))
        return messages

    async def _check(self) -> None:
        client = await connect(self.url)
        intake = await self._read(client, subjects.INTAKE)
        profiles = await self._read(client, subjects.PROFILES)
        transitions = await self._read(client, subjects.TRANSITIONS)
        await client.close()
        wrong = self.report.wrong
        arrived = [(int(m.metadata.timestamp.timestamp() * 1e6 + 0.5), m.data) for m in intake]
        expected = offline_rows(arrived)
        found = [row for m in profiles for row in json.loads(m.data or b"[]")]
        reached = max(Checkpoint.decode(m.headers[HEADER]).to[0] for m in profiles)
        ids = [row[0] for row in found]
        self.report.accepted, self.report.rows = len(self.accepted), len(ids)
        if lost := self.accepted - set(ids):
            wrong.append(f"{len(lost)} accepted rows lost, such as {min(lost)}")
        if len(ids) != len(set(ids)):
            wrong.append(f"{len(ids) - len(set(ids))} rows doubled")
        if set(ids) - self.offered:
            wrong.append("rows nobody offered")
        by_id = {row[0]: row for row in expected}
        differing = [row for row in found if abs(row[2] - by_id[row[0]][2]) > 1]
        if differing:
            wrong.append(f"{len(differing)} rows with another time, such as {differing[0]}")
        self._check_chains(profiles, wrong)
        self._check_chains(transitions, wrong)
        self._check_transitions(found, transitions, wrong)
        self.report.faults["intake messages"] = reached

    def _check_chains(self, messages: list[Any], wrong: list[str]) -> None:
        heads: dict[str, tuple[int, int, str]] = {}
        for message in messages:
            checkpoint = Checkpoint.decode(message.headers[HEADER])
            number, sequence, chain = heads.get(message.subject, (0, 0, ""))
            if checkpoint.number != number + 1 or checkpoint.previous != sequence:
                wrong.append(f"{message.subject}: number {checkpoint.number} after {number}")
            if checkpoint.chain != chained(chain, message.data):
                wrong.append(f"{message.subject}: the chain breaks at {checkpoint.number}")
            here = message.metadata.sequence.stream
            heads[message.subject] = (checkpoint.number, here, checkpoint.chain)

    def _check_transitions(self, rows: list[Any], messages: list[Any], wrong: list[str]) -> None:
        reached: dict[str, int] = {}
        spoken: list[tuple[Any, ...]] = []
        for message in messages:
            checkpoint = Checkpoint.decode(message.headers[HEADER])
            reached[message.subject] = checkpoint.time_us
            spoken += [tuple(row[:4]) for row in json.loads(message.data or b"[]")]
        self.report.transitions = len(spoken)
        if len(spoken) != len(set(spoken)):
            wrong.append(f"{len(spoken) - len(set(spoken))} transitions twice")
        until = min(reached.values())
        expected = offline_transitions(rows, until)
        timely = {one for one in spoken if one[2] <= until}
        if missing := expected - timely:
            wrong.append(f"{len(missing)} transitions missing, such as {min(missing, key=str)}")
        if false := timely - expected:
            wrong.append(f"{len(false)} transitions false, such as {min(false, key=str)}")
        inside: set[Any] = set()
        for direction, key, at, _ in spoken:
            if (direction == "entered") == (key in inside):
                wrong.append(f"{key}: {direction} twice at {at}")
            (inside.add if direction == "entered" else inside.discard)(key)

    def _count_exits(self) -> None:
        log = self.folder / "exits.log"
        for line in log.read_text().splitlines() if log.exists() else []:
            code, _, why = line.split(" ", 2)
            self.report.exits[code] += 1
            if code in {"11", "13", "14", "17"}:
                self.report.wrong.append(f"exit {code}: {why[:200]}")
        self.report.faults["lives"] = sum(owner.lives for owner in self.owners)


def run(seconds: float, seed: int, nodes: int = 1) -> Report:
    """One run in a folder of its own; prints the seed first."""
    print(f"chaos: seed {seed}, {seconds:g} s, {nodes} node(s)", flush=True)
    with TemporaryDirectory(prefix="muster-chaos-") as folder:
        return asyncio.run(Chaos(Path(folder), seconds, seed, nodes).run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--nodes", type=int, default=1, choices=[1, 3])
    arguments = parser.parse_args()
    report = run(arguments.seconds, arguments.seed, arguments.nodes)
    print(report.as_json())
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()

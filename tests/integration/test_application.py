"""One process of a service: it tells the truth about itself and ends when it should."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import nats
import pytest

from services.chassis import subjects, topology
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats
from services.chassis.errors import ExitCode
from services.chassis.supervisor import serves
from tests.chaos.toy import TENANT

ROOT = Path(__file__).resolve().parents[2]
LOG_BYTES = 128 << 20


@dataclass
class Toy:
    """A toy service and its broker."""

    folder: Path
    broker: EmbeddedNats
    grpc_port: int
    metrics_port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_TENANT": TENANT,
            "MUSTER_NATS_URL": self.broker.url,
            "MUSTER_STATE_DIR": str(self.folder / "state"),
            "MUSTER_GRPC_PORT": str(self.grpc_port),
            "MUSTER_METRICS_PORT": str(self.metrics_port),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
        }
        log = (self.folder / "toy.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.toy_service"],
            cwd=ROOT,
            env=environment,
            stderr=log,
        )
        return self.process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def said(self) -> str:
        return (self.folder / "toy.log").read_text()


@pytest.fixture
async def toy(tmp_path: Path) -> AsyncIterator[Toy]:
    broker = EmbeddedNats(tmp_path / "nats").start()
    toy = Toy(tmp_path, broker, free_port(), free_port())
    yield toy
    if toy.process is not None and toy.process.poll() is None:
        toy.process.kill()
        toy.process.wait()
    broker.stop()


async def applied(toy: Toy) -> None:
    client = await nats.connect(toy.broker.url)
    await topology.apply(client, LOG_BYTES)
    await client.close()


async def ready(toy: Toy) -> None:
    async with asyncio.timeout(15):
        while not await serves(toy.address):
            await asyncio.sleep(0.05)


async def ended(toy: Toy) -> int:
    assert toy.process is not None
    return await asyncio.to_thread(toy.process.wait, 10)


async def test_it_becomes_ready_counts_its_steps_and_ends_within_two_seconds(toy: Toy) -> None:
    await applied(toy)
    process = toy.start()
    await ready(toy)
    client = await nats.connect(toy.broker.url)
    await client.jetstream().publish(subjects.intake(TENANT, "test"), b'[["1", "k", 1]]')
    await client.close()
    async with asyncio.timeout(5):
        while "muster_steps_total 1.0" not in metrics(toy):
            await asyncio.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await ended(toy) == 0
    assert time.monotonic() - began < 2


def metrics(toy: Toy) -> str:
    with urlopen(f"http://127.0.0.1:{toy.metrics_port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def test_without_streams_it_says_which_command_makes_them(toy: Toy) -> None:
    toy.start()
    assert await ended(toy) == 1
    assert "muster topology apply" in toy.said()


async def test_a_lost_broker_ends_it_and_the_next_life_goes_on(toy: Toy) -> None:
    await applied(toy)
    toy.start()
    await ready(toy)
    toy.broker.kill9()
    assert await ended(toy) == ExitCode.DISCONNECTED
    toy.broker.start()
    toy.start()
    await ready(toy)


async def test_a_taken_port_is_named_with_what_to_do(toy: Toy) -> None:
    await applied(toy)
    toy.start()
    await ready(toy)
    second = Toy(toy.folder / "two", toy.broker, toy.grpc_port, free_port())
    second.folder.mkdir()
    second.start()
    assert await ended(second) == 1
    assert "MUSTER_GRPC_PORT" in second.said()

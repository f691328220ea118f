"""How long ResolveProfile takes at a steady rate, on real processes, while events flow."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
from pathlib import Path

import grpc
import nats
import numpy as np
import psutil

from benchmarks.identity.cores import published
from benchmarks.pipeline.machine import Usage
from muster.identity.v1 import service_pb2 as api
from muster.identity.v1.service_pb2_grpc import IdentityServiceStub
from muster.types.v1.common_pb2 import ProfileRef
from muster.types.v1.event_pb2 import Identifier
from services.chassis import clock, subjects, topology
from services.chassis.checkpoint import Origin
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats
from services.chassis.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
TENANT = "bench"
LOG_BYTES = 4 << 30
READY_S = 120.0


async def resolve_ms(
    persons: int, calls_per_s: int, seconds: float, events_per_s: int, seed: int
) -> dict[str, float]:
    """Latencies in ms from the instant a call was due (an open loop): p50, p99, p999, max."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        broker = EmbeddedNats(Path(folder) / "nats").start()
        logs = Path(folder) / "logs"
        logs.mkdir()
        supervisor = Supervisor(logs, heard=lambda name, what: None)
        try:
            client = await nats.connect(broker.url)
            await topology.apply(client, LOG_BYTES)
            port = free_port()
            for name, argv, at in (
                ("ingest", ["services.ingest", "worker"], free_port()),
                ("identity", ["services.identity"], port),
            ):
                environment = _environment(broker.url, folder, at)
                command = [sys.executable, "-m", *argv]
                supervisor.service(name, command, environment, f"127.0.0.1:{at}", ROOT)
            supervisor.start()
            await supervisor.ready(READY_S)
            address = f"127.0.0.1:{port}"
            load = _Load(client, persons, np.random.default_rng(seed))
            return await load.measure(address, calls_per_s, seconds, events_per_s, _processes())
        finally:
            await supervisor.stop()
            broker.stop()


def _processes() -> dict[str, int]:
    """Ours by name: this one, which calls and measures, and the servers it started."""
    found = {"bench": os.getpid()}
    for child in psutil.Process().children():
        words = " ".join(child.cmdline())
        for name in ("services.ingest", "services.identity", "nats-server"):
            if name in words:
                found[name] = child.pid
    return found


def _environment(url: str, folder: str, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "MUSTER_TENANT": TENANT,
        "MUSTER_NATS_URL": url,
        "MUSTER_STATE_DIR": str(Path(folder) / "state"),
        "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
        "MUSTER_GRPC_PORT": str(port),
    }


class _Load:
    def __init__(self, client: nats.NATS, persons: int, rng: np.random.Generator) -> None:
        self.jetstream = client.jetstream(timeout=10)
        self.persons = persons
        self.rng = rng
        self.sent = 0
        self.acked = 0

    async def publish(self, who: np.ndarray) -> None:
        subject = subjects.intake(TENANT, "shop")
        bodies = list(published(who, self.sent, clock.wall_us(), self.rng))
        self.sent += len(who)
        for body in bodies:
            self.acked = (await self.jetstream.publish(subject, body)).seq

    def encoded(self, events_per_s: int, seconds: float) -> list[bytes]:
        """Events of known people, a tenth of a second in each body, made before it counts."""
        bodies: list[bytes] = []
        for _ in range(round(seconds * 10)):
            who = self.rng.integers(0, self.persons, events_per_s // 10)
            bodies += published(who, self.sent, clock.wall_us(), self.rng)
            self.sent += len(who)
        return bodies

    async def flow(self, bodies: list[bytes]) -> None:
        for body in bodies:
            due = clock.monotonic() + 0.1
            await self.jetstream.publish(subjects.intake(TENANT, "shop"), body)
            await asyncio.sleep(max(0.0, due - clock.monotonic()))

    async def measure(
        self,
        address: str,
        calls_per_s: int,
        seconds: float,
        events_per_s: int,
        pids: dict[str, int],
    ) -> dict[str, float]:
        await self.publish(np.arange(self.persons))
        async with grpc.aio.insecure_channel(address) as channel:
            stub = IdentityServiceStub(channel)
            token = Origin(intake=self.acked).token()
            await stub.ResolveProfile(_request(0, token), timeout=60)
            flowing = asyncio.create_task(self.flow(self.encoded(events_per_s, seconds)))
            who = self.rng.integers(0, self.persons, round(calls_per_s * seconds)).tolist()
            took: list[float] = []
            # A collection of all that was made up to here would hold up the callers for 150 ms.
            gc.collect()
            gc.freeze()
            began = clock.monotonic()

            async def call(number: int, person: int) -> None:
                await stub.ResolveProfile(_request(person), timeout=10)
                took.append(clock.monotonic() - began - number / calls_per_s)

            calls, used = [], Usage.now(pids)
            for number, person in enumerate(who):
                ahead = began + number / calls_per_s - clock.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                calls.append(asyncio.create_task(call(number, person)))
            await asyncio.gather(*calls)
            elapsed_s = clock.monotonic() - began
            spent = Usage.now(pids).since(used)
            flowing.cancel()
        found = np.quantile(np.array(took) * 1e3, [0.5, 0.99, 0.999, 1.0]).round(2).tolist()
        print(
            f"ResolveProfile at {calls_per_s:,}/s while {events_per_s:,} events/s flow: p50 "
            f"{found[0]} ms, p99 {found[1]} ms, p99.9 {found[2]} ms, max {found[3]} ms"
        )
        cores = {name: round(one / elapsed_s, 2) for name, one in spent.by_process.items()}
        print(f"cores: {cores}; foreign {spent.foreign / elapsed_s:.2f}")
        figures = dict(zip(("p50", "p99", "p999", "max"), found, strict=True))
        return figures | {"foreign_cores": round(spent.foreign / elapsed_s, 2)}


def _request(person: int, at_least: str = "") -> api.ResolveProfileRequest:
    identifier = Identifier(kind="user_id", value=f"u-{person:012d}")
    return api.ResolveProfileRequest(
        tenant=TENANT, profile=ProfileRef(identifier=identifier), at_least=at_least
    )

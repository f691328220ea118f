"""Real servers for tests: nats-server with the streams applied, PostgreSQL, service processes.

Everything listens on loopback and free ports, lives under the test's temporary folder and ends with
the test.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import nats
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.aio.client import Client

from services.chassis import clock, topology
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats, EmbeddedPostgres
from services.chassis.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
LOG_BYTES_MAX = 256 << 20
READY_TIMEOUT_S = 60.0


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A nats-server with JetStream and fsync, empty."""
    server = EmbeddedNats(tmp_path / "nats").start()
    yield server
    server.stop()


@pytest.fixture
async def log(nats_server: EmbeddedNats) -> AsyncIterator[Client]:
    """A connection to a nats-server that has every stream of the topology."""
    connection = await nats.connect(nats_server.url, allow_reconnect=False)
    await topology.apply(connection, LOG_BYTES_MAX)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with fsync, for the whole run; tests make their own schemas."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres")).start()
    yield server
    server.stop()


@dataclass
class Service:
    """A real process `python -m services.<name> [role]` with its gRPC port."""

    name: str
    process: subprocess.Popen[bytes]
    grpc_port: int
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def kill9(self) -> None:
        """Ends the process group at once, as a lost machine would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Asks the process to end; its exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=20)

    async def ready(self) -> Service:
        """Waits until gRPC health says SERVING; fails with the end of the log."""
        deadline = clock.monotonic() + READY_TIMEOUT_S
        async with grpc.aio.insecure_channel(self.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while clock.monotonic() < deadline and self.process.poll() is None:
                try:
                    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return self
                except grpc.aio.AioRpcError:
                    pass
                await asyncio.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-3000:]
        raise AssertionError(f"{self.name} did not become ready; its log ends with:\n{tail}")


@dataclass
class Stack:
    """One nats-server with its streams, PostgreSQL, and the service processes a test starts."""

    folder: Path
    nats: EmbeddedNats
    postgres: EmbeddedPostgres
    client: Client
    partitions: int = 1
    services: list[Service] = field(default_factory=list)

    def environment(self, grpc_port: int, partition: int = 0) -> dict[str, str]:
        """What a service of this stack reads."""
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_TENANT": "demo",
            "MUSTER_PARTITIONS": str(self.partitions),
            "MUSTER_PARTITION": str(partition),
            "MUSTER_NATS_URL": self.nats.url,
            "MUSTER_POSTGRES_URL": self.postgres.url,
            "MUSTER_STATE_DIR": str(self.folder / "state"),
            "MUSTER_GRPC_PORT": str(grpc_port),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES_MAX),
        }

    def start(self, name: str, role: str = "", partition: int = 0) -> Service:
        """Starts a process; wait for it with `await service.ready()`."""
        port = free_port()
        label = "-".join(part for part in (name, role, str(partition)) if part)
        log = self.folder / f"{label}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}", *([role] if role else [])],
                env=self.environment(port, partition),
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        service = Service(label, process, port, log)
        self.services.append(service)
        return service

    def settings(self) -> Settings:
        """The stack's settings for code under test in this process."""
        return Settings.model_validate(
            {
                "nats_url": self.nats.url,
                "postgres_url": self.postgres.url,
                "partitions": self.partitions,
                "state_dir": self.folder / "state",
                "log_bytes_max": LOG_BYTES_MAX,
            }
        )


@pytest.fixture
async def stack(
    tmp_path: Path, nats_server: EmbeddedNats, log: Client, postgres_server: EmbeddedPostgres
) -> AsyncIterator[Stack]:
    """Servers with their streams; a test sets `partitions` before it starts services."""
    made = Stack(tmp_path, nats_server, postgres_server, log)
    yield made
    for service in reversed(made.services):
        service.stop()

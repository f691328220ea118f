"""The processes of the measurement: the broker, segments' engine and relay, a feed and a sink."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from services.chassis import topology
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats
from services.chassis.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
TENANT = "bench"
LOG_BYTES = 16 << 30
READY_S = 300.0


class Stack:
    """Starts and ends it all; `client` is connected to the broker."""

    client: Client

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sink_file = folder / "sink.npz"
        self.broker = EmbeddedNats(folder / "nats")
        self.supervisor = Supervisor(folder / "logs", heard=self._heard)
        self.ports = {role: free_port() for role in ("engine", "relay")}
        self.helpers: dict[str, asyncio.subprocess.Process] = {}

    @property
    def address(self) -> str:
        """Of the engine's door."""
        return f"127.0.0.1:{self.ports['engine']}"

    def _heard(self, name: str, what: str) -> None:
        print(f"  {name}: {what}", flush=True)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_TENANT": TENANT,
            "MUSTER_NATS_URL": self.broker.url,
            "MUSTER_STATE_DIR": str(self.folder / "state"),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    async def start(self, feed: dict[str, Any]) -> None:
        """Everything, with the past already written and read."""
        self.broker.start()
        self.client = await nats.connect(self.broker.url)
        await topology.apply(self.client, LOG_BYTES)
        (self.folder / "logs").mkdir()
        for role, port in self.ports.items():
            environment = {**self._environment(), "MUSTER_GRPC_PORT": str(port)}
            argv = [sys.executable, "-m", "services.segments", role]
            self.supervisor.service(role, argv, environment, f"127.0.0.1:{port}", ROOT)
        self.supervisor.start()
        of = {"url": self.broker.url, "tenant": TENANT}
        await self._help("feed", "benchmarks.live.feed", of | feed)
        await self.supervisor.ready(READY_S)
        await self._help("sink", "benchmarks.pipeline.sink", of | {"file": str(self.sink_file)})

    async def _help(self, name: str, module: str, options: dict[str, Any]) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            json.dumps(options),
            cwd=ROOT,
            env=self._environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.helpers[name] = process
        assert process.stdout is not None
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError(f"{module} did not start")

    async def tell(self, name: str, line: str) -> dict[str, Any]:
        """Says a line to the feed or the sink; its answer."""
        process = self.helpers[name]
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()
        answer: dict[str, Any] = json.loads(await process.stdout.readline())
        return answer

    def pids(self) -> dict[str, int]:
        """Of everything that is ours, this process too."""
        pids = {name: self.supervisor.services[name].child.pid for name in self.ports}
        pids |= {name: process.pid for name, process in self.helpers.items()}
        return pids | {"broker": self.broker.child.pid, "caller": os.getpid()}

    async def stop(self) -> None:
        for process in self.helpers.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
        await self.client.close()
        await self.supervisor.stop()
        self.broker.stop()

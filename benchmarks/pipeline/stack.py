"""The processes of a measurement: the broker, three services, a sink."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import nats

from benchmarks.pipeline.segments import rule
from muster.segments.v1 import service_pb2, service_pb2_grpc
from services.chassis import topology
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats
from services.chassis.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
LOG_BYTES = 16 << 30
READY_S = 120.0
SERVICES = {
    "ingest": ("services.ingest", "worker"),
    "identity": ("services.identity", ""),
    "segments": ("services.segments", "engine"),
}


class Stack:
    """Starts and ends it all; `url` is the broker's."""

    def __init__(self, folder: Path, segments: int) -> None:
        self.folder = folder
        self.tenant = "bench"
        self.segments = segments
        self.sink_file = folder / "sink.npz"
        self.broker = EmbeddedNats(folder / "nats")
        self.supervisor = Supervisor(folder / "logs", heard=self._heard)
        self.ports = {name: free_port() for name in SERVICES}
        self.sink: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return self.broker.url

    def _heard(self, name: str, what: str) -> None:
        print(f"  {name}: {what}", flush=True)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_TENANT": self.tenant,
            "MUSTER_NATS_URL": self.url,
            "MUSTER_STATE_DIR": str(self.folder / "state"),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    async def start(self) -> None:
        self.broker.start()
        client = await nats.connect(self.url)
        await topology.apply(client, LOG_BYTES)
        await client.close()
        (self.folder / "logs").mkdir()
        for name, (module, role) in SERVICES.items():
            environment = {**self.environment(), "MUSTER_GRPC_PORT": str(self.ports[name])}
            argv = [sys.executable, "-m", module, *([role] if role else [])]
            health = f"127.0.0.1:{self.ports[name]}"
            self.supervisor.service(name, argv, environment, health, ROOT)
        self.supervisor.start()
        await self.supervisor.ready(READY_S)
        options = {"url": self.url, "tenant": self.tenant, "file": str(self.sink_file)}
        self.sink = await self.helper("benchmarks.pipeline.sink", options)

    async def helper(self, module: str, options: dict[str, Any]) -> asyncio.subprocess.Process:
        """A process beside the services that has said `ready`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            json.dumps(options),
            cwd=ROOT,
            env=self.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError(f"{module} did not start")
        return process

    def pids(self) -> dict[str, int]:
        pids = {name: self.supervisor.services[name].child.pid for name in SERVICES}
        pids["broker"] = self.broker.child.pid
        assert self.sink is not None
        pids["sink"] = self.sink.pid
        return pids

    async def sink_until(self, sequence: int) -> dict[str, Any]:
        """What the sink saw once everything up to an INTAKE sequence was reflected."""
        assert self.sink is not None and self.sink.stdin is not None
        assert self.sink.stdout is not None
        self.sink.stdin.write(f"until {sequence}\n".encode())
        await self.sink.stdin.drain()
        figures: dict[str, Any] = json.loads(await self.sink.stdout.readline())
        return figures

    async def define_segments(self) -> None:
        address = f"127.0.0.1:{self.ports['segments']}"
        async with grpc.aio.insecure_channel(address) as channel:
            stub = service_pb2_grpc.SegmentsServiceStub(channel)
            for number in range(self.segments):
                await stub.DefineSegment(
                    service_pb2.DefineSegmentRequest(
                        tenant=self.tenant,
                        segment_id=f"bench-{number}",
                        condition=rule(number),
                        request_id=f"bench-{number}",
                    ),
                    timeout=60,
                )

    async def stop(self) -> None:
        if self.sink is not None and self.sink.returncode is None:
            self.sink.kill()
            await self.sink.wait()
        await self.supervisor.stop()
        self.broker.stop()

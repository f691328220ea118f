"""One process of a service: its connection, servers, tasks, readiness and end.

FastStream owns the broker connection and request/reply subscribers; the fenced worker and followers
pull on the same connection. There is no reconnect: a closed connection ends the process, and its
supervisor starts it again where the log stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from faststream import AckPolicy
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.js import JetStreamContext

from muster.types.v1.common_pb2 import Position
from services.chassis import clock, topology
from services.chassis.checkpoint import Origin
from services.chassis.core import Core
from services.chassis.errors import ExitCode, Stop
from services.chassis.grpc_server import GrpcServer
from services.chassis.parking import timestamp
from services.chassis.settings import Settings
from services.chassis.telemetry import Figures, configure_logs, serve_metrics
from services.chassis.worker import FencedWorker

READINESS_EVERY_S = 0.1
BROKER_SILENCE_S = 5.0
Hook = Callable[["Application"], Awaitable[None]]


class Worker(FencedWorker):
    """A fenced worker as a service sees it: with positions for answers."""

    def position(self) -> Position:
        """What an answer given now reflects."""
        return position_of(self.origin, self.time_us)


def position_of(origin: Origin, time_us: int) -> Position:
    """A Position for answers: token, log time, and how far that lies behind this clock."""
    lag_ms = max(0, (clock.wall_us() - time_us) // 1_000) if time_us else 0
    return Position(token=origin.token(), time=timestamp(time_us), lag_ms=lag_ms)


class Application:
    """Wires one process. Use: construct, `work`/`serve`/`spawn`/`ready_when`, then `run()`.

    streams: the streams this process binds to; it is not ready until they are as declared.
    """

    def __init__(
        self, settings: Settings, service: str, *, streams: set[str] | None = None
    ) -> None:
        self.settings = settings
        self.service = service
        self.log = configure_logs(service, settings.log_level)
        self.figures = Figures()
        self.worker: Worker | None = None
        self.grpc: GrpcServer | None = None
        self._streams = streams or set()
        self._core: Core | None = None
        self._servicers: list[tuple[Any, Callable[[Any, Any], None], str]] = []
        self._tasks: list[tuple[Callable[[], Coroutine[Any, Any, None]], str]] = []
        self._checks: dict[str, Callable[[], bool]] = {}
        self._on_start: list[Hook] = []
        self._on_stop: list[Hook] = []
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._heard_broker = 0.0
        self.broker = NatsBroker(
            settings.nats_url.split(","),
            allow_reconnect=False,
            connect_timeout=5,
            disconnected_cb=self._on_disconnected,
            error_cb=self._on_error,
            logger=None,
            # The default ends a message for good when its handler raises.
            ack_policy=AckPolicy.MANUAL,
            apply_types=False,
        )

    # -- wiring ------------------------------------------------------------------------------

    @property
    def nats(self) -> Client:
        """The connection; only while running."""
        return self.broker.connection

    @property
    def jetstream(self) -> JetStreamContext:
        return self.nats.jetstream(timeout=5)

    def work(self, core: Core) -> None:
        """Makes a fenced worker over `core` the process's main task (`app.worker` once started)."""
        self._core = core

    def serve(self, servicer: Any, adder: Callable[[Any, Any], None], name: str) -> None:
        """Serves a gRPC servicer under its full name."""
        self._servicers.append((servicer, adder, name))

    def spawn(self, task: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Runs `task()` in the background from start to stop; its failure ends the process."""
        self._tasks.append((task, name))

    def ready_when(self, name: str, check: Callable[[], bool]) -> None:
        self._checks[name] = check

    def on_start(self, hook: Hook) -> None:
        """Runs once connected, before the worker, tasks and calls."""
        self._on_start.append(hook)

    def on_stop(self, hook: Hook) -> None:
        self._on_stop.append(hook)

    # -- life --------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT (exit 0) or until something breaks (errors.ExitCode)."""
        try:
            import uvloop

            runner: Callable[[Coroutine[Any, Any, int]], int] = uvloop.run
        except ImportError:
            runner = asyncio.run
        code = runner(self._main())
        sys.stderr.flush()
        os._exit(code)

    async def _main(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            await self._start()
        except Exception as error:
            return self._broken(error, "start")
        ended = await self._until_stopped()
        await self._stop()
        return ended

    async def _start(self) -> None:
        await self.broker.start()
        await topology.verify(
            self.nats, self._streams, self.settings.log_bytes_max, self.settings.stream_replicas
        )
        self.grpc = GrpcServer(self.settings.grpc_host, self.settings.grpc_port)
        for servicer, adder, name in self._servicers:
            self.grpc.add(servicer, adder, name)
        if self._core is not None:
            self.worker = Worker(self.nats, self._core, self.settings)
            self.ready_when("caught up", lambda: bool(self.worker and self.worker.live))
            self._add_worker_figures(self.worker)
        for hook in self._on_start:
            await hook(self)
        _, metrics_port = serve_metrics(
            self.settings.metrics_host, self.settings.metrics_port, self.figures
        )
        await self.grpc.start()
        gc.collect()
        gc.freeze()
        self._run(self._watch_readiness(), "readiness")
        if self.worker is not None:
            self._run(self.worker.run(), "worker")
        for task, name in self._tasks:
            self._run(task(), name)
        self.log.info("started", grpc_port=self.grpc.port, metrics_port=metrics_port)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)

    async def _until_stopped(self) -> int:
        stopping = asyncio.create_task(self._stopping.wait())
        while True:
            done, _ = await asyncio.wait(
                {stopping, *self._running}, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping in done:
                return 0
            for task in done:
                self._running.discard(task)
                error = task.exception()
                if error is not None:
                    return self._broken(error, task.get_name())

    def _broken(self, error: BaseException, where: str) -> int:
        if isinstance(error, Stop):
            self.log.error("stopped", where=where, why=str(error), code=error.code.name)
            return int(error.code)
        if isinstance(error, (OSError, topology.TopologyError)):
            self.log.error("stopped", where=where, why=str(error), code="START")
            return 1
        self.log.error("a defect", where=where, exc_info=error)
        return int(ExitCode.DEFECT)

    async def _stop(self) -> None:
        grace_s = self.settings.drain_ms / 1_000
        with contextlib.suppress(Exception):
            async with asyncio.timeout(grace_s + 1):
                if self.grpc is not None:
                    await self.grpc.show(live=True, ready=False)
                    await self.grpc.stop(min(grace_s, 0.5))
                for hook in self._on_stop:
                    await hook(self)
                for task in self._running:
                    task.cancel()
                if self.worker is not None:
                    await self.worker.drain()

    # -- truth about readiness ---------------------------------------------------------------

    async def _watch_readiness(self) -> None:
        """Ready means: the broker answers, the worker is live, and every check of the service."""
        shown: bool | None = None
        self._heard_broker = clock.monotonic()
        pinging: asyncio.Task[None] | None = None
        while True:
            if pinging is None or pinging.done():
                pinging = asyncio.create_task(self._ping())
            failing = [name for name, check in self._checks.items() if not check()]
            if clock.monotonic() - self._heard_broker > BROKER_SILENCE_S:
                failing.append("broker")
            ready = not failing
            if ready != shown and self.grpc is not None:
                await self.grpc.show(live=True, ready=ready)
                self.log.info("readiness", ready=ready, failing=failing)
                shown = ready
            await asyncio.sleep(READINESS_EVERY_S)

    async def _ping(self) -> None:
        with contextlib.suppress(Exception):
            await self.nats.flush(timeout=2)
            self._heard_broker = clock.monotonic()
        await asyncio.sleep(1)

    async def _on_disconnected(self) -> None:
        if not self._stopping.is_set():
            self.log.error("stopped", where="broker", code=ExitCode.DISCONNECTED.name)
            sys.stderr.flush()
            os._exit(int(ExitCode.DISCONNECTED))

    async def _on_error(self, error: Exception) -> None:
        self.log.warning("broker", error=str(error))
        if "permissions violation" in str(error).lower():
            os._exit(int(ExitCode.DISCONNECTED))

    def _add_worker_figures(self, worker: Worker) -> None:
        counters = worker.counters
        add = self.figures.add
        add("muster_steps_total", "Committed steps.", lambda: counters.steps)
        add("muster_inputs_total", "Input messages taken.", lambda: counters.inputs)
        add("muster_step_microseconds_total", "In the core.", lambda: counters.step_us)
        add("muster_commit_microseconds_total", "Until answered.", lambda: counters.commit_us)
        add("muster_output_bytes_total", "Bodies of facts.", lambda: counters.bytes_out)
        add("muster_log_time_seconds", "Log time reached.", lambda: worker.time_us / 1e6)

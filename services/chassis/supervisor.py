"""Keeps child processes running: restarts what stopped, says who is ready, ends all in order.

For the local stack, for `python -m services.<name>` without a role, and for tests of kills. Workers
end themselves whenever an outcome is unknown, so a restart is a normal event, not an alarm.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.chassis import clock
from services.chassis.children import Child, ChildFailed, Notice, port_or_another, quiet, wait_until
from services.chassis.settings import ports

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
SETTLED_S = 10.0
"""A child that lived this long starts with the first back-off again."""
WATCH_EVERY_S = 0.05
STARTS_MAX = 6
"""Ends before it was ever ready after which `ready` gives up waiting for a child."""
SERVICES_STOP_S = 1.3
SERVERS_STOP_S = 0.6
READINESS = "readiness"
"""The health service of every process of ours that tells whether it is caught up."""


@dataclass
class Kept:
    """A child under supervision. health: host:port of its gRPC health service, if it has one."""

    child: Child
    health: str | None = None
    ends: int = 0
    backoff_s: float = BACKOFF_FIRST_S
    started_at: float = 0.0
    start_due: float | None = None
    was_ready: bool = False


@dataclass
class Supervisor:
    """Children by name, started and watched together. Use it from one event loop, main thread.

    server(child): something others need (nats, postgres), already started: restarted like the
    others, stopped after them. heard(name, what): `ended -9`, `restarted`, as it happens.
    """

    folder: Path
    heard: Callable[[str, str], None] = lambda _name, _what: None
    services: dict[str, Kept] = field(default_factory=dict, init=False)
    servers: dict[str, Kept] = field(default_factory=dict, init=False)
    _watcher: asyncio.Task[None] | None = field(default=None, init=False)

    def server(self, child: Child) -> None:
        self.servers[child.name] = Kept(child, started_at=clock.monotonic())

    def service(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        health: str | None = None,
        cwd: Path | None = None,
    ) -> Child:
        """Adds a process to start; its log is <folder>/<name>.log."""
        log = self.folder / f"{name}.log"
        child = Child(name, tuple(argv), log=log, env=env, cwd=cwd)
        self.services[name] = Kept(child, health)
        return child

    def add(self, child: Child, health: str | None = None) -> None:
        self.services[child.name] = Kept(child, health)

    def everyone(self) -> dict[str, Kept]:
        return self.servers | self.services

    def start(self) -> None:
        """Starts what does not run and begins to watch."""
        for kept in self.services.values():
            self._launch(kept)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="supervisor")

    def _launch(self, kept: Kept) -> None:
        kept.started_at, kept.start_due = clock.monotonic(), None
        kept.child.start()

    async def failed(self) -> None:
        """Returns only by raising what ended the watching."""
        assert self._watcher is not None
        await asyncio.shield(self._watcher)

    def _tell(self, name: str, what: str) -> None:
        """Whoever listened may be gone, such as the reader of a pipe; the children are not."""
        with contextlib.suppress(OSError):
            self.heard(name, what)

    async def _watch(self) -> None:
        while True:
            for name, kept in self.everyone().items():
                if not kept.child.is_alive():
                    self._restart(name, kept)
            await asyncio.sleep(WATCH_EVERY_S)

    def _restart(self, name: str, kept: Kept) -> None:
        """Starts an ended child again once its back-off is over."""
        now = clock.monotonic()
        if kept.start_due is None:
            if now - kept.started_at >= SETTLED_S:
                kept.backoff_s = BACKOFF_FIRST_S
            kept.ends += 1
            kept.start_due = now + kept.backoff_s
            kept.backoff_s = min(2 * kept.backoff_s, BACKOFF_MAX_S)
            self._tell(name, f"ended {kept.child.exit_code}")
        if now >= kept.start_due:
            try:
                self._launch(kept)
            except ChildFailed as failed:
                kept.start_due = now + kept.backoff_s
                self._tell(name, f"could not start: {failed}")
            else:
                self._tell(name, "restarted")

    async def ready(self, timeout_s: float, progress: Notice = quiet) -> None:
        """Returns when every service says it is ready; progress hears each name once.

        Raises ChildFailed for one that keeps ending at its start, or is not ready in time.
        """
        end = clock.monotonic() + timeout_s
        waiting = dict(self.services)
        while waiting:
            names = list(waiting)
            for name, is_ready in zip(
                names, await asyncio.gather(*map(self.is_ready, names)), strict=True
            ):
                kept = waiting[name]
                if is_ready:
                    kept.was_ready = True
                    del waiting[name]
                    progress(name)
                elif kept.ends >= STARTS_MAX and not kept.was_ready:
                    raise kept.child.failed(f"ended {kept.ends} times at its start")
                elif clock.monotonic() >= end:
                    raise kept.child.failed(f"was not ready within {timeout_s:g} s")
            if waiting:
                await asyncio.sleep(WATCH_EVERY_S)

    async def is_ready(self, name: str) -> bool:
        """Whether it runs and, if it answers health checks, says it is ready."""
        kept = self.everyone()[name]
        if not kept.child.is_alive():
            return False
        if kept.health is None:
            return True
        port = int(kept.health.rpartition(":")[2])
        return kept.child.listens(port) and await serves(kept.health)

    def kill9(self, name: str) -> None:
        """Ends a child with no chance to tidy up; it is restarted."""
        self.everyone()[name].child.send(signal.SIGKILL)

    async def stop(self) -> None:
        """Ends the services, then the servers, within two seconds; kills what does not end."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._watcher
            self._watcher = None
        await _end([k.child for k in self.services.values()], SERVICES_STOP_S)
        await _end([k.child for k in self.servers.values()], SERVERS_STOP_S)


async def _end(children: Sequence[Child], within_s: float) -> None:
    """Tells all to end at once and kills what still runs after within_s."""
    for child in children:
        child.send(signal.SIGCONT)
        child.send(child.stop_with)

    def all_ended() -> bool:
        return not any(child.is_alive() for child in children)

    await asyncio.to_thread(wait_until, all_ended, within_s, 0.01)
    for child in children:
        child.kill9()


async def serves(address: str, service: str = READINESS, timeout_s: float = 1.0) -> bool:
    """Whether a gRPC server at address calls a health service SERVING."""
    import grpc.aio
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(address) as channel:
        ask = health_pb2_grpc.HealthStub(channel).Check
        try:
            answer = await ask(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def run_roles(module: str, roles: Sequence[str]) -> int:
    """Runs `python -m module <role>` for each role until told to stop; 0 after an orderly end.

    The first role keeps MUSTER_GRPC_PORT and MUSTER_METRICS_PORT as they are; each other role gets
    its documented port, or a free one.
    """
    return asyncio.run(_run_roles(module, roles))


async def _run_roles(module: str, roles: Sequence[str]) -> int:
    supervisor = Supervisor(Path(), heard=_say)
    service = module.rsplit(".", 1)[-1]
    for place, role in enumerate(roles):
        env = dict(os.environ)
        if place:
            wanted = ports.get(f"{service}-{role}", ports.get(role, 0))
            port = port_or_another(wanted, role, lambda line: _say(service, line))
            env |= {"MUSTER_GRPC_PORT": str(port), "MUSTER_METRICS_PORT": "0"}
        supervisor.add(Child(f"{service}-{role}", (sys.executable, "-m", module, role), env=env))
    told = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, told.set)
    supervisor.start()
    await told.wait()
    await supervisor.stop()
    return 0


def _say(name: str, what: str) -> None:
    print(f"{name} {what}", file=sys.stderr, flush=True)  # noqa: T201

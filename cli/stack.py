"""The local stack: nats-server, PostgreSQL and the five services as children over one folder.

Everything listens on loopback. State lies under the folder: `nats`, `postgres`, `work` (snapshots),
`logs`, and `keys.json` (the token of nats-server, the key of prints, the bytes of the log).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.problems import Problem
from cli.running import ROOT, Running
from services.chassis import clock
from services.chassis.children import LOOPBACK, Child, Notice, port_or_another, quiet
from services.chassis.embedded import EmbeddedNats, EmbeddedPostgres
from services.chassis.settings import HTTP_PORT, ports
from services.chassis.supervisor import Supervisor

TENANT = "demo"
READY_TIMEOUT_S = 90.0
LOG_BYTES_MAX = 8 << 30
LOG_BYTES_MIN = 256 << 20
FREE_BYTES_MIN = 768 << 20
METRICS_ABOVE = 100
MIGRATED = ("frequency", "alerts")


@dataclass(frozen=True)
class Role:
    """A process of a service. name: in logs, ports and `muster demo`'s kills."""

    name: str
    service: str
    argument: str = ""
    partition: int = 0

    def argv(self) -> tuple[str, ...]:
        words = (sys.executable, "-m", f"services.{self.service}", self.argument)
        return tuple(word for word in words if word)


def roles(partitions: int) -> Iterator[Role]:
    """Every process of the stack; partitions of segments beyond the first have a number."""
    yield Role("ingest", "ingest", "doors")
    yield Role("ingest-worker", "ingest", "worker")
    yield Role("identity", "identity")
    for partition in range(partitions):
        tail = f"-{partition}" if partition else ""
        yield Role(f"segments{tail}", "segments", "engine", partition)
        yield Role(f"relay{tail}", "segments", "relay", partition)
    yield Role("frequency", "frequency")
    yield Role("alerts", "alerts")


class Stack:
    """The local stack over `folder`. start, then stop; in between `supervisor` restarts and kills.

    notice: hears of taken ports and places that had to be others. heard: see Supervisor.
    """

    def __init__(
        self,
        folder: Path,
        *,
        partitions: int = 1,
        notice: Notice = quiet,
        heard: Callable[[str, str], None] = lambda _name, _what: None,
    ) -> None:
        refuse_open_binds()
        self.folder = folder.absolute()
        self.partitions = partitions
        self.folder.mkdir(parents=True, exist_ok=True)
        check_space(self.folder)
        self.keys = self._keys()
        self.supervisor = Supervisor(self.folder / "logs", heard=heard)
        self.nats = EmbeddedNats(
            self.folder / "nats",
            ports["nats"],
            token=self.keys["token"],
            notice=notice,
        )
        self.postgres = EmbeddedPostgres(self.folder / "postgres", ports["postgres"], notice=notice)
        self.ports = {
            role.name: port_or_another(ports.get(role.name, 0), role.name, notice)
            for role in roles(partitions)
        }
        self.http_port = port_or_another(HTTP_PORT, "http", notice)

    def _keys(self) -> dict[str, str]:
        """Made on the first start over a folder, kept since: prints depend on them."""
        path = self.folder / "keys.json"
        if not path.exists():
            free = shutil.disk_usage(self.folder).free
            made = {
                "token": clock.new_secret().replace("-", "a").replace("_", "b"),
                "print_key": clock.new_secret(),
                "log_bytes_max": str(max(LOG_BYTES_MIN, min(LOG_BYTES_MAX, free // 2))),
                "partitions": str(self.partitions),
            }
            unfinished = path.with_suffix(".new")
            unfinished.touch(mode=0o600)
            unfinished.write_text(json.dumps(made, indent=2) + "\n")
            unfinished.replace(path)
        keys: dict[str, str] = json.loads(path.read_text())
        if keys["partitions"] != str(self.partitions):
            raise Problem(
                f"{self.folder} was made with {keys['partitions']} partitions; "
                f"use --partitions {keys['partitions']}, or another --state folder"
            )
        return keys

    @property
    def running(self) -> Running:
        """Where everything is, for .state/stack.json."""
        return Running(
            tenant=TENANT,
            partitions=self.partitions,
            nats_url=self.nats.url,
            postgres_url=self.postgres.url,
            addresses={
                name: f"{LOOPBACK}:{self.ports[name]}"
                for name in ("ingest", "identity", "segments", "frequency", "alerts")
            },
            folder=str(self.folder),
            pid=os.getpid(),
            print_key=self.keys["print_key"],
            http_url=f"http://{LOOPBACK}:{self.http_port}",
        )

    def environment(self, role: Role | None = None) -> dict[str, str]:
        """What a process of the stack finds in its environment."""
        ours = {
            "MUSTER_TENANT": TENANT,
            "MUSTER_PARTITIONS": str(self.partitions),
            "MUSTER_NATS_URL": self.nats.url,
            "MUSTER_POSTGRES_URL": self.postgres.url,
            "MUSTER_STATE_DIR": str(self.folder / "work"),
            "MUSTER_PRINT_KEY": self.keys["print_key"],
            "MUSTER_LOG_BYTES_MAX": self.keys["log_bytes_max"],
            "MUSTER_GRPC_HOST": LOOPBACK,
            "MUSTER_METRICS_HOST": LOOPBACK,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "PYTHONUNBUFFERED": "1",
        }
        if role is not None:
            port = self.ports[role.name]
            metrics = port_or_another(port + METRICS_ABOVE, role.name, quiet)
            ours |= {
                "MUSTER_PARTITION": str(role.partition),
                "MUSTER_GRPC_PORT": str(port),
                "MUSTER_METRICS_PORT": str(metrics),
            }
            if role.name == "ingest":
                ours["MUSTER_HTTP_PORT"] = str(self.http_port)
        return dict(os.environ) | ours

    async def start(self, progress: Notice = quiet) -> None:
        """Starts everything in order; returns when all are ready. Raises ChildFailed or Problem."""
        self.nats.launch()
        self.postgres.start()
        progress("postgres")
        self.nats.start()
        progress("nats")
        self.supervisor.server(self.nats.child)
        self.supervisor.server(self.postgres.child)
        await asyncio.gather(self.apply_topology(), self.migrate())
        for role in roles(self.partitions):
            self.supervisor.service(
                role.name,
                role.argv(),
                self.environment(role),
                health=f"{LOOPBACK}:{self.ports[role.name]}",
                cwd=self.folder,
            )
        self.supervisor.start()
        await self.supervisor.ready(READY_TIMEOUT_S, progress)
        self.running.write()

    async def apply_topology(self) -> None:
        import nats

        from services.chassis import topology

        client = await nats.connect(self.nats.url)
        await topology.apply(client, int(self.keys["log_bytes_max"]))
        await client.close()

    async def migrate(self) -> None:
        """Brings the schemas of the Postgres services up to date; safe to repeat."""
        children = [
            Child(
                f"{name}-migrate",
                (sys.executable, "-m", f"services.{name}", "migrate"),
                log=self.folder / "logs" / f"{name}-migrate.log",
                env=self.environment(),
            )
            for name in MIGRATED
        ]
        for child in children:
            child.start()
        for child in children:
            await asyncio.to_thread(child.join, 60.0)
            if child.exit_code != 0:
                raise child.failed("could not bring its schema up to date")

    async def stop(self) -> None:
        """Ends everything within two seconds; what was acknowledged stays."""
        self.running.forget()
        await self.supervisor.stop()
        self.nats.stop(0.5)
        self.postgres.stop(0.5)


def refuse_open_binds() -> None:
    """The local stack is plaintext and must stay on loopback."""
    for variable in ("MUSTER_GRPC_HOST", "MUSTER_HTTP_HOST", "MUSTER_METRICS_HOST"):
        wanted = os.environ.get(variable, LOOPBACK)
        if wanted not in (LOOPBACK, "localhost", "::1"):
            raise Problem(
                f"{variable}={wanted}: the local stack speaks plaintext without accounts and binds "
                "to loopback only. Unset it; deploy/ has the manifests for anything else"
            )


def check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_MIN:
        raise Problem(
            f"only {free >> 20} MB are free under {folder}: {FREE_BYTES_MIN >> 20} MB are needed. "
            "Make room, or choose another place with --state"
        )

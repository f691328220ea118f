"""Where the running stack is: its file under .state, or the environment, and channels to it.

Variables win over the file, so that every command also works against a stack elsewhere:
MUSTER_TENANT, MUSTER_NATS_URL, MUSTER_POSTGRES_URL, MUSTER_INGEST, MUSTER_IDENTITY,
MUSTER_SEGMENTS, MUSTER_FREQUENCY, MUSTER_ALERTS (host:port each); MUSTER_KEY and MUSTER_PUBLISHER:
as whom to publish and import.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cli.problems import Problem

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".state"
STACK_FILE = Path(os.environ.get("MUSTER_STACK_FILE", STATE / "stack.json"))
"""Written by `up` and `demo` while they run; another place lets two stacks run side by side."""
SERVICES = ("ingest", "identity", "segments", "frequency", "alerts")
CALL_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Running:
    """A stack one can talk to. addresses: service -> host:port; pid: of its supervisor."""

    tenant: str
    partitions: int
    nats_url: str
    postgres_url: str
    addresses: dict[str, str]
    folder: str
    pid: int
    print_key: str
    http_url: str = ""
    """Segment's API."""

    def variables(self) -> dict[str, str]:
        """The environment that points every command and client at this stack."""
        named = {f"MUSTER_{name.upper()}": self.addresses[name] for name in SERVICES}
        return named | {
            "MUSTER_TENANT": self.tenant,
            "MUSTER_PARTITIONS": str(self.partitions),
            "MUSTER_NATS_URL": self.nats_url,
            "MUSTER_POSTGRES_URL": self.postgres_url,
            "MUSTER_HTTP_URL": self.http_url,
        }

    def write(self) -> None:
        """Readable by its owner alone: it holds the token."""
        STACK_FILE.parent.mkdir(parents=True, exist_ok=True)
        unfinished = STACK_FILE.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        unfinished.replace(STACK_FILE)

    def forget(self) -> None:
        """Removes the file when it is still ours."""
        if (there := _read()) is not None and there.pid == self.pid:
            STACK_FILE.unlink(missing_ok=True)


def _read() -> Running | None:
    try:
        return Running(**json.loads(STACK_FILE.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stack_if_any() -> Running | None:
    """The stack of this clone when its supervisor lives, changed by the environment."""
    there = _read()
    if there is None or not _alive(there.pid):
        return None
    return there


def stack() -> Running:
    """The stack to talk to. Raises Problem when there is none."""
    there = stack_if_any()
    named = {s: os.environ.get(f"MUSTER_{s.upper()}", "") for s in SERVICES}
    if there is None:
        if not any(named.values()) and "MUSTER_NATS_URL" not in os.environ:
            raise Problem(
                "no stack is running here. Start one with `./muster up` (or `make demo`), "
                "or name one: MUSTER_SEGMENTS=host:port, MUSTER_NATS_URL=..."
            )
        there = Running("demo", 1, "", "", dict.fromkeys(SERVICES, ""), "", 0, "")
    return Running(
        tenant=os.environ.get("MUSTER_TENANT", there.tenant),
        partitions=int(os.environ.get("MUSTER_PARTITIONS", there.partitions)),
        nats_url=os.environ.get("MUSTER_NATS_URL", there.nats_url),
        postgres_url=os.environ.get("MUSTER_POSTGRES_URL", there.postgres_url),
        addresses={s: named[s] or there.addresses.get(s, "") for s in SERVICES},
        folder=there.folder,
        pid=there.pid,
        print_key=os.environ.get("MUSTER_PRINT_KEY", there.print_key),
        http_url=os.environ.get("MUSTER_HTTP_URL", there.http_url),
    )


def log_bytes_of(running: Running) -> int:
    """The bytes of the log that the local stack was made with. Problem for a stack elsewhere."""
    if not running.folder:
        raise Problem("say how large the log is: --log-bytes, or MUSTER_LOG_BYTES_MAX")
    return int(json.loads(Path(running.folder, "keys.json").read_text())["log_bytes_max"])


def address_of(running: Running, service: str) -> str:
    address = running.addresses.get(service, "")
    if not address:
        raise Problem(f"no address of {service} is known: set MUSTER_{service.upper()}=host:port")
    return address


def stub_class(service: str) -> Any:
    """The generated client class of a service, such as SegmentsServiceStub."""
    from importlib import import_module

    module = import_module(f"muster.{service}.v1.service_pb2_grpc")
    return getattr(module, f"{service.capitalize()}ServiceStub")


def publisher_or(default: str) -> str:
    """The name to publish under."""
    return os.environ.get("MUSTER_PUBLISHER", default)


def key_metadata() -> list[tuple[str, str]]:
    """A publisher's key for the doors of ingest: MUSTER_KEY, where publishers are registered."""
    key = os.environ.get("MUSTER_KEY", "")
    return [("authorization", f"Bearer {key}")] if key else []


def export_metadata() -> list[tuple[str, str]]:
    """A key with the right to export: MUSTER_EXPORT_KEY, where exports need one."""
    key = os.environ.get("MUSTER_EXPORT_KEY", "")
    return [("authorization", f"Bearer {key}")] if key else []


@contextlib.contextmanager
def calls(running: Running, service: str) -> Iterator[Any]:
    """A blocking client of a service. Failed calls raise grpc.RpcError, which __main__ words."""
    import grpc

    with grpc.insecure_channel(address_of(running, service)) as channel:
        yield stub_class(service)(channel)

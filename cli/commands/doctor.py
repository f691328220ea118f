"""`muster doctor`: looks at the machine, the clone and the running stack; says what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.running import ROOT, STATE

if TYPE_CHECKING:
    from cli.running import Running

FULL_PERCENT = 80
"""docs/operations.md says what to do when a stream is this full."""
ANSWER_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. advice: what to do, when it is not ok."""

    ok: bool
    what: str
    advice: str = ""


def command() -> None:
    """Checks Python, packages, binaries, ports, disk and the running stack; 1 when one is wrong."""
    looks = (python, packages, contracts, binaries, database_account, disk, running_stack)
    wrong = 0
    for look in looks:
        for finding in look():
            print(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.what}")
            if not finding.ok:
                wrong += 1
                print(f"       {finding.advice}")
    print(f"\n{wrong} to mend" if wrong else "\nall is well")
    if wrong:
        raise typer.Exit(1)


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    yield Finding(ok, f"Python {version} at {sys.executable}", "install Python 3.11 or newer")


def packages() -> Iterator[Finding]:
    """Whether .venv holds what requirements/runtime.txt lists."""
    marker = ROOT / ".venv" / ".installed-runtime"
    wanted = ROOT / "requirements" / "runtime.txt"
    same = marker.exists() and marker.read_bytes() == wanted.read_bytes()
    yield Finding(same, "packages as locked in requirements/runtime.txt", "run `make setup`")


def contracts() -> Iterator[Finding]:
    newest = max(path.stat().st_mtime for path in (ROOT / "protos").rglob("*.proto"))
    stamp = ROOT / "gen" / ".stamp"
    fresh = stamp.exists() and stamp.stat().st_mtime >= newest
    yield Finding(fresh, "generated contracts in gen/ are fresh", "run `make generate`")


def _version(program: str) -> str:
    """What `program --version` says; empty when it does not run."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def binaries() -> Iterator[Finding]:
    from services.chassis.children import ChildFailed
    from services.chassis.embedded import nats_binary
    from services.chassis.embedded_postgres import postgres_install

    places: dict[str, Callable[[], str]] = {
        "nats-server": nats_binary,
        "postgres": lambda: str(postgres_install() / "bin" / "postgres"),
    }
    for name, place in places.items():
        try:
            version = _version(place())
        except ChildFailed:
            version = ""
        yield Finding(bool(version), version or f"{name} does not run", "run `make setup`")


def database_account() -> Iterator[Finding]:
    """How PostgreSQL, which refuses to be root, would run here."""
    from services.chassis.children import ChildFailed
    from services.chassis.embedded_postgres import account_to_use

    said = {
        "self": "as you",
        "namespace": "in a user namespace",
    }
    try:
        account = account_to_use()
    except ChildFailed as failed:
        yield Finding(False, "PostgreSQL cannot run here", str(failed))
        return
    yield Finding(True, f"PostgreSQL runs {said.get(account, f'as uid {account}')}")


def disk() -> Iterator[Finding]:
    from cli.stack import FREE_BYTES_MIN

    place = STATE if STATE.exists() else ROOT
    writable = os.access(place, os.W_OK)
    yield Finding(writable, f"{place} can be written", f"make {place} yours, or use --state")
    free = shutil.disk_usage(place).free
    advice = f"{FREE_BYTES_MIN >> 20} MB are needed: make room, or use --state"
    yield Finding(free >= FREE_BYTES_MIN, f"{free >> 20:,} MB are free", advice)


def running_stack() -> Iterator[Finding]:
    """The stack of this clone when one runs; else whether its ports are free."""
    from cli.running import stack_if_any

    running = stack_if_any()
    if running is None:
        yield from free_ports()
    else:
        yield Finding(True, f"a stack runs over {running.folder} (pid {running.pid})")
        yield from asyncio.run(_look_at(running))


def free_ports() -> Iterator[Finding]:
    from services.chassis.children import port_is_free
    from services.chassis.settings import ports

    taken = [f"{port} ({name})" for name, port in ports.items() if not port_is_free(port)]
    yield Finding(True, "no stack runs here: ./muster up starts one")
    told = f"taken: {', '.join(taken)}; `up` takes free ones instead" if taken else "all are free"
    yield Finding(True, f"documented ports {told}")


async def _look_at(running: Running) -> list[Finding]:
    return [
        *[await _service(running, name) for name in running.addresses],
        *await _log(running),
        await _database(running),
    ]


async def _service(running: Running, name: str) -> Finding:
    from services.chassis.supervisor import serves

    address = running.addresses[name]
    ready = await serves(address, timeout_s=ANSWER_TIMEOUT_S)
    log = Path(running.folder, "logs", f"{name}.log")
    advice = f"its log {log} says why; it is restarted by itself"
    return Finding(ready, f"{name} is {'ready' if ready else 'not ready'} at {address}", advice)


async def _log(running: Running) -> list[Finding]:
    """The broker: streams as declared, none nearly full, nothing parked."""
    import nats
    import nats.errors

    from cli.running import log_bytes_of
    from services.chassis import subjects, topology

    try:
        client = await nats.connect(
            running.nats_url, allow_reconnect=False, connect_timeout=ANSWER_TIMEOUT_S
        )
    except (OSError, nats.errors.Error) as error:
        return [Finding(False, f"NATS does not answer: {error}", "is the stack still starting?")]
    changes = await topology.plan(client, log_bytes_of(running))
    told = "; ".join(map(str, changes))
    advice = f"run `./muster topology apply`: {told}"
    findings = [Finding(not changes, "every stream is as declared", advice)]
    for stream in topology.STREAMS:
        info = await client.jetstream().stream_info(stream.name)
        most = info.config.max_bytes or 0
        percent = info.state.bytes * 100 // most if most > 0 else 0
        if percent >= FULL_PERCENT:
            advice = "docs/operations.md, `A stream is nearly full`"
            findings.append(Finding(False, f"{stream.name} is {percent} % full", advice))
    state = (await client.jetstream().stream_info(subjects.PARKED)).state
    findings.append(Finding(True, f"{state.messages} messages in PARKED"))
    await client.close()
    return findings


async def _database(running: Running) -> Finding:
    import asyncpg

    try:
        connection = await asyncpg.connect(running.postgres_url, timeout=ANSWER_TIMEOUT_S)
        version = await connection.fetchval("show server_version")
        await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        return Finding(False, f"PostgreSQL does not answer: {error}", "is it still starting?")
    return Finding(True, f"PostgreSQL {version} answers")

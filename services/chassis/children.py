"""A child process of ours: one log file, one lock, and an end no later than its parent's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from services.chassis import clock

LAUNCHER = Path(__file__).with_name("launch.py")
LOG_BYTES_MAX = 16 << 20
"""A longer log is moved to <name>.log.1 when its process starts again."""
LOOPBACK = "127.0.0.1"


class ChildFailed(RuntimeError):
    """A child did not start, or did not become ready. The message names its log."""


def pause(seconds: float) -> None:
    """Waits without an event loop: for the starts and stops of servers."""
    threading.Event().wait(seconds)


def wait_until(holds: Callable[[], bool], timeout_s: float, every_s: float = 0.02) -> bool:
    """True as soon as `holds()`; False when it has not within timeout_s."""
    end = clock.monotonic() + timeout_s
    while not holds():
        if clock.monotonic() >= end:
            return False
        pause(every_s)
    return True


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_given_out: set[int] = set()
FREE_PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections."""
PORTS_APART = 131
_reserved: dict[int, socket.socket] = {}


def reserve(port: int) -> bool:
    """Takes a port for the children of this process, between their lives too; False when another
    process of ours has it.

    By a socket with a name that the kernel forgets with the process (Linux; elsewhere nothing).
    Without it two stacks that start at once would both find a port free, and one would talk to the
    services of the other.
    """
    if port in _reserved or sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0muster-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved[port] = name
    return True


def free_port(wanted: int = 0, host: str = LOOPBACK) -> int:
    """`wanted` when nobody has it, else one that nobody has and we did not give before.

    Not one the system would give: those it also gives to connections, so that a service that comes
    back after a kill might find its port taken. Each process of ours begins elsewhere.
    """
    if wanted and port_is_free(wanted, host) and reserve(wanted):
        return wanted
    first = os.getpid() * PORTS_APART % len(FREE_PORTS)
    for place in range(len(FREE_PORTS)):
        port = FREE_PORTS[(first + place) % len(FREE_PORTS)]
        if port not in _given_out and port_is_free(port, host) and reserve(port):
            _given_out.add(port)
            return port
    raise ChildFailed(f"no port from {FREE_PORTS[0]} to {FREE_PORTS[-1]} is free")


Notice = Callable[[str], None]
"""Takes a line for the user."""


def quiet(_: str) -> None:
    """Nobody wants to hear."""


def port_or_another(wanted: int, name: str, notice: Notice) -> int:
    """`wanted`, or a free port and a notice when it is taken; 0 takes a free one in silence."""
    port = free_port(wanted)
    if wanted and port != wanted:
        notice(f"port {wanted} is taken: {name} listens on {port} instead")
    return port


@dataclass
class Child:
    """One process. start() again after an end is a restart with the same command.

    log: its output is appended here; None leaves it on ours.

    die_with: the signal it gets when this process ends, however that ends (Linux).
    stop_with: the signal that asks it to end.
    account: `self`, `namespace` or a uid, see services.chassis.launch.
    lock: a file only one such process may hold; it stays held while any of its descendants lives,
    so a second start over the same data is refused even after a kill -9.
    """

    name: str
    argv: Sequence[str]
    log: Path | None = None
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    die_with: signal.Signals = signal.SIGKILL
    stop_with: signal.Signals = signal.SIGTERM
    account: str = "self"
    lock: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Raises ChildFailed when the program or the lock cannot be had."""
        if self.is_alive():
            return
        if threading.current_thread() is not threading.main_thread():
            # The kernel counts the end of the starting thread as the end of the parent.
            raise RuntimeError(
                f"start {self.name} from the main thread: it would end with this one"
            )
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
        how = [str(os.getpid()), str(int(self.die_with)), self.account]
        with _opened(self.log) as output, _held(self.lock, self.name) as held:
            try:
                self.process = subprocess.Popen(
                    [*launcher, *how, *self.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT if output else None,
                    env=dict(self.env) if self.env is not None else None,
                    cwd=self.cwd,
                    start_new_session=True,
                    pass_fds=held,
                )
            except OSError as error:
                raise ChildFailed(f"{self.name} could not be started: {error}") from error

    @property
    def pid(self) -> int:
        """0 before the first start."""
        return self.process.pid if self.process else 0

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return self.process.poll() if self.process else None

    def listens(self, port: int) -> bool:
        """Whether this very process has the port, not another one that was there first."""
        import psutil

        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)

    def send(self, which: signal.Signals) -> None:
        """Signals the process if it still runs."""
        if self.process is not None and self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(which)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Asks it to end by stop_with; kills it when it has not within timeout_s."""
        self.send(signal.SIGCONT)
        self.send(self.stop_with)
        self.join(timeout_s)

    def join(self, timeout_s: float) -> None:
        """Waits for its end; kills it when it has not come within timeout_s."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill9(self) -> None:
        """Ends it with no chance to tidy up."""
        self.send(signal.SIGKILL)
        self.join(5.0)

    def pause(self) -> None:
        """Freezes it, as a machine that stops answering does; returns when it stands still."""
        import psutil

        if self.is_alive():
            self.send(signal.SIGSTOP)
            wait_until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED, 5.0)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, for error messages."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def failed(self, what: str) -> ChildFailed:
        """An error with what to look at."""
        where = f" Its log {self.log} ends:\n{self.last_words()}" if self.log else ""
        return ChildFailed(f"{self.name} {what}.{where}")


@contextlib.contextmanager
def _opened(log: Path | None) -> Iterator[IO[bytes] | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        yield output


@contextlib.contextmanager
def _held(lock: Path | None, name: str, timeout_s: float = 5.0) -> Iterator[tuple[int, ...]]:
    """File descriptors to hand to the child: the lock, taken, or nothing."""
    if lock is None:
        yield ()
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: _locked(descriptor), timeout_s):
            raise ChildFailed(
                f"{name} already runs over {lock.parent}: stop that one first, "
                "or choose another state folder"
            )
        yield (descriptor,)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(lock: Path) -> bool:
    """Whether a process, or a descendant of one, runs under this lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)

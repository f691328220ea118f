"""Watches, members, points and notices in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muster.alerts.v1 import facts_pb2, service_pb2
from services.alerts.adapters import wire
from services.alerts.domain.series import OpenPoints, first_start
from services.alerts.domain.watch import Point, State, Watch, decide_end, evolve, initial
from services.chassis import subjects
from services.chassis.database import Connection, Database, lock, lock_of
from services.chassis.errors import InvalidRequest, NotFound, Overloaded
from services.chassis.outbox import Draft, stage

SELECT = "select * from watch where tenant = $1 and not ended"
POINTS = """
insert into point (tenant, watch_id, from_us, to_us, value)
select $1, u.* from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) u
on conflict (tenant, watch_id, from_us) do update set value = excluded.value
"""
MEMBERS = """
insert into members (tenant, segment, partition, segment_id, members)
select $1, u.* from unnest($2::int[], $3::int[], $4::text[], $5::bigint[]) u
on conflict (tenant, segment, partition) do update
    set segment_id = excluded.segment_id, members = excluded.members
"""
MOVED = """
update watch w set next_us = u.next_us, state = u.state, sums = u.sums
from unnest($2::text[], $3::int[], $4::bigint[], $5::text[], $6::text[])
    as u (watch_id, version, next_us, state, sums)
where w.tenant = $1 and w.watch_id = u.watch_id and w.version = u.version
"""


@dataclass(slots=True)
class Kept:
    """A watch in force, with what it remembers. open: None until the follower takes it up."""

    watch: Watch
    message: service_pb2.Watch
    defined_us: int
    state: State
    open: OpenPoints | None
    changed: bool = False

    def begin(self, now_us: int) -> OpenPoints:
        """Its open points; the first whole point after `now_us` is the first to be judged."""
        if self.open is None:
            start = first_start(self.watch.step_us, max(now_us, self.defined_us))
            self.open = OpenPoints(self.watch.step_us, start)
            self.changed = True
        return self.open


Notice = tuple[Watch, facts_pb2.AlertNotice]


def kept_of(row: Any) -> Kept:
    message = service_pb2.Watch.FromString(row["body"])
    watch = wire.watch_of(message)
    points = None
    if row["next_us"] is not None:
        points = OpenPoints(watch.step_us, row["next_us"], wire.sums_of(row["sums"]))
    return Kept(watch, message, row["defined_us"], wire.state_of(row["state"]), points)


class PostgresWatches:
    """The watches of one tenant. Definitions and the follower take turns under one lock."""

    def __init__(self, database: Database, tenant: str, watches_max: int) -> None:
        self.database = database
        self.tenant = tenant
        self._watches_max = watches_max

    async def lock(self, connection: Connection) -> None:
        """Before anything else in a transaction that reads states to change them."""
        await lock(connection, [lock_of(f"alerts watches {self.tenant}")])

    # -- definitions -------------------------------------------------------------------------

    async def define(self, wanted: service_pb2.Watch, request_id: str) -> Kept:
        """Keeps a new version; a raised alert of the one before resolves. Idempotent."""
        watch = wire.watch_of(wanted)
        async with self.database.transaction() as connection:
            await self.lock(connection)
            repeated = await connection.fetchrow(
                "select * from watch where tenant = $1 and request_id = $2 and request_id <> ''",
                self.tenant,
                request_id,
            )
            if repeated is not None:
                return self._repeated(kept_of(repeated), wanted)
            await self._end(connection, watch.watch_id)
            await self._refuse_too_many(connection)
            version = await connection.fetchval(
                "select coalesce(max(version), 0) + 1 from watch"
                " where tenant = $1 and watch_id = $2",
                self.tenant,
                watch.watch_id,
            )
            message = service_pb2.Watch()
            message.CopyFrom(wanted)
            message.version = version
            row = await connection.fetchrow(
                "insert into watch"
                " (tenant, watch_id, version, body, request_id, defined_us, state, sums)"
                " values ($1, $2, $3, $4, $5, now_us(), $6, '[]') returning *",
                self.tenant,
                watch.watch_id,
                version,
                message.SerializeToString(deterministic=True),
                request_id,
                wire.state_text(initial()),
            )
            await connection.execute("update registry set revision = revision + 1")
        return kept_of(row)

    async def retire(self, watch_id: str) -> None:
        """Ends a watch; a raised alert resolves. Raises NotFound when there is none in force."""
        async with self.database.transaction() as connection:
            await self.lock(connection)
            if not await self._end(connection, watch_id):
                raise NotFound(f"no watch {watch_id!r} is in force")
            await connection.execute("update registry set revision = revision + 1")

    async def _end(self, connection: Connection, watch_id: str) -> bool:
        row = await connection.fetchrow(f"{SELECT} and watch_id = $2", self.tenant, watch_id)
        if row is None:
            return False
        kept = kept_of(row)
        at_us = await self.seen_us(connection)
        notices: list[Notice] = []
        for fact in decide_end(kept.watch, kept.state):
            kept.state = evolve(kept.state, fact)
            at_us = max(at_us, fact.point.to_us)
            notices.append((kept.watch, wire.resolved(self.tenant, kept.watch, fact, at_us)))
        await connection.execute(
            "update watch set ended = true, state = $3"
            " where tenant = $1 and watch_id = $2 and not ended",
            self.tenant,
            watch_id,
            wire.state_text(kept.state),
        )
        await self.say(connection, notices)
        return True

    def _repeated(self, kept: Kept, wanted: service_pb2.Watch) -> Kept:
        again = service_pb2.Watch()
        again.CopyFrom(wanted)
        again.version = kept.message.version
        if again != kept.message:
            raise InvalidRequest([("request_id", "was used for another watch: take a new one")])
        return kept

    async def _refuse_too_many(self, connection: Connection) -> None:
        count = await connection.fetchval(
            "select count(*) from watch where tenant = $1 and not ended", self.tenant
        )
        if count >= self._watches_max:
            raise Overloaded(
                f"{count} watches are in force, which is the most; retire one", retry_s=60.0
            )

    # -- the follower's side -----------------------------------------------------------------

    async def seen_us(self, connection: Connection) -> int:
        """The newest log time that was applied; 0 before the first."""
        query = "select coalesce(max(time_us), 0) from follower_position"
        return int(await connection.fetchval(query))

    async def revision(self, connection: Connection) -> int:
        return int(await connection.fetchval("select revision from registry"))

    async def in_force(self, connection: Connection) -> list[Kept]:
        return [kept_of(row) for row in await connection.fetch(SELECT, self.tenant)]

    async def members(self, connection: Connection) -> list[Any]:
        return list(await connection.fetch("select * from members where tenant = $1", self.tenant))

    async def keep_members(
        self, connection: Connection, rows: Sequence[tuple[int, int, str, int]]
    ) -> None:
        """rows: (segment number, partition, segment id, members)."""
        if rows:
            await connection.execute(MEMBERS, self.tenant, *map(list, zip(*rows, strict=True)))

    async def keep_points(
        self, connection: Connection, points: Sequence[tuple[str, Point]]
    ) -> None:
        if points:
            await connection.execute(
                POINTS,
                self.tenant,
                [watch_id for watch_id, _ in points],
                [point.from_us for _, point in points],
                [point.to_us for _, point in points],
                [point.value for _, point in points],
            )

    async def keep_moved(self, connection: Connection, moved: Sequence[Kept]) -> None:
        """States and open points of watches that changed."""
        if moved:
            opened = [kept.begin(0) for kept in moved]
            await connection.execute(
                MOVED,
                self.tenant,
                [kept.watch.watch_id for kept in moved],
                [kept.watch.version for kept in moved],
                [points.next_us for points in opened],
                [wire.state_text(kept.state) for kept in moved],
                [wire.sums_text(points.sums) for points in opened],
            )

    async def say(self, connection: Connection, notices: Sequence[Notice]) -> None:
        """Stages notices as facts and keeps them for ListAlerts."""
        if not notices:
            return
        drafts = [self._draft(watch, notice) for watch, notice in notices]
        numbers = await stage(connection, drafts)
        await connection.executemany(
            "insert into notice (tenant, number, watch_id, body) values ($1, $2, $3, $4)",
            [
                (self.tenant, number, watch.watch_id, wire.numbered(notice, number))
                for number, (watch, notice) in zip(numbers, notices, strict=True)
            ],
        )

    def _draft(self, watch: Watch, notice: facts_pb2.AlertNotice) -> Draft:
        is_raised = notice.HasField("raised")
        what = notice.raised if is_raised else notice.resolved
        moment = notice.raised.raise_time if is_raised else notice.resolved.resolve_time
        headers = {
            "ce-specversion": "1.0",
            "ce-id": f"{what.alert_id}-{'raised' if is_raised else 'resolved'}",
            "ce-type": "muster.alerts.v1.AlertNotice",
            "ce-source": f"/muster/alerts/{self.tenant}",
            "ce-time": moment.ToJsonString(),
            "content-type": "application/protobuf",
        }

        def write(number: int) -> bytes:
            return wire.numbered(notice, number)

        return Draft(subjects.alerts(self.tenant, watch.watch_id), write, headers)

    # -- answers -----------------------------------------------------------------------------

    async def page_of_watches(self, after: str, size: int) -> list[Kept]:
        rows = await self.database.fetch(
            f"{SELECT} and watch_id > $2 order by watch_id limit $3", self.tenant, after, size
        )
        return [kept_of(row) for row in rows]

    async def page_of_points(self, watch_id: str, before_us: int, size: int) -> list[Point]:
        rows = await self.database.fetch(
            "select from_us, to_us, value from point where tenant = $1 and watch_id = $2"
            " and from_us < $3 order by from_us desc limit $4",
            self.tenant,
            watch_id,
            before_us,
            size,
        )
        return [Point(row["from_us"], row["to_us"], row["value"]) for row in rows]

    async def page_of_notices(
        self, watch_id: str, before: int, size: int
    ) -> list[tuple[int, bytes]]:
        """watch_id: empty for those of all watches."""
        rows = await self.database.fetch(
            "select number, body from notice where tenant = $1 and number < $2"
            " and ($3 = '' or watch_id = $3) order by number desc limit $4",
            self.tenant,
            before,
            watch_id,
            size,
        )
        return [(row["number"], row["body"]) for row in rows]

    async def forget_points(self, kept_us: int) -> None:
        """Deletes points older than that behind the newest."""
        async with self.database.transaction() as connection:
            await connection.execute(
                "delete from point where tenant = $1 and to_us <"
                " (select max(to_us) from point where tenant = $1) - $2::bigint",
                self.tenant,
                kept_us,
            )

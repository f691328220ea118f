"""What alerts does by itself: adds up the facts of segments and judges points as they close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from google.protobuf.message import DecodeError

from services.alerts.adapters import columns, wire
from services.alerts.adapters.columns import Step
from services.alerts.adapters.store import Kept, Notice, PostgresWatches
from services.alerts.domain.series import MINUTE_US, log_time
from services.alerts.domain.watch import Point, Raised, Resolved, Series, decide, evolve
from services.chassis import subjects
from services.chassis.database import Connection, DatabaseGone
from services.chassis.errors import ExitCode, Overloaded, Stop
from services.chassis.follower import Place
from services.chassis.pull import Pulled

DAY_US = 86_400_000_000
Park = Callable[[Pulled, str, str], Awaitable[None]]
"""Keeps a message that cannot be applied: (message, code, detail)."""


class Members:
    """How many members each segment has in each partition, and which number a segment id has.

    Rows of transitions move the counts, the sizes of a step put them right.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], int] = {}
        self._ids: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._changed: set[tuple[int, int]] = set()

    def put(self, segment: int, partition: int, segment_id: str, members: int) -> None:
        self._counts[segment, partition] = members
        if segment_id:
            self._ids[segment] = segment_id
            self._numbers[segment_id] = segment

    def take(self, step: Step, partition: int) -> None:
        for segment, net in columns.net_by_segment(step):
            key = segment, partition
            self._counts[key] = self._counts.get(key, 0) + net
            self._changed.add(key)
        for segment, segment_id, members in step.sizes:
            self.put(segment, partition, segment_id, members)
            self._changed.add((segment, partition))

    def number(self, segment_id: str) -> int | None:
        """None before anybody was a member: then every series of the segment is 0."""
        return self._numbers.get(segment_id)

    def total(self, segment_id: str, partitions: int) -> int:
        number = self._numbers.get(segment_id)
        if number is None:
            return 0
        return sum(self._counts.get((number, partition), 0) for partition in range(partitions))

    def changed(self) -> list[tuple[int, int, str, int]]:
        """Rows to keep, since the last call."""
        keys, self._changed = sorted(self._changed), set()
        return [(s, p, self._ids.get(s, ""), self._counts[s, p]) for s, p in keys]


class Judge:
    """The follower of TRANSITIONS. What it keeps in memory is what the database holds: any failure
    ends the process, and the next life loads it.

    staged: called after a commit that put facts into the outbox.
    """

    def __init__(
        self,
        watches: PostgresWatches,
        partitions: int,
        points_closed_max: int,
        park: Park,
        staged: Callable[[], None],
    ) -> None:
        self._watches = watches
        self._partitions = partitions
        self._closed_max = points_closed_max
        self._park = park
        self._staged = staged
        self._members = Members()
        self._revision = -1
        self._seen_us = 0
        """Log time of what was applied before this batch: a new watch begins after it."""
        self._kept: list[Kept] = []
        prefix = subjects.transitions(watches.tenant, 0).removesuffix("0")
        self._partition_of = {f"{prefix}{place}": place for place in range(partitions)}
        self.points_closed = 0

    async def load(self) -> None:
        """What the database holds, before the first batch."""
        async with self._watches.database.transaction() as connection:
            for row in await self._watches.members(connection):
                self._members.put(
                    row["segment"], row["partition"], row["segment_id"], row["members"]
                )
            self._seen_us = await self._watches.seen_us(connection)

    async def on_transitions(
        self, connection: Connection, batch: Sequence[Pulled], place: Place
    ) -> Callable[[], None] | None:
        """A follower's apply: adds up a batch and judges what it closes."""
        await self._watches.lock(connection)
        revision = await self._watches.revision(connection)
        if revision != self._revision:
            self._kept = await self._watches.in_force(connection)
            self._revision = revision
        for kept in self._kept:
            kept.begin(self._seen_us)
        for message in batch:
            await self._add(message)
        times = (h.time_us for s, h in place.heads.items() if s in self._partition_of)
        notices = await self._close(connection, log_time(times, self._partitions))
        await self._watches.keep_members(connection, self._members.changed())
        moved = [kept for kept in self._kept if kept.changed]
        await self._watches.keep_moved(connection, moved)
        for kept in moved:
            kept.changed = False
        self._seen_us = place.time_us
        await self._watches.say(connection, notices)
        return self._staged if notices else None

    async def _add(self, message: Pulled) -> None:
        partition = self._partition_of.get(message.subject)
        if partition is None or message.checkpoint is None:
            raise Stop(
                ExitCode.DIVERGED,
                f"{message.subject} at {message.sequence}: not a partition of ours; "
                "is MUSTER_PARTITIONS right?",
            )
        if not message.body:
            return
        try:
            step = columns.decoded(message.body)
        except (DecodeError, ValueError) as error:
            detail = f"{error}: segments wrote something else; mend it"
            await self._park(message, "malformed_step", detail)
            return
        self._members.take(step, partition)
        for kept in self._kept:
            self._add_to(kept, step, message.checkpoint.time_us)

    def _add_to(self, kept: Kept, step: Step, step_time_us: int) -> None:
        watch = kept.watch
        number = self._members.number(watch.segment_id)
        if number is None:
            return
        points = kept.begin(self._seen_us)
        if watch.series is Series.ACTIVITY:
            rows = columns.rows_of(step.counted_segment, number)
            if rows.start == rows.stop:
                return
            at_us, amounts = self._activity(kept, step, rows, step_time_us)
        else:
            rows = columns.rows_of(step.segment, number)
            if rows.start == rows.stop:
                return
            at_us, amounts = step.at_us[rows], step.sign[rows]
            if watch.series is not Series.SIZE:
                wanted = 1 if watch.series is Series.ENTERED else -1
                mask = (amounts == wanted) & step.loud[rows]
                at_us, amounts = at_us[mask], np.abs(amounts[mask])
        for start_us, amount in columns.by_point(at_us, amounts, watch.step_us):
            kept.changed |= points.add(start_us, amount)

    def _activity(
        self, kept: Kept, step: Step, rows: slice, step_time_us: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(instants, counts). Activity is counted by the minute; for points shorter than that the
        log time of the step, which lies at most a moment later, says which one it falls into."""
        at_us, amounts = step.counted_minute_us[rows], step.counted[rows]
        wanted = kept.watch.event_type
        if wanted:
            types = [n for n, name in enumerate(step.counted_type) if name == wanted]
            mask = np.isin(step.counted_type_number[rows], types)
            at_us, amounts = at_us[mask], amounts[mask]
        if kept.watch.step_us % MINUTE_US:
            at_us = np.full(len(at_us), step_time_us - 1, np.int64)
        return at_us, amounts

    async def _close(self, connection: Connection, closed_us: int) -> list[Notice]:
        """Closes every point that ends by then, and judges it."""
        closed: list[tuple[str, Point]] = []
        notices: list[Notice] = []
        for kept in self._kept:
            members = self._members.total(kept.watch.segment_id, self._partitions)
            points = kept.begin(self._seen_us)
            for point in points.close(kept.watch, closed_us, members, self._closed_max):
                kept.changed = True
                closed.append((kept.watch.watch_id, point))
                notices += self._judge(kept, point)
        await self._watches.keep_points(connection, closed)
        self.points_closed += len(closed)
        return notices

    def _judge(self, kept: Kept, point: Point) -> list[Notice]:
        notices: list[Notice] = []
        tenant = self._watches.tenant
        for fact in decide(kept.watch, kept.state, point):
            kept.state = evolve(kept.state, fact)
            if isinstance(fact, Raised):
                notices.append((kept.watch, wire.raised(tenant, kept.watch, fact)))
            elif isinstance(fact, Resolved):
                notices.append((kept.watch, wire.resolved(tenant, kept.watch, fact)))
        return notices

    async def sweep(self, kept_days: int, every_s: float) -> None:
        """Deletes old points, for ever."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._watches.forget_points(kept_days * DAY_US)
            except Overloaded:
                continue
            except DatabaseGone as error:
                raise Stop(ExitCode.UNKNOWN, f"sweep: {error}") from error

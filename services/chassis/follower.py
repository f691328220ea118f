"""Follows a stream into PostgreSQL: effect and position in one transaction, each message once.

A follower holds its place by `update ... where position = <the one computed from>`: whoever finds
another position there is not alone and ends. Of several processes of a service one leads; the
others serve calls and wait. The leadership is only for liveness, the position is the fence.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import nats.errors
from nats.aio.client import Client

from muster.types.v1.common_pb2 import Parked
from services.chassis.checkpoint import Origin
from services.chassis.database import Connection, Database, DatabaseGone, lock_of
from services.chassis.errors import ExitCode, Overloaded, Stop
from services.chassis.parking import timestamp
from services.chassis.pull import Pull, Pulled

TAKE_BYTES_MAX = 4 << 20
TAKE_WAIT_S = 1.0
LEAD_CHECK_S = 1.0
PARK_TIMEOUT_S = 5.0

TABLE = """
create table follower_position (
    name text primary key,
    sequence bigint not null,
    time_us bigint not null,
    heads text not null
);
"""
"""For the first migration of a service that follows. heads: JSON, see Head."""


@dataclass(frozen=True, slots=True)
class Head:
    """What was taken of one fenced subject: dense number, log time and origin of the last step.

    time_us counts with the last part of a step; until then it is that of the step before.
    """

    number: int = 0
    time_us: int = 0
    intake: int = 0
    control: int = 0


@dataclass(slots=True)
class Place:
    """How far a follower is: stream sequence, newest broker's or log time, heads by subject."""

    sequence: int = 0
    time_us: int = 0
    heads: dict[str, Head] = field(default_factory=dict)

    def after(self, batch: Sequence[Pulled]) -> Place:
        """The place after a batch. Stop(GAP) when a dense number is missing."""
        place = Place(self.sequence, self.time_us, dict(self.heads))
        for message in batch:
            place.sequence = message.sequence
            checkpoint = message.checkpoint
            if checkpoint is None:
                place.time_us = max(place.time_us, message.time_us)
                continue
            head = place.heads.get(message.subject)
            if head is not None and checkpoint.number != head.number + 1:
                raise Stop(
                    ExitCode.GAP,
                    f"{message.subject} at {message.sequence}: expected dense number "
                    f"{head.number + 1}, got {checkpoint.number}; messages were lost",
                )
            head = head or Head()
            time_us = checkpoint.time_us if checkpoint.last else head.time_us
            origin = checkpoint.origin
            place.heads[message.subject] = Head(
                checkpoint.number, time_us, origin.intake, origin.control
            )
            place.time_us = max(place.time_us, time_us)
        return place

    def origin(self) -> Origin:
        """What every followed subject reflects: the least of their origins."""
        heads = self.heads.values()
        return Origin(
            min((h.intake for h in heads), default=0), min((h.control for h in heads), default=0)
        )

    def encoded(self) -> str:
        rows = {s: [h.number, h.time_us, h.intake, h.control] for s, h in self.heads.items()}
        return json.dumps(rows, separators=(",", ":"))

    @classmethod
    def decoded(cls, sequence: int, time_us: int, heads: str) -> Place:
        return cls(sequence, time_us, {s: Head(*row) for s, row in json.loads(heads).items()})


Apply = Callable[[Connection, Sequence[Pulled], Place], Awaitable[Callable[[], None] | None]]
"""Applies a batch inside the transaction, given the place after it; may stage facts.

What it returns is called once the transaction is committed: for state kept in memory.
"""


class Follower:
    """Pulls the subjects of a stream from its place and applies what comes, in order.

    messages_max: of one transaction. begin: called before the first batch, to load what the
    follower keeps in memory.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        stream: str,
        subjects: Sequence[str],
        apply: Apply,
        messages_max: int,
    ) -> None:
        self.name = name
        self.stream = stream
        self.subjects = tuple(subjects)
        self.place = Place()
        self.caught_up = False
        self.applied = 0
        self._database = database
        self._apply = apply
        self._messages_max = messages_max

    async def look(self) -> None:
        """Reads the committed place: what a process that does not lead answers with."""
        rows = await self._database.fetch(
            "select sequence, time_us, heads from follower_position where name = $1", self.name
        )
        if rows:
            self.place = Place.decoded(*rows[0])
        # Whoever waits is as good as who leads; once it leads, `run` knows better.
        self.caught_up = True

    async def run(self, client: Client) -> None:
        """Follows for ever. Ends only by failing: Stop."""
        await self.look()
        self.caught_up = False
        pull = Pull(client, self.stream, self.subjects, after=self.place.sequence)
        await pull.open()
        self.caught_up = pull.caught_up
        while True:
            taken = await pull.take(TAKE_BYTES_MAX, TAKE_WAIT_S)
            for begin in range(0, len(taken), self._messages_max):
                await self._commit(taken[begin : begin + self._messages_max])
            self.caught_up = pull.caught_up

    async def _commit(self, batch: Sequence[Pulled]) -> None:
        """Effect and position in one transaction; an unknown outcome ends the process."""
        reached = self.place.after(batch)
        try:
            async with self._database.transaction() as connection:
                committed = await self._apply(connection, batch, reached)
                await self._move(connection, reached)
        except (DatabaseGone, Overloaded) as error:
            raise Stop(ExitCode.UNKNOWN, f"follower {self.name}: {error}") from error
        if committed is not None:
            committed()
        self.place = reached
        self.applied += len(batch)

    async def _move(self, connection: Connection, reached: Place) -> None:
        done = await connection.execute(
            "insert into follower_position as p (name, sequence, time_us, heads)"
            " select $1, $2::bigint, $3::bigint, $4 where $5::bigint = 0"
            " on conflict (name) do nothing"
            if self.place.sequence == 0
            else "update follower_position set sequence = $2, time_us = $3, heads = $4"
            " where name = $1 and sequence = $5::bigint",
            self.name,
            reached.sequence,
            reached.time_us,
            reached.encoded(),
            self.place.sequence,
        )
        if done.split()[-1] != "1":
            raise Stop(
                ExitCode.FENCED,
                f"follower {self.name} does not stand at {self.place.sequence} any more: "
                "another process follows too",
            )


async def park(
    client: Client, subject: str, service: str, stream: str, message: Pulled, fault: tuple[str, str]
) -> None:
    """Keeps a message that cannot be applied, with its reason: (code, detail).

    Stored before the position moves past it, so after a crash it may stand there twice.
    """
    record = Parked(
        service=service,
        code=fault[0],
        detail=fault[1],
        source_stream=stream,
        source_sequence=message.sequence,
        source_subject=message.subject,
        body=message.body,
        park_time=timestamp(message.time_us),
    )
    try:
        reply = await client.request(subject, record.SerializeToString(), timeout=PARK_TIMEOUT_S)
    except (nats.errors.Error, OSError) as error:
        raise Stop(ExitCode.UNKNOWN, f"{subject}: {error!r}") from error
    if "seq" not in json.loads(reply.data):
        raise Stop(ExitCode.UNKNOWN, f"{subject}: {reply.data!r}")


@asynccontextmanager
async def leading(
    database: Database, name: str, meanwhile: Callable[[], Awaitable[None]]
) -> AsyncIterator[asyncio.Task[None]]:
    """Waits until this process leads, then yields a task that fails with Stop when that ends."""
    async with database.session() as session:
        leads = False
        while not leads:
            leads = await session.fetchval("select pg_try_advisory_lock($1)", lock_of(name))
            if not leads:
                await meanwhile()
                await asyncio.sleep(LEAD_CHECK_S / 4)

        async def hold() -> None:
            try:
                while True:
                    await session.execute("select 1")
                    await asyncio.sleep(LEAD_CHECK_S)
            except Exception as error:
                raise Stop(ExitCode.FENCED, f"no longer leads {name}: {error!r}") from error

        holding = asyncio.create_task(hold(), name=f"lead {name}")
        try:
            yield holding
        finally:
            holding.cancel()


async def lead(
    database: Database,
    name: str,
    tasks: Sequence[Callable[[], Awaitable[None]]],
    meanwhile: Callable[[], Awaitable[None]],
) -> None:
    """Once this process leads, runs the tasks; the first that fails ends them all.

    meanwhile: called every now and then while another process leads.
    """
    async with leading(database, name, meanwhile) as holding:
        running = [asyncio.ensure_future(task()) for task in tasks]
        try:
            done, _ = await asyncio.wait([holding, *running], return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()

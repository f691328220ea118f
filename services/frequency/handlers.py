"""What frequency does by itself: asks of strategies, on triggers and when a deferral is due; and
messages of profiles that become one person, or several again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from muster.frequency.v1.facts_pb2 import MessageContent, MessageDecided, Receipt
from muster.segments.v1.facts_pb2 import SegmentTriggered
from muster.types.v1.common_pb2 import DIRECTION_ENTERED
from services.chassis import subjects
from services.chassis.database import Connection, Database, DatabaseGone
from services.chassis.errors import ExitCode, Overloaded, Stop
from services.chassis.follower import Place
from services.chassis.outbox import Draft, stage
from services.chassis.pull import Pulled
from services.frequency.adapters import wire
from services.frequency.adapters.moves import Said, said_in
from services.frequency.adapters.persons import Persons
from services.frequency.adapters.store import Answer, PostgresAllowances, Wish
from services.frequency.domain.allowance import Decision

DUE = """
select * from deferred_ask where tenant = $1 and due_us <= now_us() order by due_us limit $2
"""
DEFER = """
insert into deferred_ask
    (tenant, message_key, profile_id, strategy_id, segment_id, message, due_us)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (tenant, message_key) do update set due_us = excluded.due_us
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that a trigger asks for."""

    trigger_id: str
    profile_id: str
    strategy_id: str
    segment_id: str
    message: MessageContent


Park = Callable[[Pulled, str, str], Awaitable[None]]
"""Keeps a message that cannot be applied: (message, code, detail)."""


class Moves:
    """What a follower of PROFILES does with what it takes."""

    def __init__(self, persons: Persons, park: Park) -> None:
        self._persons = persons
        self._park = park

    async def on_profiles(self, connection: Connection, batch: Sequence[Pulled], _: Place) -> None:
        """A follower's apply."""
        said: list[Said] = []
        for message in batch:
            try:
                said += said_in(message.body)
            except DecodeError as error:
                detail = f"{error}: identity wrote something else; mend it and rebuild"
                await self._park(message, "malformed_step", detail)
        await self._persons.apply(connection, said)


class Asks:
    """Turns triggers into decided messages, each once.

    staged: called after a commit that put facts into the outbox.
    """

    def __init__(
        self,
        database: Database,
        allowances: PostgresAllowances,
        park: Park,
        staged: Callable[[], None],
    ) -> None:
        self._database = database
        self._allowances = allowances
        self._strategies = allowances.strategies
        self._tenant = allowances.tenant
        self._park = park
        self._staged = staged
        self._triggers = subjects.triggers_of(self._tenant).removesuffix("*")

    async def on_triggers(
        self, connection: Connection, batch: Sequence[Pulled], _: Place
    ) -> Callable[[], None] | None:
        """A follower's apply: asks for what the strategies in force want on these triggers."""
        await self._strategies.refresh(connection)
        asked = [
            wanted
            for message in batch
            if message.subject.startswith(self._triggers)
            and (wanted := await self._wanted(message))
        ]
        answers = await self._decide(connection, asked)
        drafts = []
        for wanted, answer in zip(asked, answers, strict=True):
            if answer.repeated:
                continue
            drafts.append(self._draft(wanted, answer.receipt))
            if answer.due_us is not None:
                await self._defer(connection, wanted, answer.due_us)
        await stage(connection, drafts)
        return self._staged if drafts else None

    async def _wanted(self, message: Pulled) -> Asked | None:
        try:
            trigger = SegmentTriggered.FromString(message.body)
        except DecodeError as error:
            detail = f"{error}: the relay wrote something else; mend it and publish again"
            await self._park(message, "malformed_trigger", detail)
            return None
        entered = trigger.direction == DIRECTION_ENTERED
        found = self._strategies.ask_of(trigger.segment_id, entered, message.time_us)
        if found is None:
            return None
        strategy_id, ask = found
        return Asked(
            trigger.trigger_id,
            trigger.profile_id,
            strategy_id,
            trigger.segment_id,
            wire.content_of(ask),
        )

    async def _decide(self, connection: Connection, asked: Sequence[Asked]) -> list[Answer]:
        wishes = []
        for wanted in asked:
            kind = await self._strategies.kind(wire.kind_of(wanted.message))
            wishes.append(Wish(wanted.trigger_id, wanted.profile_id, wanted.strategy_id, kind))
        answers = await self._allowances.decide(connection, wishes)
        for answer in answers:
            if not isinstance(answer, Answer):
                raise Stop(ExitCode.DIVERGED, f"a trigger's id was used before: {answer}")
        return [answer for answer in answers if isinstance(answer, Answer)]

    def _draft(self, wanted: Asked, receipt: bytes) -> Draft:
        answered = Receipt.FromString(receipt)
        fact = MessageDecided(
            tenant=self._tenant,
            profile_id=wanted.profile_id,
            trigger_id=wanted.trigger_id,
            segment_id=wanted.segment_id,
            message=wanted.message,
            receipt=answered,
        )

        def write(number: int) -> bytes:
            fact.number = number
            return bytes(fact.SerializeToString())

        subject = subjects.messages(self._tenant, wanted.strategy_id)
        headers = cloud_event(
            f"{wanted.trigger_id}-{wire.time_us(answered.decision_time)}",
            "muster.frequency.v1.MessageDecided",
            f"/muster/frequency/{self._tenant}",
            answered.decision_time.ToJsonString(),
        )
        return Draft(subject, write, headers)

    async def _defer(self, connection: Connection, wanted: Asked, due_us: int) -> None:
        await connection.execute(
            DEFER,
            self._tenant,
            wanted.trigger_id,
            wanted.profile_id,
            wanted.strategy_id,
            wanted.segment_id,
            wanted.message.SerializeToString(),
            due_us,
        )

    async def on_due(self, poll_s: float, asks_max: int) -> None:
        """Judges deferred asks again when the database's clock says so, for ever."""
        try:
            while True:
                try:
                    rows = await self._database.fetch(DUE, self._tenant, asks_max)
                    if rows:
                        await self._judge_again(rows)
                except Overloaded:
                    rows = []
                if len(rows) < asks_max:
                    await asyncio.sleep(poll_s)
        except DatabaseGone as error:
            raise Stop(ExitCode.UNKNOWN, f"deferred asks: {error}") from error

    async def _judge_again(self, rows: Sequence[Any]) -> None:
        """The final answer becomes a fact; one deferred further only moves its due time."""
        asked = [
            Asked(
                row["message_key"],
                row["profile_id"],
                row["strategy_id"],
                row["segment_id"],
                MessageContent.FromString(row["message"]),
            )
            for row in rows
        ]
        drafts = []
        async with self._database.transaction() as connection:
            answers = await self._decide(connection, asked)
            for wanted, answer in zip(asked, answers, strict=True):
                if answer.decision is Decision.DEFERRED and answer.due_us is not None:
                    await self._defer(connection, wanted, answer.due_us)
                    continue
                gone = await connection.execute(
                    "delete from deferred_ask where tenant = $1 and message_key = $2",
                    self._tenant,
                    wanted.trigger_id,
                )
                if gone == "DELETE 1":
                    drafts.append(self._draft(wanted, answer.receipt))
            await stage(connection, drafts)
        if drafts:
            self._staged()


def cloud_event(event_id: str, kind: str, source: str, moment: str) -> dict[str, str]:
    """CloudEvents 1.0 attributes as NATS headers (binary mode)."""
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": kind,
        "ce-source": source,
        "ce-time": moment,
        "content-type": "application/protobuf",
    }

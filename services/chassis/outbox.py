"""Facts of a PostgreSQL service: numbered in the transaction of their effect, published once.

`stage` gives facts dense numbers and keeps them in the outbox. One publisher sends them in order as
atomic batches, fenced by the last sequence of all its subjects together (one wildcard filter), and
resumes after the number it finds in the stream's last message. So whatever dies when: nothing is
lost, nothing doubled, and two publishers cannot both go on.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client

from services.chassis import clock
from services.chassis.checkpoint import EXPECTED
from services.chassis.commits import WRONG_LAST_SEQUENCE
from services.chassis.database import Connection, Database, DatabaseGone
from services.chassis.errors import ExitCode, Stop

NUMBER = "Muster-Number"
FILTER = "Nats-Expected-Last-Subject-Sequence-Subject"
BATCH_MESSAGES_MAX = 500
POLL_S = 0.1
PUBLISH_TIMEOUT_S = 5.0
NO_MESSAGE = 10037

TABLE = """
create table outbox (
    number bigint primary key,
    subject text not null,
    headers text not null,
    body bytea not null
);
create table outbox_head (
    one boolean primary key default true check (one),
    staged bigint not null default 0,
    sent bigint not null default 0
);
insert into outbox_head default values;
"""
"""For the first migration of a service with an outbox."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A fact without its number: `write` makes the body once the number is known."""

    subject: str
    write: Callable[[int], bytes]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Staged:
    """A numbered fact, ready to be sent."""

    number: int
    subject: str
    headers: dict[str, str]
    body: bytes


async def stage(connection: Connection, drafts: Sequence[Draft]) -> list[int]:
    """Keeps facts in the transaction of their effect; returns their numbers, in order.

    The numbers of a transaction that fails are given to the next: the row lock on the counter
    makes the order of numbers that of commits. Take it after all advisory locks.
    """
    if not drafts:
        return []
    last = await connection.fetchval(
        "update outbox_head set staged = staged + $1 returning staged", len(drafts)
    )
    numbers = list(range(last - len(drafts) + 1, last + 1))
    await connection.execute(
        "insert into outbox"
        " select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])",
        numbers,
        [draft.subject for draft in drafts],
        [json.dumps(draft.headers) for draft in drafts],
        [draft.write(number) for number, draft in zip(numbers, drafts, strict=True)],
    )
    return numbers


class Publisher:
    """Sends what is staged. subjects: a filter that covers all subjects of this outbox, and no one
    else's, such as muster.alerts.v1.demo.>"""

    def __init__(self, database: Database, client: Client, stream: str, subjects: str) -> None:
        self.sent = 0
        self.staged = asyncio.Event()
        """Set it after a commit that staged facts, to have them sent at once."""
        self._database = database
        self._client = client
        self._stream = stream
        self._subjects = subjects
        self._sequence = 0

    async def run(self) -> None:
        """Publishes for ever. Ends only by failing: Stop; the next life reads the stream."""
        try:
            await self._resume()
            while True:
                rows = await self._next()
                if rows:
                    await self._publish(rows)
                else:
                    await self._wait()
        except DatabaseGone as error:
            raise Stop(ExitCode.UNKNOWN, f"outbox: {error}") from error

    async def _resume(self) -> None:
        """Takes number and sequence from the stream's last message: it, not we, knows them."""
        rows = await self._database.fetch("select staged, sent from outbox_head")
        staged, known = rows[0]["staged"], rows[0]["sent"]
        found = await last_message(self._client, self._stream, self._subjects)
        # Without a message all has expired; the fence then is "none yet".
        self.sent, self._sequence = (known, 0) if found is None else found
        if not known <= self.sent <= staged:
            raise Stop(
                ExitCode.LOST,
                f"{self._stream} ends with number {self.sent}, the database has staged {staged} "
                f"and knows {known} as sent: one of them was restored to another point in time",
            )

    async def _next(self) -> list[Staged]:
        rows = await self._database.fetch(
            "select number, subject, headers, body from outbox where number > $1"
            " order by number limit $2",
            self.sent,
            BATCH_MESSAGES_MAX,
        )
        facts = [
            Staged(r["number"], r["subject"], json.loads(r["headers"]), r["body"]) for r in rows
        ]
        for place, fact in enumerate(facts, self.sent + 1):
            if fact.number != place:
                raise Stop(ExitCode.GAP, f"outbox: expected number {place}, got {fact.number}")
        return facts

    async def _publish(self, facts: Sequence[Staged]) -> None:
        self._sequence = await publish(self._client, facts, self._subjects, self._sequence)
        self.sent = facts[-1].number
        async with self._database.transaction() as connection:
            await connection.execute("update outbox_head set sent = $1", self.sent)
            await connection.execute("delete from outbox where number <= $1", self.sent)

    async def _wait(self) -> None:
        self.staged.clear()
        try:
            async with asyncio.timeout(POLL_S):
                await self.staged.wait()
        except TimeoutError:
            # Another process of the service may have staged something.
            return


async def publish(client: Client, facts: Sequence[Staged], subjects: str, after: int) -> int:
    """Publishes facts in order, all or none, if the last sequence of `subjects` is `after`.

    Returns the last one's sequence. Stop(FENCED) when somebody else wrote first, Stop(UNKNOWN) when
    the outcome is not known.
    """
    batch_id = clock.new_id()
    answer: dict[str, object] = {}
    try:
        for place, fact in enumerate(facts, 1):
            headers = {**fact.headers, NUMBER: str(fact.number)}
            if place == 1:
                headers |= {EXPECTED: str(after), FILTER: subjects}
            if len(facts) > 1:
                headers |= {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(place)}
                if place == len(facts):
                    headers["Nats-Batch-Commit"] = "1"
            if place in (1, len(facts)):
                reply = await client.request(
                    fact.subject, fact.body, headers=headers, timeout=PUBLISH_TIMEOUT_S
                )
                answer = json.loads(reply.data or "{}")
                if "error" in answer:
                    break
            else:
                await client.publish(fact.subject, fact.body, headers=headers)
    except (nats.errors.Error, OSError) as error:
        raise Stop(ExitCode.UNKNOWN, f"{subjects}: {type(error).__name__} {error}") from error
    refused = answer.get("error")
    if isinstance(refused, dict):
        fenced = refused.get("err_code") in WRONG_LAST_SEQUENCE
        raise Stop(ExitCode.FENCED if fenced else ExitCode.UNKNOWN, f"{subjects}: {refused}")
    if answer.get("duplicate") or not isinstance(answer.get("seq"), int):
        raise Stop(ExitCode.UNKNOWN, f"{subjects}: not a plain acknowledgement: {answer}")
    return int(str(answer["seq"]))


async def last_message(client: Client, stream: str, subjects: str) -> tuple[int, int] | None:
    """(number, stream sequence) of the newest message under a filter; None when there is none."""
    try:
        reply = await client.request(
            f"$JS.API.STREAM.MSG.GET.{stream}",
            json.dumps({"last_by_subj": subjects}).encode(),
            timeout=PUBLISH_TIMEOUT_S,
        )
    except (nats.errors.Error, OSError) as error:
        raise Stop(ExitCode.UNKNOWN, f"{stream} cannot be read: {error!r}") from error
    answer = json.loads(reply.data)
    if refused := answer.get("error"):
        if refused.get("err_code") == NO_MESSAGE:
            return None
        raise Stop(ExitCode.UNKNOWN, f"{stream} cannot be read: {refused}")
    message = answer["message"]
    lines = base64.b64decode(message.get("hdrs", "")).decode().splitlines()
    numbers = [line.split(":", 1)[1] for line in lines if line.startswith(f"{NUMBER}:")]
    if not numbers:
        raise Stop(ExitCode.DIVERGED, f"{stream} at {message['seq']}: not one of our facts")
    return int(numbers[0]), int(message["seq"])

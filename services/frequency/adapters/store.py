"""Decides wishes in one transaction of PostgreSQL, which supplies lock, time and history.

Per transaction: learn whom the profiles stand for, lock those (sorted advisory locks), look (clock,
known keys and history, in statements after the lock, so that they see what its former holders
committed), judge, write. Two transactions never judge one person at once, and an answer exists only
with its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from asyncpg import UniqueViolationError

from services.chassis.database import Connection, Database, bigints
from services.chassis.errors import Conflict, InvalidRequest, NotFound, Refusal
from services.frequency.adapters import wire
from services.frequency.adapters.permits import History, permits, singles, unpacked
from services.frequency.adapters.persons import Persons, slot_of
from services.frequency.adapters.queries import GRANT, HISTORY, INSERT, LOOK, UPDATE
from services.frequency.adapters.strategies import Kept, Strategies
from services.frequency.adapters.tallies import tally
from services.frequency.domain.allowance import Decision, Stand, judge
from services.frequency.domain.reservation import Reservation, State, stands

TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """One message for one profile. kind: its number."""

    message_key: str
    profile_id: str
    strategy_id: str
    kind: int


@dataclass(frozen=True, slots=True)
class Answer:
    """receipt: wire bytes. repeated: the wish had been answered before, and so again."""

    decision: Decision
    receipt: bytes
    due_us: int | None = None
    repeated: bool = False


@dataclass(slots=True)
class Row:
    """One row to write, or one found."""

    wish: Wish
    kept: Kept
    state: State
    deadline_us: int
    stand_us: int
    receipt: bytes | None
    slot: int | None
    decided_us: int
    first_us: int
    person: str
    """Whom the profile stands for."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Wishes, by their places, of one kind under one strategy that got a place at once."""

    kept: Kept
    kind: int
    until_us: int
    places: list[int]


@dataclass(slots=True)
class Session:
    """The work of one transaction: what was seen, and what is to be written."""

    connection: Connection
    wishes: Sequence[Wish]
    kept: list[Kept]
    persons: list[str]
    slots: list[int]
    now_us: int = 0
    known: dict[str, Row] = field(default_factory=dict)
    history: History | None = None
    answers: dict[int, Answer | Refusal] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    inserts: list[Row] = field(default_factory=list)
    updates: list[Row] = field(default_factory=list)
    tallies: Counter[tuple[str, str, str]] = field(default_factory=Counter)


class KeyTaken(Conflict):
    """Another transaction has just used a message key of this one for another profile."""


class Moved(Conflict):
    """Somebody became another person while this transaction began: it begins again."""


class PostgresAllowances:
    """Reservations in PostgreSQL."""

    def __init__(self, database: Database, strategies: Strategies, persons: Persons) -> None:
        self.database = database
        self.strategies = strategies
        self.persons = persons
        self.tenant = strategies.tenant
        self.decided = 0

    async def reserve(self, wishes: Sequence[Wish]) -> list[Answer | Refusal]:
        """Decides wishes, in order, in a transaction of their own; at most LOCKS_MAX."""
        for attempt in range(TRIES_MAX):
            try:
                async with self.database.transaction() as connection:
                    return await self.decide(connection, wishes, again=True)
            except (KeyTaken, Moved):
                if attempt == TRIES_MAX - 1:
                    raise
        raise AssertionError("unreachable")

    async def decide(
        self, connection: Connection, wishes: Sequence[Wish], *, again: bool = False
    ) -> list[Answer | Refusal]:
        """Decides wishes, in order, in the caller's transaction, before any of its row locks.

        again: the caller repeats the transaction on Moved; it saves a look at who is whom for
        profiles that identity never said anything of.
        """
        if not wishes:
            return []
        session = await self._look(connection, wishes, again)
        slow = self._permit(session)
        if slow:
            await self._judge(session, slow)
        await self._write(session)
        self.decided += len(wishes)
        return [session.answers[place] for place in range(len(wishes))]

    async def _look(self, connection: Connection, wishes: Sequence[Wish], again: bool) -> Session:
        strategies = self.strategies
        persons = [wish.profile_id for wish in wishes]
        alone = again and self.persons.alone(persons)
        if not alone:
            persons = await self.persons.standing(connection, persons)
        slots = [
            slot_of(self.tenant, wish.strategy_id, person)
            for wish, person in zip(wishes, persons, strict=True)
        ]
        await self.persons.hold(connection, slots)
        await strategies.know(connection, (wish.kind for wish in wishes))
        while True:
            kept = [strategies.current(wish.strategy_id) for wish in wishes]
            memories = [version.strategy.memory_us for version in kept]
            keys = [wish.message_key for wish in wishes]
            row = await connection.fetchrow(
                LOOK, bigints(slots), bigints(memories), self.tenant, keys
            )
            if row["newest"] <= strategies.newest:
                break
            await strategies.refresh(connection)
        if (row["persons"] or 0) > self.persons.version:
            await self.persons.read(connection, row["persons"])
            if alone and not self.persons.alone(persons):
                raise Moved("somebody became another person at this moment; ask again")
        session = Session(connection, wishes, kept, persons, slots, row["now_us"])
        places, stood = unpacked(row["places"]), unpacked(row["stands"])
        session.history = History(places, stood, unpacked(row["kinds"])).standing(row["now_us"])
        if (
            session.history.kind.size
            and not set(np.unique(session.history.kind).tolist()) <= strategies.kind_of.keys()
        ):
            await strategies.read_kinds()
        if row["known"]:
            found = await connection.fetch(
                "select * from reservation where tenant = $1 and message_key = any($2::text[])",
                self.tenant,
                row["known"],
            )
            await strategies.know(
                connection, (r["kind"] for r in found), (r["strategy"] for r in found)
            )
            whose = await self.persons.standing(connection, [r["profile_id"] for r in found])
            session.known = {
                r["message_key"]: self._found(r, person)
                for r, person in zip(found, whose, strict=True)
            }
        return session

    def _found(self, row: Any, person: str) -> Row:
        kept = self.strategies.by_number[row["strategy"]]
        wish = Wish(row["message_key"], row["profile_id"], kept.strategy.strategy_id, row["kind"])
        return Row(
            wish,
            kept,
            State(row["state"]),
            row["deadline_us"],
            row["stand_us"],
            row["receipt"],
            row["slot"],
            row["decided_us"],
            row["first_us"],
            person,
        )

    def _permit(self, session: Session) -> list[int]:
        """Answers what everything permits; returns the places of the rest."""
        wishes, now_us = session.wishes, session.now_us
        assert session.history is not None
        groups: dict[tuple[int, int], list[int]] = {}
        slow: list[int] = []
        alone = zip(
            singles(session.slots), singles([wish.message_key for wish in wishes]), strict=True
        )
        for place, (one_slot, one_key) in enumerate(alone):
            wish = wishes[place]
            if one_slot and one_key and wish.message_key not in session.known:
                groups.setdefault((session.kept[place].number, wish.kind), []).append(place)
            else:
                slow.append(place)
        kinds = self.strategies.kind_of
        for (number, kind), places in groups.items():
            kept = self.strategies.by_number[number]
            free, until_us = permits(
                kept.strategy, kinds[kind], session.history, kinds, len(wishes), now_us
            )
            mask = free.tolist()
            slow += [place for place in places if not mask[place]]
            granted = [place for place in places if mask[place]]
            if granted:
                self._grant(session, Grant(kept, kind, until_us, granted))
        slow.sort()
        return slow

    def _grant(self, session: Session, grant: Grant) -> None:
        session.grants.append(grant)
        tail = wire.allowed_tail(grant.kept.strategy, grant.until_us, session.now_us)
        for place in grant.places:
            receipt = wire.allowed_receipt(session.wishes[place].message_key, tail)
            session.answers[place] = Answer(Decision.ALLOWED, receipt)
        strategy_id = grant.kept.strategy.strategy_id
        session.tallies[strategy_id, "asked", ""] += len(grant.places)
        session.tallies[strategy_id, "allowed", ""] += len(grant.places)

    async def _judge(self, session: Session, slow: Sequence[int]) -> None:
        """The exact judgement, one by one, in order."""
        histories = await self._histories(session, slow)
        for place in slow:
            wish, now_us = session.wishes[place], session.now_us
            before = session.known.get(wish.message_key)
            if before is not None and self._repeat(session, place, before):
                continue
            kept, kind = session.kept[place], self.strategies.kind_of[wish.kind]
            history = histories.setdefault(session.slots[place], [])
            deferred = before is not None and before.state is State.DEFERRED
            first_us = before.first_us if before is not None and deferred else now_us
            verdict = judge(kept.strategy, kind, history, now_us, first_us)
            row = Row(
                wish,
                kept,
                State.DENIED,
                0,
                verdict.next_us or 0,
                None,
                None,
                now_us,
                first_us,
                session.persons[place],
            )
            if verdict.decision is Decision.ALLOWED:
                assert verdict.deadline_us is not None
                row.state, row.slot = State.RESERVED, session.slots[place]
                row.deadline_us = row.stand_us = verdict.deadline_us
                tail = wire.allowed_tail(kept.strategy, row.deadline_us, now_us)
                receipt = wire.allowed_receipt(wish.message_key, tail)
                history.append(Stand(row.stand_us, kind, wish.message_key, pending=True))
            else:
                receipt = wire.receipt_of(wish.message_key, verdict, kept.strategy, now_us)
                row.receipt = receipt
                if verdict.decision is Decision.DEFERRED:
                    row.state = State.DEFERRED
            due_us = verdict.next_us if row.state is State.DEFERRED else None
            session.answers[place] = Answer(verdict.decision, receipt, due_us)
            self._note(session, row, before, verdict.binding.rule if verdict.binding else "")

    def _note(self, session: Session, row: Row, before: Row | None, rule: str) -> None:
        """Keeps a row for writing; a later wish of this batch with its key finds it."""
        session.known[row.wish.message_key] = row
        if before is None:
            session.inserts.append(row)
        elif before in session.inserts:
            session.inserts[session.inserts.index(before)] = row
        else:
            session.updates.append(row)
        strategy_id, what = row.wish.strategy_id, row.state.name.lower()
        if before is None:
            session.tallies[strategy_id, "asked", ""] += 1
        session.tallies[strategy_id, "allowed" if what == "reserved" else what, rule] += 1

    def _repeat(self, session: Session, place: int, before: Row) -> bool:
        """Answers a key that has been answered; False when it is to be judged anew."""
        wish = session.wishes[place]
        asked = session.persons[place], wish.strategy_id
        if (before.person, before.wish.strategy_id) != asked:
            session.answers[place] = InvalidRequest(
                [("message_key", f"{wish.message_key!r} was used for another profile or strategy")]
            )
            return True
        if not stands(Reservation(before.state, before.stand_us), session.now_us):
            return False
        due_us = before.stand_us if before.state is State.DEFERRED else None
        session.answers[place] = Answer(*_first_answer(before), due_us, repeated=True)
        return True

    async def _histories(self, session: Session, places: Iterable[int]) -> dict[int, list[Stand]]:
        """Everything that may count, with keys, of the persons at these places, by slot."""
        slots = {session.slots[place] for place in places}
        memory_us = max(session.kept[place].strategy.memory_us for place in places)
        rows = await session.connection.fetch(
            HISTORY, bigints(slots), session.now_us - memory_us, self.tenant
        )
        await self.strategies.know(
            session.connection, (r["kind"] for r in rows), (r["strategy"] for r in rows)
        )
        found: dict[int, list[Stand]] = {}
        for row in rows:
            stand = Stand(
                row["stand_us"],
                self.strategies.kind_of[row["kind"]],
                row["message_key"],
                pending=row["state"] == State.RESERVED,
            )
            found.setdefault(row["slot"], []).append(stand)
        return found

    async def _write(self, session: Session) -> None:
        connection, now_us = session.connection, session.now_us
        try:
            for grant in session.grants:
                wishes = [session.wishes[place] for place in grant.places]
                await connection.execute(
                    GRANT,
                    self.tenant,
                    grant.kept.number,
                    grant.kind,
                    now_us,
                    grant.until_us,
                    [wish.message_key for wish in wishes],
                    [wish.profile_id for wish in wishes],
                    bigints(session.slots[place] for place in grant.places),
                )
            if session.inserts:
                await connection.executemany(INSERT, map(self._values, session.inserts))
        except UniqueViolationError as error:
            raise KeyTaken("a message key was used at the same moment elsewhere") from error
        if session.updates:
            await connection.executemany(UPDATE, map(self._values, session.updates))
        await tally(connection, self.tenant, now_us, session.tallies)

    def _values(self, row: Row) -> tuple[object, ...]:
        return (
            self.tenant,
            row.wish.message_key,
            row.wish.profile_id,
            row.slot,
            row.kept.number,
            row.wish.kind,
            row.state,
            row.decided_us,
            row.first_us,
            row.deadline_us,
            row.stand_us,
            row.receipt,
        )


def _first_answer(row: Row) -> tuple[Decision, bytes]:
    """The receipt as first given."""
    if row.receipt is not None:
        denied = row.state is State.DENIED
        return (Decision.DENIED if denied else Decision.DEFERRED), row.receipt
    tail = wire.allowed_tail(row.kept.strategy, row.deadline_us, row.decided_us)
    return Decision.ALLOWED, wire.allowed_receipt(row.wish.message_key, tail)


def unknown_key(message_key: str) -> NotFound:
    return NotFound(f"no reservation {message_key!r}: reserve first, with ReserveMessages")

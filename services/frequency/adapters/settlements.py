"""Confirms and releases reservations, many in one transaction; the rules are the domain's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.chassis.database import Connection, Database, bigints, lock
from services.chassis.errors import Precondition, Refusal
from services.frequency.adapters.persons import key_of
from services.frequency.adapters.store import unknown_key
from services.frequency.adapters.tallies import tally
from services.frequency.domain import reservation
from services.frequency.domain.reservation import Reservation, State

ROWS = """
select r.message_key, r.slot, r.state, r.stand_us,
    (select strategy_id from strategy_version v where v.number = r.strategy) as strategy_id
from reservation r where r.tenant = $1 and r.message_key = any($2::text[])
"""
HELD_SLOTS = "select held_slots($1, $2, $3::text[]) as slot"
LAST = """
select now_us() as now_us, array(
    select coalesce((
        select max(greatest(decided_us, case when state = 2 then stand_us else 0 end))
        from reservation where slot = s.slot), 0)
    from unnest($1::text::bigint[]) with ordinality s (slot, place) order by place) as last
"""
SETTLE = """
update reservation r set state = u.state, stand_us = u.stand_us, slot = u.slot
from unnest($2::text[], $3::smallint[], $4::bigint[], $5::bigint[])
    as u (message_key, state, stand_us, slot)
where r.tenant = $1 and r.message_key = u.message_key
"""


@dataclass(frozen=True, slots=True)
class Settle:
    """A wish to confirm (or else release) one key."""

    message_key: str
    confirm: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """time_us: of the confirm. done: whether this call made the difference."""

    time_us: int
    done: bool


class PostgresSettlements:
    """Confirm is the permission to send; it comes before sending."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.database = database
        self.tenant = tenant
        self._key = key_of(tenant)

    async def settle(self, wishes: Sequence[Settle]) -> list[Settled | Refusal]:
        """Settles in order, in one transaction; at most LOCKS_MAX."""
        async with self.database.transaction() as connection:
            keys = list({wish.message_key for wish in wishes})
            slots = await connection.fetch(HELD_SLOTS, self._key, self.tenant, keys)
            await lock(connection, [row["slot"] for row in slots])
            # Again, after the lock: somebody may have settled them meanwhile.
            rows = {
                row["message_key"]: row for row in await connection.fetch(ROWS, self.tenant, keys)
            }
            locked = {row["slot"] for row in slots}
            now_us, last = await self._clock(connection, rows.values())
            found = {key: Reservation(State(r["state"]), r["stand_us"]) for key, r in rows.items()}
            answers: list[Settled | Refusal] = []
            before = dict(found)
            for wish in wishes:
                row = rows.get(wish.message_key)
                if row is None:
                    answers.append(unknown_key(wish.message_key))
                elif row["slot"] is not None and row["slot"] not in locked:
                    answers.append(
                        Precondition(
                            "it, or whose it is, was decided anew at this moment; ask again"
                        )
                    )
                else:
                    at_us = max(now_us, last.get(row["slot"], 0))
                    answers.append(_settle(found, wish, at_us))
            changed = [key for key in found if found[key] != before[key]]
            await self._write(connection, changed, found, rows, now_us)
        return answers

    async def _clock(self, connection: Connection, rows: Any) -> tuple[int, dict[int, int]]:
        """The database's clock, and per slot the last time anything happened there.

        A confirm is never earlier than that: were the clock set back, a reservation whose place
        went to another because it had expired could otherwise be confirmed after all.
        """
        slots = list({row["slot"] for row in rows if row["slot"] is not None})
        row = await connection.fetchrow(LAST, bigints(slots))
        return row["now_us"], dict(zip(slots, row["last"], strict=True))

    async def _write(
        self,
        connection: Connection,
        changed: Sequence[str],
        found: dict[str, Reservation],
        rows: dict[str, Any],
        now_us: int,
    ) -> None:
        if not changed:
            return
        held = [found[key].state is State.CONFIRMED for key in changed]
        await connection.execute(
            SETTLE,
            self.tenant,
            changed,
            [found[key].state for key in changed],
            [found[key].stand_us for key in changed],
            [rows[key]["slot"] if kept else None for key, kept in zip(changed, held, strict=True)],
        )
        counts = Counter(
            (rows[key]["strategy_id"], "confirmed" if kept else "released", "")
            for key, kept in zip(changed, held, strict=True)
        )
        await tally(connection, self.tenant, now_us, counts)


def _settle(found: dict[str, Reservation], wish: Settle, now_us: int) -> Settled | Refusal:
    """Decides one wish and moves the reservation in `found`."""
    held = found[wish.message_key]
    facts: Sequence[reservation.Fact]
    try:
        decide = reservation.decide_confirm if wish.confirm else reservation.decide_release
        facts = decide(held, now_us)
    except (reservation.Expired, reservation.NotReserved) as refused:
        return Precondition(f"{wish.message_key!r} may not be sent: {refused}")
    for fact in facts:
        held = reservation.evolve(held, fact)
    found[wish.message_key] = replace(held)
    return Settled(held.stand_us, bool(facts))

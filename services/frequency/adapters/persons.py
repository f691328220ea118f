"""Who is one person, as identity has said: messages of all ids of a person count together.

A decision resolves the ids it is asked about and holds that answer until it commits; what identity
says waits for decisions that run, and moves the messages of those who became another person to that
person's slot. So any decision sees all messages of a person, whichever id they were asked for by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from services.chassis.database import LOCKS_MAX, Connection, bigints, lock_of
from services.frequency.adapters.moves import Said

STANDING = "select held_ids($1, $2, $3::text[]) as person"
KINDRED = "select kindred_ids($1, $2::text[]) as profile_id"
STANDS = """
select w.profile_id, s.person from unnest($2::text[]) with ordinality as w (profile_id, place)
join (select person, row_number() over () as place
    from standing_ids($1, $2::text[]) as person) s using (place)
"""
SAY = """
with next as (
    insert into person_version as v (tenant, version) values ($1, 1)
    on conflict (tenant) do update set version = v.version + 1
    returning version
)
insert into person as p (tenant, profile_id, into_id, said, changed)
select $1, u.profile_id, nullif(u.into_id, ''), u.said, next.version
from next, unnest($2::text[], $3::text[], $4::text::bigint[]) as u (profile_id, into_id, said)
on conflict (tenant, profile_id) do update
    set into_id = excluded.into_id, said = excluded.said, changed = excluded.changed
    where excluded.said > p.said
"""
CHANGED = "select profile_id, changed from person where tenant = $1 and changed > $2"
"""Of rows that changed again only the last change: whoever is known once stays known."""
HOLD = """
select pg_advisory_xact_lock_shared($1), count(pg_advisory_xact_lock(k))
from unnest($2::text::bigint[]) k
"""
MOVE = """
update reservation r set slot = u.new_slot
from unnest($2::text::bigint[], $3::text[], $4::text::bigint[])
    as u (old_slot, profile_id, new_slot)
where r.slot = u.old_slot and r.profile_id = u.profile_id and r.tenant = $1
"""
STRATEGIES = "select distinct strategy_id from strategy_version where tenant = $1"

MET_MAX = 10_000
"""Ids kept in a set before they go into the array, 8 bytes each."""


class Persons:
    """The table `person` of one tenant, kept by what follows PROFILES."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.said = 0
        self.messages_moved = 0
        self.version = 0
        self._met: set[int] = set()
        self._sorted = np.zeros(0, np.uint64)
        self._key = key_of(tenant)

    async def standing(self, connection: Connection, ids: Sequence[str]) -> list[str]:
        """The ids that these stand for now; nobody becomes another person until the commit.

        Call it before any other lock of the transaction.
        """
        wanted = list(dict.fromkeys(ids))
        rows = await connection.fetch(STANDING, self._key, self.tenant, wanted)
        found = {one: row["person"] for one, row in zip(wanted, rows, strict=True)}
        return [found[one] for one in ids]

    def alone(self, ids: Sequence[str]) -> bool:
        """Whether identity never said anything of any of these, as far as this process has read."""
        if not self.version:
            return True
        marks = np.array([_mark(one) for one in ids], np.uint64)
        places = np.searchsorted(self._sorted, marks)
        places[places == len(self._sorted)] = 0
        old = len(self._sorted) and bool((self._sorted[places] == marks).any())
        return not old and self._met.isdisjoint(marks.tolist())

    async def hold(self, connection: Connection, slots: Sequence[int]) -> None:
        """Locks slots, and nobody becomes another person until the commit."""
        wanted = sorted(set(slots))
        if len(wanted) > LOCKS_MAX:
            raise ValueError(f"{len(wanted)} locks; at most {LOCKS_MAX} in one transaction")
        await connection.fetchrow(HOLD, self._key, bigints(wanted))

    async def read(self, connection: Connection, version: int) -> None:
        """Learns of whom something was said since; `alone` knows them then."""
        for row in await connection.fetch(CHANGED, self.tenant, self.version):
            self._met.add(_mark(row["profile_id"]))
        self.version = max(self.version, version)
        if len(self._met) > MET_MAX:
            met = np.array(sorted(self._met), np.uint64)
            self._sorted = np.union1d(self._sorted, met)
            self._met.clear()

    async def kindred(self, connection: Connection, ids: Sequence[str]) -> list[str]:
        """Every id whose messages count for one of these."""
        rows = await connection.fetch(KINDRED, self.tenant, list(ids))
        return [row["profile_id"] for row in rows]

    async def apply(self, connection: Connection, said: Sequence[Said]) -> None:
        """Takes what identity said, in the transaction that moves the follower's place."""
        newest: dict[str, Said] = {}
        for one in said:
            if one.profile_id not in newest or one.at > newest[one.profile_id].at:
                newest[one.profile_id] = one
        if not newest:
            return
        await connection.execute("select pg_advisory_xact_lock($1)", self._key)
        named = sorted({*newest, *(one.into for one in newest.values() if one.into)})
        concerned = set(await self.kindred(connection, named))
        before = await self._stands(connection, concerned)
        rows = list(newest.values())
        await connection.execute(
            SAY,
            self.tenant,
            [one.profile_id for one in rows],
            [one.into for one in rows],
            bigints(one.at for one in rows),
        )
        after = await self._stands(connection, concerned)
        moved = [(one, before[one], after[one]) for one in concerned if before[one] != after[one]]
        await self._move(connection, sorted(moved))
        self.said += len(rows)

    async def _stands(self, connection: Connection, ids: Iterable[str]) -> dict[str, str]:
        rows = await connection.fetch(STANDS, self.tenant, sorted(ids))
        return {row["profile_id"]: row["person"] for row in rows}

    async def _move(self, connection: Connection, moved: Sequence[tuple[str, str, str]]) -> None:
        """moved: (id, the person it stood for, the one it stands for now)."""
        if not moved:
            return
        old, ids, new = [], [], []
        for row in await connection.fetch(STRATEGIES, self.tenant):
            for profile_id, before, after in moved:
                old.append(slot_of(self.tenant, row["strategy_id"], before))
                ids.append(profile_id)
                new.append(slot_of(self.tenant, row["strategy_id"], after))
        done = await connection.execute(MOVE, self.tenant, bigints(old), ids, bigints(new))
        self.messages_moved += int(done.split()[-1])


def _mark(profile_id: str) -> int:
    """64 bits of an id; two that share them are looked up, which is all."""
    return int.from_bytes(blake2b(profile_id.encode(), digest_size=8).digest(), "little")


def key_of(tenant: str) -> int:
    """The advisory lock that decisions share and that what identity says takes alone."""
    return lock_of(f"frequency persons {tenant}")


def slot_of(tenant: str, strategy_id: str, person: str) -> int:
    """Lock and index of a person under a strategy. Two may share one."""
    name = f"{tenant}\0{strategy_id}\0{person}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True)

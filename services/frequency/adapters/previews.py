"""Which caps people have reached, and which they would if they were one: read, nothing changed."""

from __future__ import annotations

from collections.abc import Sequence

from muster.frequency.v1 import service_pb2
from services.chassis.database import Connection, Database, bigints
from services.chassis.parking import timestamp
from services.frequency.adapters.persons import Persons, slot_of
from services.frequency.adapters.strategies import Kept, Strategies
from services.frequency.domain.allowance import Stand
from services.frequency.domain.joined import Standing, standings
from services.frequency.domain.reservation import State

STANDS = """
select profile_id, stand_us, kind, message_key, state from reservation
where slot = any($1::text::bigint[]) and stand_us > $2 and tenant = $3
"""
BEHIND = """
with recursive behind as (
    select $2::text collate "C" as id
    union
    select p.profile_id from behind join person p on p.tenant = $1 and p.into_id = behind.id
)
select id from behind
"""
"""Ids that went into one, itself among them: what it would take along."""


class MergePreviews:
    """Reads what counts of each person in one transaction, at the database's clock."""

    def __init__(self, database: Database, strategies: Strategies, persons: Persons) -> None:
        self._database = database
        self._strategies = strategies
        self._persons = persons

    async def of(
        self, profile_ids: Sequence[str], strategy_id: str
    ) -> list[service_pb2.CapPreview]:
        """Of one strategy, or of all; NotFound. What the join would change comes first."""
        chosen = await self._chosen(strategy_id)
        caps = []
        async with self._database.transaction() as connection:
            people = await self._persons.standing(connection, profile_ids)
            now_us = await connection.fetchval("select now_us()")
            for kept in chosen:
                # Two ids may be one person's by now: it counts once.
                histories = {
                    one: [s for _, s in await self._stands(connection, kept, [one], now_us)]
                    for one in people
                }
                together = [stand for history in histories.values() for stand in history]
                caps += _caps(kept, [histories[one] for one in people], together, now_us)
        return sorted(caps, key=lambda cap: not cap.joined_reached or any(cap.reached))

    async def of_parts(
        self, profile_id: str, leaving: Sequence[str], strategy_id: str
    ) -> list[service_pb2.CapPreview]:
        """Of who stays, then of each that leaves: each would have what was asked for by its ids."""
        chosen = await self._chosen(strategy_id)
        caps = []
        async with self._database.transaction() as connection:
            (person,) = await self._persons.standing(connection, [profile_id])
            places: dict[str, int] = {}
            for place, one in enumerate(leaving, 1):
                rows = await connection.fetch(BEHIND, self._strategies.tenant, one)
                places |= {row["id"]: place for row in rows}
            now_us = await connection.fetchval("select now_us()")
            for kept in chosen:
                parts: list[list[Stand]] = [[] for _ in range(len(leaving) + 1)]
                for whose, stand in await self._stands(connection, kept, [person], now_us):
                    parts[places.get(whose, 0)].append(stand)
                together = [stand for part in parts for stand in part]
                caps += _caps(kept, parts, together, now_us)
        return caps

    async def _chosen(self, strategy_id: str) -> list[Kept]:
        await self._strategies.refresh()
        if strategy_id:
            return [self._strategies.current(strategy_id)]
        return self._strategies.all_current()

    async def _stands(
        self, connection: Connection, kept: Kept, people: Sequence[str], now_us: int
    ) -> list[tuple[str, Stand]]:
        """What may count of some people, each with the id it was asked for by."""
        strategy, tenant = kept.strategy, self._strategies.tenant
        slots = [slot_of(tenant, strategy.strategy_id, one) for one in people]
        since_us = now_us - strategy.memory_us
        rows = await connection.fetch(STANDS, bigints(slots), since_us, tenant)
        await self._strategies.know(connection, (row["kind"] for row in rows))
        return [
            (
                row["profile_id"],
                Stand(
                    row["stand_us"],
                    self._strategies.kind_of[row["kind"]],
                    row["message_key"],
                    row["state"] == State.RESERVED,
                ),
            )
            for row in rows
        ]


def _caps(
    kept: Kept, histories: Sequence[list[Stand]], together: Sequence[Stand], now_us: int
) -> list[service_pb2.CapPreview]:
    """Each by itself, and all of them as one."""
    each = [standings(kept.strategy, history, now_us) for history in histories]
    joined = standings(kept.strategy, together, now_us)
    return [_cap(kept, one, [alone[place] for alone in each]) for place, one in enumerate(joined)]


def _cap(kept: Kept, joined: Standing, each: Sequence[Standing]) -> service_pb2.CapPreview:
    cap = service_pb2.CapPreview(
        strategy_id=kept.strategy.strategy_id,
        strategy_version=kept.strategy.version,
        rule=joined.rule,
        max=joined.max,
        counted=[one.counted for one in each],
        joined_counted=joined.counted,
        reached=[one.reached for one in each],
        joined_reached=joined.reached,
    )
    if joined.free_us is not None:
        cap.joined_free_time.CopyFrom(timestamp(joined.free_us))
    return cap

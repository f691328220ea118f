"""Which caps people have reached, and which they would if they were one: read, nothing changed."""

from __future__ import annotations

from collections.abc import Sequence

from muster.frequency.v1 import service_pb2
from services.chassis.database import Connection, Database, bigints
from services.chassis.parking import timestamp
from services.frequency.adapters.persons import Persons, slot_of
from services.frequency.adapters.queries import HISTORY
from services.frequency.adapters.strategies import Kept, Strategies
from services.frequency.domain.allowance import Stand
from services.frequency.domain.joined import Standing, standings
from services.frequency.domain.reservation import State


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
        await self._strategies.refresh()
        if strategy_id:
            chosen = [self._strategies.current(strategy_id)]
        else:
            chosen = self._strategies.all_current()
        caps = []
        async with self._database.transaction() as connection:
            people = await self._persons.standing(connection, profile_ids)
            now_us = await connection.fetchval("select now_us()")
            for kept in chosen:
                caps += await self._caps(connection, kept, people, now_us)
        return sorted(caps, key=lambda cap: not cap.joined_reached or any(cap.reached))

    async def _caps(
        self, connection: Connection, kept: Kept, people: Sequence[str], now_us: int
    ) -> list[service_pb2.CapPreview]:
        strategy = kept.strategy
        slots = [slot_of(self._strategies.tenant, strategy.strategy_id, one) for one in people]
        rows = await connection.fetch(
            HISTORY,
            bigints(dict.fromkeys(slots)),
            now_us - strategy.memory_us,
            self._strategies.tenant,
        )
        await self._strategies.know(connection, (row["kind"] for row in rows))
        histories: dict[int, list[Stand]] = {slot: [] for slot in slots}
        for row in rows:
            kind, pending = self._strategies.kind_of[row["kind"]], row["state"] == State.RESERVED
            stand = Stand(row["stand_us"], kind, row["message_key"], pending)
            histories[row["slot"]].append(stand)
        each = [standings(strategy, histories[slot], now_us) for slot in slots]
        together = [stand for history in histories.values() for stand in history]
        joined = standings(strategy, together, now_us)
        return [
            _cap(kept, one, [alone[place] for alone in each]) for place, one in enumerate(joined)
        ]


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

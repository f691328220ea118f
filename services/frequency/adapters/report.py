"""What was asked and answered since an instant, and the sweeping of what is forgotten."""

from __future__ import annotations

import asyncio

from muster.frequency.v1 import service_pb2
from services.chassis.database import Database, DatabaseGone
from services.chassis.errors import ExitCode, Overloaded, Stop
from services.frequency.adapters.strategies import Strategies
from services.frequency.domain.strategy import TTL_US_MAX

DAY_US = 86_400_000_000
SWEEP_ROWS = 5_000

SUMS = """
select what, rule, sum(count)::bigint as count from tally
where tenant = $1 and strategy_id = $2 and at_us >= $3 group by what, rule
"""
FORGET = """
with clock as materialized (select now_us() as now_us)
delete from reservation where ctid = any(array(
    select r.ctid from reservation r, clock
    where r.tenant = $1 and r.decided_us < clock.now_us - $2::bigint
        and not exists (select 1 from deferred_ask d
            where d.tenant = r.tenant and d.message_key = r.message_key)
    limit $3))
"""
SUM_MINUTES = """
with gone as (
    delete from tally where tenant = $1 and at_us < now_us() - 120000000
        and at_us >= now_us() - $2::bigint
    returning *
)
insert into tally (tenant, strategy_id, at_us, what, rule, count)
select tenant, strategy_id, at_us / 60000000 * 60000000, what, rule, sum(count)
from gone group by 1, 2, 3, 4, 5
"""


class Report:
    """Sums of tallies; exact to the instant for two minutes, later to the minute."""

    def __init__(self, database: Database, strategies: Strategies) -> None:
        self._database = database
        self._strategies = strategies
        self._tenant = strategies.tenant

    async def since(self, strategy_id: str, from_us: int) -> service_pb2.GetFrequencyReportResponse:
        """Counts of messages asked for, and of decisions; by_rule: deferred and denied."""
        answer = service_pb2.GetFrequencyReportResponse()
        for row in await self._database.fetch(SUMS, self._tenant, strategy_id, from_us):
            what, rule, count = row["what"], row["rule"], row["count"]
            if what in ("asked", "allowed", "deferred", "denied", "confirmed"):
                setattr(answer, what, getattr(answer, what) + count)
            if what in ("deferred", "denied") and rule:
                answer.by_rule[rule] += count
        return answer

    async def sweep(self, memory_days_min: int, every_s: float) -> None:
        """Deletes what no window can count any more, and sums tallies, for ever."""
        while True:
            await asyncio.sleep(every_s)
            memory_us = max(memory_days_min * DAY_US, self._strategies.memory_us() + TTL_US_MAX)
            try:
                await self._forget(memory_us)
                async with self._database.transaction() as connection:
                    span_us = int(max(10 * every_s, 600) * 1_000_000)
                    await connection.execute(SUM_MINUTES, self._tenant, span_us)
            except Overloaded:
                continue
            except DatabaseGone as error:
                raise Stop(ExitCode.UNKNOWN, f"sweep: {error}") from error

    async def _forget(self, memory_us: int) -> None:
        deleted = SWEEP_ROWS
        while deleted == SWEEP_ROWS:
            async with self._database.transaction() as connection:
                done = await connection.execute(FORGET, self._tenant, memory_us, SWEEP_ROWS)
            deleted = int(done.split()[-1])

"""What the report is added up from: counts of decisions, written with them."""

from __future__ import annotations

from collections import Counter

from services.chassis.database import Connection
from services.frequency.adapters.queries import TALLY


async def tally(
    connection: Connection, tenant: str, now_us: int, counts: Counter[tuple[str, str, str]]
) -> None:
    """Adds to the report: (strategy, what, rule) -> how many."""
    if counts:
        keys = list(counts)
        await connection.execute(
            TALLY,
            tenant,
            now_us,
            [key[0] for key in keys],
            [key[1] for key in keys],
            [key[2] for key in keys],
            list(counts.values()),
        )

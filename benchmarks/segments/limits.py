"""How fast memory lets a question be answered: its columns, and only its rows, copied once."""

from __future__ import annotations

import numpy as np

from benchmarks.segments.workload import (
    APP,
    CATEGORY,
    CLICKED,
    DAY_US,
    HOUR_US,
    OPENED,
    ORDER,
    PRODUCT,
    Shop,
)
from services.chassis.clock import performance_us

TRIES = 7
BYTES_TIMED = 32 << 20
"""Small copies are repeated to this much, longer than the clock's grain."""


def bytes_used(shop: Shop, rows: int, now_us: int) -> dict[str, int]:
    """Bytes of the leanest columns of each rule: 4 a profile number or amount, 1 a small code."""
    kinds, occur = shop.type[:rows], shop.occur[:rows]

    def count(kind: int | None, last_us: int | None) -> int:
        taken = np.ones(rows, bool) if kind is None else kinds == kind
        if last_us is not None:
            taken &= occur > now_us - last_us
        return int(np.count_nonzero(taken))

    n = shop.profiles
    year, days = 365 * DAY_US, DAY_US
    return {
        "S1": n * 3,
        "S2": n * 2,
        "S3": count(ORDER, 90 * days) * 8 + n * 4,
        "S4": count(OPENED, 90 * days) * 4 + count(CATEGORY, None) * 6 + count(APP, None) * 5 + n,
        "S5": count(CLICKED, HOUR_US) * 5 + n,
        "S6": count(None, 30 * days) * 4 + count(OPENED, year) * 4 + n * 2,
        "S7": count(PRODUCT, 14 * days) * 8 + count(ORDER, 14 * days) * 8 + n,
        "S8": count(ORDER, year) * 12 + n * 3,
    }


def copy_ms(size: int) -> float:
    """Milliseconds to copy so many bytes, one core, the best of some tries."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    times = max(1, BYTES_TIMED // size)
    best = float("inf")
    for _ in range(TRIES):
        began = performance_us()
        for _ in range(times):
            np.copyto(target, source)
        best = min(best, (performance_us() - began) / 1e3 / times)
    return best

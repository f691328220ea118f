"""At least k of the last n periods, which end at the instant asked about, held the count.

Hot kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, Number
from services.segments.engine.pasts.past import Past

NEVER = np.iinfo(np.int64).max


@njit(cache=True, nogil=True)
def _next_turn(
    occur: Array, place: Array, counts: Array, at: int, length: int, count_min: int, wanted: int
) -> Number:
    """The first instant after `at` at which the answer is another; moves places and counts there.

    place[k]: rows, from the oldest, that are older than k periods; counts[k]: rows of period k.
    """
    periods = counts.size
    reached = 0
    for k in range(periods):
        if counts[k] >= count_min:
            reached += 1
    holds = reached >= wanted
    while True:
        # The next row to grow older than a whole number of periods.
        instant = np.int64(NEVER)
        for k in range(1, periods + 1):
            if place[k] < occur.size:
                instant = min(instant, occur[place[k]] + k * length)
        if instant == NEVER:
            return instant
        for k in range(1, periods + 1):
            while place[k] < occur.size and occur[place[k]] + k * length <= instant:
                place[k] += 1
                counts[k - 1] -= 1
                if counts[k - 1] == count_min - 1:
                    reached -= 1
                if k < periods:
                    counts[k] += 1
                    if counts[k] == count_min:
                        reached += 1
        if (reached >= wanted) != holds:
            return instant


def counts_of(leaf: rule.Regularly, past: Past, at: int) -> Array:
    """Events of each period, the last one first."""
    occur = past.taken(leaf.events, at).occur
    ages = (at - occur) // leaf.period_us
    return np.bincount(ages[ages < leaf.periods], minlength=leaf.periods)


def course(leaf: rule.Regularly, past: Past, at: int) -> Iterator[tuple[int, bool]]:
    """The answer at an instant, then every instant at which it turns if nothing more happens."""
    occur = past.taken(leaf.events, at).occur
    edges = at - np.arange(leaf.periods + 1) * leaf.period_us
    place = np.searchsorted(occur, edges, "right")
    place[0] = occur.size
    counts = place[:-1] - place[1:]
    holds = bool(np.count_nonzero(counts >= leaf.count_min) >= leaf.periods_min)
    yield at, holds
    while True:
        at = int(
            _next_turn(occur, place, counts, at, leaf.period_us, leaf.count_min, leaf.periods_min)
        )
        if at == NEVER:
            return
        holds = not holds
        yield at, holds

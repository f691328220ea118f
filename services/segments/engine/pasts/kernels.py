"""Past leaves of all profiles at once: the verdicts of `judge`, group by group. Hot kernels.

A verdict is kept as (stands, turns): stands: the last instant up to which an answer that is yes
now stays so (0: the answer is no, NEVER: for ever); turns: the next instant at which a no may
become a yes. Groups of one profile are joined by taking the greater and the lesser.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array

NEVER = np.iinfo(np.int64).max
NO_KEY = -(1 << 62)
"""The key of rows that have nothing in common with any."""


@njit(cache=True, nogil=True, inline="always")
def _take(stands: Array, turns: Array, owner: int, begin: int, until: int, now: int) -> None:
    """Joins one stretch [begin, until) to a profile's verdict."""
    if until <= begin or until <= now:
        return
    if begin <= now:
        stands[owner] = max(stands[owner], until)
    else:
        turns[owner] = min(turns[owner], begin)


@njit(cache=True, nogil=True)
def first(
    begin: Array, until: Array, owner: Array, start: Array, now: Array, stands: Array, turns: Array
) -> None:
    """The first row of each group."""
    for g in range(owner.size):
        i = start[g]
        _take(stands, turns, owner[g], begin[i], until[i], now[owner[g]])


@njit(cache=True, nogil=True)
def _group(owner: Array, key: Array, wanted: int, wanted_key: int, place: int) -> int:
    """The first group from `place` on that is not before (wanted, wanted_key)."""
    while place < owner.size and (
        owner[place] < wanted or (owner[place] == wanted and key[place] < wanted_key)
    ):
        place += 1
    return place


@njit(cache=True, nogil=True)
def not_followed(
    occur: Array, begin: Array, until: Array, owner: Array, key: Array, start: Array,
    by_occur: Array, by_owner: Array, by_key: Array, by_start: Array, within: int, now: Array,
    stands: Array, turns: Array,
) -> None:  # fmt: skip
    """Starts without a row of the `by` group in (start, start + within]."""
    other = 0
    for g in range(owner.size):
        other = _group(by_owner, by_key, owner[g], key[g], other)
        low = high = 0
        if (
            key[g] != NO_KEY
            and other < by_owner.size
            and by_owner[other] == owner[g]
            and by_key[other] == key[g]
        ):
            low, high = by_start[other], by_start[other + 1]
        j = low
        for i in range(start[g], start[g + 1]):
            while j < high and by_occur[j] <= occur[i]:
                j += 1
            if j < high and by_occur[j] <= occur[i] + within:
                continue
            _take(
                stands, turns, owner[g], max(begin[i], occur[i] + within), until[i], now[owner[g]]
            )


@njit(cache=True, nogil=True)
def sequence(
    occur: Array, begin: Array, until: Array, step: Array, steps: int, owner: Array, key: Array,
    start: Array, within: int, now: Array, stands: Array, turns: Array,
) -> None:  # fmt: skip
    """Rows of all steps together, by group and time: chains at growing times.

    best[s]: the row that begins the chain through step s that begins last, -1 for none.
    """
    best = np.empty(steps, np.int64)
    fresh = np.empty(steps, np.int64)
    for g in range(owner.size):
        if key[g] == NO_KEY:
            continue
        best[:] = -1
        i = start[g]
        while i < start[g + 1]:
            fresh[:] = -1
            j = i
            while j < start[g + 1] and occur[j] == occur[i]:
                s = step[j]
                head = j if s == 0 else best[s - 1]
                if head >= 0:
                    if s < steps - 1:
                        if fresh[s] < 0 or occur[head] >= occur[fresh[s]]:
                            fresh[s] = head
                    elif (
                        (within < 0 or occur[j] - occur[head] <= within)
                        and until[head] > begin[head]
                        and until[j] > begin[j]
                    ):
                        _take(stands, turns, owner[g], begin[j], until[head], now[owner[g]])
                j += 1
            for s in range(steps):
                if fresh[s] >= 0:
                    best[s] = fresh[s]
            i = j
    return


@njit(cache=True, nogil=True)
def regularly(
    occur: Array, owner: Array, start: Array, length: int, periods: int, count_min: int,
    wanted: int, now: Array, holds: Array, next_us: Array,
) -> None:  # fmt: skip
    """Counts of the last periods, and the next instant at which the answer is another."""
    place = np.empty(periods + 1, np.int64)
    counts = np.empty(periods, np.int64)
    for g in range(owner.size):
        low, high = start[g], start[g + 1]
        place[0] = high
        at = high
        for k in range(1, periods + 1):
            while at > low and occur[at - 1] > now[owner[g]] - k * length:
                at -= 1
            place[k] = at
        reached = 0
        for k in range(periods):
            counts[k] = place[k] - place[k + 1]
            if counts[k] >= count_min:
                reached += 1
        before = reached >= wanted
        holds[owner[g]] = before
        while True:
            instant = np.int64(NEVER)
            for k in range(1, periods + 1):
                if place[k] < high:
                    instant = min(instant, occur[place[k]] + k * length)
            if instant == NEVER:
                break
            for k in range(1, periods + 1):
                while place[k] < high and occur[place[k]] + k * length <= instant:
                    place[k] += 1
                    counts[k - 1] -= 1
                    if counts[k - 1] == count_min - 1:
                        reached -= 1
                    if k < periods:
                        counts[k] += 1
                        if counts[k] == count_min:
                            reached += 1
            if (reached >= wanted) != before:
                next_us[owner[g]] = instant
                break

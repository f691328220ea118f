"""How many events of each type the members of each segment had, by minute.

Hot kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, Number, trailing_zeros


class Activity(NamedTuple):
    """Counters of one minute by (place, type), and what was counted, a line for each that is not 0.

    rank, kind: the types of a stretch as dense numbers in their order, so that counters lie close
    together, and back. counts, touched: counters by place and, in the lowest bits, rank, and one
    bit for each that is not 0; held: how many are not. minute, place, type, total: the lines.
    """

    rank: Array
    kind: Array
    counts: Array
    touched: Array
    held: Array
    minute: Array
    place: Array
    type: Array
    total: Array


def cells_of(places: int, types: int) -> int:
    """Counters for so many places and types: types take whole bits."""
    return places << max(types - 1, 0).bit_length()


def new_activity(places: int, types: int, lines: int) -> Activity:
    """Counters for so many places and types, and room for so many lines."""
    cells = cells_of(places, types)
    return Activity(
        np.full(types, -1, np.int64), np.zeros(types, np.int64), np.zeros(cells, np.uint32),
        np.zeros((cells + 63) // 64, np.uint64), np.zeros(1, np.int64), np.zeros(lines, np.int64),
        np.zeros(lines, np.int32), np.zeros(lines, np.int32), np.zeros(lines, np.uint32),
    )  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def rank_types(a: Activity, types: Array, rows: Array, log: Array) -> Number:
    """Gives the types of some rows their dense numbers, in the order in which the log brought them;
    how many bits they take."""
    a.rank[:] = -1
    for j in range(rows.size):
        a.rank[types[rows[j]]] = 0
    ranks = np.int64(0)
    for i in range(log.size):
        kind = log[i]
        if a.rank[kind] == 0:
            a.rank[kind] = ranks
            a.kind[ranks] = kind
            ranks += 1
    shift = np.uint64(0)
    while np.int64(1) << np.int64(shift) < ranks:
        shift += np.uint64(1)
    return shift


@njit(cache=True, nogil=True, inline="always")
def take_event(a: Activity, mine: Array, rank: int, shift: int) -> None:
    """Counts an event for every segment its profile is in; mine: the words of its memberships."""
    held = np.int64(0)
    for w in range(mine.size):
        word = mine[w]
        base = np.uint64(w) << np.uint64(6)
        while word:
            key = (base | trailing_zeros(word)) << shift | np.uint64(rank)
            word &= word - np.uint64(1)
            before = a.counts[key]
            a.counts[key] = before + np.uint32(1)
            held += before == 0
            a.touched[key >> np.uint64(6)] |= np.uint64(1) << (key & np.uint64(63))
    a.held[0] += held


@njit(cache=True, nogil=True, inline="always")
def close_minute(a: Activity, n: int, minute: int, shift: int, places: int) -> Number:
    """Writes the lines of a minute, by place and type, from line n on; the line after them."""
    words = ((places << np.int64(shift)) + 63) >> 6 if a.held[0] else 0
    line = np.uint64(n)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    for w in range(words):
        word = a.touched[w]
        a.touched[w] = 0
        base = np.uint64(w) << np.uint64(6)
        while word:
            key = base | trailing_zeros(word)
            word &= word - np.uint64(1)
            a.minute[line] = minute
            a.place[line] = key >> shift
            a.type[line] = a.kind[key & mask]
            a.total[line] = a.counts[key]
            a.counts[key] = 0
            line += np.uint64(1)
    a.held[0] = 0
    return np.int64(line)

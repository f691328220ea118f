"""Rows of the log by event type, and how old a stretch of it is at most, so that a question looks
at no other rows. Grown when asked.

Four bytes an event, from the first question on; rebuilt, not kept in snapshots. Hot kernel.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
from numba import njit

from services.segments.engine.arrays import Array, grown

PIECE_ROWS = 1 << 18
BLOCK_ROWS = 1 << 13
"""Rows whose newest event time is kept as one number; a part of a piece."""


@njit(cache=True, nogil=True)
def _sorted_by_type(types: Array, first: int, last: int, start: Array, rows: Array) -> None:
    """Rows [first, last) in order of type, then as they stand; start: by type, one more than
    types, all 0."""
    for i in range(first, last):
        start[types[i] + 1] += 1
    for kind in range(1, start.size):
        start[kind] += start[kind - 1]
    place = start[:-1].copy()
    for i in range(first, last):
        kind = types[i]
        rows[place[kind]] = i
        place[kind] += 1


class LogIndex:
    """Which rows of the log are of which type."""

    def __init__(self) -> None:
        self.seen = 0
        self._rows: dict[int, Array] = {}
        self._counts: dict[int, int] = {}
        self._newest: list[int] = []
        """By block of rows that is full: the highest event time up to its end."""

    def grow(self, types: Array, occur: Array, rows: int, names: int) -> Iterator[None]:
        """Takes in the log's first `rows` rows; types below `names`. Rests between pieces."""
        while self.seen < rows:
            for block in range(len(self._newest), min(rows, self.seen + PIECE_ROWS) // BLOCK_ROWS):
                newest = int(occur[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].max())
                self._newest.append(max([newest, *self._newest[-1:]]))
            last = min(rows, self.seen + PIECE_ROWS)
            start = np.zeros(names + 1, np.int64)
            found = np.empty(last - self.seen, np.int32)
            _sorted_by_type(types, self.seen, last, start, found)
            for kind in np.flatnonzero(np.diff(start)).tolist():
                self._append(kind, found[start[kind] : start[kind + 1]])
            self.seen = last
            yield

    def _append(self, kind: int, rows: Array) -> None:
        known = self._counts.get(kind, 0)
        held = grown(self._rows.get(kind, np.zeros(0, np.int32)), known + rows.size)
        held[known : known + rows.size] = rows
        self._rows[kind], self._counts[kind] = held, known + rows.size

    def first(self, low: int) -> int:
        """A row before which every event is older than an instant."""
        return bisect_left(self._newest, low) * BLOCK_ROWS

    def of(self, kinds: Array, first: int, rows: int) -> Array:
        """Those of the log's rows [first, rows) that are of some types (numbers), in their
        order."""
        held = [self._rows[kind][: self._counts[kind]] for kind in kinds if kind in self._rows]
        ends = np.array((first, rows), np.int32)  # Of the lists' own type: nothing is copied.
        found = [one[slice(*np.searchsorted(one, ends))] for one in held]
        if not found:
            return np.zeros(0, np.int32)
        return found[0] if len(found) == 1 else np.sort(np.concatenate(found))

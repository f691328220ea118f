"""Rows of the log by event type, so that a question looks at no others. Grown when asked.

Four bytes an event, from the first question on; rebuilt, not kept in snapshots. Hot kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from services.segments.engine.arrays import Array, grown

PIECE_ROWS = 1 << 19


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

    def grow(self, types: Array, rows: int, names: int) -> Iterator[None]:
        """Takes in the log's first `rows` rows; types below `names`. Rests between pieces."""
        while self.seen < rows:
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

    def of(self, kinds: Array, rows: int) -> Array:
        """Those of the log's first `rows` rows that are of some types (numbers), in their order."""
        found = [self._rows[kind][: self._counts[kind]] for kind in kinds if kind in self._rows]
        if not found:
            return np.zeros(0, np.int32)
        every = found[0] if len(found) == 1 else np.sort(np.concatenate(found))
        return every[: np.searchsorted(every, rows)]

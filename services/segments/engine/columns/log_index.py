"""Rows of the log by event type in order of event time, so that a question reads no other rows.

The rows of a type lie in a few *runs*, each sorted by (event time, row) and never changed: whoever
reads one may rest and go on while others grow the index. A run that has become as large as half of
the one before it is merged with it, up to RUN_ROWS_MAX. Grown when asked; sixteen bytes an event
from the first question on, and nine more for each property that questions have looked at. Rebuilt,
not kept in snapshots. Hot kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.base.pieces import Work
from services.segments.engine.store.events import EventRows, ahead

PIECE_ROWS = 1 << 17
"""Rows of the log taken in between two places where steps may run."""
RUN_ROWS_MAX = 1 << 20
"""Longer runs are not merged any more."""
ELSEWHERE = 255
EXPONENT_MAX = 30


class Cells(NamedTuple):
    """A property of a run's rows. value: int64; form: uint8, 0 for a missing one, ELSEWHERE when
    the row has several elements, else kind | exponent << 3."""

    value: Array
    form: Array


@dataclass(frozen=True, slots=True)
class Run:
    """Some rows of a type by (event time, row). accepted_us, last: the highest time of acceptance
    and the highest row; cells: by number of the property, filled as they are asked for."""

    occur: Array
    slot: Array
    row: Array
    accepted_us: int
    last: int
    cells: dict[int, Cells] = field(default_factory=dict)


class Slice(NamedTuple):
    """Rows [first, end) of a run of a type."""

    kind: int
    run: Run
    first: int
    end: int


def no_cells(rows: int) -> Cells:
    """Room for the cells of so many rows."""
    return Cells(np.zeros(rows, np.int64), np.zeros(rows, np.uint8))


@njit(cache=True, nogil=True)
def read_cells(e: EventRows, rows: Array, key: int, value: Array, form: Array) -> None:
    """The cells of a property of some rows of the log, into arrays of zeros."""
    e = bare(e)
    for i in range(rows.size):
        ahead(e, rows, i, True)
        row = rows[i]
        start = e.prop_end[row - 1] if row > 0 else np.int64(0)
        for q in range(start, e.prop_end[row]):
            if e.key[q] != key:
                continue
            if form[i] != 0 or e.exponent[q] > EXPONENT_MAX:
                form[i] = ELSEWHERE
                break
            form[i] = e.kind[q] | e.exponent[q] << np.uint8(3)
            value[i] = e.value[q]


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


@njit(cache=True, nogil=True)
def _in_time(occur: Array, order: Array) -> Number:
    """Places that are in order already into the front of `order`, the others behind them; how many
    are in order."""
    newest = np.int64(-(1 << 62))
    n, late = 0, order.size
    for i in range(occur.size):
        if occur[i] >= newest:
            newest = occur[i]
            order[n] = i
            n += 1
        else:
            late -= 1
            order[late] = i
    return n


@njit(cache=True, nogil=True)
def merged(occur: Array, row: Array, first: Array, second: Array, order: Array) -> None:
    """Merges two lists of places, each sorted by (occur, row), into `order`."""
    occur, row = bare(occur), bare(row)
    i = j = 0
    for k in range(order.size):
        if j >= second.size:
            order[k] = first[i]
            i += 1
            continue
        if i >= first.size:
            order[k] = second[j]
            j += 1
            continue
        one, other = first[i], second[j]
        if occur[one] < occur[other] or (occur[one] == occur[other] and row[one] < row[other]):
            order[k] = one
            i += 1
        else:
            order[k] = other
            j += 1


def order_of(occur: Array, row: Array) -> Array:
    """Places by (occur, row) of rows in order of arrival, most of which are in order of time."""
    order = np.empty(occur.size, np.int64)
    n = int(_in_time(occur, order))
    if n == occur.size:
        return order
    late = order[n:][::-1]
    late = late[np.argsort(occur[late], kind="stable")]
    found = np.empty(occur.size, np.int64)
    merged(occur, row, order[:n], late, found)
    return found


def _made(e: EventRows, rows: Array, asked: Iterable[int]) -> Run:
    """A run of rows in order of arrival, with the properties that are asked for."""
    occur = e.occur[rows]
    order = order_of(occur, rows)
    taken = rows[order]
    run = Run(occur[order], e.slot[taken], taken, int(e.accept[rows].max()), int(rows[-1]))
    for key in asked:
        cells = no_cells(taken.size)
        read_cells(e, taken, key, *cells)
        run.cells[key] = cells
    return run


def _joined(one: Run, other: Run) -> Run:
    """Two runs as one; cells that only one of them has are asked for anew."""
    occur, row = np.concatenate((one.occur, other.occur)), np.concatenate((one.row, other.row))
    places = np.arange(occur.size)
    order = np.empty(occur.size, np.int64)
    merged(occur, row, places[: one.occur.size], places[one.occur.size :], order)
    slot = np.concatenate((one.slot, other.slot))[order]
    cells = {
        key: Cells(
            *(
                np.concatenate(pair)[order]
                for pair in zip(one.cells[key], other.cells[key], strict=True)
            )
        )
        for key in one.cells.keys() & other.cells.keys()
    }
    accepted_us, last = max(one.accepted_us, other.accepted_us), max(one.last, other.last)
    return Run(occur[order], slot, row[order], accepted_us, last, cells)


class LogIndex:
    """Which rows of the log are of which type, in order of time."""

    def __init__(self) -> None:
        self.seen = 0
        self.runs: dict[int, list[Run]] = {}
        self.asked: dict[int, set[int]] = {}
        """By type, the properties of which its runs have cells."""

    def grow(self, e: EventRows, rows: int, names: int) -> Work[None]:
        """Takes in the log's first `rows` rows; types below `names`. Rests between pieces."""
        while self.seen < rows:
            last = min(rows, self.seen + PIECE_ROWS)
            start = np.zeros(names + 1, np.int64)
            found = np.empty(last - self.seen, np.int32)
            _sorted_by_type(e.type, self.seen, last, start, found)
            for kind in np.flatnonzero(np.diff(start)).tolist():
                runs = self.runs.setdefault(kind, [])
                some = found[start[kind] : start[kind + 1]]
                runs.append(_made(e, some, self.asked.get(kind, ())))
                _tidy(runs)
            self.seen = last
            yield

    @property
    def nbytes(self) -> int:
        """Bytes of all runs and their cells."""
        return sum(
            run.occur.nbytes + run.slot.nbytes + run.row.nbytes
            + sum(column.nbytes for cells in run.cells.values() for column in cells)
            for runs in self.runs.values()
            for run in runs
        )  # fmt: skip

    def slices(self, kinds: Iterable[int], low: int, high: int) -> list[Slice]:
        """Where rows of some types with an event time within [low, high] lie."""
        found = []
        for kind in kinds:
            for run in self.runs.get(kind, ()):
                first = int(np.searchsorted(run.occur, low, "left"))
                end = int(np.searchsorted(run.occur, high, "right"))
                if first < end:
                    found.append(Slice(kind, run, first, end))
        return found


def _tidy(runs: list[Run]) -> None:
    while len(runs) > 1:
        one, other = runs[-2:]
        if one.row.size > 2 * other.row.size or one.row.size + other.row.size > RUN_ROWS_MAX:
            return
        runs[-2:] = [_joined(one, other)]

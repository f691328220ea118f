"""Which rows a selection takes: slices of the runs of its types, and marks of those that pass.

A filter is judged column by column: each test over the cells of one property, then the groups over
the marks that the tests left. One that looks at the elements of lists is judged row by row.
"""

from __future__ import annotations

from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import Work, finished
from services.segments.engine.columns.log_index import (
    Cells,
    Run,
    Slice,
    merged,
    no_cells,
    read_cells,
)
from services.segments.engine.columns.scans import pass_cells, pass_rows
from services.segments.engine.store.filters import AT_LEAST, TEST

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

PIECE_ROWS = 1 << 17
"""Rows judged between two places where steps may run; a third of that where rows are read."""
ALL = np.zeros(0, np.uint8)
"""The marks of a stretch that is taken whole."""
NO_PLACE = np.zeros(0, np.int64)


class Chosen(NamedTuple):
    """Rows [first, end) of a run of a type; mask: uint8 for each, or ALL."""

    kind: int
    run: Run
    first: int
    end: int
    mask: Array

    @property
    def stretch(self) -> Slice:
        """Where it lies."""
        return Slice(self.kind, self.run, self.first, self.end)

    def column(self, of: Array) -> Array:
        """A column of the run for the stretch."""
        return of[self.first : self.end]

    def taken(self, of: Array) -> Array:
        """A column of the run for the rows that are marked."""
        found = of[self.first : self.end]
        return found[self.mask.view(bool)] if self.mask.size else found

    def within(self, low: int, high: int) -> Chosen:
        """The part with event times within [low, high]."""
        occur = self.column(self.run.occur)
        if not occur.size or (occur[0] >= low and occur[-1] <= high):
            return self
        first, end = np.searchsorted(occur, low, "left"), np.searchsorted(occur, high, "right")
        end = max(first, end)
        start = self.first
        mask = self.mask[first:end] if self.mask.size else self.mask
        return Chosen(self.kind, self.run, start + int(first), start + int(end), mask)


def choose(
    part: Partition, selector: rule.Selector, low: int, at: int, rows: int,
    answers: dict[int, Array], piece: int = PIECE_ROWS,
) -> Work[list[Chosen]]:  # fmt: skip
    """Where those of the log's first `rows` rows lie that are in force at an instant, not older
    than `low`, and taken by a selection.

    answers: by test, kept for the next call. piece: as PIECE_ROWS.
    """
    index = part.streams.index
    for _ in index.grow(part.events.view, rows, len(part.names.names)):
        yield
    number = -1 if selector.where is None else part.filters.number_of(selector.where)
    program = None if number < 0 else part.filters.over_cells(number)
    length = piece if number < 0 or program is not None else max(piece // 3, 1)
    found = []
    kinds = np.flatnonzero(part.wanted_types(selector)).tolist()
    for one in index.slices(kinds, low, at):
        for _, key, _ in [step for step in program or () if step[0] == TEST]:
            yield from cells_of(part, one, key, piece)
        for first in range(one.first, one.end, length):
            stretch = one._replace(first=first, end=min(first + length, one.end))
            mask = _in_force(part, stretch, at, rows)
            if number >= 0:
                passing = _passing(part, stretch, number, program, answers)
                mask = passing & mask if mask.size else passing
            found.append(Chosen(*stretch, mask))
            yield
    return found


def cells_of(
    part: Partition, one: Slice | Chosen, key: int, piece: int = PIECE_ROWS
) -> Work[Cells]:
    """The cells of a property of a run, read when nobody has asked for them before."""
    run = one.run
    part.streams.index.asked.setdefault(one.kind, set()).add(key)
    if key not in run.cells:
        cells, length = no_cells(run.row.size), max(piece // 3, 1)
        for first in range(0, run.row.size, length):
            some = slice(first, first + length)
            read_cells(part.events.view, run.row[some], key, *(column[some] for column in cells))
            yield
        run.cells[key] = cells
    return run.cells[key]


def filtered(part: Partition, chosen: list[Chosen], where: rule.Filter) -> list[Chosen]:
    """Those of some rows that pass one more filter, without a rest."""
    number = part.filters.number_of(where)
    program = part.filters.over_cells(number)
    answers: dict[int, Array] = {}
    found = []
    for one in chosen:
        for _, key, _ in [step for step in program or () if step[0] == TEST]:
            finished(cells_of(part, one, key))
        mask = _passing(part, one.stretch, number, program, answers)
        found.append(one._replace(mask=mask & one.mask if one.mask.size else mask))
    return found


def _in_force(part: Partition, one: Slice, at: int, rows: int) -> Array:
    """Marks of the rows that are known: among the first `rows` and accepted by an instant."""
    if part.events.as_accepted and one.run.accepted_us <= at and one.run.last < rows:
        return ALL
    row = one.run.row[one.first : one.end]
    known = row < rows
    known[known] = part.events.view.accept[row[known]] <= at
    return known.view(np.uint8)


def _passing(
    part: Partition, one: Slice, number: int, program: list[tuple[int, int, int]] | None,
    answers: dict[int, Array],
) -> Array:  # fmt: skip
    """Marks of the rows of a stretch that pass a filter."""
    rows = one.run.row[one.first : one.end]
    if program is None:
        mask = np.empty(rows.size, np.uint8)
        asked = False
        while not asked:
            view, tests = part.events.view, part.tests.view()
            pass_rows(view, tests, part.filters.view(), rows, number, mask)
            asked = part.tests.answered()
        return mask
    stack: list[Array] = []
    for operation, first, second in program:
        if operation == TEST:
            stack.append(_satisfying(part, one, rows, first, second, answers))
        elif operation == AT_LEAST:
            reached = np.add.reduce(stack[-second:]) >= first
            stack[-second:] = [reached.view(np.uint8)]
        else:
            stack[-1] = stack[-1] ^ 1
    return stack[0]


def _satisfying(
    part: Partition, one: Slice, rows: Array, key: int, test: int, answers: dict[int, Array]
) -> Array:
    value, form = (column[one.first : one.end] for column in one.run.cells[key])
    mask, asked = np.empty(rows.size, np.uint8), False
    while not asked:
        known = answers.get(test, ALL)
        if known.size < part.texts.count:
            known = answers[test] = np.zeros(part.texts.count, np.uint8)
        pass_cells(
            part.events.view, part.tests.view(), value, form, rows, key, test, known, mask
        )  # fmt: skip
        asked = part.tests.answered()
        if not asked:
            del answers[test]
    return mask


def row_and_slot(chosen: list[Chosen]) -> tuple[Array, Array]:
    """(rows of what was chosen, their slots), in no order."""
    if not chosen:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    return (
        np.concatenate([one.taken(one.run.row) for one in chosen]),
        np.concatenate([one.taken(one.run.slot) for one in chosen]),
    )


def in_time(chosen: list[Chosen]) -> tuple[Array, Array, Array]:
    """(rows, event times, slots) of what was chosen, by (event time, row)."""
    if not chosen:
        return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32)
    row, occur, slot = (
        np.concatenate([one.taken(getattr(one.run, name)) for one in chosen])
        for name in ("row", "occur", "slot")
    )
    falls = (occur[1:] < occur[:-1]) | ((occur[1:] == occur[:-1]) & (row[1:] < row[:-1]))
    if not falls.any():
        return row, occur, slot
    ends = [0, *(np.flatnonzero(falls) + 1).tolist(), row.size]
    sorted_places = [np.arange(first, end) for first, end in pairwise(ends)]
    while len(sorted_places) > 1:
        joined = []
        for one, other in zip_longest(sorted_places[::2], sorted_places[1::2], fillvalue=NO_PLACE):
            order = np.empty(one.size + other.size, np.int64)
            merged(occur, row, one, other, order)
            joined.append(order)
        sorted_places = joined
    order = sorted_places[0]
    return row[order], occur[order], slot[order]

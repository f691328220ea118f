"""Figures of everybody, added up from the rows of runs, and tests of a column. Hot kernels."""

from __future__ import annotations

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, bare, prefetch
from services.segments.engine.columns.log_index import ELSEWHERE
from services.segments.engine.live.cursors import AVERAGE, COUNT, SUM_MAX
from services.segments.engine.store.events import EventRows, ahead
from services.segments.engine.store.filters import ANY_ITEM, Filters, any_accepted, meets
from services.segments.engine.store.predicates import Predicates, accepts

UNASKED, REFUSED, ACCEPTED = 0, 1, 2
"""What is known of a text, by its number, in the answers of one test."""
COUNT_SMALL, COUNT_MAX = 255, (1 << 31) - 1
"""What a count of one byte, and one of four, goes up to."""
SOON = 24
"""Rows between asking for a profile's figure and needing it."""


@njit(cache=True, nogil=True)
def pass_rows(
    e: EventRows, p: Predicates, f: Filters, rows: Array, number: int, mask: Array
) -> None:
    """Which rows of the log pass a filter, into `mask` (uint8)."""
    e, p = bare(e), bare(p)
    for i in range(rows.size):
        ahead(e, rows, i, True)
        mask[i] = meets(e, p, f, number, rows[i])


@njit(cache=True, nogil=True)
def pass_cells(
    e: EventRows, p: Predicates, value: Array, form: Array, rows: Array, key: int, test: int,
    answers: Array, mask: Array,
) -> None:  # fmt: skip
    """Which rows have an element of a property that satisfies a test, into `mask` (uint8).

    value, form, rows: as of a run. answers: by text, UNASKED at first.
    """
    e, p = bare(e), bare(p)
    for i in range(rows.size):
        known = form[i]
        if known == 1:
            text = value[i]
            answer = answers[text]
            if answer == UNASKED:
                answer = ACCEPTED if accepts(p, test, 1, 0, text) else REFUSED
                answers[text] = answer
            mask[i] = answer == ACCEPTED
        elif known == 0:
            mask[i] = 0
        elif known == ELSEWHERE:
            row = rows[i]
            start = e.prop_end[row - 1] if row > 0 else 0
            mask[i] = any_accepted(e, p, start, e.prop_end[row], key, test, ANY_ITEM)
        else:
            mask[i] = accepts(p, test, known & 7, known >> 3, value[i])


@njit(cache=True, nogil=True)
def count_marked(slot: Array, mask: Array, slot_row: Array, most: int, counts: Array) -> None:
    """Counts rows of a run by profile, or by slot when `slot_row` is empty, up to `most`.

    mask: uint8 by row, or empty for all.
    """
    for i in range(slot.size):
        if mask.size > 0 and mask[i] == 0:
            continue
        owner = slot[i]
        if slot_row.size > 0:
            owner = slot_row[owner]
            if owner < 0:
                continue
        count = counts[owner]
        if count != most:
            counts[owner] = count + 1


@njit(cache=True, nogil=True)
def fold_counts(by_slot: Array, slot_row: Array, most: int, counts: Array) -> None:
    """Counts by slot as counts by profile."""
    for slot in range(by_slot.size):
        found = by_slot[slot]
        if found == 0 or slot_row[slot] < 0:
            continue
        owner = slot_row[slot]
        counts[owner] = min(most, int(counts[owner]) + int(found))


@njit(cache=True, nogil=True)
def add_run(
    slot: Array, amounts: Array, elements: Array, slot_row: Array, kind: int, counts: Array,
    sums: Array, exact: Array,
) -> None:  # fmt: skip
    """Adds a part of a stream's run to figures by profile. amounts, elements: its measures where
    the kind needs them."""
    for i in range(slot.size):
        soon = max(slot_row[slot[min(i + SOON, slot.size - 1)]], 0)
        if kind == COUNT:
            prefetch(counts, soon)
        else:
            prefetch(sums, soon)
        owner = slot_row[slot[i]]
        if owner < 0:
            continue
        if kind == COUNT:
            counts[owner] += 1
            continue
        sums[owner] += amounts[i]
        if abs(sums[owner]) > SUM_MAX:
            exact[owner] = 1
            sums[owner] = 0
        if kind == AVERAGE:
            counts[owner] += elements[i]


@njit(cache=True, nogil=True)
def with_kinds(slot_kind: Array, slot_row: Array, wanted: Array, found: Array) -> None:
    """Marks profiles that have an identifier of a kind that is wanted.

    slot_row: empty when every slot is that of its own row. wanted: uint8 by name, and a last one,
    0, for slots without an identifier.
    """
    if slot_row.size == 0:
        for slot in range(slot_kind.size):
            found[slot] |= wanted[slot_kind[slot]] != 0
        return
    for slot in range(slot_kind.size):
        if wanted[slot_kind[slot]] and slot_row[slot] >= 0:
            found[slot_row[slot]] = True


@njit(cache=True, nogil=True)
def keep_between(words: Array, sums: Array, low: int, high: int, found: Array) -> None:
    """Takes profiles away whose sum does not lie within [low, high).

    found: bool by profile; words: the same memory as uint64, without what is left over.
    """
    for place in range(words.size + 1):
        first = place * 8
        end = min(first + 8, found.size)
        if place < words.size and words[place] == 0:
            continue
        for row in range(first, end):
            if found[row] and not low <= sums[row] < high:
                found[row] = False


def words_of(found: Array) -> Array:
    """The memory of bools as uint64, without what is left over."""
    return found[: found.size // 8 * 8].view(np.uint64)

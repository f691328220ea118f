"""Counts and sums of everybody over chosen rows of runs. Hot kernels.

Nearly every amount is a whole number or a decimal with a few digits: a loop that knows no other is
six times as fast as one that could read the log, and leaves the rest to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from services.segments.domain.values import DECIMAL, WHOLE
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.columns.choosing import Chosen
from services.segments.engine.columns.log_index import Cells
from services.segments.engine.columns.scans import COUNT_SMALL, count_marked
from services.segments.engine.live.streams import AMOUNT_MAX, SCALE, amount_of
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.predicates import Predicates

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

UNITS_SAFE = AMOUNT_MAX // 10**SCALE
"""Units that fit whatever their decimals are: no division for them."""
FACTORS = np.zeros(256, np.int64)
"""Of a whole number or decimal, by the form of its cell: what makes units of 10^-6 of it."""
for _digits in range(SCALE + 1):
    for _kind in (WHOLE, DECIMAL):
        FACTORS[_kind | _digits << 3] = 10 ** (SCALE - _digits)


@njit(cache=True, nogil=True, inline="always")
def amount_in_cell(
    e: EventRows, p: Predicates, value: Array, form: Array, rows: Array, i: int, key: int
) -> tuple[int, bool, int]:
    """(amount of a row in units of 10^-6, whether it fits, its numeric elements)."""
    known = form[i]
    digits = known >> 3
    if (known & 7 == 2 or known & 7 == 3) and digits <= SCALE:
        units = value[i]
        if abs(units) <= UNITS_SAFE:
            return units * p.powers[SCALE - digits], True, 1
    elif known == 0:
        return 0, True, 0
    amount, fits = amount_of(e, p, rows[i], key)
    return amount, fits, amount_of(e, p, rows[i], -1 - key)[0]


@njit(cache=True, nogil=True)
def _add_plain(
    slot: Array, value: Array, form: Array, mask: Array, slot_row: Array, factors: Array,
    most: int, counts: Array, sums: Array, exact: Array, left: Array,
) -> Number:  # fmt: skip
    """Adds the amounts that are a number with few decimals; places of the other rows into `left`,
    how many. factors: by form, 0 for others."""
    n = 0
    for i in range(slot.size):
        if mask.size > 0 and mask[i] == 0:
            continue
        owner = slot[i]
        if slot_row.size > 0:
            owner = slot_row[owner]
            if owner < 0:
                continue
        known = form[i]
        factor = factors[known]
        if factor == 0 or abs(value[i]) > UNITS_SAFE:
            left[n] = i
            n += known != 0
            continue
        total = sums[owner] + value[i] * factor
        sums[owner] = total
        if abs(total) > most:
            exact[owner] = 1
            sums[owner] = 0
        if counts.size > 0:
            counts[owner] += 1
    return n


@njit(cache=True, nogil=True)
def _add_left(
    e: EventRows, p: Predicates, slot: Array, rows: Array, left: Array, key: int, slot_row: Array,
    most: int, counts: Array, sums: Array, exact: Array,
) -> None:  # fmt: skip
    """Adds the amounts of the rows at some places, read from the log."""
    e, p = bare(e), bare(p)
    for i in left:
        owner = slot[i]
        if slot_row.size > 0:
            owner = slot_row[owner]
        amount, fits = amount_of(e, p, rows[i], key)
        sums[owner] += amount
        if not fits or abs(sums[owner]) > most:
            exact[owner] = 1
            sums[owner] = 0
        if counts.size > 0:
            counts[owner] += amount_of(e, p, rows[i], -1 - key)[0]


def counts_of(part: Partition, chosen: list[Chosen], most: int) -> Array:
    """How many chosen rows each profile has, up to `most` (at most COUNT_MAX); uint8 while that
    fits a byte."""
    counts = np.zeros(part.people.rows, np.uint8 if most <= COUNT_SMALL else np.int32)
    for one in chosen:
        count_marked(one.column(one.run.slot), one.mask, part.people.owners(), most, counts)
    return counts


def add_marked(
    e: EventRows, p: Predicates, one: Chosen, cells: Cells, key: int, slot_row: Array, most: int,
    counts: Array, sums: Array, exact: Array,
) -> None:  # fmt: skip
    """Adds the amounts of chosen rows, in units of 10^-6, to sums by profile (by slot when
    `slot_row` is empty), and their numbers of elements to `counts` when it is not empty.

    A sum beyond `most`, or an amount that does not fit, marks its profile in `exact`.
    """
    value, form = map(one.column, cells)
    slot, left = one.column(one.run.slot), np.empty(one.end - one.first, np.int64)
    n = _add_plain(slot, value, form, one.mask, slot_row, FACTORS, most, counts, sums, exact, left)
    if n:
        rows = one.column(one.run.row)
        _add_left(e, p, slot, rows, left[:n], key, slot_row, most, counts, sums, exact)

"""Figures of everybody, added up from rows: of a live stream, or of the log itself. Hot kernels."""

from __future__ import annotations

from numba import njit

from services.segments.engine.arrays import Array, bare, prefetch
from services.segments.engine.cursors import AVERAGE, COUNT, SUM_MAX
from services.segments.engine.events import EventRows
from services.segments.engine.filters import Filters, meets
from services.segments.engine.predicates import Predicates
from services.segments.engine.streams import NEAR, ahead, amount_of


@njit(cache=True, nogil=True)
def select_among(
    e: EventRows, p: Predicates, f: Filters, rows: Array, filter_number: int, low: int, at: int,
    found: Array,
) -> int:  # fmt: skip
    """Those of some rows that are in force at an instant, not older than `low`, and pass a filter
    (-1: none), into `found`; how many."""
    e, p, f = bare(e), bare(p), bare(f)
    n = 0
    for i in range(rows.size):
        ahead(e, rows, i, filter_number >= 0)
        row = rows[i]
        if (
            low <= e.occur[row] <= at
            and e.accept[row] <= at
            and (filter_number < 0 or meets(e, p, f, filter_number, row))
        ):
            found[n] = row
            n += 1
    return n


@njit(cache=True, nogil=True)
def add_found(
    e: EventRows, p: Predicates, rows: Array, low: int, high: int, slot_row: Array, kind: int,
    key: int, counts: Array, sums: Array, exact: Array,
) -> None:  # fmt: skip
    """Adds rows of the log within [low, high] to figures by profile; key: property of the sum."""
    e, p = bare(e), bare(p)
    for i in range(rows.size):
        ahead(e, rows, i, kind != COUNT)
        if i + NEAR < rows.size:
            soon = max(slot_row[e.slot[rows[i + NEAR]]], 0)
            if kind == COUNT:
                prefetch(counts, soon)
            else:
                prefetch(sums, soon)
        row = rows[i]
        occur = e.occur[row]
        owner = slot_row[e.slot[row]]
        if occur < low or occur > high or owner < 0:
            continue
        if kind == COUNT:
            counts[owner] += 1
            continue
        amount, fits = amount_of(e, p, row, key)
        sums[owner] += amount
        if not fits or abs(sums[owner]) > SUM_MAX:
            exact[owner] = 1
            sums[owner] = 0
        if kind == AVERAGE:
            counts[owner] += amount_of(e, p, row, -1 - key)[0]


@njit(cache=True, nogil=True)
def add_run(
    slot: Array, row: Array, amounts: Array, elements: Array, accept: Array, at: int, known: int,
    slot_row: Array, kind: int, counts: Array, sums: Array, exact: Array,
) -> None:  # fmt: skip
    """Adds a part of a stream's run to figures by profile.

    amounts, elements: its measures where the kind needs them. known: rows from here on, and those
    accepted after `at`, came since the question was asked; -1: none did.
    """
    for i in range(slot.size):
        if known >= 0 and (row[i] >= known or accept[row[i]] > at):
            continue
        soon = max(slot_row[slot[min(i + NEAR, slot.size - 1)]], 0)
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
    """Marks profiles that have an identifier of a kind that is wanted (one byte per name)."""
    for slot in range(slot_kind.size):
        kind = slot_kind[slot]
        if kind >= 0 and kind < wanted.size and wanted[kind] and slot_row[slot] >= 0:
            found[slot_row[slot]] = True

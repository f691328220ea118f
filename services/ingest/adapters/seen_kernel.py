"""Sets of 128-bit prints: open addressing over any capacity, filled to at most three quarters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.ingest.adapters.borrowed import borrowed

U = np.uint64

KNOWN = 0
NEW = 1
FULL = 2
"""Verdicts of `admit`."""


@njit(nogil=True, cache=True)
def _home(word: Any, capacity: Any) -> Any:
    """The first place to look: the upper half of the word scaled to the capacity (< 2^32)."""
    return np.int64(((word >> U(32)) * U(capacity)) >> U(32))


@njit(nogil=True, cache=True)
def _place(table: Any, first: Any, second: Any) -> Any:
    """(place of the print, or of the empty place where it belongs; whether it is there)."""
    capacity = table.shape[0]
    at = _home(first, capacity)
    while True:
        if table[at, 0] == first and table[at, 1] == second:
            return at, True
        if table[at, 0] == U(0) and table[at, 1] == U(0):
            return at, False
        at += 1
        if at == capacity:
            at = 0


@njit(nogil=True, cache=True)
def admit(table: Any, sealed: Any, prints: Any, chosen: Any, room: Any, verdicts: Any) -> Any:
    """Adds prints[chosen] to `table`, unless `sealed` (or it) holds them already.

    table, sealed: (capacity, 2) uint64, zero where empty; table has room for all of them. room: how
    many more may be remembered at all. Writes verdicts[chosen] (uint8): KNOWN, NEW or FULL.
    Returns how many were added.
    """
    table = borrowed(table)
    sealed = borrowed(sealed)
    prints = borrowed(prints)
    chosen = borrowed(chosen)
    verdicts = borrowed(verdicts)
    added = 0
    for k in range(chosen.size):
        row = chosen[k]
        first = prints[row, 0]
        second = prints[row, 1]
        if sealed.shape[0] > 0:
            _, there = _place(sealed, first, second)
            if there:
                verdicts[row] = KNOWN
                continue
        at, there = _place(table, first, second)
        if there:
            verdicts[row] = KNOWN
        elif added == room:
            verdicts[row] = FULL
        else:
            table[at, 0] = first
            table[at, 1] = second
            verdicts[row] = NEW
            added += 1
    return added


@njit(nogil=True, cache=True)
def transfer(source: Any, table: Any) -> Any:
    """Adds every print of a table (or list) to another with room for them. Returns how many."""
    source = borrowed(source)
    table = borrowed(table)
    added = 0
    for k in range(source.shape[0]):
        first = source[k, 0]
        second = source[k, 1]
        if first == U(0) and second == U(0):
            continue
        at, there = _place(table, first, second)
        if not there:
            table[at, 0] = first
            table[at, 1] = second
            added += 1
    return added

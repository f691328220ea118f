"""Rows on their way from arrival to effect, and from there into their streams. Hot kernels."""

from __future__ import annotations

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, bare
from services.segments.engine.live.cursors import CursorView, account
from services.segments.engine.live.streams import StreamView, insert
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.predicates import Predicates


@njit(cache=True, nogil=True)
def effective(
    e: EventRows, waiting: Array, first: int, last: int, now: int, until: int, rows: Array,
    effects: Array, still: Array,
) -> tuple[int, int, bool]:  # fmt: skip
    """Rows, among those waiting and those that arrived as [first, last), that take effect by
    `until`, with their instants; (how many, how many still wait, whether they are in order)."""
    n = w = 0
    ordered = True
    for i in range(waiting.size + last - first):
        row = waiting[i] if i < waiting.size else first + i - waiting.size
        effect = max(e.occur[row], e.accept[row], now)
        if effect > until:
            still[w] = row
            w += 1
            continue
        rows[n] = row
        effects[n] = effect
        if n and (effect < effects[n - 1] or (effect == effects[n - 1] and row < rows[n - 1])):
            ordered = False
        n += 1
    return n, w, ordered


@njit(cache=True, nogil=True)
def insert_all(
    ptr: Array, rows: Array, v: StreamView, c: CursorView, e: EventRows, p: Predicates,
    slot_row: Array, shift_max: int, now: int,
) -> None:  # fmt: skip
    """Puts every stream's new rows into its runs and moves cursors past those before them."""
    v, c, e, p, slot_row = bare(v), bare(c), bare(e), bare(p), bare(slot_row)
    for s in range(ptr.size - 1):
        n = ptr[s + 1] - ptr[s]
        if n == 0:
            continue
        fresh = rows[ptr[s] : ptr[s + 1]].copy()
        ordered = True
        for i in range(1, n):
            if e.occur[fresh[i]] < e.occur[fresh[i - 1]]:
                ordered = False
                break
        if not ordered:
            if n <= 64:
                for i in range(1, n):
                    row = fresh[i]
                    t = e.occur[row]
                    j = i - 1
                    while j >= 0 and e.occur[fresh[j]] > t:
                        fresh[j + 1] = fresh[j]
                        j -= 1
                    fresh[j + 1] = row
            else:
                fresh = fresh[np.argsort(e.occur[fresh], kind="mergesort")]
        late = insert(s, fresh, v, e, p, slot_row, shift_max)
        account(c, v, e, s, fresh, late, now)

"""Cursors: the log as the timer wheel. One per (stream, measure, window).

A cursor keeps a figure per profile (count or sum). New rows enter at their instant, rows leave when
the cursor passes them: at exactly occur time + length, by time alone. All thresholds over a figure
share it; crossing one is a *flip* of its leaf at an instant. Figures that cannot be added up
(extremes, distinct values, sums that do not fit) report a *touch* instead, and their value at that
instant is computed from the profile's rows. Hot kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.arrays import Array, Number, at_i32, at_i64, at_u8, bare, prefetch
from services.segments.engine.events import EventRows
from services.segments.engine.flips import Flips
from services.segments.engine.predicates import Predicates
from services.segments.engine.streams import RUNS, UNBOUNDED, StreamView, amount_of

COUNT, SUM, TOUCH = 0, 1, 2
OPEN = np.iinfo(np.int64).max
EVENT_CAUSE = 1 << 41
SUM_MAX = 1 << 62
FIRST_ENTER = RUNS
AHEAD = 12
"""Rows between asking for a figure and needing it."""
EDGES = 2 * RUNS


class CursorView(NamedTuple):
    """By cursor. place: rows passed in each run by the leaving edge, then by the entering one.

    oldest: OPEN when rows never leave. since, until: only rows with since <= occur < until.
    """

    stream: Array
    kind: Array
    measure: Array
    oldest: Array
    newest: Array
    since: Array
    until: Array
    figure: Array
    threshold_ptr: Array
    threshold: Array
    leaf: Array
    place: Array
    due: Array
    stream_ptr: Array
    stream_cursors: Array


@njit(cache=True, nogil=True, inline="always")
def _cross(
    old: int,
    new: int,
    c: CursorView,
    cursor: int,
    at: int,
    row: int,
    cause: int,
    out: Flips,
    k: int,
) -> int:
    """Flips of the thresholds between two figures."""
    start, end = c.threshold_ptr[cursor], c.threshold_ptr[cursor + 1]
    low, high = (old, new) if new > old else (new, old)
    if end - start > 8:
        a, b = start, end
        while a < b:
            middle = (a + b) >> 1
            if c.threshold[middle] > low:
                b = middle
            else:
                a = middle + 1
        start = a
    for i in range(start, end):
        bound = c.threshold[i]
        if bound > high:
            break
        if bound > low:
            out.at[k] = at
            out.row[k] = row
            out.leaf[k] = c.leaf[i]
            # A bound of at most 0 stands for its negation, so that it is false over nothing.
            out.state[k] = 1 if (new > old) == (bound > 0) else 0
            out.cause[k] = cause
            k += 1
    return k


@njit(cache=True, nogil=True, inline="always")
def _head(c: CursorView, v: StreamView, cursor: int, s: int, edge: int, length: int) -> Number:
    """The next instant at which a row of one run passes an edge; OPEN when there is none."""
    r = edge if edge < RUNS else edge - RUNS
    place = c.place[cursor, edge]
    if length == OPEN or place >= v.length[s, r]:
        return OPEN
    return at_i64(v.occur[s, r], UNBOUNDED)[place] + length


# A hot kernel: one loop, so that nothing is called and no reference is counted inside.
@njit(cache=True, nogil=True)
def walk(
    c: CursorView, v: StreamView, e: EventRows, p: Predicates, slot_row: Array, now: int,
    until: int, row_ptr: Array, rows: Array, effects: Array, first_new: int, out: Flips,
    touches: Flips, resume: Array,
) -> bool:  # fmt: skip
    """Moves every cursor that is due, or whose stream got rows, from `now` to `until`.

    rows[row_ptr[s]:row_ptr[s + 1]] are the new rows of stream s by effect; they are in its runs
    already. resume: cursor to go on with, place in its new rows, flips so far, touches so far.
    False: a buffer is full; call again with larger ones, nothing is lost or done twice.
    """
    c, v, e, p, out, touches = bare(c), bare(v), bare(e), bare(p), bare(out), bare(touches)
    slot_row, rows, effects = bare(slot_row), bare(rows), bare(effects)
    begin, fresh_at, k, t = resume[0], resume[1], resume[2], resume[3]
    flips_max, touches_max = out.at.size, touches.at.size
    heads = np.full(EDGES, OPEN, np.int64)
    none32, none64, none8 = np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1, np.uint8)
    for cursor in range(begin, c.stream.size):
        s = c.stream[cursor]
        if s < 0:
            continue
        fresh, fresh_end = row_ptr[s], row_ptr[s + 1]
        if fresh == fresh_end and c.due[cursor] > until:
            continue
        if cursor == begin and fresh_at >= 0:
            fresh = fresh_at
        kind, oldest, newest = c.kind[cursor], c.oldest[cursor], c.newest[cursor]
        since, stop = c.since[cursor], c.until[cursor]
        m = c.measure[cursor]
        counts, sums, exact = none32, none64, none8
        if kind == COUNT:
            counts = at_i32(c.figure[cursor], UNBOUNDED)
        elif kind == SUM:
            sums = at_i64(c.figure[cursor], UNBOUNDED)
            exact = at_u8(v.exact[m], UNBOUNDED)
        first, end = c.threshold_ptr[cursor], c.threshold_ptr[cursor + 1]
        crossings = end - first
        lowest = c.threshold[first] if crossings else OPEN
        highest = c.threshold[end - 1] if crossings else -OPEN
        edges = EDGES if newest > 0 else RUNS
        for edge in range(edges):
            length = oldest if edge < RUNS else newest
            heads[edge] = _head(c, v, cursor, s, edge, length)
        while True:
            if k + crossings > flips_max or t >= touches_max:
                resume[0], resume[1], resume[2], resume[3] = cursor, fresh, k, t
                return False
            # The next edge: a row leaves, a row enters by time, a new row enters.
            at, edge = heads[0], 0
            for other in range(1, edges):
                if heads[other] < at:
                    at, edge = heads[other], other
            if fresh < fresh_end and effects[fresh] < min(at, until + 1):
                row = rows[fresh]
                at = effects[fresh]
                fresh += 1
                if fresh + AHEAD < fresh_end:
                    soon = slot_row[e.slot[rows[fresh + AHEAD]]]
                    if kind == COUNT:
                        prefetch(counts, max(soon, 0))
                    elif kind == SUM:
                        prefetch(sums, max(soon, 0))
                occur = e.occur[row]
                owner = slot_row[e.slot[row]]
                if (
                    owner < 0
                    or occur < since
                    or occur >= stop
                    or (oldest != OPEN and occur + oldest <= at)
                    or (newest > 0 and occur + newest >= max(at, now + 1))
                ):
                    continue
                sign, cause = 1, EVENT_CAUSE + row
                amount = np.int64(0)
                if kind == SUM and exact[owner] == 0:
                    amount = amount_of(e, p, row, v.measure_key[m])[0]
            else:
                if at > until:
                    break
                r = edge if edge < RUNS else edge - RUNS
                place = c.place[cursor, edge]
                c.place[cursor, edge] = place + 1
                heads[edge] = _head(c, v, cursor, s, edge, oldest if edge < RUNS else newest)
                slots = at_i32(v.slot[s, r], UNBOUNDED)
                soon = min(place + AHEAD, v.length[s, r] - 1)
                prefetch(slot_row, slots[min(soon + AHEAD, v.length[s, r] - 1)])
                if kind == COUNT:
                    prefetch(counts, max(slot_row[slots[soon]], 0))
                elif kind == SUM:
                    prefetch(sums, max(slot_row[slots[soon]], 0))
                owner = slot_row[slots[place]]
                if owner < 0:
                    continue
                occur = at - (oldest if edge < RUNS else newest)
                if occur < since or occur >= stop:
                    continue
                row = np.int64(at_i32(v.row[s, r], UNBOUNDED)[place])
                # A row accepted after its entering edge enters when it is accepted (above); one
                # accepted at or after its leaving edge never entered.
                if row >= first_new and e.accept[row] + (1 if edge < RUNS else 0) > at:
                    continue
                sign, cause = (-1 if edge < RUNS else 1), 0
                amount = np.int64(0)
                if kind == SUM:
                    amount = at_i64(v.amounts[m, r], UNBOUNDED)[place]
            if kind == COUNT:
                old = np.int64(counts[owner])
                new = old + sign
                counts[owner] = new
            elif kind == SUM and exact[owner] == 0:
                old = sums[owner]
                new = old + sign * amount
                if abs(new) <= SUM_MAX:
                    sums[owner] = new
                else:
                    exact[owner] = 1
            else:
                old = new = np.int64(0)
            if kind == TOUCH or (kind == SUM and exact[owner]):
                touches.at[t] = at
                touches.row[t] = owner
                touches.leaf[t] = cursor
                touches.cause[t] = cause
                t += 1
            elif max(old, new) >= lowest and min(old, new) < highest:
                k = _cross(old, new, c, cursor, at, owner, cause, out, k)
        c.due[cursor] = _next_edge(c, v, cursor, s, oldest, newest)
    resume[2], resume[3] = k, t
    return True


@njit(cache=True, nogil=True)
def _next_edge(
    c: CursorView, v: StreamView, cursor: int, s: int, oldest: int, newest: int
) -> Number:
    """The next instant at which a row leaves or enters by time alone."""
    due = OPEN
    for r in range(RUNS):
        n = v.length[s, r]
        place = c.place[cursor, r]
        if oldest != OPEN and place < n:
            due = min(due, at_i64(v.occur[s, r], UNBOUNDED)[place] + oldest)
        place = c.place[cursor, FIRST_ENTER + r]
        if newest > 0 and place < n:
            due = min(due, at_i64(v.occur[s, r], UNBOUNDED)[place] + newest)
    return due


@njit(cache=True, nogil=True)
def lower_bound(times: Array, n: int, bound: int) -> Number:
    """The first place with times[place] >= bound."""
    a, b = np.int64(0), np.int64(n)
    while a < b:
        middle = (a + b) >> 1
        if times[middle] < bound:
            a = middle + 1
        else:
            b = middle
    return a


@njit(cache=True, nogil=True)
def account(
    c: CursorView, v: StreamView, e: EventRows, s: int, rows: Array, late: int, now: int
) -> None:
    """Moves the places of a stream's cursors past rows just put before them.

    rows: by occur time; the first `late` went to the tail, the others to main.
    """
    if s + 1 >= c.stream_ptr.size:
        return
    for i in range(c.stream_ptr[s], c.stream_ptr[s + 1]):
        cursor = c.stream_cursors[i]
        for edge in range(2):
            length = c.oldest[cursor] if edge == 0 else c.newest[cursor]
            if length == OPEN or (edge == 1 and length <= 0):
                continue
            bound = now - length
            for j in range(rows.size):
                if e.occur[rows[j]] > bound:
                    break
                run = 2 if j < late else 0
                c.place[cursor, run + edge * RUNS] += 1


@njit(cache=True, nogil=True)
def due_again(c: CursorView, v: StreamView, s: int) -> None:
    """Looks anew when the cursors of a stream are due."""
    if s + 1 >= c.stream_ptr.size:
        return
    for i in range(c.stream_ptr[s], c.stream_ptr[s + 1]):
        cursor = c.stream_cursors[i]
        c.due[cursor] = _next_edge(c, v, cursor, s, c.oldest[cursor], c.newest[cursor])


@njit(cache=True, nogil=True)
def settle(
    c: CursorView, v: StreamView, cursor: int, slot_row: Array, at: int, figure_counts: Array,
    figure_sums: Array,
) -> bool:  # fmt: skip
    """Sets a cursor's places and figures from scratch, at an instant; False: a sum overflowed.

    The figures are zero before. This is also how questions are answered (reader A).
    """
    s, kind, m = c.stream[cursor], c.kind[cursor], c.measure[cursor]
    oldest, newest = c.oldest[cursor], c.newest[cursor]
    good = True
    for r in range(RUNS):
        n = v.length[s, r]
        times = at_i64(v.occur[s, r], n)
        first = lower_bound(times, n, at - oldest + 1) if oldest != OPEN else np.int64(0)
        last = lower_bound(times, n, at - newest + 1)
        c.place[cursor, r] = first
        c.place[cursor, FIRST_ENTER + r] = last
        first = max(first, lower_bound(times, n, c.since[cursor]))
        last = min(last, lower_bound(times, n, c.until[cursor]))
        slots = at_i32(v.slot[s, r], n)
        if kind == COUNT:
            for i in range(first, last):
                owner = slot_row[slots[i]]
                if owner >= 0:
                    figure_counts[owner] += 1
        elif kind == SUM:
            amounts = at_i64(v.amounts[m, r], n)
            exact = at_u8(v.exact[m], UNBOUNDED)
            for i in range(first, last):
                owner = slot_row[slots[i]]
                if owner >= 0:
                    figure_sums[owner] += amounts[i]
                    if abs(figure_sums[owner]) > SUM_MAX:
                        exact[owner] = 1
                        figure_sums[owner] = 0
                        good = False
    c.due[cursor] = _next_edge(c, v, cursor, s, oldest, newest)
    return good

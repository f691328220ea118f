"""Cursors: the log as the timer wheel. One per (stream, measure, window).

A cursor keeps a figure per profile (count, sum, or both for an average). New rows enter at their
instant, rows leave when the cursor passes them, by time alone: at exactly occur time + length, or
when the stretches of a calendar window say so. All thresholds over a figure share it; crossing one
is a *flip* of its leaf at an instant. Sums that do not fit report a *touch* instead, and their
value at that instant is computed from the profile's rows. Hot kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import (
    Array,
    Number,
    at_i32,
    at_i64,
    at_u8,
    bare,
    prefetch,
)
from services.segments.engine.live.flips import Flips
from services.segments.engine.live.streams import RUNS, UNBOUNDED, StreamView, amount_of
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.predicates import Predicates

COUNT, SUM, AVERAGE = 0, 1, 2
OPEN = np.iinfo(np.int64).max
BY_CALENDAR = OPEN - 1
"""Length of an edge that stretches describe."""
LEAVING, ENTERING = 0, 1
GTE, GT, LTE, LT = 0, 1, 2, 3
"""How an average is compared."""
EVENT_CAUSE = 1 << 41
SUM_MAX = 1 << 62
FIRST_ENTER = RUNS
AHEAD = 12
"""Rows between asking for a figure and needing it."""
EDGES = 2 * RUNS


class CursorView(NamedTuple):
    """By cursor. place: rows passed in each run by the leaving edge, then by the entering one.

    oldest: OPEN when rows never leave. since, until: only rows with since <= occur < until.
    elements: measure of an average's number of elements; element_figure: where it is kept;
    sum_max, elements_max: beyond them an average's products would not fit.
    threshold, divisor, how: what a figure is compared with; count and sum: at least threshold.
    stretch_ptr: by 2 * cursor + edge, into the stretches of `boundaries`.
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
    elements: Array
    element_figure: Array
    sum_max: Array
    elements_max: Array
    divisor: Array
    how: Array
    stretch_ptr: Array
    stretch_key: Array
    stretch_slope: Array
    stretch_value: Array


@njit(cache=True, nogil=True, inline="always")
def passes(c: CursorView, cursor: int, edge: int, length: int, occur: int) -> Number:
    """The instant at which an event of that time passes an edge of a window; length not OPEN."""
    if length != BY_CALENDAR:
        return occur + length
    a, b = c.stretch_ptr[2 * cursor + edge], c.stretch_ptr[2 * cursor + edge + 1]
    while b - a > 1:
        middle = (a + b) >> 1
        if c.stretch_key[middle] <= occur:
            a = middle
        else:
            b = middle
    return c.stretch_value[a] + c.stretch_slope[a] * occur


@njit(cache=True, nogil=True, inline="always")
def average_holds(how: int, bound: int, divisor: int, total: int, elements: int) -> bool:
    """Whether total / elements compares so with bound / divisor; false over nothing."""
    if elements <= 0:
        return False
    left, right = total * divisor, bound * elements
    if how == GTE:
        return left >= right
    if how == GT:
        return left > right
    return left <= right if how == LTE else left < right


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
    occur = at_i64(v.occur[s, r], UNBOUNDED)[place]
    return passes(c, cursor, LEAVING if edge < RUNS else ENTERING, length, occur)


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
    # By address like the figures: an array of our own would be counted at every row.
    none32, none64, none8 = at_i32(0, 0), at_i64(0, 0), at_u8(0, 0)
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
        m, m_elements = c.measure[cursor], c.elements[cursor]
        counts, sums, exact = none32, none64, none8
        if kind == COUNT:
            counts = at_i32(c.figure[cursor], UNBOUNDED)
        elif kind in (SUM, AVERAGE):
            sums = at_i64(c.figure[cursor], UNBOUNDED)
            exact = at_u8(v.exact[m], UNBOUNDED)
            if kind == AVERAGE:
                counts = at_i32(c.element_figure[cursor], UNBOUNDED)
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
                    else:
                        prefetch(sums, max(soon, 0))
                occur = e.occur[row]
                owner = slot_row[e.slot[row]]
                if (
                    owner < 0
                    or occur < since
                    or occur >= stop
                    or (oldest != OPEN and passes(c, cursor, LEAVING, oldest, occur) <= at)
                    or (
                        newest > 0
                        and passes(c, cursor, ENTERING, newest, occur) >= max(at, now + 1)
                    )
                ):
                    continue
                sign, cause = 1, EVENT_CAUSE + row
                amount = elements = np.int64(0)
                if (kind in (SUM, AVERAGE)) and exact[owner] == 0:
                    amount = amount_of(e, p, row, v.measure_key[m])[0]
                    if kind == AVERAGE:
                        elements = amount_of(e, p, row, v.measure_key[m_elements])[0]
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
                else:
                    prefetch(sums, max(slot_row[slots[soon]], 0))
                owner = slot_row[slots[place]]
                if owner < 0:
                    continue
                occur = at_i64(v.occur[s, r], UNBOUNDED)[place]
                if occur < since or occur >= stop:
                    continue
                row = np.int64(at_i32(v.row[s, r], UNBOUNDED)[place])
                # A row accepted after its entering edge enters when it is accepted (above); one
                # accepted at or after its leaving edge never entered.
                if row >= first_new and e.accept[row] + (1 if edge < RUNS else 0) > at:
                    continue
                sign, cause = (-1 if edge < RUNS else 1), 0
                amount = elements = np.int64(0)
                if kind in (SUM, AVERAGE):
                    amount = at_i64(v.amounts[m, r], UNBOUNDED)[place]
                    if kind == AVERAGE:
                        elements = at_i64(v.amounts[m_elements, r], UNBOUNDED)[place]
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
            if kind == AVERAGE and exact[owner] == 0:
                if elements == 0:
                    continue
                k = _average(
                    c, cursor, sums, counts, exact, owner, sign * amount, sign * elements, at,
                    cause, out, k,
                )  # fmt: skip
            if kind != COUNT and exact[owner]:
                touches.at[t] = at
                touches.row[t] = owner
                touches.leaf[t] = cursor
                touches.cause[t] = cause
                t += 1
            elif kind != AVERAGE and max(old, new) >= lowest and min(old, new) < highest:
                k = _cross(old, new, c, cursor, at, owner, cause, out, k)
        c.due[cursor] = _next_edge(c, v, cursor, s, oldest, newest)
    resume[2], resume[3] = k, t
    return True


@njit(cache=True, nogil=True, inline="always")
def _average(
    c: CursorView, cursor: int, sums: Array, counts: Array, exact: Array, owner: int, amount: int,
    elements: int, at: int, cause: int, out: Flips, k: int,
) -> int:  # fmt: skip
    """Moves an average and flips its leaves; marks the profile exact when it would not fit."""
    total, number = sums[owner], np.int64(counts[owner])
    after, fewer = total + amount, number + elements
    if abs(after) > c.sum_max[cursor] or fewer > c.elements_max[cursor]:
        exact[owner] = 1
        return k
    sums[owner] = after
    counts[owner] = fewer
    for i in range(c.threshold_ptr[cursor], c.threshold_ptr[cursor + 1]):
        how, bound, divisor = c.how[i], c.threshold[i], c.divisor[i]
        state = average_holds(how, bound, divisor, after, fewer)
        if state != average_holds(how, bound, divisor, total, number):
            out.at[k] = at
            out.row[k] = owner
            out.leaf[k] = c.leaf[i]
            out.state[k] = 1 if state else 0
            out.cause[k] = cause
            k += 1
    return k


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
            occur = at_i64(v.occur[s, r], UNBOUNDED)[place]
            due = min(due, passes(c, cursor, LEAVING, oldest, occur))
        place = c.place[cursor, FIRST_ENTER + r]
        if newest > 0 and place < n:
            occur = at_i64(v.occur[s, r], UNBOUNDED)[place]
            due = min(due, passes(c, cursor, ENTERING, newest, occur))
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
def _passed(
    c: CursorView, cursor: int, edge: int, length: int, times: Array, n: int, at: int
) -> Number:
    """How many of the first n times have passed an edge by an instant."""
    if length != BY_CALENDAR:
        return lower_bound(times, n, at - length + 1)
    a, b = np.int64(0), np.int64(n)
    while a < b:
        middle = (a + b) >> 1
        if passes(c, cursor, edge, length, times[middle]) <= at:
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
            for j in range(rows.size):
                if passes(c, cursor, edge, length, e.occur[rows[j]]) > now:
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
        first = np.int64(0)
        if oldest != OPEN:
            first = _passed(c, cursor, LEAVING, oldest, times, n, at)
        last = _passed(c, cursor, ENTERING, newest, times, n, at)
        c.place[cursor, r] = first
        c.place[cursor, FIRST_ENTER + r] = last
        first = max(first, lower_bound(times, n, c.since[cursor]))
        last = min(last, lower_bound(times, n, c.until[cursor]))
        slots = at_i32(v.slot[s, r], n)
        if kind == COUNT:
            for i in range(first, last):
                prefetch(figure_counts, max(slot_row[slots[min(i + AHEAD, n - 1)]], 0))
                owner = slot_row[slots[i]]
                if owner >= 0:
                    figure_counts[owner] += 1
        elif kind in (SUM, AVERAGE):
            amounts = at_i64(v.amounts[m, r], n)
            exact = at_u8(v.exact[m], UNBOUNDED)
            for i in range(first, last):
                prefetch(figure_sums, max(slot_row[slots[min(i + AHEAD, n - 1)]], 0))
                owner = slot_row[slots[i]]
                if owner >= 0:
                    figure_sums[owner] += amounts[i]
                    if abs(figure_sums[owner]) > SUM_MAX:
                        exact[owner] = 1
                        figure_sums[owner] = 0
                        good = False
            if kind == AVERAGE:
                elements = at_i64(v.amounts[c.elements[cursor], r], n)
                for i in range(first, last):
                    owner = slot_row[slots[i]]
                    if owner >= 0:
                        figure_counts[owner] += elements[i]
    c.due[cursor] = _next_edge(c, v, cursor, s, oldest, newest)
    return good

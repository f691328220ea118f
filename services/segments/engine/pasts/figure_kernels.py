"""Figures over a window for all profiles at once: what `figures` follows row by row. Hot kernels.

Rows come grouped by profile, in order, with the instants [begin, until) at which they are in the
window; elements of row i are [ptr[i], ptr[i + 1]). `value` is a number in whole units, or the
number of a value; `fine` says whether that value satisfies what it is compared with. A figure is
compared as low <= figure <= high, turned round when `negated`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, Number, bare

NEVER = np.iinfo(np.int64).max
LEAST, GREATEST, DISTINCT, FIRST, LAST, MOST = 0, 1, 2, 3, 4, 5


class Side(NamedTuple):
    """Rows, groups and elements of one selection."""

    begin: Array
    until: Array
    owner: Array
    start: Array
    ptr: Array
    value: Array
    fine: Array


class Queue(NamedTuple):
    """Candidates for an extreme, best first: [head[0], head[1]) of `place`, which holds rows."""

    place: Array
    best: Array
    head: Array


@njit(cache=True, nogil=True)
def _come(s: Side, kind: int, row: int, counts: Array, state: Array, q: Queue) -> None:
    """A row comes into the window. counts: by value; state: different values inside, the greatest
    count and the element that has it, last; a count of 0 is not known."""
    for e in range(s.ptr[row], s.ptr[row + 1]):
        value = s.value[e]
        if kind in (DISTINCT, MOST):
            counts[value] += 1
            if counts[value] == 1:
                state[0] += 1
            if counts[value] >= state[1]:
                state[1] = counts[value]
                state[2] = e
        elif kind in (LEAST, GREATEST):
            worth = value if kind == LEAST else -value
            while q.head[1] > q.head[0] and q.best[q.head[1] - 1] >= worth:
                q.head[1] -= 1
            q.place[q.head[1]] = row
            q.best[q.head[1]] = worth
            q.head[1] += 1


@njit(cache=True, nogil=True)
def _go(s: Side, kind: int, row: int, counts: Array, state: Array, q: Queue) -> None:
    """A row leaves the window."""
    if kind in (DISTINCT, MOST):
        for e in range(s.ptr[row], s.ptr[row + 1]):
            value = s.value[e]
            counts[value] -= 1
            if counts[value] == 0:
                state[0] -= 1
            if kind == MOST and state[1] and value == s.value[state[2]]:
                state[1] = 0
    while q.head[1] > q.head[0] and q.place[q.head[0]] <= row:
        q.head[0] += 1


@njit(cache=True, nogil=True)
def _lies(s: Side, row: int) -> bool:
    return s.until[row] > s.begin[row]


@njit(cache=True, nogil=True)
def _answer(
    s: Side, kind: int, first: int, end: int, counts: Array, state: Array, q: Queue, low: int,
    high: int, negated: bool,
) -> bool:  # fmt: skip
    """Whether the figure of the rows inside, [first, end), satisfies the comparison."""
    if kind == DISTINCT:
        return (low <= state[0] <= high) != negated
    if kind in (LEAST, GREATEST):
        if q.head[0] == q.head[1]:
            return False
        best = q.best[q.head[0]]
        figure = best if kind == LEAST else -best
        return bool((low <= figure <= high) != negated)
    if kind == FIRST:
        for row in range(first, end):
            if _lies(s, row) and s.ptr[row] < s.ptr[row + 1]:
                return s.fine[s.ptr[row]] != 0
        return False
    if kind == MOST and state[1]:
        return bool(s.fine[state[2]] != 0)
    for row in range(end - 1, first - 1, -1):
        if not _lies(s, row):
            continue
        for e in range(s.ptr[row + 1] - 1, s.ptr[row] - 1, -1):
            if kind == LAST:
                return bool(s.fine[e] != 0)
            if counts[s.value[e]] > state[1]:
                state[1], state[2] = counts[s.value[e]], e
    return bool(state[1] and s.fine[state[2]] != 0)


@njit(cache=True, nogil=True)
def follow(
    s: Side, kind: int, counts: Array, state: Array, q: Queue, now: Array, low: int, high: int,
    negated: bool, rows_max: int, holds: Array, next_us: Array, left: Array,
) -> None:  # fmt: skip
    """The answer of every profile at now and the next instant at which it turns (0: never).

    left: profiles with more than `rows_max` rows, whose answer is looked for one by one.
    """
    s, q, counts, state = bare(s), bare(q), bare(counts), bare(state)
    for g in range(s.owner.size):
        owner = s.owner[g]
        first, last = s.start[g], s.start[g + 1]
        if last - first > rows_max:
            left[owner] = 1
            continue
        q.head[:] = 0
        state[:] = 0
        while first < last and s.until[first] <= now[owner]:
            first += 1
        end = first
        while end < last and (s.begin[end] <= now[owner] or not _lies(s, end)):
            if _lies(s, end):
                _come(s, kind, end, counts, state, q)
            end += 1
        before = _answer(s, kind, first, end, counts, state, q, low, high, negated)
        holds[owner] = before
        while True:
            while first < end and not _lies(s, first):
                first += 1
            while end < last and not _lies(s, end):
                end += 1
            at = s.until[first] if first < end else NEVER
            if end < last:
                at = min(at, s.begin[end])
            if at == NEVER:
                break
            while end < last and (s.begin[end] <= at or not _lies(s, end)):
                if _lies(s, end):
                    _come(s, kind, end, counts, state, q)
                end += 1
            while first < end and (s.until[first] <= at or not _lies(s, first)):
                if _lies(s, first):
                    _go(s, kind, first, counts, state, q)
                first += 1
            if _answer(s, kind, first, end, counts, state, q, low, high, negated) != before:
                next_us[owner] = at
                break
        while first < end:
            if _lies(s, first):
                _go(s, kind, first, counts, state, q)
            first += 1


@njit(cache=True, nogil=True)
def _step(s: Side, at: int, place: Array, last: int, counts: Array, state: Array) -> None:
    """Moves a window to an instant. place: first row inside, end; state: different marks inside."""
    while place[1] < last and (s.begin[place[1]] <= at or not _lies(s, place[1])):
        if _lies(s, place[1]):
            mark = s.value[place[1]]
            counts[mark] += 1
            if counts[mark] == 1:
                state[0] += 1
        place[1] += 1
    while place[0] < place[1] and (s.until[place[0]] <= at or not _lies(s, place[0])):
        if _lies(s, place[0]):
            mark = s.value[place[0]]
            counts[mark] -= 1
            if counts[mark] == 0:
                state[0] -= 1
        place[0] += 1


@njit(cache=True, nogil=True)
def _next(s: Side, place: Array, last: int) -> Number:
    at = s.until[place[0]] if place[0] < place[1] else NEVER
    return min(at, s.begin[place[1]]) if place[1] < last else at


@njit(cache=True, nogil=True)
def _share(over: int, under: int, least: int, bounds: Array, negated: bool) -> bool:
    """Whether over / under lies between two fractions. bounds: numerator, denominator (0: open),
    whether the bound is in, of the lower and the upper one."""
    if under < least:
        return False
    inside = True
    if bounds[1]:
        low = over * bounds[1] - bounds[0] * under
        inside = low > 0 or (low == 0 and bounds[2] != 0)
    if bounds[4]:
        high = over * bounds[4] - bounds[3] * under
        inside = inside and (high < 0 or (high == 0 and bounds[5] != 0))
    return inside != negated


@njit(cache=True, nogil=True)
def follow_shares(
    a: Side, b: Side, a_counts: Array, b_counts: Array, now: Array, least: int, bounds: Array,
    negated: bool, scratch: Array, holds: Array, next_us: Array,
) -> None:  # fmt: skip
    """The share of the marks of one selection in those of another; `value` is a row's mark.

    scratch: four rows of two. Profiles without a row of `b` have no value.
    """
    a, b, a_counts, b_counts = bare(a), bare(b), bare(a_counts), bare(b_counts)
    above, below = bare(scratch[0]), bare(scratch[1])
    one, other = bare(scratch[2]), bare(scratch[3])
    h = 0
    for g in range(b.owner.size):
        owner = b.owner[g]
        while h < a.owner.size and a.owner[h] < owner:
            h += 1
        mine = h < a.owner.size and a.owner[h] == owner
        a_first, a_last = (a.start[h], a.start[h + 1]) if mine else (np.int64(0), np.int64(0))
        b_last = b.start[g + 1]
        one[:] = a_first
        other[:] = b.start[g]
        _step(a, now[owner], one, a_last, a_counts, above)
        _step(b, now[owner], other, b_last, b_counts, below)
        before = _share(above[0], below[0], least, bounds, negated)
        holds[owner] = before
        at = min(_next(a, one, a_last), _next(b, other, b_last))
        while at < NEVER:
            _step(a, at, one, a_last, a_counts, above)
            _step(b, at, other, b_last, b_counts, below)
            if _share(above[0], below[0], least, bounds, negated) != before:
                next_us[owner] = at
                break
            at = min(_next(a, one, a_last), _next(b, other, b_last))
        for place in range(one[0], one[1]):
            if _lies(a, place):
                a_counts[a.value[place]] -= 1
        for place in range(other[0], other[1]):
            if _lies(b, place):
                b_counts[b.value[place]] -= 1
        above[0] = 0
        below[0] = 0

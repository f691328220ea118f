"""Streams: the rows of one selection (types, filter) in order of event time.

A stream holds three sorted runs: *main*, *late* and *tail*. A row slightly out of order is put
between its neighbours in main; a later one goes to the tail, the tail is merged into late, late
into main when it has grown to an eighth of it. A cursor has a place in each run, and places add up
when runs are merged, so disorder never costs a sort. Measures are columns of amounts beside the
rows, in units of 10^-6, or numbers of numeric elements; an amount that does not fit marks its
profile as exact: such a profile's sums are computed from its rows instead. Hot kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import (
    Array,
    Number,
    at_i32,
    at_i64,
    at_u8,
    bare,
    grown,
)
from services.segments.engine.columns.log_index import LogIndex
from services.segments.engine.store.events import EventRows, ahead
from services.segments.engine.store.predicates import Predicates
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC

MAIN, LATE, TAIL, RUNS = 0, 1, 2, 3
SCALE = 6
"""Decimals of the amounts in a measure."""
AMOUNT_MAX = 1 << 60
UNBOUNDED = 1 << 40
"""Length given to an array reached by address whose index is known to be good."""


class StreamView(NamedTuple):
    """Tables of addresses and lengths by (stream, run) and (measure, run)."""

    occur: Array
    slot: Array
    row: Array
    length: Array
    measure_ptr: Array
    measures: Array
    amounts: Array
    measure_key: Array
    exact: Array


@njit(cache=True, nogil=True, inline="always")
def amount_of(e: EventRows, p: Predicates, row: int, key: int) -> tuple[Number, bool]:
    """(sum of the numeric elements of a property in units of 10^-6, whether it fits).

    key: -1 - the property's: their number instead.
    """
    start = e.prop_end[row - 1] if row > 0 else np.int64(0)
    total = np.int64(0)
    if key < 0:
        for q in range(start, e.prop_end[row]):
            if e.key[q] == -1 - key:
                kind = e.kind[q]
                if kind in (2, 3) or (kind == 1 and p.exponents[e.value[q]] != NOT_NUMERIC):
                    total += 1
        return total, True
    for q in range(start, e.prop_end[row]):
        if e.key[q] != key:
            continue
        kind = e.kind[q]
        if kind == 1:
            text = e.value[q]
            digits = p.exponents[text]
            if digits == NOT_NUMERIC:
                continue
            if digits == BIG_NUMERIC:
                return np.int64(0), False
            units = p.units[text]
        elif kind == 2 or kind == 3:
            digits = e.exponent[q]
            units = e.value[q]
        else:
            continue
        while digits > SCALE and units % 10 == 0 and digits <= 18:
            units //= 10
            digits -= 1
        if digits > SCALE:
            return np.int64(0), False
        power = p.powers[SCALE - digits]
        if abs(units) > AMOUNT_MAX // power:
            return np.int64(0), False
        total += units * power
        if abs(total) > AMOUNT_MAX:
            return np.int64(0), False
    return total, True


@njit(cache=True, nogil=True)
def _merge_in(occur: Array, slot: Array, row: Array, n: int, new: Array, e: EventRows) -> Number:
    """Merges sorted new rows into a run with room, from its end; the first place that changed."""
    i, j, k = n - 1, new.size - 1, n + new.size - 1
    while j >= 0:
        t = e.occur[new[j]]
        while i >= 0 and occur[i] > t:
            occur[k] = occur[i]
            slot[k] = slot[i]
            row[k] = row[i]
            i -= 1
            k -= 1
        occur[k] = t
        slot[k] = e.slot[new[j]]
        row[k] = new[j]
        j -= 1
        k -= 1
    return k + 1


@njit(cache=True, nogil=True)
def _merge_amounts(
    amounts: Array, row: Array, n: int, new: Array, first: int, e: EventRows, p: Predicates,
    key: int, exact: Array, slot_row: Array,
) -> None:  # fmt: skip
    """Moves a measure's amounts as `_merge_in` moved the rows, and adds the new ones."""
    source = n - 1
    newest = new.size - 1
    for k in range(n + new.size - 1, first - 1, -1):
        if newest >= 0 and row[k] == new[newest]:
            amount, fits = amount_of(e, p, row[k], key)
            amounts[k] = amount
            owner = slot_row[e.slot[row[k]]]
            if not fits and owner >= 0:
                exact[owner] = 1
            newest -= 1
        else:
            amounts[k] = amounts[source]
            source -= 1


@njit(cache=True, nogil=True)
def _insert_run(
    s: int, run: int, new: Array, v: StreamView, e: EventRows, p: Predicates, slot_row: Array
) -> None:
    n = v.length[s, run]
    room = n + new.size
    row = at_i32(v.row[s, run], room)
    first = _merge_in(at_i64(v.occur[s, run], room), at_i32(v.slot[s, run], room), row, n, new, e)
    for i in range(v.measure_ptr[s], v.measure_ptr[s + 1]):
        m = v.measures[i]
        _merge_amounts(
            at_i64(v.amounts[m, run], room), row, n, new, first, e, p, v.measure_key[m],
            at_u8(v.exact[m], UNBOUNDED), slot_row,
        )  # fmt: skip
    v.length[s, run] = room


@njit(cache=True, nogil=True)
def insert(
    s: int, rows: Array, v: StreamView, e: EventRows, p: Predicates, slot_row: Array, shift_max: int
) -> int:
    """Puts rows (ordered by occur time) into a stream with room; how many went to the tail."""
    n = v.length[s, MAIN]
    late = 0
    if n > shift_max:
        bound = at_i64(v.occur[s, MAIN], n)[n - shift_max]
        while late < rows.size and e.occur[rows[late]] < bound:
            late += 1
    if late:
        _insert_run(s, TAIL, rows[:late], v, e, p, slot_row)
    if late < rows.size:
        _insert_run(s, MAIN, rows[late:], v, e, p, slot_row)
    return late


@njit(cache=True, nogil=True)
def _fill_amounts(
    e: EventRows, p: Predicates, rows: Array, key: int, amounts: Array, fits: Array
) -> None:
    e, p = bare(e), bare(p)
    for i in range(rows.size):
        ahead(e, rows, i, True)
        amounts[i], good = amount_of(e, p, rows[i], key)
        fits[i] = good


def fill_amounts(e: EventRows, p: Predicates, rows: Array, key: int, amounts: Array) -> Array:
    """Writes the amounts of rows; one byte per row: whether it fits. key: as `amount_of` has it."""
    fits = np.ones(rows.size, np.uint8)
    _fill_amounts(e, p, rows, key, amounts, fits)
    return fits


@njit(cache=True, nogil=True)
def _merge_runs(a: Array, b: Array, order: Array) -> None:
    """order[k]: place in a, or len(a) + place in b, of the k-th smallest; ties: a first."""
    i = j = 0
    for k in range(a.size + b.size):
        if j >= b.size or (i < a.size and a[i] <= b[j]):
            order[k] = i
            i += 1
        else:
            order[k] = a.size + j
            j += 1


Measured = tuple[str, bool]
"""(property, whether its numeric elements are counted instead of added up)."""


@dataclass(slots=True)
class Run:
    """One sorted run: arrays with room, and how much of them is in use."""

    occur: Array = field(default_factory=lambda: np.zeros(16, np.int64))
    slot: Array = field(default_factory=lambda: np.zeros(16, np.int32))
    row: Array = field(default_factory=lambda: np.zeros(16, np.int32))
    amounts: dict[int, Array] = field(default_factory=dict)
    """Measure -> amounts."""

    def room(self) -> int:
        """Rows that fit into every array."""
        arrays = (self.occur, self.slot, self.row, *self.amounts.values())
        return min(array.size for array in arrays)


@dataclass(slots=True)
class Stream:
    """A selection and its runs."""

    number: int
    selector: rule.Selector
    filter_number: int
    serial: int
    """Another one whenever rows of main may have changed their places: names it in snapshots."""
    runs: list[Run] = field(default_factory=lambda: [Run() for _ in range(RUNS)])
    measures: dict[Measured, int] = field(default_factory=dict)
    """What is measured -> number of the measure."""

    def takes(self, event_type: str) -> bool:
        """Whether the selection looks at events of a type."""
        chosen = self.selector
        if not chosen.types and not chosen.prefix:
            return True
        return event_type in chosen.types or bool(
            chosen.prefix and event_type.startswith(chosen.prefix)
        )


class StreamTable:
    """Streams in use, their measures, and the tables kernels need."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.by_selector: dict[rule.Selector, int] = {}
        self.free: list[int] = []
        self.measures: dict[int, tuple[int, int, Measured]] = {}
        """Measure -> (stream, key as `amount_of` takes it, what is measured)."""
        self.unfilled: set[int] = set()
        """Measures that are begun: not all amounts are there."""
        self.free_measures: list[int] = []
        self.measure_serials: dict[int, int] = {}
        self.serial = 0
        """The last serial given; none is given twice, so what has one is written once."""
        self.exact: dict[int, Array] = {}
        """Measure -> one byte per profile: sums come from its rows."""
        self.index = LogIndex()
        self.length = np.zeros((8, RUNS), np.int64)
        self.rooms = np.zeros((8, 2), np.int64)
        """Rows that fit into main and tail."""
        self._view: StreamView | None = None

    def touched(self) -> None:
        """An array was replaced: addresses are taken anew."""
        self._view = None

    def view(self) -> StreamView:
        if self._view is None:
            self._view = self._build()
        return self._view

    def _build(self) -> StreamView:
        size = max([*self.streams, 0]) + 1
        occur, slot, row = (np.zeros((size, RUNS), np.int64) for _ in range(3))
        self.rooms = np.zeros((self.length.shape[0], 2), np.int64)
        count = max([*self.measures, 0]) + 1
        amounts = np.zeros((count, RUNS), np.int64)
        keys, exact = np.zeros(count, np.int64), np.zeros(count, np.int64)
        pointer = np.zeros(size + 1, np.int64)
        measures: list[int] = []
        for s in range(size):
            stream = self.streams.get(s)
            if stream is not None:
                self.rooms[s] = stream.runs[MAIN].room(), stream.runs[TAIL].room()
                for r, run in enumerate(stream.runs):
                    occur[s, r], slot[s, r] = run.occur.ctypes.data, run.slot.ctypes.data
                    row[s, r] = run.row.ctypes.data
                    for m, values in run.amounts.items():
                        amounts[m, r] = values.ctypes.data
                measures += stream.measures.values()
            pointer[s + 1] = len(measures)
        for m, (_, key, _) in self.measures.items():
            keys[m], exact[m] = key, self.exact[m].ctypes.data
        return StreamView(
            occur, slot, row, self.length, pointer, np.array(measures, np.int64), amounts, keys,
            exact,
        )  # fmt: skip

    def add(self, selector: rule.Selector, filter_number: int, number: int | None = None) -> Stream:
        """A new, empty stream; number: of one that is taken up again."""
        if number is None:
            number = self.free.pop() if self.free else len(self.streams)
        self.serial += 1
        stream = self.streams[number] = Stream(number, selector, filter_number, self.serial)
        self.by_selector[selector] = number
        self.length = grown(self.length, number + 1)
        self.length[number] = 0
        self._view = None
        return stream

    def drop(self, number: int) -> None:
        stream = self.streams.pop(number)
        del self.by_selector[stream.selector]
        for measure in stream.measures.values():
            del self.measures[measure], self.measure_serials[measure], self.exact[measure]
            self.free_measures.append(measure)
        self.free.append(number)
        self._view = None

    def drop_measure(self, number: int) -> None:
        """Ends a measure: nobody keeps its marks of exact profiles up any more."""
        stream, _, measured = self.measures.pop(number)
        del self.streams[stream].measures[measured], self.exact[number]
        del self.measure_serials[number]
        for run in self.streams[stream].runs:
            del run.amounts[number]
        self.free_measures.append(number)
        self._view = None

    def filled(self, stream: Stream) -> dict[Measured, int]:
        """The measures of a stream of which all amounts are there."""
        return {what: one for what, one in stream.measures.items() if one not in self.unfilled}

    def new_measure(self, stream: Stream, measured: Measured, key: int, profiles: int) -> int:
        """A measure whose amounts nobody has filled in yet. key: number of the property's name."""
        number = self.free_measures.pop() if self.free_measures else len(self.measures)
        self.serial += 1
        stream.measures[measured] = number
        self.measures[number] = (stream.number, -1 - key if measured[1] else key, measured)
        self.measure_serials[number] = self.serial
        self.exact[number] = np.zeros(max(profiles, 16), np.uint8)
        self._view = None
        return number

    def reserve(self, counts: Array) -> None:
        """Room for `counts[s]` more rows in main and tail of each stream."""
        self.view()
        wanted = self.length[: counts.size, MAIN::TAIL] + counts[:, None]
        for s in np.flatnonzero((wanted > self.rooms[: counts.size]).any(axis=1) & (counts > 0)):
            stream = self.streams[int(s)]
            for r in (MAIN, TAIL):
                self._grow(stream.runs[r], int(self.length[s, r] + counts[s]))

    def _grow(self, run: Run, wanted: int) -> None:
        run.occur, run.slot = grown(run.occur, wanted), grown(run.slot, wanted)
        run.row = grown(run.row, wanted)
        for measure, amounts in run.amounts.items():
            run.amounts[measure] = grown(amounts, wanted)
        self._view = None

    def reserve_profiles(self, profiles: int) -> None:
        """Room for a mark per profile in every measure."""
        for measure, exact in self.exact.items():
            if exact.size < profiles:
                self.exact[measure] = grown(exact, profiles)
                self._view = None

    def merge_due(self, tail_max: int, late_min: int) -> list[tuple[int, int, int]]:
        """Merges runs that have grown; (stream, from run, into run) in the order it was done.

        Whoever holds places in the runs adds those of the first to those of the second.
        """
        done = []
        for s in np.flatnonzero(self.length[:, TAIL] > tail_max).tolist():
            if s not in self.streams:
                continue
            self._merge(s, TAIL, LATE)
            done.append((s, TAIL, LATE))
            late, main = int(self.length[s, LATE]), int(self.length[s, MAIN])
            if late > max(late_min, main // 8):
                self._merge(s, LATE, MAIN)
                done.append((s, LATE, MAIN))
        return done

    def _merge(self, s: int, source: int, target: int) -> None:
        one, other = self.streams[s].runs[target], self.streams[s].runs[source]
        n, m = int(self.length[s, target]), int(self.length[s, source])
        order = np.empty(n + m, np.int64)
        _merge_runs(one.occur[:n], other.occur[:m], order)
        room = n + m + 64
        for name in ("occur", "slot", "row"):
            joined = np.concatenate((getattr(one, name)[:n], getattr(other, name)[:m]))
            setattr(one, name, grown(joined[order], room))
        for measure, amounts in one.amounts.items():
            joined = np.concatenate((amounts[:n], other.amounts[measure][:m]))
            one.amounts[measure] = grown(joined[order], room)
        self.length[s, target], self.length[s, source] = n + m, 0
        if target == MAIN:
            self.serial += 1
            self.streams[s].serial = self.serial
        self._view = None

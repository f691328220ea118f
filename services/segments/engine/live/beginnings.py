"""What a new leaf is kept up from: streams, measures, cursors, begun in pieces between which steps
may run.

Each is of the same content as if it had been begun at once at the instant its last piece ends, so
it does not show in what is said whether, when and in how many pieces it was begun:

- A stream takes its rows from the log as it stood at the beginning, apart from everything; what
  takes effect meanwhile is put into it, as into any stream, in the piece in which it joins.
- A measure stands beside its stream from the first piece on, so rows that come, move or are merged
  bring their amounts along; the others are filled in a stretch of event time at a time, in which
  rows do not move. Until the last one it is `unfilled`, and nobody else reads it.
- A cursor walks from the first piece on over the rows not older than `covered_us`, the last of its
  stream at first, which goes back a stretch at a time; it has no leaf before it covers all.

A generator of this module rests where it yields, and may be finished at once at any of its rests.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.windows import Window
from services.segments.engine.base.arrays import Array
from services.segments.engine.columns.choosing import Chosen, choose, in_time
from services.segments.engine.columns.scans import add_run, pass_rows
from services.segments.engine.language.expressions import AverageLeaf
from services.segments.engine.live import reader
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.live.cursor_table import BEGINNING, Cursor, CursorLeaf, key_of
from services.segments.engine.live.cursors import COUNT, OPEN
from services.segments.engine.live.streams import MAIN, RUNS, Run, Stream, fill_amounts, insert
from services.segments.engine.live.totals import EMPTY, inside
from services.segments.engine.partition import Partition

PIECE_ROWS = 1 << 16
"""Rows of a piece; a third of that where properties are read."""
READ_ROWS = PIECE_ROWS // 3
SAMPLED = 64
"""Of so many rows one is looked at to cut event time into stretches with about a piece of them."""
ROOM = 8
"""Times its rows that a stream has room for: memory nobody has written to costs nothing, and moving
to a larger place is a pause."""


def stream(part: Partition, selector: rule.Selector) -> Generator[None, None, Stream]:
    """The stream of a selection, begun when there is none."""
    known = part.streams.by_selector.get(selector)
    if known is not None:
        return part.streams.streams[known]
    number = -1 if selector.where is None else part.filters.number_of(selector.where)
    at, seen = part.now, part.events.count
    chosen = yield from choose(part, selector, ALWAYS, OPEN, seen, {}, PIECE_ROWS)
    main, count, waiting = yield from _in_order(part, chosen, at)
    while seen < part.events.count:
        last = min(part.events.count, seen + PIECE_ROWS)
        rows = np.arange(seen, last, dtype=np.int32)
        wanted = part.wanted_types(selector)
        waiting.append(_passing(part, rows[wanted[part.events.view.type[rows]] != 0], number))
        seen = last
        if seen < part.events.count:
            yield
    found = np.concatenate([np.zeros(0, np.int32), *waiting])
    found = found[_effects(part, found) <= part.now]
    return _join(part, selector, number, main, found, count)


def _passing(part: Partition, rows: Array, number: int) -> Array:
    """Those of some rows that pass a filter (-1: none)."""
    if number < 0:
        return rows
    mask, asked = np.empty(rows.size, np.uint8), False
    while not asked:
        view, tests = part.events.view, part.tests.view()
        pass_rows(view, tests, part.filters.view(), rows, number, mask)
        asked = part.tests.answered()
    return rows[mask != 0]


def _effects(part: Partition, rows: Array) -> Array:
    """The instants at which rows take effect."""
    view = part.events.view
    return np.maximum(view.occur[rows], view.accept[rows])


def _in_order(
    part: Partition, chosen: list[Chosen], at: int
) -> Generator[None, None, tuple[Run, int, list[Array]]]:
    """(a run of the rows that are in force at an instant in order of event time, with room; how
    many they are; the others), a stretch of event time at a time."""
    total = sum(int(one.mask.sum()) if one.mask.size else one.end - one.first for one in chosen)
    main = Run(_roomy(total, np.int64), _roomy(total, np.int32), _roomy(total, np.int32))
    sample = [one.taken(one.run.occur)[::SAMPLED] for one in chosen]
    times, alike = np.sort(np.concatenate([EMPTY, *sample])), max(PIECE_ROWS // SAMPLED, 1)
    edges = [ALWAYS, *np.unique(times[alike::alike]).tolist(), OPEN]
    late = any(one.run.accepted_us > at for one in chosen)
    first, waiting = 0, []
    for low, end in pairwise(edges):
        stretch = [one.within(low, end - 1) for one in chosen]
        rows, occur, slots = in_time([one for one in stretch if one.first < one.end])
        if late or (occur.size and occur[-1] > at):
            waits = _effects(part, rows) > at
            waiting.append(rows[waits])
            rows, occur, slots = rows[~waits], occur[~waits], slots[~waits]
        here = slice(first, first + rows.size)
        main.row[here], main.occur[here], main.slot[here] = rows, occur, slots
        first += rows.size
        yield
    return main, first, waiting


def _roomy(rows: int, kind: type) -> Array:
    try:
        return np.zeros((rows + 64) * ROOM, kind)
    except MemoryError:
        return np.zeros(rows + rows // 8 + 64, kind)


def _join(
    part: Partition, selector: rule.Selector, number: int, main: Run, late: Array, count: int
) -> Stream:
    """A stream of a run of `count` rows, into which `late` (in no order) are put."""
    table, view = part.streams, part.events.view
    made = table.add(selector, number)
    made.runs[MAIN] = main
    table.length[made.number] = (count, 0, 0)
    table.touched()
    if late.size:
        late = late[np.lexsort((late, view.occur[late]))].astype(np.int64)
        counts = np.zeros(table.length.shape[0], np.int64)
        counts[made.number] = late.size
        table.reserve(counts)
        insert(
            made.number, late, table.view(), view, part.tests.view(), part.people.slot_row,
            part.limits.shift_rows_max,
        )  # fmt: skip
    part.rerouted()
    return made


def measure(part: Partition, of: Stream, name: str, elements: bool) -> Generator[None, None, int]:
    """A measure of a property, or of its number of elements, begun when there is none."""
    table, measured = part.streams, (name, elements)
    known = of.measures.get(measured)
    if known is not None:
        return known
    number = table.new_measure(of, measured, part.names.number_of(name), part.capacity)
    for run in of.runs:
        run.amounts[number] = np.zeros(run.occur.size, np.int64)
    table.touched()
    table.unfilled.add(number)
    begin = ALWAYS
    while begin < OPEN:
        end = _later(part, of, begin)
        _fill(part, of, number, begin, end)
        begin = end
        if begin < OPEN:
            yield
    table.unfilled.discard(number)
    return number


def _later(part: Partition, of: Stream, begin: int) -> int:
    """Where a stretch of event time ends that takes about a piece of a stream's rows."""
    main = of.runs[MAIN].occur[: int(part.streams.length[of.number, MAIN])]
    place = int(np.searchsorted(main, begin)) + READ_ROWS
    return OPEN if place >= main.size else max(int(main[place]), begin + 1)


def _fill(part: Partition, of: Stream, number: int, begin: int, end: int) -> None:
    """Writes the amounts of the rows in a stretch of event time."""
    table, key = part.streams, part.streams.measures[number][1]
    for r, run in enumerate(of.runs):
        times = run.occur[: int(table.length[of.number, r])]
        here = slice(*np.searchsorted(times, (begin, end)).tolist())
        fits = fill_amounts(
            part.events.view, part.tests.view(), run.row[here], key, run.amounts[number][here]
        )
        owners = part.people.slot_row[run.slot[here][fits == 0]]
        table.exact[number][owners[owners >= 0]] = 1


def cursor(part: Partition, spec: CursorLeaf) -> Generator[None, None, Cursor]:
    """The cursor that a leaf asks, without the leaf, begun when there is none."""
    key, table = key_of(spec), part.cursors
    known = table.by_key.get(key)
    if known is not None:
        return table.cursors[known]
    of = yield from stream(part, spec.events)
    amounts = elements = -1
    if spec.property:
        amounts = yield from measure(part, of, spec.property, False)
    if isinstance(spec, AverageLeaf):
        elements = yield from measure(part, of, spec.property, True)
    made = table.add(key, of.number, amounts, part.capacity, elements)
    made.covered_us = OPEN
    reader.begin_cursor(part, part.streams, table, made)
    low = inside(made.window, part.now)[0]
    while made.covered_us > BEGINNING:
        begin = _earlier(part, of, made.covered_us)
        _cover(part, of, made, begin if begin > low else BEGINNING)
        table.touched()
        if made.covered_us > BEGINNING:
            yield
    return made


def _earlier(part: Partition, of: Stream, end: int) -> int:
    """Where a stretch of event time begins that takes about a piece of a stream's rows."""
    main = of.runs[MAIN].occur[: int(part.streams.length[of.number, MAIN])]
    place = int(np.searchsorted(main, end)) - PIECE_ROWS
    return BEGINNING if place <= 0 else int(main[place])


def _cover(part: Partition, of: Stream, made: Cursor, begin: int) -> None:
    """Adds to a cursor's figures the rows of its window from an event time up to those it walks
    over already."""
    table, window, summed = part.streams, made.window, made.figure.dtype == np.int64
    since, until = begin, made.covered_us
    if isinstance(window, Window):
        since = max(since, BEGINNING if window.since_us is None else window.since_us)
        until = min(until, OPEN if window.until_us is None else window.until_us)
    places, enters = part.cursors.place[made.number], made.edges()[1] > 0
    exact = table.exact[made.measure] if made.measure >= 0 else np.zeros(0, np.uint8)
    for r, run in enumerate(of.runs):
        n = int(table.length[of.number, r])
        first, last = np.searchsorted(run.occur[:n], (since, until)).tolist()
        first, last = max(first, int(places[r])), min(last, int(places[RUNS + r]) if enters else n)
        here = slice(first, max(first, last))
        add_run(
            run.slot[here],
            run.amounts[made.measure][here] if made.measure >= 0 else EMPTY,
            run.amounts[made.elements_measure][here] if made.elements_measure >= 0 else EMPTY,
            part.people.slot_row, made.kind,
            made.figure if made.kind == COUNT else made.elements,
            made.figure if summed else EMPTY, exact,
        )  # fmt: skip
    made.covered_us = begin

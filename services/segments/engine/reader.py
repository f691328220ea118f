"""What is begun from the log as of now: streams, measures, cursors; and who has what now."""

from __future__ import annotations

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.arrays import Array
from services.segments.engine.attributes import test_all
from services.segments.engine.cursor_table import Cursor, CursorTable
from services.segments.engine.cursors import COUNT, settle
from services.segments.engine.expressions import AverageLeaf, DayLeaf, FigureLeaf
from services.segments.engine.partition import Partition
from services.segments.engine.scans import select_among, with_kinds
from services.segments.engine.streams import Stream, StreamTable

ALWAYS = -(1 << 62)


def among(part: Partition, selector: rule.Selector, low: int, rows: int) -> Array:
    """Those of the log's first `rows` rows, which the index has taken in, that are of a selection's
    types, in their order; without most that are older than `low`."""
    index = part.streams.index
    first = min(index.first(low), rows)
    if not selector.types and not selector.prefix:
        return np.arange(first, rows, dtype=np.int32)
    return index.of(np.flatnonzero(part.wanted_types(selector)), first, rows)


def rows_in_force(part: Partition, selector: rule.Selector, filter_number: int) -> Array:
    """Rows that a selection takes among all that took effect by now, in order of the log."""
    view, count = part.events.view, part.events.count
    for _ in part.streams.index.grow(view.type, view.occur, count, len(part.names.names)):
        pass
    chosen = among(part, selector, ALWAYS, count)
    rows, n, asked = np.empty(chosen.size, np.int32), 0, False
    while not asked:
        n = select_among(
            view, part.tests.view(), part.filters.view(), chosen, filter_number, ALWAYS, part.now,
            rows,
        )  # fmt: skip
        asked = part.tests.answered()
    return rows[:n]


def begin_stream(part: Partition, table: StreamTable, selector: rule.Selector) -> Stream:
    """A stream with all its rows, in `table`."""
    number = -1 if selector.where is None else part.filters.number_of(selector.where)
    rows = rows_in_force(part, selector, number)
    stream = table.add(selector, number)
    view = part.events.view
    table.fill(stream, rows, view.occur[rows], view.slot[rows])
    return stream


def begin_measures(
    part: Partition, table: StreamTable, stream: Stream, spec: FigureLeaf | AverageLeaf
) -> tuple[int, int]:
    """(measure of a leaf's amounts, of their numbers of elements) over all rows; -1: none."""

    def measure(elements: bool) -> int:
        return table.add_measure(
            stream, (spec.property, elements), part.names.number_of(spec.property),
            part.events.view, part.tests.view(), part.people.slot_row, part.capacity,
        )  # fmt: skip

    if not spec.property:
        return -1, -1
    return measure(False), measure(True) if isinstance(spec, AverageLeaf) else -1


def begin_cursor(
    part: Partition, streams: StreamTable, cursors: CursorTable, cursor: Cursor
) -> None:
    """Sets a cursor's places and figures as of now."""
    if cursor.refill(part.now, part.now):
        cursors.touched()
    counts = cursor.figure if cursor.kind == COUNT else cursor.elements
    sums = cursor.figure if cursor.figure.dtype == np.int64 else np.zeros(1, np.int64)
    settle(
        cursors.view(), streams.view(), cursor.number, part.people.slot_row, part.now, counts, sums
    )


def stream_rows(table: StreamTable, stream: Stream) -> Array:
    """The rows of a stream, in no order."""
    lengths = table.length[stream.number]
    return np.concatenate([one.row[:n] for one, n in zip(stream.runs, lengths, strict=True)])


def standing_profiles(part: Partition) -> Array:
    """Profiles that are created and not absorbed, one bool per row."""
    people, rows = part.people, part.people.rows
    return np.asarray((people.created_us[:rows] <= part.now) & (people.absorbed[:rows] == 0))


def standing_records(part: Partition, attribute: str) -> Array:
    """The record that stands of an attribute for every profile row, -1 where there is none."""
    key = part.names.number_of(attribute)
    part.attributes.follow([key], part.people, part.now)
    return part.attributes.records(key, part.people.rows).astype(np.int32)


def attribute_holding(part: Partition, attribute: str, test: int) -> Array:
    """Which profiles' value of an attribute satisfies a test."""
    key, rows = part.names.number_of(attribute), part.people.rows
    part.attributes.follow([key], part.people, part.now)
    cells = part.attributes.current[key][:rows]
    found = np.zeros(rows, bool)
    while True:
        answers = np.zeros(part.texts.count, np.uint8)
        test_all(part.attributes.view, part.tests.view(), cells, test, answers, found)
        if part.tests.answered():
            return found


def kinds_holding(part: Partition, kinds: tuple[str, ...]) -> Array:
    """Which profiles have an identifier of one of these kinds."""
    people, found = part.people, np.zeros(part.people.rows, bool)
    n = people.slots
    with_kinds(people.slot_kind[:n], people.slot_row[:n], wanted_kinds(part, kinds), found)
    return found


def wanted_kinds(part: Partition, kinds: tuple[str, ...]) -> Array:
    """One byte per name: whether it is one of these kinds of identifiers."""
    numbers, wanted = part.names.numbers, np.zeros(len(part.names.names), np.uint8)
    wanted[[numbers[kind.encode()] for kind in kinds if kind.encode() in numbers]] = 1
    return wanted


def day_holding(part: Partition, spec: DayLeaf) -> Array:
    """Which profiles' day comes round."""
    live = part.days.calendars.get(spec)
    if live is not None:
        return part.days.holding(live)
    found = part.days.add(spec, -1, part.now)
    part.days.drop(spec)
    return found

"""Reader A: answers from scratch, over columns. A window is a slice, a figure an array scatter.

Used for questions, for the first members of a new rule, and to begin cursors at an instant. All
answers are at `part.now`.
"""

from __future__ import annotations

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.values import Op
from services.segments.domain.windows import Span
from services.segments.engine import persons
from services.segments.engine.arrays import Array
from services.segments.engine.attributes import test_all
from services.segments.engine.cursor_table import (
    Cursor,
    CursorLeaf,
    CursorTable,
    Key,
    clipped,
    key_of,
)
from services.segments.engine.cursors import COUNT, SUM_MAX, settle
from services.segments.engine.expressions import (
    AttributeLeaf,
    AverageLeaf,
    DayLeaf,
    Expression,
    FigureLeaf,
    KindsLeaf,
    LeafSpec,
    ListLeaf,
    PastLeaf,
    RowsLeaf,
    WordLeaf,
    run,
)
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import holding as pasts
from services.segments.engine.streams import (
    RUNS,
    SCALE,
    Measured,
    Stream,
    StreamTable,
    select_rows,
)

UNITS = 10**SCALE


def rows_in_force(part: Partition, selector: rule.Selector, filter_number: int) -> Array:
    """Rows that a selection takes among all that took effect by now."""
    wanted = part.wanted_types(selector)
    found = np.empty(part.events.count, np.int32)
    while True:
        n = int(
            select_rows(
                part.events.view, part.tests.view(), part.filters.view(), wanted, filter_number,
                part.events.count, part.now, found,
            )
        )  # fmt: skip
        if part.tests.answered():
            return found[:n].copy()


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


def rows_by_profile(
    part: Partition, streams: StreamTable, stream: int, window: Span, only: Array | None
) -> dict[int, list[int]]:
    """Rows in a window at now, by profile, in order of time. only: a mask of profiles."""
    rows_found, slots_found = [], []
    for r in range(RUNS):
        run_ = streams.streams[stream].runs[r]
        n = int(streams.length[stream, r])
        rows_found.append(run_.row[:n])
        slots_found.append(run_.slot[:n])
    rows = np.concatenate(rows_found).astype(np.int64)
    owners = part.people.slot_row[np.concatenate(slots_found)]
    kept = owners >= 0
    if only is not None:
        kept &= only[np.maximum(owners, 0)].astype(bool)
    rows, owners = rows[kept], owners[kept]
    inside = np.isin(rows, persons.in_window(part, rows, window, part.now), assume_unique=True)
    rows, owners = rows[inside], owners[inside]
    view = part.events.view
    order = np.lexsort((rows, view.accept[rows], view.occur[rows], owners))
    found: dict[int, list[int]] = {}
    for owner, row in zip(owners[order].tolist(), rows[order].tolist(), strict=True):
        found.setdefault(owner, []).append(row)
    return found


class Reader:
    """Answers leaves and expressions; one reader per question shares what its leaves share."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.aside = StreamTable()
        """Streams that no live rule needs, for this question only."""
        self.figures: dict[Key, Cursor] = {}
        self.answers: dict[LeafSpec, Array] = {}

    def stream(self, selector: rule.Selector, *measured: Measured) -> tuple[StreamTable, Stream]:
        """The stream of a selection, live when it has these measures, or for this question."""
        live = self.part.streams.by_selector.get(selector)
        if live is not None:
            stream = self.part.streams.streams[live]
            if all(one in stream.measures for one in measured):
                return self.part.streams, stream
        number = self.aside.by_selector.get(selector)
        if number is None:
            return self.aside, begin_stream(self.part, self.aside, selector)
        return self.aside, self.aside.streams[number]

    def rows(self, selector: rule.Selector) -> Array:
        """The rows in force that a selection takes, in no order."""
        table, stream = self.stream(selector)
        runs, lengths = stream.runs, table.length[stream.number]
        return np.concatenate([run_.row[:n] for run_, n in zip(runs, lengths, strict=True)])

    def holding(self, spec: LeafSpec) -> Array:
        """Which profiles a leaf holds for, one bool per profile row."""
        found = self.answers.get(spec)
        if found is None:
            found = self.answers[spec] = self._holding(spec)
        return found

    def _holding(self, spec: LeafSpec) -> Array:
        part = self.part
        match spec:
            case FigureLeaf() | AverageLeaf():
                return self._figure(spec)
            case RowsLeaf(events, window, aggregate, _, _):
                found = np.zeros(part.people.rows, bool)
                table, stream = self.stream(events)
                past = rows_by_profile(part, table, stream.number, window, None)
                for owner, rows in past.items():
                    found[owner] = spec.holds(persons.figure_of(part, rows, aggregate))
                return found
            case AttributeLeaf(attribute, test):
                return attribute_holding(part, attribute, part.tests.number_of(test))
            case DayLeaf():
                return self._day(spec)
            case KindsLeaf(kinds):
                return kinds_holding(part, kinds)
            case ListLeaf():
                return part.lists.holding(spec)
            case WordLeaf():
                return part.words.holding(spec)
            case PastLeaf():
                return pasts.holding(part, spec, self.rows)

    def _figure(self, spec: FigureLeaf | AverageLeaf) -> Array:
        part, key = self.part, key_of(spec)
        measured = [(spec.property, False)] if spec.property else []
        if isinstance(spec, AverageLeaf):
            measured.append((spec.property, True))
        table, stream = self.stream(spec.events, *measured)
        cursor = self.figures.get(key)
        if cursor is None:
            cursors = CursorTable()
            measure, elements = begin_measures(part, table, stream, spec)
            cursor = cursors.add(key, stream.number, measure, part.capacity, elements)
            begin_cursor(part, table, cursors, cursor)
            self.figures[key] = cursor
        return self._compared(spec, cursor, table)

    def _compared(
        self, spec: FigureLeaf | AverageLeaf, cursor: Cursor, table: StreamTable
    ) -> Array:
        """A figure against a bound; profiles marked exact from their rows."""
        part, rows = self.part, self.part.people.rows
        figure = cursor.figure[:rows]
        if isinstance(spec, AverageLeaf):
            found = _averages(spec, cursor, table.exact[cursor.measure], rows)
        else:
            bound = clipped(spec.threshold())
            found = (figure >= bound) if bound > 0 else (figure < bound)
        if cursor.measure < 0 or not table.exact[cursor.measure][:rows].any():
            return np.asarray(found)
        exact = table.exact[cursor.measure]
        past = rows_by_profile(part, table, cursor.stream, spec.window, exact)
        for owner in np.flatnonzero(exact[:rows]).tolist():
            found[owner] = spec.over(persons.figure_of(part, past.get(owner, []), spec.aggregate))
        return np.asarray(found)

    def holding_by(self, spec: CursorLeaf, cursor: Cursor) -> Array:
        """Which profiles a leaf holds for, from a live cursor that stands at now."""
        if isinstance(spec, RowsLeaf):
            return self.holding(spec)
        return self._compared(spec, cursor, self.part.streams)

    def _day(self, spec: DayLeaf) -> Array:
        part = self.part
        live = part.days.calendars.get(spec)
        if live is not None:
            return part.days.holding(live)
        found = part.days.add(spec, -1, part.now)
        part.days.drop(spec)
        return found

    def answer(self, expression: Expression) -> Array:
        """Which profiles a rule holds for, one bool per profile row."""
        alive = standing_profiles(self.part)

        def push(of: LeafSpec | str) -> Array:
            if isinstance(of, str):
                segment = self.part.segments[of]
                none = np.zeros(alive.size, bool)
                return none if segment.node is None else self.answer(segment.expression)
            return self.holding(of)

        def gather(taken: list[Array], n: int) -> Array:
            if n == len(taken):
                return np.logical_and.reduce(taken)
            if n == 1:
                return np.logical_or.reduce(taken)
            return np.add.reduce([one.astype(np.int16) for one in taken]) >= n

        found = run(expression, push, lambda: np.ones(alive.size, bool), gather, np.logical_not)
        return np.asarray(found & alive)


def _averages(spec: AverageLeaf, cursor: Cursor, exact: Array, rows: int) -> Array:
    """Averages against a bound, as products; profiles whose products do not fit become exact."""
    total, elements = cursor.figure[:rows], cursor.elements[:rows].astype(np.int64)
    bound, divisor = spec.bound.numerator, spec.bound.denominator
    if max(abs(bound), divisor) > SUM_MAX:
        exact[:rows][elements > 0] = 1
        return np.zeros(rows, bool)
    wide = (np.abs(total) > SUM_MAX // divisor) | (elements > SUM_MAX // max(abs(bound), 1))
    exact[:rows][wide] = 1
    left, right = np.where(wide, 0, total) * divisor, np.where(wide, 0, elements) * bound
    compared = {Op.GTE: np.greater_equal, Op.GT: np.greater, Op.LTE: np.less_equal, Op.LT: np.less}
    return np.asarray(compared[spec.op](left, right) & (elements > 0))


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
    people = part.people
    wanted = [part.names.numbers[k.encode()] for k in kinds if k.encode() in part.names.numbers]
    found = np.zeros(people.rows, bool)
    owners = people.slot_row[: people.slots]
    chosen = np.isin(people.slot_kind[: people.slots], wanted) & (owners >= 0)
    found[owners[chosen]] = True
    return found

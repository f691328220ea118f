"""Reader A: who a rule holds for, from scratch, in pieces between which steps may run.

A question is answered as of the instant and the row of the log at which it began, whatever steps
say in between: rows are only ever added, and what came since is left out. Only a move of a past
between profiles, or another definition, changes what is read; then it begins anew. Nothing of what
cursors and leaves keep up is read but the order of rows in streams, so the answer checks theirs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.calendars import bounds
from services.segments.engine.arrays import Array
from services.segments.engine.attributes import test_all
from services.segments.engine.crowds import crowds
from services.segments.engine.cursor_table import CursorLeaf, Key, key_of
from services.segments.engine.cursors import AVERAGE, COUNT
from services.segments.engine.expressions import (
    AttributeLeaf,
    AverageLeaf,
    DayLeaf,
    Expression,
    FigureLeaf,
    KindsLeaf,
    LeafSpec,
    ListLeaf,
    PartLeaf,
    PastLeaf,
    Push,
    WordLeaf,
    run,
)
from services.segments.engine.partition import Partition
from services.segments.engine.parts import rows_in_part
from services.segments.engine.pasts import holding as pasts
from services.segments.engine.pasts import selectors_of
from services.segments.engine.reader import (
    among,
    day_holding,
    standing_profiles,
    wanted_kinds,
)
from services.segments.engine.scans import add_found, add_run, select_among, with_kinds
from services.segments.engine.streams import MAIN, RUNS, Stream
from services.segments.engine.totals import ALWAYS, EMPTY, Figures, compared, inside, settle_exact

PIECE_ROWS = 1 << 17
"""Rows added up, and profiles asked, between two places where steps may run; a third of that where
properties are read."""
BEGINNINGS_MAX = 4
"""After so many beginnings a question is answered without a rest."""

T = TypeVar("T")
Pieces = Generator[int, None, T]
"""Yields, between pieces, how often the question has begun."""


class _Changed(Exception):
    """What was read is no longer what it was."""


class Reader:
    """Answers one question; what its leaves share is read once.

    at: the instant the answer is of, once it is there. piece: as PIECE_ROWS.
    """

    def __init__(self, part: Partition, piece: int = PIECE_ROWS) -> None:
        self.part = part
        self.begun = 0
        self.piece, self.piece_read = piece, max(piece // 3, 1)
        self._begin()

    def _begin(self) -> None:
        part = self.part
        self.begun += 1
        self.at, self.log_rows = part.now, part.events.count
        self.profiles = part.people.rows
        self.alive = standing_profiles(part)
        self._state = part.state_of_homes()
        self._lows: dict[rule.Selector, int] = {}
        self._rows: dict[rule.Selector, Array] = {}
        self._figures: dict[Key, Figures] = {}
        self._cells: dict[int, Array] = {}
        self._slots: tuple[Array, Array] | None = None
        self._answers: dict[LeafSpec, Array] = {}
        self._rules: dict[str, Expression] = {}

    def answer(self, expression: Expression) -> Array:
        """Which profiles a rule holds for, one bool per profile row, without a rest."""
        return finished(self.answers([expression]))[0]

    def answers(self, expressions: list[Expression]) -> Pieces[list[Array]]:
        """Which profiles each rule holds for, one bool per profile row."""
        if (self.part.now, self.part.events.count) != (self.at, self.log_rows):
            self._begin()
        while True:
            try:
                return (yield from self._answered(expressions))
            except _Changed:
                self._begin()

    def rows(self, selector: rule.Selector) -> Array:
        """The rows in force that a selection takes, in order of the log, without a rest."""
        return finished(self._taken(selector))

    def _rest(self) -> Iterator[int]:
        """A place where steps may run, unless the question had to begin too often."""
        if self.begun < BEGINNINGS_MAX:
            yield self.begun
            if self.part.state_of_homes() != self._state:
                raise _Changed

    def _answered(self, expressions: list[Expression]) -> Pieces[list[Array]]:
        wanted: dict[LeafSpec, None] = {}
        for expression in expressions:
            self._collect(expression, wanted)
        for spec in wanted:
            self._note(spec)
        # What no log can say as of then is read before anything else happens.
        for spec in sorted(wanted, key=lambda one: not _at_once(one)):
            self._answers[spec] = yield from self._holding(spec)
            if not _at_once(spec):
                yield from self._rest()
        return [self._combined(expression) for expression in expressions]

    def _collect(self, expression: Expression, wanted: dict[LeafSpec, None]) -> None:
        """Every leaf of a rule and of those it refers to."""
        for step in expression:
            if not isinstance(step, Push):
                continue
            if not isinstance(step.of, str):
                wanted[step.of] = None
            elif step.of not in self._rules:
                segment = self.part.segments[step.of]
                found = () if segment.node is None else segment.expression
                self._rules[step.of] = found
                self._collect(found, wanted)

    def _note(self, spec: LeafSpec) -> None:
        """How far back the rows of a leaf's selections are read; what stands of its attribute."""
        attributes = self.part.attributes
        asked: dict[rule.Selector, int] = {}
        match spec:
            case FigureLeaf(events, _, window) | AverageLeaf(events, _, window):
                low = bounds(window, self.at)[0]
                asked = {events: ALWAYS if low is None else low}
            case PastLeaf(node):
                asked = dict.fromkeys(selectors_of(node), ALWAYS)
            case KindsLeaf():
                if self._slots is None:
                    people, n = self.part.people, self.part.people.slots
                    self._slots = people.slot_kind[:n].copy(), people.slot_row[:n].copy()
            case AttributeLeaf(attribute):
                key = self.part.names.number_of(attribute)
                attributes.follow([key], self.part.people, self.at)
                if key not in self._cells:
                    self._cells[key] = attributes.current[key][: self.profiles].copy()
        for selector, low in asked.items():
            self._lows[selector] = min(low, self._lows.get(selector, low))

    def _combined(self, expression: Expression) -> Array:
        def push(of: LeafSpec | str) -> Array:
            if not isinstance(of, str):
                return self._answers[of]
            rules = self._rules[of]
            return self._combined(rules) if rules else np.zeros(self.profiles, bool)

        def gather(taken: list[Array], n: int) -> Array:
            if n == len(taken):
                return np.logical_and.reduce(taken)
            if n == 1:
                return np.logical_or.reduce(taken)
            return np.add.reduce([one.astype(np.int16) for one in taken]) >= n

        def true() -> Array:
            return np.ones(self.profiles, bool)

        return np.asarray(run(expression, push, true, gather, np.logical_not) & self.alive)

    def _holding(self, spec: LeafSpec) -> Pieces[Array]:
        part = self.part
        match spec:
            case FigureLeaf() | AverageLeaf():
                return (yield from self._figure_holds(spec))
            case AttributeLeaf():
                return (yield from self._attribute(spec))
            case PastLeaf():
                if _at_once(spec):
                    return pasts.holding(part, spec, self.rows)
                return (yield from self._past(spec))
            case DayLeaf():
                return day_holding(part, spec)
            case KindsLeaf():
                return (yield from self._kinds(spec))
            case ListLeaf():
                return part.lists.holding(spec)
            case PartLeaf():
                people = part.people
                return rows_in_part(spec, self.profiles, people.partition, people.partitions)
            case WordLeaf():
                return part.words.holding(spec)

    def _attribute(self, spec: AttributeLeaf) -> Pieces[Array]:
        part, key = self.part, self.part.names.number_of(spec.attribute)
        cells, test = self._cells[key], part.tests.number_of(spec.test)
        found = np.zeros(self.profiles, bool)
        answers = np.zeros(part.texts.count, np.uint8)
        for first in range(0, self.profiles, self.piece):
            piece = slice(first, first + self.piece)
            asked = False
            while not asked:
                test_all(
                    part.attributes.view, part.tests.view(), cells[piece], test, answers,
                    found[piece],
                )  # fmt: skip
                asked = part.tests.answered()
                if not asked:
                    answers[:] = 0
            yield from self._rest()
        return found

    def _kinds(self, spec: KindsLeaf) -> Pieces[Array]:
        assert self._slots is not None
        kinds, owners = self._slots
        wanted, found = wanted_kinds(self.part, spec.kinds), np.zeros(self.profiles, bool)
        for first in range(0, kinds.size, self.piece):
            piece = slice(first, first + self.piece)
            with_kinds(kinds[piece], owners[piece], wanted, found)
            yield from self._rest()
        return found

    def _past(self, spec: PastLeaf) -> Pieces[Array]:
        """From the rows its selections take, some profiles at a time, all as of one instant."""
        rows: dict[rule.Selector, Array] = {}
        for selector in selectors_of(spec.node):
            rows[selector] = yield from self._taken(selector)
        found, valued = np.zeros(self.profiles, bool), pasts.with_values(self.part, spec)
        for crowd in crowds(self.part, rows, self.profiles, self.at, max(self.piece // 4, 1)):
            if crowd is not None:
                for stretch in pasts.verdicts_of(self.part, spec, crowd, valued):
                    found[stretch.rows] = stretch.holds
                    yield from self._rest()
            yield from self._rest()
        return found

    def _figure_holds(self, spec: CursorLeaf) -> Pieces[Array]:
        key = key_of(spec)
        if key not in self._figures:
            stream = self._live(spec)
            if stream is None:
                self._figures[key] = yield from self._from_log(spec)
            else:
                self._figures[key] = yield from self._from_stream(spec, stream)
            yield from self._rest()
        figures = self._figures[key]
        found = compared(spec, figures)
        exact = np.flatnonzero(figures.exact)
        if exact.size:
            rows = yield from self._taken(spec.events)
            settle_exact(self.part, spec, rows, self.at, exact, found)
        return found

    def _live(self, spec: CursorLeaf) -> Stream | None:
        """The stream that the rows of a leaf are in already, with what it measures."""
        streams = self.part.streams
        number = streams.by_selector.get(spec.events)
        if number is None:
            return None
        stream = streams.streams[number]
        measured = [(spec.property, False)] if spec.property else []
        if isinstance(spec, AverageLeaf):
            measured.append((spec.property, True))
        return stream if streams.filled(stream).keys() >= set(measured) else None

    def _zeros(self, kind: int) -> Figures:
        n = self.profiles
        return Figures(
            np.zeros(n if kind in (COUNT, AVERAGE) else 0, np.int32),
            np.zeros(0 if kind == COUNT else n, np.int64), np.zeros(n, np.uint8),
        )  # fmt: skip

    def _from_stream(self, spec: CursorLeaf, stream: Stream) -> Pieces[Figures]:
        """Figures from a stream's runs, a stretch of event time at a time: rows move between runs
        and places, but not in time."""
        part, kind = self.part, key_of(spec)[1]
        figures = self._zeros(kind)
        measure = stream.measures.get((spec.property, False), -1)
        elements = stream.measures.get((spec.property, True), -1)
        begin, high = inside(spec.window, self.at)
        while begin <= high:
            view = part.events.view
            same = (part.events.count, part.now) == (self.log_rows, self.at)
            known = -1 if same else self.log_rows
            end = self._stretch_end(stream, begin, high)
            for r in range(RUNS):
                one = stream.runs[r]
                n = int(part.streams.length[stream.number, r])
                places = np.searchsorted(one.occur[:n], (begin, end), ("left"))
                first, last = int(places[0]), int(places[1])
                add_run(
                    one.slot[first:last], one.row[first:last],
                    one.amounts[measure][first:last] if measure >= 0 else EMPTY,
                    one.amounts[elements][first:last] if elements >= 0 else EMPTY,
                    view.accept, self.at, known, part.people.slot_row, kind, *figures,
                )  # fmt: skip
            begin = end
            yield from self._rest()
        if measure >= 0:
            figures.exact[:] |= part.streams.exact[measure][: self.profiles]
        return figures

    def _stretch_end(self, stream: Stream, begin: int, high: int) -> int:
        """Where the next piece of a stream ends: about `piece` rows on, after `begin`."""
        main = stream.runs[MAIN].occur[: int(self.part.streams.length[stream.number, MAIN])]
        place = int(np.searchsorted(main, begin)) + self.piece
        return high + 1 if place >= main.size else min(max(int(main[place]), begin + 1), high + 1)

    def _from_log(self, spec: CursorLeaf) -> Pieces[Figures]:
        """Figures from the rows of the log."""
        part, kind = self.part, key_of(spec)[1]
        taken = yield from self._taken(spec.events)
        figures = self._zeros(kind)
        key = part.names.number_of(spec.property) if spec.property else -1
        low, high = inside(spec.window, self.at)
        piece = self.piece if kind == COUNT else self.piece_read
        for first in range(0, taken.size, piece):
            add_found(
                part.events.view, part.tests.view(), taken[first : first + piece], low, high,
                part.people.slot_row, kind, key, *figures,
            )  # fmt: skip
            yield from self._rest()
        return figures

    def _taken(self, selector: rule.Selector) -> Pieces[Array]:
        """Rows in force that a selection takes, as far back as anything here looks, in order of
        the log."""
        if selector in self._rows:
            return self._rows[selector]
        part, index = self.part, self.part.streams.index
        view, names = part.events.view, len(part.names.names)
        for _ in index.grow(view.type, view.occur, self.log_rows, names):
            yield from self._rest()
        number = -1 if selector.where is None else part.filters.number_of(selector.where)
        low = self._lows.get(selector, ALWAYS)
        rows = among(part, selector, low, self.log_rows)
        found = []
        piece = self.piece if number < 0 else self.piece_read
        for first in range(0, rows.size, piece):
            asked_of = rows[first : first + piece]
            out = np.empty(asked_of.size, np.int32)
            n, asked = 0, False
            while not asked:
                n = select_among(
                    part.events.view, part.tests.view(), part.filters.view(), asked_of, number, low,
                    self.at, out,
                )  # fmt: skip
                asked = part.tests.answered()
            found.append(out[:n])
            yield from self._rest()
        self._rows[selector] = np.concatenate(found) if found else rows
        return self._rows[selector]


_PRESENT = (ListLeaf, PartLeaf, WordLeaf, DayLeaf)


def _at_once(spec: LeafSpec) -> bool:
    """Whether a leaf is read from what is kept only as it is now: lists, words, items, cuts."""
    if isinstance(spec, PastLeaf):
        node = spec.node
        return isinstance(node, rule.Catalogue) or (
            isinstance(node, rule.Rfm) and node.edges is None
        )
    return isinstance(spec, _PRESENT)


def finished(pieces: Pieces[T]) -> T:
    """What a question answers when nothing may come in between."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            answer: T = end.value
            return answer

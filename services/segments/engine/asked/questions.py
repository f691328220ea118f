"""Reader A: who a rule holds for, from scratch, in pieces between which steps may run.

A question is answered as of the instant and the row of the log at which it began, whatever steps
say in between: rows are only ever added, and what came since is left out. Only a move of a past
between profiles, or another definition, changes what is read; then it begins anew. Nothing of what
streams, cursors and leaves keep up is read, so the answer checks theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.calendars import bounds
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import Pieces, Work, finished
from services.segments.engine.columns.choosing import (
    PIECE_ROWS,
    Chosen,
    cells_of,
    choose,
    row_and_slot,
)
from services.segments.engine.columns.scans import (
    COUNT_MAX,
    COUNT_SMALL,
    count_marked,
    fold_counts,
    with_kinds,
)
from services.segments.engine.columns.sums import add_marked
from services.segments.engine.language.expressions import (
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
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.live.crowds import crowds
from services.segments.engine.live.cursor_table import CursorLeaf, Key, key_of
from services.segments.engine.live.cursors import SUM_MAX
from services.segments.engine.live.reader import day_holding, wanted_kinds
from services.segments.engine.live.totals import (
    EMPTY,
    Figures,
    compared,
    inside,
    settle_exact,
)
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import asked, earliest, selectors_of
from services.segments.engine.pasts import holding as pasts
from services.segments.engine.store.attributes import test_all
from services.segments.engine.store.parts import rows_in_part

T = TypeVar("T")
BEGINNINGS_MAX = 4
"""After so many beginnings a question is answered without a rest."""
SCANNED_MAX = 1 << 23
"""Cells of attributes and identifiers read without a rest."""
NONE_EXACT = np.zeros(0, np.uint8)
NO_OWNERS = np.zeros(0, np.int32)


class _Changed(Exception):
    """What was read is no longer what it was."""


class Reader:
    """Answers one question; what its leaves share is read once.

    at: the instant the answer is of, once it is there. piece: as PIECE_ROWS.
    """

    def __init__(self, part: Partition, piece: int = PIECE_ROWS) -> None:
        self.part = part
        self.begun = 0
        self.piece = piece
        self._begin()

    def _begin(self) -> None:
        part = self.part
        self.begun += 1
        self.at, self.log_rows = part.now, part.events.count
        self.profiles = part.people.rows
        self._state = part.state_of_homes()
        self._lows: dict[rule.Selector, int] = {}
        self._taken: dict[rule.Selector, list[Chosen]] = {}
        self._texts: dict[int, Array] = {}
        self._most: dict[Key, int] = {}
        self._figures: dict[Key, Figures] = {}
        self._cells: dict[int, Array] = {}
        self._slots: tuple[Array, Array] | None = None
        self._answers: dict[LeafSpec, Array] = {}
        self._rules: dict[str, Expression] = {}

    @property
    def alive(self) -> Array:
        """Which profiles stand: are created and not absorbed, one bool per row."""
        return self.part.people.standing(self.at)[: self.profiles]

    def answer(self, expression: Expression) -> Array:
        """Which profiles a rule holds for, one bool per profile row, without a rest."""
        return finished(self.answers([expression]))[0]

    def answers(self, expressions: list[Expression]) -> Pieces[list[Array]]:
        """Which profiles each rule holds for, one bool per profile row."""
        part, index = self.part, self.part.streams.index
        while index.seen < part.events.count:
            for _ in index.grow(part.events.view, part.events.count, len(part.names.names)):
                yield self.begun
        now = (part.now, part.events.count, part.state_of_homes())
        if now != (self.at, self.log_rows, self._state):
            self._begin()
        while True:
            try:
                return (yield from self._answered(expressions))
            except _Changed:
                self._begin()

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
        # What no log can say as of then is read before anything else happens; what stands of
        # attributes and identifiers too while that is short, and else from a copy.
        scans = sum(isinstance(one, _SCANNED) for one in wanted)
        short = scans * self.profiles <= SCANNED_MAX
        for spec in wanted:
            self._note(spec, short)

        def first(spec: LeafSpec) -> bool:
            return _at_once(spec) or (short and isinstance(spec, _SCANNED))

        for spec in sorted(wanted, key=lambda one: not first(one)):
            if first(spec):
                self._answers[spec] = finished(self._holding(spec))
            else:
                self._answers[spec] = yield from self._holding(spec)
                yield from self._rest()
        return [self._standing(self._combined(expression)) for expression in expressions]

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

    def _note(self, spec: LeafSpec, short: bool) -> None:
        """How far back the rows of a leaf's selections are read; what stands of its attribute, as
        it is when nothing comes in between (short)."""
        attributes = self.part.attributes
        looked_at: dict[rule.Selector, int] = {}
        match spec:
            case FigureLeaf(events, _, window) | AverageLeaf(events, _, window):
                low = bounds(window, self.at)[0]
                looked_at = {events: ALWAYS if low is None else low}
                most = abs(spec.threshold()) if isinstance(spec, FigureLeaf) else COUNT_MAX
                self._most[key_of(spec)] = max(most, self._most.get(key_of(spec), 1))
            case PastLeaf(node):
                looked_at = dict.fromkeys(selectors_of(node), earliest(node, self.at))
            case KindsLeaf():
                if self._slots is None:
                    people, n = self.part.people, self.part.people.slots
                    kinds, owners = people.slot_kind[:n], people.owners()
                    self._slots = (kinds, owners) if short else (kinds.copy(), owners.copy())
            case AttributeLeaf(attribute):
                key = self.part.names.number_of(attribute)
                attributes.follow([key], self.part.people, self.at)
                if key not in self._cells:
                    cells = attributes.current[key][: self.profiles]
                    self._cells[key] = cells if short else cells.copy()
        for selector, low in looked_at.items():
            self._lows[selector] = min(low, self._lows.get(selector, low))

    def _combined(self, expression: Expression) -> Array:
        def push(of: LeafSpec | str) -> Array:
            if not isinstance(of, str):
                return self._answers[of]
            rules = self._rules[of]
            members = self._combined(rules) if rules else np.zeros(self.profiles, bool)
            return self._standing(members)

        def gather(taken: list[Array], n: int) -> Array:
            if n != len(taken) and n != 1:
                return np.asarray(np.add.reduce([one.astype(np.int16) for one in taken]) >= n)
            found = taken[0].copy()
            for one in taken[1:]:
                (np.logical_and if n == len(taken) else np.logical_or)(found, one, out=found)
            return found

        def true() -> Array:
            return np.ones(self.profiles, bool)

        return np.asarray(run(expression, push, true, gather, np.logical_not))

    def _standing(self, found: Array) -> Array:
        """Without profiles that are not there: absorbed, or not created yet."""
        return np.asarray(found & self.alive)

    def _holding(self, spec: LeafSpec) -> Pieces[Array]:
        part = self.part
        match spec:
            case FigureLeaf() | AverageLeaf():
                return (yield from self._figure_holds(spec))
            case AttributeLeaf():
                return (yield from self._attribute(spec))
            case PastLeaf():
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
            if owners.size:
                with_kinds(kinds[piece], owners[piece], wanted, found)
            else:
                with_kinds(kinds[piece], owners, wanted, found[piece])
            yield from self._rest()
        return found

    def _past(self, spec: PastLeaf) -> Pieces[Array]:
        """From the rows its selections take, some profiles at a time, all as of one instant."""
        chosen: dict[rule.Selector, list[Chosen]] = {}
        for selector in selectors_of(spec.node):
            chosen[selector] = yield from self._chosen(selector)
        found = asked.holding(self.part, spec, chosen, self.at)
        if found is not None:
            return found[: self.profiles]
        found, valued = np.zeros(self.profiles, bool), pasts.with_values(self.part, spec)
        rows = {selector: row_and_slot(some)[0] for selector, some in chosen.items()}
        for crowd in crowds(self.part, rows, self.profiles, self.at, max(self.piece // 4, 1)):
            if crowd is not None:
                for stretch in pasts.verdicts_of(self.part, spec, crowd, valued):
                    found[stretch.rows] = stretch.holds
                    yield from self._rest()
            yield from self._rest()
        return found

    def rows(self, selector: rule.Selector) -> tuple[Array, Array]:
        """(rows in force that a selection takes, their slots), in no order, without a rest."""
        return row_and_slot(finished(self._chosen(selector)))

    def _figure_holds(self, spec: CursorLeaf) -> Pieces[Array]:
        key = key_of(spec)
        if key not in self._figures:
            self._figures[key] = yield from self._figures_of(spec)
        figures = self._figures[key]
        found = compared(spec, figures)
        if figures.exact.any():
            exact = np.flatnonzero(figures.exact)
            chosen = yield from self._chosen(spec.events)
            rows, _ = row_and_slot(chosen)
            settle_exact(self.part, spec, rows, self.at, exact, found)
        return found

    def _figures_of(self, spec: CursorLeaf) -> Pieces[Figures]:
        """Figures of a leaf's events, a stretch of rows at a time."""
        chosen = yield from self._chosen(spec.events)
        low, high = inside(spec.window, self.at)
        chosen = [one.within(low, high) for one in chosen]
        if not spec.property:
            most = self._most[key_of(spec)]
            counts = yield from self._counts(
                chosen, COUNT_SMALL if most <= COUNT_SMALL else COUNT_MAX
            )
            return Figures(counts, EMPTY, NONE_EXACT)
        part, n = self.part, self.profiles
        figures = Figures(
            np.zeros(n if isinstance(spec, AverageLeaf) else 0, np.int32), np.zeros(n, np.int64),
            np.zeros(n, np.uint8),
        )  # fmt: skip
        key = part.names.number_of(spec.property)
        for one in chosen:
            cells = yield from self._resting(cells_of(part, one, key, self.piece))
            add_marked(
                part.events.view, part.tests.view(), one, cells, key, part.people.owners(), SUM_MAX,
                *figures,
            )  # fmt: skip
            yield from self._rest()
        return figures

    def _counts(self, chosen: list[Chosen], most: int) -> Pieces[Array]:
        """How many rows each profile has, up to `most`."""
        people, kind = self.part.people, np.uint8 if most <= COUNT_SMALL else np.int32
        owners, counts = people.owners(), np.zeros(self.profiles, kind)
        # Many rows are counted by slot and then by profile: one place to look up a row, not two.
        rows = sum(one.end - one.first for one in chosen)
        by_slot = np.zeros(people.slots, kind) if owners.size and rows > people.slots // 2 else None
        for one in chosen:
            of = one.column(one.run.slot)
            if by_slot is None:
                count_marked(of, one.mask, people.owners(), most, counts)
            else:
                count_marked(of, one.mask, NO_OWNERS, most, by_slot)
            yield from self._rest()
        if by_slot is not None:
            fold_counts(by_slot, people.slot_row, most, counts)
        return counts

    def _resting(self, work: Work[T]) -> Pieces[T]:
        """Some work, with places where steps may run."""
        while True:
            try:
                next(work)
            except StopIteration as end:
                found: T = end.value
                return found
            yield from self._rest()

    def _chosen(self, selector: rule.Selector) -> Pieces[list[Chosen]]:
        """Where the rows in force lie that a selection takes, as far back as anything looks."""
        if selector not in self._taken:
            low = self._lows.get(selector, ALWAYS)
            work = choose(self.part, selector, low, self.at, self.log_rows, self._texts, self.piece)
            self._taken[selector] = yield from self._resting(work)
        return self._taken[selector]


_SCANNED = (AttributeLeaf, KindsLeaf)
_PRESENT = (ListLeaf, PartLeaf, WordLeaf, DayLeaf)


def _at_once(spec: LeafSpec) -> bool:
    """Whether a leaf is read from what is kept only as it is now: lists, words, items, cuts."""
    if isinstance(spec, PastLeaf):
        node = spec.node
        return isinstance(node, rule.Catalogue) or (
            isinstance(node, rule.Rfm) and node.edges is None
        )
    return isinstance(spec, _PRESENT)

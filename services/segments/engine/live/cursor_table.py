"""The cursors in use: which figures are kept, the thresholds over them, and their memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.times import DAY_US
from services.segments.domain.values import Op
from services.segments.domain.windows import Span, Window
from services.segments.engine.base.arrays import Array, grown
from services.segments.engine.language.expressions import AverageLeaf, FigureLeaf
from services.segments.engine.live.boundaries import Stretches, stretches
from services.segments.engine.live.cursors import (
    AVERAGE,
    BY_CALENDAR,
    COUNT,
    GT,
    GTE,
    LT,
    LTE,
    OPEN,
    SUM,
    SUM_MAX,
    CursorView,
)
from services.segments.engine.live.streams import RUNS

BOUND_MAX = (1 << 63) - 1
BEGINNING = -(1 << 62)
ELEMENTS_MAX = (1 << 31) - 1
AHEAD_US = 40 * DAY_US
"""How far stretches are made in advance."""
HOW: Mapping[Op, int] = {Op.GTE: GTE, Op.GT: GT, Op.LTE: LTE, Op.LT: LT}
Key = tuple[rule.Selector, int, str, Span]
CursorLeaf = FigureLeaf | AverageLeaf


@dataclass(slots=True)
class Cursor:
    """One figure over one window of one stream.

    figure: per profile; int32 for counts, int64 for sums. Of an average also
    `elements`, int32, and their measure.
    stretches: of the leaving and the entering edge of a calendar window; good for event times
    up to good_us.
    covered_us: it walks over rows that are not older; all of them, but while it is begun.
    leaves: what is asked of it -> number of the leaf.
    """

    number: int
    key: Key
    kind: int
    stream: int
    measure: int
    window: Span
    figure: Array
    elements_measure: int
    elements: Array
    stretches: tuple[Stretches, Stretches | None] | None = None
    good_us: int = BEGINNING
    covered_us: int = BEGINNING
    leaves: dict[CursorLeaf, int] = field(default_factory=dict)

    def refill(self, now_us: int, until_us: int) -> bool:
        """Makes a calendar window's stretches good for a walk; whether they are other ones."""
        if isinstance(self.window, Window) or until_us <= self.good_us:
            return False
        self.good_us = until_us + AHEAD_US
        self.stretches = stretches(self.window, now_us, self.good_us)
        return True

    def edges(self) -> tuple[int, int, int, int]:
        """(oldest, newest, since, until) as kernels take them."""
        window = self.window
        if not isinstance(window, Window):
            enters = self.stretches is not None and self.stretches[1] is not None
            return BY_CALENDAR, BY_CALENDAR if enters else 0, self.covered_us, OPEN
        return (
            OPEN if window.oldest_us is None else window.oldest_us,
            window.newest_us,
            max(BEGINNING if window.since_us is None else window.since_us, self.covered_us),
            OPEN if window.until_us is None else window.until_us,
        )

    def asked(self) -> list[tuple[int, int, int, int]]:
        """(threshold, divisor, how, leaf) of its leaves, the lowest first."""
        found = []
        for leaf, number in self.leaves.items():
            if isinstance(leaf, FigureLeaf):
                found.append((clipped(leaf.threshold()), 1, GTE, number))
            elif isinstance(leaf, AverageLeaf):
                bound, divisor = leaf.bound.numerator, leaf.bound.denominator
                if max(abs(bound), divisor) > SUM_MAX:
                    bound, divisor = 0, SUM_MAX + 1
                found.append((bound, divisor, HOW[leaf.op], number))
        return sorted(found)


def key_of(leaf: CursorLeaf) -> Key:
    """What tells cursors apart: leaves with equal keys share one."""
    if isinstance(leaf, AverageLeaf):
        return leaf.events, AVERAGE, leaf.property, leaf.window
    return leaf.events, SUM if leaf.property else COUNT, leaf.property, leaf.window


def clipped(bound: int) -> int:
    """A threshold as an int64 that no figure short of the limit of sums reaches."""
    return max(min(bound, BOUND_MAX), -BOUND_MAX)


class CursorTable:
    """Cursors by number and the tables kernels need."""

    def __init__(self) -> None:
        self.cursors: dict[int, Cursor] = {}
        self.calendars: dict[int, Cursor] = {}
        """Those of calendar windows, which are looked at before every walk."""
        self.by_key: dict[Key, int] = {}
        self.free: list[int] = []
        self.place = np.zeros((8, 2 * RUNS), np.int64)
        self.due = np.full(8, OPEN, np.int64)
        self._view: CursorView | None = None

    def touched(self) -> None:
        self._view = None

    def add(
        self, key: Key, stream: int, measure: int, profiles: int, elements_measure: int = -1
    ) -> Cursor:
        """A new cursor with empty figures at the beginning of its stream."""
        number = self.free.pop() if self.free else len(self.cursors)
        self.place = grown(self.place, number + 1)
        self.due = grown(self.due, number + 1, OPEN)
        self.place[number] = 0
        self.due[number] = OPEN
        kind = key[1]
        dtype = np.int64 if kind in (SUM, AVERAGE) else np.int32
        figure = np.zeros(max(profiles, 16), dtype)
        elements = np.zeros(figure.size if kind == AVERAGE else 1, np.int32)
        cursor = Cursor(
            number, key, kind, stream, measure, key[3], figure, elements_measure, elements
        )
        self.cursors[number] = cursor
        if not isinstance(cursor.window, Window):
            self.calendars[number] = cursor
        self.by_key[key] = number
        self._view = None
        return cursor

    def drop(self, number: int) -> None:
        del self.by_key[self.cursors.pop(number).key]
        self.calendars.pop(number, None)
        self.free.append(number)
        self._view = None

    def reserve_profiles(self, profiles: int) -> None:
        for cursor in self.cursors.values():
            if cursor.figure.size < profiles:
                cursor.figure = grown(cursor.figure, profiles)
                if cursor.kind == AVERAGE:
                    cursor.elements = grown(cursor.elements, profiles)
                self._view = None

    def refill(self, now_us: int, until_us: int) -> None:
        """Makes calendar windows good for a walk from `now` to `until`."""
        for cursor in self.calendars.values():
            if cursor.refill(now_us, until_us):
                self._view = None

    def merged(self, done: list[tuple[int, int, int]]) -> None:
        """Runs were merged: places add up."""
        for stream, source, target in done:
            for cursor in self.cursors.values():
                if cursor.stream == stream:
                    for edge in (0, RUNS):
                        self.place[cursor.number, edge + target] += self.place[
                            cursor.number, edge + source
                        ]
                        self.place[cursor.number, edge + source] = 0

    def view(self) -> CursorView:
        if self._view is None:
            self._view = self._build()
        return self._view

    def _build(self) -> CursorView:
        size = max([*self.cursors, 0]) + 1
        streams = max([c.stream for c in self.cursors.values()], default=0) + 1
        stream, kind, measure, elements = (np.full(size, -1, np.int64) for _ in range(4))
        edges = np.zeros((4, size), np.int64)
        limits = np.zeros((2, size), np.int64)
        figures, pointer = np.zeros((2, size), np.int64), np.zeros(size + 1, np.int64)
        asked: list[tuple[int, int, int, int]] = []
        made: list[Stretches | None] = []
        by_stream: list[list[int]] = [[] for _ in range(streams)]
        for number in range(size):
            cursor = self.cursors.get(number)
            if cursor is not None:
                stream[number], kind[number] = cursor.stream, cursor.kind
                measure[number], elements[number] = cursor.measure, cursor.elements_measure
                edges[:, number] = cursor.edges()
                figures[:, number] = cursor.figure.ctypes.data, cursor.elements.ctypes.data
                by_stream[cursor.stream].append(number)
                mine = cursor.asked()
                limits[:, number] = _limits(mine)
                asked += mine
            pointer[number + 1] = len(asked)
            made += (None, None) if cursor is None else (cursor.stretches or (None, None))
        thresholds = np.array(asked, np.int64).reshape(-1, 4).T.copy()
        slopes, values, keys = (_end_to_end(made, name) for name in ("slopes", "values", "keys"))
        return CursorView(
            stream, kind, measure, edges[0], edges[1], edges[2], edges[3], figures[0], pointer,
            thresholds[0], thresholds[3], self.place, self.due,
            np.cumsum([0, *map(len, by_stream)]).astype(np.int64),
            np.array([c for found in by_stream for c in found], np.int64),
            elements, figures[1], limits[0], limits[1], thresholds[1], thresholds[2],
            np.cumsum([0, *(0 if one is None else one.keys.size for one in made)]),
            keys, slopes, values,
        )  # fmt: skip


def _limits(asked: list[tuple[int, int, int, int]]) -> tuple[int, int]:
    """The largest (total, number of elements) whose products with an average's bounds fit."""
    total = min((SUM_MAX // divisor for _, divisor, _, _ in asked), default=SUM_MAX)
    elements = min((SUM_MAX // max(abs(bound), 1) for bound, _, _, _ in asked), default=SUM_MAX)
    # A bound too large for int64 leaves no total that fits: every profile's is exact.
    return (total or -1), min(elements, ELEMENTS_MAX)


def _end_to_end(made: list[Stretches | None], name: str) -> Array:
    """One array of all stretches, in the order of cursors and edges."""
    found = [getattr(one, name) for one in made if one is not None]
    return np.concatenate(found) if found else np.zeros(0, np.int64)

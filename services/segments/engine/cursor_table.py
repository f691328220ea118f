"""The cursors in use: which figures are kept, the thresholds over them, and their memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain import windows
from services.segments.engine.arrays import Array, grown
from services.segments.engine.cursors import COUNT, OPEN, SUM, TOUCH, CursorView
from services.segments.engine.expressions import FigureLeaf, RowsLeaf
from services.segments.engine.streams import RUNS

BOUND_MAX = (1 << 63) - 1
BEGINNING = -(1 << 62)
Key = tuple[rule.Selector, int, str, windows.Window]


@dataclass(slots=True)
class Cursor:
    """One figure over one window of one stream.

    figure: per profile; int32 for counts, int64 for sums, empty for touches.
    leaves: what is asked of it -> number of the leaf.
    """

    number: int
    key: Key
    kind: int
    stream: int
    measure: int
    window: windows.Window
    figure: Array
    leaves: dict[FigureLeaf | RowsLeaf, int] = field(default_factory=dict)


def key_of(leaf: FigureLeaf | RowsLeaf) -> Key:
    """What tells cursors apart: leaves with equal keys share one."""
    if isinstance(leaf, RowsLeaf):
        return leaf.events, TOUCH, "", leaf.window
    return leaf.events, SUM if leaf.property else COUNT, leaf.property, leaf.window


def clipped(bound: int) -> int:
    """A threshold as an int64 that no figure short of the limit of sums reaches."""
    return max(min(bound, BOUND_MAX), -BOUND_MAX)


class CursorTable:
    """Cursors by number and the tables kernels need."""

    def __init__(self) -> None:
        self.cursors: dict[int, Cursor] = {}
        self.by_key: dict[Key, int] = {}
        self.free: list[int] = []
        self.place = np.zeros((8, 2 * RUNS), np.int64)
        self.due = np.full(8, OPEN, np.int64)
        self._view: CursorView | None = None

    def touched(self) -> None:
        self._view = None

    def add(self, key: Key, stream: int, measure: int, profiles: int) -> Cursor:
        """A new cursor with empty figures at the beginning of its stream."""
        number = self.free.pop() if self.free else len(self.cursors)
        self.place = grown(self.place, number + 1)
        self.due = grown(self.due, number + 1, OPEN)
        self.place[number] = 0
        self.due[number] = OPEN
        kind = key[1]
        dtype = np.int64 if kind == SUM else np.int32
        figure = np.zeros(1 if kind == TOUCH else max(profiles, 16), dtype)
        cursor = Cursor(number, key, kind, stream, measure, key[3], figure)
        self.cursors[number] = cursor
        self.by_key[key] = number
        self._view = None
        return cursor

    def drop(self, number: int) -> None:
        del self.by_key[self.cursors.pop(number).key]
        self.free.append(number)
        self._view = None

    def reserve_profiles(self, profiles: int) -> None:
        for cursor in self.cursors.values():
            if cursor.kind != TOUCH and cursor.figure.size < profiles:
                cursor.figure = grown(cursor.figure, profiles)
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
        stream, kind, measure = (np.full(size, -1, np.int64) for _ in range(3))
        oldest, newest = np.full(size, OPEN, np.int64), np.zeros(size, np.int64)
        since, until = np.full(size, BEGINNING, np.int64), np.full(size, OPEN, np.int64)
        figure, pointer = np.zeros(size, np.int64), np.zeros(size + 1, np.int64)
        bounds: list[int] = []
        leaves: list[int] = []
        by_stream: list[list[int]] = [[] for _ in range(streams)]
        for number in range(size):
            cursor = self.cursors.get(number)
            if cursor is not None:
                stream[number], kind[number] = cursor.stream, cursor.kind
                measure[number] = cursor.measure
                window = cursor.window
                oldest[number] = OPEN if window.oldest_us is None else window.oldest_us
                newest[number] = window.newest_us
                since[number] = BEGINNING if window.since_us is None else window.since_us
                until[number] = OPEN if window.until_us is None else window.until_us
                figure[number] = cursor.figure.ctypes.data
                by_stream[cursor.stream].append(number)
                asked = sorted(
                    (clipped(leaf.threshold()), place)
                    for leaf, place in cursor.leaves.items()
                    if isinstance(leaf, FigureLeaf)
                )
                bounds += [bound for bound, _ in asked]
                leaves += [place for _, place in asked]
            pointer[number + 1] = len(bounds)
        return CursorView(
            stream, kind, measure, oldest, newest, since, until, figure, pointer,
            np.array(bounds, np.int64), np.array(leaves, np.int64), self.place, self.due,
            np.cumsum([0, *map(len, by_stream)]).astype(np.int64),
            np.array([c for found in by_stream for c in found], np.int64),
        )  # fmt: skip

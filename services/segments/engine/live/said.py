"""What the walk says until it is handed over: transitions and counts, in buffers used again."""

from __future__ import annotations

import numpy as np

from services.segments.engine.base.arrays import Array
from services.segments.engine.live.activity import Activity, cells_of, new_activity
from services.segments.engine.live.memberships import Transitions

COUNTERS = 5
"""Columns of `Activity` that are no lines."""


def _new_transitions(size: int) -> Transitions:
    return Transitions(
        np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.int32),
        np.zeros(size, np.uint8), np.zeros(size, np.int64), np.zeros(size, np.uint32),
        np.zeros(size, np.uint32), np.zeros(size, np.uint32),
    )  # fmt: skip


class Said:
    """What the stretches of one walk said.

    changes: transitions so far; lines: of activity. parted: whether a minute may be in several
    lines of one (segment, type), or lines out of order.
    """

    def __init__(self) -> None:
        self.transitions = _new_transitions(4096)
        self.activity = new_activity(1, 1, 1024)
        self.changes = self.lines = 0
        self.parted = False

    def __bool__(self) -> bool:
        return bool(self.changes or self.lines)

    def count_in(self, places: int, types: int) -> None:
        """Counters for so many places and types; none of them is in use."""
        old = self.activity
        if old.rank.size != types or old.counts.size < cells_of(places, types):
            made = new_activity(2 * places, types, 0)
            self.activity = Activity(*made[:COUNTERS], *old[COUNTERS:])

    def larger(self, changes: int, lines: int, places: int) -> None:
        """Doubles the buffers in which so much is written already, where another group of flips or
        another minute may not fit."""
        if changes + places > self.transitions.at.size:
            bigger = _new_transitions(2 * self.transitions.at.size + places)
            _copy(self.transitions, bigger, changes)
            self.transitions = bigger
        old = self.activity
        wanted = lines + int(old.held[0])
        if wanted > old.minute.size:
            new = new_activity(0, 0, old.minute.size + wanted)[COUNTERS:]
            _copy(old[COUNTERS:], new, lines)
            self.activity = Activity(*old[:COUNTERS], *new)

    def end_stretch(self, changes: int, lines: int) -> None:
        """A stretch has written up to here."""
        self.parted = self.parted or 0 < self.lines < lines
        self.changes, self.lines = changes, lines

    def clear(self) -> None:
        """Everything was handed over."""
        self.changes = self.lines = 0
        self.parted = False


def _copy(given: tuple[Array, ...], into: tuple[Array, ...], used: int) -> None:
    for mine, theirs in zip(into, given, strict=True):
        mine[:used] = theirs[:used]

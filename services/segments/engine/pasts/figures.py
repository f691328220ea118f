"""Events in a window, summed up and compared: any aggregate, any window.

Rows come into a window and leave it in order of time, so the whole course of an answer is one pass
over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from services.segments.domain import calendars, windows
from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.live.boundaries import OPEN, stays
from services.segments.engine.pasts.adding import (
    Adding,
    Figure,
    OfAll,
    OfValues,
    adding,
    best_share,
    share,
)
from services.segments.engine.pasts.past import Past, Taken
from services.segments.engine.pasts.spans import NEVER

MANY = 256
"""Rows from which on their times in the window are worked out together."""
STEPS_MAX = 1_024
"""Instants looked ahead before a course says where it is, turned or not."""


class Side:
    """The rows of one selection as a window passes over them. [first, end): those in it."""

    def __init__(
        self, past: Past, found: Taken, span: windows.Span, aggregate: rule.Aggregate, at: int
    ) -> None:
        self.span, self.zone = span, past.zone(span, at)
        low, high = calendars.bounds(span, at, self.zone)
        self.first = 0 if low is None else int(np.searchsorted(found.occur, low, "left"))
        self.end = max(self.first, int(np.searchsorted(found.occur, high, "right")))
        self.rows, self.rows_occur = found.rows, found.occur
        self.occur = found.occur.tolist()
        self._times = self._columns() if found.rows.size > MANY else None
        self.summed: Adding = adding(past.part, found.rows, aggregate)
        for place in range(self.first, self.end):
            self.summed.come(place)
        self.never: set[int] = set()
        """Places of rows that are in at no instant: yesterday's when the clock skips today."""
        self.leaves_us = self.enters_us = 0
        self._look_out()
        self._look_in(at)

    def inside(self) -> Array:
        """The rows that are in, in order."""
        places = [place for place in range(self.first, self.end) if place not in self.never]
        return self.rows[places]

    def _columns(self) -> tuple[list[int], list[int]]:
        """When every row comes and goes, where there are many."""
        span = self.span
        if not isinstance(span, windows.Window) and span.clock.by_profile:
            span = replace(span, clock=windows.Clock(calendars.zone_for(span.clock, self.zone)))
        begin, until = stays(span, self.rows_occur)
        return begin.tolist(), until.tolist()

    def _stay(self, place: int) -> tuple[int, int | None] | None:
        if self._times is not None:
            begin, until = self._times[0][place], self._times[1][place]
            return None if until <= begin else (begin, None if until == OPEN else until)
        return calendars.stay(self.span, self.occur[place], self.zone)

    def _look_out(self) -> None:
        """When the oldest row inside leaves; NEVER when it does not."""
        self.leaves_us = NEVER
        while self.first in self.never:
            self.first += 1
        if self.first < self.end:
            span = self._stay(self.first)
            if span is not None and span[1] is not None:
                self.leaves_us = span[1]

    def _look_in(self, at: int) -> None:
        """When the next row comes; NEVER when none will."""
        self.enters_us = NEVER
        while self.end < len(self.occur):
            span = self._stay(self.end)
            if span is not None:
                self.enters_us = max(span[0], at + 1)
                return
            self.never.add(self.end)
            self.end += 1

    def next_us(self) -> int:
        return min(self.leaves_us, self.enters_us)

    def move(self, at: int) -> None:
        """Takes and drops what comes and goes at an instant."""
        while self.enters_us <= at:
            self.summed.come(self.end)
            self.end += 1
            self._look_in(at - 1)
            if self.leaves_us == NEVER:
                self._look_out()
        while self.leaves_us <= at:
            self.summed.go(self.first)
            self.first += 1
            self._look_out()


def sides_of(leaf: rule.EventsAre, past: Past, at: int) -> list[Side]:
    """The selection, and for a ratio what it is divided by."""
    found = past.taken(leaf.events, at)
    sides = [Side(past, found, leaf.window, leaf.aggregate, at)]
    if leaf.aggregate.denominator is not None:
        below = past.taken(leaf.aggregate.denominator, at)
        sides.append(Side(past, below, leaf.window, leaf.aggregate.below(), at))
    return sides


def figure_of(sides: list[Side], aggregate: rule.Aggregate) -> Figure:
    """The figure that the rows inside make."""
    over = sides[0].summed
    if len(sides) == 1:
        return over.figure()
    under = sides[1].summed
    if isinstance(over, OfValues) and isinstance(under, OfValues):
        return best_share(over, under, aggregate.denominator_min)
    if isinstance(over, OfAll) and isinstance(under, OfAll):
        return share(over, under, aggregate.denominator_min)
    raise TypeError(f"{aggregate!r} has no sides")


def course(leaf: rule.EventsAre, past: Past, at: int) -> Iterator[tuple[int, bool]]:
    """The answer at an instant, then instants at which it turns if nothing more happens; now and
    then one at which it has not turned."""
    sides = sides_of(leaf, past, at)
    holds = leaf.comparison.holds(figure_of(sides, leaf.aggregate))
    yield at, holds
    steps = 0
    while (at := min(side.next_us() for side in sides)) < NEVER:
        for side in sides:
            side.move(at)
        steps += 1
        turned = leaf.comparison.holds(figure_of(sides, leaf.aggregate)) != holds
        if turned or steps % STEPS_MAX == 0:
            holds ^= turned
            yield at, holds

"""Counts, sums and averages of everybody against a bound; those that do not fit, from rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.segments.domain.calendars import bounds
from services.segments.domain.values import Op
from services.segments.domain.windows import Span
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import FigureLeaf
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.live.cursor_table import Cursor, CursorLeaf, clipped
from services.segments.engine.live.cursors import SUM_MAX
from services.segments.engine.live.reader import stream_rows
from services.segments.engine.partition import Partition
from services.segments.engine.pasts.holding import grouped
from services.segments.engine.store import persons

EMPTY = np.zeros(0, np.int64)


class Figures(NamedTuple):
    """By profile: counts (int32; of an average the elements), sums (int64), exact (uint8)."""

    counts: Array
    sums: Array
    exact: Array


def compared(spec: CursorLeaf, figures: Figures) -> Array:
    """Figures against a bound; where an average's products would not fit, it marks it exact."""
    if isinstance(spec, FigureLeaf):
        figure = figures.sums if spec.property else figures.counts
        bound = clipped(spec.threshold())
        return np.asarray((figure >= bound) if bound > 0 else (figure < bound))
    total, elements = figures.sums, figures.counts.astype(np.int64)
    bound, divisor = spec.bound.numerator, spec.bound.denominator
    if max(abs(bound), divisor) > SUM_MAX:
        figures.exact[elements > 0] = 1
        return np.zeros(total.size, bool)
    wide = (np.abs(total) > SUM_MAX // divisor) | (elements > SUM_MAX // max(abs(bound), 1))
    figures.exact[wide] = 1
    left, right = np.where(wide, 0, total) * divisor, np.where(wide, 0, elements) * bound
    how = {Op.GTE: np.greater_equal, Op.GT: np.greater, Op.LTE: np.less_equal, Op.LT: np.less}
    return np.asarray(how[spec.op](left, right) & (elements > 0))


def holding_by(part: Partition, spec: CursorLeaf, cursor: Cursor) -> Array:
    """Which profiles a leaf holds for, from a live cursor that stands at now."""
    n = part.people.rows
    summed = cursor.figure.dtype == np.int64
    marks = part.streams.exact[cursor.measure] if cursor.measure >= 0 else np.zeros(n, np.uint8)
    figures = Figures(
        (cursor.elements if summed else cursor.figure)[:n],
        (cursor.figure if summed else EMPTY)[:n], marks[:n],
    )  # fmt: skip
    found = compared(spec, figures)
    exact = np.flatnonzero(figures.exact)
    if exact.size:
        stream = part.streams.streams[cursor.stream]
        rows, _ = stream_rows(part.streams, stream)
        settle_exact(part, spec, rows, part.now, exact, found)
    return found


def settle_exact(
    part: Partition, spec: CursorLeaf, rows: Array, at: int, exact: Array, found: Array
) -> None:
    """Judges a leaf for profiles whose sums do not fit, from those of these rows in its window."""
    low, high = inside(spec.window, at)
    occur = part.events.view.occur[rows]
    owned = grouped(part, rows[(occur >= low) & (occur <= high)])
    for owner in exact.tolist():
        figure = persons.figure_of(part, owned.of(owner).tolist(), spec.aggregate)
        found[owner] = spec.over(figure)


def inside(window: Span, at: int) -> tuple[int, int]:
    """Event times [low, high] that a window, in a rule's zone, holds at an instant."""
    low, high = bounds(window, at)
    return ALWAYS if low is None else low, min(high, at)

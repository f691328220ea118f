"""Leaves that kernels judge for all profiles at once; about the others they say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.windows import Window
from services.segments.engine import persons
from services.segments.engine.arrays import Array
from services.segments.engine.moving import moves
from services.segments.engine.pasts import Judged, Past, judge, kernels
from services.segments.engine.pasts.columns import Timed, shared_clock, timed
from services.segments.engine.pasts.figure_columns import KINDS, figures, shares
from services.segments.engine.pasts.kernels import NEVER

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

RowsOf = Callable[[rule.Selector], Array]
"""The rows in force that a selection takes, in any order."""
Everyone = tuple[Array, Array]
"""(whether it holds, next instant or 0), by profile row."""


def at_once(part: Partition, leaf: Judged, rows_of: RowsOf, nothing: bool) -> Everyone | None:
    """A leaf at now for all profiles; None where each has to be judged by itself.

    nothing: the answer over nothing.
    """
    match leaf:
        case rule.EventsAre() if shared_clock(leaf.window) and not moves(leaf.events.where):
            return _figure(part, leaf, rows_of, nothing)
        case rule.FirstEvent(events, window) if shared_clock(window) and not moves(events.where):
            return _first(part, timed(part, rows_of(events), window))
        case rule.LastEvent(events, has) if not moves(events.where) and not moves(has):
            return _last(part, leaf, timed(part, rows_of(events), Window()))
        case rule.Sequence() if shared_clock(leaf.window) and not any(
            moves(one.where) for one in leaf.steps
        ):
            return _sequence(part, leaf, rows_of)
        case rule.NotFollowed(start, by) if shared_clock(leaf.window) and not (
            moves(start.where) or moves(by.where)
        ):
            return _not_followed(part, leaf, rows_of)
        case rule.Regularly(events) if not moves(events.where):
            return _regularly(part, leaf, timed(part, rows_of(events), Window()))
    return None


def _verdicts(part: Partition) -> tuple[Array, Array]:
    rows = part.people.rows
    return np.zeros(rows, np.int64), np.full(rows, NEVER, np.int64)


def _settled(stands: Array, turns: Array) -> Everyone:
    holds = stands > 0
    later = np.where(holds, stands, turns)
    return holds, np.where(later == NEVER, 0, later)


def _figure(
    part: Partition, leaf: rule.EventsAre, rows_of: RowsOf, nothing: bool
) -> Everyone | None:
    found = timed(part, rows_of(leaf.events), leaf.window)
    holds, later = np.full(part.people.rows, nothing), np.zeros(part.people.rows, np.int64)
    below = leaf.aggregate.denominator
    if found is None:
        return None
    if leaf.aggregate.kind is rule.Kind.RATIO and below is not None and not moves(below.where):
        under = timed(part, rows_of(below), leaf.window)
        left = None if under is None else shares(part, leaf, found, under, holds, later)
    elif leaf.aggregate.kind in KINDS and below is None:
        left = figures(part, leaf, found, holds, later)
    else:
        return None
    if left is None:
        return None
    for row in left.tolist():
        holds[row], instant = judge(leaf, Past(part, row), part.now)
        later[row] = instant or 0
    return holds, later


def _first(part: Partition, found: Timed | None) -> Everyone | None:
    if found is None:
        return None
    stands, turns = _verdicts(part)
    kernels.first(found.begin, found.until, found.owner, found.start, part.now, stands, turns)
    return _settled(stands, turns)


def _last(part: Partition, leaf: rule.LastEvent, found: Timed | None) -> Everyone | None:
    if found is None:
        return None
    holds, later = np.zeros(part.people.rows, bool), np.zeros(part.people.rows, np.int64)
    rows = found.rows[found.start[1:] - 1]
    passing = persons.matching(part, rows, rule.Selector(where=leaf.has))
    holds[part.people.slot_row[part.events.view.slot[passing]]] = True
    return holds, later


def _not_followed(part: Partition, leaf: rule.NotFollowed, rows_of: RowsOf) -> Everyone | None:
    starts = timed(part, rows_of(leaf.start), leaf.window, leaf.same)
    by = timed(part, rows_of(leaf.by), Window(), leaf.same)
    if starts is None or by is None:
        return None
    stands, turns = _verdicts(part)
    kernels.not_followed(
        starts.occur, starts.begin, starts.until, starts.owner, starts.key, starts.start,
        by.occur, by.owner, by.key, by.start, leaf.within_us, part.now, stands, turns,
    )  # fmt: skip
    return _settled(stands, turns)


def _sequence(part: Partition, leaf: rule.Sequence, rows_of: RowsOf) -> Everyone | None:
    of_steps = [rows_of(one) for one in leaf.steps]
    steps = np.repeat(np.arange(len(of_steps)), [one.size for one in of_steps])
    found = timed(part, np.concatenate(of_steps), leaf.window, leaf.same, steps)
    if found is None:
        return None
    stands, turns = _verdicts(part)
    within = -1 if leaf.within_us is None else leaf.within_us
    kernels.sequence(
        found.occur, found.begin, found.until, found.step, len(of_steps), found.owner, found.key,
        found.start, within, part.now, stands, turns,
    )  # fmt: skip
    return _settled(stands, turns)


def _regularly(part: Partition, leaf: rule.Regularly, found: Timed | None) -> Everyone | None:
    if found is None:
        return None
    holds, later = np.zeros(part.people.rows, bool), np.zeros(part.people.rows, np.int64)
    kernels.regularly(
        found.occur, found.owner, found.start, leaf.period_us, leaf.periods, leaf.count_min,
        leaf.periods_min, part.now, holds, later,
    )  # fmt: skip
    return holds, later

"""Leaves that kernels judge for many profiles at once; about the others they say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.windows import Window
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.moving import moves
from services.segments.engine.pasts import Judged, Past, earliest, items, judge, kernels
from services.segments.engine.pasts.columns import Timed, shared_clock, timed
from services.segments.engine.pasts.counting import counted
from services.segments.engine.pasts.crowd import Crowd, some
from services.segments.engine.pasts.figure_columns import KINDS, figures, shares
from services.segments.engine.pasts.kernels import NEVER
from services.segments.engine.pasts.moments import stretches
from services.segments.engine.pasts.score_columns import scored_at_once
from services.segments.engine.pasts.values import changed, held
from services.segments.engine.store import persons

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

Verdicts = tuple[Array, Array]
"""(whether it holds, next instant or 0), by place in the crowd."""


def at_once(part: Partition, leaf: Judged, crowd: Crowd, nothing: bool) -> Verdicts | None:
    """A leaf for a crowd; None where each profile has to be judged by itself.

    nothing: the answer over nothing.
    """
    match leaf:
        case rule.AttributeIs(_, test) if test.moves:
            return _of_spans(crowd, *stretches(part, leaf, crowd))
        case rule.AttributeHeld():
            return held(part, leaf, crowd)
        case rule.AttributeChanged() if shared_clock(leaf.window):
            spans = changed(part, leaf, crowd)
            return None if spans is None else _of_spans(crowd, *spans)
        case rule.EventsAre() if shared_clock(leaf.window) and not moves(leaf.events.where):
            return _figure(part, leaf, crowd, nothing)
        case rule.FirstEvent(events, window) if shared_clock(window) and not moves(events.where):
            return _first(crowd, timed(part, crowd, [events], window))
        case rule.LastEvent(events, has) if not moves(events.where) and not moves(has):
            return _last(part, leaf, crowd, timed(part, crowd, [events], Window()))
        case rule.Sequence() if shared_clock(leaf.window) and not any(
            moves(one.where) for one in leaf.steps
        ):
            return _sequence(part, leaf, crowd)
        case rule.NotFollowed(start, by) if shared_clock(leaf.window) and not (
            moves(start.where) or moves(by.where)
        ):
            return _not_followed(part, leaf, crowd)
        case rule.Catalogue() if shared_clock(leaf.window) and not (
            moves(leaf.events.where) or moves(leaf.has)
        ):
            such = items.of_such(part, leaf, crowd)
            found = timed(part, such, [leaf.events], leaf.window)
            holds, later = _nobody(crowd, nothing)
            if found is not None:
                counted(found, leaf.comparison, crowd.now, holds, later)
                return holds, later
        case rule.Rfm(orders) if shared_clock(leaf.window) and not moves(orders.where):
            return scored_at_once(part, leaf, crowd)
        case rule.Regularly(events) if not moves(events.where):
            return _regularly(leaf, crowd, timed(part, crowd, [events], Window()))
    return None


def _verdicts(crowd: Crowd) -> tuple[Array, Array]:
    return np.zeros(crowd.rows.size, np.int64), np.full(crowd.rows.size, NEVER, np.int64)


def _settled(stands: Array, turns: Array) -> Verdicts:
    holds = stands > 0
    later = np.where(holds, stands, turns)
    return holds, np.where(later == NEVER, 0, later)


def judge_one(
    part: Partition, leaf: Judged, row: int, at: int, nothing: bool
) -> tuple[bool, int | None]:
    """What `judge` says of one profile whose past may be long: by kernels where they can."""
    crowd = some(part, np.array([row]), np.array([at]), earliest(leaf, at))
    verdict = at_once(part, leaf, crowd, nothing)
    if verdict is None:
        return judge(leaf, Past(part, row), at)
    return bool(verdict[0][0]), int(verdict[1][0]) or None


def _of_spans(crowd: Crowd, begin: Array, until: Array, owner: Array) -> Verdicts:
    """It holds while an instant lies in a stretch of the profile's."""
    stands, turns = _verdicts(crowd)
    kernels.first(begin, until, owner, np.arange(owner.size + 1), crowd.now, stands, turns)
    return _settled(stands, turns)


def _nobody(crowd: Crowd, holds: bool = False) -> Verdicts:
    return np.full(crowd.rows.size, holds), np.zeros(crowd.rows.size, np.int64)


def _figure(part: Partition, leaf: rule.EventsAre, crowd: Crowd, nothing: bool) -> Verdicts | None:
    found = timed(part, crowd, [leaf.events], leaf.window)
    holds, later = _nobody(crowd, nothing)
    below = leaf.aggregate.denominator
    left = None
    if found is None:
        return None
    if leaf.aggregate.kind is rule.Kind.RATIO and below is not None and not moves(below.where):
        under = timed(part, crowd, [below], leaf.window)
        if under is not None:
            left = shares(part, leaf, found, under, crowd.now, holds, later)
    elif leaf.aggregate.kind in KINDS and below is None:
        left = figures(part, leaf, found, crowd.now, holds, later)
    if left is None:
        return None
    for place in left.tolist():
        past = Past(part, int(crowd.rows[place]))
        holds[place], instant = judge(leaf, past, int(crowd.now[place]))
        later[place] = instant or 0
    return holds, later


def _first(crowd: Crowd, found: Timed | None) -> Verdicts | None:
    if found is None:
        return None
    stands, turns = _verdicts(crowd)
    kernels.first(found.begin, found.until, found.owner, found.start, crowd.now, stands, turns)
    return _settled(stands, turns)


def _last(
    part: Partition, leaf: rule.LastEvent, crowd: Crowd, found: Timed | None
) -> Verdicts | None:
    if found is None:
        return None
    holds, later = _nobody(crowd)
    rows = found.rows[found.start[1:] - 1]
    passing = persons.matching(part, rows, rule.Selector(where=leaf.has))
    holds[found.owner[np.isin(rows, passing)]] = True
    return holds, later


def _not_followed(part: Partition, leaf: rule.NotFollowed, crowd: Crowd) -> Verdicts | None:
    starts = timed(part, crowd, [leaf.start], leaf.window, leaf.same)
    by = timed(part, crowd, [leaf.by], Window(), leaf.same)
    if starts is None or by is None:
        return None
    stands, turns = _verdicts(crowd)
    kernels.not_followed(
        starts.occur, starts.begin, starts.until, starts.owner, starts.key, starts.start,
        by.occur, by.owner, by.key, by.start, leaf.within_us, crowd.now, stands, turns,
    )  # fmt: skip
    return _settled(stands, turns)


def _sequence(part: Partition, leaf: rule.Sequence, crowd: Crowd) -> Verdicts | None:
    found = timed(part, crowd, leaf.steps, leaf.window, leaf.same)
    if found is None:
        return None
    stands, turns = _verdicts(crowd)
    within = -1 if leaf.within_us is None else leaf.within_us
    kernels.sequence(
        found.occur, found.begin, found.until, found.step, len(leaf.steps), found.owner, found.key,
        found.start, within, crowd.now, stands, turns,
    )  # fmt: skip
    return _settled(stands, turns)


def _regularly(leaf: rule.Regularly, crowd: Crowd, found: Timed | None) -> Verdicts | None:
    if found is None:
        return None
    holds, later = _nobody(crowd)
    kernels.regularly(
        found.occur, found.owner, found.start, leaf.period_us, leaf.periods, leaf.count_min,
        leaf.periods_min, crowd.now, holds, later,
    )  # fmt: skip
    return holds, later

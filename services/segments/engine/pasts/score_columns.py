"""Recency, frequency and money of everybody at once, as columns; scores.py says what they mean."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain import rfm, times
from services.segments.domain.times import DAY_US
from services.segments.engine.base.arrays import Array
from services.segments.engine.live.boundaries import offsets_between, walls_at
from services.segments.engine.pasts.columns import Timed, timed
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.figure_columns import UNITS_MAX, numbers
from services.segments.engine.pasts.kernels import NEVER

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

NOTHING_US = np.iinfo(np.int64).min


def scored_at_once(part: Partition, leaf: rule.Rfm, crowd: Crowd) -> tuple[Array, Array] | None:
    """(whether the scores lie in the ranges, next instant or 0), by place in the crowd; None where
    a sum does not fit."""
    holds = np.zeros(crowd.rows.size, bool)
    later = np.zeros(crowd.rows.size, np.int64)
    found = timed(part, crowd, [leaf.orders], leaf.window)
    if found is None:
        return None
    if not found.rows.size:
        return holds, later
    amounts = _amounts(part, found, leaf.amount)
    if amounts is None:
        return None
    money, scale = amounts
    heads, owner = found.start[:-1], found.owner
    now = crowd.now[owner]
    at = np.repeat(now, np.diff(found.start))
    inside = (found.begin <= at) & (at < found.until)
    orders = np.add.reduceat(inside.astype(np.int64), heads)
    last = np.maximum.reduceat(np.where(inside, found.occur, NOTHING_US), heads)
    total = np.add.reduceat(np.where(inside, money, 0), heads)
    ahead = (found.begin > at) & (found.until > found.begin)
    turns = np.minimum(
        np.minimum.reduceat(np.where(inside & (found.until > at), found.until, NEVER), heads),
        np.minimum.reduceat(np.where(ahead, found.begin, NEVER), heads),
    )
    some = np.flatnonzero(orders)
    if some.size:
        day, today = local_days(leaf.zone, last[some], now[some])
        profiles = crowd.rows[owner[some]] * part.people.partitions + part.people.partition
        figures = (today - day, orders[some], total[some])
        cuts = None if leaf.edges is not None else part.cuts.of(leaf)
        if leaf.edges is not None:
            fine = _by_edges(leaf, figures, leaf.edges, scale)
            turning = rfm.days_that_turn(leaf.edges[0])
        elif cuts is not None and cuts.recency:
            fine = by_cuts(leaf, figures, profiles, cuts, scale)
            turning = rfm.days_that_turn(cuts.recency)
        else:
            fine, turning = np.zeros(some.size, bool), set()
        holds[owner[some]] = fine
        midnights = _midnights(leaf.zone, day, now[some], turning)
        turns[some] = np.minimum(turns[some], midnights)
    later[owner] = np.where(turns == NEVER, 0, turns)
    return holds, later


def _amounts(part: Partition, found: Timed, name: str) -> tuple[Array, int] | None:
    """(money of each row in units of 1 / scale, scale); None when a sum may not fit."""
    scaled = numbers(part, found, name)
    if scaled is None:
        return None
    before, units, scale = scaled
    if float(np.abs(units).astype(float).sum()) >= UNITS_MAX:
        return None
    running = np.concatenate(([0], np.cumsum(units)))
    return np.diff(running[before]), scale


def local_days(zone: str, last: Array, now: Array) -> tuple[Array, Array]:
    """Local days, counted from 1970, of some instants and of now."""
    known = offsets_between(zone, int(min(last.min(), now.min())), int(now.max()))
    return walls_at(known, last) // DAY_US, walls_at(known, now) // DAY_US


def whole(bound: Fraction, scale: int) -> int:
    """The least whole number of units that reaches a bound."""
    return max(-UNITS_MAX, min(UNITS_MAX, math.ceil(bound * scale)))


def _by_edges(leaf: rule.Rfm, figures: Sequence[Array], edges: rfm.Edges, scale: int) -> Array:
    fine = np.ones(figures[0].size, bool)
    ranges = (leaf.recency, leaf.frequency, leaf.money)
    for place, (figure, of, (low, high)) in enumerate(zip(figures, edges, ranges, strict=True)):
        score = np.ones(figure.size, np.int64)
        for edge in of:
            score += figure >= whole(edge, scale if place == 2 else 1)
        if place == 0:
            score = rfm.CELLS + 1 - score
        fine &= (low <= score) & (score <= high)
    return fine


def by_cuts(
    leaf: rule.Rfm, figures: Sequence[Array], profiles: Array, cuts: rfm.Cuts, scale: int
) -> Array:
    fine = np.ones(profiles.size, bool)
    ranges = (leaf.recency, leaf.frequency, leaf.money)
    good = (-figures[0], figures[1], figures[2])
    of = (cuts.recency, cuts.frequency, cuts.money)
    for place, (figure, some, (low, high)) in enumerate(zip(good, of, ranges, strict=True)):
        units = scale if place == 2 else 1
        score = np.ones(figure.size, np.int64)
        for bound, profile in some:
            least = whole(bound, units)
            # Beyond a bound that is a whole number of units: more than it.
            equal = bound * units == least
            score += figure > least if equal else figure >= least
            if equal and cuts.ties_by_id:
                score += (figure == least) & (profiles > profile)
        fine &= (low <= score) & (score <= high)
    return fine


def _midnights(zone: str, day: Array, now: Array, turning: set[int]) -> Array:
    """The next local midnight at which a last order is of an age at which a score may turn."""
    pairs, of = np.unique(np.stack((day, now), axis=1), axis=0, return_inverse=True)
    place, epoch = times.zone_of(zone), times.EPOCH.date()
    known: dict[int, int] = {}
    found = np.full(len(pairs), NEVER, np.int64)
    for index, (last, at) in enumerate(pairs.tolist()):
        for days in turning:
            number = last + days
            if number not in known:
                try:
                    known[number] = times.midnight_us(epoch + dt.timedelta(days=number), place)
                except OverflowError:
                    known[number] = int(NEVER)
            if known[number] > at:
                found[index] = min(int(found[index]), known[number])
    return found[of.reshape(-1)]

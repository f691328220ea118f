"""Leaves of the past asked at an instant by columns alone, where nobody needs to know when they
turn. About other leaves it says nothing.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain import rfm, times
from services.segments.domain.calendars import bounds
from services.segments.domain.values import Op
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import finished
from services.segments.engine.columns.choosing import Chosen, cells_of, filtered, row_and_slot
from services.segments.engine.columns.log_index import ELSEWHERE
from services.segments.engine.columns.scans import COUNT_MAX, COUNT_SMALL
from services.segments.engine.columns.sums import counts_of
from services.segments.engine.language.expressions import PastLeaf
from services.segments.engine.language.moving import moves
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.pasts import Judged
from services.segments.engine.pasts.columns import shared_clock
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.rfm_figures import (
    HIGHEST,
    LOWEST,
    MONEY_UNITS,
    Ranges,
    orders_of,
    within,
)
from services.segments.engine.pasts.score_columns import by_cuts, local_days, whole
from services.segments.engine.pasts.scratch import at_once

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

Choice = Mapping[rule.Selector, list[Chosen]]
"""Where the rows in force lie that a selection takes."""
ROWS_MAX = 1 << 17
"""Rows judged without a rest."""


def holding(part: Partition, leaf: PastLeaf, choice: Choice, at: int) -> Array | None:
    """Which profiles a leaf holds for at an instant, one bool per profile row; None where each has
    to be judged with its turns."""
    found = None
    match leaf.node:
        case rule.NotFollowed(start, by) if (
            not leaf.node.same
            and shared_clock(leaf.node.window)
            and not (moves(start.where) or moves(by.where))
        ):
            found = _not_followed(part, leaf.node, choice, at)
        case rule.Rfm(orders) if shared_clock(leaf.node.window) and not moves(orders.where):
            found = _scored(part, leaf.node, choice[orders], at)
        case _ if not leaf.negated:
            return _narrowed(part, leaf.node, choice, at)
    return found if found is None or not leaf.negated else ~found


def _not_followed(part: Partition, leaf: rule.NotFollowed, choice: Choice, at: int) -> Array | None:
    """Most starts are of somebody without a row that could follow; only the others are judged."""
    low, high = bounds(leaf.window, at)
    low, high = ALWAYS if low is None else low, min(high, at - leaf.within_us)
    starts = [one.within(low, high) for one in choice[leaf.start]]
    follows = [one.within(low, at) for one in choice[leaf.by]]
    started, followed = (counts_of(part, one, 1).view(bool) for one in (starts, follows))
    both = started & followed
    judged = _among(part, leaf, {leaf.start: starts, leaf.by: follows}, both, at)
    if judged is None:
        return None
    return started & ~followed | judged


def _among(part: Partition, leaf: Judged, choice: Choice, who: Array, at: int) -> Array | None:
    """A leaf that is false over nothing, judged for some profiles (bool by row) and false for all
    others; None where kernels cannot say, or there are too many rows to judge without a rest."""
    slot_row, some = part.people.owners(), np.flatnonzero(who)
    places = np.zeros(part.people.rows, np.int32)
    places[some] = np.arange(some.size)
    taken = {}
    for selector, chosen in choice.items():
        rows, slots = row_and_slot(chosen)
        owners = slot_row[slots] if slot_row.size else slots
        mine = np.flatnonzero((owners >= 0) & who[owners])
        taken[selector] = rows[mine].astype(np.int64), places[owners[mine]].astype(np.int64)
    if sum(rows.size for rows, _ in taken.values()) > ROWS_MAX:
        return None
    crowd = Crowd(some, np.full(some.size, at), lambda selector: taken[selector])
    judged = at_once(part, leaf, crowd, False)
    if judged is None:
        return None
    found = np.zeros(part.people.rows, bool)
    found[some] = judged[0]
    return found


def _narrowed(part: Partition, leaf: Judged, choice: Choice, at: int) -> Array | None:
    """Judges those who have the rows without which a leaf cannot hold."""
    window = getattr(leaf, "window", None)
    if window is not None and not shared_clock(window):
        return None
    low = None if window is None else bounds(window, at)[0]
    inside = {
        one: [stretch.within(ALWAYS if low is None else low, at) for stretch in chosen]
        for one, chosen in choice.items()
    }
    match leaf:
        case rule.EventsAre(events, _, aggregate) if (
            aggregate.kind in (rule.Kind.DISTINCT, rule.Kind.DISTINCT_DAYS)
            and leaf.comparison.op in (Op.GT, Op.GTE)
            and not moves(events.where)
            and _one_each(part, inside[events], aggregate.property)
        ):
            least = math.ceil(leaf.comparison.low)
            return _among(part, leaf, inside, _having(part, inside[events], least), at)
        case rule.Sequence(steps) if not any(moves(one.where) for one in steps):
            who = np.ones(part.people.rows, bool)
            for step, times in Counter(steps).items():
                who &= _having(part, inside[step], times)
            return _among(part, leaf, inside, who, at)
        case rule.LastEvent(events, has) if not (moves(events.where) or moves(has)):
            fine = filtered(part, inside[events], has)
            return _among(part, leaf, inside, _having(part, fine, 1), at)
    return None


def _having(part: Partition, chosen: list[Chosen], least: int) -> Array:
    """Which profiles have so many rows."""
    most = COUNT_SMALL if least <= COUNT_SMALL else COUNT_MAX
    return np.asarray(counts_of(part, chosen, most) >= max(1, least))


def _one_each(part: Partition, chosen: list[Chosen], name: str) -> bool:
    """Whether no row has several elements of a property."""
    if not name:
        return True
    key = part.names.number_of(name)
    return all(
        not (one.column(finished(cells_of(part, one, key)).form) == ELSEWHERE).any()
        for one in chosen
    )


def _scored(part: Partition, leaf: rule.Rfm, chosen: list[Chosen], at: int) -> Array | None:
    if leaf.edges is not None:
        return within(part, leaf, chosen, _ranges(leaf, leaf.edges, at), at)
    found, cuts = np.zeros(part.people.rows, bool), part.cuts.of(leaf)
    if cuts.recency:
        figures = orders_of(part, leaf, chosen, at)
        if figures is None:
            return None
        if figures.owners.size:
            day, today = local_days(leaf.zone, figures.last_us, np.full(1, at))
            numbers = figures.owners * part.people.partitions + part.people.partition
            columns = (today - day, figures.orders, figures.money)
            found[figures.owners] = by_cuts(leaf, columns, numbers, cuts, MONEY_UNITS)
    return found


def _ranges(leaf: rule.Rfm, edges: rfm.Edges, at: int) -> Ranges:
    """Figures that have the scores."""
    place = times.zone_of(leaf.zone)
    today = times.local_day(at, place)

    def since(days: Fraction) -> int:
        """From when on a last order is fewer days old."""
        try:
            return times.midnight_us(today - dt.timedelta(days=math.ceil(days) - 1), place)
        except OverflowError:
            return LOWEST if days > 0 else HIGHEST

    days, orders, money = edges
    oldest, newest = leaf.recency
    return Ranges(
        _range(orders, leaf.frequency, 1),
        (
            LOWEST if oldest == 1 else since(days[rfm.CELLS - oldest]),
            HIGHEST if newest == rfm.CELLS else since(days[rfm.CELLS - newest - 1]),
        ),
        _range(money, leaf.money, MONEY_UNITS),
    )


def _range(edges: tuple[Fraction, ...], scores: tuple[int, int], units: int) -> tuple[int, int]:
    low, high = scores
    return (
        LOWEST if low == 1 else max(whole(edges[low - 2], units), LOWEST + 1),
        HIGHEST if high == rfm.CELLS else min(whole(edges[high - 1], units), HIGHEST - 1),
    )

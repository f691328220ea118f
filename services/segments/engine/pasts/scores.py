"""Recency, frequency and money of one profile, scored by edges or by the cuts in force."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import numpy as np

from services.segments.domain import calendars, rfm, times
from services.segments.domain import conditions as rule
from services.segments.domain.values import decimal_text
from services.segments.engine.base.arrays import Array
from services.segments.engine.pasts.adding import numbers_by_row
from services.segments.engine.pasts.past import Past
from services.segments.engine.pasts.spans import Verdict


def orders_in(leaf: rule.Rfm, past: Past, at: int) -> tuple[Array, Array, int, int]:
    """(the orders that stand, their times, the first and the end of those in the window)."""
    found = past.taken(leaf.orders, at)
    low, high = calendars.bounds(leaf.window, at, past.zone(leaf.window, at))
    first = 0 if low is None else int(np.searchsorted(found.occur, low, "left"))
    end = int(np.searchsorted(found.occur, high, "right"))
    return found.rows, found.occur, first, max(first, end)


def figures_of(leaf: rule.Rfm, past: Past, at: int) -> rfm.Figures | None:
    """Days since the last order, orders and money; None without an order."""
    rows, occur, first, end = orders_in(leaf, past, at)
    if first == end:
        return None
    zone = times.zone_of(leaf.zone)
    days = times.local_day(at, zone) - times.local_day(int(occur[end - 1]), zone)
    part = past.part
    key = part.names.number_of(leaf.amount)
    amounts, scale = numbers_by_row(part, rows[first:end].astype(np.int64), key)
    money = Fraction(sum(sum(one) for one in amounts)) / scale
    return Fraction(days.days), Fraction(end - first), money


def scored(leaf: rule.Rfm, past: Past, at: int) -> rfm.Scores | None:
    """Scores of a profile; None without an order, or while there are no cuts."""
    figures = figures_of(leaf, past, at)
    if figures is None:
        return None
    if leaf.edges is not None:
        return rfm.by_edges(figures, leaf.edges)
    profile = past.part.people.number_of(past.row)
    return rfm.by_cuts(figures, profile, past.part.cuts.of(leaf))


def said(leaf: rule.Rfm, past: Past, at: int) -> str:
    """Figures and scores for people, such as 3 days, 2 orders, 19.5: scores 4-2-1."""
    figures = figures_of(leaf, past, at)
    if figures is None:
        return "no order"
    days, orders, money = figures
    found = f"{decimal_text(days)} days, {decimal_text(orders)} orders, {decimal_text(money)}"
    scores = scored(leaf, past, at)
    return f"{found}: " + ("no cuts yet" if scores is None else "scores {}-{}-{}".format(*scores))


def rfm_in(leaf: rule.Rfm, past: Past, at: int) -> Verdict:
    """Whether the scores lie in the ranges, and when that may change by time alone."""
    scores = scored(leaf, past, at)
    holds = scores is not None and rfm.wanted(scores, (leaf.recency, leaf.frequency, leaf.money))
    instants = [instant for instant in _window_turns(leaf, past, at) if instant > at]
    if scores is not None:
        instants += _midnights(leaf, past, at)
    return holds, min(instants, default=None)


def _window_turns(leaf: rule.Rfm, past: Past, at: int) -> list[int]:
    """When the oldest order leaves the window, and when the next one comes into it."""
    _, occur, first, end = orders_in(leaf, past, at)
    zone = past.zone(leaf.window, at)
    found = []
    for place in range(first, end):
        span = calendars.stay(leaf.window, int(occur[place]), zone)
        if span is not None:
            found += [] if span[1] is None else [span[1]]
            break
    for place in range(end, occur.size):
        span = calendars.stay(leaf.window, int(occur[place]), zone)
        if span is not None:
            found.append(max(span[0], at + 1))
            break
    return found


def _midnights(leaf: rule.Rfm, past: Past, at: int) -> list[int]:
    """The next local midnight at which the last order is as many days old as an edge or cut."""
    _, occur, _, end = orders_in(leaf, past, at)
    zone = times.zone_of(leaf.zone)
    last = times.local_day(int(occur[end - 1]), zone)
    turns = leaf.edges[0] if leaf.edges is not None else past.part.cuts.of(leaf).recency
    found = []
    for days in rfm.days_that_turn(turns):
        try:
            midnight = times.midnight_us(last + dt.timedelta(days=days), zone)
        except OverflowError:
            continue
        if midnight > at:
            found.append(midnight)
    return [min(found)] if found else []

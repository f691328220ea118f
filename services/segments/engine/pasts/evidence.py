"""What a leaf found in a profile's past, in words and events, and when each stops counting."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from services.segments.domain import calendars, windows
from services.segments.domain import conditions as rule
from services.segments.domain.values import TIME, Op, Scalar, decimal_text
from services.segments.engine.base.arrays import Array
from services.segments.engine.pasts import (
    Judged,
    attributes,
    events,
    figures,
    items,
    orders,
    scores,
)
from services.segments.engine.pasts import regularly as regular
from services.segments.engine.pasts.past import Past

NOTHING = np.zeros(0, np.int64)
CHANGES_MAX = 5
"""Changes of a value that are named."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found. rows: events that count, in order; start, end: the window, None for open."""

    found: str
    rows: Array
    window: windows.Span | None = None
    missing: str = ""
    """The least that would turn the answer, where that is simple."""
    start: int | None = None
    end: int | None = None


def evidence(leaf: Judged, past: Past, at: int) -> Evidence:
    """What a leaf finds at an instant."""
    match leaf:
        case rule.EventsAre():
            return _figure(leaf, past, at)
        case rule.Catalogue():
            return _joined(leaf, past, at)
        case rule.AttributeIs(attribute, _):
            return Evidence(_plain(past.standing(attribute, at)), NOTHING)
        case rule.AttributeHeld():
            return Evidence(_held(leaf, past, at), NOTHING)
        case rule.AttributeChanged():
            return _windowed(leaf.window, past, at, _changed(leaf, past, at), NOTHING)
        case rule.FirstEvent():
            rows = events.first_row(leaf, past, at)
            return _windowed(leaf.window, past, at, _dated("first", past, rows), rows)
        case rule.LastEvent():
            rows = events.last_row(leaf, past, at)
            return Evidence(_dated("last", past, rows), rows)
        case rule.Sequence():
            rows = np.array(orders.sequence_rows(leaf, past, at), np.int64)
            reached = orders.steps_reached(leaf, past, at)
            found = f"{reached} of {len(leaf.steps)} steps"
            return _windowed(leaf.window, past, at, found, rows)
        case rule.NotFollowed():
            rows = np.array(orders.unfollowed_rows(leaf, past, at), np.int64)
            return _windowed(leaf.window, past, at, f"{rows.size} not followed", rows)
        case rule.Regularly():
            return _regular(leaf, past, at)
        case rule.Rfm():
            rows, _, first, end = scores.orders_in(leaf, past, at)
            return _windowed(leaf.window, past, at, scores.said(leaf, past, at), rows[first:end])


def leave_us(window: windows.Span | None, past: Past, row: int, at: int) -> int | None:
    """When an event leaves a window; None for never."""
    if window is None:
        return None
    occur = int(past.part.events.view.occur[row])
    span = calendars.stay(window, occur, past.zone(window, at))
    return None if span is None else span[1]


def _plain(values: tuple[Scalar, ...]) -> str:
    return ", ".join(value.plain() for value in values)


def _instant(at: int) -> str:
    return Scalar(TIME, units=at).plain()


def _dated(word: str, past: Past, rows: Array) -> str:
    if not rows.size:
        return "no such event"
    return f"{word} at {_instant(int(past.part.events.view.occur[rows[0]]))}"


def _windowed(
    window: windows.Span, past: Past, at: int, found: str, rows: Array, missing: str = ""
) -> Evidence:
    start: int | None
    end: int | None
    if isinstance(window, windows.Window):
        start, end = window.edges(at)
    else:
        start, end = calendars.bounds(window, at, past.zone(window, at))
    return Evidence(found, rows, window, missing, start, end)


def _figure(leaf: rule.EventsAre, past: Past, at: int) -> Evidence:
    sides = figures.sides_of(leaf, past, at)
    figure = figures.figure_of(sides, leaf.aggregate)
    missing = _missing(leaf, figure) if isinstance(figure, Fraction) else ""
    return _windowed(leaf.window, past, at, shown(figure), sides[0].inside(), missing)


def _joined(leaf: rule.Catalogue, past: Past, at: int) -> Evidence:
    rows = items.joined(leaf, past, at)
    low, high = calendars.bounds(leaf.window, at, past.zone(leaf.window, at))
    occur = past.part.events.view.occur[rows]
    kept = (occur <= high) & (occur >= (low if low is not None else calendars.INSTANT_MIN))
    rows = rows[kept]
    counted = rule.EventsAre(leaf.events, leaf.window, rule.Aggregate(), leaf.comparison)
    missing = _missing(counted, Fraction(rows.size))
    return _windowed(leaf.window, past, at, str(rows.size), rows, missing)


def shown(figure: figures.Figure) -> str:
    """A figure as shown to people; empty for no value."""
    if isinstance(figure, Scalar):
        return figure.plain()
    return "" if figure is None else decimal_text(figure)


def _missing(leaf: rule.EventsAre, figure: Fraction) -> str:
    """How much more a count or sum must be for the other answer; empty when more of it would not
    turn the answer, or another figure is asked."""
    comparison, counts = leaf.comparison, leaf.aggregate.kind is rule.Kind.COUNT
    if not counts and leaf.aggregate.kind is not rule.Kind.SUM:
        return ""
    low, high = comparison.low, comparison.high
    turns = {
        Op.GTE: [(low, True)], Op.GT: [(low, False)], Op.LT: [(low, True)],
        Op.LTE: [(low, False)], Op.EQ: [(low, True), (low, False)],
        Op.NE: [(low, True), (low, False)], Op.BETWEEN: [(low, True), (high, False)],
    }  # fmt: skip
    for bound, reached in turns.get(comparison.op, []):
        more = bound - figure
        if counts:
            whole = -(-more // 1) if reached else more // 1 + 1
            if whole > 0:
                return f"{whole} more"
        elif more > 0 or (more == 0 and not reached):
            return f"{decimal_text(more)} more" if reached else f"over {decimal_text(more)} more"
    return ""


def _held(leaf: rule.AttributeHeld, past: Past, at: int) -> str:
    value = _plain(past.standing(leaf.attribute, at)) or "missing"
    since = attributes.satisfied_since(leaf.test, past, leaf.attribute, at)
    if since is None:
        return f"{value}, which does not satisfy it"
    began = "ever" if since == attributes.FOR_EVER else _instant(since)
    return f"{value}, since {began}"


def _changed(leaf: rule.AttributeChanged, past: Past, at: int) -> str:
    found = []
    zone = past.zone(leaf.window, at)
    for since, record in attributes.changes(leaf, past, at):
        if calendars.holds(leaf.window, since, at, zone):
            value = _plain(past.scalars(record)) or "missing"
            found.append(f"{value} at {_instant(since)}")
    return "; ".join(found[-CHANGES_MAX:]) or "no such change"


def _regular(leaf: rule.Regularly, past: Past, at: int) -> Evidence:
    counts = regular.counts_of(leaf, past, at).tolist()
    taken = past.taken(leaf.events, at)
    window = windows.Window(oldest_us=leaf.periods * leaf.period_us)
    rows = taken.rows[taken.occur > at - leaf.periods * leaf.period_us]
    found = "events per period, the last one first: " + ", ".join(map(str, counts))
    return _windowed(window, past, at, found, rows)

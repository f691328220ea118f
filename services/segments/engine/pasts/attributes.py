"""Leaves about an attribute in time: tests that move, values held, values that changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from services.segments.domain import calendars, times
from services.segments.domain import conditions as rule
from services.segments.domain.values import (
    POSITIVE_OF,
    Op,
    Scalar,
    Test,
    normal_text,
    satisfies,
    stays,
)
from services.segments.engine.language.patterns import element_satisfies
from services.segments.engine.live.anniversaries import days_due, days_of
from services.segments.engine.pasts.past import Past
from services.segments.engine.pasts.spans import Span, Verdict, covered

MIDNIGHTS_MAX = 800
"""Days an anniversary is looked ahead: two years and a leap day."""

FOR_EVER = -(1 << 62)
"""Since before anything was known."""


def attribute_is(leaf: rule.AttributeIs, past: Past, at: int) -> Verdict:
    """The value that stands against a test, which may move."""
    return tested(leaf.test, past.standing(leaf.attribute, at), at)


def tested(test: Test, values: Sequence[Scalar], at: int) -> Verdict:
    """Whether a value satisfies a test at an instant, and when that may change."""
    if test.op in POSITIVE_OF:
        holds, later = tested(test.positive, values, at)
        return not holds, later
    if test.op is Op.MATCHES:
        return any(element_satisfies(test, one) for one in values if not one.missing), None
    if test.op is Op.ANNIVERSARY:
        return _anniversary(test, tuple(values), at)
    if not test.moves:
        return satisfies(test, values), None
    return covered(stays(test, values), at)


def _anniversary(test: Test, values: tuple[Scalar, ...], at: int) -> Verdict:
    wanted, zone = set(days_of(values, test.zone)), times.zone_of(test.zone)
    if not wanted:
        return False, None
    today = times.local_day(at, zone)
    holds = bool(days_due(today, test) & wanted)
    for ahead in range(1, MIDNIGHTS_MAX):
        day = today + dt.timedelta(days=ahead)
        if bool(days_due(day, test) & wanted) != holds:
            midnight = times.midnight_us(day, zone)
            if midnight > at:
                return holds, midnight
    return holds, None


def satisfied_since(test: Test, past: Past, attribute: str, at: int) -> int | None:
    """Since when a value has satisfied a test without a break.

    None: it does not; FOR_EVER: since before the first value, when what is missing satisfies it.
    """
    timeline = past.timeline(attribute, at)
    since = FOR_EVER if tested(test, (), at)[0] else None
    lasts = [*(begin - 1 for begin in timeline.since[1:]), at]
    for begin, last, record in zip(timeline.since, lasts, timeline.records, strict=False):
        values = past.scalars(record)
        instant: int | None = begin
        while instant is not None and instant <= last:
            holds, later = tested(test, values, instant)
            since = (instant if since is None else since) if holds else None
            instant = later
    return since


def attribute_held(leaf: rule.AttributeHeld, past: Past, at: int) -> Verdict:
    """Whether a value has satisfied a test for so long."""
    since = satisfied_since(leaf.test, past, leaf.attribute, at)
    later = tested(leaf.test, past.standing(leaf.attribute, at), at)[1]
    if since is None:
        return False, later
    edges = [later] if later is not None else []
    holds = True
    if leaf.at_least_us is not None:
        holds = at - since >= leaf.at_least_us
        edges.append(since + leaf.at_least_us)
    if leaf.less_than_us is not None:
        holds = holds and at - since < leaf.less_than_us
        edges.append(since + leaf.less_than_us)
    return holds, min((edge for edge in edges if edge > at), default=None)


def changes(leaf: rule.AttributeChanged, past: Past, at: int) -> list[tuple[int, int]]:
    """(instant, record) of every change that the leaf looks for, whenever it was."""
    timeline = past.timeline(leaf.attribute, at)
    found = []
    before: tuple[Scalar, ...] = ()
    for since, record in zip(timeline.since, timeline.records, strict=True):
        after = past.scalars(record)
        if (
            same_of(before) != same_of(after)
            and _is(leaf.before, before)
            and _is(leaf.after, after)
        ):
            found.append((since, record))
        before = after
    return found


def changed_spans(leaf: rule.AttributeChanged, past: Past, at: int) -> list[Span | None]:
    """When each change the leaf looks for lies in the window."""
    zone = past.zone(leaf.window, at)
    return [calendars.stay(leaf.window, since, zone) for since, _ in changes(leaf, past, at)]


def _is(wanted: Scalar | None, values: Sequence[Scalar]) -> bool:
    return wanted is None or satisfies(Test(Op.EQ, (wanted,)), values)


def same_of(values: Sequence[Scalar]) -> list[tuple[str, object]]:
    """What two values have in common when they are one: numbers by amount, texts in NFC."""
    return [sameness(value) for value in values if not value.missing]


def sameness(value: Scalar) -> tuple[str, object]:
    """Equal for elements that are equal: "10" and 10 are."""
    number = value.number()
    if number is not None:
        return "number", number
    return ("text", normal_text(value.text)) if value.text else (str(value.kind), value.units)

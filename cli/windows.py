"""Friendly YAML of windows: the stretch of event time a leaf looks at.

A phrase: `last 90 days` (elapsed; also weeks, hours, minutes, seconds), `last 3 months` (calendar
steps back; also years), `today`, `yesterday`, `this week`, `last month` (the whole one before),
`calendar_last 3 days` (today and the three before), `from 14 to 7 days ago`, `before 37 days ago`
(back to a hundred years), `ever`. Or a mapping:
{last: 90 days}, {this: month, back: 1, length: 1, zone: Europe/Kyiv, zone_source: rule | profile |
tenant, week_start: 1}, {since: T}, {before: T}, {from: T, to: T} with instants, {from: 14 days, to:
7 days} with durations.
"""

from __future__ import annotations

import re
from typing import Any

from cli.condition_parts import zone
from cli.reading import DURATION_US_MAX, Node, describe, instant_us_of
from muster.types.v1 import condition_pb2 as pb

_UNITS = {
    "day": pb.CALENDAR_UNIT_DAY,
    "week": pb.CALENDAR_UNIT_WEEK,
    "month": pb.CALENDAR_UNIT_MONTH,
    "year": pb.CALENDAR_UNIT_YEAR,
}
_ZONE_SOURCES = {
    "rule": pb.ZONE_SOURCE_RULE,
    "profile": pb.ZONE_SOURCE_PROFILE,
    "tenant": pb.ZONE_SOURCE_TENANT,
}
_LAST_CALENDAR = re.compile(r"last (\d+) (month|year)s?")
_LAST_ELAPSED = re.compile(r"last (\d.*)")
_BEFORE = re.compile(r"before (\d.*) ago")
_SLICE = re.compile(r"from (\d+) to (\d+) ([a-z]+) ago")
_PERIOD = re.compile(r"(this|last) (day|week|month|year)")
_CALENDAR_LAST = re.compile(r"calendar_last (\d+) (day|week|month|year)s?")


def window(node: Node) -> pb.Window:
    """A Window from a phrase or a mapping."""
    made = pb.Window()
    if isinstance(node.tree, str):
        _window_phrase(node, made)
    elif isinstance(node.tree, dict):
        _window_mapping(node, made)
    else:
        node.fault(f"must be a window such as 'last 90 days', not {describe(node.tree)}")
    return made


def _period(made: pb.Window, unit: str, back: int, length: int) -> None:
    made.this_period.unit = _UNITS[unit]
    made.this_period.back = back
    made.this_period.length = length


def _window_phrase(node: Node, made: pb.Window) -> None:
    phrase = " ".join(node.tree.lower().split())
    if phrase == "ever":
        made.ever.SetInParent()
    elif phrase in ("today", "yesterday"):
        _period(made, "day", int(phrase == "yesterday"), 1)
    elif found := _LAST_CALENDAR.fullmatch(phrase):
        made.last_calendar_units.n = node.aside(int(found[1])).whole(least=1)
        made.last_calendar_units.unit = _UNITS[found[2]]
    elif found := _PERIOD.fullmatch(phrase):
        _period(made, found[2], int(found[1] == "last"), 1)
    elif found := _CALENDAR_LAST.fullmatch(phrase):
        back = node.aside(int(found[1])).whole()
        _period(made, found[2], back, back + 1)
    elif found := _SLICE.fullmatch(phrase):
        _slice(made, node.aside(f"{found[1]} {found[3]}"), node.aside(f"{found[2]} {found[3]}"))
    elif found := _BEFORE.fullmatch(phrase):
        _set_slice(made, DURATION_US_MAX, node.aside(found[1]).duration_us())
    elif found := _LAST_ELAPSED.fullmatch(phrase):
        made.last.FromMicroseconds(node.aside(found[1]).duration_us())
    else:
        node.fault(
            f"{node.tree!r} is no window; say 'last 90 days', 'last 3 months', 'today', "
            "'this week', 'from 14 to 7 days ago', 'ever', or a mapping with since or from and to"
        )


def _slice(made: pb.Window, begin: Node, end: Node) -> None:
    from_us = begin.duration_us()
    to_us = 0 if str(end.tree).split()[:1] == ["0"] else end.duration_us()
    if from_us <= to_us:
        begin.fault("a slice goes from the longer ago to the shorter: from 14 to 7 days ago")
    _set_slice(made, from_us, to_us)


def _set_slice(made: pb.Window, from_us: int, to_us: int) -> None:
    getattr(made.slice, "from").FromMicroseconds(from_us)
    made.slice.to.FromMicroseconds(to_us)


def _window_mapping(node: Node, made: pb.Window) -> None:
    known = {"last", "this", "back", "length", "zone", "zone_source", "week_start"}
    keys = set(node.keys(known | {"since", "before", "from", "to"}, "a window"))
    if "last" in keys:
        _window_phrase(node.aside(f"last {node.at('last').tree}"), made)
    elif "this" in keys:
        _this(node, made)
    elif keys & {"since", "before"} or _is_instant(node.at("from").tree):
        _absolute(node, made)
    elif {"from", "to"} <= keys:
        _slice(made, node.at("from"), node.at("to"))
    else:
        node.fault("must have last, this, since, before, or from and to")
    calendar = made.WhichOneof("kind")
    if calendar not in ("last_calendar_units", "this_period"):
        for name in ("zone", "zone_source"):
            if name in keys:
                node.at(name).fault("only windows by the calendar have one")
    else:
        span = getattr(made, calendar)
        span.zone = zone(node.at("zone"))
        if (source := node.at("zone_source")).tree is not None:
            if str(source.tree) not in _ZONE_SOURCES:
                source.fault("must be rule, profile or tenant")
            span.zone_source = _ZONE_SOURCES.get(str(source.tree), pb.ZONE_SOURCE_UNSPECIFIED)


def _this(node: Node, made: pb.Window) -> None:
    unit = node.at("this")
    if str(unit.tree) not in _UNITS:
        unit.fault("must be day, week, month or year")
        return
    _period(
        made, unit.tree, node.at("back").whole(default=0), node.at("length").whole(1, default=1)
    )
    made.this_period.week_start = node.at("week_start").whole(0, 7, default=0)


def _is_instant(tree: Any) -> bool:
    try:
        instant_us_of(tree)
    except ValueError:
        return False
    return True


def _absolute(node: Node, made: pb.Window) -> None:
    made.absolute.SetInParent()
    begin = next((k for k in ("since", "from") if node.has(k)), None)
    end = next((k for k in ("before", "to") if node.has(k)), None)
    from_us = node.at(begin).instant_us() if begin else None
    to_us = node.at(end).instant_us() if end else None
    if from_us is not None:
        getattr(made.absolute, "from").FromMicroseconds(from_us)
    if to_us is not None:
        made.absolute.to.FromMicroseconds(to_us)
    if from_us is not None and to_us is not None and from_us >= to_us:
        node.fault("the window is empty: its end is not after its begin")

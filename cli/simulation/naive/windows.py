"""The stretch of event time that a window is at an instant, for the naive model (semantics 2)."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import available_timezones

from cli.simulation.naive import calendar
from muster.types.v1 import condition_pb2 as pb

ALWAYS = -(2**62)
_UNITS = {
    pb.CALENDAR_UNIT_DAY: "day",
    pb.CALENDAR_UNIT_WEEK: "week",
    pb.CALENDAR_UNIT_MONTH: "month",
    pb.CALENDAR_UNIT_YEAR: "year",
}
_CALENDAR = ("last_calendar_units", "this_period")
_ELAPSED_DAYS = {"day": 1, "week": 7}


def zone_for(window: pb.Window, rule_zone: str, own_zone: object) -> str:
    """The zone whose clocks a window goes by. own_zone: the profile's attribute time_zone."""
    kind = window.WhichOneof("kind")
    if kind not in _CALENDAR:
        return ""
    node = getattr(window, str(kind))
    if node.zone_source == pb.ZONE_SOURCE_TENANT:
        return ""
    given = node.zone or rule_zone
    by_profile = node.zone_source == pb.ZONE_SOURCE_PROFILE or (
        node.zone_source == pb.ZONE_SOURCE_UNSPECIFIED and not given
    )
    if by_profile and isinstance(own_zone, str) and own_zone in _zones():
        return own_zone
    return given


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def edges(window: pb.Window, at_us: int, zone: str) -> tuple[int, int]:
    """[low, high] in microseconds: what lies in the window at an instant; empty: low > high."""
    kind = window.WhichOneof("kind")
    if kind == "last":
        return at_us - window.last.ToMicroseconds() + 1, at_us
    if kind == "slice":
        begin = at_us - getattr(window.slice, "from").ToMicroseconds()
        return begin + 1, at_us - window.slice.to.ToMicroseconds()
    if kind == "absolute":
        given = window.absolute
        since = getattr(given, "from").ToMicroseconds() if given.HasField("from") else ALWAYS
        until = given.to.ToMicroseconds() if given.HasField("to") else at_us + 1
        return since, min(until - 1, at_us)
    if kind == "last_calendar_units":
        span = window.last_calendar_units
        return _steps(span.n, _UNITS[span.unit], at_us, zone), at_us
    if kind == "this_period":
        period = window.this_period
        given_start = period.week_start or 1
        length = period.length or 1
        return _periods(_UNITS[period.unit], period.back, length, given_start, at_us, zone)
    return ALWAYS, at_us


def _steps(n: int, unit: str, at_us: int, zone: str) -> int:
    if unit in _ELAPSED_DAYS:
        return at_us - n * _ELAPSED_DAYS[unit] * calendar.DAY_US + 1
    return calendar.months_before(at_us, n * (12 if unit == "year" else 1), zone) + 1


def _periods(
    unit: str, back: int, length: int, week_start: int, at_us: int, zone: str
) -> tuple[int, int]:
    today = calendar.day_of(at_us, zone)
    present = calendar.first_day(unit, today, week_start)
    first = calendar.periods_on(unit, present, -back)
    end = calendar.periods_on(unit, first, length)
    return calendar.midnight(first, zone), min(calendar.midnight(end, zone) - 1, at_us)


def lies_in(window: pb.Window, occur_us: int, at_us: int, zone: str) -> bool:
    """Whether something at a time lies in the window as it stands at an instant."""
    low, high = edges(window, at_us, zone)
    return low <= occur_us <= high


def turns(window: pb.Window, occur_us: int, zone: str) -> set[int]:
    """Every instant, and maybe some more, at which something at a time comes into the window or
    leaves it because time passes."""
    kind = window.WhichOneof("kind")
    if kind == "last":
        return {occur_us + window.last.ToMicroseconds()}
    if kind == "slice":
        lengths = getattr(window.slice, "from"), window.slice.to
        return {occur_us + length.ToMicroseconds() for length in lengths} - {occur_us}
    if kind == "last_calendar_units":
        return {_leaves(window, occur_us, zone)}
    if kind == "this_period":
        period = window.this_period
        unit, length = _UNITS[period.unit], period.length or 1
        day = calendar.day_of(occur_us, zone)
        own = calendar.first_day(unit, day, period.week_start or 1)
        edges_of = (period.back - length + 1, period.back + 1)
        firsts = (calendar.periods_on(unit, own, count) for count in edges_of)
        return {us for us in (calendar.midnight(first, zone) for first in firsts) if us > occur_us}
    return set()


@lru_cache(maxsize=262_144)
def _leaves_by_steps(n: int, unit: str, occur_us: int, zone: str) -> int:
    """The first instant at which the start has reached a time: by halves, as it never moves
    back."""
    days = {"day": 1, "week": 7, "month": 32, "year": 367}[unit] * n + 3
    before, after = occur_us, occur_us + days * calendar.DAY_US
    while after - before > 1:
        middle = (before + after) // 2
        if _steps(n, unit, middle, zone) > occur_us:
            after = middle
        else:
            before = middle
    return after


def _leaves(window: pb.Window, occur_us: int, zone: str) -> int:
    span = window.last_calendar_units
    return _leaves_by_steps(span.n, _UNITS[span.unit], occur_us, zone)

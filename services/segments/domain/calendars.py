"""Where windows begin and end: the one place that does calendar arithmetic (semantics 2).

`bounds` says what a window holds at an instant, `stay` when an event lies in it; an event is in the
window at T exactly when its stay holds T, and exactly when it lies within the bounds at T. Both
are monotone in their instant, so an event enters once and leaves once. Instants are int64
microseconds, UTC; what would lie beyond int64 is open.
"""

from __future__ import annotations

from functools import lru_cache

from services.segments.domain.times import DAY_US, zone_of
from services.segments.domain.wall_clock import civil, instant_of, month_start, wall_at
from services.segments.domain.windows import (
    CalendarPeriods,
    CalendarSteps,
    Clock,
    Span,
    Unit,
    Window,
)

INSTANT_MIN, INSTANT_MAX = -(1 << 63), (1 << 63) - 1
MONTHS = {Unit.MONTH: 1, Unit.YEAR: 12}
_MONDAY = 3
"""Days from the Monday before 1970 to its first day."""


def stay(span: Span, occur_us: int, zone: str = "") -> tuple[int, int | None] | None:
    """The instants [from, until) at which an event of that time lies in a window.

    zone: what the profile's attribute `time_zone` says, used when the span's clock says by_profile
    and there is such a zone. None: never. until None: for ever.
    """
    match span:
        case Window():
            found = _stay_rolling(span, occur_us)
        case CalendarSteps(n, unit, clock):
            place = zone_for(clock, zone)
            reached = later(wall_at(place, occur_us - 1) + 1, n * MONTHS[unit])
            found = occur_us, instant_of(place, reached)
        case CalendarPeriods():
            place = zone_for(span.clock, zone)
            within = period_of(span, wall_at(place, occur_us))
            opens = within + span.back - span.length + 1
            begin = occur_us if opens <= within else instant_of(place, start_of(span, opens))
            until = instant_of(place, start_of(span, within + span.back + 1))
            found = max(begin, occur_us), until
    if found is None or found[0] > INSTANT_MAX:
        return None
    begin, end = found
    if end is None or end > INSTANT_MAX:
        return begin, None
    return (begin, end) if begin < end else None


def bounds(span: Span, at_us: int, zone: str = "") -> tuple[int | None, int]:
    """The window at an instant as inclusive microseconds [low, high]; empty when low > high.

    low None: open. zone: as in `stay`.
    """
    low: int | None
    match span:
        case Window(oldest_us, newest_us, since_us, until_us):
            low = None if oldest_us is None else at_us - oldest_us + 1
            if since_us is not None:
                low = since_us if low is None else max(low, since_us)
            high = at_us - newest_us
            if until_us is not None:
                high = min(high, until_us - 1)
        case CalendarSteps(n, unit, clock):
            place = zone_for(clock, zone)
            low = instant_of(place, earlier(wall_at(place, at_us), n * MONTHS[unit])) + 1
            high = at_us
        case CalendarPeriods():
            place = zone_for(span.clock, zone)
            first = period_of(span, wall_at(place, at_us)) - span.back
            low = instant_of(place, start_of(span, first))
            high = min(at_us, instant_of(place, start_of(span, first + span.length)) - 1)
    if low is not None and low < INSTANT_MIN:
        low = None
    return low, max(high, INSTANT_MIN)


def holds(span: Span, occur_us: int, at_us: int, zone: str = "") -> bool:
    """Whether an event of this time lies in the window at an instant."""
    low, high = bounds(span, at_us, zone)
    return occur_us <= high and (low is None or occur_us >= low)


def zone_for(clock: Clock, profile_zone: str) -> str:
    """The zone a clock is read in for a profile whose attribute `time_zone` says that."""
    return profile_zone if clock.by_profile and is_zone(profile_zone) else clock.zone


@lru_cache(maxsize=4096)
def is_zone(name: str) -> bool:
    """Whether a text names an IANA zone."""
    try:
        return bool(name) and bool(zone_of(name))
    except ValueError:
        return False


def _stay_rolling(window: Window, occur_us: int) -> tuple[int, int | None] | None:
    if window.since_us is not None and occur_us < window.since_us:
        return None
    if window.until_us is not None and occur_us >= window.until_us:
        return None
    until = None if window.oldest_us is None else occur_us + window.oldest_us
    return occur_us + window.newest_us, until


def earlier(wall_us: int, months: int) -> int:
    """A wall time some months before another.

    Where that month has no such day it is the last microsecond of the month: 29 to 31 March minus
    a month is the end of 28 February, so that all of 1 March counts until 1 April.
    """
    day, of_day = divmod(wall_us, DAY_US)
    month, place = civil(day)
    reached, end = month_start(month - months) + place, month_start(month - months + 1)
    return reached * DAY_US + of_day if reached < end else end * DAY_US - 1


def later(wall_us: int, months: int) -> int:
    """The first wall time that is, some months earlier, at or after the given one."""
    day, of_day = divmod(wall_us, DAY_US)
    month, place = civil(day)
    reached, end = month_start(month + months) + place, month_start(month + months + 1)
    return reached * DAY_US + of_day if reached < end else end * DAY_US


def period_of(span: CalendarPeriods, wall_us: int) -> int:
    """The number of the period a wall time lies in: days, weeks, months or years on end."""
    day = wall_us // DAY_US
    if span.unit is Unit.DAY:
        return day
    if span.unit is Unit.WEEK:
        return (day + _MONDAY - (span.week_start - 1)) // 7
    return civil(day)[0] // MONTHS[span.unit]


def start_of(span: CalendarPeriods, period: int) -> int:
    """The wall time at which a period begins."""
    if span.unit is Unit.DAY:
        return period * DAY_US
    if span.unit is Unit.WEEK:
        return (period * 7 - _MONDAY + span.week_start - 1) * DAY_US
    return month_start(period * MONTHS[span.unit]) * DAY_US

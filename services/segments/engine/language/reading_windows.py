"""Reads windows, and the durations and instants of rules."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import times
from services.segments.domain.windows import (
    MONDAY,
    CalendarPeriods,
    CalendarSteps,
    Clock,
    Span,
    Unit,
    Window,
)
from services.segments.engine.language.reading_state import UTC, Reading

EVER = Window()
DAYS_PER_YEAR_MAX = 366
SUNDAY = 7
NANOS_END = 1_000_000_000
_PER_YEAR = {Unit.DAY: DAYS_PER_YEAR_MAX, Unit.WEEK: 53, Unit.MONTH: 12, Unit.YEAR: 1}
_STEPS = (Unit.MONTH, Unit.YEAR)
_SECOND_MIN = times.us_of(times.EPOCH.replace(year=1)) // times.SECOND_US
_SECOND_END = times.us_of(times.EPOCH.replace(year=9999)) // times.SECOND_US


def time_us(timestamp: Timestamp) -> int:
    """Microseconds since 1970; finer digits are cut."""
    return timestamp.seconds * times.SECOND_US + timestamp.nanos // 1_000


def read_time(reading: Reading, timestamp: Timestamp, field: str) -> int:
    """Microseconds of an instant from year 1 to 9998."""
    if not _SECOND_MIN <= timestamp.seconds < _SECOND_END:
        reading.fault("must lie in the years 1 to 9998", field)
        return 0
    if not 0 <= timestamp.nanos < NANOS_END:
        reading.fault("nanos are from 0 to 999,999,999", field)
        return 0
    return time_us(timestamp)


def duration_us(duration: Duration) -> int:
    """Microseconds; finer digits are cut."""
    return duration.seconds * times.SECOND_US + duration.nanos // 1_000


def read_duration(reading: Reading, message: Message, field: str, least_us: int = 1) -> int | None:
    """Microseconds of a duration field; None when it is not set. One that is too short or too
    long is a fault."""
    if not message.HasField(field):
        return None
    duration = getattr(message, field)
    length = duration_us(duration)
    if not 0 <= duration.nanos < NANOS_END and duration.seconds >= 0:
        reading.fault("nanos are from 0 to 999,999,999", field)
        return least_us
    if length < least_us:
        reading.fault("must be longer than nothing" if least_us else "must not be negative", field)
        return least_us
    if length > reading.limits.window_years_max * DAYS_PER_YEAR_MAX * times.DAY_US:
        reading.fault(f"at most {reading.limits.window_years_max} years", field)
        return least_us
    return length


def needed_duration(reading: Reading, message: Message, field: str, what: str) -> int:
    """As `read_duration`; a fault that says `what` to give when it is not set."""
    length = read_duration(reading, message, field)
    if length is None:
        reading.fault(what, field)
        return 1
    return length


def read_window(reading: Reading, window: pb.Window) -> Span:
    """The span of a leaf's window; all of history when it is not set."""
    with reading.at("window"):
        match window.WhichOneof("kind"):
            case "last":
                return Window(oldest_us=read_duration(reading, window, "last"))
            case "slice":
                return _slice(reading, window.slice)
            case "absolute":
                return _absolute(reading, window.absolute)
            case "last_calendar_units":
                with reading.at("last_calendar_units"):
                    return _steps(reading, window.last_calendar_units)
            case "this_period":
                with reading.at("this_period"):
                    return _period(reading, window.this_period)
    return EVER


def _slice(reading: Reading, given: pb.Slice) -> Window:
    before = len(reading.faults)
    with reading.at("slice"):
        start = needed_duration(reading, given, "from", "say from how long ago, such as 14 days")
        end = read_duration(reading, given, "to", least_us=0) or 0
        if len(reading.faults) == before and start <= end:
            reading.fault("`from` must be longer ago than `to`, and `to` not ahead")
    return Window(oldest_us=start, newest_us=end)


def _absolute(reading: Reading, given: pb.Absolute) -> Window:
    since = until = None
    with reading.at("absolute"):
        if given.HasField("from"):
            since = read_time(reading, getattr(given, "from"), "from")
        if given.HasField("to"):
            until = read_time(reading, given.to, "to")
        if since is None and until is None:
            reading.fault("give `from`, `to` or both; for no bound use `ever`")
        elif since is not None and until is not None and since >= until:
            reading.fault("`from` must be before `to`")
    return Window(since_us=since, until_us=until)


def _unit(reading: Reading, unit: int) -> Unit:
    if unit not in {int(one) for one in Unit}:
        reading.fault("must be day, week, month or year", "unit")
        return Unit.DAY
    return Unit(unit)


def read_clock(reading: Reading, given: pb.CalendarSpan | pb.CalendarPeriod) -> Clock:
    """Whose wall clock: the zone given here, else the rule's, else the profile's, else UTC; or
    the one that `zone_source` names, with what follows it in that order when it has none."""
    source = given.zone_source
    if source not in pb.ZoneSource.values():
        reading.fault("must be rule, profile or tenant", "zone_source")
    if source == pb.ZONE_SOURCE_TENANT:
        if given.zone:
            reading.fault("the tenant's zone is asked for: leave the zone out", "zone")
        return Clock(UTC)
    named = bool(given.zone or reading.zone)
    if source == pb.ZONE_SOURCE_RULE and not named:
        reading.fault("name the zone here or at the rule, such as Europe/Kyiv", "zone")
    by_profile = source == pb.ZONE_SOURCE_PROFILE or (
        source == pb.ZONE_SOURCE_UNSPECIFIED and not named
    )
    return Clock(reading.zone_of(given.zone), by_profile)


def _steps(reading: Reading, given: pb.CalendarSpan) -> Span:
    """Days and weeks are elapsed time, whatever the clocks do."""
    unit = _unit(reading, given.unit)
    most = reading.limits.window_years_max * _PER_YEAR[unit]
    if not 1 <= given.n <= most:
        reading.fault(f"must be from 1 to {most}", "n")
    clock = read_clock(reading, given)
    if unit in _STEPS:
        return CalendarSteps(given.n, unit, clock)
    days = given.n * (1 if unit is Unit.DAY else 7)
    return Window(oldest_us=max(days, 1) * times.DAY_US)


def _period(reading: Reading, given: pb.CalendarPeriod) -> CalendarPeriods:
    """Periods after the present one are nothing more: the window ends with the present one."""
    unit = _unit(reading, given.unit)
    most = reading.limits.window_years_max * _PER_YEAR[unit]
    if given.back > most:
        reading.fault(f"at most {most} periods back", "back")
    if given.week_start > SUNDAY:
        reading.fault("must be from 1 (Monday) to 7 (Sunday)", "week_start")
    elif given.week_start and unit is not Unit.WEEK:
        reading.fault("only weeks have a first day", "week_start")
    length = min(given.length or 1, given.back + 1)
    start = given.week_start if unit is Unit.WEEK and given.week_start else MONDAY
    return CalendarPeriods(unit, given.back, length, read_clock(reading, given), start)

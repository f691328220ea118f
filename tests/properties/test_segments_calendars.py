"""Windows by the calendar against a slow answer that only reads wall clocks.

Hypothesis prints the example that fails and the blob that repeats it.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.segments.domain.calendars import bounds, holds, is_zone, stay
from services.segments.domain.times import DAY_US, HOUR_US, MINUTE_US, local_us, midnight_us, us_of
from services.segments.domain.windows import (
    CalendarPeriods,
    CalendarSteps,
    Clock,
    Span,
    Unit,
    Window,
)
from services.segments.engine.live import boundaries

ZONES = [
    "UTC", "Europe/Kyiv", "America/New_York", "America/Havana", "America/St_Johns",
    "Africa/Cairo", "Africa/Casablanca", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia",
    "Pacific/Kwajalein", "Pacific/Chatham", "America/Sao_Paulo", "Asia/Tehran", "Europe/Dublin",
]  # fmt: skip
# Moments when clocks changed or months were short, so that examples fall around them.
MOMENTS = [
    datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2024, 11, 3, 5, tzinfo=UTC),
    datetime(2006, 10, 29, 2, 31, tzinfo=UTC), datetime(2024, 4, 25, 22, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC), datetime(1993, 8, 21, 12, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2018, 2, 18, 2, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2023, 2, 28, 23, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 31, 12, tzinfo=UTC), datetime(2026, 5, 31, 21, tzinfo=UTC),
]  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

near = st.builds(
    lambda moment, minutes, us: us_of(moment) + minutes * MINUTE_US + us,
    st.sampled_from(MOMENTS), st.integers(-3 * 1_440, 3 * 1_440), st.integers(-1, 1),
)  # fmt: skip
instants = near | st.integers(us_of(datetime(1985, 1, 1, tzinfo=UTC)), 2_100_000_000_000_000)
clocks = st.builds(Clock, st.sampled_from(ZONES))
steps = st.builds(
    CalendarSteps, st.integers(1, 30), st.sampled_from([Unit.MONTH, Unit.YEAR]), clocks
)
periods = st.builds(
    CalendarPeriods, st.sampled_from(Unit), st.integers(0, 5), st.integers(1, 6), clocks,
    st.integers(1, 7),
)  # fmt: skip
windows = st.builds(
    Window, st.none() | st.integers(2 * DAY_US, 9 * DAY_US), st.integers(0, DAY_US),
    st.none() | instants, st.none() | instants,
)  # fmt: skip
spans = steps | periods | windows


def wall(at_us: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone).replace(tzinfo=None)


def stepped_back(span: CalendarSteps, at_us: int) -> int:
    """T minus n months on the wall clock, whatever it was before."""
    zone = ZoneInfo(span.clock.zone)
    local = wall(at_us, zone)
    month = local.year * 12 + local.month - 1 - span.n * (12 if span.unit is Unit.YEAR else 1)
    year, month = divmod(month, 12)
    last = calendar.monthrange(year, month + 1)[1]
    if local.day <= last:
        return local_us(local.replace(year=year, month=month + 1, day=min(local.day, last)), zone)
    return local_us(datetime(year, month + 1, last, 23, 59, 59, 999_999), zone)  # noqa: DTZ001


def slow_low(span: CalendarSteps, at_us: int) -> int:
    """The start that never moved back: clocks change at whole minutes, within two days."""
    quarter = 15 * MINUTE_US
    grid = range(at_us // quarter * quarter - 30 * HOUR_US, at_us + 1, quarter)
    before = [at - 1 for at in grid] + [at - 1 + MINUTE_US for at in grid if at < at_us - MINUTE_US]
    return max(stepped_back(span, at) for at in [at_us, *before]) + 1


def first_day(span: CalendarPeriods, day: date, periods: int) -> date:
    """The first day of the period some periods after the one a day lies in."""
    match span.unit:
        case Unit.DAY:
            return day + timedelta(days=periods)
        case Unit.WEEK:
            return day + timedelta(days=7 * periods - (day.isoweekday() - span.week_start) % 7)
        case Unit.MONTH:
            year, month = divmod(day.year * 12 + day.month - 1 + periods, 12)
            return date(year, month + 1, 1)
    return date(day.year + periods, 1, 1)


def slow_bounds(span: CalendarPeriods, at_us: int) -> tuple[int, int]:
    """The window from the last local midnight that has passed."""
    zone = ZoneInfo(span.clock.zone)
    day = wall(at_us, zone).date() + timedelta(days=2)
    while midnight_us(day, zone) > at_us:
        day -= timedelta(days=1)
    low = midnight_us(first_day(span, day, -span.back), zone)
    end = midnight_us(first_day(span, day, span.length - span.back), zone)
    return low, min(at_us, end - 1)


@given(steps, instants)
@example(CalendarSteps(1, Unit.MONTH, Clock("UTC")), us_of(datetime(2026, 3, 31, 12, tzinfo=UTC)))
@settings(max_examples=600, deadline=None, print_blob=True)
def test_steps_begin_where_the_wall_clock_says_and_never_move_back(
    span: CalendarSteps, at_us: int
) -> None:
    assert bounds(span, at_us) == (slow_low(span, at_us), at_us)


@given(periods, instants)
@settings(max_examples=600, deadline=None, print_blob=True)
def test_periods_begin_and_end_at_local_midnights(span: CalendarPeriods, at_us: int) -> None:
    assert bounds(span, at_us) == slow_bounds(span, at_us)


@given(spans, instants, st.lists(st.integers(-1, 1), min_size=1, max_size=4), instants)
@settings(max_examples=2_000, deadline=None, print_blob=True)
def test_a_stay_says_what_the_bounds_say_to_the_microsecond(
    span: Span, occur_us: int, near_us: list[int], any_us: int
) -> None:
    found = stay(span, occur_us)
    begin, until = (0, 0) if found is None else found
    edges = [begin, until or 0, occur_us, any_us, bounds(span, occur_us)[0] or 0]
    for at_us in [edge + by for edge in edges for by in near_us]:
        inside = found is not None and begin <= at_us and (until is None or at_us < until)
        assert holds(span, occur_us, at_us) == inside, at_us


@given(spans, instants, st.integers(0, 3 * DAY_US) | st.integers(0, 2 * MINUTE_US))
@settings(max_examples=1_500, deadline=None, print_blob=True)
def test_edges_move_forward_only(span: Span, at_us: int, later_us: int) -> None:
    low, high = bounds(span, at_us)
    low_later, high_later = bounds(span, at_us + later_us)
    assert (low or 0) <= (low_later or 0) and high <= high_later
    one, other = stay(span, at_us), stay(span, at_us + later_us)
    if one is not None and other is not None:
        assert one[0] <= other[0] and (one[1] or 0) <= (other[1] or 0)


far = st.sampled_from([-(1 << 63), (1 << 63) - 1, -62_135_596_800_000_000, 253_402_300_799_999_999])


@given(spans, st.integers(-(1 << 63), (1 << 63) - 1) | far)
@settings(max_examples=1_000, deadline=None, print_blob=True)
def test_any_instant_has_an_answer_that_fits(span: Span, at_us: int) -> None:
    found = stay(span, at_us)
    low, high = bounds(span, at_us)
    given_ = [high, 0 if low is None else low, *(one or 0 for one in found or ())]
    assert all(-(1 << 63) <= one < 1 << 63 for one in given_)


def kyiv(*given_: int) -> int:
    return local_us(datetime(*given_), ZoneInfo("Europe/Kyiv"))  # type: ignore[arg-type]  # noqa: DTZ001


MONTH = CalendarSteps(1, Unit.MONTH, Clock("Europe/Kyiv"))


@pytest.mark.parametrize(
    ("occur", "leaves"),
    [
        (kyiv(2026, 2, 15, 10), kyiv(2026, 3, 15, 10)),
        (kyiv(2026, 2, 28, 10), kyiv(2026, 3, 28, 10)),
        (kyiv(2026, 3, 1), kyiv(2026, 4, 1)),
        (kyiv(2026, 1, 31, 10), kyiv(2026, 3, 1)),
        (kyiv(2026, 2, 28, 3, 30), kyiv(2026, 3, 28, 3, 30)),
        (kyiv(2026, 2, 28, 23, 59, 59, 999_999), kyiv(2026, 3, 28, 23, 59, 59, 999_999)),
    ],
)
def test_an_event_leaves_the_last_month_on_its_day(occur: int, leaves: int) -> None:
    assert stay(MONTH, occur) == (occur, leaves)


def test_on_31_may_the_last_three_months_begin_with_1_march() -> None:
    span = CalendarSteps(3, Unit.MONTH, Clock("Europe/Kyiv"))
    assert bounds(span, kyiv(2026, 5, 31, 15)) == (kyiv(2026, 3, 1), kyiv(2026, 5, 31, 15))


def test_the_profile_s_zone_counts_where_the_rule_says_so() -> None:
    at = kyiv(2026, 7, 1, 0, 30)
    own = CalendarPeriods(Unit.DAY, 0, 1, Clock("Europe/Kyiv", by_profile=True))
    assert bounds(own, at) == bounds(own, at, "no such zone") == (kyiv(2026, 7, 1), at)
    in_lisbon = local_us(datetime(2026, 6, 30), ZoneInfo("Europe/Lisbon"))  # noqa: DTZ001
    assert bounds(own, at, "Europe/Lisbon") == (in_lisbon, at)
    rule = CalendarPeriods(Unit.DAY, 0, 1, Clock("Europe/Kyiv"))
    assert bounds(rule, at, "Europe/Lisbon") == (kyiv(2026, 7, 1), at)
    assert is_zone("Asia/Tokyo") and not is_zone("") and not is_zone("../etc")


by_calendar = steps | periods


@given(by_calendar, near, st.integers(0, 100 * DAY_US), st.lists(instants, max_size=20))
@settings(max_examples=400, deadline=None, print_blob=True)
def test_columns_and_stretches_say_what_a_stay_says(
    span: CalendarSteps | CalendarPeriods, now_us: int, ahead_us: int, any_us: list[int]
) -> None:
    made = boundaries.stretches(span, now_us, now_us + ahead_us)
    keys = [key for edge in made if edge is not None for key in edge.keys[1:].tolist()]
    occur = np.array([*(key + by for key in keys for by in (-1, 0, 1)), *any_us], np.int64)
    begins, untils = boundaries.stays(span, occur)
    for one, begin, until in zip(occur.tolist(), begins.tolist(), untils.tolist(), strict=True):
        assert stay(span, one) == ((begin, until) if begin < until else None), one
    for edge, passed in zip(made, (untils, begins), strict=True):
        if edge is not None:
            place = np.searchsorted(edge.keys, occur, "right") - 1
            found = edge.values[place] + edge.slopes[place] * occur
            asked = occur <= now_us + ahead_us
            gone = passed <= now_us
            assert (found[asked & gone] <= now_us).all()
            assert (found[asked & ~gone] == passed[asked & ~gone]).all()

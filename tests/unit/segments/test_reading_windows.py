"""Windows: what each means, whose clock it goes by, and which cannot be."""

from __future__ import annotations

import pytest

from services.segments.domain.conditions import FirstEvent
from services.segments.domain.times import DAY_US, HOUR_US
from services.segments.domain.windows import (
    CalendarPeriods,
    CalendarSteps,
    Clock,
    Span,
    Unit,
    Window,
)
from tests.unit.segments.reading import assert_faults, read

UTC_OF_PROFILE = Clock("UTC", True)


def first(window: str) -> str:
    return f'first_event {{ events {{ types: "a" }} window {{ {window} }} }}'


MEANT: dict[str, Span] = {
    "": Window(),
    "ever {}": Window(),
    "last { seconds: 3600 }": Window(HOUR_US),
    "last { nanos: 1999 }": Window(1),
    "slice { from { seconds: 172800 } to { seconds: 86400 } }": Window(2 * DAY_US, DAY_US),
    "slice { from { seconds: 86400 } }": Window(DAY_US),
    "absolute { from { seconds: -1 nanos: 500000000 } }": Window(since_us=-500_000),
    "absolute { from { seconds: 1 } to { seconds: 2 } }": Window(
        since_us=1_000_000, until_us=2_000_000
    ),
    "last_calendar_units { n: 3 unit: CALENDAR_UNIT_DAY }": Window(3 * DAY_US),
    "last_calendar_units { n: 2 unit: CALENDAR_UNIT_WEEK }": Window(14 * DAY_US),
    "last_calendar_units { n: 3 unit: CALENDAR_UNIT_MONTH }": CalendarSteps(
        3, Unit.MONTH, UTC_OF_PROFILE
    ),
    "this_period { unit: CALENDAR_UNIT_DAY }": CalendarPeriods(Unit.DAY, 0, 1, UTC_OF_PROFILE),
    "this_period { unit: CALENDAR_UNIT_MONTH back: 3 length: 2 }": CalendarPeriods(
        Unit.MONTH, 3, 2, UTC_OF_PROFILE
    ),
    "this_period { unit: CALENDAR_UNIT_DAY back: 3 length: 9 }": CalendarPeriods(
        Unit.DAY, 3, 4, UTC_OF_PROFILE
    ),
    "this_period { unit: CALENDAR_UNIT_WEEK week_start: 7 }": CalendarPeriods(
        Unit.WEEK, 0, 1, UTC_OF_PROFILE, 7
    ),
}


@pytest.mark.parametrize("window", MEANT)
def test_a_window_is_read(window: str) -> None:
    node, faults = read(first(window))
    assert faults == []
    assert isinstance(node, FirstEvent)
    assert node.window == MEANT[window]


CLOCKS = {
    # (zone of the rule, what the window says): the clock
    ("", ""): Clock("UTC", True),
    ("Europe/Kyiv", ""): Clock("Europe/Kyiv"),
    ("Europe/Kyiv", 'zone: "Asia/Tokyo"'): Clock("Asia/Tokyo"),
    ("", 'zone: "Asia/Tokyo"'): Clock("Asia/Tokyo"),
    ("Europe/Kyiv", "zone_source: ZONE_SOURCE_RULE"): Clock("Europe/Kyiv"),
    ("Europe/Kyiv", "zone_source: ZONE_SOURCE_PROFILE"): Clock("Europe/Kyiv", True),
    ("", "zone_source: ZONE_SOURCE_PROFILE"): Clock("UTC", True),
    ("", 'zone: "Asia/Tokyo" zone_source: ZONE_SOURCE_PROFILE'): Clock("Asia/Tokyo", True),
    ("Europe/Kyiv", "zone_source: ZONE_SOURCE_TENANT"): Clock("UTC"),
}


@pytest.mark.parametrize(("zone", "given"), CLOCKS)
def test_the_clock_is_the_rules_else_the_profiles_else_utc(zone: str, given: str) -> None:
    for window in ("last_calendar_units { n: 1 unit: CALENDAR_UNIT_YEAR %s }",
                   "this_period { unit: CALENDAR_UNIT_DAY %s }"):  # fmt: skip
        node, faults = read(first(window % given), zone)
        assert faults == []
        assert isinstance(node, FirstEvent)
        assert not isinstance(node.window, Window)
        assert node.window.clock == CLOCKS[zone, given]


HUNDRED_YEARS_S = 100 * 366 * 86_400
WRONG = {
    "last {}": ["last: must be longer than nothing"],
    "last { seconds: -5 }": ["last: must be longer than nothing"],
    "last { nanos: 999 }": ["last: must be longer than nothing"],
    f"last {{ seconds: {HUNDRED_YEARS_S + 1} }}": ["last: at most 100 years"],
    "last { seconds: 9223372036854775807 }": ["last: at most 100 years"],
    "last { seconds: 5 nanos: -1 }": ["last: nanos are from 0 to 999,999,999"],
    "absolute { to { nanos: 1000000000 } }": ["absolute.to: nanos are from 0 to 999,999,999"],
    "slice { to { seconds: 5 } }": ["slice.from: say from how long ago"],
    "slice { from { seconds: 5 } to { seconds: 5 } }": ["slice: `from` must be longer ago"],
    "slice { from { seconds: 5 } to { seconds: -1 } }": ["slice.to: must not be negative"],
    "absolute {}": ["absolute: give `from`, `to` or both"],
    "absolute { from { seconds: 2 } to { seconds: 2 } }": ["absolute: `from` must be before"],
    "absolute { to { seconds: 999999999999999 } }": ["absolute.to: must lie in the years"],
    "last_calendar_units { unit: CALENDAR_UNIT_MONTH }": [
        "last_calendar_units.n: must be from 1 to 1200",
    ],
    "last_calendar_units { n: 101 unit: CALENDAR_UNIT_YEAR }": [
        "last_calendar_units.n: must be from 1 to 100",
    ],
    "last_calendar_units { n: 1 }": ["last_calendar_units.unit: must be day, week, month or year"],
    'last_calendar_units { n: 1 unit: CALENDAR_UNIT_YEAR zone: "Mars/Base" }': [
        "last_calendar_units.zone: 'Mars/Base' is not an IANA time zone",
    ],
    "last_calendar_units { n: 1 unit: CALENDAR_UNIT_YEAR zone_source: ZONE_SOURCE_RULE }": [
        "last_calendar_units.zone: name the zone here or at the rule",
    ],
    'this_period { unit: CALENDAR_UNIT_DAY zone: "UTC" zone_source: ZONE_SOURCE_TENANT }': [
        "this_period.zone: the tenant's zone is asked for",
    ],
    "this_period { unit: 9 zone_source: 9 }": [
        "this_period.unit: must be day", "this_period.zone_source: must be rule, profile or tenant",
    ],
    "this_period { unit: CALENDAR_UNIT_YEAR back: 101 }": ["this_period.back: at most 100"],
    "this_period { unit: CALENDAR_UNIT_WEEK week_start: 8 }": ["this_period.week_start: must be"],
    "this_period { unit: CALENDAR_UNIT_DAY week_start: 1 }": ["this_period.week_start: only weeks"],
}  # fmt: skip


@pytest.mark.parametrize("window", WRONG)
def test_a_window_that_cannot_be_is_refused(window: str) -> None:
    assert_faults(first(window), [f"first_event.window.{fault}" for fault in WRONG[window]])

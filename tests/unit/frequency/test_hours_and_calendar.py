"""Instants of hours and periods, at the places where clocks misbehave."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.frequency.domain.calendar import (
    Calendar,
    Unit,
    first_instant,
    index_at,
    start_of,
    zone_of,
)
from services.frequency.domain.hours import Hours, next_open, open_until


def at(text: str) -> int:
    """UTC microseconds of an ISO instant."""
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000_000)


KYIV = "Europe/Kyiv"
NIGHT = Hours(22 * 60, 7 * 60)
DAY = Hours(9 * 60, 21 * 60)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("UTC", "2026-05-01", "2026-05-01T00:00:00+00:00"),
        (KYIV, "2026-05-01", "2026-05-01T00:00:00+03:00"),
        # Cairo's clocks jump from 00:00 to 01:00: the day begins after the gap.
        ("Africa/Cairo", "2024-04-26", "2024-04-26T01:00:00+03:00"),
        # Havana repeats 00:00 to 01:00: the first one counts.
        ("America/Havana", "2024-11-03", "2024-11-03T00:00:00-04:00"),
        # St John's went back from 00:01 to 23:01 of the day before.
        ("America/St_Johns", "2010-11-07", "2010-11-07T00:00:00-02:30"),
        # Samoa had no 30 December 2011.
        ("Pacific/Apia", "2011-12-30", "2011-12-31T00:00:00+14:00"),
    ],
)
def test_a_day_begins_at_its_first_instant(zone: str, day: str, expected: str) -> None:
    ordinal = datetime.fromisoformat(day).toordinal()
    assert first_instant(ordinal, zone_of(zone)) == at(expected)


def test_a_repeated_midnight_does_not_bring_the_old_day_back() -> None:
    zone, daily = zone_of("America/St_Johns"), Calendar(Unit.DAY)
    seen = [
        index_at(daily, zone, at("2010-11-07T02:29:59+00:00")),
        index_at(daily, zone, at("2010-11-07T02:30:30+00:00")),
        index_at(daily, zone, at("2010-11-07T03:00:00+00:00")),
    ]
    assert seen[1] == seen[0] + 1
    assert seen[2] == seen[1]


def test_weeks_begin_on_the_day_named_and_months_on_the_first() -> None:
    zone, wednesday = zone_of(KYIV), at("2026-05-06T12:00:00+03:00")
    monday = Calendar(Unit.WEEK)
    sunday = Calendar(Unit.WEEK, week_start=7)
    month = Calendar(Unit.MONTH)
    assert start_of(monday, zone, index_at(monday, zone, wednesday)) == at("2026-05-04T00:00+03:00")
    assert start_of(sunday, zone, index_at(sunday, zone, wednesday)) == at("2026-05-03T00:00+03:00")
    assert start_of(month, zone, index_at(month, zone, wednesday)) == at("2026-05-01T00:00+03:00")
    assert start_of(month, zone, index_at(month, zone, wednesday) - 5) == at(
        "2025-12-01T00:00+02:00"
    )


def test_hours_hold_over_midnight() -> None:
    zone = zone_of(KYIV)
    assert open_until(NIGHT, zone, at("2026-05-01T23:00+03:00")) == at("2026-05-02T07:00+03:00")
    assert open_until(NIGHT, zone, at("2026-05-02T06:59:59+03:00")) == at("2026-05-02T07:00+03:00")
    assert open_until(NIGHT, zone, at("2026-05-02T07:00+03:00")) is None
    assert next_open(NIGHT, zone, at("2026-05-02T07:00+03:00")) == at("2026-05-02T22:00+03:00")


def test_hours_follow_the_wall_clock_through_a_change() -> None:
    zone = zone_of(KYIV)
    # The last Sunday of March: 03:00 becomes 04:00.
    assert next_open(DAY, zone, at("2026-03-28T21:00+02:00")) == at("2026-03-29T09:00+03:00")


def test_hours_that_fall_into_a_gap_open_at_its_end() -> None:
    zone, early = zone_of(KYIV), Hours(3 * 60 + 30, 5 * 60)
    asked = at("2026-03-29T00:00+02:00")
    assert next_open(early, zone, asked) == at("2026-03-29T04:00+03:00")
    whole = Hours(3 * 60, 4 * 60)
    assert next_open(whole, zone, asked) == at("2026-03-30T03:00+03:00")


def test_hours_hold_on_both_passes_of_a_repeated_hour() -> None:
    # The last Sunday of October: 04:00 becomes 03:00 again.
    zone, hours = zone_of(KYIV), Hours(3 * 60 + 15, 3 * 60 + 45)
    first, second = at("2026-10-25T03:20+03:00"), at("2026-10-25T03:20+02:00")
    assert open_until(hours, zone, first) == at("2026-10-25T03:45+03:00")
    assert next_open(hours, zone, at("2026-10-25T03:45+03:00")) == at("2026-10-25T03:15+02:00")
    assert open_until(hours, zone, second) == at("2026-10-25T03:45+02:00")


def test_hours_until_midnight_and_unknown_zones() -> None:
    zone, evening = zone_of("UTC"), Hours(18 * 60, 0)
    assert open_until(evening, zone, at("2026-05-01T23:59:59+00:00")) == at(
        "2026-05-02T00:00+00:00"
    )
    with pytest.raises(ValueError, match="Mars"):
        zone_of("Mars/Olympus")

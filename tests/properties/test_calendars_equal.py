"""The calendar of the domain against a search of the zone's clocks: windows and stays agree.

MUSTER_SEED is the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random

import pytest

from cli.simulation.naive import calendar, windows
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import calendars
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading_state import Reading
from services.segments.engine.language.reading_windows import read_window

HOUR_US = calendar.HOUR_US
ZONES = [
    *("UTC", "Europe/Kyiv", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"),
    *("Asia/Beirut", "America/St_Johns", "Pacific/Apia", "America/Havana", "Asia/Kathmandu"),
]
CASES = int(os.environ.get("MUSTER_CALENDARS", "150"))


def _window(rng: random.Random, zone: str) -> pb.Window:
    made = pb.Window()
    if rng.random() < 0.4:
        made.last_calendar_units.n = rng.choice([1, 1, 2, 3, 12, 13])
        made.last_calendar_units.unit = rng.choice(
            [pb.CALENDAR_UNIT_MONTH, pb.CALENDAR_UNIT_MONTH, pb.CALENDAR_UNIT_YEAR]
        )
        made.last_calendar_units.zone = zone
        return made
    made.this_period.unit = rng.choice(
        [
            pb.CALENDAR_UNIT_DAY, pb.CALENDAR_UNIT_WEEK,
            pb.CALENDAR_UNIT_MONTH, pb.CALENDAR_UNIT_YEAR,
        ]
    )  # fmt: skip
    made.this_period.back = rng.choice([0, 0, 1, 2, 3, 7])
    made.this_period.length = rng.randint(0, made.this_period.back + 1)
    made.this_period.zone = zone
    if made.this_period.unit == pb.CALENDAR_UNIT_WEEK:
        made.this_period.week_start = rng.randint(0, 7)
    return made


def _instants(rng: random.Random, zone: str) -> list[int]:
    """Around the changes of a year's clocks, midnights, ends of months."""
    begin = calendar.midnight(
        calendar.EPOCH.date().replace(year=rng.randint(1995, 2030), month=rng.randint(1, 12)), zone
    )
    found = [begin, begin + rng.randint(0, 31 * calendar.DAY_US)]
    for change in calendar.changes(begin, begin + 366 * calendar.DAY_US, zone):
        found += [change, change + rng.choice([-1, 1]) * rng.randint(0, 26) * HOUR_US]
    return [us + rng.choice([0, 0, -1, 1]) for us in found]


@pytest.mark.timeout(600)
def test_windows_hold_what_the_clocks_say() -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}")
    for offset in range(CASES):
        rng = random.Random(seed + offset)
        zone = rng.choice(ZONES)
        window = _window(rng, zone)
        reading = Reading("", lambda _: None, EngineLimits())
        span = read_window(reading, window)
        assert not reading.faults, reading.faults
        where = f"seed {seed + offset}, {zone}, {window}"
        for at_us in _instants(rng, zone):
            expected = windows.edges(window, at_us, zone)
            assert calendars.bounds(span, at_us) == expected, f"{where}, at {at_us}"
            _stays(window, span, at_us, zone, where)


def _stays(window: pb.Window, span: object, occur_us: int, zone: str, where: str) -> None:
    """A stay begins and ends exactly where the windows around begin and end to hold the event."""
    stay = calendars.stay(span, occur_us)  # type: ignore[arg-type]
    edges = {occur_us, *windows.turns(window, occur_us, zone)}
    for at_us in {us + step for us in edges for step in (-1, 0, 1)}:
        if at_us < occur_us:
            continue
        inside = stay is not None and stay[0] <= at_us and (stay[1] is None or at_us < stay[1])
        wanted = windows.lies_in(window, occur_us, at_us, zone)
        assert inside == wanted, f"{where}, event at {occur_us}, asked at {at_us}: stay {stay}"

"""Random windows, by elapsed time and by the calendar of zones whose clocks do odd things."""

from __future__ import annotations

import random
from dataclasses import dataclass

from muster.types.v1 import condition_pb2 as pb

ZONES = [
    *("UTC", "Europe/Kyiv", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("America/St_Johns", "Africa/Cairo"),
]
_UNITS = [
    pb.CALENDAR_UNIT_DAY,
    pb.CALENDAR_UNIT_DAY,
    pb.CALENDAR_UNIT_WEEK,
    pb.CALENDAR_UNIT_MONTH,
    pb.CALENDAR_UNIT_YEAR,
]


@dataclass
class Windows:
    """Makes windows from one source of chance."""

    rng: random.Random
    durations_us: list[int]
    instants_us: list[int]

    @property
    def zones(self) -> list[str]:
        """Zones a rule may name."""
        return ZONES

    def draw(self, window: pb.Window) -> None:
        """Fills in a window; now and then none."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.38:
            window.last.FromMicroseconds(rng.choice(self.durations_us))
        elif draw < 0.48:
            to_us, from_us = sorted(rng.sample([0, *self.durations_us], 2))
            getattr(window.slice, "from").FromMicroseconds(from_us)
            window.slice.to.FromMicroseconds(to_us)
        elif draw < 0.58:
            since, until = sorted(rng.sample(self.instants_us, 2))
            if rng.random() < 0.7:
                getattr(window.absolute, "from").FromMicroseconds(since)
            if rng.random() < 0.7 or not window.absolute.HasField("from"):
                window.absolute.to.FromMicroseconds(until)
        elif draw < 0.7:
            self._steps(window.last_calendar_units)
        elif draw < 0.9:
            self._period(window.this_period)
        elif draw < 0.96:
            window.ever.SetInParent()

    def _steps(self, span: pb.CalendarSpan) -> None:
        rng = self.rng
        span.n = rng.choice([1, 1, 2, 3])
        span.unit = rng.choice([*_UNITS[2:], pb.CALENDAR_UNIT_MONTH, pb.CALENDAR_UNIT_MONTH])
        self._clock(span)

    def _period(self, period: pb.CalendarPeriod) -> None:
        rng = self.rng
        period.unit = rng.choice(_UNITS)
        period.back = rng.choice([0, 0, 1, 2, 3])
        period.length = rng.randint(0, period.back + 1)
        if period.unit == pb.CALENDAR_UNIT_WEEK:
            period.week_start = rng.choice([0, 1, 7])
        self._clock(period)

    def _clock(self, given: pb.CalendarSpan | pb.CalendarPeriod) -> None:
        """The rule's zone, the profile's with or without one to fall back to, or the tenant's."""
        draw = self.rng.random()
        if draw < 0.55:
            given.zone = self.rng.choice(ZONES)
        elif draw < 0.85:
            given.zone_source = pb.ZONE_SOURCE_PROFILE
            given.zone = self.rng.choice(["", *ZONES])
        elif draw < 0.9:
            given.zone_source = pb.ZONE_SOURCE_TENANT

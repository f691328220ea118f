"""The stretch of event time a leaf looks at: rolling, sliced, absolute, or by the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MONDAY = 1


class Unit(IntEnum):
    """Units of the wall clock, numbered as in muster.types.v1.CalendarUnit."""

    DAY = 1
    WEEK = 2
    MONTH = 3
    YEAR = 4


@dataclass(frozen=True, slots=True)
class Window:
    """Events at t with T - oldest_us < t <= T - newest_us and since_us <= t < until_us."""

    oldest_us: int | None = None
    newest_us: int = 0
    since_us: int | None = None
    until_us: int | None = None

    def edges(self, at_us: int) -> tuple[int | None, int | None]:
        """(from, to) at an instant, for people; None is open."""
        start = None if self.oldest_us is None else at_us - self.oldest_us
        if self.since_us is not None:
            start = self.since_us if start is None else max(start, self.since_us)
        end: int | None = at_us - self.newest_us
        if self.until_us is not None:
            end = self.until_us if end is None else min(end, self.until_us)
        return start, end

    def holds(self, occur_us: int, at_us: int) -> bool:
        """Whether an event of this time lies in the window at an instant."""
        return (
            occur_us <= at_us - self.newest_us
            and (self.oldest_us is None or occur_us > at_us - self.oldest_us)
            and (self.since_us is None or occur_us >= self.since_us)
            and (self.until_us is None or occur_us < self.until_us)
        )


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock a calendar window is read on.

    zone: an IANA name, as resolved from the rule, else the tenant. by_profile: the zone the
    profile's attribute `time_zone` names goes before it, when it names one.
    """

    zone: str
    by_profile: bool = False


@dataclass(frozen=True, slots=True)
class CalendarSteps:
    """(T minus n months or years on the wall clock, T]; the start never moves back (semantics 2).

    Days and weeks are elapsed time and read as `Window`.
    """

    n: int
    unit: Unit
    clock: Clock


@dataclass(frozen=True, slots=True)
class CalendarPeriods:
    """`length` whole periods, the first of them `back` periods before the one T lies in; those
    that T's period ends with count up to T.

    Today: DAY, 0, 1. Last month: MONTH, 1, 1. calendar_last 3 days: DAY, 3, 4.
    week_start: 1 Monday to 7 Sunday.
    """

    unit: Unit
    back: int
    length: int
    clock: Clock
    week_start: int = MONDAY


Span = Window | CalendarSteps | CalendarPeriods
"""Any stretch of event time."""

"""The wall clock of a zone by search: instants of local times, days, months, for the naive model.

Independent of the engine's arithmetic on purpose: every answer asks the zone what its clocks show.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US

_BLOCK_US = 8 * DAY_US
_FARTHEST_US = 36 * HOUR_US
"""No clock differs from UTC, and none is set back, by more."""


def local(us: int, zone: str) -> dt.datetime:
    """What the clocks of a zone show at an instant."""
    return (EPOCH + us * MICROSECOND).astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=None)


def _offset(us: int, zone: str) -> int:
    """Microseconds by which the zone's clocks are ahead of UTC at an instant."""
    return (local(us, zone).replace(tzinfo=dt.UTC) - EPOCH) // MICROSECOND - us


@lru_cache(maxsize=65_536)
def _changes_of_block(block: int, zone: str) -> tuple[int, ...]:
    found = []
    low = block * _BLOCK_US
    while low < (block + 1) * _BLOCK_US:
        high = low + HOUR_US
        if _offset(low, zone) != _offset(high, zone):
            before, after = low, high
            while after - before > 1:
                middle = (before + after) // 2
                if _offset(middle, zone) == _offset(low, zone):
                    before = middle
                else:
                    after = middle
            found.append(after)
        low = high
    return tuple(found)


def changes(low_us: int, high_us: int, zone: str) -> list[int]:
    """Instants in (low, high] at which the clocks are set, the first of the new time each."""
    blocks = range(low_us // _BLOCK_US, high_us // _BLOCK_US + 1)
    return [x for b in blocks for x in _changes_of_block(b, zone) if low_us < x <= high_us]


@lru_cache(maxsize=262_144)
def instant(shown: dt.datetime, zone: str) -> int:
    """The first instant at which the clocks show this; skipped: the first one after the gap."""
    plain = (shown.replace(tzinfo=dt.UTC) - EPOCH) // MICROSECOND
    begin, end = plain - _FARTHEST_US, plain + _FARTHEST_US
    set_at = changes(begin, end, zone)
    offsets = {_offset(edge, zone) for edge in (begin, *set_at)}
    found = [us for us in (plain - offset for offset in offsets) if local(us, zone) == shown]
    if found:
        return min(found)
    return next(x for x in set_at if local(x - 1, zone) < shown < local(x, zone))


def midnight(day: dt.date, zone: str) -> int:
    """The instant at which a local day begins."""
    return instant(dt.datetime.combine(day, dt.time()), zone)


@lru_cache(maxsize=262_144)
def day_of(us: int, zone: str) -> dt.date:
    """The local day that has begun last: one that began once does not end by a clock set back."""
    shown = local(us, zone).date()
    days = [shown + dt.timedelta(days=n) for n in (-1, 0, 1)]
    return max(day for day in days if midnight(day, zone) <= us)


def first_day(unit: str, day: dt.date, week_start: int) -> dt.date:
    """The first day of the day, week, month or year that a day lies in; 1 is Monday."""
    if unit == "week":
        return day - dt.timedelta(days=(day.isoweekday() - week_start) % 7)
    if unit == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if unit == "year" else day


def periods_on(unit: str, first: dt.date, count: int) -> dt.date:
    """The first day of the period so many (of either sign) after the one that begins then."""
    if unit in ("day", "week"):
        return first + dt.timedelta(days=count * (7 if unit == "week" else 1))
    months = first.year * 12 + first.month - 1 + count * (12 if unit == "year" else 1)
    return dt.date(months // 12, months % 12 + 1, 1)


def _stepped_back(shown: dt.datetime, months: int) -> dt.datetime:
    """So many months before on the wall clock; the last microsecond of a month that has no such
    day."""
    reached = shown.year * 12 + shown.month - 1 - months
    try:
        return shown.replace(year=reached // 12, month=reached % 12 + 1)
    except ValueError:
        following = dt.datetime((reached + 1) // 12, (reached + 1) % 12 + 1, 1)  # noqa: DTZ001
        return following - MICROSECOND


@lru_cache(maxsize=262_144)
def months_before(us: int, months: int, zone: str) -> int:
    """The instant so many months before on the wall clock; as T grows it never moves back."""
    moments = [us, *(x - 1 for x in changes(us - _FARTHEST_US, us, zone))]
    return max(instant(_stepped_back(local(one, zone), months), zone) for one in moments)

"""Where days, weeks and months begin in a zone, as instants.

Instants are UTC microseconds since 1970. A local midnight that does not exist is the first instant
after the gap; one that exists twice is the first. A period ends where the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unit(IntEnum):
    """Of a calendar window; the numbers are those of the contract."""

    DAY = 1
    WEEK = 2
    MONTH = 3


@dataclass(frozen=True, slots=True)
class Calendar:
    """This period and the length - 1 before it. week_start: 1 Monday to 7 Sunday."""

    unit: Unit
    length: int = 1
    week_start: int = 1


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; empty is UTC. ValueError when there is none of that name."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"{name!r} is not an IANA zone such as Europe/Kyiv") from error


def local_time(at_us: int, zone: ZoneInfo) -> datetime:
    """The wall clock of the zone at an instant."""
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


def offset_s(at_s: int, zone: ZoneInfo) -> int:
    """Seconds the zone's wall clock is ahead of UTC at an instant of whole seconds."""
    ahead = (EPOCH + timedelta(seconds=at_s)).astimezone(zone).utcoffset()
    assert ahead is not None
    return ahead.days * 86_400 + ahead.seconds


def change_between(low_s: int, high_s: int, zone: ZoneInfo) -> int:
    """The second at which the offset changes in (low_s, high_s], where it changes once."""
    before = offset_s(low_s, zone)
    while high_s - low_s > 1:
        middle = (low_s + high_s) // 2
        if offset_s(middle, zone) == before:
            low_s = middle
        else:
            high_s = middle
    return high_s


@lru_cache(maxsize=65_536)
def first_instant(ordinal: int, zone: ZoneInfo) -> int:
    """The instant at which a local date (proleptic ordinal) begins."""
    wall = datetime.combine(date.fromordinal(ordinal), datetime.min.time(), zone)
    late = (wall - EPOCH) // timedelta(seconds=1)
    early = (wall.replace(fold=1) - EPOCH) // timedelta(seconds=1)
    if early < late:
        # In a gap the first reading takes the offset of before, the second that of after.
        return change_between(early, late, zone) * SECOND_US
    return late * SECOND_US


def day_at(at_us: int, zone: ZoneInfo) -> int:
    """The last local date (ordinal) that has begun."""
    ordinal = local_time(at_us, zone).toordinal() + 1
    while first_instant(ordinal, zone) > at_us:
        ordinal -= 1
    return ordinal


def index_at(calendar: Calendar, zone: ZoneInfo, at_us: int) -> int:
    """The number of the period an instant lies in; the next period has the next number."""
    ordinal = day_at(at_us, zone)
    if calendar.unit is Unit.DAY:
        return ordinal
    if calendar.unit is Unit.WEEK:
        # Ordinal 1 is a Monday.
        return (ordinal - calendar.week_start) // 7
    day = date.fromordinal(ordinal)
    return day.year * 12 + day.month - 1


def start_of(calendar: Calendar, zone: ZoneInfo, index: int) -> int:
    """The instant at which a numbered period begins."""
    if calendar.unit is Unit.DAY:
        return first_instant(index, zone)
    if calendar.unit is Unit.WEEK:
        return first_instant(index * 7 + calendar.week_start, zone)
    return first_instant(date(index // 12, index % 12 + 1, 1).toordinal(), zone)

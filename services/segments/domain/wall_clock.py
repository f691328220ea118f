"""The wall clock of a zone as integer arithmetic that never runs backwards.

A *wall time* is microseconds since 1970 as a local clock shows them. What the clock has shown so
far is its highest wall time up to an instant: in a doubled hour it stands still at the end of the
first pass. So both ways are monotone, and every answer is exact to the microsecond. Civil dates
are those of the proleptic Gregorian calendar, for any year; beyond years 1 to 9999 a zone keeps the
offset it has at that end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache

from services.segments.domain.times import DAY_US, datetime_of, zone_of

BLOCK_US = 366 * DAY_US
MARGIN_US = 3 * DAY_US
"""A block of a zone's history begins early and ends late enough for any offset and setback."""

FIRST_US = -719_160 * DAY_US
LAST_US = 2_932_893 * DAY_US
"""Two days within years 1 and 9999: local times of any zone can be written down between them."""

FAR = 1 << 80
"""Beyond every instant and wall time."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """A stretch of a zone's history: from starts[i] on the wall is ahead of UTC by offsets[i].

    reach[i]: the highest wall time that the clock has shown before starts[i + 1].
    """

    starts: list[int]
    offsets: list[int]
    reach: list[int]


def _offset_us(zone: str, at_us: int) -> int:
    at = datetime_of(min(max(at_us, FIRST_US), LAST_US))
    ahead = at.astimezone(zone_of(zone)).utcoffset()
    assert ahead is not None
    return (ahead.days * 86_400 + ahead.seconds) * 1_000_000 + ahead.microseconds


def _change(zone: str, low: int, high: int, after: int) -> int:
    """The first instant of the offset that holds at `high`, and not at `low`."""
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_us(zone, middle) == after:
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=16_384)
def block(zone: str, number: int) -> Offsets:
    """The offsets of one block of time, looked up a day at a time."""
    at = max(number * BLOCK_US - MARGIN_US, FIRST_US)
    end = min((number + 1) * BLOCK_US + MARGIN_US, LAST_US)
    ahead = _offset_us(zone, at)
    starts, offsets, reach = [-FAR], [ahead], []
    seen = -FAR
    while at < end:
        following = at + DAY_US
        after = _offset_us(zone, following)
        if after != ahead:
            change = _change(zone, at, following, after)
            seen = max(seen, change + ahead - 1)
            starts.append(change)
            offsets.append(after)
            reach.append(seen)
            ahead = after
        at = following
    reach.append(FAR)
    return Offsets(starts, offsets, reach)


def wall_at(zone: str, at_us: int) -> int:
    """The highest wall time that the zone's clock has shown up to an instant."""
    known = block(zone, at_us // BLOCK_US)
    if len(known.starts) == 1:
        return at_us + known.offsets[0]
    i = bisect_right(known.starts, at_us) - 1
    shown = at_us + known.offsets[i]
    return max(shown, known.reach[i - 1]) if i else shown


def instant_of(zone: str, wall_us: int) -> int:
    """The first instant at which the zone's clock has shown a wall time.

    One that does not exist is the first instant after the gap; one that exists twice the first.
    """
    known = block(zone, wall_us // BLOCK_US)
    if len(known.starts) == 1:
        return wall_us - known.offsets[0]
    i = bisect_left(known.reach, wall_us)
    return max(wall_us - known.offsets[i], known.starts[i])


def civil(day: int) -> tuple[int, int]:
    """(months since the year 0, place in the month from 0) of a day since 1970.

    The arithmetic of Howard Hinnant's `civil_from_days`; works on arrays as on numbers.
    """
    shifted = day + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return (year + era * 400) * 12 + month + 2, of_year - (153 * month + 2) // 5


def month_start(months: int) -> int:
    """The first day, since 1970, of a month counted since the year 0; on arrays as on numbers."""
    year, month = (months - 2) // 12, (months - 2) % 12
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * month + 2) // 5
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468

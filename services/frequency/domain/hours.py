"""When preferred hours are open in a zone, over midnight and over changes of the clocks.

Open means: the wall clock reads a time in [from, to). So hours hold on both passes of a repeated
hour, and hours whose start falls into a gap open at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.frequency.domain.calendar import SECOND_US, change_between, offset_s

DAY_S = 86_400
PROBE_S = 3_600
SEARCH_DAYS = 400
"""Hours that lie whole in a gap every day do not exist; a year and a month finds all others."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of the day, [from, to); to before from crosses midnight. They differ."""

    from_minute: int
    to_minute: int


@lru_cache(maxsize=16_384)
def openings(hours: Hours, zone: ZoneInfo, day: int) -> tuple[tuple[int, int], ...]:
    """[open, close) instants within one UTC day (days since 1970), in order, not touching."""
    pieces: list[tuple[int, int]] = []
    for begin, end, ahead in _steady(zone, day * DAY_S):
        for low, high in _open_on_the_wall(hours, begin + ahead, end + ahead):
            if pieces and pieces[-1][1] == low - ahead:
                pieces[-1] = (pieces[-1][0], high - ahead)
            else:
                pieces.append((low - ahead, high - ahead))
    return tuple((low * SECOND_US, high * SECOND_US) for low, high in pieces)


def _steady(zone: ZoneInfo, begin: int) -> list[tuple[int, int, int]]:
    """A UTC day cut where the zone's offset changes: (from, to, seconds ahead of UTC)."""
    cuts = [begin]
    for low in range(begin, begin + DAY_S, PROBE_S):
        if offset_s(low, zone) != offset_s(low + PROBE_S, zone):
            change = change_between(low, low + PROBE_S, zone)
            if begin < change < begin + DAY_S:
                cuts.append(change)
    ends = [*cuts[1:], begin + DAY_S]
    return [(low, high, offset_s(low, zone)) for low, high in zip(cuts, ends, strict=True)]


def _open_on_the_wall(hours: Hours, begin: int, end: int) -> list[tuple[int, int]]:
    """The open parts of [begin, end), in seconds of a wall clock that does not jump."""
    opens, closes = hours.from_minute * 60, hours.to_minute * 60
    length = (closes - opens) % DAY_S
    first = (begin - opens - length) // DAY_S * DAY_S + opens
    found = []
    for low in range(first, end, DAY_S):
        piece = max(low, begin), min(low + length, end)
        if piece[0] < piece[1]:
            found.append(piece)
    return found


def open_until(hours: Hours, zone: ZoneInfo, at_us: int) -> int | None:
    """The instant at which the hours open now will close; None when they are closed."""
    day = at_us // (DAY_S * SECOND_US)
    closes = next((c for o, c in openings(hours, zone, day) if o <= at_us < c), None)
    while closes is not None and closes == (day + 1) * DAY_S * SECOND_US:
        day += 1
        following = openings(hours, zone, day)
        if not following or following[0][0] != closes:
            break
        closes = following[0][1]
    return closes


def next_open(hours: Hours, zone: ZoneInfo, at_us: int) -> int | None:
    """The first instant from at_us on at which the hours are open; None when there is none."""
    first_day = at_us // (DAY_S * SECOND_US)
    for day in range(first_day, first_day + SEARCH_DAYS):
        for opens, closes in openings(hours, zone, day):
            if at_us < closes:
                return max(opens, at_us)
    return None

"""Instants: ISO 8601 text, dates and the wall clock of a zone (semantics 2).

Every instant is int64 microseconds since 1970, UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}(:\d{2}(:\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?"
)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; empty is UTC. Raises ValueError when there is no such zone."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Kyiv") from error


def us_of(instant: dt.datetime) -> int:
    """Microseconds of an aware datetime."""
    return (instant - EPOCH) // _MICROSECOND


def datetime_of(time_us: int) -> dt.datetime:
    """The aware UTC datetime of an instant. Raises OverflowError outside years 1 to 9999."""
    return EPOCH + dt.timedelta(microseconds=time_us)


def local_us(local: dt.datetime, zone: ZoneInfo) -> int:
    """The instant of a naive local time.

    One that does not exist is the first instant after the gap; one that exists twice the first.
    """
    first = us_of(local.replace(tzinfo=zone, fold=0))
    try:
        if datetime_of(first).astimezone(zone).replace(tzinfo=None) == local:
            return first
    except OverflowError:
        return first
    after = us_of(local.replace(tzinfo=zone, fold=1))
    low, high = min(first, after), max(first, after)
    settled = datetime_of(high).astimezone(zone).utcoffset()
    while low < high:
        middle = (low + high) // 2
        if datetime_of(middle).astimezone(zone).utcoffset() == settled:
            high = middle
        else:
            low = middle + 1
    return low


def midnight_us(day: dt.date, zone: ZoneInfo) -> int:
    """The instant at which a local day begins."""
    return local_us(dt.datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001


def local_day(time_us: int, zone: ZoneInfo) -> dt.date:
    """The local calendar day of an instant."""
    return datetime_of(time_us).astimezone(zone).date()


def day_of_text(text: str) -> dt.date | None:
    """The day that ISO 8601 text names by its first ten characters, None when it names none."""
    if not _DATE.fullmatch(text[:10]) or (len(text) > 10 and not _INSTANT.fullmatch(text)):
        return None
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        return None


def instant_of_text(text: str, zone: ZoneInfo) -> int | None:
    """The instant that ISO 8601 text means, None when it is not such text.

    A date begins at midnight of the zone; a time without offset is on the zone's wall clock.
    """
    if _DATE.fullmatch(text):
        day = day_of_text(text)
        return None if day is None else midnight_us(day, zone)
    if not _INSTANT.fullmatch(text):
        return None
    try:
        found = dt.datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    try:
        return local_us(found, zone) if found.tzinfo is None else us_of(found)
    except OverflowError:
        return None

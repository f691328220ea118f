"""Window edges for many events at once: domain/calendars.py on columns, and as small tables.

As a function of an event's time, the instant at which it passes an edge of a window is made of
*stretches*: within one it is either the same for all (a midnight), or a constant ahead (a month
later on the same wall clock). A cursor needs only the few stretches from the window's start to
some time ahead; a test holds both against `calendars.stay`, event by event.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from services.segments.domain import wall_clock
from services.segments.domain.calendars import MONTHS, bounds
from services.segments.domain.times import DAY_US
from services.segments.domain.wall_clock import BLOCK_US, block
from services.segments.domain.windows import CalendarPeriods, CalendarSteps, Span, Unit, Window
from services.segments.engine.base.arrays import Array

ALWAYS = -(1 << 62)
OPEN = np.iinfo(np.int64).max
MONTH_US = 31 * DAY_US

# Both work on arrays as on numbers.
civil: Any = wall_clock.civil
month_start: Any = wall_clock.month_start


class Offsets(NamedTuple):
    """`wall_clock.Offsets` of one zone over more than a block, as int64 arrays."""

    starts: Array
    offsets: Array
    reach: Array


class Stretches(NamedTuple):
    """From an event time of keys[i] on: the edge is passed at values[i] + slopes[i] * occur.

    Events before keys[1], when there are others, passed the edge before the table begins.
    """

    keys: Array
    slopes: Array
    values: Array


def offsets_between(zone: str, low_us: int, high_us: int) -> Offsets:
    """The offsets of a zone over a stretch of time, three days around it included."""
    starts: list[int] = []
    ahead: list[int] = []
    for number in range(low_us // BLOCK_US, high_us // BLOCK_US + 1):
        known = block(zone, number)
        for start, offset in zip(known.starts, known.offsets, strict=True):
            if not ahead or (offset != ahead[-1] and start > starts[-1]):
                starts.append(max(start, ALWAYS))
                ahead.append(offset)
    begins, offsets = np.array(starts, np.int64), np.array(ahead, np.int64)
    shown = np.append(begins[1:] + offsets[:-1] - 1, OPEN)
    return Offsets(begins, offsets, np.maximum.accumulate(shown))


def walls_at(known: Offsets, at_us: Array) -> Array:
    """`wall_clock.wall_at` of many instants."""
    i = np.searchsorted(known.starts, at_us, "right") - 1
    held = np.append(ALWAYS, known.reach[:-1])
    return np.maximum(at_us + known.offsets[i], held[i])


def instants_of(known: Offsets, wall_us: Array) -> Array:
    """`wall_clock.instant_of` of many wall times."""
    i = np.searchsorted(known.reach, wall_us, "left")
    return np.maximum(wall_us - known.offsets[i], known.starts[i])


def _moved(wall_us: Array, months: int) -> tuple[Array, Array]:
    """(the same day and time some months on, the end of that month), as wall times."""
    day = wall_us // DAY_US
    month, place = civil(day)
    reached = (month_start(month + months) + place) * DAY_US + (wall_us - day * DAY_US)
    return reached, np.asarray(month_start(month + months + 1) * DAY_US)


def earlier(wall_us: Array, months: int) -> Array:
    """`calendars.earlier` of many wall times."""
    reached, end = _moved(wall_us, -months)
    return np.where(reached < end, reached, end - 1)


def later(wall_us: Array, months: int) -> Array:
    """`calendars.later` of many wall times."""
    return np.minimum(*_moved(wall_us, months))


def periods_of(span: CalendarPeriods, wall_us: Array) -> Array:
    """`calendars.period_of` of many wall times."""
    day = wall_us // DAY_US
    if span.unit is Unit.DAY:
        return day
    if span.unit is Unit.WEEK:
        return (day + 4 - span.week_start) // 7
    return np.asarray(civil(day)[0] // MONTHS[span.unit])


def starts_of(span: CalendarPeriods, period: Array) -> Array:
    """`calendars.start_of` of many periods."""
    if span.unit is Unit.DAY:
        return period * DAY_US
    if span.unit is Unit.WEEK:
        return (period * 7 - 4 + span.week_start) * DAY_US
    return np.asarray(month_start(period * MONTHS[span.unit]) * DAY_US)


def _length_us(span: CalendarSteps | CalendarPeriods) -> int:
    """More than an event's stay can last."""
    days = {Unit.DAY: 2, Unit.WEEK: 8, Unit.MONTH: 32, Unit.YEAR: 367}[span.unit]
    periods = span.n if isinstance(span, CalendarSteps) else span.back + span.length
    return (periods + 2) * days * DAY_US


def stays(span: Span, occur_us: Array) -> tuple[Array, Array]:
    """`calendars.stay` of many events, in a rule's zone; never: until <= from.

    occur_us: int64. Answers int64 (from, until), until OPEN: for ever.
    """
    if isinstance(span, Window):
        begin = occur_us + span.newest_us
        until = np.full(occur_us.size, OPEN)
        if span.oldest_us is not None:
            until = occur_us + span.oldest_us
        never = np.zeros(occur_us.size, bool)
        if span.since_us is not None:
            never |= occur_us < span.since_us
        if span.until_us is not None:
            never |= occur_us >= span.until_us
        return begin, np.where(never, begin, until)
    if not occur_us.size:
        return occur_us, occur_us
    low, high, far = int(occur_us.min()), int(occur_us.max()), _length_us(span)
    known = offsets_between(span.clock.zone, low, high + far)
    if isinstance(span, CalendarSteps):
        reached = later(walls_at(known, occur_us - 1) + 1, span.n * MONTHS[span.unit])
        return occur_us, instants_of(known, reached)
    within = periods_of(span, walls_at(known, occur_us))
    until = instants_of(known, starts_of(span, within + span.back + 1))
    if span.length > span.back:
        return occur_us, until
    opens = instants_of(known, starts_of(span, within + span.back - span.length + 1))
    return np.maximum(occur_us, opens), until


def stretches(span: Span, now_us: int, ahead_us: int) -> tuple[Stretches, Stretches | None]:
    """(leaving edge, entering edge or None) of a calendar window in a rule's zone.

    Good for every event that has not passed the edge at `now`, up to an event time of `ahead`.
    Entering None: an event counts from its own time on.
    """
    assert not isinstance(span, Window)
    low = bounds(span, now_us)[0]
    begin = now_us if low is None else min(low, now_us)
    if isinstance(span, CalendarSteps):
        keys = _turns(span, begin, ahead_us)
    else:
        known = offsets_between(span.clock.zone, begin, ahead_us + _length_us(span))
        ends = periods_of(span, walls_at(known, np.array([begin, ahead_us])))
        keys = instants_of(known, starts_of(span, np.arange(ends[0], ends[1] + 1)))
        keys = np.unique(np.append(keys[keys > begin], begin))
    entering, leaving = stays(span, keys)
    last = np.append(keys[1:] - 1, ahead_us)
    entered, left = stays(span, np.maximum(last, keys))
    found = _made(keys, leaving, left, last)
    if isinstance(span, CalendarSteps) or span.length > span.back:
        return found, None
    return found, _made(keys, entering, entered, last)


def _made(keys: Array, first: Array, last: Array, ends: Array) -> Stretches:
    """Stretches from the answers at both their ends."""
    moves = (last != first) | (ends <= keys)
    broken = moves & (last - first != np.maximum(ends, keys) - keys)
    if broken.any():
        raise AssertionError(f"a stretch bends after {keys[broken][0]}")
    slopes = moves.astype(np.int64)
    return Stretches(
        np.append(ALWAYS, keys), np.append(0, slopes), np.append(ALWAYS, first - slopes * keys)
    )


def _turns(span: CalendarSteps, low: int, high: int) -> Array:
    """Event times at which the instant of leaving may bend: clocks that change, there or when the
    event leaves, months that begin, and days that the month of leaving lacks."""
    months = span.n * MONTHS[span.unit]
    known = offsets_between(span.clock.zone, low - MONTH_US, high + _length_us(span))
    begins = known.starts[1:]
    resumed = known.reach[:-1] - known.offsets[1:] + 1
    own = np.concatenate((begins, begins + 1, resumed, resumed + 1))
    ends = walls_at(known, np.array([low, high]))
    first, last = (int(month) for month in civil(ends // DAY_US)[0])
    starts = np.array([month_start(month) for month in range(first, last + 2)], np.int64)
    lengths = [
        month_start(month + months + 1) - month_start(month + months)
        for month in range(first, last + 2)
    ]
    reached = np.concatenate((known.reach[:-1] + 1, begins + known.offsets[1:]))
    before = earlier(reached, months)
    walls = np.concatenate(
        (starts * DAY_US, (starts + np.array(lengths)) * DAY_US, before, before + 1)
    )
    turns = np.concatenate((own, instants_of(known, walls - 1) + 1))
    return np.unique(np.append(turns[(turns > low) & (turns <= high)], low))

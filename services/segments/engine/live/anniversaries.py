"""Anniversaries: days that come round, judged by the wall clock of a rule's zone.

A leaf holds for whoever's day is among the days `offset .. offset + span` from today. It changes at
local midnight, and when the attribute does. Days are kept as month × 32 + day per profile.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from services.segments.domain import times
from services.segments.domain.values import TEXT, TIME, LeapDay, Scalar, Test
from services.segments.engine.base.arrays import Array, grown
from services.segments.engine.language.expressions import DayLeaf
from services.segments.engine.store.attributes import RECORD_BITS

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

NEVER = np.iinfo(np.int64).max
LEAP = 2 * 32 + 29
DAYS = 13 * 32
UNKNOWN_TEXTS = 1 << 16
NOTED = -1
"""In place of a text's day while it is among those to be read."""


def day_number(day: dt.date) -> int:
    return day.month * 32 + day.day


def days_due(today: dt.date, test: Test) -> set[int]:
    """The days of birth that a rule looks for on a local day."""
    found = set()
    for offset in range(test.offset_days, test.offset_days + test.span_days):
        try:
            day = today + dt.timedelta(days=offset)
        except OverflowError:
            continue
        found.add(day_number(day))
        if not calendar.isleap(day.year):
            number = day_number(day)
            if (test.leap_day is LeapDay.FEBRUARY_28 and number == 2 * 32 + 28) or (
                test.leap_day is LeapDay.MARCH_1 and number == 3 * 32 + 1
            ):
                found.add(LEAP)
    return found


def days_of(values: tuple[Scalar, ...], zone: str) -> list[int]:
    """The days that the elements of a value name; an instant names its day in the zone."""
    found = []
    for value in values:
        day = None
        if value.kind == TEXT:
            day = times.day_of_text(value.text)
            if day is not None and len(value.text) > 10:
                instant = times.instant_of_text(value.text, times.zone_of(zone))
                day = None if instant is None else times.local_day(instant, times.zone_of(zone))
        elif value.kind == TIME:
            try:
                day = times.local_day(value.units, times.zone_of(zone))
            except OverflowError:
                day = None
        if day is not None:
            found.append(day_number(day))
    return found


@njit(cache=True, nogil=True)
def days_of_cells(cells: Array, known: Array, day: Array, unknown: Array) -> int:
    """Writes the day of each profile whose value is a single text, 0 for none; numbers of texts
    not read yet go to `unknown`, so many of them as it takes: the caller reads and repeats."""
    n = 0
    for row in range(cells.size):
        day[row] = 0
        if cells[row] > 0:
            text = (cells[row] >> RECORD_BITS) - 1
            if known[text] > 0:
                day[row] = known[text] - 1
            elif known[text] == 0 and n < unknown.size:
                known[text] = NOTED
                unknown[n] = text
                n += 1
    return n


@njit(cache=True, nogil=True)
def of_days(day: Array, due: Array, found: Array) -> None:
    """Whether the day of each profile is due. due: uint8 by day number."""
    for row in range(found.size):
        found[row] = due[day[row]] != 0


@dataclass(slots=True)
class Calendar:
    """One leaf: the first day of each profile (0: none), and further days of the few with more."""

    leaf: int
    key: int
    test: Test
    day: Array
    more: dict[int, list[int]]
    due: Array
    next_us: int


class Anniversaries:
    """The calendar leaves in use."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.calendars: dict[DayLeaf, Calendar] = {}
        self.days: dict[str, Array] = {}
        """By zone: one more than the day of each text; 0: not read yet."""

    def reserve_profiles(self, rows: int) -> None:
        for one in self.calendars.values():
            one.day = grown(one.day, rows)

    def due_mask(self, test: Test, at: int) -> Array:
        """One byte per day number: whether it is looked for at an instant."""
        mask = np.zeros(DAYS, np.uint8)
        today = times.local_day(at, times.zone_of(test.zone))
        mask[list(days_due(today, test))] = 1
        return mask

    def next_midnight(self, test: Test, at: int) -> int:
        zone = times.zone_of(test.zone)
        day = times.local_day(at, zone) + dt.timedelta(days=1)
        found = times.midnight_us(day, zone)
        while found <= at:
            day += dt.timedelta(days=1)
            found = times.midnight_us(day, zone)
        return found

    def add(self, spec: DayLeaf, leaf: int, at: int) -> Array:
        """Keeps a leaf from now on; which profiles it holds for."""
        part = self.part
        key = part.names.number_of(spec.attribute)
        one = Calendar(
            leaf, key, spec.test, np.zeros(part.capacity, np.int16), {},
            self.due_mask(spec.test, at), self.next_midnight(spec.test, at),
        )  # fmt: skip
        self.calendars[spec] = one
        part.attributes.follow([key], part.people, at)
        rows = part.people.rows
        cells = part.attributes.current[key][:rows]
        self._days_of_texts(cells, spec.test.zone, one.day)
        for row in np.flatnonzero(cells < 0).tolist():
            self._note(one, row, int(part.attributes.records(key, rows)[row]))
        return self.holding(one)

    def _days_of_texts(self, cells: Array, zone: str, day: Array) -> None:
        """Days of profiles whose value is a single text; each text is read once for a zone."""
        texts = self.part.texts
        known = grown(self.days.get(zone, np.zeros(0, np.int16)), texts.count)
        self.days[zone] = known
        unknown = np.empty(UNKNOWN_TEXTS, np.int64)
        while n := int(days_of_cells(cells, known, day, unknown)):
            for text in unknown[:n].tolist():
                of = days_of((Scalar(TEXT, texts.text_of(text)),), zone)
                known[text] = 1 + (of[0] if of else 0)

    def drop(self, spec: DayLeaf) -> None:
        del self.calendars[spec]

    def holding(self, one: Calendar) -> Array:
        found = np.empty(self.part.people.rows, bool)
        of_days(one.day, one.due, found)
        for row, days in one.more.items():
            found[row] |= bool(one.due[days].any())
        return found

    def _note(self, one: Calendar, row: int, record: int) -> None:
        days = days_of(self.part.attributes.scalars(record, self.part.texts), one.test.zone)
        one.day[row] = days[0] if days else 0
        one.more.pop(row, None)
        if len(days) > 1:
            one.more[row] = days[1:]

    def set_record(self, one: Calendar, row: int, record: int) -> bool:
        """An attribute changed; whether the leaf holds for the profile now."""
        self._note(one, row, record)
        days = [int(one.day[row]), *one.more.get(row, ())]
        return bool(one.due[days].any())

    def next_us(self) -> int:
        return min((one.next_us for one in self.calendars.values()), default=NEVER)

    def turn(self, at: int) -> list[tuple[int, Array, Array]]:
        """Midnights at an instant: (leaf, profiles, whether it holds now) of those that turn."""
        turned = []
        for one in self.calendars.values():
            if one.next_us > at:
                continue
            before = self.holding(one)
            one.due = self.due_mask(one.test, at)
            one.next_us = self.next_midnight(one.test, at)
            after = self.holding(one)
            rows = np.flatnonzero(before != after)
            turned.append((one.leaf, rows, after[rows]))
        return turned

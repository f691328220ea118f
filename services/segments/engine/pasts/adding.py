"""Figures over rows that come at one end and go at the other: each step costs next to nothing.

A figure is given its rows once, in order of time; then `come` takes the next one and `go` drops
the oldest. Numbers are exact.
"""

from __future__ import annotations

import heapq
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain import times
from services.segments.domain.values import TEXT, Scalar, number_of_text
from services.segments.engine.base.arrays import Array
from services.segments.engine.pasts.attributes import sameness
from services.segments.engine.store.attributes import scalar_of
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

Figure = Fraction | Scalar | None
Number = int | Fraction


class Adding(Protocol):
    """A figure over the rows [first come and not gone, last come]."""

    def come(self, place: int) -> None:
        """The next row, by its place, is in."""

    def go(self, place: int) -> None:
        """The oldest row that is in goes."""

    def figure(self) -> Figure:
        """What it is now; None: no value."""


def elements_by_row(part: Partition, rows: Array, key: int) -> tuple[Array, list[int]]:
    """(places of the elements of a property, for each row how many of them are before it)."""
    ends = part.events.columns["prop_end"]
    starts = np.where(rows > 0, ends[rows - 1], 0)
    lengths = ends[rows] - starts
    before = np.cumsum(lengths) - lengths
    places = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    wanted = part.events.columns["key"][places] == key
    running = np.concatenate(([0], np.cumsum(wanted)))
    bounds = np.concatenate((before, [lengths.sum()])).astype(np.int64)
    return places[wanted], running[bounds].tolist()


def numbers_by_row(part: Partition, rows: Array, key: int) -> tuple[list[list[Number]], int]:
    """(the numeric elements of a property by row, times the power of ten that makes them whole);
    numeric text counts."""
    view, texts = part.events.view, part.texts
    places, bounds = elements_by_row(part, rows, key)
    kinds = view.kind[places]
    of_text = np.where(kinds == TEXT, view.value[places], 0)
    units = np.where(kinds == TEXT, texts.units[of_text], view.value[places])
    decimals = np.where(kinds == TEXT, texts.exponents[of_text], view.exponent[places])
    numeric = (kinds == 2) | (kinds == 3) | ((kinds == TEXT) & (decimals != NOT_NUMERIC))
    big = (kinds == TEXT) & (decimals == BIG_NUMERIC)
    most = int(decimals[numeric & ~big].max(initial=0))
    scale, powers = 10**most, [10 ** (most - one) for one in range(most + 1)]
    found: list[list[Number]] = [[] for _ in range(rows.size)]
    listed = zip(
        units.tolist(), decimals.tolist(), numeric.tolist(), big.tolist(), of_text.tolist(),
        strict=True,
    )  # fmt: skip
    every = list(listed)
    for place in range(rows.size):
        for unit, digits, counts, large, text in every[bounds[place] : bounds[place + 1]]:
            if large:
                found[place].append((number_of_text(texts.text_of(text)) or 0) * scale)
            elif counts:
                found[place].append(unit * powers[digits])
    return found, scale


def scalars_by_row(part: Partition, rows: Array, key: int) -> list[list[Scalar]]:
    """The present elements of a property by row."""
    view = part.events.view
    places, bounds = elements_by_row(part, rows, key)
    known: dict[tuple[int, int, int], Scalar] = {}
    every = []
    listed = zip(
        view.kind[places].tolist(), view.value[places].tolist(), view.exponent[places].tolist(),
        strict=True,
    )  # fmt: skip
    for one in listed:
        if one not in known:
            known[one] = scalar_of(*one, part.texts)
        every.append(known[one])
    return [
        [one for one in every[bounds[i] : bounds[i + 1]] if not one.missing]
        for i in range(rows.size)
    ]


class Total:
    """Count, sum and average."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        self.kind = aggregate.kind
        self.amounts: list[Number] = []
        self.counts: list[int] = []
        self.scale = 1
        if aggregate.property:
            key = part.names.number_of(aggregate.property)
            numbers, self.scale = numbers_by_row(part, rows, key)
            self.amounts, self.counts = [sum(one) for one in numbers], [len(n) for n in numbers]
        self.total: Number = 0
        self.count = 0

    def come(self, place: int) -> None:
        self.total += self.amounts[place] if self.amounts else 1
        self.count += self.counts[place] if self.amounts else 1

    def go(self, place: int) -> None:
        self.total -= self.amounts[place] if self.amounts else 1
        self.count -= self.counts[place] if self.amounts else 1

    def figure(self) -> Fraction | None:
        if self.kind is rule.Kind.AVG:
            return Fraction(self.total, self.scale * self.count) if self.count else None
        return Fraction(self.total, self.scale)


class Extreme:
    """Least or greatest number: candidates stand in a queue, each better than those after it."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        key = part.names.number_of(aggregate.property)
        numbers, self.scale = numbers_by_row(part, rows, key)
        self.sign = 1 if aggregate.kind is rule.Kind.MIN else -1
        self.best = [min((self.sign * n for n in one), default=None) for one in numbers]
        self.queue: deque[tuple[int, Number]] = deque()

    def come(self, place: int) -> None:
        number = self.best[place]
        if number is None:
            return
        while self.queue and self.queue[-1][1] >= number:
            self.queue.pop()
        self.queue.append((place, number))

    def go(self, place: int) -> None:
        if self.queue and self.queue[0][0] == place:
            self.queue.popleft()

    def figure(self) -> Fraction | None:
        return Fraction(self.sign * self.queue[0][1], self.scale) if self.queue else None


class Distinct:
    """Different values of a property, or different local days."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        self.keys: list[list[object]]
        if aggregate.kind is rule.Kind.DISTINCT_DAYS:
            zone = times.zone_of(aggregate.zone)
            occur = part.events.view.occur[rows].tolist()
            self.keys = [[times.local_day(one, zone)] for one in occur]
        else:
            key = part.names.number_of(aggregate.property)
            found = scalars_by_row(part, rows, key)
            self.keys = [[sameness(value) for value in one] for one in found]
        self.counts: dict[object, int] = {}

    def come(self, place: int) -> None:
        for key in self.keys[place]:
            _more(self.counts, key)

    def go(self, place: int) -> None:
        for key in self.keys[place]:
            _less(self.counts, key)

    def figure(self) -> Fraction:
        return Fraction(len(self.counts))


class Ends:
    """The first or the last value."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        key = part.names.number_of(aggregate.property)
        self.found = scalars_by_row(part, rows, key)
        self.first = aggregate.kind is rule.Kind.FIRST
        self.inside: deque[int] = deque()

    def come(self, place: int) -> None:
        if self.found[place]:
            self.inside.append(place)

    def go(self, place: int) -> None:
        if self.inside and self.inside[0] == place:
            self.inside.popleft()

    def figure(self) -> Scalar | None:
        if not self.inside:
            return None
        return self.found[self.inside[0]][0] if self.first else self.found[self.inside[-1]][-1]


class MostFrequent:
    """The value that came most often; of several, the one that came last."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        self.found = scalars_by_row(part, rows, part.names.number_of(aggregate.property))
        self.counts: dict[object, int] = {}
        self.last: dict[object, tuple[int, int]] = {}
        self.heap: list[tuple[int, int, int, object]] = []

    def _note(self, key: object) -> None:
        place, index = self.last[key]
        heapq.heappush(self.heap, (-self.counts[key], -place, -index, key))

    def come(self, place: int) -> None:
        for index, value in enumerate(self.found[place]):
            key = sameness(value)
            self.counts[key] = self.counts.get(key, 0) + 1
            self.last[key] = (place, index)
            self._note(key)

    def go(self, place: int) -> None:
        for value in self.found[place]:
            key = sameness(value)
            self.counts[key] -= 1
            if self.counts[key]:
                self._note(key)

    def figure(self) -> Scalar | None:
        while self.heap:
            count, place, index, key = self.heap[0]
            if self.counts[key] == -count and self.last[key] == (-place, -index):
                return self.found[-place][-index]
            heapq.heappop(self.heap)
        return None


class Marks:
    """Rows counted once for each value of a property; one without it counts by itself."""

    def __init__(self, part: Partition, rows: Array, once: str) -> None:
        found: list[list[Scalar]] = [[] for _ in range(rows.size)]
        if once:
            found = scalars_by_row(part, rows, part.names.number_of(once))
        self.marks = [sameness(one[0]) if one else place for place, one in enumerate(found)]


class OfAll:
    """One side of a ratio: the rows counted, and their count or sum."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        self.marks = Marks(part, rows, aggregate.once).marks
        self.inside: dict[object, int] = {}
        self.total = Total(part, rows, aggregate) if aggregate.property else None

    def come(self, place: int) -> None:
        _more(self.inside, self.marks[place])
        if self.total is not None:
            self.total.come(place)

    def go(self, place: int) -> None:
        _less(self.inside, self.marks[place])
        if self.total is not None:
            self.total.go(place)

    def figure(self) -> Fraction | None:
        return Fraction(len(self.inside)) if self.total is None else self.total.figure()


class OfValues:
    """One side of shares by value: the rows that have each value, counted."""

    def __init__(self, part: Partition, rows: Array, aggregate: rule.Aggregate) -> None:
        self.found = scalars_by_row(part, rows, part.names.number_of(aggregate.property))
        self.marks = Marks(part, rows, aggregate.once).marks
        self.inside: dict[object, dict[object, int]] = {}
        self.last: dict[object, tuple[int, int]] = {}

    def come(self, place: int) -> None:
        for index, value in enumerate(self.found[place]):
            self.last[sameness(value)] = (place, index)
        for key in {sameness(value) for value in self.found[place]}:
            _more(self.inside.setdefault(key, {}), self.marks[place])

    def go(self, place: int) -> None:
        for key in {sameness(value) for value in self.found[place]}:
            _less(self.inside[key], self.marks[place])
            if not self.inside[key]:
                del self.inside[key]

    def figure(self) -> Scalar | None:
        """The value that came last of those inside."""
        last = max((self.last[key] for key in self.inside), default=None)
        return None if last is None else self.found[last[0]][last[1]]


def best_share(over: OfValues, under: OfValues, least: int) -> Scalar | None:
    """The value whose count is the highest share of its count below, of at least `least` there; of
    several, the one that came last."""
    best: tuple[Fraction, tuple[int, int]] | None = None
    for key, rows in over.inside.items():
        below = len(under.inside.get(key, ()))
        if below >= max(least, 1):
            rank = Fraction(len(rows), below), over.last[key]
            best = rank if best is None else max(best, rank)
    return None if best is None else over.found[best[1][0]][best[1][1]]


def share(over: OfAll, under: OfAll, least: int) -> Fraction | None:
    """A ratio; no value over nothing, or over fewer rows than `least`."""
    above, below = over.figure(), under.figure()
    if len(under.inside) < max(least, 1) or above is None or not below:
        return None
    return above / below


def _more(counts: dict[object, int], key: object) -> None:
    counts[key] = counts.get(key, 0) + 1


def _less(counts: dict[object, int], key: object) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def adding(part: Partition, rows: Array, aggregate: rule.Aggregate) -> Adding:
    """The figure of an aggregate over some rows, of which none is in yet."""
    kind = aggregate.kind
    if aggregate.denominator is not None:
        side = OfAll if kind is rule.Kind.RATIO else OfValues
        return side(part, rows, aggregate)
    match kind:
        case rule.Kind.COUNT:
            return Total(part, rows, rule.Aggregate())
        case rule.Kind.SUM | rule.Kind.AVG:
            return Total(part, rows, aggregate)
        case rule.Kind.MIN | rule.Kind.MAX:
            return Extreme(part, rows, aggregate)
        case rule.Kind.DISTINCT | rule.Kind.DISTINCT_DAYS:
            return Distinct(part, rows, aggregate)
        case rule.Kind.FIRST | rule.Kind.LAST:
            return Ends(part, rows, aggregate)
    return MostFrequent(part, rows, aggregate)

"""One profile's past, read row by row: figures computed exactly, whatever they are.

The reader for what cannot be added up (extremes, distinct values, sums that do not fit), for
explanations, and the third witness beside cursors (B) and columns (A). Hot kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain.calendars import bounds
from services.segments.domain.values import (
    DECIMAL,
    TEXT,
    WHOLE,
    Scalar,
    normal_text,
    number_of_text,
)
from services.segments.domain.windows import Span
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.store.attributes import scalar_of, standing
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.filters import Filters, matches
from services.segments.engine.store.people import Slots
from services.segments.engine.store.predicates import Predicates
from services.segments.engine.store.texts import BIG_NUMERIC

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition


@njit(cache=True, nogil=True)
def _chain(e: EventRows, slots: Slots, row: int, out: Array) -> Number:
    n = 0
    slot = slots.first_slot[row]
    while slot >= 0:
        r = slots.event_head[slot]
        while r >= 0:
            if n < out.size:
                out[n] = r
            n += 1
            r = e.previous[r]
        slot = slots.next[slot]
    return n


@njit(cache=True, nogil=True)
def _matching(
    e: EventRows, p: Predicates, f: Filters, rows: Array, wanted: Array, filter_number: int,
    out: Array,
) -> int:  # fmt: skip
    e, p, f = bare(e), bare(p), bare(f)
    n = 0
    for i in range(rows.size):
        row = rows[i]
        kind = e.type[row]
        if (
            kind < wanted.size
            and wanted[kind]
            and (filter_number < 0 or matches(e, p, f, filter_number, row))
        ):
            out[n] = row
            n += 1
    return n


def rows_of(part: Partition, row: int) -> Array:
    """All event rows of a profile, by (occur time, log order)."""
    view, slots = part.events.view, part.people.view()
    out = np.empty(64, np.int64)
    n = int(_chain(view, slots, row, out))
    if n > out.size:
        out = np.empty(n, np.int64)
        _chain(view, slots, row, out)
    rows = out[:n]
    return rows[np.lexsort((rows, view.accept[rows], view.occur[rows]))]


def matching(part: Partition, rows: Array, selector: rule.Selector) -> Array:
    """Those of some rows that a selection takes, in the same order."""
    number = -1 if selector.where is None else part.filters.number_of(selector.where)
    wanted = part.wanted_types(selector)
    out = np.empty(rows.size, np.int64)
    while True:
        n = int(
            _matching(
                part.events.view, part.tests.view(), part.filters.view(), rows, wanted, number, out
            )
        )
        if part.tests.answered():
            return out[:n]


def in_window(part: Partition, rows: Array, window: Span, at: int) -> Array:
    """Those of some rows that count in a window, in a rule's zone, at an instant."""
    view = part.events.view
    occur = view.occur[rows]
    low, high = bounds(window, at)
    kept = (view.accept[rows] <= at) & (occur <= high)
    if low is not None:
        kept &= occur >= low
    return rows[kept]


def scalars_of(part: Partition, row: int, key: int) -> list[Scalar]:
    """The present elements of a property of one event."""
    view = part.events.view
    found = []
    for q in part.events.properties_of(row):
        if view.key[q] == key:
            value = scalar_of(
                int(view.kind[q]), int(view.value[q]), int(view.exponent[q]), part.texts
            )
            if not value.missing:
                found.append(value)
    return found


def elements_of(part: Partition, rows: list[int], key: int) -> Array:
    """Places of the elements of a property in some rows, in the order of the rows."""
    ends = part.events.columns["prop_end"]
    chosen = np.array(rows, np.int64)
    starts = np.where(chosen > 0, ends[chosen - 1], 0)
    lengths = ends[chosen] - starts
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    places = np.arange(total) + np.repeat(starts - before, lengths)
    return places[part.events.columns["key"][places] == key]


def numbers_of(part: Partition, rows: list[int], key: int) -> list[Fraction]:
    """The numeric elements of a property in some rows; numeric text counts."""
    found = []
    view = part.events.view
    for q in elements_of(part, rows, key).tolist():
        value = scalar_of(int(view.kind[q]), int(view.value[q]), int(view.exponent[q]), part.texts)
        number = value.number()
        if number is not None:
            found.append(number)
    return found


def sum_of(part: Partition, rows: list[int], key: int) -> Fraction:
    """The exact sum of the numeric elements of a property: whole units by number of decimals."""
    view, texts = part.events.view, part.texts
    places = elements_of(part, rows, key)
    kinds = view.kind[places]
    numeric = places[(kinds == WHOLE) | (kinds == DECIMAL)]
    written = view.value[places[kinds == TEXT]]
    fits = texts.exponents[written] < BIG_NUMERIC
    units = np.concatenate((view.value[numeric], texts.units[written[fits]]))
    decimals = np.concatenate((view.exponent[numeric], texts.exponents[written[fits]]))
    total = Fraction(0)
    for exponent in np.unique(decimals).tolist():
        total += Fraction(sum(units[decimals == exponent].tolist()), 10**exponent)
    for number in written[texts.exponents[written] == BIG_NUMERIC].tolist():
        total += number_of_text(texts.text_of(number)) or 0
    return total


def _identity_of(value: Scalar) -> tuple[str, object]:
    number = value.number()
    if number is not None:
        return "number", number
    return ("text", normal_text(value.text)) if value.text else (str(value.kind), value.units)


def figure_of(
    part: Partition, rows: Iterable[int], aggregate: rule.Aggregate
) -> Fraction | Scalar | None:
    """What an aggregate answers over rows in order of time; None for no value."""
    chosen = list(rows)
    kind = aggregate.kind
    if kind is rule.Kind.COUNT:
        return Fraction(len(chosen))
    key = part.names.number_of(aggregate.property)
    if kind is rule.Kind.DISTINCT:
        seen = {_identity_of(v) for row in chosen for v in scalars_of(part, row, key)}
        return Fraction(len(seen))
    if kind in (rule.Kind.FIRST, rule.Kind.LAST):
        for row in chosen if kind is rule.Kind.FIRST else reversed(chosen):
            if values := scalars_of(part, row, key):
                return values[0 if kind is rule.Kind.FIRST else -1]
        return None
    if kind is rule.Kind.SUM:
        return sum_of(part, chosen, key)
    numbers = numbers_of(part, chosen, key)
    if not numbers:
        return None
    match kind:
        case rule.Kind.AVG:
            return sum(numbers, Fraction(0)) / len(numbers)
        case rule.Kind.MIN:
            return min(numbers)
    return max(numbers)


def standing_record(part: Partition, row: int, key: int, at: int) -> int:
    """The record that stands for an attribute of a profile at an instant, -1 for none."""
    people = part.people
    return int(standing(part.attributes.view, people.view(), row, people.number_of(row), key, at))


def standing_record_but(part: Partition, row: int, key: int, at: int, without: list[int]) -> int:
    """The record that would stand if some of the profile's records were not there."""
    columns = part.attributes.columns
    kept = columns["key"][without].copy()
    columns["key"][without] = -1
    try:
        return standing_record(part, row, key, at)
    finally:
        columns["key"][without] = kept

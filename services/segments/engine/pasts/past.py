"""One profile's past as far as somebody looks at it: rows of a selection, values of an attribute.

Read as the log stands at an instant: a row or record is there from max(occur, accept) on, a late
one among those of its time. What nobody asks for is not read. Hot kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain import windows
from services.segments.domain.values import TEXT, Scalar
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.language.moving import moves, passed, still
from services.segments.engine.pasts.spans import NEVER
from services.segments.engine.store import persons
from services.segments.engine.store.attributes import Records, scalar_of
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.filters import Filters, meets
from services.segments.engine.store.people import Slots
from services.segments.engine.store.predicates import Predicates

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

ZONE_ATTRIBUTE = "time_zone"
"""The attribute that says on whose wall clock a calendar window of a profile is read."""


class Taken(NamedTuple):
    """Rows that a selection takes, by (occur time, log order), and their times."""

    rows: Array
    occur: Array


class Timeline(NamedTuple):
    """Values of an attribute: since when each stood, and its record; one per instant."""

    since: list[int]
    records: list[int]


@njit(cache=True, nogil=True)
def _select(
    e: EventRows, p: Predicates, f: Filters, slots: Slots, row: int, wanted: Array,
    filter_number: int, out: Array,
) -> Number:  # fmt: skip
    """Rows of a profile that a selection takes, in no order; how many there are."""
    e, p, f, slots = bare(e), bare(p), bare(f), bare(slots)
    n = 0
    slot = np.int64(slots.first_slot[row])
    while slot >= 0:
        r = np.int64(slots.event_head[slot])
        while r >= 0:
            kind = e.type[r]
            if (
                kind < wanted.size
                and wanted[kind]
                and (filter_number < 0 or meets(e, p, f, filter_number, r))
            ):
                if n < out.size:
                    out[n] = r
                n += 1
            r = np.int64(e.previous[r])
        slot = np.int64(slots.next[slot])
    return n


@njit(cache=True, nogil=True)
def _records(a: Records, slots: Slots, row: int, profile: int, key: int, out: Array) -> Number:
    """A profile's own records of an attribute, in no order; how many there are."""
    n = 0
    slot = np.int64(slots.first_slot[row])
    while slot >= 0:
        r = np.int64(slots.record_head[slot])
        while r >= 0:
            if a.key[r] == key and a.home[r] == profile:
                if n < out.size:
                    out[n] = r
                n += 1
            r = np.int64(a.previous[r])
        slot = np.int64(slots.next[slot])
    return n


def in_order(part: Partition, rows: Array) -> Array:
    """Rows of one profile by (occur time, log order)."""
    view = part.events.view
    return rows[np.lexsort((rows, view.accept[rows], view.occur[rows]))]


class Past:
    """Lazy access to the past of the profile in a row. It is good until the log grows or an
    identifier changes hands.

    without_rows, without_records: what is left aside, for telling which of several that come at one
    instant made the difference.
    """

    def __init__(self, part: Partition, row: int) -> None:
        self.part, self.row = part, row
        self.without_rows: set[int] = set()
        self.without_records: set[int] = set()
        self._taken: dict[rule.Selector, tuple[Taken, Array]] = {}
        self._settled: dict[rule.Selector, int] = {}
        self._owned: dict[str, Array] = {}
        self.edge_us = NEVER
        """The next instant at which a filter that was asked since `begin` may say another thing."""

    def give(self, selector: rule.Selector, rows: Array) -> None:
        """The rows a selection takes, in order, from whoever has them already."""
        view = self.part.events.view
        occur = view.occur[rows]
        effects = np.maximum(occur, view.accept[rows])
        self._taken[selector] = Taken(rows, occur), effects
        self._settled[selector] = int(effects.max()) if rows.size else 0

    def taken(self, selector: rule.Selector, at: int) -> Taken:
        """The rows of a selection that stand at an instant, in order."""
        if selector.where is not None and moves(selector.where):
            return self._passing(selector.where, self.taken(still(selector), at), at)
        if selector not in self._taken:
            self.give(selector, self._select(selector))
        found, effects = self._taken[selector]
        if self._settled[selector] > at:
            kept = effects <= at
            found = Taken(found.rows[kept], found.occur[kept])
        if self.without_rows:
            kept = ~np.isin(found.rows, list(self.without_rows))
            found = Taken(found.rows[kept], found.occur[kept])
        return found

    def _passing(self, where: rule.Filter, found: Taken, at: int) -> Taken:
        """Those of some rows that pass a filter which moves, at an instant."""
        kept = np.array([self.passes(row, where, at) for row in found.rows.tolist()], bool)
        return Taken(found.rows[kept], found.occur[kept])

    def passes(self, row: int, where: rule.Filter, at: int) -> bool:
        """Whether an event passes a filter at an instant; `edge_us` takes in when that changes."""
        holds, edge = passed(where, self._properties(row), at)
        self.edge_us = min(self.edge_us, edge)
        return holds

    def _properties(self, row: int) -> dict[str, dict[int, Scalar]]:
        """The present properties of an event: by name, elements by their place."""
        part, view = self.part, self.part.events.view
        found: dict[str, dict[int, Scalar]] = {}
        for q in part.events.properties_of(row):
            kind, value = int(view.kind[q]), int(view.value[q])
            one = scalar_of(kind, value, int(view.exponent[q]), part.texts)
            if not one.missing:
                name = part.names.names[int(view.key[q])]
                found.setdefault(name, {})[int(view.item[q])] = one
        return found

    def _select(self, selector: rule.Selector) -> Array:
        part, people = self.part, self.part.people
        if self.row >= people.rows:
            return np.zeros(0, np.int64)
        number, wanted = part.pasts.program_of(selector)
        out = np.empty(64, np.int64)
        while True:
            n = int(
                _select(
                    part.events.view, part.tests.view(), part.filters.view(), people.view(),
                    self.row, wanted, number, out,
                )
            )  # fmt: skip
            if not part.tests.answered():
                continue
            if n <= out.size:
                return in_order(part, out[:n])
            out = np.empty(n, np.int64)

    def pending(self, selector: rule.Selector, at: int) -> list[int]:
        """Instants after `at` at which rows of a selection that came already take effect."""
        selector = still(selector)
        if selector not in self._taken:
            self.give(selector, self._select(selector))
        effects = self._taken[selector][1]
        found: list[int] = effects[effects > at].tolist()
        return found

    def elements(self, row: int, name: str) -> list[Scalar]:
        """The present elements of a property of one event."""
        return persons.scalars_of(self.part, row, self.part.names.number_of(name))

    def _own_records(self, attribute: str) -> Array:
        found = self._owned.get(attribute)
        if found is not None:
            return found
        part, people = self.part, self.part.people
        found = np.zeros(0, np.int64)
        if self.row < people.rows:
            key, profile = part.names.number_of(attribute), people.number_of(self.row)
            out = np.empty(16, np.int64)
            view = part.attributes.view
            n = int(_records(view, people.view(), self.row, profile, key, out))
            if n > out.size:
                out = np.empty(n, np.int64)
                _records(view, people.view(), self.row, profile, key, out)
            found = out[:n]
            found = found[np.lexsort((found, view.accept[found], view.occur[found]))]
        self._owned[attribute] = found
        return found

    def timeline(self, attribute: str, at: int) -> Timeline:
        """The values of an attribute up to an instant, as the log stands then."""
        view = self.part.attributes.view
        since: list[int] = []
        records: list[int] = []
        owned = self._own_records(attribute)
        times = view.occur[owned].tolist()
        accepts = view.accept[owned].tolist()
        for record, occur, accept in zip(owned.tolist(), times, accepts, strict=True):
            if occur > at or accept > at or record in self.without_records:
                continue
            if since and since[-1] == occur:
                records[-1] = record
            else:
                since.append(occur)
                records.append(record)
        return Timeline(since, records)

    def pending_records(self, attribute: str, at: int) -> list[int]:
        """Instants after `at` at which records that came already take effect."""
        view, owned = self.part.attributes.view, self._own_records(attribute)
        effects = np.maximum(view.occur[owned], view.accept[owned])
        found: list[int] = effects[effects > at].tolist()
        return found

    def scalars(self, record: int) -> tuple[Scalar, ...]:
        """The elements of a record's value; none when it is missing."""
        return self.part.attributes.scalars(record, self.part.texts)

    def standing(self, attribute: str, at: int) -> tuple[Scalar, ...]:
        """The value of an attribute at an instant; none when it is missing."""
        records = self.timeline(attribute, at).records
        return self.scalars(records[-1]) if records else ()

    def zone(self, span: windows.Span, at: int) -> str:
        """What the profile says about its clock, for a window that goes by it."""
        if not reads_profile_clock(span):
            return ""
        said = [one.text for one in self.standing(ZONE_ATTRIBUTE, at) if one.kind == TEXT]
        return said[0] if said else ""


def reads_profile_clock(span: windows.Span) -> bool:
    """Whether a window begins and ends by the profile's own wall clock."""
    return not isinstance(span, windows.Window) and span.clock.by_profile

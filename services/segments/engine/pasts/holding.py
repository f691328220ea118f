"""A leaf from scratch, for everybody: the first answer of a new rule, previews, questions.

Only profiles with an event or a value that the leaf looks at are judged; for all others it is false
by its form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import PastLeaf
from services.segments.engine.pasts import Past, attributes_of, judge, selectors_of
from services.segments.engine.pasts.columns import order_of
from services.segments.engine.pasts.crowd import Crowd, RowsOf, everybody
from services.segments.engine.pasts.scratch import at_once

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

SLICE_PROFILES = 64
"""Profiles judged between two places where a question can be left for a while."""


class Stretch(NamedTuple):
    """Verdicts about some profiles. next_us: 0 for never."""

    rows: Array
    holds: Array
    next_us: Array


class Grouped(NamedTuple):
    """Rows of a selection by profile: rows[start[i]:start[i + 1]] are those of owners[i]."""

    rows: Array
    owners: Array
    start: Array

    def of(self, row: int) -> Array:
        place = int(np.searchsorted(self.owners, row))
        if place == self.owners.size or self.owners[place] != row:
            return self.rows[:0]
        return self.rows[self.start[place] : self.start[place + 1]]


def grouped(part: Partition, rows: Array) -> Grouped:
    """Rows in order of profile, time and log."""
    rows = rows.astype(np.int64)
    owners = part.people.slot_row[part.events.view.slot[rows]].astype(np.int64)
    rows, owners = rows[owners >= 0], owners[owners >= 0]
    order = order_of(part, rows, owners, part.people.rows)
    rows, owners = rows[order], owners[order]
    fresh = np.ones(rows.size, bool)
    fresh[1:] = owners[1:] != owners[:-1]
    start = np.append(np.flatnonzero(fresh), rows.size)
    return Grouped(rows, owners[fresh], start)


def with_values(part: Partition, leaf: PastLeaf) -> Array:
    """Profiles that have had a value of an attribute that a leaf looks at, in order."""
    names = attributes_of(leaf.node)
    if not names:
        return np.zeros(0, np.int64)
    columns, count = part.attributes.columns, part.attributes.count
    keys = [part.names.number_of(name) for name in names]
    owners = part.people.slot_row[columns["slot"][:count][np.isin(columns["key"][:count], keys)]]
    return np.unique(owners[owners >= 0]).astype(np.int64)


def verdicts(part: Partition, leaf: PastLeaf, rows_of: RowsOf) -> Iterator[Stretch]:
    """Verdicts at now about every profile that a leaf could hold for, in slices."""
    everyone = at_once(part, leaf.node, everybody(part, rows_of), leaf.negated)
    if everyone is not None:
        holds, later = everyone
        rows = np.flatnonzero((holds != leaf.negated) | (later > 0))
        yield Stretch(rows, holds[rows] != leaf.negated, later[rows])
        return
    yield from one_by_one(part, leaf, rows_of)


def one_by_one(part: Partition, leaf: PastLeaf, rows_of: RowsOf) -> Iterator[Stretch]:
    """The same, each profile judged by itself."""
    by_selector = {one: grouped(part, rows_of(one)[0]) for one in selectors_of(leaf.node)}
    concerned = [one.owners.astype(np.int64) for one in by_selector.values()]
    every = np.unique(np.concatenate([with_values(part, leaf), *concerned]))
    for begin in range(0, every.size, SLICE_PROFILES):
        rows = every[begin : begin + SLICE_PROFILES]
        yield _each(part, leaf, rows, by_selector, part.now)


def _each(
    part: Partition, leaf: PastLeaf, rows: Array, by_selector: dict[rule.Selector, Grouped], at: int
) -> Stretch:
    """Verdicts about profiles at an instant, each judged by itself."""
    holds, later = np.zeros(rows.size, bool), np.zeros(rows.size, np.int64)
    for place, row in enumerate(rows.tolist()):
        past = Past(part, row)
        for selector, found in by_selector.items():
            past.give(selector, found.of(row))
        verdict, instant = judge(leaf.node, past, at)
        holds[place], later[place] = verdict != leaf.negated, instant or 0
    return Stretch(rows, holds, later)


def verdicts_of(part: Partition, leaf: PastLeaf, crowd: Crowd, valued: Array) -> Iterator[Stretch]:
    """Verdicts about a crowd at its instant (one for all), in slices; false about all others.
    valued: what `with_values` says."""
    verdicts = at_once(part, leaf.node, crowd, leaf.negated)
    if verdicts is not None:
        yield Stretch(crowd.rows, verdicts[0] != leaf.negated, verdicts[1])
        return
    selectors, first = selectors_of(leaf.node), int(crowd.rows[0])
    by_selector = {one: grouped(part, crowd.take(one)[0]) for one in selectors}
    concerned = [one.owners.astype(np.int64) for one in by_selector.values()]
    concerned.append(valued[slice(*np.searchsorted(valued, (first, first + crowd.rows.size)))])
    every = np.unique(np.concatenate(concerned))
    for begin in range(0, every.size, SLICE_PROFILES):
        rows = every[begin : begin + SLICE_PROFILES]
        yield _each(part, leaf, rows, by_selector, int(crowd.now[0]))

"""Profiles that are judged together, each at an instant of its own: everybody, or those touched.

Hot kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.filters import Filters, matches
from services.segments.engine.store.people import Slots
from services.segments.engine.store.predicates import Predicates

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

ROWS_MAX = 1 << 20
"""Event rows of the profiles judged together, so that memory stays small."""
RowsOf = Callable[[rule.Selector], tuple[Array, Array]]
"""(rows in force that a selection takes, their slots), in any order."""


class Crowd(NamedTuple):
    """Profiles by place. rows: their rows; now: their instants; take: the event rows that a
    selection takes of them, as each one's log stands at its instant, and whose each is."""

    rows: Array
    now: Array
    take: Callable[[rule.Selector], tuple[Array, Array]]


def everybody(part: Partition, rows_of: RowsOf) -> Crowd:
    """Every profile, at now."""

    def take(selector: rule.Selector) -> tuple[Array, Array]:
        rows, slots = rows_of(selector)
        owners = part.people.slot_row[slots]
        here = owners >= 0
        return rows[here].astype(np.int64), owners[here].astype(np.int64)

    count = part.people.rows
    return Crowd(np.arange(count), np.full(count, part.now), take)


@njit(cache=True, nogil=True)
def _select(
    e: EventRows, p: Predicates, f: Filters, slots: Slots, profiles: Array, now: Array, first: int,
    wanted: Array, filter_number: int, out: Array, owner: Array,
) -> Number:  # fmt: skip
    """Rows from `first` on of some profiles that a selection takes, with the places of their
    profiles; how many there are, though not all may fit."""
    e, p, f, slots = bare(e), bare(p), bare(f), bare(slots)
    n = 0
    for place in range(profiles.size):
        slot = np.int64(slots.first_slot[profiles[place]])
        while slot >= 0:
            r = np.int64(slots.event_head[slot])
            while r >= first:
                kind = e.type[r]
                if (
                    kind < wanted.size
                    and wanted[kind]
                    and e.occur[r] <= now[place]
                    and e.accept[r] <= now[place]
                    and (filter_number < 0 or matches(e, p, f, filter_number, r))
                ):
                    if n < out.size:
                        out[n] = r
                        owner[n] = place
                    n += 1
                r = np.int64(e.previous[r])
            slot = np.int64(slots.next[slot])
    return n


def some(part: Partition, rows: Array, now: Array, low: int = ALWAYS) -> Crowd:
    """Some profiles, each at its instant; without most events that are older than `low`."""
    first = part.events.first(low)

    def take(selector: rule.Selector) -> tuple[Array, Array]:
        number, wanted = part.pasts.program_of(selector)
        room = 64 * rows.size
        while True:
            found, owner = np.empty(room, np.int64), np.empty(room, np.int64)
            n = int(
                _select(
                    part.events.view, part.tests.view(), part.filters.view(), part.people.view(),
                    rows, now, first, wanted, number, found, owner,
                )
            )  # fmt: skip
            if part.tests.answered() and n <= room:
                return found[:n], owner[:n]
            room = max(room, n)

    return Crowd(rows, now, take)


@njit(cache=True, nogil=True)
def _sizes(previous: Array, slots: Slots, rows: Array, first: int, found: Array) -> None:
    slots = bare(slots)
    for i in range(rows.size):
        slot = np.int64(slots.first_slot[rows[i]])
        while slot >= 0:
            r = np.int64(slots.event_head[slot])
            while r >= first:
                found[i] += 1
                r = np.int64(previous[r])
            slot = np.int64(slots.next[slot])


def cuts(part: Partition, rows: Array, low: int = ALWAYS) -> list[int]:
    """Where profiles, each as often as it is to be judged, are cut into crowds of at most
    `ROWS_MAX` event rows (or of one): [0, …, how many there are]. low: as in `some`."""
    every, of = np.unique(rows, return_inverse=True)
    sizes = np.zeros(every.size, np.int64)
    first = part.events.first(low)
    _sizes(part.events.view.previous, part.people.view(), every, first, sizes)
    reached, found = 0, [0]
    for place, size in enumerate(sizes[of.reshape(-1)].tolist()):
        reached += size
        if reached > ROWS_MAX and place > found[-1]:
            found.append(place)
            reached = size
    return [*found, rows.size]

"""Everybody in crowds of about a piece of rows each, so that what is asked of all can be asked in
pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.pasts.crowd import Crowd

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

CROWD_BITS_MAX = 16
"""Of the number of profiles of a crowd, a power of two; at least a hundredth of a piece."""
Dealt = dict[rule.Selector, list[list[Array]]]
"""Rows by selection and crowd, in parts."""


def deal(values: Array, to: Array, dealt: list[list[Array]]) -> None:
    """Appends to each list of `dealt` the values that go to it (uint16 each), in their order."""
    order = np.argsort(to, kind="stable")
    ends = np.cumsum(np.bincount(to, minlength=len(dealt)))
    ordered, first = values[order], 0
    for place in np.flatnonzero(np.diff(ends, prepend=0)).tolist():
        dealt[place].append(ordered[first : ends[place]])
        first = int(ends[place])


def crowds(
    part: Partition, rows: Mapping[rule.Selector, Array], profiles: int, at: int, piece: int
) -> Iterator[Crowd | None]:
    """The first `profiles` profiles, each at an instant, with those rows of each selection that are
    theirs; None where there is only a rest.

    Whose a row is, is asked twice: one that goes to another profile meanwhile may be in no crowd.
    """
    bits = _crowd_bits(profiles, sum(one.size for one in rows.values()), piece)
    dealt: Dealt = {one: [[] for _ in range((profiles >> bits) + 1)] for one in rows}
    for selector, taken in rows.items():
        for first in range(0, taken.size, piece):
            some = taken[first : first + piece]
            owners = _owners(part, some)
            ours = (owners >= 0) & (owners < profiles)
            deal(some[ours], (owners[ours] >> bits).astype(np.uint16), dealt[selector])
            yield None
    for first in range(0, profiles, 1 << bits):
        yield _crowd(part, dealt, first >> bits, first, min(1 << bits, profiles - first), at)


def _crowd_bits(profiles: int, rows: int, piece: int) -> int:
    alike = profiles * piece // max(rows, 1)
    least = max(piece.bit_length() - 7, 0)
    return min(max(alike.bit_length() - 1, least), CROWD_BITS_MAX)


def _owners(part: Partition, rows: Array) -> Array:
    return part.people.slot_row[part.events.view.slot[rows]].astype(np.int64)


def _crowd(part: Partition, dealt: Dealt, number: int, first: int, profiles: int, at: int) -> Crowd:
    def take(selector: rule.Selector) -> tuple[Array, Array]:
        rows = np.concatenate([np.zeros(0, np.int64), *dealt[selector][number]])
        places = _owners(part, rows) - first
        theirs = (places >= 0) & (places < profiles)
        return rows[theirs], places[theirs]

    return Crowd(first + np.arange(profiles), np.full(profiles, at), take)

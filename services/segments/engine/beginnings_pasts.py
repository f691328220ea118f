"""A past leaf that begins: everybody judged in pieces, between which steps may run.

The leaf is kept from the first piece on, so whoever it is judged for meanwhile (something happens
to the profile, or a move) has the answer and is marked in the wheel. All others are judged as of
the instant of the beginning, at which their rows were taken: nothing has happened to them since.
Only what their own verdict named as the next instant may have come; then they are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.arrays import Array
from services.segments.engine.beginnings import PIECE_ROWS, deal
from services.segments.engine.expressions import PastLeaf
from services.segments.engine.pasts import Past, attributes_of, judge, selectors_of
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.scratch import at_once
from services.segments.engine.pasts.table import Kept
from services.segments.engine.pasts.timers import UNJUDGED
from services.segments.engine.reader import stream_rows

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

CROWD_BITS_MIN, CROWD_BITS_MAX = 10, 16
"""Of the number of profiles judged together: a power of two."""
ONE_BY_ONE = 32
"""Profiles judged by themselves between two rests."""
Dealt = dict[rule.Selector, list[list[Array]]]
"""Rows by selection and crowd, in parts."""


def judged(part: Partition, kept: Kept) -> Iterator[None]:
    """Judges a leaf that nobody has looked at for all profiles: its bits, all 0 before, and its
    wheel. Rests between pieces."""
    leaf, at, profiles = kept.leaf, part.now, part.people.rows
    kept.wheel.next_us[:profiles] = UNJUDGED
    selectors = selectors_of(leaf.node)
    rows = [
        stream_rows(part.streams, part.streams.streams[number])
        for _, number in zip(selectors, kept.streams, strict=True)
    ]
    bits = _crowd_bits(profiles, sum(one.size for one in rows))
    dealt: Dealt = {one: [[] for _ in range((profiles >> bits) + 1)] for one in selectors}
    for taken, into in zip(rows, dealt.values(), strict=True):
        for first in range(0, taken.size, PIECE_ROWS):
            some = taken[first : first + PIECE_ROWS]
            owners = _owners(part, some)
            deal(some[owners >= 0], (owners[owners >= 0] >> bits).astype(np.uint16), into)
            yield
    valued = _with_values(part, leaf)
    for first in range(0, profiles, 1 << bits):
        crowd = _crowd(part, dealt, first >> bits, first, min(1 << bits, profiles - first), at)
        verdicts = at_once(part, leaf.node, crowd, leaf.negated)
        if verdicts is None:
            yield from _one_by_one(part, kept, crowd, selectors, valued)
            nobody = np.zeros(crowd.rows.size, np.int64)
            verdicts = nobody != leaf.negated, nobody
        _settle(part, kept, crowd.rows, *verdicts)
        yield


def _crowd_bits(profiles: int, rows: int) -> int:
    """So that a crowd has about a piece of rows."""
    alike = profiles * PIECE_ROWS // max(rows, 1)
    return min(max(alike.bit_length() - 1, CROWD_BITS_MIN), CROWD_BITS_MAX)


def _owners(part: Partition, rows: Array) -> Array:
    return part.people.slot_row[part.events.view.slot[rows]].astype(np.int64)


def _crowd(part: Partition, dealt: Dealt, number: int, first: int, profiles: int, at: int) -> Crowd:
    """Profiles from `first` on, with those of the rows dealt to them that are theirs still: of
    whom a row went or came is judged already."""

    def take(selector: rule.Selector) -> tuple[Array, Array]:
        rows = np.concatenate([np.zeros(0, np.int64), *dealt[selector][number]])
        places = _owners(part, rows) - first
        theirs = (places >= 0) & (places < profiles)
        return rows[theirs], places[theirs]

    return Crowd(first + np.arange(profiles), np.full(profiles, at), take)


def _with_values(part: Partition, leaf: PastLeaf) -> Array:
    """Profiles that have had a value of an attribute that a leaf looks at."""
    names = attributes_of(leaf.node)
    if not names:
        return np.zeros(0, np.int64)
    columns, count = part.attributes.columns, part.attributes.count
    keys = [part.names.number_of(name) for name in names]
    owners = part.people.slot_row[columns["slot"][:count][np.isin(columns["key"][:count], keys)]]
    return np.unique(owners[owners >= 0]).astype(np.int64)


def _one_by_one(
    part: Partition, kept: Kept, crowd: Crowd, selectors: tuple[rule.Selector, ...], valued: Array
) -> Iterator[None]:
    """Judges those of a crowd by itself each that have an event or a value the leaf looks at."""
    first, last = int(crowd.rows[0]), int(crowd.rows[-1]) + 1
    owned = [first + crowd.take(selector)[1] for selector in selectors]
    owned.append(valued[slice(*np.searchsorted(valued, (first, last)).tolist())])
    every = np.unique(np.concatenate(owned))
    for begin in range(0, every.size, ONE_BY_ONE):
        rows = every[begin : begin + ONE_BY_ONE]
        _judge(part, kept, rows[kept.wheel.next_us[rows] == UNJUDGED])
        yield


def _judge(part: Partition, kept: Kept, rows: Array) -> None:
    """Judges profiles as of now, each by itself."""
    leaf, word, bit = kept.leaf, kept.number >> 6, np.uint64(1 << (kept.number & 63))
    for row in rows.tolist():
        holds, later = judge(leaf.node, Past(part, row), part.now)
        kept.wheel.set(row, later)
        if holds != leaf.negated:
            part.bits[row, word] |= bit


def _settle(part: Partition, kept: Kept, rows: Array, holds: Array, later: Array) -> None:
    """Takes verdicts, with their next instants or 0, for those of some profiles that nobody has
    judged meanwhile."""
    mine = kept.wheel.next_us[rows] == UNJUDGED
    over = mine & (later > 0) & (later <= part.now)
    good = mine & ~over
    kept.wheel.fill(rows[good], later[good])
    word, bit = kept.number >> 6, np.uint64(1 << (kept.number & 63))
    part.bits[rows[good & (holds != kept.leaf.negated)], word] |= bit
    _judge(part, kept, rows[over])

"""A past leaf that begins: everybody judged in pieces, between which steps may run.

The leaf is kept from the first piece on, so whoever it is judged for meanwhile (something happens
to the profile, or a move) has the answer and is marked in the wheel. All others are judged as of
the instant of the beginning, at which their rows were taken: nothing has happened to them since,
and of whom a row went or came by a move, somebody has judged.
Only what their own verdict named as the next instant may have come; then they are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.live.beginnings import PIECE_ROWS
from services.segments.engine.live.crowds import crowds
from services.segments.engine.live.reader import stream_rows
from services.segments.engine.pasts import Past, judge, selectors_of
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.holding import with_values
from services.segments.engine.pasts.scratch import at_once
from services.segments.engine.pasts.table import Kept
from services.segments.engine.pasts.timers import UNJUDGED

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

ONE_BY_ONE = 32
"""Profiles judged by themselves between two rests."""


def judged(part: Partition, kept: Kept) -> Iterator[None]:
    """Judges a leaf that nobody has looked at for all profiles: its bits, all 0 before, and its
    wheel. Rests between pieces."""
    leaf, profiles = kept.leaf, part.people.rows
    kept.wheel.next_us[:profiles] = UNJUDGED
    rows = {
        selector: stream_rows(part.streams, part.streams.streams[number])[0]
        for selector, number in zip(selectors_of(leaf.node), kept.streams, strict=True)
    }
    valued = with_values(part, leaf)
    for crowd in crowds(part, rows, profiles, part.now, PIECE_ROWS):
        if crowd is not None:
            verdicts = at_once(part, leaf.node, crowd, leaf.negated)
            if verdicts is None:
                yield from _one_by_one(part, kept, crowd, tuple(rows), valued)
                nobody = np.zeros(crowd.rows.size, np.int64)
                verdicts = nobody != leaf.negated, nobody
            _settle(part, kept, crowd.rows, *verdicts)
        yield


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

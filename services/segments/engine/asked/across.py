"""Questions over sets of members: a rule at several instants, and what segments share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.segments.engine.asked.asof import as_of_in_pieces
from services.segments.engine.asked.questions import Reader
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import Pieces
from services.segments.engine.language.expressions import Expression
from services.segments.engine.partition import Partition

PIECE_ROWS = 1 << 14
"""Profiles counted between two places where steps may run."""


@dataclass(frozen=True, slots=True)
class Then:
    """A rule at an instant: one bool per profile row, and how many profiles stood."""

    members: Array
    profiles: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """shared: segments by segments; reached: profiles in any of them, of so many that stand."""

    shared: Array
    reached: int
    profiles: int


def then(
    part: Partition, expression: Expression, at: int, known: int, rules_us: int | None = None
) -> Pieces[Then]:
    """Members of a rule at (at, known), as in `asof`. Raises PastUnknown."""
    reader = Reader((yield from as_of_in_pieces(part, at, known, expression, rules_us)))
    members = (yield from reader.answers([expression]))[0]
    return Then(members, int(np.count_nonzero(reader.alive)))


def overlap(part: Partition, segment_ids: Sequence[str]) -> Pieces[Overlap]:
    """How many members segments share now. Raises KeyError."""
    places = np.array([part.segments[name].place for name in segment_ids])
    words, of = np.unique(places >> 6, return_inverse=True)
    kept = part.member[: part.people.rows, words].copy()
    at = list(zip(of.reshape(-1).tolist(), (places & 63).astype(np.uint64), strict=True))
    profiles = int(np.count_nonzero(part.bits[: part.people.rows, 0] & np.uint64(1)))
    shared = np.zeros((places.size, places.size), np.int64)
    reached = 0
    for first in range(0, len(kept), PIECE_ROWS):
        piece = kept[first : first + PIECE_ROWS]
        # One row of bits for each segment: what two share is counted by the word.
        sets = np.packbits([(piece[:, w] >> b).astype(np.uint8) & 1 for w, b in at], axis=1)
        for row, one in enumerate(sets):
            shared[row] += np.bitwise_count(sets & one).sum(axis=1, dtype=np.int64)
        reached += int(np.bitwise_count(np.bitwise_or.reduce(sets)).sum())
        yield 1
    return Overlap(shared, reached, profiles)

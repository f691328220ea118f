"""Questions over sets of members: a rule at several instants, and what segments share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.segments.engine.arrays import Array
from services.segments.engine.asof import as_of
from services.segments.engine.expressions import Expression
from services.segments.engine.partition import Partition
from services.segments.engine.questions import Pieces, Reader
from services.segments.engine.trials import members_of

PIECE_ROWS = 1 << 14
"""Profiles multiplied out between two places where steps may run."""


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


def then(part: Partition, expression: Expression, at: int, known: int) -> Pieces[Then]:
    """Members of a rule at (at, known), as in `asof`. Raises PastUnknown."""
    reader = Reader(as_of(part, at, known, expression))
    members = (yield from reader.answers([expression]))[0]
    return Then(members, int(np.count_nonzero(reader.alive)))


def overlap(part: Partition, segment_ids: Sequence[str]) -> Pieces[Overlap]:
    """How many members segments share now. Raises KeyError."""
    sets = np.array([members_of(part, name) for name in segment_ids])
    alive = part.bits[: part.people.rows, 0] & np.uint64(1)
    profiles = int(np.count_nonzero(alive))
    shared = np.zeros((len(sets), len(sets)), np.int64)
    reached = 0
    for first in range(0, sets.shape[1], PIECE_ROWS):
        piece = sets[:, first : first + PIECE_ROWS].astype(np.float32)
        # Whole numbers below 2^24 are exact in such a product.
        shared += (piece @ piece.T).astype(np.int64)
        reached += int(np.count_nonzero(piece.any(axis=0)))
        yield 1
    return Overlap(shared, reached, profiles)

"""Live splits over columns: which profiles fall into a part; the same as domain.shares says."""

from __future__ import annotations

import numpy as np

from services.segments.domain.shares import PERMILLE, salt_key
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import PartLeaf


def in_part(spec: PartLeaf, numbers: Array) -> Array:
    """Which profile numbers fall into the part, one bool each."""
    with np.errstate(over="ignore"):
        z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(salt_key(spec.salt))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    place = (z >> np.uint64(32)) * np.uint64(PERMILLE) >> np.uint64(32)
    return np.asarray((place >= spec.low) & (place < spec.high))


def rows_in_part(spec: PartLeaf, rows: int, partition: int, partitions: int) -> Array:
    """Which of the first profile rows of a partition fall into the part."""
    return in_part(spec, np.arange(rows, dtype=np.uint64) * partitions + partition)

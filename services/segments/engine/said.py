"""What one stretch of the walk said, and the buffers it is written into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.segments.engine.arrays import Array
from services.segments.engine.memberships import Activity, Transitions


@dataclass(slots=True)
class Said:
    """What one stretch of the walk said; activity: (minute, place, type, count) columns."""

    at: Array
    row: Array
    place: Array
    version: Array
    entered: Array
    ordinal: Array
    cause: Array
    minute: Array
    active_place: Array
    active_type: Array
    active: Array


def new_transitions(size: int) -> Transitions:
    """Room for so many transitions."""
    return Transitions(
        np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.int32),
        np.zeros(size, np.uint8), np.zeros(size, np.uint32), np.zeros(size, np.int64),
    )  # fmt: skip


def new_activity(cells: int, lines: int) -> Activity:
    """Counters for so many (place, type), and room for so many lines."""
    return Activity(
        np.zeros(cells, np.int64), np.zeros((cells + 63) // 64, np.uint64),
        np.zeros(lines, np.int64), np.zeros(lines, np.int64), np.zeros(lines, np.int64),
    )  # fmt: skip

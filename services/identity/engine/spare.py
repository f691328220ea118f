"""Copies of large arrays for snapshots, in room that is kept: fresh room costs several times it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SPARE_SHARE = 4
"""Room for copies is a quarter larger than what is copied first."""
Copy = Callable[[str, np.ndarray], np.ndarray]
"""A copy of an array by its name; stands at least until that name is copied again."""


class Spare:
    """Room for copies, each of which is read before the next of its name is made."""

    def __init__(self) -> None:
        self._room: dict[str, np.ndarray] = {}

    def copy(self, name: str, array: np.ndarray) -> np.ndarray:
        """A copy that stands until the same name is copied again."""
        room = self._room.get(name)
        if room is None or len(room) < len(array):
            size = len(array) + len(array) // SPARE_SHARE
            room = self._room[name] = np.empty((size, *array.shape[1:]), array.dtype)
        np.copyto(room[: len(array)], array)
        return room[: len(array)]


def fresh(_name: str, array: np.ndarray) -> np.ndarray:
    """A copy that stands as long as somebody holds it."""
    return array.copy()

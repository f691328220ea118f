"""Where the newest rows lie in the log, by atom: what timelines are read from. Hot kernel.

A ring of pointers: row n of the tenant is at n modulo the ring's length; each points at the row
before it of the same atom. What has been overwritten is known by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.identity.engine.spare import Copy

POINTER = np.dtype([("sequence", "i8"), ("before", "i8"), ("atom", "u4"), ("row", "u4")])
"""sequence: of the message of EVENTS; row: in it; before: number of the atom's row before, -1 for
none."""


class Pointed(NamedTuple):
    """Row `number` of the tenant: row `row` of message `sequence` of EVENTS."""

    number: int
    sequence: int
    row: int


@njit(nogil=True, cache=True)
def _point(ring: Any, heads: Any, first: int, sequence: int, atoms: Any) -> None:
    for row in range(len(atoms)):
        number = first + row
        at = number % len(ring)
        atom = np.int64(atoms[row])
        ring[at].sequence = sequence
        ring[at].row = row
        ring[at].atom = atom
        ring[at].before = heads[atom]
        heads[atom] = number


class Timeline:
    """The newest rows of a tenant. count: rows ever pointed at; rows_max: how many are kept."""

    def __init__(self, rows_max: int) -> None:
        self.rows_max = rows_max
        self.count = 0
        self._ring = np.zeros(min(rows_max, 1 << 12), POINTER)
        self._heads = np.full(1 << 10, -1, np.int64)

    @property
    def oldest(self) -> int:
        """Number of the oldest row that is still pointed at."""
        return max(0, self.count - len(self._ring))

    def add(self, sequence: int, atoms: np.ndarray) -> None:
        """The rows of one message. atoms: int64, of each."""
        rows = len(atoms)
        if self.count + rows > len(self._ring) < self.rows_max:
            self._resize(min(self.rows_max, max(2 * len(self._ring), self.count + rows)))
        top = int(atoms.max()) + 1
        if top > len(self._heads):
            heads = np.full(max(top, 2 * len(self._heads)), -1, np.int64)
            heads[: len(self._heads)] = self._heads
            self._heads = heads
        _point(self._ring, self._heads, self.count, sequence, atoms)
        self.count += rows

    def of(self, atoms: Iterable[int], before: int, rows_max: int) -> list[Pointed]:
        """The newest rows of some atoms with numbers below `before`, newest first."""
        ring, oldest = self._ring, self.oldest
        waiting = []
        for atom in atoms:
            number = int(self._heads[atom]) if atom < len(self._heads) else -1
            while number >= before:
                number = int(ring[number % len(ring)]["before"]) if number >= oldest else -1
            if number >= oldest:
                waiting.append(-number)
        heapify(waiting)
        found: list[Pointed] = []
        while waiting and len(found) < rows_max:
            number = -waiting[0]
            pointer = ring[number % len(ring)]
            found.append(Pointed(number, int(pointer["sequence"]), int(pointer["row"])))
            following = int(pointer["before"])
            if following >= oldest:
                heapreplace(waiting, -following)
            else:
                heappop(waiting)
        return found

    def _resize(self, size: int) -> None:
        """A ring of another length, with the newest rows that fit."""
        kept = np.arange(max(self.oldest, self.count - size), self.count)
        ring = np.zeros(size, POINTER)
        ring[kept % size] = self._ring[kept % len(self._ring)]
        self._ring = ring

    def dump(self, copy: Copy) -> dict[str, Any]:
        return {
            "ring": copy("ring", self._ring[: self.count]),
            "heads": copy("heads", self._heads),
            "count": np.array([self.count], np.int64),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self._ring = np.frombuffer(state["ring"], POINTER).copy()
        self._heads = np.frombuffer(state["heads"], np.int64).copy()
        self.count = int(np.frombuffer(state["count"], np.int64)[0])
        if len(self._ring) > self.rows_max or not len(self._ring):
            self._resize(min(self.rows_max, max(len(self._ring), 1 << 12)))

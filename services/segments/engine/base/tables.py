"""Open-addressing tables of numbers for kernels: find, put, grow.

A table is (keys: uint64, values: int64) of a power of two, linear probing, value -1 for an empty
place. Nothing is ever removed: a value may be replaced. Hot kernels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, Number, prefetch

_EMPTY = -1
AHEAD = 8
"""Keys between asking for a place and needing it."""


@njit(cache=True, nogil=True, inline="always")
def mixed(key: int) -> Number:
    """The finaliser of SplitMix64: every bit of the key reaches every bit of the place."""
    word = np.uint64(key)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(cache=True, nogil=True)
def find(keys: Array, values: Array, key: int) -> Number:
    """The value under a key, -1 when there is none."""
    mask = np.uint64(keys.size - 1)
    place = mixed(key) & mask
    while values[place] != _EMPTY:
        if keys[place] == np.uint64(key):
            return values[place]
        place = (place + np.uint64(1)) & mask
    return _EMPTY


@njit(cache=True, nogil=True)
def put(keys: Array, values: Array, key: int, value: int) -> Number:
    """Sets the value under a key; 1 when the key is new. The table must have an empty place."""
    mask = np.uint64(keys.size - 1)
    place = mixed(key) & mask
    while values[place] != _EMPTY:
        if keys[place] == np.uint64(key):
            values[place] = value
            return 0
        place = (place + np.uint64(1)) & mask
    keys[place] = np.uint64(key)
    values[place] = value
    return 1


@njit(cache=True, nogil=True)
def _rehashed(keys: Array, values: Array, new_keys: Array, new_values: Array) -> None:
    for place in range(keys.size):
        if values[place] != _EMPTY:
            put(new_keys, new_values, keys[place], values[place])


@njit(cache=True, nogil=True)
def _put_all(keys: Array, values: Array, new_keys: Array, new_values: Array) -> Number:
    mask = np.uint64(keys.size - 1)
    fresh = 0
    for i in range(new_keys.size):
        if i + AHEAD < new_keys.size:
            soon = np.int64(mixed(new_keys[i + AHEAD]) & mask)
            prefetch(values, soon)
            prefetch(keys, soon)
        fresh += put(keys, values, new_keys[i], new_values[i])
    return fresh


class Table:
    """uint64 -> a number of at least 0."""

    __slots__ = ("keys", "used", "values")

    def __init__(self, capacity: int = 1024) -> None:
        self.keys = np.zeros(capacity, np.uint64)
        self.values = np.full(capacity, _EMPTY, np.int64)
        self.used = 0

    def reserve(self, more: int) -> None:
        """Room for `more` new keys at a load of at most one half."""
        wanted = self.keys.size
        while (self.used + more) * 2 > wanted:
            wanted *= 2
        if wanted != self.keys.size:
            keys, values = np.zeros(wanted, np.uint64), np.full(wanted, _EMPTY, np.int64)
            _rehashed(self.keys, self.values, keys, values)
            self.keys, self.values = keys, values

    def get(self, key: int) -> int:
        """The value under a key, -1 when there is none."""
        return int(find(self.keys, self.values, np.uint64(key)))

    def set(self, key: int, value: int) -> None:
        self.reserve(1)
        self.used += int(put(self.keys, self.values, np.uint64(key), value))

    def fill(self, keys: Array, values: Array) -> None:
        """Puts many."""
        self.reserve(keys.size)
        self.used += int(
            _put_all(self.keys, self.values, keys.astype(np.uint64), values.astype(np.int64))
        )

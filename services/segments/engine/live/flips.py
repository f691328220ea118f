"""Flips: leaves that turn, gathered from every source and put in order of (instant, profile).

Within an instant and a profile they stay in the order in which they were written. Hot kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array

FEW = 24
"""Flips sorted by insertion; more are sorted by NumPy."""


class Flips(NamedTuple):
    """Leaves that turn: instant, row of the profile, leaf, its new state, cause."""

    at: Array
    row: Array
    leaf: Array
    state: Array
    cause: Array


@njit(cache=True, nogil=True, inline="always")
def _insertion_sort(keys: Array, begin: int, end: int) -> None:
    for i in range(begin + 1, end):
        key = keys[i]
        j = i - 1
        while j >= begin and keys[j] > key:
            keys[j + 1] = keys[j]
            j -= 1
        keys[j + 1] = key


@njit(cache=True, nogil=True)
def pack(f: Flips, n: int, base: int, row_bits: int, place_bits: int, keys: Array) -> None:
    """Sort keys of flips: instant, profile (when it has bits), place in the buffer."""
    for i in range(n):
        key = np.uint64(f.at[i] - base) << np.uint64(row_bits)
        if row_bits:
            key |= np.uint64(f.row[i])
        keys[i] = key << np.uint64(place_bits) | np.uint64(i)
    if n <= FEW:
        _insertion_sort(keys, 0, n)


@njit(cache=True, nogil=True)
def by_profile(f: Flips, keys: Array, place_bits: int) -> None:
    """Orders flips of one instant, which lie together, by profile; keys keep only the place."""
    bits = np.uint64(place_bits)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    i = 0
    while i < keys.size:
        at = keys[i] >> bits
        j = i + 1
        while j < keys.size and keys[j] >> bits == at:
            j += 1
        if j > i + 1:
            for q in range(i, j):
                place = keys[q] & mask
                keys[q] = np.uint64(f.row[place]) << bits | place
            if j - i <= FEW:
                _insertion_sort(keys, i, j)
            else:
                keys[i:j] = np.sort(keys[i:j])
        i = j


@njit(cache=True, nogil=True)
def gather(f: Flips, keys: Array, place_bits: int, out: Flips) -> None:
    """Flips in the order of their keys, so that they are then read one after the other."""
    mask = (np.uint64(1) << np.uint64(place_bits)) - np.uint64(1)
    for i in range(np.uint64(keys.size)):
        place = keys[i] & mask
        out.at[i] = f.at[place]
        out.row[i] = f.row[place]
        out.leaf[i] = f.leaf[place]
        out.state[i] = f.state[place]
        out.cause[i] = f.cause[place]


def new_flips(size: int) -> Flips:
    return Flips(
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64),
        np.zeros(size, np.uint8), np.zeros(size, np.int64),
    )  # fmt: skip


def larger(old: Flips, used: int, size: int) -> Flips:
    """A buffer of at least `size` with the first `used` flips of the old one."""
    new = new_flips(max(size, old.at.size * 2))
    for mine, theirs in zip(new, old, strict=True):
        mine[:used] = theirs[:used]
    return new


def in_order(flips: Flips, k: int, rows: int, out: Flips) -> Flips:
    """The first k flips in order, in `out` or a larger buffer. rows: more than any profile row."""
    if out.at.size < k:
        out = new_flips(flips.at.size)
    if not k:
        return out
    base = int(flips.at[:k].min())
    span_bits = (int(flips.at[:k].max()) - base).bit_length()
    row_bits, place_bits = rows.bit_length(), k.bit_length()
    if span_bits + place_bits > 64:
        keys = np.lexsort((flips.row[:k], flips.at[:k])).astype(np.uint64)
    else:
        # A long stretch leaves no room for the profile: instants first, profiles within each.
        wide = span_bits + row_bits + place_bits > 64
        keys = np.empty(k, np.uint64)
        pack(flips, k, base, 0 if wide else row_bits, place_bits, keys)
        if k > FEW:
            keys.sort()
        if wide:
            by_profile(flips, keys, place_bits)
    gather(flips, keys, place_bits, out)
    return out

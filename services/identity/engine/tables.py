"""Open-addressing tables from 128-bit prints to record numbers: hot kernels.

A slot holds a tag (the upper half of the print's first word) and a record number plus one; a match
of the tag is verified against the record. Slots are a power of two, at most half full.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

U = np.uint64
TAG = U(0xFFFFFFFF00000000)
NUMBER = U(0x00000000FFFFFFFF)
SLOTS_MIN = 1 << 12


def slots_for(records: int) -> int:
    """Slots of a table that is to hold this many records."""
    return max(SLOTS_MIN, 1 << (2 * records - 1).bit_length())


@njit(nogil=True, cache=True, inline="always")
def mixed(word: Any) -> Any:
    """The finaliser of SplitMix64, as domain/public_ids.py has it."""
    word += U(0x9E3779B97F4A7C15)
    word = (word ^ (word >> U(30))) * U(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> U(27))) * U(0x94D049BB133111EB)
    return word ^ (word >> U(31))


@njit(nogil=True, cache=True, inline="always")
def public_id(high: Any, low: Any) -> Any:
    return mixed(high ^ (low << U(29) | low >> U(35)))


@njit(nogil=True, cache=True, inline="always")
def find_print(slots: Any, records: Any, high: Any, low: Any) -> Any:
    """Number of the record whose (print_high, print_low) this is, or -1."""
    mask = U(len(slots) - 1)
    at = low & mask
    tag = high & TAG
    while True:
        slot = slots[at]
        if slot == U(0):
            return np.int64(-1)
        if slot & TAG == tag:
            number = np.int64(slot & NUMBER) - 1
            if records[number].print_high == high and records[number].print_low == low:
                return number
        at = (at + U(1)) & mask


@njit(nogil=True, cache=True, inline="always")
def find_set(slots: Any, records: Any, high: Any, low: Any) -> Any:
    """Number of the record whose (set_high, set_low) this is, or -1."""
    mask = U(len(slots) - 1)
    at = low & mask
    tag = high & TAG
    while True:
        slot = slots[at]
        if slot == U(0):
            return np.int64(-1)
        if slot & TAG == tag:
            number = np.int64(slot & NUMBER) - 1
            if records[number].set_high == high and records[number].set_low == low:
                return number
        at = (at + U(1)) & mask


@njit(nogil=True, cache=True, inline="always")
def put(slots: Any, high: Any, low: Any, number: Any) -> None:
    """Enters a record that is not there yet; the caller keeps the table at most half full."""
    mask = U(len(slots) - 1)
    at = low & mask
    while slots[at] != U(0):
        at = (at + U(1)) & mask
    slots[at] = (high & TAG) | U(number + 1)


@njit(nogil=True, cache=True)
def unknown(slots: Any, records: Any, prints: Any, places: Any) -> Any:
    """Which of these places have a print that no record has. prints: two words each."""
    found = np.empty(len(places), np.bool_)
    for i in range(len(places)):
        at = 2 * places[i]
        found[i] = find_print(slots, records, prints[at], prints[at + 1]) < 0
    return found


@njit(nogil=True, cache=True)
def put_prints(slots: Any, records: Any, start: int, end: int) -> None:
    """Enters records [start, end) by their print."""
    for number in range(start, end):
        put(slots, records[number].print_high, records[number].print_low, number)


@njit(nogil=True, cache=True)
def put_first_prints(slots: Any, records: Any, start: int, end: int) -> None:
    """As put_prints, for atoms that are the first of their identifier."""
    for number in range(start, end):
        if records[number].identifier == number:
            put(slots, records[number].print_high, records[number].print_low, number)


@njit(nogil=True, cache=True)
def put_sets(slots: Any, records: Any, start: int, end: int) -> None:
    """Enters evidence [start, end) of more than one identifier by its set."""
    for number in range(start, end):
        if records[number].count > 1:
            put(slots, records[number].set_high, records[number].set_low, number)


@njit(nogil=True, cache=True)
def put_public_ids(slots: Any, profiles: Any, start: int, end: int) -> None:
    """Enters profiles [start, end) by their public id."""
    for number in range(start, end):
        word = profiles[number].public_id
        put(slots, word, word, number)


@njit(nogil=True, cache=True)
def find_public_id(slots: Any, profiles: Any, word: Any, none: Any) -> Any:
    """The living profile of this public id, else an ended one that had it, else -1."""
    mask = U(len(slots) - 1)
    at = word & mask
    tag = word & TAG
    ended = np.int64(-1)
    while slots[at] != U(0):
        if slots[at] & TAG == tag:
            number = np.int64(slots[at] & NUMBER) - 1
            if profiles[number].public_id == word:
                if profiles[number].forward == none:
                    return number
                ended = number
        at = (at + U(1)) & mask
    return ended

"""Attributes: records of what was set when, and the value that stands for each profile.

A record hangs on the slot it came with and names the profile whose own it is (its *home*). The
value of an attribute of a profile is the newest of its own records, by (occur time, log order). At
a merge the source's own records become the target's own for attributes of which the target has no
value; the others stay behind what the target has: the survivor's value wins, else the newest. A
split makes all records that move the target's own, so both sides have again what they had.
Hot kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain.values import TEXT, Scalar
from services.segments.engine.arrays import Array, Number, at_i32, bare, grown
from services.segments.engine.flips import Flips
from services.segments.engine.memberships import ATTRIBUTE_CAUSE
from services.segments.engine.people import People, Slots
from services.segments.engine.predicates import Predicates, accepts
from services.segments.engine.streams import UNBOUNDED
from services.segments.engine.texts import Names, Texts

_RECORD = {
    "slot": np.int32,
    "key": np.int32,
    "occur": np.int64,
    "accept": np.int64,
    "print_high": np.uint64,
    "print_low": np.uint64,
    "home": np.uint32,
    "present": np.uint8,
    "value_end": np.int64,
    "previous": np.int32,
}
_VALUE = {"kind": np.uint8, "exponent": np.uint8, "value": np.int64}


class Records(NamedTuple):
    """The columns as kernels see them; values of record r: [value_end[r - 1], value_end[r])."""

    slot: Array
    key: Array
    occur: Array
    accept: Array
    print_high: Array
    print_low: Array
    home: Array
    present: Array
    value_end: Array
    previous: Array
    kind: Array
    exponent: Array
    value: Array


@njit(cache=True, nogil=True, inline="always")
def standing(a: Records, slots: Slots, row: int, profile: int, key: int, at: int) -> Number:
    """The record that stands for an attribute of a profile at an instant; -1 for no value."""
    best = np.int64(-1)
    slot = slots.first_slot[row]
    while slot >= 0:
        r = np.int64(slots.record_head[slot])
        while r >= 0:
            if (
                a.key[r] == key
                and a.home[r] == profile
                and a.occur[r] <= at
                and a.accept[r] <= at
                and (
                    best < 0
                    or a.occur[r] > a.occur[best]
                    or (a.occur[r] == a.occur[best] and (a.accept[r], r) > (a.accept[best], best))
                )
            ):
                best = r
            r = np.int64(a.previous[r])
        slot = slots.next[slot]
    return best if best >= 0 and a.present[best] else np.int64(-1)


@njit(cache=True, nogil=True, inline="always")
def record_accepts(a: Records, p: Predicates, record: int, test: int) -> bool:
    """Whether an element of a record's value satisfies a positive test."""
    if record < 0:
        return False
    start = a.value_end[record - 1] if record > 0 else np.int64(0)
    for q in range(start, a.value_end[record]):
        if accepts(p, test, a.kind[q], a.exponent[q], a.value[q]):
            return True
    return False


@njit(cache=True, nogil=True)
def turn(
    a: Records, p: Predicates, slots: Slots, partition: int, partitions: int, records: Array,
    effects: Array, current: Array, leaf_ptr: Array, leaves: Array, tests: Array, out: Flips,
) -> int:  # fmt: skip
    """Makes records stand at their instants; flips of the leaves that test them, into `out`.

    current: address, by attribute name, of one more than the standing record per profile; address
    0: nobody asks. Says the state of every leaf of the attribute, turned or not; can be repeated.
    """
    a, p, slots, out = bare(a), bare(p), bare(slots), bare(out)
    k = 0
    for i in range(records.size):
        r = records[i]
        row = slots.row[a.slot[r]]
        key = a.key[r]
        if row < 0 or key >= current.size or current[key] == 0:
            continue
        profile = np.int64(row) * partitions + partition
        found = standing(a, slots, row, profile, key, effects[i])
        at_i32(current[key], UNBOUNDED)[row] = found + 1
        for j in range(leaf_ptr[key], leaf_ptr[key + 1]):
            out.at[k] = effects[i]
            out.row[k] = row
            out.leaf[k] = leaves[j]
            out.state[k] = 1 if record_accepts(a, p, found, tests[j]) else 0
            out.cause[k] = ATTRIBUTE_CAUSE + r
            k += 1
    return k


@njit(cache=True, nogil=True)
def stand_all(
    a: Records, slots: Slots, partition: int, partitions: int, key: int, at: int, current: Array
) -> None:
    """One more than the standing record of an attribute for every profile, from scratch."""
    a, slots = bare(a), bare(slots)
    for row in range(current.size):
        profile = np.int64(row) * partitions + partition
        current[row] = standing(a, slots, row, profile, key, at) + 1


@njit(cache=True, nogil=True)
def test_all(a: Records, p: Predicates, current: Array, test: int, found: Array) -> None:
    """Which profiles' standing record satisfies a test."""
    a, p = bare(a), bare(p)
    for row in range(current.size):
        found[row] = record_accepts(a, p, current[row] - 1, test)


class Attributes:
    """Attribute records of one partition, and who has which value now."""

    def __init__(self) -> None:
        self.count = 0
        self.values = 0
        self.columns: dict[str, Array] = {
            name: np.zeros(64, dtype) for name, dtype in (_RECORD | _VALUE).items()
        }
        self.current: dict[int, Array] = {}
        """Number of the attribute's name -> one more than the standing record by profile."""
        self._view: Records | None = None

    @property
    def view(self) -> Records:
        if self._view is None:
            self._view = Records(**self.columns)
        return self._view

    def forget_view(self) -> None:
        """Columns were replaced."""
        self._view = None

    def _reserve(self, records: int, values: int) -> None:
        for names, wanted in ((_RECORD, self.count + records), (_VALUE, self.values + values)):
            for name in names:
                self.columns[name] = grown(self.columns[name], wanted)
        self._view = None

    def take(
        self, cols: dict[str, Any], people: People, names: Names, texts: Texts,
        slot_of: Callable[[int, int], int],
    ) -> range:  # fmt: skip
        """Takes decoded AttributesSet; the numbers of the new records.

        Consecutive rows of one (profile, attribute, event) are the elements of a list. `profile`
        is the profile the values were set on; slot_of(atom, profile) says where they hang.
        """
        rows = cols["key"].size
        if not rows:
            return range(self.count, self.count)
        profile, atom = cols["profile"], cols["atom"]
        key = names.intern(cols["name"], cols["name_end"])[cols["key"]]
        text = texts.intern(cols["text"], cols["text_end"])
        kind = cols["kind"]
        value = cols["value"].copy()
        is_text = kind == TEXT
        if is_text.any():
            value[is_text] = text[value[is_text]]
        occur, accept = cols["occur_time_us"], cols["accept_time_us"]
        prints = cols["event_print"].reshape(-1, 2) if cols["event_print"].size else None
        fresh = np.ones(rows, bool)
        if cols["item"].size and rows > 1:
            item = cols["item"]
            fresh[1:] = (
                (item[1:] <= item[:-1]) | (key[1:] != key[:-1]) | (profile[1:] != profile[:-1])
                | (atom[1:] != atom[:-1]) | (occur[1:] != occur[:-1])
                | (accept[1:] != accept[:-1])
            )  # fmt: skip
            if prints is not None:
                fresh[1:] |= (prints[1:] != prints[:-1]).any(axis=1)
        heads = np.flatnonzero(fresh)
        kept = kind != 0
        present = kept & ~(is_text & (value == 0))
        first, n = self.count, heads.size
        values = int(kept.sum())
        self._reserve(n, values)
        c = self.columns
        stretch = slice(first, first + n)
        c["key"][stretch], c["occur"][stretch], c["accept"][stretch] = (
            key[heads], occur[heads], accept[heads]
        )  # fmt: skip
        c["home"][stretch] = profile[heads]
        c["print_high"][stretch] = prints[heads, 0] if prints is not None else 0
        c["print_low"][stretch] = prints[heads, 1] if prints is not None else 0
        c["present"][stretch] = np.logical_or.reduceat(present, heads)
        c["value_end"][stretch] = self.values + np.cumsum(
            np.add.reduceat(kept.astype(np.int64), heads)
        )
        inside = slice(self.values, self.values + values)
        c["kind"][inside], c["value"][inside] = kind[kept], value[kept]
        c["exponent"][inside] = cols["exponent"][kept] if cols["exponent"].size else 0
        for i, (a, p) in enumerate(zip(atom[heads].tolist(), profile[heads].tolist(), strict=True)):
            slot = slot_of(a, p)
            c["slot"][first + i] = slot
            c["previous"][first + i] = people.slot_record[slot]
            people.slot_record[slot] = first + i
        self.count += n
        self.values += values
        return range(first, self.count)

    def follow(self, key: int, rows: int, people: People, at: int) -> Array:
        """One more than the standing records of an attribute (0: none), kept from now on."""
        if key not in self.current:
            current = np.zeros(max(rows, 16), np.int32)
            stand_all(
                self.view, people.view(), people.partition, people.partitions, key, at,
                current[: people.rows],
            )  # fmt: skip
            self.current[key] = current
        return self.current[key]

    def reserve_profiles(self, rows: int) -> None:
        for key, current in self.current.items():
            self.current[key] = grown(current, rows)

    def scalars(self, record: int, texts: Texts) -> tuple[Scalar, ...]:
        """The elements of a record's value; none when it is missing."""
        if record < 0:
            return ()
        c = self.columns
        start = int(c["value_end"][record - 1]) if record else 0
        return tuple(
            scalar_of(int(c["kind"][q]), int(c["value"][q]), int(c["exponent"][q]), texts)
            for q in range(start, int(c["value_end"][record]))
        )


def scalar_of(kind: int, value: int, exponent: int, texts: Texts) -> Scalar:
    """A stored value as the domain's scalar."""
    if kind == TEXT:
        return Scalar(TEXT, texts.text_of(value))
    return Scalar(kind, units=value, exponent=exponent)

"""Attributes: records of what was set when, and the value that stands for each profile.

A record hangs on the slot it came with and names the profile whose own it is (its *home*). The
value of an attribute of a profile is the newest of its own records, by (occur time, log order). At
a merge the source's own records become the target's own for attributes of which the target has no
value; the others stay behind what the target has: the survivor's value wins, else the newest. A
split makes all records that move the target's own, so both sides have again what they had.

What stands now is kept by attribute and profile as a *cell*: one more than the number of the
record, and above it, for a single text, one more than the number of the text, so that a question
looks at each text once and at no record. Hot kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain.values import TEXT, Scalar
from services.segments.engine.base.arrays import Array, Number, at_i64, bare, grown
from services.segments.engine.live.flips import Flips
from services.segments.engine.live.memberships import ATTRIBUTE_CAUSE
from services.segments.engine.live.streams import UNBOUNDED
from services.segments.engine.store.people import People, Slots
from services.segments.engine.store.predicates import Predicates, accepts
from services.segments.engine.store.texts import Names, Texts

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
FOLLOWED_MAX = 64
"""Attributes whose cells are kept from their first value on; others once a rule or a question looks
at them."""
RECORD_BITS = 32
_RECORD_MASK = (1 << RECORD_BITS) - 1
_OTHER = np.int64(-1) << RECORD_BITS
"""Above the record in a cell whose value is no single text."""
_UNASKED, _REFUSED, _ACCEPTED = 0, 1, 2


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
def cell_of(a: Records, record: int) -> Number:
    """The cell of a standing record; 0 for none."""
    if record < 0:
        return np.int64(0)
    start = a.value_end[record - 1] if record > 0 else np.int64(0)
    if a.value_end[record] == start + 1 and a.kind[start] == 1:
        return (a.value[start] + 1) << RECORD_BITS | (record + 1)
    return _OTHER | (record + 1)


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

    current: address, by attribute name, of the cells; address 0: nobody asks. Says the state of
    every leaf of the attribute, turned or not; can be repeated.
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
        at_i64(current[key], UNBOUNDED)[row] = cell_of(a, found)
        for j in range(leaf_ptr[key], leaf_ptr[key + 1]):
            out.at[k] = effects[i]
            out.row[k] = row
            out.leaf[k] = leaves[j]
            out.state[k] = 1 if record_accepts(a, p, found, tests[j]) else 0
            out.cause[k] = ATTRIBUTE_CAUSE + r
            k += 1
    return k


@njit(cache=True, nogil=True)
def _hang(slot: Array, previous: Array, head: Array, first: int, n: int) -> None:
    """Chains new records to those of their slots, the newest first."""
    for r in range(first, first + n):
        previous[r] = head[slot[r]]
        head[slot[r]] = r


@njit(cache=True, nogil=True)
def stand_all(
    a: Records, slots: Slots, partition: int, partitions: int, current: Array, count: int,
    rows: int, at: int,
) -> None:  # fmt: skip
    """Cells of all profiles as of an instant, from every record once.

    current: address, by attribute name, of cells that are 0; address 0: left out.
    """
    a, slots = bare(a), bare(slots)
    for r in range(count):
        row = slots.row[a.slot[r]]
        if current[a.key[r]] == 0 or row < 0 or a.occur[r] > at or a.accept[r] > at:
            continue
        if a.home[r] != np.int64(row) * partitions + partition:
            continue
        cells = at_i64(current[a.key[r]], UNBOUNDED)
        best = cells[row] - 1
        if (
            best < 0
            or a.occur[r] > a.occur[best]
            or (a.occur[r] == a.occur[best] and (a.accept[r], r) > (a.accept[best], best))
        ):
            cells[row] = r + 1
    for key in range(current.size):
        if current[key]:
            cells = at_i64(current[key], UNBOUNDED)
            for row in range(rows):
                best = cells[row] - 1
                cells[row] = cell_of(a, best if best >= 0 and a.present[best] else np.int64(-1))


@njit(cache=True, nogil=True)
def stand_again(a: Records, slots: Slots, profile: int, row: int, current: Array, at: int) -> None:
    """The cells of one profile as of an instant."""
    a, slots = bare(a), bare(slots)
    for key in range(current.size):
        if current[key]:
            found = standing(a, slots, row, profile, key, at)
            at_i64(current[key], UNBOUNDED)[row] = cell_of(a, found)


@njit(cache=True, nogil=True)
def test_all(
    a: Records, p: Predicates, cells: Array, test: int, answers: Array, found: Array
) -> None:
    """Which profiles' standing record satisfies a test. answers: by text, what is known of it."""
    a, p = bare(a), bare(p)
    for row in range(cells.size):
        cell = cells[row]
        if cell <= 0:
            found[row] = cell < 0 and record_accepts(a, p, (cell & _RECORD_MASK) - 1, test)
            continue
        text = (cell >> RECORD_BITS) - 1
        if answers[text] == _UNASKED:
            answers[text] = _ACCEPTED if accepts(p, test, 1, 0, text) else _REFUSED
        found[row] = answers[text] == _ACCEPTED


class Attributes:
    """Attribute records of one partition, and who has which value now."""

    def __init__(self) -> None:
        self.count = 0
        self.values = 0
        self.columns: dict[str, Array] = {
            name: np.zeros(64, dtype) for name, dtype in (_RECORD | _VALUE).items()
        }
        self.current: dict[int, Array] = {}
        """Number of the attribute's name -> cells by profile."""
        self.capacity = 64
        """Profiles there is room for in the cells."""
        self.known: set[int] = set()
        """Numbers of the names of all attributes that ever had a value."""
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
        slots_of: Callable[[Array, Array], Array],
    ) -> range:  # fmt: skip
        """Takes decoded AttributesSet; the numbers of the new records.

        Consecutive rows of one (profile, attribute, event) are the elements of a list. `profile`
        is the profile the values were set on; slots_of(atoms, profiles) says where they hang.
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
        self._meet(key[heads])
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
        c["slot"][stretch] = slots_of(atom[heads], profile[heads])
        _hang(c["slot"], c["previous"], people.slot_record, first, n)
        self.count += n
        self.values += values
        return range(first, self.count)

    def _meet(self, keys: Array) -> None:
        """Attributes that are new have cells from their first value on, while there is room."""
        for key in np.unique(keys).tolist():
            if key not in self.known and len(self.current) < FOLLOWED_MAX:
                self.current.setdefault(key, np.zeros(self.capacity, np.int64))
            self.known.add(key)

    def follow(self, keys: list[int], people: People, at: int) -> None:
        """Keeps the cells of these attributes from now on."""
        new = [key for key in keys if key not in self.current]
        if not new:
            return
        for key in new:
            self.current[key] = np.zeros(self.capacity, np.int64)
        stand_all(
            self.view, people.view(), people.partition, people.partitions, self._addresses(new),
            self.count, people.rows, at,
        )  # fmt: skip

    def _addresses(self, keys: Iterable[int]) -> Array:
        """Of the cells of these attributes, by number of the name; 0 for every other."""
        most = max(self.known | set(keys), default=-1)
        addresses = np.zeros(most + 1, np.int64)
        for key in keys:
            addresses[key] = self.current[key].ctypes.data
        return addresses

    def follow_again(self, people: People, at: int) -> None:
        """After a load: the cells of what had a value, in the order in which they came."""
        every = self.columns["key"][: self.count]
        first = np.full(int(every.max(initial=-1)) + 1, -1)
        first[every[::-1]] = np.arange(self.count)[::-1]  # The last to be written stays.
        keys = np.flatnonzero(first >= 0)
        first = first[keys]
        self.known = set(keys.tolist())
        self.follow(keys[np.argsort(first)][:FOLLOWED_MAX].tolist(), people, at)

    def unfollow(self, key: int) -> None:
        """No rule looks at an attribute any more; its cells go when room is short."""
        if len(self.current) > FOLLOWED_MAX:
            self.current.pop(key, None)

    def stand_again(self, people: People, row: int, at: int) -> None:
        """A profile's records went or came with a move: its cells as of an instant."""
        if self.current:
            addresses = self._addresses(self.current)
            stand_again(self.view, people.view(), people.number_of(row), row, addresses, at)

    def records(self, key: int, rows: int) -> Array:
        """Numbers of the standing records of a followed attribute by profile; -1 for none."""
        return (self.current[key][:rows] & _RECORD_MASK) - 1

    def hanging_on(self, slots: Iterable[int], people: People) -> list[int]:
        """Numbers of all records of some slots, the newest of each first."""
        found = []
        for slot in slots:
            record = int(people.slot_record[slot])
            while record >= 0:
                found.append(record)
                record = int(self.columns["previous"][record])
        return found

    def reserve_profiles(self, rows: int) -> None:
        self.capacity = max(self.capacity, rows)
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

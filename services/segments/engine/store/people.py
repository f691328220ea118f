"""Profiles of this partition and the atoms they consist of.

A profile is a set of atoms (identifiers) over time. A *slot* is one atom under one profile; events
and attributes hang on slots, never on profiles, so a merge moves slots and rewrites no column:
`slot_row[slot]` says whose the slot is now, -1 that it lives in another partition.
Row = dense profile number // partitions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, Number, bare, grown
from services.segments.engine.base.limits import EngineFull, EngineLimits
from services.segments.engine.base.tables import Table, find, put

NONE = -1
NEVER = np.iinfo(np.int64).max
UNBORN = NEVER - 1
"""Instant of creation of a profile that nothing has been heard of."""
TAKEN = -2
"""In the table of slots: the atom has left that profile."""


NO_OWNERS = np.zeros(0, np.int32)

_BY_SLOT = (
    "slot_atom", "slot_row", "slot_next", "slot_event", "slot_record", "slot_kind", "slot_gone",
    "print_high", "print_low",
)  # fmt: skip


class Slots(NamedTuple):
    """What kernels read and write about slots; arrays by slot, first_slot by row."""

    keys: Array
    values: Array
    atom: Array
    row: Array
    next: Array
    event_head: Array
    record_head: Array
    first_slot: Array


@njit(cache=True, nogil=True)
def slot_of(slots: Slots, atom: int, profile: int, row: int, count: int) -> tuple[Number, Number]:
    """(slot of an atom under a profile, number of slots after): makes it when there is none."""
    key = np.uint64(atom) << np.uint64(32) | np.uint64(profile)
    slot = find(slots.keys, slots.values, key)
    if slot >= 0:
        return slot, count
    put(slots.keys, slots.values, key, count)
    slots.atom[count] = atom
    slots.row[count] = row
    slots.event_head[count] = -1
    slots.record_head[count] = -1
    slots.next[count] = slots.first_slot[row]
    slots.first_slot[row] = count
    return np.int64(count), count + 1


@njit(cache=True, nogil=True)
def _make_slots(
    slots: Slots, atoms: Array, profiles: Array, partitions: int, count: int, found: Array
) -> Number:
    slots = bare(slots)
    for i in range(atoms.size):
        row = np.int64(profiles[i]) // partitions
        found[i], count = slot_of(slots, atoms[i], profiles[i], row, count)
    return count


@njit(cache=True, nogil=True)
def _find_print(places: Array, high: Array, low: Array, first: int, second: int) -> Number:
    """The place in the table of prints where a print stands or would stand."""
    mask = np.uint64(places.size - 1)
    place = np.uint64(second) & mask
    while places[place] >= 0:
        slot = places[place]
        if high[slot] == np.uint64(first) and low[slot] == np.uint64(second):
            return np.int64(place)
        place = (place + np.uint64(1)) & mask
    return np.int64(place)


@njit(cache=True, nogil=True)
def _put_prints(places: Array, high: Array, low: Array, slots: Array) -> None:
    for i in range(slots.size):
        slot = slots[i]
        places[_find_print(places, high, low, high[slot], low[slot])] = slot


@njit(cache=True, nogil=True)
def _link(
    places: Array, kind: Array, high: Array, low: Array, slots: Array, kinds: Array, prints: Array,
    before: Array,
) -> Number:  # fmt: skip
    new = 0
    for i in range(slots.size):
        slot = slots[i]
        before[i] = kind[slot]
        kind[slot] = kinds[i]
        high[slot], low[slot] = prints[2 * i], prints[2 * i + 1]
        place = _find_print(places, high, low, high[slot], low[slot])
        new += places[place] < 0
        places[place] = slot
    return new


class People:
    """Profiles, slots and identifiers of one partition."""

    def __init__(self, partition: int, partitions: int, limits: EngineLimits) -> None:
        self.partition, self.partitions, self.limits = partition, partitions, limits
        self.moves = 0
        """How often what a profile consists of has changed."""
        self.rows = 0
        """One more than the highest row created."""
        self.public_id = np.zeros(64, np.uint64)
        self.created_us = np.full(64, NEVER, np.int64)
        self.absorbed = np.zeros(64, np.int64)
        """Number of the survivor plus one; 0 while the profile stands."""
        self.first_slot = np.full(64, NONE, np.int32)
        self.by_public = Table()
        self.former: list[tuple[int, int]] = []
        """(public id, row) of ids that late evidence took from a profile; they keep resolving."""
        self._owned: tuple[int, int] | None = None
        """Slots looked at by `owners`, -1 when one differs; moves then."""
        self._standing = np.zeros(0, bool), 0, 0
        """What `standing` found last, moves then, and the last creation."""
        self.slots = 0
        self.slot_table = Table()
        self.slot_room = 64
        self.slot_atom = np.zeros(64, np.uint32)
        self.slot_row = np.full(64, NONE, np.int32)
        self.slot_next = np.full(64, NONE, np.int32)
        self.slot_event = np.full(64, NONE, np.int32)
        self.slot_record = np.full(64, NONE, np.int32)
        self.slot_kind = np.full(64, NONE, np.int32)
        self.slot_gone = np.zeros(64, np.uint32)
        """Profile in another partition that a slot went to."""
        self.print_high = np.zeros(64, np.uint64)
        self.print_low = np.zeros(64, np.uint64)
        self.print_places = np.full(1024, NONE, np.int32)
        self.prints = 0

    def reserve_rows(self, rows: int) -> None:
        if rows > self.limits.profiles_max:
            raise EngineFull(f"profiles_max = {self.limits.profiles_max} profiles")
        self.public_id = grown(self.public_id, rows)
        self.created_us = grown(self.created_us, rows, NEVER)
        self.absorbed = grown(self.absorbed, rows)
        self.first_slot = grown(self.first_slot, rows, NONE)

    def reserve_slots(self, more: int) -> None:
        wanted = self.slots + more
        self.slot_table.reserve(more)
        if wanted <= self.slot_room:
            return
        for name in _BY_SLOT:
            array = getattr(self, name)
            setattr(self, name, grown(array, wanted, NONE if array.dtype == np.int32 else 0))
        self.slot_room = min(getattr(self, name).size for name in _BY_SLOT)

    def view(self) -> Slots:
        return Slots(
            self.slot_table.keys, self.slot_table.values, self.slot_atom, self.slot_row,
            self.slot_next, self.slot_event, self.slot_record, self.first_slot,
        )  # fmt: skip

    def forget(self) -> None:
        """Whose the slots are, or who stands, was changed without a move."""
        self._owned = None
        self._standing = np.zeros(0, bool), 0, 0

    def standing(self, at: int) -> Array:
        """Which profiles are created by an instant and not absorbed, one bool per row; not to be
        written to."""
        kept, moves, newest = self._standing
        first = kept.size if moves == self.moves else 0
        created, absorbed = self.created_us[first : self.rows], self.absorbed[first : self.rows]
        newest = max(newest if first else -NEVER, int(created.max(initial=-NEVER)))
        more = (created <= at) & (absorbed == 0)
        found = np.concatenate((kept, more)) if first and more.size else kept if first else more
        if newest <= at:
            self._standing = found, self.moves, newest
            return found
        return np.asarray((self.created_us[: self.rows] <= at) & (self.absorbed[: self.rows] == 0))

    def owners(self) -> Array:
        """Rows by slot, -1 for elsewhere; empty while every slot is that of its own row, as it is
        where each profile was made with one atom."""
        if self._owned is not None and self._owned[1] == self.moves:
            seen = self._owned[0]
        else:
            seen = 0
        if seen >= 0 and seen < self.slots:
            same = bool((self.slot_row[seen : self.slots] == np.arange(seen, self.slots)).all())
            seen = self.slots if same else -1
        self._owned = seen, self.moves
        return NO_OWNERS if seen >= 0 and self.slots <= self.rows else self.slot_row

    def took_slots(self, count: int) -> None:
        """A kernel made slots up to `count`."""
        self.slot_table.used += count - self.slots
        self.slots = count

    def row_of(self, profile: int) -> int:
        """The row of a profile of this partition. Raises ValueError for another's."""
        if profile % self.partitions != self.partition:
            raise ValueError(f"profile {profile} is not of partition {self.partition}")
        return profile // self.partitions

    def rows_of(self, profiles: Array) -> Array:
        """int64 rows of profiles of this partition. Raises ValueError for another's."""
        numbers = profiles.astype(np.int64)
        if bool((numbers % self.partitions != self.partition).any()):
            raise ValueError(f"profiles that are not of partition {self.partition}")
        return numbers // self.partitions

    def number_of(self, row: int) -> int:
        return row * self.partitions + self.partition

    def is_here(self, profile: int) -> bool:
        return profile % self.partitions == self.partition

    def create(self, rows: Array, public_ids: Array) -> Array:
        """Notes profiles; a mask of those that are new. A known one takes the new public id, and
        the former one keeps resolving."""
        self.reserve_rows(int(rows.max()) + 1)
        new = self.created_us[rows] == NEVER
        self.created_us[rows[new]] = UNBORN
        renamed = np.flatnonzero(~new & (self.public_id[rows] != public_ids))
        self.former += [(int(self.public_id[rows[i]]), int(rows[i])) for i in renamed.tolist()]
        self.public_id[rows] = public_ids
        self.by_public.fill(public_ids, rows)
        self.rows = max(self.rows, int(rows.max()) + 1)
        return np.asarray(new)

    def make_slots(self, atoms: Array, profiles: Array) -> Array:
        """The slots of atoms under profiles of this partition, made where there is none."""
        self.reserve_slots(atoms.size)
        found = np.empty(atoms.size, np.int64)
        view = self.view()
        count = _make_slots(view, atoms, profiles, self.partitions, self.slots, found)
        self.took_slots(int(count))
        return found

    def slot(self, atom: int, profile: int) -> int:
        """The slot of an atom under a profile of this partition, made when there is none."""
        self.reserve_slots(1)
        found, count = slot_of(self.view(), atom, profile, self.row_of(profile), self.slots)
        self.took_slots(count)
        return int(found)

    def known_slot(self, atom: int, profile: int) -> int:
        """The slot of an atom under a profile; negative when it has none."""
        return self.slot_table.get(atom << 32 | profile)

    def owners_and_kinds(self, slots: Array) -> tuple[Array, Array]:
        """(rows, -1 where a slot has left; numbers of the kinds of their identifiers, -1 for none)
        of some slots; both int64."""
        return self.slot_row[slots].astype(np.int64), self.slot_kind[slots].astype(np.int64)

    def slots_of(self, row: int) -> list[int]:
        """Slots of a profile, newest first."""
        found = []
        slot = int(self.first_slot[row])
        while slot >= 0:
            found.append(slot)
            slot = int(self.slot_next[slot])
        return found

    def move_slot(self, slot: int, source: int, target: int) -> None:
        """Takes a slot from profile `source` (of this partition) to `target` (of any)."""
        self.moves += 1
        atom, row = int(self.slot_atom[slot]), source // self.partitions
        self._unlink(slot, row)
        self.slot_table.set(atom << 32 | source, TAKEN)
        if not self.is_here(target):
            self.slot_row[slot] = NONE
            self.slot_gone[slot] = target
            return
        into = self.row_of(target)
        self.slot_row[slot] = into
        self.slot_next[slot] = self.first_slot[into]
        self.first_slot[into] = slot
        self.slot_table.set(atom << 32 | target, slot)

    def _unlink(self, slot: int, row: int) -> None:
        before, here = NONE, int(self.first_slot[row])
        while here != slot:
            if here < 0:
                raise ValueError(f"slot {slot} does not hang on row {row}")
            before, here = here, int(self.slot_next[here])
        if before < 0:
            self.first_slot[row] = self.slot_next[slot]
        else:
            self.slot_next[before] = self.slot_next[slot]

    def link(self, slots: Array, kinds: Array, prints: Array) -> Array:
        """Names the identifiers of slots; the newest link of a print is what `resolve` answers.

        prints: two words each. The kind each slot had before.
        """
        while (self.prints + slots.size) * 2 > self.print_places.size:
            self._rehash_prints()
        before = np.empty(slots.size, np.int64)
        self.prints += int(
            _link(
                self.print_places, self.slot_kind, self.print_high, self.print_low, slots, kinds,
                prints, before,
            )
        )  # fmt: skip
        return before

    def _rehash_prints(self) -> None:
        self._lay_prints(self.print_places[self.print_places >= 0], self.print_places.size * 2)

    def _lay_prints(self, slots: Array, size: int) -> None:
        self.print_places = np.full(size, NONE, np.int32)
        _put_prints(self.print_places, self.print_high, self.print_low, slots)

    def link_again(self, slots: Array) -> None:
        """After a load: the slots that `resolve` answers with, each of another print."""
        size = self.print_places.size
        while (slots.size + 1) * 2 > size:
            size *= 2
        self.prints = slots.size
        self._lay_prints(slots, size)

    def slot_of_print(self, high: int, low: int) -> int:
        """The slot of an identifier, -1 when it is unknown here."""
        place = _find_print(
            self.print_places, self.print_high, self.print_low, np.uint64(high), np.uint64(low)
        )
        return int(self.print_places[place])

    def survivor(self, profile: int) -> int:
        """The profile that a number stands for now, through merges known here."""
        while self.is_here(profile) and profile // self.partitions < self.rows:
            into = int(self.absorbed[profile // self.partitions])
            if not into:
                break
            profile = into - 1
        return profile

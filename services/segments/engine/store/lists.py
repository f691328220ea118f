"""Lists: who was put into a set by hand, and how that goes with what a followed segment says.

A list is a segment over its own marks. What was done by hand hangs on a slot (one atom under one
profile), so merges unite it and splits and unmerges part it again: an addition marks the profile's
strongest atom, a removal takes every mark of the profile. A profile is in a plain list when one of
its slots is marked ADDED. In a list that follows a segment it is when ADDED, or when it is a member
there and not marked REMOVED; its marks go with the segment's next transition of it. Hot kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from muster.identity.v1 import facts_pb2 as identity
from services.segments.engine.base.arrays import Array, Number
from services.segments.engine.base.tables import Table, find, put
from services.segments.engine.language.expressions import (
    ADDED,
    NOT,
    REMOVED,
    AtLeast,
    Expression,
    ListLeaf,
    Push,
)
from services.segments.engine.store.former import MARK
from services.segments.engine.store.people import Slots

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

UNMARKED = 0
CAME_MAX = 100_000
STRENGTH = ("user_id", "email", "phone", "", "mobile_push_token", "web_push_token", "cookie")
"""Kinds of identifiers, strongest first; the empty one stands for kinds a tenant adds."""


@njit(cache=True, nogil=True)
def _strongest(slots: Slots, kind: Array, strength: Array, rows: Array, found: Array) -> None:
    """The slot of each profile's strongest atom, -1 for none: by kind, then by the atom's number.

    kind: by slot, -1 for an atom that is no identifier. strength: by name, the strongest is 0.
    """
    for i in range(rows.size):
        best = np.int64(-1)
        rank = np.int64(0)
        slot = np.int64(slots.first_slot[rows[i]])
        while slot >= 0:
            given = kind[slot]
            here = strength[given] if given >= 0 else np.int64(strength.size)
            if best < 0 or here < rank or (here == rank and slots.atom[slot] < slots.atom[best]):
                best, rank = slot, here
            slot = np.int64(slots.next[slot])
        found[i] = best


@njit(cache=True, nogil=True)
def _unmark(
    slots: Slots, keys: Array, values: Array, number: int, rows: Array,
    gone: Array, before: Array, place: Array,
) -> Number:  # fmt: skip
    """Takes every mark of a list from some profiles: key, mark, place in rows; how many."""
    high = np.uint64(number) << np.uint64(32)
    n = 0
    for i in range(rows.size):
        slot = np.int64(slots.first_slot[rows[i]])
        while slot >= 0:
            key = high | np.uint64(slot)
            mark = find(keys, values, key)
            if mark > 0:
                put(keys, values, key, 0)
                gone[n], before[n], place[n] = np.int64(key), mark, i
                n += 1
            slot = np.int64(slots.next[slot])
    return n


@njit(cache=True, nogil=True)
def _marked(keys: Array, values: Array, number: int, mark: int, out: Array) -> Number:
    """Slots a list has marked so; how many."""
    n = 0
    for place in range(keys.size):
        if values[place] == mark and keys[place] >> np.uint64(32) == np.uint64(number):
            out[n] = np.int64(keys[place] & np.uint64(0xFFFFFFFF))
            n += 1
    return n


class Lists:
    """The marks of one partition's lists."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.follows: dict[str, str] = {}
        """Lists in force, with the segment each follows or an empty text."""
        self.numbers: dict[str, int] = {}
        """Dense numbers of lists, in the keys of marks."""
        self.marks = Table()
        """number << 32 | slot -> UNMARKED, ADDED or REMOVED."""
        self.came: dict[int, int] = {}
        """Profiles of other partitions that were merged into one of this: who named one just before
        means the other."""

    # What rules see.

    def expression(self, list_id: str) -> Expression:
        """The rule a list stands for."""
        added = Push(ListLeaf(list_id, ADDED))
        followed = self.follows[list_id]
        if not followed:
            return (added,)
        removed = Push(ListLeaf(list_id, REMOVED))
        return (added, Push(followed), removed, NOT, AtLeast(2, 2), AtLeast(1, 2))

    def holding(self, leaf: ListLeaf) -> Array:
        """Which profiles bear such a mark, one bool per profile row."""
        part = self.part
        found = np.zeros(part.people.rows, bool)
        owners = part.people.slot_row[self.slots(leaf.list_id, leaf.mark)]
        found[owners[owners >= 0]] = True
        return found

    def slots(self, list_id: str, mark: int) -> Array:
        """Slots a list has marked so."""
        number = self.numbers.get(list_id)
        if number is None:
            return np.zeros(0, np.int64)
        out = np.empty(self.marks.used, np.int64)
        n = int(_marked(self.marks.keys, self.marks.values, number, mark, out))
        return out[:n]

    def bears(self, leaf: ListLeaf, row: int) -> bool:
        """Whether a profile bears such a mark."""
        number = self.numbers.get(leaf.list_id)
        return number is not None and any(
            self.marks.get(number << 32 | slot) == leaf.mark
            for slot in self.part.people.slots_of(row)
        )

    def ended_by(self, leaves: Mapping[Any, int]) -> dict[str, list[int]]:
        """Leaf bits that a transition of a segment ends, by the segment's id."""
        found: dict[str, list[int]] = {}
        for list_id, followed in self.follows.items():
            if followed:
                marks = (leaves.get(ListLeaf(list_id, mark)) for mark in (ADDED, REMOVED))
                found.setdefault(followed, []).extend(leaf for leaf in marks if leaf is not None)
        return found

    # What changes them.

    def define(self, list_id: str, followed: str, members: Array, at: int) -> None:
        """A list begins, or follows another segment from an instant on: who is in it stays in by
        hand.

        members: rows of those in it until now.
        """
        before = self.follows.get(list_id)
        self.follows[list_id] = followed
        if before is not None and before != followed:
            self.empty(list_id, at)
            self.mark(list_id, members, ADDED, at)

    def retire(self, list_id: str, at: int) -> None:
        """Nobody is in it any more from an instant on."""
        self.empty(list_id, at)
        self.follows.pop(list_id, None)

    def empty(self, list_id: str, at: int) -> None:
        """Takes every mark."""
        number, table = self.numbers.get(list_id), self.marks
        if number is not None:
            mine = (table.keys >> np.uint64(32) == np.uint64(number)) & (table.values > 0)
            self._note(table.keys[mine], table.values[mine], at)
            table.values[mine] = UNMARKED

    def unmark(self, list_id: str, rows: Array, at: int | Array) -> None:
        """Takes every mark of some profiles. at: the instant, or that of each."""
        number, table = self.numbers.get(list_id), self.marks
        if number is None or not rows.size:
            return
        gone, before, place = (np.empty(table.used, np.int64) for _ in range(3))
        n = int(
            _unmark(
                self.part.people.view(), table.keys, table.values, number, rows, gone, before, place
            )
        )
        self._note(gone[:n], before[:n], at if isinstance(at, int) else at[place[:n]])

    def _note(self, keys: Array, before: Array, at: int | Array) -> None:
        """What stood under some keys until an instant."""
        if keys.size:
            times = np.full(keys.size, at, np.int64) if isinstance(at, int) else at
            self.part.former.note_all(MARK, keys.astype(np.int64), before, times)

    def mark(self, list_id: str, rows: Array, mark: int, at: int) -> None:
        """Marks the strongest atom of some profiles, and no other of theirs."""
        self.unmark(list_id, rows, at)
        names = self.part.names
        other = STRENGTH.index("")
        strength = np.array(
            [STRENGTH.index(name) if name in STRENGTH else other for name in names.names], np.int64
        )
        found = np.empty(rows.size, np.int64)
        people = self.part.people
        _strongest(people.view(), people.slot_kind, strength, rows, found)
        self._mark_slots(list_id, found[found >= 0], mark, at)

    def _mark_slots(self, list_id: str, slots: Array, mark: int, at: int) -> None:
        number = self.numbers.setdefault(list_id, len(self.numbers))
        keys = np.uint64(number << 32) | slots.astype(np.uint64)
        self._note(keys, np.full(keys.size, UNMARKED, np.int64), at)
        self.marks.fill(keys, np.full(slots.size, mark, np.int64))

    def transitions(self, places: Array, rows: Array, at: Array) -> None:
        """Segments had transitions at some instants: marks in lists that follow them are over."""
        for list_id, followed in self.follows.items():
            if followed:
                mine = places == self.part.segments[followed].place
                self.unmark(list_id, rows[mine], at[mine])

    def as_of(self, part: Partition, at: int) -> Lists:
        """Marks as they stood at an instant, for a view of the partition; whom lists follow is the
        view's to say."""
        found = Lists(part)
        found.numbers = self.numbers
        keys, before = self.part.former.after(MARK, at)
        table = found.marks = Table(self.marks.keys.size)
        table.keys, table.used = self.marks.keys.copy(), self.marks.used
        table.values = self.marks.values.copy()
        table.fill(keys.astype(np.uint64), before)
        return found

    def came_together(self, source: int, target: int, merge: bool) -> None:
        """A move: a profile that something moves to stands for itself again."""
        people = self.part.people
        self.came.pop(target, None)
        if merge and people.is_here(target) and not people.is_here(source):
            self.came[source] = target
            while len(self.came) > CAME_MAX:
                del self.came[next(iter(self.came))]

    # Pasts that move, and snapshots.

    def with_marks(self, bodies: list[bytes], slots: list[int], at: int) -> list[bytes]:
        """HistoryMoved messages with the marks of their slots, which leave at an instant, in the
        last one: what is appended to a protobuf message is merged into it."""
        words = self.part.words.export(slots)
        more = identity.HistoryMoved(lists=self._export(slots, at), words=words)
        return [*bodies[:-1], bodies[-1] + more.SerializeToString(deterministic=True)]

    def _export(self, slots: list[int], at: int) -> list[identity.ListMarks]:
        """Takes the marks of slots that leave the partition, by list, with their changes so far."""
        found = []
        atoms, table = self.part.people.slot_atom, self.marks
        for list_id, number in sorted(self.numbers.items()):
            marks = identity.ListMarks(list_id=list_id)
            keys = np.array([number << 32 | slot for slot in slots], np.int64)
            places, before, instants = self.part.former.at_places(MARK, keys)
            marks.change_atom.extend(atoms[places & 0xFFFFFFFF].tolist())
            marks.change_before.extend(before.tolist())
            marks.change_time_us.extend(instants.tolist())
            standing = np.array([table.get(key) for key in keys.tolist()], np.int64)
            for slot, mark in zip(slots, standing.tolist(), strict=True):
                if mark > 0:
                    into = marks.added if mark == ADDED else marks.removed
                    into.append(int(atoms[slot]))
            left = keys[standing > 0].astype(np.uint64)
            self._note(left, standing[standing > 0], at)
            table.fill(left, np.full(left.size, UNMARKED, np.int64))
            if marks.added or marks.removed or marks.change_atom:
                found.append(marks)
        return found

    def arrive(self, marks: identity.ListMarks, slots: dict[int, int]) -> None:
        """Marks that came with atoms from another partition; those made here since stand.

        slots: atom -> the slot made for it.
        """
        if marks.list_id not in self.follows:
            return
        number = self.numbers.setdefault(marks.list_id, len(self.numbers))
        for atoms, mark in ((marks.added, ADDED), (marks.removed, REMOVED)):
            for atom in atoms:
                key = number << 32 | slots[atom]
                if self.marks.get(key) <= 0:
                    self.marks.set(key, mark)
        if marks.change_atom:
            keys = np.array([number << 32 | slots[atom] for atom in marks.change_atom], np.int64)
            before = np.array(marks.change_before, np.int64)
            times = np.array(marks.change_time_us, np.int64)
            self.part.former.note_all(MARK, keys, before, times)

    def dump(self) -> dict[str, Array]:
        """Marks in force; what lists there are follows from definitions."""
        kept = self.marks.values > 0
        return {"lists.keys": self.marks.keys[kept], "lists.marks": self.marks.values[kept]}

    def load(
        self, numbers: dict[str, int], came: list[tuple[int, int]], keys: Array, marks: Array
    ) -> None:
        """Takes over a dump into a fresh object."""
        self.numbers = dict(numbers)
        self.came = dict(came)
        self.marks.fill(keys, marks)


class OwnLists(Lists):
    """The marks of a few slots and all that changed them, so that their past is read without a look
    at anybody else's."""

    def __init__(self, lists: Lists, slots: Array) -> None:
        super().__init__(lists.part)
        self.numbers = lists.numbers
        bases = np.array(list(lists.numbers.values()), np.int64) << 32
        keys = (bases[:, None] | slots[None, :]).ravel()
        standing = np.array([lists.marks.get(key) for key in keys.tolist()], np.int64)
        self.marks.fill(keys[standing >= 0].astype(np.uint64), standing[standing >= 0])
        changed, before, at = lists.part.former.at_places(MARK, keys)
        order = np.argsort(at, kind="stable")[::-1]
        self._changed = changed[order].astype(np.uint64)
        self._before, self._at = before[order], at[order]

    def as_of(self, part: Partition, at: int) -> Lists:
        """Marks of these slots as they stood."""
        found = Lists(part)
        found.numbers = self.numbers
        found.marks.fill(
            self.marks.keys[self.marks.values >= 0], self.marks.values[self.marks.values >= 0]
        )
        later = self._at > at
        found.marks.fill(self._changed[later], self._before[later])
        return found

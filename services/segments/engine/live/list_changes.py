"""What people do to lists by hand, as it takes effect in one partition.

A change has its instant, as a rule has: everything before it is walked first, then marks are set,
and the profiles whose marks turned are judged in the group of that instant.
"""

from __future__ import annotations

import hashlib

import numpy as np

from muster.segments.v1 import lists_pb2 as facts
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import ADDED, REMOVED, ListLeaf
from services.segments.engine.live.memberships import MOVE_CAUSE
from services.segments.engine.live.walker import Walker
from services.segments.engine.partition import Partition

LIST_CHANGE = 8
"""Reason, numbered as in muster.types.v1.Reason."""


class ListChanges:
    """Takes ListChanged."""

    def __init__(self, part: Partition, walker: Walker) -> None:
        self.part, self.walker = part, walker

    def take(self, change: facts.ListChanged, at: int) -> bool:
        """False, and nothing has changed, when there is no such list."""
        part, name = self.part, change.list_id
        if name not in part.lists.follows:
            return False
        at = max(at, part.now)
        self.walker.walk(at - 1)
        added = self._rows_of(change.added)
        removed = self._rows_of(change.removed)
        if change.emptied:
            removed = part.members_of(part.segments[name].place)
        removed = np.setdiff1d(removed, added, assume_unique=True)
        digest = hashlib.blake2b(change.request_id.encode(), digest_size=16).digest()
        high, low = (int.from_bytes(digest[i : i + 8], "little") for i in (0, 8))
        if not change.request_id:
            high = low = 0
        cause = MOVE_CAUSE + part.cause_of_move(high, low, LIST_CHANGE)
        if removed.size:
            self._set(name, removed, REMOVED, at, cause)
        if added.size:
            self._set(name, added, ADDED, at, cause)
        return True

    def _set(self, name: str, rows: Array, mark: int, at: int, cause: int) -> None:
        lists = self.part.lists
        if mark == REMOVED and not lists.follows[name]:
            lists.unmark(name, rows, at)
        else:
            lists.mark(name, rows, mark, at)
        for leaf_mark in (ADDED, REMOVED):
            leaf = self.part.leaf_numbers.get(ListLeaf(name, leaf_mark))
            if leaf is not None:
                states = np.full(rows.size, leaf_mark == mark, np.uint8)
                self.walker.carry(at, rows, leaf, states, cause)

    def _rows_of(self, profiles: object) -> Array:
        """Rows of the profiles that live here, each once; what a merge absorbed is its survivor."""
        people = self.part.people
        numbers = np.array(profiles, np.int64)
        came = self.part.lists.came
        if came:
            numbers = np.array([came.get(one, one) for one in numbers.tolist()], np.int64)
        numbers = numbers[numbers % people.partitions == people.partition]
        rows = numbers // people.partitions
        rows = rows[rows < people.rows]
        gone = people.absorbed[rows] != 0
        if gone.any():
            survivors = {people.survivor(people.number_of(row)) for row in rows[gone].tolist()}
            here = [people.row_of(one) for one in survivors if people.is_here(one)]
            rows = np.concatenate((rows[~gone], np.array(here, np.int64)))
        return np.unique(rows)

"""What stood before: the changes in place that a question about the past has to take back.

Events and attribute records are only ever added, with their times; whose they are, what identifiers
are known, who is absorbed, what was said about being written to and who was put into lists changes
in place. Each such change leaves one entry of 25 bytes with its instant and what stood before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.chassis.core import Appended, roomy
from services.segments.engine.base.arrays import Array, grown

OWNER, KIND, ABSORBED, HOME, YES, NO, MARK, MOVED, HIGH, LOW = range(10)
"""Row of a slot; kind of a slot's identifier; survivor of a row; home of a record; times of the
last words by key of their table; what was done by hand by key of the table of lists. Of a row that
a merge or split judged again, as its `before`: the reason, and the two halves of its cause's print.
"""
_COLUMNS = {"what": np.uint8, "place": np.int64, "before": np.int64, "at": np.int64}


class Former:
    """Entries in the order of the log, but for those that came with a past from another partition.

    since_us: the instant from which on nothing of the first six is missing. whole_since_us: the
    same of lists, the catalogue, cuts of scores and versions, which were kept later.
    """

    def __init__(self) -> None:
        self.count = 0
        self.since_us = self.whole_since_us = 0
        self.columns: dict[str, Array] = {k: np.zeros(64, kind) for k, kind in _COLUMNS.items()}

    def note(self, what: int, place: int, before: int, at: int) -> None:
        """A change at an instant; before: the value until then."""
        if self.count == self.columns["at"].size:
            for name, column in self.columns.items():
                self.columns[name] = grown(column, self.count + 1)
        for name, value in (("what", what), ("place", place), ("before", before), ("at", at)):
            self.columns[name][self.count] = value
        self.count += 1

    def note_all(self, what: int, places: Array, before: Array, at: Array) -> None:
        """Many changes, each with its instant, in order."""
        end = self.count + places.size
        for name, column in self.columns.items():
            if end > column.size:
                self.columns[name] = grown(column, end)
        for name, values in (("place", places), ("before", before), ("at", at)):
            self.columns[name][self.count : end] = values
        self.columns["what"][self.count : end] = what
        self.count = end

    def note_move(self, row: int, at: int, reason: int, high: int, low: int) -> None:
        """A profile was judged again because of a merge or split."""
        halves = np.array([high, low], np.uint64).view(np.int64).tolist()
        for what, value in ((MOVED, reason), (HIGH, halves[0]), (LOW, halves[1])):
            self.note(what, row, value, at)

    def after(self, what: int, at: int) -> tuple[Array, Array]:
        """(places, values until then) of changes later than an instant, the newest first: written
        in this order, the oldest is what stood at the instant."""
        columns = {name: column[: self.count] for name, column in self.columns.items()}
        chosen = np.flatnonzero((columns["what"] == what) & (columns["at"] > at))
        if what == MARK:
            chosen = chosen[np.argsort(columns["at"][chosen], kind="stable")]
        chosen = chosen[::-1]
        return columns["place"][chosen], columns["before"][chosen]

    def at_places(self, what: int, places: Array) -> tuple[Array, Array, Array]:
        """(places, values until then, instants) of every change at some places, in order."""
        mine = np.flatnonzero(self.columns["what"][: self.count] == what)
        mine = mine[np.isin(self.columns["place"][mine], places)]
        return (
            self.columns["place"][mine], self.columns["before"][mine], self.columns["at"][mine],
        )  # fmt: skip

    def of(self, what: int, low: int, high: int) -> tuple[Array, Array, Array]:
        """(places, values until then, instants) of changes within (low, high], in order."""
        columns = {name: column[: self.count] for name, column in self.columns.items()}
        at = columns["at"]
        chosen = np.flatnonzero((columns["what"] == what) & (at > low) & (at <= high))
        return columns["place"][chosen], columns["before"][chosen], at[chosen]

    def dump(self) -> dict[str, Array | Appended]:
        found: dict[str, Array | Appended] = {
            f"former.{name}": Appended(column[: self.count])
            for name, column in self.columns.items()
        }
        found["former.since"] = np.array([self.since_us], np.int64)
        found["former.whole_since"] = np.array([self.whole_since_us], np.int64)
        return found

    def load(self, state: Mapping[str, Any], now: int) -> None:
        """Takes over a dump; one that has none of this begins at its instant."""
        whole = state.get("former.whole_since")
        self.whole_since_us = now if whole is None else int(np.frombuffer(whole, np.int64)[0])
        if "former.since" not in state:
            self.since_us = now
            return
        self.since_us = int(np.frombuffer(state["former.since"], np.int64)[0])
        for name, kind in _COLUMNS.items():
            self.columns[name] = roomy(state[f"former.{name}"], kind)
        self.count = np.frombuffer(state["former.at"], np.int64).size

"""What was ever said of the items of a catalogue, and how an item stood at an instant of the past.

Each change is one entry of 44 bytes and its body, a CatalogueItem without its time; what says the
same as the change before it shares that body. An item as it stood is put together when somebody
asks for it, from its own changes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from muster.ingest.v1 import catalogue_pb2 as facts
from services.chassis.core import Appended, roomy
from services.segments.domain.values import TEXT, Scalar
from services.segments.engine.base.arrays import Array, grown
from services.segments.engine.store.catalogue import Catalogue, Item, ItemKey, key_of

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

_COLUMNS = {
    "taken": np.int64, "occur": np.int64, "item": np.int32, "previous": np.int64,
    "start": np.int64, "end": np.int64,
}  # fmt: skip
"""When a change was taken and of which instant it speaks; its item, that item's change before
(-1: none), and where its body lies."""


class CatalogueLog:
    """Changes of items in the order they were taken."""

    def __init__(self) -> None:
        self.count = 0
        self.columns: dict[str, Array] = {k: np.zeros(64, kind) for k, kind in _COLUMNS.items()}
        self.bodies = np.zeros(1024, np.uint8)
        self.used = 0
        self._numbers: dict[ItemKey, int] | None = {}
        """Of items; None after a load, until somebody asks."""
        self._last: list[int] = []
        """The newest change of each item."""

    def note(self, one: facts.CatalogueItem, taken_us: int) -> None:
        """A change that takes effect at an instant."""
        item, previous = self._item(one.item_id)
        start, end = self._body(one, previous)
        if self.count == self.columns["item"].size:
            for name, column in self.columns.items():
                self.columns[name] = grown(column, self.count + 1)
        entry = {
            "taken": taken_us, "occur": one.occur_time.ToMicroseconds(), "item": item,
            "previous": previous, "start": start, "end": end,
        }  # fmt: skip
        for name, value in entry.items():
            self.columns[name][self.count] = value
        self._last[item] = self.count
        self.count += 1

    def _item(self, item_id: str) -> tuple[int, int]:
        """(number of an item, its newest change so far)."""
        numbers = self._numbered()
        number = numbers.setdefault(key_of(Scalar(TEXT, item_id)), len(numbers))
        if number == len(self._last):
            self._last.append(-1)
        return number, self._last[number]

    def _numbered(self) -> dict[ItemKey, int]:
        """Numbers of items, found again after a load: a restart does not wait for them."""
        if self._numbers is None:
            items = self.columns["item"][: self.count]
            last = np.full(int(items.max(initial=-1)) + 1, -1, np.int64)
            np.maximum.at(last, items, np.arange(self.count))
            self._last = last.tolist()
            first = np.flatnonzero(self.columns["previous"][: self.count] < 0).tolist()
            self._numbers = {
                key_of(Scalar(TEXT, self._said(place).item_id)): int(items[place])
                for place in first
            }
        return self._numbers

    def _body(self, one: facts.CatalogueItem, previous: int) -> tuple[int, int]:
        bare = facts.CatalogueItem()
        bare.CopyFrom(one)
        bare.ClearField("occur_time")
        body = np.frombuffer(bare.SerializeToString(deterministic=True), np.uint8)
        if previous >= 0:
            start, end = (int(self.columns[name][previous]) for name in ("start", "end"))
            if np.array_equal(self.bodies[start:end], body):
                return start, end
        start, self.used = self.used, self.used + body.size
        if self.used > self.bodies.size:
            self.bodies = grown(self.bodies, self.used)
        self.bodies[start : self.used] = body
        return start, self.used

    def of(self, key: ItemKey) -> Iterator[int]:
        """Changes of an item, the newest first."""
        number = self._numbered().get(key)
        place = -1 if number is None else self._last[number]
        while place >= 0:
            yield place
            place = int(self.columns["previous"][place])

    def item(self, key: ItemKey, at: int, known: int) -> Item | None:
        """An item by what was taken by `known`; of a time before that, by what speaks of no later
        instant. None when nothing was."""
        said, instants = self.columns["taken"], self.columns["occur"]
        places = [
            place
            for place in self.of(key)
            if said[place] <= known and (at >= known or instants[place] <= at)
        ]
        found: Item | None = None
        for place in reversed(places):
            one = self._said(place)
            found = found or Item(one.item_id)
            found.take(one)
        return found

    def _said(self, place: int) -> facts.CatalogueItem:
        start, end = (int(self.columns[name][place]) for name in ("start", "end"))
        one = facts.CatalogueItem.FromString(self.bodies[start:end].tobytes())
        one.occur_time.FromMicroseconds(int(self.columns["occur"][place]))
        return one

    def dump(self) -> dict[str, Array | bytes | Appended]:
        found: dict[str, Array | bytes | Appended] = {
            f"catalogue.{name}": Appended(column[: self.count])
            for name, column in self.columns.items()
        }
        found["catalogue.bodies"] = Appended(self.bodies[: self.used])
        return found

    def load(self, state: Mapping[str, Any], standing: bytes, now: int) -> None:
        """Takes over a dump; one that has none of this begins with the items that stand."""
        if "catalogue.taken" not in state:
            for one in facts.CatalogueItemsSet.FromString(standing).items:
                self.note(one, now)
            return
        for name, kind in _COLUMNS.items():
            self.columns[name] = roomy(state[f"catalogue.{name}"], kind)
        self.bodies = roomy(state["catalogue.bodies"], np.uint8)
        self.count = np.frombuffer(state["catalogue.item"], np.int32).size
        self.used = np.frombuffer(state["catalogue.bodies"], np.uint8).size
        self._numbers = None


class CatalogueThen(Catalogue):
    """The catalogue as it stood, for a view of a partition; it is never told of changes."""

    def __init__(self, view: Partition, log: CatalogueLog, at: int, known: int) -> None:
        super().__init__(view)
        self.log, self._at, self._known = log, at, known

    def item(self, key: ItemKey) -> Item | None:
        if key not in self.items:
            found = self.log.item(key, self._at, self._known)
            if found is None:
                return None
            self.items[key] = found
        return self.items[key]

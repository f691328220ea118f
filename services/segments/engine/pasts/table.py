"""Past leaves in use: what touches each, when each may turn by time, and what is asked anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import PastLeaf
from services.segments.engine.pasts import attributes_of
from services.segments.engine.pasts.timers import NEVER, Wheel

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition


@dataclass(slots=True)
class Kept:
    """A leaf that is kept up. number: of its bit; streams: whose rows touch it."""

    leaf: PastLeaf
    number: int
    streams: tuple[int, ...]
    names: tuple[int, ...]
    wheel: Wheel = field(default_factory=Wheel)


@dataclass(frozen=True, slots=True)
class Asked:
    """A leaf to judge again for some profiles, at an instant and for a cause."""

    at: int
    number: int
    rows: Array
    cause: int


class PastTable:
    """The past leaves of a partition."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.kept: dict[int, Kept] = {}
        self.by_stream: dict[int, list[Kept]] = {}
        self.by_name: dict[int, list[Kept]] = {}
        self.asked: list[Asked] = []
        self._programs: dict[rule.Selector, tuple[int, Array]] = {}
        self._names = 0

    def program_of(self, selector: rule.Selector) -> tuple[int, Array]:
        """(number of a selection's filter or -1, one byte per name: whether it is such a type)."""
        part = self.part
        if self._names != len(part.names.names):
            self._programs, self._names = {}, len(part.names.names)
        found = self._programs.get(selector)
        if found is None:
            where = selector.where
            number = -1 if where is None else part.filters.number_of(where)
            found = self._programs[selector] = number, part.wanted_types(selector)
        return found

    def keep(self, leaf: PastLeaf, number: int, streams: tuple[int, ...]) -> Kept:
        """A leaf is kept up from now on."""
        names = tuple(self.part.names.number_of(name) for name in attributes_of(leaf.node))
        one = self.kept[number] = Kept(leaf, number, streams, names)
        one.wheel.reserve(self.part.capacity)
        for stream in streams:
            self.by_stream.setdefault(stream, []).append(one)
        for name in names:
            self.by_name.setdefault(name, []).append(one)
        return one

    def drop(self, number: int) -> None:
        """Nobody asks for a leaf any more."""
        one = self.kept.pop(number)
        for table, keys in ((self.by_stream, one.streams), (self.by_name, one.names)):
            for key in keys:
                table[key].remove(one)
                if not table[key]:
                    del table[key]
        self.asked = [asked for asked in self.asked if asked.number != number]

    def ask(self, at: int, number: int, rows: Array, cause: int) -> None:
        """Notes that something that is no event and no attribute happens to profiles at an instant
        nobody has walked past: a leaf is judged again for them."""
        if rows.size:
            self.asked.append(Asked(at, number, np.asarray(rows, np.int64), cause))

    def reserve_profiles(self, rows: int) -> None:
        for one in self.kept.values():
            one.wheel.reserve(rows)

    def next_us(self) -> int:
        """No leaf turns by time before this."""
        return min((one.wheel.first for one in self.kept.values()), default=NEVER)

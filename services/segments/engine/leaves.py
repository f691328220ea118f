"""Leaves in use: each exists once, whatever number of rules look at it."""

from __future__ import annotations

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine import reader, totals
from services.segments.engine.arrays import Array
from services.segments.engine.cursor_table import Cursor, CursorLeaf, key_of
from services.segments.engine.expressions import (
    AttributeLeaf,
    AverageLeaf,
    DayLeaf,
    FigureLeaf,
    KindsLeaf,
    LeafSpec,
    ListLeaf,
    PartLeaf,
    PastLeaf,
    WordLeaf,
)
from services.segments.engine.limits import EngineFull
from services.segments.engine.partition import Partition
from services.segments.engine.parts import in_part, rows_in_part
from services.segments.engine.pasts import selectors_of
from services.segments.engine.pasts.holding import verdicts
from services.segments.engine.streams import Stream

LEAVES_MAX = 1 << 20


class Leaves:
    """Numbers leaves, begins what keeps them up, and ends it when no rule asks any more."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.numbers = part.leaf_numbers
        self.free: list[int] = []
        self.dropped: list[int] = []
        self.holders: dict[LeafSpec, int] = {}
        """How many rules look at a leaf."""
        self.kinds: dict[KindsLeaf, int] = {}
        self.parts: dict[PartLeaf, int] = {}
        self._attribute_view: tuple[Array, Array, Array, Array] | None = None

    def hold(self, wanted: tuple[LeafSpec, ...]) -> None:
        """One more rule looks at these leaves; new ones begin as of now."""
        for spec in wanted:
            if spec not in self.numbers:
                self._begin(spec)
            self.holders[spec] = self.holders.get(spec, 0) + 1

    def release(self, wanted: tuple[LeafSpec, ...], settled: bool) -> None:
        """One rule less looks at these leaves; those nobody looks at end.

        settled: no flip waits for its instant, so numbers of dropped leaves can be given again.
        """
        if settled:
            self.free += self.dropped
            self.dropped = []
        for spec in wanted:
            self.holders[spec] -= 1
            if not self.holders[spec]:
                del self.holders[spec]
                self._drop(spec)
        if wanted:
            self._sweep()

    def _begin(self, spec: LeafSpec) -> None:
        if self.part.leaf_count >= LEAVES_MAX:
            raise EngineFull(f"{LEAVES_MAX} different leaves")
        number = self.free.pop() if self.free else self.part.leaf_count
        self.part.reserve_leaves(number + 1)
        self.numbers[spec] = number
        found: Array
        match spec:
            case FigureLeaf() | AverageLeaf():
                cursor = self._begin_cursor(spec, number)
                found = totals.holding_by(self.part, spec, cursor)
            case AttributeLeaf(attribute, test):
                key = self.part.names.number_of(attribute)
                self.part.attributes.follow([key], self.part.people, self.part.now)
                self._attribute_view = None
                found = reader.attribute_holding(
                    self.part, attribute, self.part.tests.number_of(test)
                )
            case DayLeaf():
                found = self.part.days.add(spec, number, self.part.now)
            case KindsLeaf(kinds):
                self.kinds[spec] = number
                for kind in kinds:
                    self.part.names.number_of(kind)
                found = reader.kinds_holding(self.part, kinds)
            case ListLeaf():
                found = self.part.lists.holding(spec)
            case PartLeaf():
                self.parts[spec] = number
                people = self.part.people
                found = rows_in_part(spec, people.rows, people.partition, people.partitions)
            case WordLeaf():
                found = self.part.words.holding(spec)
            case PastLeaf():
                found = self._begin_past(spec, number)
        self._set_bits(number, found)

    def born(self, rows: Array) -> None:
        """Sets the bits that profiles have from birth: their parts of live splits."""
        people, bits = self.part.people, self.part.bits
        for spec, number in self.parts.items():
            numbers = rows * people.partitions + people.partition
            chosen = rows[in_part(spec, numbers)]
            bits[chosen, number >> 6] |= np.uint64(1 << (number & 63))

    def renew(self, spec: ListLeaf) -> None:
        """Sets a list's bits anew, if it has any, when its marks were changed as a whole."""
        if spec in self.numbers:
            self._set_bits(self.numbers[spec], self.part.lists.holding(spec))

    def _set_bits(self, number: int, found: Array) -> None:
        word, bit = number >> 6, np.uint64(1 << (number & 63))
        self.part.bits[: self.part.people.rows, word] &= ~bit
        self.part.bits[np.flatnonzero(found), word] |= bit

    def _begin_cursor(self, spec: CursorLeaf, number: int) -> Cursor:
        part = self.part
        key = key_of(spec)
        known = part.cursors.by_key.get(key)
        if known is not None:
            part.cursors.cursors[known].leaves[spec] = number
            part.cursors.touched()
            return part.cursors.cursors[known]
        stream = self._stream(spec.events)
        measure, elements = reader.begin_measures(part, part.streams, stream, spec)
        cursor = part.cursors.add(key, stream.number, measure, part.capacity, elements)
        cursor.leaves[spec] = number
        reader.begin_cursor(part, part.streams, part.cursors, cursor)
        return cursor

    def _stream(self, selector: rule.Selector) -> Stream:
        """The stream of a selection, begun when there is none."""
        part = self.part
        place = part.streams.by_selector.get(selector)
        if place is not None:
            return part.streams.streams[place]
        stream = reader.begin_stream(part, part.streams, selector)
        part.rerouted()
        return stream

    def _begin_past(self, spec: PastLeaf, number: int) -> Array:
        """Keeps a leaf from now on; which profiles it holds for."""
        part = self.part
        streams = tuple(self._stream(one).number for one in selectors_of(spec.node))
        kept = part.pasts.keep(spec, number, streams)
        found = np.zeros(part.people.rows, bool)

        def rows_of(selector: rule.Selector) -> Array:
            return reader.stream_rows(part.streams, self._stream(selector))

        for stretch in verdicts(part, spec, rows_of):
            found[stretch.rows] = stretch.holds
            kept.wheel.fill(stretch.rows, stretch.next_us)
        return found

    def _drop(self, spec: LeafSpec) -> None:
        number = self.numbers.pop(spec)
        match spec:
            case FigureLeaf() | AverageLeaf():
                cursor = self.part.cursors.cursors[self.part.cursors.by_key[key_of(spec)]]
                del cursor.leaves[spec]
                self.part.cursors.touched()
            case AttributeLeaf(attribute, _):
                self._unfollow(attribute)
            case DayLeaf(attribute, _):
                self.part.days.drop(spec)
                self._unfollow(attribute)
            case KindsLeaf():
                del self.kinds[spec]
            case PartLeaf():
                del self.parts[spec]
            case PastLeaf():
                self.part.pasts.drop(number)
        self.dropped.append(number)

    def _unfollow(self, attribute: str) -> None:
        """Ends an attribute's standing records when no leaf looks at them."""
        self._attribute_view = None
        asked = (spec for spec in self.numbers if isinstance(spec, AttributeLeaf | DayLeaf))
        if all(spec.attribute != attribute for spec in asked):
            self.part.attributes.unfollow(self.part.names.number_of(attribute))

    def _sweep(self) -> None:
        """Ends cursors, streams and measures that nothing asks any more."""
        cursors, streams = self.part.cursors, self.part.streams
        for cursor in list(cursors.cursors.values()):
            if not cursor.leaves:
                cursors.drop(cursor.number)
        used = {cursor.stream for cursor in cursors.cursors.values()}
        used |= self.part.pasts.by_stream.keys()
        for number in [number for number in streams.streams if number not in used]:
            streams.drop(number)
            self.part.rerouted()
        measured = {cursor.measure for cursor in cursors.cursors.values()}
        measured |= {cursor.elements_measure for cursor in cursors.cursors.values()}
        for number in [number for number in streams.measures if number not in measured]:
            streams.drop_measure(number)

    def attribute_view(self) -> tuple[Array, Array, Array, Array]:
        """(address of the standing records by name, starts, leaves, tests) for `turn`."""
        part = self.part
        by_key: dict[int, list[tuple[int, int]]] = {}
        if self._attribute_view is None or self._attribute_view[0].size != len(part.names.names):
            for spec, number in self.numbers.items():
                if isinstance(spec, AttributeLeaf):
                    key = part.names.number_of(spec.attribute)
                    pair = (number, part.tests.number_of(spec.test))
                    by_key.setdefault(key, []).append(pair)
            size = len(part.names.names)
            pairs = [by_key.get(key, []) for key in range(size)]
            flat = [pair for found in pairs for pair in found]
            self._attribute_view = (
                np.zeros(size, np.int64),
                np.cumsum([0, *map(len, pairs)]).astype(np.int64),
                np.array([leaf for leaf, _ in flat], np.int64),
                np.array([test for _, test in flat], np.int64),
            )
        addresses = self._attribute_view[0]
        for key, current in part.attributes.current.items():
            addresses[key] = current.ctypes.data
        return self._attribute_view

    def attributes_asked(self) -> bool:
        """Whether any leaf looks at an attribute."""
        return bool(self.part.attributes.current)

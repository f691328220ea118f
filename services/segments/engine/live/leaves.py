"""Leaves in use: each exists once, whatever number of rules look at it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.segments.engine.base.arrays import Array
from services.segments.engine.base.limits import EngineFull
from services.segments.engine.language.expressions import (
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
from services.segments.engine.live import beginnings, reader, totals
from services.segments.engine.live.beginnings_pasts import judged
from services.segments.engine.live.cursor_table import key_of
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import selectors_of
from services.segments.engine.store.parts import in_part, rows_in_part

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
        self._beginning: tuple[LeafSpec, Iterator[None]] | None = None
        """The leaf that rests while it begins, if there is one."""
        self._attribute_view: tuple[Array, Array, Array, Array] | None = None

    def hold(self, wanted: tuple[LeafSpec, ...]) -> None:
        """One more rule looks at these leaves; new ones begin as of now."""
        for spec in wanted:
            if not self._stands(spec):
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
                while self._beginning is not None and self._beginning[0] == spec:
                    self._go_on()
                if spec in self.numbers:
                    self._drop(spec)
        if wanted:
            self._sweep()

    def ahead(self, wanted: tuple[LeafSpec, ...], held: list[LeafSpec]) -> Iterator[None]:
        """Looks at leaves for a rule that may come: new ones begin in pieces between which steps
        may run. held: those that it looks at, to be released; complete after the last piece."""
        for spec in wanted:
            while self._beginning is not None and not self._stands(spec):
                yield
                self._go_on()
            held.append(spec)
            self.holders[spec] = self.holders.get(spec, 0) + 1
            if not self._stands(spec):
                mine = self._beginning = spec, self._begun(spec)
                while self._beginning is mine:
                    yield
                    self._go_on()

    def _stands(self, spec: LeafSpec) -> bool:
        """Whether a leaf has begun, and is not resting while it begins."""
        resting = self._beginning is not None and self._beginning[0] == spec
        return spec in self.numbers and not resting

    def _go_on(self) -> None:
        """The next piece of the leaf that rests while it begins."""
        if self._beginning is not None:
            ended = True
            try:
                next(self._beginning[1])
                ended = False
            except StopIteration:
                pass
            finally:
                if ended:
                    self._beginning = None

    def _begin(self, spec: LeafSpec) -> None:
        """A leaf begins at once, after the one that rests while it begins."""
        while self._beginning is not None:
            self._go_on()
        if spec not in self.numbers:
            for _ in self._begun(spec):
                pass

    def _begun(self, spec: LeafSpec) -> Iterator[None]:
        """A leaf begins, in pieces; it has its number and bits after the last."""
        part, people = self.part, self.part.people
        found: Array
        match spec:
            case FigureLeaf() | AverageLeaf():
                cursor = yield from beginnings.cursor(part, spec)
                cursor.leaves[spec] = self._number(spec)
                part.cursors.touched()
                found = totals.holding_by(part, spec, cursor)
            case AttributeLeaf(attribute, test):
                key = part.names.number_of(attribute)
                part.attributes.follow([key], people, part.now)
                found = reader.attribute_holding(part, attribute, part.tests.number_of(test))
                self._attribute_view = None
            case DayLeaf():
                found = part.days.add(spec, self._number(spec), part.now)
            case KindsLeaf(kinds):
                self.kinds[spec] = self._number(spec)
                for kind in kinds:
                    part.names.number_of(kind)
                found = reader.kinds_holding(part, kinds)
            case ListLeaf():
                found = part.lists.holding(spec)
            case PartLeaf():
                self.parts[spec] = self._number(spec)
                found = rows_in_part(spec, people.rows, people.partition, people.partitions)
            case WordLeaf():
                found = part.words.holding(spec)
            case PastLeaf():
                yield from self._begun_past(spec)
                return
        self._set_bits(self._number(spec), found)

    def _begun_past(self, spec: PastLeaf) -> Iterator[None]:
        """A leaf that is judged for whoever something happens to from the piece on in which it has
        its number, for all others piece by piece."""
        for selector in selectors_of(spec.node):
            yield from beginnings.stream(self.part, selector)
        by_selector = self.part.streams.by_selector
        number = self._number(spec)
        self._set_bits(number, np.zeros(0, bool))
        streams = tuple(by_selector[selector] for selector in selectors_of(spec.node))
        yield from judged(self.part, self.part.pasts.keep(spec, number, streams))

    def _number(self, spec: LeafSpec) -> int:
        """The number of a leaf, given when it has none."""
        if spec not in self.numbers:
            if self.part.leaf_count >= LEAVES_MAX:
                raise EngineFull(f"{LEAVES_MAX} different leaves")
            number = self.free.pop() if self.free else self.part.leaf_count
            self.part.reserve_leaves(number + 1)
            self.numbers[spec] = number
        return self.numbers[spec]

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
        """Ends cursors, streams and measures that nothing asks any more, unless a leaf begins over
        them."""
        if self._beginning is not None:
            return
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

"""Events in order of arrival: append-only columns, never moved, never rewritten.

A row's number is its place here. Properties are in long form (`prop_end` holds running ends); texts
are numbers of the engine's dictionary. `previous` chains the rows of a slot, newest first.
Hot kernel.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, bare, grown, prefetch
from services.segments.engine.base.limits import EngineFull, EngineLimits
from services.segments.engine.base.tables import mixed
from services.segments.engine.store.people import People, Slots, slot_of
from services.segments.engine.store.texts import Names, Texts

IMPORT = 1
"""Bit of row_flags: history, which triggers nothing."""
BLOCK_ROWS = 1 << 12
"""Rows whose newest event time is kept as one number."""
PUNCTUAL = 8
"""Bit of row_flags: never late; its occur_time only says where it counts."""

_ROW = {
    "occur": np.int64,
    "accept": np.int64,
    "slot": np.int32,
    "type": np.int32,
    "flags": np.uint8,
    "print_high": np.uint64,
    "print_low": np.uint64,
    "prop_end": np.int64,
    "id_end": np.int64,
    "previous": np.int32,
}
_PROPERTY = {
    "key": np.int32,
    "item": np.uint32,
    "kind": np.uint8,
    "exponent": np.uint8,
    "value": np.int64,
}


class EventRows(NamedTuple):
    """The columns as kernels see them."""

    occur: Array
    accept: Array
    slot: Array
    type: Array
    flags: Array
    print_high: Array
    print_low: Array
    prop_end: Array
    id_end: Array
    previous: Array
    key: Array
    item: Array
    kind: Array
    exponent: Array
    value: Array


SLOT_FAR, SLOT_NEAR = 16, 8
"""Rows between asking for the place of a slot in its table, then for the slot, and needing them."""


@njit(cache=True, nogil=True, inline="always")
def _ahead(slots: Slots, created_us: Array, profiles: Array, atoms: Array, r: int, of: int) -> None:
    """Asks for what rows soon to come look up; `of` partitions."""
    mask = np.uint64(slots.keys.size - 1)
    if r + SLOT_FAR < atoms.size:
        profile = np.uint64(profiles[r + SLOT_FAR])
        place = mixed(np.uint64(atoms[r + SLOT_FAR]) << np.uint64(32) | profile) & mask
        prefetch(slots.keys, place)
        prefetch(slots.values, place)
        prefetch(created_us, min(np.int64(profile) // of, created_us.size - 1))
    if r + SLOT_NEAR < atoms.size:
        profile = np.uint64(profiles[r + SLOT_NEAR])
        place = mixed(np.uint64(atoms[r + SLOT_NEAR]) << np.uint64(32) | profile) & mask
        # Nearly always it is the slot itself that lies there.
        prefetch(slots.event_head, max(slots.values[place], 0))


FAR, NEAR = 32, 16
"""Rows between asking for a row's columns, then for its properties, and needing them."""


@njit(cache=True, nogil=True, inline="always")
def ahead(e: EventRows, rows: Array, i: int, properties: bool) -> None:
    """Rows of one type lie apart: without asking ahead, every column of each is waited for."""
    if i + FAR < rows.size:
        row = rows[i + FAR]
        prefetch(e.occur, row)
        prefetch(e.slot, row)
        prefetch(e.accept, row)
        if properties:
            prefetch(e.prop_end, row)
    if properties and i + NEAR < rows.size:
        q = min(e.prop_end[max(rows[i + NEAR] - 1, 0)], e.key.size - 1)
        prefetch(e.key, q)
        prefetch(e.kind, q)
        prefetch(e.exponent, q)
        prefetch(e.value, q)


# A hot kernel: one loop, so that nothing is called and no reference is counted inside.
@njit(cache=True, nogil=True)
def _append(
    e: EventRows,
    slots: Slots,
    created_us: Array,
    rows: int,
    slot_count: int,
    partition: int,
    partitions: int,
    names: Array,
    texts: Array,
    prints: Array,
    types: Array,
    occur: Array,
    accept: Array,
    flags: Array,
    prop_end: Array,
    prop_key: Array,
    prop_item: Array,
    prop_kind: Array,
    prop_value: Array,
    prop_exponent: Array,
    id_end: Array,
    profiles: Array,
    atoms: Array,
    owners: Array,
) -> tuple[int, int, int]:
    """(rows after, slots after, 0) or the fault: 1 profile elsewhere, 2 unknown profile, 3 pools.

    A fault is found before anything is written for its row; the caller gives the rows up.
    """
    e, slots = bare(e), bare(slots)
    start = np.int64(0)
    base = e.prop_end[rows - 1] if rows > 0 else np.int64(0)
    id_base = e.id_end[rows - 1] if rows > 0 else np.int64(0)
    for r in range(types.size):
        if types[r] >= names.size:
            return rows, slot_count, 3
        if owners.size:
            slot = np.int64(owners[r])
        else:
            _ahead(slots, created_us, profiles, atoms, r, partitions)
            profile = np.int64(profiles[r])
            row = profile // partitions
            if profile % partitions != partition:
                return rows, slot_count, 1
            if row >= created_us.size or created_us[row] == NEVER_US:
                return rows, slot_count, 2
            slot, slot_count = slot_of(slots, atoms[r], profile, row, slot_count)
        n = rows
        end = np.int64(prop_end[r]) if prop_end.size else np.int64(0)
        if end < start or end > prop_key.size:
            return rows, slot_count, 3
        for p in range(start, end):
            q = base + p
            kind = prop_kind[p]
            if prop_key[p] >= names.size or (
                kind == 1 and (prop_value[p] < 0 or prop_value[p] >= texts.size)
            ):
                return rows, slot_count, 3
            e.key[q] = names[prop_key[p]]
            e.item[q] = prop_item[p] if prop_item.size else np.uint32(0)
            e.kind[q] = kind
            e.exponent[q] = prop_exponent[p] if prop_exponent.size else np.uint8(0)
            e.value[q] = texts[prop_value[p]] if kind == 1 else prop_value[p]
        start = end
        e.prop_end[n] = base + end
        e.id_end[n] = id_base + (np.int64(id_end[r]) if id_end.size else np.int64(0))
        e.occur[n] = occur[r]
        e.accept[n] = accept[r]
        e.slot[n] = slot
        e.type[n] = names[types[r]]
        e.flags[n] = flags[r] if flags.size else np.uint8(0)
        e.print_high[n] = prints[2 * r] if prints.size else np.uint64(0)
        e.print_low[n] = prints[2 * r + 1] if prints.size else np.uint64(0)
        e.previous[n] = slots.event_head[slot]
        slots.event_head[slot] = n
        rows += 1
    return rows, slot_count, 0


NEVER_US = np.iinfo(np.int64).max
_FAULTS = {
    1: "a row of a profile that lives in another partition",
    2: "a row of a profile that was never created",
    3: "a column that points outside its pool",
}


_NO_OWNERS = np.zeros(0, np.int32)


class BrokenInput(Exception):
    """Input that contradicts the contract: what identity publishes is wrong, or the engine is."""


class Events:
    """The event log of one partition, in memory."""

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.count = 0
        self.properties = 0
        self.row_room = self.property_room = 256
        self.columns: dict[str, Array] = {
            name: np.zeros(256, dtype) for name, dtype in (_ROW | _PROPERTY).items()
        }
        self.ids = np.zeros(4096, np.uint8)
        self.types: list[int] = []
        """Numbers of the names of event types in the order in which the log brought them: numbers
        alone tell who asked about which name first, and that is not to be seen in what is said."""
        self._types = np.zeros(0, np.int64)
        self._met = np.zeros(16, np.uint8)
        self.as_accepted = True
        """Whether times of acceptance are those of the log; a view of what was known then has
        others."""
        self._newest: list[int] = []
        """By block of rows that is full: the highest event time up to its end."""
        self._view: EventRows | None = None

    def first(self, low: int) -> int:
        """A row before which every event is older than an instant."""
        occur = self.columns["occur"]
        for block in range(len(self._newest), self.count // BLOCK_ROWS):
            newest = int(occur[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS].max())
            self._newest.append(max([newest, *self._newest[-1:]]))
        return min(bisect_left(self._newest, low) * BLOCK_ROWS, self.count)

    @property
    def view(self) -> EventRows:
        if self._view is None:
            self._view = EventRows(**self.columns)
        return self._view

    def forget_view(self) -> None:
        """Columns were replaced."""
        self._view = None
        self.row_room = min(self.columns[name].size for name in _ROW)
        self.property_room = min(self.columns[name].size for name in _PROPERTY)

    def _reserve(self, rows: int, properties: int, id_bytes: int) -> None:
        if self.count + rows > min(self.limits.events_max, np.iinfo(np.int32).max):
            raise EngineFull(f"events_max = {self.limits.events_max} events")
        used = int(self.columns["id_end"][self.count - 1]) if self.count else 0
        self.ids = grown(self.ids, used + id_bytes)
        if self.count + rows > self.row_room:
            for name in _ROW:
                self.columns[name] = grown(self.columns[name], self.count + rows)
            self._view = None
            self.row_room = min(self.columns[name].size for name in _ROW)
        if self.properties + properties > self.property_room:
            for name in _PROPERTY:
                self.columns[name] = grown(self.columns[name], self.properties + properties)
            self._view = None
            self.property_room = min(self.columns[name].size for name in _PROPERTY)

    def append(
        self, cols: dict[str, Any], people: People, names: Names, texts: Texts,
        owners: Array = _NO_OWNERS,
    ) -> range:  # fmt: skip
        """Takes the rows of decoded EventColumns; the numbers of the new rows.

        owners: the slot of each row, when it is not that of its atom under its profile.
        """
        rows = cols["type"].size
        _check_lengths(cols, rows)
        people.reserve_slots(rows)
        self._reserve(rows, cols["prop_key"].size, cols["event_id"].size)
        first = self.count
        used = int(self.columns["id_end"][first - 1]) if first else 0
        named = names.intern(cols["name"], cols["name_end"])
        count, slots, fault = _append(
            self.view, people.view(), people.created_us, self.count, people.slots,
            people.partition, people.partitions, named,
            texts.intern(cols["text"], cols["text_end"]), cols["event_print"], cols["type"],
            cols["occur_time_us"], cols["accept_time_us"], cols["row_flags"], cols["prop_end"],
            cols["prop_key"], cols["prop_item"], cols["prop_kind"], cols["prop_value"],
            cols["prop_exponent"], cols["event_id_end"], cols["profile"], cols["atom"],
            owners,
        )  # fmt: skip
        if fault:
            raise BrokenInput(_FAULTS[fault])
        people.took_slots(slots)
        self.ids[used : used + cols["event_id"].size] = cols["event_id"]
        self.count = count
        self.properties += cols["prop_key"].size
        self._meet(named, cols["type"])
        return range(first, count)

    def _meet(self, named: Array, types: Array) -> None:
        """Takes down types that no event had before, in the order of their message's names."""
        self._met = grown(self._met, int(named.max(initial=0)) + 1)
        new = types[self._met[named[types]] == 0]
        if new.size:
            self.meet(list(dict.fromkeys(named[np.unique(new)].tolist())))

    def meet(self, types: list[int]) -> None:
        """The log has brought these types, in this order."""
        self._met = grown(self._met, max(types, default=0) + 1)
        self._met[types] = 1
        self.types += types

    @property
    def types_in_order(self) -> Array:
        """`types` as a column."""
        if self._types.size != len(self.types):
            self._types = np.array(self.types, np.int64)
        return self._types

    def id_of(self, row: int) -> str:
        """The event id as given."""
        ends = self.columns["id_end"]
        start = int(ends[row - 1]) if row else 0
        return self.ids[start : int(ends[row])].tobytes().decode("utf-8", "replace")

    def properties_of(self, row: int) -> range:
        ends = self.columns["prop_end"]
        return range(int(ends[row - 1]) if row else 0, int(ends[row]))


def _check_lengths(cols: dict[str, Any], rows: int) -> None:
    """Every column is empty or as long as its rows; the kernel reads without asking again."""
    for name in ("occur_time_us", "accept_time_us", "profile", "atom"):
        if cols[name].size != rows:
            raise BrokenInput(f"column {name} has {cols[name].size} values for {rows} rows")
    for name, wanted in (
        ("row_flags", rows), ("prop_end", rows), ("event_id_end", rows), ("event_print", 2 * rows)
    ):  # fmt: skip
        if cols[name].size not in (0, wanted):
            raise BrokenInput(f"column {name} has {cols[name].size} values for {rows} rows")
    properties = cols["prop_key"].size
    for name, optional in (
        ("prop_kind", False), ("prop_value", False), ("prop_item", True), ("prop_exponent", True)
    ):  # fmt: skip
        size = cols[name].size
        if size != properties and not (optional and size == 0):
            raise BrokenInput(f"column {name} has {size} values for {properties} properties")
    ends = cols["event_id_end"]
    if (int(ends[-1]) if ends.size else 0) != cols["event_id"].size:
        raise BrokenInput("event ids do not fit their ends")
    last = int(cols["prop_end"][-1]) if cols["prop_end"].size else 0
    if last != properties:
        raise BrokenInput("properties do not fit their ends")

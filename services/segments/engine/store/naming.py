"""Which events name an item: an index for each property of events that a rule joins by.

It is made when an item first changes under such a rule and taken further at each change, so events
cost nothing. It answers too many rather than too few: whoever is found is judged from the events.
Hot kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from services.segments.domain.values import DECIMAL, TEXT
from services.segments.engine.base.arrays import Array, Number, grown
from services.segments.engine.base.tables import Table, find, mixed, put
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

LARGE = np.uint64(1) << np.uint64(62)
NUMERIC = np.uint64(1) << np.uint64(61)


@njit(cache=True, nogil=True)
def _print(
    kind: Number, value: Number, decimals: Number, units: Array, exponents: Array, canonical: Array
) -> Number:
    """What equal names of items have in common as one word; some others may have it too."""
    if kind == TEXT:
        text = value
        if exponents[text] == NOT_NUMERIC:
            return np.uint64(canonical[text])
        if exponents[text] == BIG_NUMERIC:
            return LARGE
        value, decimals = units[text], exponents[text]
    decimals = np.int64(decimals)
    while decimals > 0 and value % 10 == 0:
        value //= 10
        decimals -= 1
    return NUMERIC | mixed(np.uint64(value) * np.uint64(32) + np.uint64(decimals)) >> np.uint64(3)


@njit(cache=True, nogil=True)
def _count(e: EventRows, key: int, first: int, last: int) -> Number:
    n = 0
    for row in range(first, last):
        start = e.prop_end[row - 1] if row > 0 else np.int64(0)
        for q in range(start, e.prop_end[row]):
            n += e.key[q] == key
    return n


@njit(cache=True, nogil=True)
def _extend(
    e: EventRows, key: int, first: int, last: int, units: Array, exponents: Array,
    canonical: Array, keys: Array, values: Array, rows: Array, previous: Array, n: int,
) -> tuple[Number, Number]:  # fmt: skip
    """Enters the events of [first, last); (entries after, names that are new)."""
    fresh = 0
    for row in range(first, last):
        start = e.prop_end[row - 1] if row > 0 else np.int64(0)
        for q in range(start, e.prop_end[row]):
            if e.key[q] != key or e.kind[q] > DECIMAL:
                continue
            name = _print(
                np.int64(e.kind[q]), np.int64(e.value[q]), np.int64(e.exponent[q]), units,
                exponents, canonical,
            )  # fmt: skip
            rows[n] = row
            previous[n] = find(keys, values, name)
            fresh += put(keys, values, name, n)
            n += 1
    return n, fresh


@njit(cache=True, nogil=True)
def _named(
    keys: Array, values: Array, names: Array, rows: Array, previous: Array, out: Array
) -> Number:
    """Events that name one of some items; how many there are."""
    n = 0
    for i in range(names.size):
        entry = find(keys, values, names[i])
        while entry >= 0:
            if n < out.size:
                out[n] = rows[entry]
            n += 1
            entry = previous[entry]
    return n


class Naming:
    """Events by the item that one of their properties names."""

    def __init__(self, part: Partition, name: str) -> None:
        self.part, self.key = part, part.names.number_of(name)
        self.read = 0
        """Events entered so far."""
        self.entries = 0
        self.heads = Table()
        self.rows = np.zeros(64, np.int64)
        self.previous = np.zeros(64, np.int64)

    def catch_up(self) -> None:
        """Enters the events that came since."""
        part, last = self.part, self.part.events.count
        more = int(_count(part.events.view, self.key, self.read, last))
        self.rows = grown(self.rows, self.entries + more)
        self.previous = grown(self.previous, self.entries + more)
        self.heads.reserve(more)
        texts = part.texts
        entries, fresh = _extend(
            part.events.view, self.key, self.read, last, texts.units, texts.exponents,
            texts.canonical, self.heads.keys, self.heads.values, self.rows, self.previous,
            self.entries,
        )  # fmt: skip
        self.entries, self.read = int(entries), last
        self.heads.used += int(fresh)

    def events(self, names: Array) -> Array:
        """Rows of events that name one of some items. names: as `_print` makes them."""
        out = np.empty(1024, np.int64)
        while True:
            n = int(
                _named(
                    self.heads.keys, self.heads.values, names, self.rows, self.previous, out
                )
            )  # fmt: skip
            if n <= out.size:
                return out[:n]
            out = np.empty(n, np.int64)


def prints_of(part: Partition, item_ids: Sequence[str]) -> Array:
    """What events that name these items have in common with them, one word each."""
    texts = part.texts
    numbers = [texts.number_of(item_id) for item_id in item_ids]
    of = (texts.units, texts.exponents, texts.canonical)
    return np.array([_print(TEXT, number, 0, *of) for number in numbers], np.uint64)

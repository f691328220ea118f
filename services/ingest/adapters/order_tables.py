"""Packed tables of orders: everything said of them, append-only, and the way to it by key.

What was said never changes, so a snapshot writes only what has come since the one before; slots and
heads are made again from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.chassis.core import Appended, roomy
from services.ingest.adapters.borrowed import borrowed
from services.ingest.adapters.column_kernel import hashed
from services.ingest.adapters.rows import PADDING
from services.ingest.domain.orders import LINES_MAX, SAID_MAX

U = np.uint64

# Columns of `Tables.said`, a line per event about an order.
ORDER = 0
BEFORE = 1
"""The event that was said of the same order before it, or -1."""
META = 2
"""Bits: step (3), flags (5), how many were said with it (8), currency + 1 (32), differences told
of the order after it (16)."""
AT_US = 3
PLACED_US = 4
"""0 where it does not say when the order was placed."""
TOTAL = 5
"""Whole and part in two columns."""
LINES_END = 7
SAID_WIDTH = 8

STEP_BITS = 7
HAS_TOTAL = 8
HAS_LINES = 16
PLACES_IT = 32
NTH_SHIFT = 8
CURRENCY_SHIFT = 16
TOLD_SHIFT = 48

LINE_WIDTH = 3
"""Columns of `Tables.lines`: word of the product, whole and part of the quantity."""
TOLD_PER_ROW_MAX = 64
"""Differences of one event: two at most, cut where their lines are many."""

ORDERS, SAID, LINES, WHO, WORDS = range(5)
"""Places of the sizes."""

# Places of what an order counts for, or of a change of it; value: whole and part.
COUNT_PLACED = 0
COUNT_ORDERS = 1
COUNT_VALUE = 2
COUNT_CURRENCY = 4
COUNT_STATE = 5
COUNT_LINES = 6
COUNT_WIDTH = 7
_PREFIX = "orders."
_MIN = 1 << 10


class Tables(NamedTuple):
    """Room for orders. slots, word_slots: int32, powers of two, -1 where empty.

    keys (o, 2) uint64, who_end and head int64: per order; who: identifiers as an event has them on
    the wire. said (s, SAID_WIDTH), lines (l, LINE_WIDTH): int64. words: products and currencies,
    each once. back (w, 2) int64: zeroes. The rest is room for one event at a time.
    """

    slots: np.ndarray
    keys: np.ndarray
    who_end: np.ndarray
    head: np.ndarray
    who: np.ndarray
    said: np.ndarray
    lines: np.ndarray
    word_slots: np.ndarray
    words: np.ndarray
    word_end: np.ndarray
    back: np.ndarray
    places: np.ndarray
    chain: np.ndarray
    counts: np.ndarray
    folded: np.ndarray


@njit(nogil=True, cache=True)
def lent(t: Any) -> Any:
    """The tables without owners, for the length of a call."""
    return Tables(
        borrowed(t.slots),
        borrowed(t.keys),
        borrowed(t.who_end),
        borrowed(t.head),
        borrowed(t.who),
        borrowed(t.said),
        borrowed(t.lines),
        borrowed(t.word_slots),
        borrowed(t.words),
        borrowed(t.word_end),
        borrowed(t.back),
        borrowed(t.places),
        borrowed(t.chain),
        borrowed(t.counts),
        borrowed(t.folded),
    )


@njit(nogil=True, cache=True)
def slot_of(slots: Any, keys: Any, first: Any, second: Any) -> Any:
    """The slot of an order's key, or the empty one where it belongs. slots: a power of two."""
    mask = U(slots.size - 1)
    slot = first & mask
    while slots[slot] >= 0:
        order = slots[slot]
        if keys[order, 0] == first and keys[order, 1] == second:
            break
        slot = (slot + U(1)) & mask
    return slot


@njit(nogil=True, cache=True)
def spread(keys: Any, slots: Any) -> None:
    """Fills empty slots (all -1, at most half full afterwards) with the orders of `keys`."""
    keys = borrowed(keys)
    slots = borrowed(slots)
    for order in range(keys.shape[0]):
        slots[slot_of(slots, keys, keys[order, 0], keys[order, 1])] = order


@njit(nogil=True, cache=True)
def spread_words(words: Any, ends: Any, slots: Any, seed: Any) -> None:
    """The same for words, each of which stands in them once."""
    words = borrowed(words)
    ends = borrowed(ends)
    slots = borrowed(slots)
    mask = U(slots.size - 1)
    start = np.int64(0)
    for word in range(ends.size):
        slot = hashed(words, start, ends[word], seed) & mask
        while slots[slot] >= 0:
            slot = (slot + U(1)) & mask
        slots[slot] = word
        start = ends[word]


@njit(nogil=True, cache=True)
def heads(said: Any, head: Any) -> None:
    """head: of each order what was said of it last."""
    for one in range(said.shape[0]):
        head[said[one, ORDER]] = one


def empty() -> tuple[Tables, np.ndarray]:
    """No orders yet: (tables, sizes)."""
    tables = Tables(
        slots=np.full(2 * _MIN, -1, np.int32),
        keys=np.empty((_MIN, 2), np.uint64),
        who_end=np.empty(_MIN, np.int64),
        head=np.empty(_MIN, np.int64),
        who=np.empty(_MIN, np.uint8),
        said=np.empty((_MIN, SAID_WIDTH), np.int64),
        lines=np.empty((_MIN, LINE_WIDTH), np.int64),
        word_slots=np.full(2 * _MIN, -1, np.int32),
        words=np.empty(_MIN, np.uint8),
        word_end=np.empty(_MIN, np.int64),
        back=np.zeros((_MIN, 2), np.int64),
        places=np.empty((LINES_MAX, LINE_WIDTH + 1), np.int64),
        chain=np.empty(SAID_MAX, np.int64),
        counts=np.empty((3, COUNT_WIDTH), np.int64),
        folded=np.empty((3, 2 * LINES_MAX, LINE_WIDTH), np.int64),
    )
    return tables, np.zeros(5, np.int64)


def with_room(
    t: Tables,
    sizes: np.ndarray,
    events: int,
    who_bytes: int,
    properties: int,
    text_bytes: int,
    seed: Any,
) -> Tables:
    """Tables that can take so many more; those that are large enough stay as they are."""
    orders, said, lines, who, words = sizes.tolist()
    word_bytes = int(t.word_end[words - 1]) if words else 0
    t = t._replace(
        keys=_grown(t.keys, orders, events),
        who_end=_grown(t.who_end, orders, events),
        head=_grown(t.head, orders, events),
        who=_grown(t.who, who, who_bytes),
        said=_grown(t.said, said, events),
        lines=_grown(t.lines, lines, properties),
        words=_grown(t.words, word_bytes, text_bytes + len(PADDING)),
        word_end=_grown(t.word_end, words, properties),
    )
    if len(t.back) < len(t.word_end):
        t = t._replace(back=np.zeros((len(t.word_end), 2), np.int64))
    if 2 * (orders + events) > len(t.slots):
        t = t._replace(slots=_slots(orders + events))
        spread(t.keys[:orders], t.slots)
    if 2 * (words + properties) > len(t.word_slots):
        t = t._replace(word_slots=_slots(words + properties))
        spread_words(t.words, t.word_end[:words], t.word_slots, seed)
    return t


def dump(t: Tables, sizes: np.ndarray) -> dict[str, np.ndarray | Appended]:
    """Named buffers; what was said lies in columns that only grow."""
    orders, said, lines, who, words = sizes.tolist()
    word_bytes = int(t.word_end[words - 1]) if words else 0
    grown = {
        "keys": t.keys[:orders],
        "who_end": t.who_end[:orders],
        "who": t.who[:who],
        "said": t.said[:said],
        "lines": t.lines[:lines],
        "words": t.words[:word_bytes],
        "word_end": t.word_end[:words],
    }
    buffers: dict[str, np.ndarray | Appended] = {f"{_PREFIX}sizes": sizes.copy()}
    for name, array in grown.items():
        buffers[_PREFIX + name] = Appended(array)
    return buffers


def loaded(state: Mapping[str, memoryview], seed: Any) -> tuple[Tables, np.ndarray]:
    """Takes over what `dump` gave; other buffers are none of it."""
    t, sizes = empty()
    if f"{_PREFIX}sizes" not in state:
        return t, sizes
    sizes = np.frombuffer(state[f"{_PREFIX}sizes"], np.int64).copy()
    shapes = {"keys": (-1, 2), "said": (-1, SAID_WIDTH), "lines": (-1, LINE_WIDTH)}
    found = {}
    for name in ("keys", "who_end", "who", "said", "lines", "words", "word_end"):
        column = roomy(state[_PREFIX + name], getattr(t, name).dtype)
        width = shapes.get(name, (-1, 1))[1]
        column = column[: len(column) // width * width]
        found[name] = column.reshape(shapes.get(name, (-1,)))
    orders, said, _, _, words = sizes.tolist()
    t = t._replace(
        **found,
        head=np.empty(max(orders, _MIN), np.int64),
        slots=_slots(orders),
        word_slots=_slots(words),
    )
    heads(t.said[:said], t.head)
    spread(t.keys[:orders], t.slots)
    spread_words(t.words, t.word_end[:words], t.word_slots, seed)
    return t, sizes


def is_ours(name: str) -> bool:
    """Whether a buffer of a snapshot is one of these tables."""
    return name.startswith(_PREFIX)


def _slots(entries: int) -> np.ndarray:
    return np.full(max(2 * _MIN, 1 << (2 * entries).bit_length()), -1, np.int32)


def _grown(array: np.ndarray, used: int, more: int) -> np.ndarray:
    """The same lines in an array with room for `more`."""
    if used + more <= len(array):
        return array
    room = np.empty((max(used + more, used * 3 // 2), *array.shape[1:]), array.dtype)
    room[:used] = array[:used]
    return room

"""Names and texts as dense numbers: a batch's pools become the engine's, without Python objects.

Each distinct text exists once. Number 0 is the empty text, which means missing. A text carries the
number of its NFC form (what equality compares) and, when it is numeric, its exact decimal.
Hot kernels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

from services.segments.domain.values import DIGITS_MAX, normal_text, number_of_text
from services.segments.engine.base.arrays import Array, Number, bare, grown, prefetch
from services.segments.engine.base.tables import Table, mixed, put

NOT_NUMERIC = 255
TOGETHER = 16
"""Texts whose places are asked for before they are needed."""
BIG_NUMERIC = 254
"""Numeric, but not units × 10^-exponent with int64 units and at most 18 decimals."""
AHEAD = 12
"""Texts between asking for what a text is compared with and needing it."""
LONG_POOL = 64
"""Names of a pool from which on equal ones are found by a kernel."""


@njit(cache=True, nogil=True)
def _hashed(pool: Array, start: int, end: int) -> Number:
    """A 64-bit hash of bytes; equal hashes are compared byte by byte."""
    word = np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(end - start)
    i = start
    while i + 8 <= end:
        part = np.uint64(0)
        for j in range(8):
            part |= np.uint64(pool[i + j]) << np.uint64(8 * j)
        word = mixed(word ^ part) * np.uint64(0x9FB21C651E98DF25)
        i += 8
    part = np.uint64(0)
    for j in range(end - i):
        part |= np.uint64(pool[i + j]) << np.uint64(8 * j)
    return mixed(word ^ part)


@njit(cache=True, nogil=True)
def _decimal_of(pool: Array, start: int, end: int) -> tuple[Number, Number]:
    """(units, exponent) of plain numeric text, exponent NOT_NUMERIC or BIG_NUMERIC otherwise.

    Text with an e is left to Python (BIG_NUMERIC): it is rare.
    """
    i = start
    negative = False
    if end - start > DIGITS_MAX:
        return np.int64(0), NOT_NUMERIC
    if i < end and (pool[i] == 43 or pool[i] == 45):
        negative = pool[i] == 45
        i += 1
    units = np.int64(0)
    digits = 0
    exponent = -1
    big = False
    while i < end:
        byte = pool[i]
        if 48 <= byte <= 57:
            if units > 922337203685477579:
                big = True
            else:
                units = units * 10 + np.int64(byte - 48)
            digits += 1
            if exponent >= 0:
                exponent += 1
        elif byte == 46 and exponent < 0 and digits > 0:
            exponent = 0
        elif (byte == 69 or byte == 101) and digits > 0 and exponent != 0:
            return np.int64(0), BIG_NUMERIC
        else:
            return np.int64(0), NOT_NUMERIC
        i += 1
    if digits == 0 or exponent == 0:
        return np.int64(0), NOT_NUMERIC
    if big or exponent > 18:
        return np.int64(0), BIG_NUMERIC
    return (-units if negative else units), max(exponent, 0)


# A hot kernel: every text of every event goes through this one loop.
@njit(cache=True, nogil=True)
def _intern(
    pool: Array,
    ends: Array,
    keys: Array,
    values: Array,
    heap: Array,
    heap_end: Array,
    units: Array,
    exponents: Array,
    canonical: Array,
    count: int,
    numbers: Array,
    strange: Array,
) -> tuple[int, int]:
    """Numbers of the pool's texts, adding new ones; (count after, strange ones).

    strange: new numbers that Python looks at (not ASCII, or BIG_NUMERIC).
    """
    pool, keys, values, heap, heap_end = (
        bare(pool), bare(keys), bare(values), bare(heap), bare(heap_end)
    )  # fmt: skip
    odd = 0
    start = np.int64(0)
    mask = np.uint64(keys.size - 1)
    hashes = np.empty(ends.size, np.uint64)
    for t in range(ends.size):
        end = np.int64(ends[t])
        hashes[t] = _hashed(pool, start, end)
        prefetch(values, mixed(hashes[t]) & mask)
        prefetch(keys, mixed(hashes[t]) & mask)
        start = end
    start = np.int64(0)
    for t in range(ends.size):
        end = np.int64(ends[t])
        length = end - start
        if t + AHEAD < ends.size:
            # Nearly always it is the text itself that lies there.
            prefetch(heap_end, max(values[mixed(hashes[t + AHEAD]) & mask] - 1, 0))
        if t + AHEAD // 2 < ends.size:
            near = values[mixed(hashes[t + AHEAD // 2]) & mask]
            prefetch(heap, heap_end[near - 1] if near > 0 else np.int64(0))
        key = hashes[t]
        place = mixed(key) & mask
        found = np.int64(-1)
        while values[place] != -1:
            if keys[place] == key:
                candidate = values[place]
                begin = heap_end[candidate - 1] if candidate > 0 else np.int64(0)
                if heap_end[candidate] - begin == length:
                    same = True
                    for j in range(length):
                        if heap[begin + j] != pool[start + j]:
                            same = False
                            break
                    if same:
                        found = candidate
                        break
            place = (place + np.uint64(1)) & mask
        if found < 0:
            found = np.int64(count)
            keys[place] = key
            values[place] = found
            base = heap_end[count - 1] if count > 0 else np.int64(0)
            ascii_only = True
            for j in range(length):
                heap[base + j] = pool[start + j]
                if pool[start + j] >= 128:
                    ascii_only = False
            heap_end[count] = base + length
            canonical[count] = count
            units[count], exponents[count] = _decimal_of(pool, start, end)
            if not ascii_only or exponents[count] == BIG_NUMERIC:
                strange[odd] = count
                odd += 1
            count += 1
        numbers[t] = found
        start = end
    return count, odd


@njit(cache=True, nogil=True)
def _lay_out(heap: Array, heap_end: Array, count: int, keys: Array, values: Array) -> None:
    """Fills an empty table of texts, all different."""
    heap, heap_end, keys, values = bare(heap), bare(heap_end), bare(keys), bare(values)
    mask = np.uint64(keys.size - 1)
    hashes = np.empty(TOGETHER, np.uint64)
    for first in range(0, count, TOGETHER):
        last = min(first + TOGETHER, count)
        for number in range(first, last):
            start = heap_end[number - 1] if number > 0 else np.int64(0)
            key = np.uint64(_hashed(heap, start, heap_end[number]))
            hashes[number - first] = key
            place = np.int64(mixed(key) & mask)
            prefetch(keys, place)
            prefetch(values, place)
        for number in range(first, last):
            key = hashes[number - first]
            place = mixed(key) & mask
            while values[place] != -1:
                place = (place + np.uint64(1)) & mask
            keys[place] = key
            values[place] = number


class Texts:
    """Texts by number."""

    def __init__(self) -> None:
        self.table = Table()
        self.heap = np.zeros(4096, np.uint8)
        self.heap_end = np.zeros(256, np.int64)
        self.units = np.zeros(256, np.int64)
        self.exponents = np.zeros(256, np.uint8)
        self.canonical = np.zeros(256, np.int64)
        self.count = 0
        self.intern(np.zeros(0, np.uint8), np.zeros(1, np.uint32))

    def intern(self, pool: Array, ends: Array) -> Array:
        """int64 numbers of a pool's texts (bytes end to end, running ends)."""
        count = ends.size
        if count == 0:
            return np.zeros(0, np.int64)
        if int(ends[-1]) > pool.size or (count > 1 and bool((ends[1:] < ends[:-1]).any())):
            raise ValueError("a text pool whose ends do not fit its bytes")
        self._reserve(count, int(ends[-1]))
        numbers = np.empty(count, np.int64)
        strange = np.empty(count, np.int64)
        before = self.count
        self.count, odd = _intern(
            pool, ends, self.table.keys, self.table.values, self.heap, self.heap_end, self.units,
            self.exponents, self.canonical, self.count, numbers, strange,
        )  # fmt: skip
        self.table.used += self.count - before
        for number in strange[:odd].tolist():
            self._look_at(number)
        return numbers

    def number_of(self, text: str) -> int:
        """The number of one text, adding it when new."""
        raw = np.frombuffer(text.encode(), np.uint8)
        return int(self.intern(raw, np.array([raw.size], np.uint32))[0])

    def text_of(self, number: int) -> str:
        start = int(self.heap_end[number - 1]) if number else 0
        return self.heap[start : int(self.heap_end[number])].tobytes().decode()

    def raw_of(self, numbers: Iterable[int]) -> list[bytes]:
        """UTF-8 of several texts."""
        ends = self.heap_end
        return [self.heap[int(ends[n - 1]) if n else 0 : int(ends[n])].tobytes() for n in numbers]

    def _look_at(self, number: int) -> None:
        """What kernels leave to Python: NFC forms, and numbers with an exponent."""
        text = self.text_of(number)
        self.canonical[number] = number
        normal = normal_text(text)
        if normal != text:
            self.canonical[number] = self.number_of(normal)
        if self.exponents[number] == BIG_NUMERIC:
            exact = number_of_text(text)
            if exact is None:
                self.exponents[number] = NOT_NUMERIC
                return
            for exponent in range(19):
                units = exact * 10**exponent
                if units.denominator == 1:
                    if -(1 << 63) < units.numerator < 1 << 63:
                        self.units[number] = units.numerator
                        self.exponents[number] = exponent
                    return

    def _reserve(self, more: int, more_bytes: int) -> None:
        self.table.reserve(more)
        wanted = self.count + more
        used = int(self.heap_end[self.count - 1]) if self.count else 0
        self.heap = grown(self.heap, used + more_bytes)
        self.heap_end = grown(self.heap_end, wanted)
        self.units = grown(self.units, wanted)
        self.exponents = grown(self.exponents, wanted)
        self.canonical = grown(self.canonical, wanted)

    def dump(self) -> dict[str, Array]:
        """The texts in order and what they mean; all of it only grows."""
        return {
            "texts_heap": self.heap[: int(self.heap_end[self.count - 1])],
            "texts_end": self.heap_end[: self.count],
            "texts_units": self.units[: self.count],
            "texts_exponents": self.exponents[: self.count],
            "texts_canonical": self.canonical[: self.count],
        }

    def load(self, heap: Array, ends: Array) -> None:
        """Takes over texts without what they mean (from an older dump) into a fresh object."""
        self.__init__()  # type: ignore[misc]
        numbers = self.intern(heap, ends)
        if not bool((numbers == np.arange(ends.size)).all()):
            raise ValueError("a dump of texts that are not distinct")

    def take_over(
        self, count: int, heap: Array, ends: Array, units: Array, exponents: Array, canonical: Array
    ) -> None:
        """Takes over a dump's arrays, with the room behind them, into a fresh object."""
        self.count, self.heap, self.heap_end = count, heap, ends
        self.units, self.exponents, self.canonical = units, exponents, canonical
        self.table = Table()
        self.table.reserve(count)
        self.table.used = count
        _lay_out(heap, ends, count, self.table.keys, self.table.values)


class Names:
    """Names of event types, properties, attributes and identifier kinds as dense numbers."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.names: list[str] = []
        self._met: Texts | None = None
        """Names of long pools, in which most are the same, and below their numbers; -1: none."""
        self._met_numbers = np.zeros(0, np.int64)

    def number_of(self, name: str) -> int:
        return self._number(name.encode())

    def _number(self, raw: bytes) -> int:
        number = self.numbers.get(raw)
        if number is None:
            number = self.numbers[raw] = len(self.names)
            self.names.append(raw.decode())
        return number

    def intern(self, pool: Array, ends: Array) -> Array:
        """int64 numbers of a pool's names."""
        if ends.size > LONG_POOL:
            return self._intern_alike(pool, ends)
        raw = pool.tobytes()
        numbers = np.empty(ends.size, np.int64)
        start = 0
        for i, end in enumerate(ends.tolist()):
            numbers[i] = self._number(raw[start:end])
            start = end
        return numbers

    def _intern_alike(self, pool: Array, ends: Array) -> Array:
        """A pool that names the same again and again costs no Python per name."""
        met = self._met = self._met or Texts()
        texts = met.intern(pool, ends)
        self._met_numbers = grown(self._met_numbers, met.count, -1)
        found, first = np.unique(texts, return_index=True)
        for text in found[np.argsort(first)].tolist():
            if self._met_numbers[text] < 0:
                (raw,) = met.raw_of([text])
                self._met_numbers[text] = self._number(raw)
        return np.asarray(self._met_numbers[texts])


@njit(cache=True, nogil=True)
def put_memo(keys: Array, values: Array, pairs: Array, answers: Array) -> Number:
    """Puts answers (0, 1) under keys; how many were new."""
    new = 0
    for i in range(pairs.size):
        new += put(keys, values, pairs[i], answers[i])
    return new

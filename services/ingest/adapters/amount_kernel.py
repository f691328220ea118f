"""Exact amounts as two whole numbers each, and which properties speak of an order.

An amount is (whole, part): whole + part × 10^-18 with 0 <= part < 10^18: -1.5 is (-2, 5 × 10^17).
Sums of as many as one order can hold stay far inside int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.chassis.prints import print_slice, word_at
from services.ingest.adapters import rows as at_
from services.ingest.adapters.borrowed import borrowed
from services.ingest.adapters.column_kernel import number_of
from services.ingest.adapters.rows import left_of
from services.ingest.domain import orders as limits

U = np.uint64

_KEY_START = at_.KEY_START
_KEY_END = at_.KEY_END
_KIND = at_.KIND
_VALUE = at_.VALUE
_EXPONENT = at_.EXPONENT
_TEXT_START = at_.TEXT_START
_TEXT_END = at_.TEXT_END
_TEXT = at_.TEXT
_WHOLE = at_.WHOLE
_DECIMAL = at_.DECIMAL
_TIME = at_.TIME
_PROPERTIES_END = at_.PROPERTIES_END

PLACES = limits.FRACTION_DIGITS_MAX
BASE = 10**PLACES
_WHOLE_DIGITS_MAX = limits.WHOLE_DIGITS_MAX
_ORDER_ID_MAX = limits.ORDER_ID_MAX
_CURRENCY_MAX = limits.CURRENCY_MAX
_PRODUCT_MAX = limits.PRODUCT_MAX
_WHOLE_END = 10**_WHOLE_DIGITS_MAX
_TENS = np.array([10**n for n in range(PLACES + 1)], np.int64)

OTHER = 0
ORDER_ID = 1
TOTAL = 2
CURRENCY = 3
PLACED = 4
PRODUCT = 5
QUANTITY = 6
"""What a property says of an order."""

NOTHING = 0
SAID = 1
LOOK = 2
DIGITS = 3
"""Of a value: says nothing that counts; read; only Python can tell; a number that is meant as the
text of its digits."""

# Columns of the table that `read` fills, a line per property.
CLASS = 0
STATE = 1
AMOUNT = 2
"""Whole and part in two columns. Of a placed time the microseconds; of an order's id and the words
of orders the slice of the text; `number_words` makes it the number of the word."""
READ_WIDTH = 4


def _word(text: bytes) -> int:
    return int.from_bytes(text[:8].ljust(8, b"\0"), "little")


_ORDER_ID = _word(b"order_id")
_TOTAL = _word(b"total")
_CURRENCY = _word(b"currency")
_PLACED_HEAD, _PLACED_TAIL = _word(b"placed_time"), _word(b"placed_time"[-8:])
_PRODUCT_HEAD, _PRODUCT_TAIL = _word(b"lines.product_id"), _word(b"lines.product_id"[-8:])
_QUANTITY_HEAD, _QUANTITY_TAIL = _word(b"lines.quantity"), _word(b"lines.quantity"[-8:])


@njit(nogil=True, cache=True)
def _class_of(data: Any, start: Any, end: Any) -> Any:
    """What a property of this key says of an order; told by the length and two words."""
    size = end - start
    found = OTHER
    if size == 5:
        if word_at(data, start) & left_of(size) == U(_TOTAL):
            found = TOTAL
    elif size >= 8 and size <= 16:
        head = word_at(data, start)
        tail = word_at(data, end - 8)
        if size == 8 and head == U(_ORDER_ID):
            found = ORDER_ID
        elif size == 8 and head == U(_CURRENCY):
            found = CURRENCY
        elif size == 11 and head == U(_PLACED_HEAD) and tail == U(_PLACED_TAIL):
            found = PLACED
        elif size == 16 and head == U(_PRODUCT_HEAD) and tail == U(_PRODUCT_TAIL):
            found = PRODUCT
        elif size == 14 and head == U(_QUANTITY_HEAD) and tail == U(_QUANTITY_TAIL):
            found = QUANTITY
    return found


@njit(nogil=True, cache=True)
def added(whole: Any, part: Any, more_whole: Any, more_part: Any) -> Any:
    """The sum of two amounts."""
    whole += more_whole
    part += more_part
    if part >= BASE:
        whole += 1
        part -= BASE
    return whole, part


@njit(nogil=True, cache=True)
def less(whole: Any, part: Any, other_whole: Any, other_part: Any) -> Any:
    """The first amount less the second."""
    whole -= other_whole
    part -= other_part
    if part < 0:
        whole -= 1
        part += BASE
    return whole, part


@njit(nogil=True, cache=True)
def has_amount(places: Any, at: Any) -> Any:
    """Whether the amount in two places is not 0."""
    return places[at] != 0 or places[at + 1] != 0


@njit(nogil=True, cache=True)
def _of_units(units: Any, exponent: Any) -> Any:
    """(state, whole, part) of units × 10^-exponent; exponent: 0 to 18."""
    scale = _TENS[exponent]
    whole = units // scale
    part = (units - whole * scale) * _TENS[PLACES - exponent]
    inside = whole < _WHOLE_END and (whole > -_WHOLE_END or (whole == -_WHOLE_END and part > 0))
    if not inside:
        return NOTHING, np.int64(0), np.int64(0)
    return SAID, whole, part


@njit(nogil=True, cache=True)
def _of_text(data: Any, start: Any, end: Any) -> Any:
    """(state, whole, part) of digits with at most a sign and a point; LOOK for any other text."""
    at = start
    negative = False
    if at < end and (data[at] == 43 or data[at] == 45):
        negative = data[at] == 45
        at += 1
    whole = np.int64(0)
    part = np.int64(0)
    places = 0
    digits = 0
    whole_digits = 0
    point = False
    beyond = False
    while at < end:
        byte = np.int64(data[at])
        at += 1
        if byte == 46 and not point:
            point = True
            continue
        if byte < 48 or byte > 57:
            return LOOK, np.int64(0), np.int64(0)
        digits += 1
        if point and places < PLACES:
            part = part * 10 + (byte - 48)
            places += 1
        elif point:
            beyond |= byte != 48
        elif whole_digits < _WHOLE_DIGITS_MAX:
            whole = whole * 10 + (byte - 48)
            whole_digits += 1 if whole > 0 else 0
        else:
            beyond = True
    if digits == 0:
        return LOOK, np.int64(0), np.int64(0)
    if beyond:
        return NOTHING, np.int64(0), np.int64(0)
    part *= _TENS[PLACES - places]
    if negative:
        whole, part = less(np.int64(0), np.int64(0), whole, part)
    return SAID, whole, part


@njit(nogil=True, cache=True)
def letters_until(data: Any, start: Any, end: Any, letters: Any) -> Any:
    """The place after the first so many letters of UTF-8."""
    at = start
    while at < end:
        if data[at] & 0xC0 != 0x80:
            if letters == 0:
                break
            letters -= 1
        at += 1
    return at


@njit(nogil=True, cache=True)
def _spoken(data: Any, properties: Any, p: Any, which: Any) -> Any:
    """(state, start, end) of an order's id, a currency or a product."""
    kind = properties[p, _KIND]
    start = properties[p, _TEXT_START]
    end = properties[p, _TEXT_END]
    state = NOTHING
    if kind == _TEXT and end > start:
        if which == PRODUCT:
            state = SAID
            end = letters_until(data, start, end, _PRODUCT_MAX)
        else:
            most = _ORDER_ID_MAX if which == ORDER_ID else _CURRENCY_MAX
            state = SAID if letters_until(data, start, end, most) == end else NOTHING
    elif which == PRODUCT or (which == ORDER_ID and kind == _WHOLE):
        state = DIGITS
    return state, start, end


@njit(nogil=True, cache=True)
def name_orders(
    data: Any,
    events: Any,
    read: Any,
    picked: Any,
    low: Any,
    high: Any,
    names: Any,
    keys: Any,
) -> None:
    """The order that each picked row names: names (n, 2, int64), the slice of its id, empty without
    one; keys (n, 2, uint64): its print under (low, high)."""
    data = borrowed(data)
    events = borrowed(events)
    read = borrowed(read)
    for k in range(picked.size):
        row = picked[k]
        names[k, 0] = names[k, 1] = 0
        for p in range(
            events[row - 1, _PROPERTIES_END] if row > 0 else 0, events[row, _PROPERTIES_END]
        ):
            if read[p, CLASS] == ORDER_ID:
                if read[p, STATE] == SAID:
                    names[k, 0] = read[p, AMOUNT]
                    names[k, 1] = read[p, AMOUNT + 1]
                    keys[k, 0], keys[k, 1] = print_slice(low, high, data, names[k, 0], names[k, 1])
                break


@njit(nogil=True, cache=True)
def number_words(
    data: Any,
    events: Any,
    read: Any,
    picked: Any,
    seed: Any,
    slots: Any,
    words: Any,
    ends: Any,
    count: Any,
) -> Any:
    """Puts the number of the word in place of its slice, new words behind the others.

    slots, words, ends, count: as `column_kernel.number_of` has its pool. Returns the new count.
    """
    data = borrowed(data)
    events = borrowed(events)
    read = borrowed(read)
    slots = borrowed(slots)
    words = borrowed(words)
    ends = borrowed(ends)
    for k in range(picked.size):
        row = picked[k]
        for p in range(
            events[row - 1, _PROPERTIES_END] if row > 0 else 0, events[row, _PROPERTIES_END]
        ):
            which = read[p, CLASS]
            if which in (CURRENCY, PRODUCT) and read[p, STATE] == SAID:
                word = number_of(
                    data, read[p, AMOUNT], read[p, AMOUNT + 1], seed, slots, words, ends, count
                )
                count += word == count
                read[p, AMOUNT] = word
    return count


@njit(nogil=True, cache=True)
def read(data: Any, events: Any, properties: Any, picked: Any, table: Any, looks: Any) -> Any:
    """A hot kernel: what the properties of the picked rows (int64) say of orders.

    Fills the lines of `table` (p, READ_WIDTH, int64) that belong to those rows; others are not
    touched. looks (p, int64): properties in LOOK and DIGITS. Returns how many those are.
    """
    data = borrowed(data)
    events = borrowed(events)
    properties = borrowed(properties)
    table = borrowed(table)
    found = 0
    for k in range(picked.size):
        row = picked[k]
        first = events[row - 1, _PROPERTIES_END] if row > 0 else 0
        for p in range(first, events[row, _PROPERTIES_END]):
            which = _class_of(data, properties[p, _KEY_START], properties[p, _KEY_END])
            kind = properties[p, _KIND]
            state = NOTHING
            whole = np.int64(0)
            part = np.int64(0)
            if which in (TOTAL, QUANTITY):
                if kind == _WHOLE:
                    state, whole, part = _of_units(properties[p, _VALUE], np.int64(0))
                elif kind == _DECIMAL:
                    state, whole, part = _of_units(properties[p, _VALUE], properties[p, _EXPONENT])
                elif kind == _TEXT:
                    state, whole, part = _of_text(
                        data, properties[p, _TEXT_START], properties[p, _TEXT_END]
                    )
            elif which == PLACED:
                if kind == _TIME:
                    state = SAID
                    whole = properties[p, _VALUE]
                elif kind == _TEXT:
                    state = LOOK
            elif which != OTHER:
                state, whole, part = _spoken(data, properties, p, which)
            table[p, CLASS] = which
            table[p, STATE] = state
            table[p, AMOUNT] = whole
            table[p, AMOUNT + 1] = part
            if state in (LOOK, DIGITS):
                looks[found] = p
                found += 1
    return found

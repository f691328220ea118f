"""EventBatch bytes to rows in one pass over the wire; no Python object per event.

upb accepts every body before it comes here, and a test holds this walk against upb. It still never
reads outside [start, end) of a body, whatever the bytes are. Fields are told by their whole tag
(number and wire type); anything else is unknown and skipped, as protobuf asks.

The readers are inlined and report a fault as a place beyond the end, which the caller compares
once; together with `borrowed` that is ten times as fast as functions that return early.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.chassis.prints import word_at
from services.ingest.adapters import rows as at_
from services.ingest.adapters.borrowed import borrowed

U = np.uint64

# Protobuf tags: number << 3 | wire type (0 varint, 1 eight bytes, 2 length, 5 four bytes).
TAG_BATCH_EVENT = 10
TAG_EVENT_ID = 10
TAG_EVENT_TYPE = 18
TAG_EVENT_OCCUR = 25
TAG_EVENT_IDENTIFIER = 34
TAG_EVENT_PROPERTY = 42
TAG_EVENT_SEND = 121
TAG_IDENTIFIER_KIND = 10
TAG_IDENTIFIER_VALUE = 18
TAG_PROPERTY_KEY = 10
TAG_PROPERTY_ITEM = 16
TAG_PROPERTY_TEXT = 26
TAG_PROPERTY_WHOLE = 32
TAG_PROPERTY_DECIMAL = 42
TAG_PROPERTY_FLAG = 48
TAG_PROPERTY_TIME = 57
TAG_PROPERTY_NUMBER = 65
TAG_DECIMAL_UNITS = 8
TAG_DECIMAL_EXPONENT = 16

DONE = 0
MALFORMED = 1
FULL = 2
"""A table is too small: call again with larger ones."""

_BEYOND = 1 << 60
"""A place no body reaches."""
_INT32 = 0xFFFFFFFF

# Module constants are frozen into the kernels.
_ID_START = at_.ID_START
_ID_END = at_.ID_END
_TYPE_START = at_.TYPE_START
_TYPE_END = at_.TYPE_END
_OCCUR_US = at_.OCCUR_US
_SEND_US = at_.SEND_US
_IDENTIFIERS_END = at_.IDENTIFIERS_END
_PROPERTIES_END = at_.PROPERTIES_END
_EVENT_START = at_.EVENT_START
_EVENT_END = at_.EVENT_END
_MESSAGE = at_.MESSAGE
_KIND_START = at_.KIND_START
_KIND_END = at_.KIND_END
_VALUE_START = at_.VALUE_START
_VALUE_END = at_.VALUE_END
_KEY_START = at_.KEY_START
_KEY_END = at_.KEY_END
_ITEM = at_.ITEM
_KIND = at_.KIND
_VALUE = at_.VALUE
_EXPONENT = at_.EXPONENT
_TEXT_START = at_.TEXT_START
_TEXT_END = at_.TEXT_END
_TEXT = at_.TEXT
_WHOLE = at_.WHOLE
_DECIMAL = at_.DECIMAL
_FLAG = at_.FLAG
_TIME = at_.TIME
_NUMBER = at_.NUMBER


@njit(nogil=True, cache=True, inline="always")
def _varint(data: Any, at: Any, end: Any) -> Any:
    """(value, place after it); the place is beyond the end when it runs out or never stops."""
    value = U(0)
    shift = U(0)
    while True:
        byte = data[at] if at < end else np.uint8(0)
        at += 1
        value |= U(byte & 127) << shift
        if byte < 128:
            return value, at
        shift += U(7)
        if shift > U(63):
            return value, np.int64(_BEYOND)


@njit(nogil=True, cache=True, inline="always")
def _after(at: Any, size: Any, end: Any) -> Any:
    """The place `size` (uint64) bytes on, or beyond the end."""
    return at + np.int64(size) if at <= end and size <= U(end - at) else np.int64(_BEYOND)


@njit(nogil=True, cache=True, inline="always")
def _eight(data: Any, at: Any, end: Any) -> Any:
    """The eight bytes at a place as int64; 0 when they are not there."""
    return np.int64(word_at(data, at)) if at + 8 <= end else np.int64(0)


@njit(nogil=True, cache=True, inline="always")
def _unzigzag(value: Any) -> Any:
    return np.int64(value >> U(1)) ^ -np.int64(value & U(1))


@njit(nogil=True, cache=True)
def _skipped(data: Any, at: Any, end: Any, tag: Any) -> Any:
    """The place after an unknown field whose tag was read; beyond the end when malformed."""
    depth = 0
    while at <= end:
        wire = tag & U(7)
        if tag < U(8):
            at = np.int64(_BEYOND)
        elif wire == U(0):
            _, at = _varint(data, at, end)
        elif wire == U(1):
            at += 8
        elif wire == U(2):
            size, at = _varint(data, at, end)
            at = _after(at, size, end)
        elif wire == U(3):
            depth += 1
        elif wire == U(4) and depth > 0:
            depth -= 1
        elif wire == U(5):
            at += 4
        else:
            at = np.int64(_BEYOND)
        if depth == 0:
            break
        tag, at = _varint(data, at, end)
    return at


@njit(nogil=True, cache=True, inline="always")
def _read_identifier(data: Any, at: Any, end: Any, table: Any, row: Any) -> Any:
    """Fills a line; returns the place reached: `end`, or beyond it."""
    for column in range(table.shape[1]):
        table[row, column] = 0
    while at < end:
        tag, at = _varint(data, at, end)
        if tag == U(TAG_IDENTIFIER_KIND):
            size, start = _varint(data, at, end)
            at = _after(start, size, end)
            table[row, _KIND_START] = start
            table[row, _KIND_END] = at
        elif tag == U(TAG_IDENTIFIER_VALUE):
            size, start = _varint(data, at, end)
            at = _after(start, size, end)
            table[row, _VALUE_START] = start
            table[row, _VALUE_END] = at
        else:
            at = _skipped(data, at, end, tag)
    return at


@njit(nogil=True, cache=True, inline="always")
def _read_decimal(data: Any, at: Any, end: Any, table: Any, row: Any) -> Any:
    """Merges into what an earlier decimal of the same property said, as protobuf does."""
    if table[row, _KIND] != _DECIMAL:
        table[row, _VALUE] = 0
        table[row, _EXPONENT] = 0
    table[row, _KIND] = _DECIMAL
    while at < end:
        tag, at = _varint(data, at, end)
        if tag == U(TAG_DECIMAL_UNITS):
            value, at = _varint(data, at, end)
            table[row, _VALUE] = _unzigzag(value)
        elif tag == U(TAG_DECIMAL_EXPONENT):
            value, at = _varint(data, at, end)
            table[row, _EXPONENT] = np.int64(value & U(_INT32))
        else:
            at = _skipped(data, at, end, tag)
    return at


@njit(nogil=True, cache=True, inline="always")
def _read_property(data: Any, at: Any, end: Any, table: Any, row: Any) -> Any:
    """Fills a line; returns the place reached: `end`, or beyond it."""
    for column in range(table.shape[1]):
        table[row, column] = 0
    while at < end:
        tag, at = _varint(data, at, end)
        if tag == U(TAG_PROPERTY_KEY):
            size, start = _varint(data, at, end)
            at = _after(start, size, end)
            table[row, _KEY_START] = start
            table[row, _KEY_END] = at
        elif tag == U(TAG_PROPERTY_TEXT):
            size, start = _varint(data, at, end)
            at = _after(start, size, end)
            table[row, _KIND] = _TEXT
            table[row, _TEXT_START] = start
            table[row, _TEXT_END] = at
        elif tag == U(TAG_PROPERTY_WHOLE):
            value, at = _varint(data, at, end)
            table[row, _KIND] = _WHOLE
            table[row, _VALUE] = _unzigzag(value)
        elif tag == U(TAG_PROPERTY_DECIMAL):
            size, start = _varint(data, at, end)
            at = _after(start, size, end)
            if at <= end:
                reached = _read_decimal(data, start, at, table, row)
                at = at if reached == at else np.int64(_BEYOND)
        elif tag == U(TAG_PROPERTY_FLAG):
            value, at = _varint(data, at, end)
            table[row, _KIND] = _FLAG
            table[row, _VALUE] = 1 if value != U(0) else 0
        elif tag == U(TAG_PROPERTY_TIME):
            table[row, _KIND] = _TIME
            table[row, _VALUE] = _eight(data, at, end)
            at += 8
        elif tag == U(TAG_PROPERTY_NUMBER):
            table[row, _KIND] = _NUMBER
            table[row, _VALUE] = _eight(data, at, end)
            at += 8
        elif tag == U(TAG_PROPERTY_ITEM):
            value, at = _varint(data, at, end)
            table[row, _ITEM] = np.int64(value & U(_INT32))
        else:
            at = _skipped(data, at, end, tag)
    # The last value of the oneof stands; what an earlier one left behind is not part of it.
    if table[row, _KIND] != _DECIMAL:
        table[row, _EXPONENT] = 0
    if table[row, _KIND] != _TEXT:
        table[row, _TEXT_START] = 0
        table[row, _TEXT_END] = 0
    else:
        table[row, _VALUE] = 0
    return at


@njit(nogil=True, cache=True)
def walk(
    data: Any,
    starts: Any,
    ends: Any,
    events: Any,
    identifiers: Any,
    properties: Any,
    counts: Any,
) -> Any:
    """A hot kernel: fills the tables of `Rows` from bodies, data[starts[m]:ends[m]] (int64 each).

    counts (3 int64): lines used of events, identifiers, properties. Returns DONE, MALFORMED (upb
    would not have accepted it) or FULL (nothing may be read; call again with larger tables).
    """
    data = borrowed(data)
    starts = borrowed(starts)
    ends = borrowed(ends)
    events = borrowed(events)
    identifiers = borrowed(identifiers)
    properties = borrowed(properties)
    row = 0
    identifier = 0
    item = 0
    status = DONE
    for message in range(starts.size):
        at = starts[message]
        end = ends[message]
        while at < end and status == DONE:
            tag, at = _varint(data, at, end)
            if tag != U(TAG_BATCH_EVENT):
                at = _skipped(data, at, end, tag)
                continue
            size, start = _varint(data, at, end)
            at = _after(start, size, end)
            if at > end:
                break
            if row == events.shape[0]:
                status = FULL
                break
            for column in range(events.shape[1]):
                events[row, column] = 0
            place = start
            while place < at:
                tag, place = _varint(data, place, at)
                if tag == U(TAG_EVENT_PROPERTY):
                    if item == properties.shape[0]:
                        status = FULL
                        break
                    size, inner = _varint(data, place, at)
                    place = _after(inner, size, at)
                    if place <= at:
                        reached = _read_property(data, inner, place, properties, item)
                        place = place if reached == place else np.int64(_BEYOND)
                        item += 1
                elif tag == U(TAG_EVENT_IDENTIFIER):
                    if identifier == identifiers.shape[0]:
                        status = FULL
                        break
                    size, inner = _varint(data, place, at)
                    place = _after(inner, size, at)
                    if place <= at:
                        reached = _read_identifier(data, inner, place, identifiers, identifier)
                        place = place if reached == place else np.int64(_BEYOND)
                        identifier += 1
                elif tag == U(TAG_EVENT_ID):
                    size, inner = _varint(data, place, at)
                    place = _after(inner, size, at)
                    events[row, _ID_START] = inner
                    events[row, _ID_END] = place
                elif tag == U(TAG_EVENT_TYPE):
                    size, inner = _varint(data, place, at)
                    place = _after(inner, size, at)
                    events[row, _TYPE_START] = inner
                    events[row, _TYPE_END] = place
                elif tag == U(TAG_EVENT_OCCUR):
                    events[row, _OCCUR_US] = _eight(data, place, at)
                    place += 8
                elif tag == U(TAG_EVENT_SEND):
                    events[row, _SEND_US] = _eight(data, place, at)
                    place += 8
                else:
                    place = _skipped(data, place, at, tag)
            if place > at:
                status = MALFORMED
                break
            events[row, _EVENT_START] = start
            events[row, _EVENT_END] = at
            events[row, _MESSAGE] = message
            events[row, _IDENTIFIERS_END] = identifier
            events[row, _PROPERTIES_END] = item
            row += 1
        if at > end:
            status = MALFORMED
        if status != DONE:
            break
    counts[0] = row
    counts[1] = identifier
    counts[2] = item
    return status

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

_VARINT = 0
_EIGHT = 1
_LENGTH = 2
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
def _unzigzag(value: Any) -> Any:
    return np.int64(value >> U(1)) ^ -np.int64(value & U(1))


@njit(nogil=True, cache=True)
def _after_rare(data: Any, at: Any, end: Any, tag: Any) -> Any:
    """The place after an unknown field of a fixed width or a group, whose tag was read.

    Beyond the end when it is malformed.
    """
    depth = 0
    while at <= end:
        wire = tag & U(7)
        if tag < U(8):
            at = np.int64(_BEYOND)
        elif wire == U(_VARINT):
            _, at = _varint(data, at, end)
        elif wire == U(_EIGHT):
            at += 8
        elif wire == U(_LENGTH):
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
def _field(data: Any, at: Any, end: Any) -> Any:
    """One field: (tag, value, start, place after it).

    value (uint64): of a varint or of eight bytes. start: where a length-delimited field begins; it
    ends at the place after it. A malformed field ends beyond the end.
    """
    tag, at = _varint(data, at, end)
    wire = tag & U(7)
    value = U(0)
    start = at
    if wire == U(_LENGTH) or wire == U(_VARINT):
        value, start = _varint(data, at, end)
        at = start if wire == U(_VARINT) else _after(start, value, end)
        at = at if tag >= U(8) else np.int64(_BEYOND)
    elif wire == U(_EIGHT) and tag >= U(8) and at + 8 <= end:
        value = word_at(data, at)
        at += 8
    else:
        at = _after_rare(data, at, end, tag)
    return tag, value, start, at


@njit(nogil=True, cache=True, inline="always")
def _read_identifier(data: Any, at: Any, end: Any, table: Any, row: Any) -> Any:
    """Fills a line; returns the place reached: `end`, or beyond it."""
    for column in range(table.shape[1]):
        table[row, column] = 0
    while at < end:
        tag, _, start, at = _field(data, at, end)
        if tag == U(TAG_IDENTIFIER_KIND):
            table[row, _KIND_START] = start
            table[row, _KIND_END] = at
        elif tag == U(TAG_IDENTIFIER_VALUE):
            table[row, _VALUE_START] = start
            table[row, _VALUE_END] = at
    return at


@njit(nogil=True, cache=True, inline="always")
def _read_decimal(data: Any, at: Any, end: Any, table: Any, row: Any) -> Any:
    """Merges into what an earlier decimal of the same property said, as protobuf does."""
    if table[row, _KIND] != _DECIMAL:
        table[row, _VALUE] = 0
        table[row, _EXPONENT] = 0
    table[row, _KIND] = _DECIMAL
    while at < end:
        tag, value, _, at = _field(data, at, end)
        if tag == U(TAG_DECIMAL_UNITS):
            table[row, _VALUE] = _unzigzag(value)
        elif tag == U(TAG_DECIMAL_EXPONENT):
            table[row, _EXPONENT] = np.int64(value & U(_INT32))
    return at


@njit(nogil=True, cache=True, inline="always")
def _read_property(data: Any, at: Any, end: Any, table: Any, row: Any) -> Any:
    """Fills a line; returns the place reached: `end`, or beyond it."""
    for column in range(table.shape[1]):
        table[row, column] = 0
    while at < end:
        tag, value, start, at = _field(data, at, end)
        if tag == U(TAG_PROPERTY_KEY):
            table[row, _KEY_START] = start
            table[row, _KEY_END] = at
        elif tag == U(TAG_PROPERTY_TEXT):
            table[row, _KIND] = _TEXT
            table[row, _TEXT_START] = start
            table[row, _TEXT_END] = at
        elif tag == U(TAG_PROPERTY_WHOLE):
            table[row, _KIND] = _WHOLE
            table[row, _VALUE] = _unzigzag(value)
        elif tag == U(TAG_PROPERTY_DECIMAL) and at <= end:
            reached = _read_decimal(data, start, at, table, row)
            at = at if reached == at else np.int64(_BEYOND)
        elif tag == U(TAG_PROPERTY_FLAG):
            table[row, _KIND] = _FLAG
            table[row, _VALUE] = 1 if value != U(0) else 0
        elif tag == U(TAG_PROPERTY_TIME):
            table[row, _KIND] = _TIME
            table[row, _VALUE] = np.int64(value)
        elif tag == U(TAG_PROPERTY_NUMBER):
            table[row, _KIND] = _NUMBER
            table[row, _VALUE] = np.int64(value)
        elif tag == U(TAG_PROPERTY_ITEM):
            table[row, _ITEM] = np.int64(value & U(_INT32))
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
            tag, _, start, at = _field(data, at, end)
            if tag != U(TAG_BATCH_EVENT) or at > end:
                continue
            if row == events.shape[0]:
                status = FULL
                break
            for column in range(events.shape[1]):
                events[row, column] = 0
            place = start
            while place < at:
                tag, value, inner, place = _field(data, place, at)
                if tag == U(TAG_EVENT_PROPERTY) and place <= at:
                    if item == properties.shape[0]:
                        status = FULL
                        break
                    reached = _read_property(data, inner, place, properties, item)
                    place = place if reached == place else np.int64(_BEYOND)
                    item += 1
                elif tag == U(TAG_EVENT_IDENTIFIER) and place <= at:
                    if identifier == identifiers.shape[0]:
                        status = FULL
                        break
                    reached = _read_identifier(data, inner, place, identifiers, identifier)
                    place = place if reached == place else np.int64(_BEYOND)
                    identifier += 1
                elif tag == U(TAG_EVENT_ID):
                    events[row, _ID_START] = inner
                    events[row, _ID_END] = place
                elif tag == U(TAG_EVENT_TYPE):
                    events[row, _TYPE_START] = inner
                    events[row, _TYPE_END] = place
                elif tag == U(TAG_EVENT_OCCUR):
                    events[row, _OCCUR_US] = np.int64(value)
                elif tag == U(TAG_EVENT_SEND):
                    events[row, _SEND_US] = np.int64(value)
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

"""Writes differences of orders as events on the wire, byte by byte, inside a kernel.

The fields are those of muster.types.v1.Event, in the order in which protobuf writes them; the walk
of `wire_kernel` and upb read them back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.ingest.adapters import amount_kernel as amount
from services.ingest.adapters import order_tables as of_
from services.ingest.adapters import wire_kernel as wire
from services.ingest.adapters.column_kernel import copied
from services.ingest.domain import orders as limits
from services.ingest.domain.faults import EVENT_BYTES_MAX
from services.ingest.domain.orders import Step
from services.ingest.domain.registry import DERIVED_TYPE

U = np.uint64

ROW_BYTES_MAX = 1 << 20
"""More than all differences of one event take, with 200 lines of the longest products."""
_LINES_MAX = limits.LINES_MAX
_LINE_BYTES_MAX = limits.LINE_BYTES_MAX
_INT64_MAX = 2**63 - 1
_FRAME_BYTES = 4
_TENS = amount._TENS
_PLACES = amount.PLACES


def _pool(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    raw = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, raw)])
    return np.frombuffer(b"".join(raw), np.uint8), ends


_STATES, _STATE_ENDS = _pool([step.name.lower() for step in Step])
_KEYS = "order_id", "orders", "value", "state", "cause", "currency"
_KEY_POOL, _KEY_ENDS = _pool([*_KEYS, "lines.product_id", "lines.quantity"])
# Typed, as numba compiles a function once more for each literal it is given.
_ORDER_ID, _ORDERS, _VALUE, _STATE, _CAUSE, _CURRENCY, _PRODUCT, _QUANTITY = np.arange(8)
_NONE = np.int64(0)
_TYPE = np.frombuffer(DERIVED_TYPE.encode(), np.uint8)
_ID_HEAD = np.frombuffer(b"order-", np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)

_CHANGE_PLACED = of_.COUNT_PLACED
_CHANGE_ORDERS = of_.COUNT_ORDERS
_CHANGE_VALUE = of_.COUNT_VALUE
_CHANGE_CURRENCY = of_.COUNT_CURRENCY
_CHANGE_STATE = of_.COUNT_STATE


@njit(nogil=True, cache=True)
def digits_into(value: Any, out: Any, at: Any) -> Any:
    """Writes a whole number; returns the place after it."""
    rest = U(value)
    if value < 0:
        out[at] = 45
        at += 1
        rest = U(0) - rest
    size = 1
    top = rest // U(10)
    while top > U(0):
        top //= U(10)
        size += 1
    for place in range(size - 1, -1, -1):
        out[at + place] = U(48) + rest % U(10)
        rest //= U(10)
    return at + size


@njit(nogil=True, cache=True)
def _varint(out: Any, at: Any, value: Any) -> Any:
    """Writes an unsigned number; returns the place after it."""
    rest = U(value)
    while rest > U(127):
        out[at] = rest & U(127) | U(128)
        rest >>= U(7)
        at += 1
    out[at] = rest
    return at + 1


@njit(nogil=True, cache=True)
def _signed(out: Any, at: Any, value: Any) -> Any:
    """Writes a zigzag number."""
    return _varint(out, at, U(value << 1) ^ U(value >> 63))


@njit(nogil=True, cache=True)
def _fixed(out: Any, at: Any, value: Any) -> Any:
    for byte in range(8):
        out[at + byte] = (U(value) >> U(8 * byte)) & U(255)
    return at + 8


@njit(nogil=True, cache=True)
def _text(out: Any, at: Any, tag: Any, data: Any, start: Any, end: Any) -> Any:
    """Writes a length-delimited field."""
    out[at] = tag
    at = _varint(out, at + 1, end - start)
    return copied(data, start, end - start, out, at)


@njit(nogil=True, cache=True)
def identifier_into(
    out: Any, at: Any, data: Any, kind: Any, kind_end: Any, value: Any, value_end: Any
) -> Any:
    """Writes an identifier as a field of an event; returns the place after it."""
    size = _framed(kind_end - kind) + _framed(value_end - value)
    out[at] = wire.TAG_EVENT_IDENTIFIER
    at = _varint(out, at + 1, size)
    at = _text(out, at, wire.TAG_IDENTIFIER_KIND, data, kind, kind_end)
    return _text(out, at, wire.TAG_IDENTIFIER_VALUE, data, value, value_end)


@njit(nogil=True, cache=True)
def _framed(size: Any) -> Any:
    """Bytes of a field of so many bytes, of less than 16 KiB, with tag and length."""
    return size + (2 if size < 128 else 3)


@njit(nogil=True, cache=True)
def _property(out: Any, at: Any, key: Any, item: Any) -> Any:
    """Begins a property; `_ended` gives it its length, for which two bytes are kept."""
    out[at] = wire.TAG_EVENT_PROPERTY
    at = _text(out, at + 3, wire.TAG_PROPERTY_KEY, _KEY_POOL, _KEY_ENDS[key], _KEY_ENDS[key + 1])
    if item > 0:
        out[at] = wire.TAG_PROPERTY_ITEM
        at = _varint(out, at + 1, item)
    return at


@njit(nogil=True, cache=True)
def _ended(out: Any, begin: Any, at: Any) -> Any:
    """A length in two bytes, though one may do: any reader of protobuf takes it."""
    size = at - begin - 3
    out[begin + 1] = size & 127 | 128
    out[begin + 2] = size >> 7
    return at


@njit(nogil=True, cache=True)
def _text_property(
    out: Any, begin: Any, key: Any, item: Any, data: Any, start: Any, end: Any
) -> Any:
    at = _property(out, begin, key, item)
    at = _text(out, at, wire.TAG_PROPERTY_TEXT, data, start, end)
    return _ended(out, begin, at)


@njit(nogil=True, cache=True)
def _whole_property(out: Any, begin: Any, key: Any, value: Any) -> Any:
    at = _property(out, begin, key, _NONE)
    out[at] = wire.TAG_PROPERTY_WHOLE
    return _ended(out, begin, _signed(out, at + 1, value))


@njit(nogil=True, cache=True)
def _amount_property(out: Any, begin: Any, key: Any, item: Any, whole: Any, part: Any) -> Any:
    """Writes an amount: a whole number, else a decimal, else (beyond int64) its digits."""
    at = _property(out, begin, key, item)
    negative = whole < 0
    if negative:
        whole, part = amount.less(np.int64(0), np.int64(0), whole, part)
    exponent = _PLACES if part > 0 else 0
    while exponent > 0 and part % 10 == 0:
        part //= 10
        exponent -= 1
    if whole > (_INT64_MAX - part) // _TENS[exponent]:
        return _ended(out, begin, _digits(out, at, negative, whole, part, exponent))
    units = whole * _TENS[exponent] + part
    units = -units if negative else units
    if exponent == 0:
        out[at] = wire.TAG_PROPERTY_WHOLE
        return _ended(out, begin, _signed(out, at + 1, units))
    out[at] = wire.TAG_PROPERTY_DECIMAL
    inner = at + 2
    out[inner] = wire.TAG_DECIMAL_UNITS
    end = _signed(out, inner + 1, units)
    out[end] = wire.TAG_DECIMAL_EXPONENT
    out[end + 1] = exponent
    end += 2
    out[at + 1] = end - inner
    return _ended(out, begin, end)


@njit(nogil=True, cache=True)
def _digits(out: Any, at: Any, negative: Any, whole: Any, part: Any, exponent: Any) -> Any:
    """An amount as decimal text; its length takes one byte."""
    out[at] = wire.TAG_PROPERTY_TEXT
    end = at + 2
    if negative:
        out[end] = 45
        end += 1
    end = digits_into(whole, out, end)
    if exponent > 0:
        out[end] = 46
        for place in range(exponent):
            out[end + exponent - place] = 48 + part % 10
            part //= 10
        end += 1 + exponent
    out[at + 1] = end - at - 2
    return end


@njit(nogil=True, cache=True)
def _event_id(out: Any, at: Any, first: Any, second: Any, number: Any) -> Any:
    """order-<the key, 32 hex digits>-<number of the difference>"""
    out[at] = wire.TAG_EVENT_ID
    end = copied(_ID_HEAD, _NONE, _ID_HEAD.size, out, at + 2)
    for word in (first, second):
        for place in range(16):
            out[end] = _HEX[(word >> U(60 - 4 * place)) & U(15)]
            end += 1
    out[end] = 45
    end = digits_into(number, out, end + 1)
    out[at + 1] = end - at - 2
    return end


@njit(nogil=True, cache=True)
def difference_event(
    out: Any,
    begin: Any,
    t: Any,
    order: Any,
    number: Any,
    line: Any,
    line_count: Any,
    data: Any,
    name: Any,
    name_end: Any,
    cause: Any,
    cause_end: Any,
    send_us: Any,
) -> Any:
    """Writes an event with the change in counts 2, and as many of its lines (folded 2) from `line`
    on as one event holds.

    Returns (place after it, first line that is left).
    """
    change, lines = t.counts[2], t.folded[2]
    at = _event_id(out, begin + _FRAME_BYTES, t.keys[order, 0], t.keys[order, 1], number)
    at = _text(out, at, wire.TAG_EVENT_TYPE, _TYPE, _NONE, _TYPE.size)
    out[at] = wire.TAG_EVENT_OCCUR
    at = _fixed(out, at + 1, change[_CHANGE_PLACED])
    who = t.who_end[order - 1] if order > 0 else np.int64(0)
    at = copied(t.who, who, t.who_end[order] - who, out, at)
    at = _text_property(out, at, _ORDER_ID, _NONE, data, name, name_end)
    at = _whole_property(out, at, _ORDERS, change[_CHANGE_ORDERS])
    at = _amount_property(out, at, _VALUE, _NONE, change[_CHANGE_VALUE], change[_CHANGE_VALUE + 1])
    state = change[_CHANGE_STATE]
    start = _STATE_ENDS[state] if state >= 0 else _NONE
    end = _STATE_ENDS[state + 1] if state >= 0 else _NONE
    at = _text_property(out, at, _STATE, _NONE, _STATES, start, end)
    at = _text_property(out, at, _CAUSE, _NONE, data, cause, cause_end)
    if change[_CHANGE_CURRENCY] >= 0:
        at = _word_property(out, at, _CURRENCY, _NONE, t, change[_CHANGE_CURRENCY])
    room = at + _LINE_BYTES_MAX
    item = _NONE
    while line < line_count and item < _LINES_MAX and at < room:
        at = _word_property(out, at, _PRODUCT, item, t, lines[line, 0])
        at = _amount_property(out, at, _QUANTITY, item, lines[line, 1], lines[line, 2])
        line += 1
        item += 1
    out[at] = wire.TAG_EVENT_SEND
    at = _fixed(out, at + 1, send_us)
    size = at - begin - _FRAME_BYTES
    out[begin] = wire.TAG_BATCH_EVENT
    out[begin + 1] = size & 127 | 128
    out[begin + 2] = (size >> 7) & 127 | 128
    out[begin + 3] = size >> 14
    return at, line


@njit(nogil=True, cache=True)
def _word_property(out: Any, at: Any, key: Any, item: Any, t: Any, word: Any) -> Any:
    start = t.word_end[word - 1] if word > 0 else np.int64(0)
    return _text_property(out, at, key, item, t.words, start, t.word_end[word])


assert _LINE_BYTES_MAX * 4 <= EVENT_BYTES_MAX, "identifiers take twenty KiB, the rest one"

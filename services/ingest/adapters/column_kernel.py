"""Rows to the columns of EventColumns: pools of distinct names and texts, everything else as is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.chassis.prints import word_at
from services.ingest.adapters import rows as at_
from services.ingest.adapters.borrowed import borrowed
from services.ingest.adapters.rows import left_of

U = np.uint64

_ID_START = at_.ID_START
_ID_END = at_.ID_END
_TYPE_START = at_.TYPE_START
_TYPE_END = at_.TYPE_END
_OCCUR_US = at_.OCCUR_US
_SEND_US = at_.SEND_US
_IDENTIFIERS_END = at_.IDENTIFIERS_END
_PROPERTIES_END = at_.PROPERTIES_END
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
_ABSENT = at_.ABSENT
_TEXT = at_.TEXT

_MIX = U(0x9E3779B185EBCA87)
_STIR = U(0xC2B2AE3D27D4EB4F)


class Buffers(NamedTuple):
    """Room for the columns of one body, in the widths of EventColumns; reused by every step."""

    event_print: np.ndarray
    type: np.ndarray
    occur_time_us: np.ndarray
    send_time_us: np.ndarray
    accept_time_us: np.ndarray
    row_flags: np.ndarray
    event_id: np.ndarray
    event_id_end: np.ndarray
    id_end: np.ndarray
    id_kind: np.ndarray
    id_print: np.ndarray
    id_text: np.ndarray
    id_text_end: np.ndarray
    prop_end: np.ndarray
    prop_key: np.ndarray
    prop_item: np.ndarray
    prop_kind: np.ndarray
    prop_value: np.ndarray
    prop_exponent: np.ndarray
    name: np.ndarray
    name_end: np.ndarray
    text: np.ndarray
    text_end: np.ndarray


class Sizes(NamedTuple):
    """Lines and bytes used of `Buffers`."""

    identifiers: int
    properties: int
    event_id_bytes: int
    id_text_bytes: int
    names: int
    name_bytes: int
    texts: int
    text_bytes: int
    has_items: bool


@njit(nogil=True, cache=True, inline="always")
def same(left: Any, left_start: Any, right: Any, right_start: Any, size: Any) -> Any:
    """Whether two slices of one size are equal; both buffers are padded."""
    at = 0
    differing = U(0)
    while at + 8 <= size and differing == U(0):
        differing = word_at(left, left_start + at) ^ word_at(right, right_start + at)
        at += 8
    if differing == U(0):
        rest = word_at(left, left_start + at) ^ word_at(right, right_start + at)
        differing = rest & left_of(size - at)
    return differing == U(0)


@njit(nogil=True, cache=True, inline="always")
def copied(data: Any, start: Any, size: Any, out: Any, at: Any) -> Any:
    """Copies `size` bytes; returns the place after them."""
    for k in range(size):
        out[at + k] = data[start + k]
    return at + size


@njit(nogil=True, cache=True, inline="always")
def hashed(data: Any, start: Any, end: Any, seed: Any) -> Any:
    """Spreads texts over a table; seeded with the installation's key, so nobody can aim at it."""
    mixed = seed ^ (U(end - start) * _MIX)
    at = start
    while at + 8 <= end:
        mixed = (mixed ^ word_at(data, at)) * _MIX
        mixed ^= mixed >> U(29)
        at += 8
    mixed = (mixed ^ (word_at(data, at) & left_of(end - at))) * _STIR
    return mixed ^ (mixed >> U(32))


@njit(nogil=True, cache=True, inline="always")
def number_of(
    data: Any,
    start: Any,
    end: Any,
    seed: Any,
    table: Any,
    pool: Any,
    ends: Any,
    count: Any,
) -> Any:
    """The number of a text in the pool; it is `count` when the text is new and was appended.

    table (power of two, int32): -1 where empty, never more than half full.
    """
    mask = U(table.size - 1)
    slot = hashed(data, start, end, seed) & mask
    size = end - start
    number = np.int64(table[slot])
    while number >= 0:
        before = np.int64(ends[number - 1]) if number > 0 else np.int64(0)
        if np.int64(ends[number]) - before == size and same(data, start, pool, before, size):
            break
        slot = (slot + U(1)) & mask
        number = np.int64(table[slot])
    if number < 0:
        number = np.int64(count)
        before = np.int64(ends[number - 1]) if number > 0 else np.int64(0)
        ends[number] = copied(data, start, size, pool, before)
        table[slot] = number
    return number


@njit(nogil=True, cache=True)
def build(
    data: Any,
    events: Any,
    identifiers: Any,
    properties: Any,
    chosen: Any,
    event_prints: Any,
    identifier_prints: Any,
    dropped: Any,
    message_us: Any,
    message_flags: Any,
    seed: Any,
    name_table: Any,
    text_table: Any,
    out: Any,
) -> Any:
    """A hot kernel: writes the columns of the chosen rows (int64, in order) into `out`.

    dropped (i, bool): identifiers left out. message_us int64 and message_flags uint8: per message.
    name_table, text_table: all -1, powers of two of at least twice the names and texts. Properties
    without a value are missing, as the semantics say, and leave no trace. Returns `Sizes`.
    """
    data = borrowed(data)
    events = borrowed(events)
    identifiers = borrowed(identifiers)
    properties = borrowed(properties)
    chosen = borrowed(chosen)
    event_prints = borrowed(event_prints)
    identifier_prints = borrowed(identifier_prints)
    dropped = borrowed(dropped)
    message_us = borrowed(message_us)
    message_flags = borrowed(message_flags)
    name_table = borrowed(name_table)
    text_table = borrowed(text_table)
    event_print = borrowed(out.event_print)
    types = borrowed(out.type)
    occur_time_us = borrowed(out.occur_time_us)
    send_time_us = borrowed(out.send_time_us)
    accept_time_us = borrowed(out.accept_time_us)
    row_flags = borrowed(out.row_flags)
    event_id = borrowed(out.event_id)
    event_id_end = borrowed(out.event_id_end)
    id_end = borrowed(out.id_end)
    id_kind = borrowed(out.id_kind)
    id_print = borrowed(out.id_print)
    id_text = borrowed(out.id_text)
    id_text_end = borrowed(out.id_text_end)
    prop_end = borrowed(out.prop_end)
    prop_key = borrowed(out.prop_key)
    prop_item = borrowed(out.prop_item)
    prop_kind = borrowed(out.prop_kind)
    prop_value = borrowed(out.prop_value)
    prop_exponent = borrowed(out.prop_exponent)
    name = borrowed(out.name)
    name_end = borrowed(out.name_end)
    text = borrowed(out.text)
    text_end = borrowed(out.text_end)
    n_id = 0
    n_prop = 0
    n_name = 0
    n_text = 0
    id_bytes = 0
    event_id_bytes = 0
    has_items = False
    for r in range(chosen.size):
        row = chosen[r]
        message = events[row, _MESSAGE]
        event_print[r, 0] = event_prints[row, 0]
        event_print[r, 1] = event_prints[row, 1]
        number = number_of(
            data,
            events[row, _TYPE_START],
            events[row, _TYPE_END],
            seed,
            name_table,
            name,
            name_end,
            n_name,
        )
        n_name += number == n_name
        types[r] = number
        occur_time_us[r] = events[row, _OCCUR_US]
        send_time_us[r] = events[row, _SEND_US]
        accept_time_us[r] = message_us[message]
        row_flags[r] = message_flags[message]
        start = events[row, _ID_START]
        end = events[row, _ID_END]
        event_id_bytes = copied(data, start, end - start, event_id, event_id_bytes)
        event_id_end[r] = event_id_bytes

        for k in range(
            events[row - 1, _IDENTIFIERS_END] if row > 0 else 0, events[row, _IDENTIFIERS_END]
        ):
            if dropped[k]:
                continue
            number = number_of(
                data,
                identifiers[k, _KIND_START],
                identifiers[k, _KIND_END],
                seed,
                name_table,
                name,
                name_end,
                n_name,
            )
            n_name += number == n_name
            id_kind[n_id] = number
            id_print[n_id, 0] = identifier_prints[k, 0]
            id_print[n_id, 1] = identifier_prints[k, 1]
            start = identifiers[k, _VALUE_START]
            end = identifiers[k, _VALUE_END]
            id_bytes = copied(data, start, end - start, id_text, id_bytes)
            id_text_end[n_id] = id_bytes
            n_id += 1
        id_end[r] = n_id

        for k in range(
            events[row - 1, _PROPERTIES_END] if row > 0 else 0, events[row, _PROPERTIES_END]
        ):
            kind = properties[k, _KIND]
            if kind == _ABSENT:
                continue
            number = number_of(
                data,
                properties[k, _KEY_START],
                properties[k, _KEY_END],
                seed,
                name_table,
                name,
                name_end,
                n_name,
            )
            n_name += number == n_name
            prop_key[n_prop] = number
            prop_item[n_prop] = properties[k, _ITEM]
            if properties[k, _ITEM] != 0:
                has_items = True
            prop_kind[n_prop] = kind
            prop_exponent[n_prop] = properties[k, _EXPONENT]
            if kind == _TEXT:
                number = number_of(
                    data,
                    properties[k, _TEXT_START],
                    properties[k, _TEXT_END],
                    seed,
                    text_table,
                    text,
                    text_end,
                    n_text,
                )
                n_text += number == n_text
                prop_value[n_prop] = number
            else:
                prop_value[n_prop] = properties[k, _VALUE]
            n_prop += 1
        prop_end[r] = n_prop
    return Sizes(
        n_id,
        n_prop,
        event_id_bytes,
        id_bytes,
        n_name,
        int(name_end[n_name - 1]) if n_name > 0 else 0,
        n_text,
        int(text_end[n_text - 1]) if n_text > 0 else 0,
        has_items,
    )

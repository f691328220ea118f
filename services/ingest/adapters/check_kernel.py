"""Every rule of domain/faults.py on rows, in one pass.

The kernel also prints event ids, and turns doubles into exact decimals where fifteen digits do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.chassis.prints import print_slice, word_at
from services.ingest.adapters import rows as at_
from services.ingest.adapters.borrowed import borrowed
from services.ingest.adapters.rows import left_of
from services.ingest.domain import faults as limits
from services.ingest.domain.faults import Fault

U = np.uint64

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
_KIND = at_.KIND
_VALUE = at_.VALUE
_EXPONENT = at_.EXPONENT
_TEXT_START = at_.TEXT_START
_TEXT_END = at_.TEXT_END
_WHOLE = at_.WHOLE
_DECIMAL = at_.DECIMAL
_NUMBER = at_.NUMBER

_EVENT_BYTES_MAX = limits.EVENT_BYTES_MAX
_EVENT_ID_BYTES_MAX = limits.EVENT_ID_BYTES_MAX
_TYPE_BYTES_MAX = limits.TYPE_BYTES_MAX
_IDENTIFIERS_MAX = limits.IDENTIFIERS_MAX
_PROPERTIES_MAX = limits.PROPERTIES_MAX
_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_TEXT_BYTES_MAX = limits.TEXT_BYTES_MAX
_EXPONENT_MAX = limits.DECIMAL_EXPONENT_MAX
_FUTURE_US = limits.FUTURE_US
_HORIZON_US = limits.HORIZON_US

_CLEAN = int(Fault.CLEAN)
_EVENT_TOO_LARGE = int(Fault.EVENT_TOO_LARGE)
_MISSING_EVENT_ID = int(Fault.MISSING_EVENT_ID)
_EVENT_ID_TOO_LONG = int(Fault.EVENT_ID_TOO_LONG)
_MISSING_TYPE = int(Fault.MISSING_TYPE)
_BAD_TYPE = int(Fault.BAD_TYPE)
_NO_IDENTIFIER = int(Fault.NO_IDENTIFIER)
_TOO_MANY_IDENTIFIERS = int(Fault.TOO_MANY_IDENTIFIERS)
_TOO_MANY_PROPERTIES = int(Fault.TOO_MANY_PROPERTIES)
_MISSING_OCCUR_TIME = int(Fault.MISSING_OCCUR_TIME)
_EVENT_TIME_IN_FUTURE = int(Fault.EVENT_TIME_IN_FUTURE)
_SEND_TIME_IN_FUTURE = int(Fault.SEND_TIME_IN_FUTURE)
_TOO_OLD_TO_DEDUPLICATE = int(Fault.TOO_OLD_TO_DEDUPLICATE)
_BAD_TEXT = int(Fault.BAD_TEXT)
_MISSING_PROPERTY_KEY = int(Fault.MISSING_PROPERTY_KEY)
_PROPERTY_KEY_TOO_LONG = int(Fault.PROPERTY_KEY_TOO_LONG)
_TEXT_TOO_LONG = int(Fault.TEXT_TOO_LONG)
_NOT_A_NUMBER = int(Fault.NOT_A_NUMBER)
_BAD_DECIMAL = int(Fault.BAD_DECIMAL)

POWERS = 10.0 ** np.arange(19)
_FIFTEEN_DIGITS = 1e15


@njit(nogil=True, cache=True, inline="always")
def _has_nul(data: Any, start: Any, end: Any) -> Any:
    """Eight bytes at a time; the last word is read into the padding, which is put out of sight."""
    ones = U(0x0101010101010101)
    high = U(0x8080808080808080)
    found = U(0)
    at = start
    while at + 8 <= end:
        word = word_at(data, at)
        found |= (word - ones) & ~word & high
        at += 8
    word = word_at(data, at) | ~left_of(end - at)
    found |= (word - ones) & ~word & high
    return found != U(0)


@njit(nogil=True, cache=True, inline="always")
def _is_type(data: Any, start: Any, end: Any) -> Any:
    """No blank and no control character."""
    fine = True
    for at in range(start, end):
        fine &= data[at] > 32 and data[at] != 127
    return fine


@njit(nogil=True, cache=True, inline="always")
def _head_fault(data: Any, events: Any, row: Any, identifiers: Any, properties: Any) -> Any:
    """Sizes, counts and names."""
    id_bytes = events[row, _ID_END] - events[row, _ID_START]
    type_bytes = events[row, _TYPE_END] - events[row, _TYPE_START]
    fault = _CLEAN
    if events[row, _EVENT_END] - events[row, _EVENT_START] > _EVENT_BYTES_MAX:
        fault = _EVENT_TOO_LARGE
    elif id_bytes == 0:
        fault = _MISSING_EVENT_ID
    elif id_bytes > _EVENT_ID_BYTES_MAX:
        fault = _EVENT_ID_TOO_LONG
    elif type_bytes == 0:
        fault = _MISSING_TYPE
    elif type_bytes > _TYPE_BYTES_MAX or not _is_type(
        data, events[row, _TYPE_START], events[row, _TYPE_END]
    ):
        fault = _BAD_TYPE
    elif identifiers == 0:
        fault = _NO_IDENTIFIER
    elif identifiers > _IDENTIFIERS_MAX:
        fault = _TOO_MANY_IDENTIFIERS
    elif properties > _PROPERTIES_MAX:
        fault = _TOO_MANY_PROPERTIES
    elif _has_nul(data, events[row, _ID_START], events[row, _ID_END]):
        fault = _BAD_TEXT
    return fault


@njit(nogil=True, cache=True, inline="always")
def _time_fault(occur_us: Any, send_us: Any, now_us: Any, is_import: Any) -> Any:
    fault = _CLEAN
    if occur_us <= 0:
        fault = _MISSING_OCCUR_TIME
    elif occur_us > now_us + _FUTURE_US:
        fault = _EVENT_TIME_IN_FUTURE
    elif send_us > now_us + _FUTURE_US:
        fault = _SEND_TIME_IN_FUTURE
    elif send_us < now_us - _HORIZON_US and not is_import:
        fault = _TOO_OLD_TO_DEDUPLICATE
    return fault


@njit(nogil=True, cache=True)
def _decimal_of(number: Any, powers: Any) -> Any:
    """(found, units, exponent) of the shortest decimal form, if it has at most fifteen digits.

    Two different decimals of up to fifteen digits are never the same double, so the first exponent
    whose units read back as the number is that of the shortest form.
    """
    for exponent in range(powers.size):
        scaled = number * powers[exponent]
        if abs(scaled) > _FIFTEEN_DIGITS:
            break
        units = np.rint(scaled)
        if units / powers[exponent] == number:
            return True, np.int64(units), exponent
    return False, np.int64(0), 0


@njit(nogil=True, cache=True, inline="always")
def _property_fault(data: Any, table: Any, row: Any) -> Any:
    key_bytes = table[row, _KEY_END] - table[row, _KEY_START]
    fault = _CLEAN
    if key_bytes == 0:
        fault = _MISSING_PROPERTY_KEY
    elif key_bytes > _KEY_BYTES_MAX:
        fault = _PROPERTY_KEY_TOO_LONG
    elif table[row, _TEXT_END] - table[row, _TEXT_START] > _TEXT_BYTES_MAX:
        fault = _TEXT_TOO_LONG
    elif _has_nul(data, table[row, _KEY_START], table[row, _KEY_END]) or _has_nul(
        data, table[row, _TEXT_START], table[row, _TEXT_END]
    ):
        fault = _BAD_TEXT
    elif table[row, _KIND] == _DECIMAL and table[row, _EXPONENT] > _EXPONENT_MAX:
        fault = _BAD_DECIMAL
    return fault


@njit(nogil=True, cache=True)
def inspect(
    data: Any,
    events: Any,
    identifiers: Any,
    properties: Any,
    numbers: Any,
    powers: Any,
    message_us: Any,
    message_import: Any,
    message_key: Any,
    faults: Any,
    prints: Any,
) -> Any:
    """A hot kernel: checks every row against its message's accept time and prints its event id.

    numbers: properties[:, VALUE] seen as doubles (same memory, shape of properties). message_us
    int64, message_import bool, message_key (m, 2) uint64: per message. Writes faults (n, uint8) and
    prints (n, 2, uint64), sets SEND_US to what deduplication goes by, and turns doubles into
    decimals in place. Returns (rows with a fault, doubles that Python must resolve).
    """
    data = borrowed(data)
    events = borrowed(events)
    identifiers = borrowed(identifiers)
    properties = borrowed(properties)
    numbers = borrowed(numbers)
    powers = borrowed(powers)
    message_us = borrowed(message_us)
    message_import = borrowed(message_import)
    message_key = borrowed(message_key)
    faults = borrowed(faults)
    prints = borrowed(prints)
    faulty = 0
    unresolved = 0
    first_identifier = 0
    first_property = 0
    for row in range(events.shape[0]):
        message = events[row, _MESSAGE]
        last_identifier = events[row, _IDENTIFIERS_END]
        last_property = events[row, _PROPERTIES_END]
        if events[row, _SEND_US] <= 0:
            events[row, _SEND_US] = events[row, _OCCUR_US]
        fault = _head_fault(
            data, events, row, last_identifier - first_identifier, last_property - first_property
        )
        if fault == _CLEAN:
            fault = _time_fault(
                events[row, _OCCUR_US],
                events[row, _SEND_US],
                message_us[message],
                message_import[message],
            )
        k = first_identifier
        while k < last_identifier and fault == _CLEAN:
            if _has_nul(data, identifiers[k, _KIND_START], identifiers[k, _KIND_END]) or _has_nul(
                data, identifiers[k, _VALUE_START], identifiers[k, _VALUE_END]
            ):
                fault = _BAD_TEXT
            k += 1
        k = first_property
        while k < last_property and fault == _CLEAN:
            fault = _property_fault(data, properties, k)
            if properties[k, _KIND] == _NUMBER and fault == _CLEAN:
                if np.isfinite(numbers[k, _VALUE]):
                    found, units, exponent = _decimal_of(numbers[k, _VALUE], powers)
                    if found:
                        properties[k, _KIND] = _WHOLE if exponent == 0 else _DECIMAL
                        properties[k, _VALUE] = units
                        properties[k, _EXPONENT] = exponent
                    else:
                        unresolved += 1
                else:
                    fault = _NOT_A_NUMBER
            k += 1
        first_identifier = last_identifier
        first_property = last_property
        faults[row] = fault
        if fault != _CLEAN:
            faulty += 1
        prints[row, 0], prints[row, 1] = print_slice(
            message_key[message, 0],
            message_key[message, 1],
            data,
            events[row, _ID_START],
            events[row, _ID_END],
        )
    return faulty, unresolved

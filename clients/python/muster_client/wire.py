"""muster.types.v1.Event on the wire, and SubmitEventsResponse off it, without a protobuf library.

The numbers of the fields are the contract's (protos/muster/types/v1/event.proto); a test holds both
directions against generated code.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from muster_client.events import Event

EXPONENT_MAX = 18
INT64 = 1 << 63
REJECTED = 4
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def event_bytes(event: Event) -> bytes:
    """An Event message. ValueError names a property that cannot be one."""
    parts = [_text(1, event.event_id), _text(2, event.type), _fixed(3, event.occur_time_us)]
    for kind, value in event.identifiers:
        parts.append(_framed(4, _text(1, kind) + _text(2, value)))
    for key, item, value in _flat(event.properties, ""):
        body = _text(1, key) + (_varint_field(2, item) if item else b"") + _value(key, value)
        parts.append(_framed(5, body))
    parts.append(_fixed(15, event.send_time_us))
    return b"".join(parts)


def batch_bytes(events: list[bytes]) -> bytes:
    """An EventBatch of encoded events."""
    return b"".join(_framed(1, one) for one in events)


def request_bytes(tenant: str, publisher: str, events: list[bytes]) -> bytes:
    """A SubmitEventsRequest."""
    parts = [_text(1, tenant), _text(2, publisher), *(_framed(3, one) for one in events)]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one event."""

    index: int
    verdict: int
    code: str
    detail: str


def items_of(response: bytes) -> list[Item]:
    """The items of a SubmitEventsResponse."""
    items = []
    for number, value in _fields(response):
        if number == 1:
            said = dict(_fields(value))
            items.append(
                Item(
                    said.get(1, 0),
                    said.get(3, 0),
                    said.get(4, b"").decode(),
                    said.get(5, b"").decode(),
                )
            )
    return items


@dataclass(frozen=True, slots=True)
class ItemException:
    """An event that was not accepted behind the log."""

    subject: str
    event_id: str
    verdict: int
    code: str
    detail: str


def exceptions_of(batch: bytes) -> list[ItemException]:
    """Every exception of a ReceiptBatch, with the intake subject of its message."""
    found = []
    for number, receipt in _fields(batch):
        if number != 1:
            continue
        said = list(_fields(receipt))
        subject = next((value.decode() for field, value in said if field == 2), "")
        for field, value in said:
            if field == 5:
                item = dict(_fields(value))
                texts = [item.get(place, b"").decode() for place in (2, 4, 5)]
                found.append(ItemException(subject, texts[0], item.get(3, 0), *texts[1:]))
    return found


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, int, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            for item, element in enumerate(value):
                if isinstance(element, Mapping):
                    for inner, _, one in _flat(element, f"{name}."):
                        yield inner, item, one
                elif element is not None:
                    yield name, item, element
        elif value is not None:
            yield name, 0, value


def _value(key: str, value: Any) -> bytes:
    if isinstance(value, bool):
        return _varint_field(6, int(value))
    if isinstance(value, int):
        if -INT64 <= value < INT64:
            return _varint_field(4, _zigzag(value))
        return _text(3, str(value))
    if isinstance(value, str):
        return _text(3, value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{key}: NaN and infinities are no values")
        return _varint(8 << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, Decimal):
        return _decimal(key, value)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{key}: an instant needs a zone")
        return _fixed(7, (value - _EPOCH) // dt.timedelta(microseconds=1))
    if isinstance(value, dt.date):
        return _text(3, value.isoformat())
    raise ValueError(f"{key}: {type(value).__name__} is neither text, number, flag nor time")


def _decimal(key: str, value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{key}: NaN and infinities are no values")
    units = int("".join(map(str, digits))) * (-1 if sign else 1)
    if exponent > 0:
        units, exponent = units * 10**exponent, 0
    if exponent < -EXPONENT_MAX or not -INT64 <= units < INT64:
        return _text(3, format(value, "f"))
    if not exponent:
        return _varint_field(4, _zigzag(units))
    return _framed(5, _varint_field(1, _zigzag(units)) + _varint_field(2, -exponent))


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _text(number: int, text: str) -> bytes:
    return _framed(number, text.encode())


def _framed(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _fixed(number: int, value: int) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<q", value)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(body: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value): an int for numbers, bytes for what has a length."""
    at = 0
    while at < len(body):
        tag, at = _read_varint(body, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_varint(body, at)
            yield tag >> 3, value
        elif kind == 2:
            size, at = _read_varint(body, at)
            yield tag >> 3, body[at : at + size]
            at += size
        else:
            size = 8 if kind == 1 else 4
            yield tag >> 3, int.from_bytes(body[at : at + size], "little")
            at += size


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7

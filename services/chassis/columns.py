"""Columnar protobuf read and written as NumPy buffers, without a Python object per value.

A packed repeated fixed32/fixed64 field and a `bytes` field are the same on the wire (a length and
little-endian values). So each columnar message of the contracts gets a shadow message whose columns
are `bytes`, built here from its descriptor: identical wire, no copy per value. Readers elsewhere
use the contract as it stands. Foreign writers may split a packed field; what comes from outside is
therefore read with the plain message.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_DTYPES: dict[int, Any] = {
    FieldDescriptor.TYPE_FIXED32: np.uint32,
    FieldDescriptor.TYPE_FIXED64: np.uint64,
    FieldDescriptor.TYPE_SFIXED32: np.int32,
    FieldDescriptor.TYPE_SFIXED64: np.int64,
    FieldDescriptor.TYPE_DOUBLE: np.float64,
    FieldDescriptor.TYPE_BYTES: np.uint8,
}
_VARINTS = {FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_BOOL}
_SCALARS = {*_VARINTS, FieldDescriptor.TYPE_SFIXED64}
_FIXED = struct.Struct("<q")
_ONE_BYTE = [bytes((value,)) for value in range(0x80)]
_VARINT, _FIXED64, _LENGTH = 0, 1, 2
"""Wire types of protobuf."""

Columns = dict[str, Any]
"""Column name -> array (scalars as int). Absent columns are empty arrays."""


class ColumnCodec:
    """Reads and writes one columnar message type, such as EventColumns.

    Columns are 1-d arrays of the field's width (fixed32: uint32, sfixed64: int64, bytes: uint8);
    single scalar fields are ints.
    """

    def __init__(self, message: type[Message]) -> None:
        descriptor: Any = message.DESCRIPTOR
        self.columns: dict[str, Any] = {}
        self.scalars: list[str] = []
        for field in descriptor.fields:
            if field.is_repeated or field.type == FieldDescriptor.TYPE_BYTES:
                self.columns[field.name] = np.dtype(_DTYPES[field.type])
            elif field.type in _SCALARS:
                self.scalars.append(field.name)
            else:
                raise TypeError(f"{descriptor.full_name}.{field.name} is not a column or a scalar")
        self.shadow = _shadow_of(descriptor)
        self._column_items = list(self.columns.items())
        self._fields = [
            (field.name, self.columns.get(field.name), _tag(field), field.type in _VARINTS)
            for field in sorted(descriptor.fields, key=lambda field: field.number)
        ]

    def encode(self, columns: Mapping[str, Any]) -> bytes:
        """Wire bytes of the message; columns absent or empty are left out. Deterministic.

        The buffers are put behind one another as protobuf would, so that each byte is copied once.
        """
        return b"".join(self.parts(columns))

    def parts(self, columns: Mapping[str, Any]) -> list[Any]:
        """What `encode` puts together: bytes, and columns as they lie in memory. For a message that
        goes into another one, so that nothing is copied twice."""
        unknown = columns.keys() - self.columns.keys() - set(self.scalars)
        if unknown:
            raise KeyError(f"no such columns: {', '.join(sorted(unknown))}")
        parts: list[Any] = []
        for name, dtype, tag, is_varint in self._fields:
            value = columns.get(name)
            if value is None:
                continue
            if dtype is None:
                if value:
                    parts.append(tag + (varint(int(value)) if is_varint else _FIXED.pack(value)))
            elif len(value):
                if not isinstance(value, bytes):
                    value = np.ascontiguousarray(value, dtype)
                parts += (tag + varint(memoryview(value).nbytes), value)
        return parts

    def decode(self, body: bytes) -> Columns:
        """Every column as a read-only array over the message's bytes."""
        message = self.shadow.FromString(body)
        columns: Columns = {
            name: np.frombuffer(getattr(message, name), dtype) for name, dtype in self._column_items
        }
        for name in self.scalars:
            columns[name] = int(getattr(message, name))
        return columns


def varint(value: int) -> bytes:
    """An unsigned number as protobuf writes it, such as the length before a field's bytes."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    return bytes((value & 0x7F | 0x80,)) + varint(value >> 7)


def _tag(field: Any) -> bytes:
    if field.is_repeated or field.type == FieldDescriptor.TYPE_BYTES:
        return varint(field.number << 3 | _LENGTH)
    return varint(field.number << 3 | (_VARINT if field.type in _VARINTS else _FIXED64))


def shadow_of(message: type[Message]) -> Any:
    """A message class of identical wire whose columns and nested messages are `bytes`.

    Repeated nested messages become repeated bytes; a oneof stays a oneof. With it a ProfileStep is
    taken apart into the bytes of its blocks, and put together from them, without parsing them.
    """
    return _shadow_of(message.DESCRIPTOR)


def _shadow_of(descriptor: Any) -> Any:
    label = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"shadow/{descriptor.full_name}.proto",
        package=f"shadow.{descriptor.full_name}",
        syntax="proto3",
    )
    shadow = file.message_type.add(name=descriptor.name)
    for oneof in descriptor.oneofs:
        shadow.oneof_decl.add(name=oneof.name)
    for field in descriptor.fields:
        nested = field.type == FieldDescriptor.TYPE_MESSAGE
        packed = field.is_repeated and not nested and field.type in _DTYPES
        made = shadow.field.add(
            name=field.name,
            number=field.number,
            type=FieldDescriptor.TYPE_BYTES if nested or packed else field.type,
            label=label.LABEL_REPEATED if nested and field.is_repeated else label.LABEL_OPTIONAL,
        )
        if field.containing_oneof is not None:
            made.oneof_index = field.containing_oneof.index
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"shadow.{descriptor.full_name}.{descriptor.name}")
    return message_factory.GetMessageClass(found)


def pool_texts(pool: np.ndarray, ends: np.ndarray) -> list[str]:
    """The texts of a pool: slice i is [ends[i-1], ends[i])."""
    raw = pool.tobytes()
    texts, start = [], 0
    for end in ends.tolist():
        texts.append(raw[start:end].decode())
        start = end
    return texts


def pool_of(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(bytes end to end, running ends) of texts: the reverse of pool_texts."""
    raw = [text.encode() for text in texts]
    ends = np.cumsum([len(r) for r in raw], dtype=np.int64).astype(np.uint32)
    return np.frombuffer(b"".join(raw), np.uint8), ends

"""The reference decoder: upb's objects, read field by field. Slow, and right by construction.

It is the oracle of the fast decoder's tests, its baseline in the benchmark, and what the core
falls back to should the two ever disagree on real bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from muster.types.v1 import event_pb2
from services.chassis.columns import shadow_of
from services.ingest.adapters import rows as at_
from services.ingest.adapters.rows import PADDING, Rows

RAW_BATCH = shadow_of(event_pb2.EventBatch)
"""EventBatch whose events are bytes: takes a batch apart when one of its events is malformed."""


class UpbDecoder:
    """Decodes with upb, an object per value."""

    def decode(self, bodies: Sequence[bytes]) -> Rows:
        """The events of the bodies, in order; protobuf's DecodeError when one is malformed."""
        taken = _Taken()
        for place, body in enumerate(bodies):
            raws = RAW_BATCH.FromString(body).events
            for raw, event in zip(raws, event_pb2.EventBatch.FromString(body).events, strict=True):
                taken.event(place, raw, event)
        return Rows(
            np.frombuffer(bytes(taken.data) + PADDING, np.uint8),
            _table(taken.events, at_.EVENT_WIDTH),
            _table(taken.identifiers, at_.IDENTIFIER_WIDTH),
            _table(taken.properties, at_.PROPERTY_WIDTH),
        )


class _Taken:
    """Lines of the three tables, and the texts end to end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.events: list[list[int]] = []
        self.identifiers: list[list[int]] = []
        self.properties: list[list[int]] = []

    def event(self, place: int, raw: bytes, event: event_pb2.Event) -> None:
        for identifier in event.identifiers:
            self.identifiers.append([*self._text(identifier.kind), *self._text(identifier.value)])
        for item in event.properties:
            self.properties.append(self._property(item))
        line = [0] * at_.EVENT_WIDTH
        line[at_.ID_START], line[at_.ID_END] = self._text(event.event_id)
        line[at_.TYPE_START], line[at_.TYPE_END] = self._text(event.type)
        line[at_.OCCUR_US] = event.occur_time_us
        line[at_.SEND_US] = event.send_time_us
        line[at_.IDENTIFIERS_END] = len(self.identifiers)
        line[at_.PROPERTIES_END] = len(self.properties)
        line[at_.EVENT_START], line[at_.EVENT_END] = self._bytes(raw)
        line[at_.MESSAGE] = place
        self.events.append(line)

    def _property(self, item: event_pb2.Property) -> list[int]:
        line = [0] * at_.PROPERTY_WIDTH
        line[at_.KEY_START], line[at_.KEY_END] = self._text(item.key)
        line[at_.ITEM] = item.item
        which = item.WhichOneof("value")
        if which == "text":
            line[at_.KIND] = at_.TEXT
            line[at_.TEXT_START], line[at_.TEXT_END] = self._text(item.text)
        elif which == "whole":
            line[at_.KIND], line[at_.VALUE] = at_.WHOLE, item.whole
        elif which == "decimal":
            line[at_.KIND], line[at_.VALUE] = at_.DECIMAL, item.decimal.units
            line[at_.EXPONENT] = item.decimal.exponent
        elif which == "flag":
            line[at_.KIND], line[at_.VALUE] = at_.FLAG, int(item.flag)
        elif which == "time_us":
            line[at_.KIND], line[at_.VALUE] = at_.TIME, item.time_us
        elif which == "number":
            line[at_.KIND] = at_.NUMBER
            (line[at_.VALUE],) = struct.unpack("<q", struct.pack("<d", item.number))
        return line

    def _text(self, text: str) -> tuple[int, int]:
        return self._bytes(text.encode())

    def _bytes(self, raw: bytes) -> tuple[int, int]:
        start = len(self.data)
        self.data += raw
        return start, len(self.data)


def _table(lines: list[list[int]], width: int) -> np.ndarray:
    return np.array(lines, np.int64).reshape(-1, width)

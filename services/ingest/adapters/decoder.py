"""The fast decoder: bodies end to end, one walk over them, tables reused by every call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.ingest.adapters import rows as at_
from services.ingest.adapters import wire_kernel
from services.ingest.adapters.rows import PADDING, Rows


class NotOnTheWire(ValueError):
    """The walk refuses bytes; when upb accepts them, the decoder has a defect."""


class KernelDecoder:
    """Decodes with `wire_kernel.walk`. The rows it gives are overwritten by its next call."""

    def __init__(self, events: int = 2_048, identifiers: int = 8_192, properties: int = 32_768):
        self._events = np.empty((events, at_.EVENT_WIDTH), np.int64)
        self._identifiers = np.empty((identifiers, at_.IDENTIFIER_WIDTH), np.int64)
        self._properties = np.empty((properties, at_.PROPERTY_WIDTH), np.int64)
        self._counts = np.zeros(3, np.int64)

    def decode(self, bodies: Sequence[bytes]) -> Rows:
        """The events of the bodies, in order; NotOnTheWire when one is not an EventBatch."""
        ends = np.cumsum([len(body) for body in bodies], dtype=np.int64)
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1]
        data = np.frombuffer(b"".join([*bodies, PADDING]), np.uint8)
        while True:
            status = wire_kernel.walk(
                data, starts, ends, self._events, self._identifiers, self._properties, self._counts
            )
            if status == wire_kernel.DONE:
                events, identifiers, properties = self._counts.tolist()
                return Rows(
                    data,
                    self._events[:events],
                    self._identifiers[:identifiers],
                    self._properties[:properties],
                )
            if status == wire_kernel.MALFORMED:
                raise NotOnTheWire("the bytes are not an EventBatch")
            self._grow()

    def _grow(self) -> None:
        """Doubles what is full. An event takes two bytes, so this ends."""
        events, identifiers, properties = self._counts.tolist()
        if events == len(self._events):
            self._events = np.empty((2 * events, at_.EVENT_WIDTH), np.int64)
        if identifiers == len(self._identifiers):
            self._identifiers = np.empty((2 * identifiers, at_.IDENTIFIER_WIDTH), np.int64)
        if properties == len(self._properties):
            self._properties = np.empty((2 * properties, at_.PROPERTY_WIDTH), np.int64)

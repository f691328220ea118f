"""Rows: events taken off the wire, as slices of the bytes they came in.

Three tables of int64 without an object per event: one line per event, per identifier and per
property. Text stays where it is, named by [start, end) in `data`. Decoders fill them, checks and
columns read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numba import njit

# Columns of `Rows.events`.
ID_START = 0
ID_END = 1
TYPE_START = 2
TYPE_END = 3
OCCUR_US = 4
SEND_US = 5
IDENTIFIERS_END = 6
"""Running end in `Rows.identifiers`."""
PROPERTIES_END = 7
"""Running end in `Rows.properties`."""
EVENT_START = 8
EVENT_END = 9
"""The whole event as it came, without its tag."""
MESSAGE = 10
"""Place of its body in what was decoded."""
EVENT_WIDTH = 11

# Columns of `Rows.identifiers`.
KIND_START = 0
KIND_END = 1
VALUE_START = 2
VALUE_END = 3
IDENTIFIER_WIDTH = 4

# Columns of `Rows.properties`.
KEY_START = 0
KEY_END = 1
ITEM = 2
KIND = 3
VALUE = 4
EXPONENT = 5
TEXT_START = 6
TEXT_END = 7
PROPERTY_WIDTH = 8

# Kinds of property values; 1 to 5 are those of EventColumns.
ABSENT = 0
TEXT = 1
WHOLE = 2
DECIMAL = 3
FLAG = 4
TIME = 5
NUMBER = 6
"""A double, its bits in VALUE: becomes a whole, a decimal or decimal text before it leaves."""


PADDING = bytes(8)
"""Follows the last byte of `Rows.data`, so that kernels may read whole words up to any end."""


@njit(nogil=True, cache=True, inline="always")
def left_of(count: Any) -> Any:
    """Mask of the first `count` (0 to 7) bytes of a little-endian word."""
    return (np.uint64(1) << np.uint64(8 * count)) - np.uint64(1)


@dataclass(slots=True)
class Rows:
    """Decoded events in the order they came.

    data: uint8, ending with PADDING. events (n, EVENT_WIDTH), identifiers (i, IDENTIFIER_WIDTH),
    properties (p, PROPERTY_WIDTH): int64, C order. Valid until the decoder's next call.
    """

    data: np.ndarray
    events: np.ndarray
    identifiers: np.ndarray
    properties: np.ndarray

    def __len__(self) -> int:
        return len(self.events)

    def slice(self, start: int, end: int) -> bytes:
        return self.data[start:end].tobytes()

    def event_id(self, row: int) -> str:
        """The event's id; what is not UTF-8 in it is shown as U+FFFD."""
        start, end = self.events[row, ID_START : ID_END + 1].tolist()
        return self.slice(start, end).decode(errors="replace")

    def event(self, row: int) -> bytes:
        """The event as it came, without its tag."""
        start, end = self.events[row, EVENT_START : EVENT_END + 1].tolist()
        return self.slice(start, end)


class Decoder(Protocol):
    """Takes EventBatch bodies apart; upb has accepted each of them before."""

    def decode(self, bodies: Sequence[bytes]) -> Rows:
        """The events of the bodies, in order."""

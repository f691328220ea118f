"""What a fenced worker drives: a pure core that turns a cut of its inputs into facts.

A core never reads a clock, chance or the outside world: the same messages in the same cuts give the
same state and the same bytes. It is driven by `services.chassis.worker` on real servers and by
`muster test` in simulated time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import Protocol

import numpy as np

PART_BYTES_MAX = 512 << 10
"""Largest body of one message of facts; larger facts go in consecutive parts."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A column of the state that only grows: what an earlier dump handed out is its beginning.

    Its rows must not change once they were handed out. epoch: another one says that the column
    was made anew.
    """

    array: np.ndarray
    epoch: int = 0

    def __bytes__(self) -> bytes:
        return self.array.tobytes()


Buffers = Mapping[str, "np.ndarray | bytes | Appended"]


def roomy(buffer: memoryview, dtype: np.dtype | type) -> np.ndarray:
    """A loaded Appended column as an array one may write to: its rows, and the room behind them.

    A buffer that lies in no mapped column file is copied, without room.
    """
    if buffer.readonly or not isinstance(buffer.obj, mmap):
        return np.frombuffer(buffer, dtype).copy()
    whole = memoryview(buffer.obj)
    itemsize = np.dtype(dtype).itemsize
    return np.frombuffer(whole, dtype, count=len(whole) // itemsize)


@dataclass(frozen=True, slots=True)
class Source:
    """An input of a worker: a stream and the subjects it reads there.

    fenced: messages carry a checkpoint with dense numbers (they come from a worker of ours);
    otherwise the stream's own sequence and the broker's time count. told: positions of answers name
    how far it was read; false where another worker is the one that speaks for this stream.
    """

    stream: str
    subjects: tuple[str, ...]
    fenced: bool = True
    told: bool = True


@dataclass(frozen=True, slots=True)
class Own:
    """A subject that this worker alone writes."""

    stream: str
    subject: str


@dataclass(frozen=True, slots=True)
class Message:
    """One input message. time_us: log time after it, never less than that of the one before."""

    source: int
    subject: str
    sequence: int
    time_us: int
    body: bytes


@dataclass(slots=True)
class Facts:
    """What one step says.

    bodies: place of an own subject in `Core.own` -> bodies of at most PART_BYTES_MAX, in order.
    batch: (subject, body, headers) of public messages, committed atomically with the lead (relay).
    """

    bodies: dict[int, list[bytes]] = field(default_factory=dict)
    batch: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.bodies or self.batch)


class Core(Protocol):
    """The pure part of ingest, identity, segments or the relay."""

    name: str
    """Names its folder of snapshots and its metrics, such as `segments-0`."""

    version: int
    """Raised when the same input would give other bytes: older snapshots are not loaded."""

    sources: tuple[Source, ...]
    """Source 0 carries log time; within a cut, messages of later sources come first."""

    own: tuple[Own, ...]
    """The lead first (touched in every step), PARKED last."""

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        """Takes a cut, moves the state in place to `time_us` and says what follows from it."""

    def dump(self) -> Buffers:
        """The whole state as named buffers; arrays may not change after they were handed out."""

    def load(self, state: Mapping[str, memoryview]) -> None:
        """Takes over what `dump` gave (as memoryviews of bytes; arrays via numpy.frombuffer)."""

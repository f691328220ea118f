"""A bounded buffer that cuts batches. Pure: time and waiting are its owner's."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from muster_client.events import Event

FRAME_BYTES = 4


class BufferFull(Exception):
    """The buffer stayed full: the way in is slower than the publisher. The event was not taken."""


@dataclass(frozen=True, slots=True)
class Held:
    """An event on its way, encoded once so that every retry sends the same bytes."""

    event: Event
    raw: bytes


@dataclass(slots=True)
class Buffer:
    """Events not yet acknowledged: those that wait, and those that are out."""

    events_max: int
    bytes_max: int
    batch_events_max: int
    batch_bytes_max: int
    waiting: deque[Held] = field(default_factory=deque)
    events: int = 0
    bytes: int = 0

    def has_room(self, size: int) -> bool:
        return not self.events or (
            self.events < self.events_max and self.bytes + size <= self.bytes_max
        )

    def add(self, held: Held) -> None:
        self.waiting.append(held)
        self.events += 1
        self.bytes += len(held.raw)

    @property
    def has_full_batch(self) -> bool:
        if len(self.waiting) >= self.batch_events_max:
            return True
        return sum(len(held.raw) + FRAME_BYTES for held in self.waiting) >= self.batch_bytes_max

    def cut(self) -> list[Held]:
        """The next batch; its events stay counted until `settle`."""
        batch: list[Held] = []
        size = 0
        while self.waiting and len(batch) < self.batch_events_max:
            size += len(self.waiting[0].raw) + FRAME_BYTES
            if batch and size > self.batch_bytes_max:
                break
            batch.append(self.waiting.popleft())
        return batch

    def settle(self, batch: list[Held]) -> None:
        """The batch was acknowledged or refused for good."""
        self.events -= len(batch)
        self.bytes -= sum(len(held.raw) for held in batch)

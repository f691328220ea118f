"""The inputs of a worker: whole steps only, in order, in live or in recorded cuts."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from nats.aio.client import Client

from services.chassis import clock, subjects
from services.chassis.checkpoint import Origin
from services.chassis.core import Message, Source
from services.chassis.errors import ExitCode, Stop
from services.chassis.pull import Pull, Pulled

READ_AHEAD_BYTES = 4 << 20
REPLAY_SILENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Unit:
    """What is taken or left as a whole: one message, or all parts of one step of a worker."""

    messages: tuple[Message, ...]
    numbers: dict[str, int]
    origin: Origin
    bytes: int
    trace: str = ""

    @property
    def sequence(self) -> int:
        return self.messages[-1].sequence

    @property
    def time_us(self) -> int:
        return self.messages[-1].time_us


class Input:
    """One source: pulls ahead, joins the parts of a step, hands out units.

    Several writers may interleave parts; a unit ends where no step is open.
    """

    def __init__(
        self,
        client: Client,
        place: int,
        source: Source,
        after: int,
        numbers: dict[str, int],
        time_us: int,
        arrived: asyncio.Event,
    ) -> None:
        self.source = source
        self._place = place
        self._pull = Pull(
            client,
            source.stream,
            source.subjects,
            after,
            dict(numbers) if source.fenced else None,
            arrived=arrived,
        )
        self._time_us = time_us
        self._units: deque[Unit] = deque()
        self._held_bytes = 0
        self._open: list[Pulled] = []
        self._open_subjects: set[str] = set()

    @property
    def caught_up(self) -> bool:
        """Nothing more was waiting at the broker when we last heard."""
        return self._pull.caught_up and not self._units

    async def tend(self) -> None:
        """Asks for more while little is held; joins what has arrived."""
        if self._held_bytes < READ_AHEAD_BYTES:
            await self._pull.tend()
            for pulled in self._pull.drain(READ_AHEAD_BYTES):
                self._join(pulled)

    def next(self, bytes_max: int) -> Unit | None:
        """The next unit when it fits, else None."""
        if self._units and self._units[0].bytes <= bytes_max:
            return self._pop()
        return None

    def _pop(self) -> Unit:
        unit = self._units.popleft()
        self._held_bytes -= unit.bytes
        return unit

    async def up_to(self, sequence: int) -> list[Unit]:
        """The recorded cut: every unit up to and including `sequence`, waiting for it."""
        taken: list[Unit] = []
        deadline = clock.monotonic() + REPLAY_SILENCE_S
        while not taken or taken[-1].sequence < sequence:
            if self._units:
                taken.append(self._pop())
                deadline = clock.monotonic() + REPLAY_SILENCE_S
                continue
            if clock.monotonic() > deadline:
                raise Stop(
                    ExitCode.UNKNOWN, f"{self.source.stream} cannot be read up to {sequence}"
                )
            for pulled in await self._pull.take(READ_AHEAD_BYTES, 0.5):
                self._join(pulled)
        if taken[-1].sequence != sequence:
            raise Stop(
                ExitCode.DIVERGED,
                f"{self.source.stream}: the recorded cut ends at {sequence}, "
                f"but a step ends at {taken[-1].sequence}",
            )
        return taken

    async def close(self) -> None:
        await self._pull.close()

    def _join(self, pulled: Pulled) -> None:
        self._open.append(pulled)
        checkpoint = pulled.checkpoint if self.source.fenced else None
        if checkpoint is not None and not checkpoint.last:
            self._open_subjects.add(pulled.subject)
        else:
            self._open_subjects.discard(pulled.subject)
        if self._open_subjects:
            return
        origin = Origin()
        numbers: dict[str, int] = {}
        for one in self._open:
            if self.source.fenced and one.checkpoint is not None:
                self._time_us = max(self._time_us, one.checkpoint.time_us)
                numbers[one.subject] = one.checkpoint.number
                origin = origin.merged(one.checkpoint.origin)
            else:
                self._time_us = max(self._time_us, one.time_us)
                if self.source.told:
                    origin = origin.merged(_origin_at(self.source.stream, one.sequence))
        messages = tuple(
            Message(self._place, one.subject, one.sequence, self._time_us, one.body)
            for one in self._open
        )
        trace = next((one.trace for one in self._open if one.trace), "")
        size = sum(len(message.body) for message in messages)
        self._held_bytes += size
        self._units.append(Unit(messages, numbers, origin, size, trace))
        self._open = []


def _origin_at(stream: str, sequence: int) -> Origin:
    if stream == subjects.INTAKE:
        return Origin(intake=sequence)
    if stream == subjects.CONTROL:
        return Origin(control=sequence)
    return Origin()

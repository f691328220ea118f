"""Streams in memory and the stages that read and write them, step by step, as fenced workers do.

A stage takes a cut of whole units (all parts of a step of its writer, or one message of a door),
later sources first, and its core's facts become the units of the next streams. What the workers of
the chassis add on real servers (fences, snapshots, restarts) has no place here; cuts do, because no
answer may depend on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from services.chassis.core import Core, Facts, Message, Source

IDLE_COMMIT_US = 1_000_000
CutChoice = Callable[[int], int]
"""How many of the waiting units a step takes, given their number (at least one)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is read or left as a whole."""

    subject: str
    sequence: int
    time_us: int
    bodies: tuple[bytes, ...]


@dataclass
class Streams:
    """Every stream by name."""

    units: dict[str, list[Unit]] = field(default_factory=lambda: defaultdict(list))

    def append(self, stream: str, subject: str, time_us: int, bodies: tuple[bytes, ...]) -> int:
        """Stores a unit; its sequence."""
        sequence = len(self.units[stream]) + 1
        self.units[stream].append(Unit(subject, sequence, time_us, bodies))
        return sequence


def everything(waiting: int) -> int:
    """The cut of a worker that finds everything there at once."""
    return waiting


def takes(pattern: str, subject: str) -> bool:
    """Whether a subject falls under a filter with * and a trailing >."""
    return fnmatchcase(subject, pattern.removesuffix(">") + "*" * pattern.endswith(">"))


class Stage:
    """One core on its streams."""

    def __init__(self, core: Core, streams: Streams, choose: CutChoice = everything) -> None:
        self.core = core
        self.streams = streams
        self.choose = choose
        self.time_us = 0
        self._committed_us = 0
        self._read = [0] * len(core.sources)
        self._times = [0] * len(core.sources)

    def pump(self) -> bool:
        """One step over what is waiting; False when nothing is."""
        taken: list[Message] = []
        for place in reversed(range(len(self.core.sources))):
            waiting = self._waiting(place)
            if waiting:
                count = max(0 if taken else 1, min(len(waiting), self.choose(len(waiting))))
                taken += self._messages(place, waiting[:count])
        if not taken:
            return False
        self._commit(self.core.step(taken, self.time_us))
        return True

    def _waiting(self, place: int) -> list[Unit]:
        source: Source = self.core.sources[place]
        arrived = self.streams.units[source.stream][self._read[place] :]
        return [u for u in arrived if any(takes(f, u.subject) for f in source.subjects)]

    def _messages(self, place: int, units: list[Unit]) -> list[Message]:
        messages = []
        for unit in units:
            self._times[place] = max(self._times[place], unit.time_us)
            self._read[place] = unit.sequence
            messages += [
                Message(place, unit.subject, unit.sequence, self._times[place], body)
                for body in unit.bodies
            ]
        if place == 0:
            self.time_us = max(self.time_us, self._times[0])
        return messages

    def _commit(self, facts: Facts) -> None:
        """Appends what the step says; the lead is touched when anything is, or time has passed."""
        bodies = {place: tuple(parts) for place, parts in facts.bodies.items() if parts}
        if not bodies and not facts.batch and self.time_us - self._committed_us < IDLE_COMMIT_US:
            return
        self._committed_us = self.time_us
        bodies.setdefault(0, (b"",))
        for place in sorted(bodies):
            own = self.core.own[place]
            self.streams.append(own.stream, own.subject, self.time_us, bodies[place])

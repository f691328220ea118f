"""The header of every fenced message: where its writer stood, and proof of all it said before.

Outputs and progress are one write: the message is the fact, its header the checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

HEADER = "Muster-Checkpoint"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
TRACE = "traceparent"
"""W3C trace context, handed on from the first traced input of a step to everything it says."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How far the doors of the log are reflected: sequences of INTAKE and CONTROL."""

    intake: int = 0
    control: int = 0

    def merged(self, other: Origin) -> Origin:
        return Origin(max(self.intake, other.intake), max(self.control, other.control))

    def covers(self, other: Origin) -> bool:
        return self.intake >= other.intake and self.control >= other.control

    def token(self) -> str:
        """What callers hand back as `at_least`."""
        return f"i{self.intake}.c{self.control}"

    @classmethod
    def parse(cls, token: str) -> Origin:
        """The origin in a token; ValueError when it is not one of ours."""
        if not token:
            return cls()
        try:
            intake, control = token.split(".")
            if intake[0] != "i" or control[0] != "c":
                raise ValueError
            return cls(int(intake[1:]), int(control[1:]))
        except (ValueError, IndexError):
            raise ValueError(
                f"{token!r} is not a position: hand back a token from an earlier answer"
            ) from None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One message of one step on one own subject.

    step: number of the step, dense from 1. cuts: for each batch the core was given, the input
    sequence reached per source (the last one is where the step ends). numbers: dense number reached
    per fenced input subject. time_us: log time of the step; it counts with the last part. touched:
    places of the own subjects of this step. part/parts: of this subject. number: dense number of
    the message on its subject. previous: stream sequence of the message before it. chain: hash of
    all bodies of the subject so far. parked: (source, sequence) of messages not stepped but parked.
    """

    step: int
    cuts: tuple[tuple[int, ...], ...]
    numbers: dict[str, int]
    time_us: int
    touched: tuple[int, ...]
    part: int
    parts: int
    number: int
    previous: int
    chain: str
    version: int
    origin: Origin
    owner: str = ""
    parked: tuple[tuple[int, int], ...] = ()

    @property
    def to(self) -> tuple[int, ...]:
        """Input sequence reached per source."""
        return self.cuts[-1]

    @property
    def last(self) -> bool:
        return self.part == self.parts

    def encode(self) -> str:
        values = {name: getattr(self, name) for name in _FIELDS}
        values["origin"] = [self.origin.intake, self.origin.control]
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        values = json.loads(text)
        values["cuts"] = tuple(tuple(cut) for cut in values["cuts"])
        values["touched"] = tuple(values["touched"])
        values["parked"] = tuple((s, q) for s, q in values["parked"])
        values["origin"] = Origin(*values["origin"])
        return cls(**values)


_FIELDS = tuple(one.name for one in fields(Checkpoint))


@dataclass(slots=True)
class Head:
    """The last message of an own subject: stream sequence, dense number, chain hash."""

    sequence: int = 0
    number: int = 0
    chain: str = ""


def chained(
    previous: str, body: bytes, batch: Sequence[tuple[str, bytes, dict[str, str]]] = ()
) -> str:
    """Hash of everything a subject has said: of the chain so far and this body (and its batch)."""
    digest = hashlib.sha256(previous.encode())
    digest.update(body)
    for subject, public, _ in batch:
        digest.update(subject.encode())
        digest.update(public)
    return digest.hexdigest()[:32]

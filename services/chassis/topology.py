"""Streams as data: what the log consists of, and the one owner that makes it so.

`muster topology plan|apply` compares this with the broker; services only verify and bind.
"""

from __future__ import annotations

from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import (
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from services.chassis import subjects

DAY_S = 24 * 60 * 60
SUBJECTS = "muster.{noun}.v1.>"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: who writes it, how long it is kept.

    age_days: 0 keeps for ever. share_percent: of the bytes given to the whole log
    (`Settings.log_bytes_max`); beyond its share new messages are refused.
    """

    name: str
    nouns: tuple[str, ...]
    writer: str
    age_days: int
    share_percent: int
    atomic: bool = False


STREAMS = (
    Stream(subjects.INTAKE, ("intake",), "publishers and the doors of ingest", 7, 10),
    Stream(subjects.RECEIPTS, ("receipts",), "ingest", 7, 2),
    Stream(subjects.EVENTS, ("events",), "ingest", 0, 32),
    Stream(subjects.CONTROL, ("control",), "the owners of definitions", 0, 2),
    Stream(subjects.PROFILES, ("profiles",), "identity", 7, 18),
    Stream(subjects.HISTORY, ("history",), "segments", 7, 4),
    Stream(subjects.TRANSITIONS, ("transitions",), "segments", 30, 18),
    Stream(subjects.TRIGGERS, ("triggers", "relay"), "relay", 7, 5, atomic=True),
    Stream(subjects.MESSAGES, ("messages",), "frequency", 7, 4, atomic=True),
    Stream(subjects.ALERTS, ("alerts",), "alerts", 7, 2, atomic=True),
    Stream(subjects.PARKED, ("parked",), "each service its own subject", 30, 3),
)
"""Shares add up to 100."""


class TopologyError(Exception):
    """The broker's streams are not as declared; the message lists every difference."""


def config_of(stream: Stream, log_bytes_max: int, replicas: int) -> StreamConfig:
    """The broker's configuration of a declared stream."""
    return StreamConfig(
        name=stream.name,
        description=f"written by {stream.writer}",
        subjects=[SUBJECTS.format(noun=noun) for noun in stream.nouns],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        max_age=stream.age_days * DAY_S,
        max_bytes=log_bytes_max // 100 * stream.share_percent,
        max_msg_size=1 << 20,
        num_replicas=replicas,
        duplicate_window=0.1,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
        allow_atomic=stream.atomic or None,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: a stream to create, or a field of one to set."""

    stream: str
    field: str
    wanted: object
    found: object

    def __str__(self) -> str:
        if self.field == "":
            return f"{self.stream}: create"
        return f"{self.stream}: {self.field} is {self.found!r}, wanted {self.wanted!r}"


_COMPARED = (
    "subjects",
    "retention",
    "discard",
    "storage",
    "max_age",
    "max_bytes",
    "max_msg_size",
    "num_replicas",
    "duplicate_window",
    "deny_delete",
    "deny_purge",
    "allow_direct",
    "allow_atomic",
)


async def plan(client: Client, log_bytes_max: int, replicas: int = 1) -> list[Change]:
    """Every difference between the declared streams and the broker's; [] when all is well."""
    jetstream = client.jetstream(timeout=10)
    changes: list[Change] = []
    for stream in STREAMS:
        wanted = config_of(stream, log_bytes_max, replicas)
        try:
            found = (await jetstream.stream_info(stream.name)).config
        except nats.js.errors.NotFoundError:
            changes.append(Change(stream.name, "", wanted, None))
            continue
        for name in _COMPARED:
            want, have = getattr(wanted, name), getattr(found, name)
            if (want or None) != (have or None):
                changes.append(Change(stream.name, name, want, have))
    return changes


async def apply(client: Client, log_bytes_max: int, replicas: int = 1) -> list[Change]:
    """Makes the broker's streams as declared; returns what it changed. Safe to repeat."""
    jetstream = client.jetstream(timeout=10)
    changes = await plan(client, log_bytes_max, replicas)
    for name in dict.fromkeys(change.stream for change in changes):
        config = config_of(next(s for s in STREAMS if s.name == name), log_bytes_max, replicas)
        if any(c.stream == name and c.field == "" for c in changes):
            await jetstream.add_stream(config)
        else:
            await jetstream.update_stream(config)
    return changes


async def verify(client: Client, names: set[str], log_bytes_max: int, replicas: int = 1) -> None:
    """Raises TopologyError when one of the named streams is missing or differs."""
    wrong = [str(c) for c in await plan(client, log_bytes_max, replicas) if c.stream in names]
    if wrong:
        raise TopologyError(
            "the broker's streams are not as declared; run `muster topology apply`: "
            + "; ".join(wrong)
        )

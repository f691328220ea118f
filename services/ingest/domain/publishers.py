"""Decides who may publish what, and how much: keys, scopes, trust, quotas."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum

BURST_S = 2.0
"""A quiet publisher may send what this many seconds allow at once."""


class Scope(IntEnum):
    """What a publisher may do; the numbers are those of the contract."""

    EVENTS = 1
    IMPORT = 2
    CATALOGUE = 3


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who may publish. key_hashes: SHA-256, 32 bytes each; rates: of all doors, 0 for none."""

    name: str
    key_hashes: tuple[bytes, ...] = ()
    scopes: frozenset[Scope] = ALL_SCOPES
    untrusted: bool = False
    events_per_s: int = 0
    bytes_per_s: int = 0
    retired: bool = False


def hash_of(key: str) -> bytes:
    """What is kept of a key: keys are random and long, so one round is enough."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


@dataclass(slots=True)
class Bucket:
    """A rate with a burst: full at first, refilled by time. Amounts may be larger than the burst:
    they are let in while it is not empty, and paid for afterwards."""

    rate_per_s: float
    level: float = 0.0
    since_s: float = 0.0
    begun: bool = False

    def wait_s(self, now_s: float) -> float:
        """Seconds until something may be taken; 0 when it may be now. now_s: only grows."""
        if not self.begun:
            self.begun, self.level = True, self.rate_per_s * BURST_S
        else:
            earned = (now_s - self.since_s) * self.rate_per_s
            self.level = min(self.rate_per_s * BURST_S, self.level + earned)
        self.since_s = now_s
        return 0.0 if self.level > 0 else (1 - self.level) / self.rate_per_s

    def take(self, amount: float) -> None:
        """Pays for what was let in."""
        self.level -= amount


@dataclass(slots=True)
class Quota:
    """How much one publisher may still send, as one door knows it."""

    publisher: Publisher
    events: Bucket = field(init=False)
    bytes: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.events = Bucket(self.publisher.events_per_s)
        self.bytes = Bucket(self.publisher.bytes_per_s)

    def admit(self, events: int, size: int, now_s: float) -> float:
        """0 and paid for, or the seconds after which to try again."""
        buckets = [
            (bucket, amount)
            for bucket, amount in ((self.events, events), (self.bytes, size))
            if bucket.rate_per_s
        ]
        wait_s = max((bucket.wait_s(now_s) for bucket, _ in buckets), default=0.0)
        if not wait_s:
            for bucket, amount in buckets:
                bucket.take(amount)
        return wait_s

    def charge(self, events: int, size: int, now_s: float) -> None:
        """Pays for what was let in elsewhere; there may be less than nothing left afterwards."""
        for bucket, amount in ((self.events, events), (self.bytes, size)):
            if bucket.rate_per_s:
                bucket.wait_s(now_s)
                bucket.take(amount)

"""The only reader of time, ids and chance; everything else takes them as arguments."""

from __future__ import annotations

import secrets
import time
import uuid

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def wall_us() -> int:
    """UTC microseconds since 1970 by this machine's clock. Never in a core, only at the doors."""
    return time.time_ns() // 1_000


def monotonic() -> float:
    """Seconds that only grow, for time-outs and durations."""
    return time.monotonic()


def performance_us() -> int:
    """Microseconds for measuring how long a piece of work took."""
    return time.perf_counter_ns() // 1_000


def pause(seconds: float) -> None:
    """Keeps the calling thread from going on for a while."""
    time.sleep(seconds)


def new_id() -> str:
    """A random 128-bit id, 32 hex digits."""
    return uuid.uuid4().hex


def new_secret(length_bytes: int = 24) -> str:
    return secrets.token_urlsafe(length_bytes)

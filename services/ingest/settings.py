"""Settings of ingest; every one is the variable MUSTER_<NAME>."""

from __future__ import annotations

from pydantic import Field

from services.chassis.settings import Settings


class IngestSettings(Settings):
    """Limits of the doors and of the worker behind them.

    Those of the worker decide facts: change them while it is stopped and caught up, since a replay
    of older steps under other limits is refused as diverged.
    """

    # The worker.
    dedupe_prints_max: int = Field(100_000_000, ge=1)
    """Event ids remembered within the horizon (about 23 bytes each); beyond it events are
    refused, never forgotten."""
    import_prints_max: int = Field(100_000_000, ge=1)
    """Event ids of imports remembered, for ever."""
    orders_max: int = Field(5_000_000, ge=1)
    """Orders remembered, for ever (about 350 bytes each); beyond it new ones are refused."""
    phone_country: str = Field("", pattern=r"^([A-Za-z]{2})?$")
    """ISO code for telephone numbers without + and country code; empty leaves them out."""
    blocked_values: tuple[str, ...] = ()
    """Further identifier values that never identify, as a JSON list."""
    blocked_patterns: tuple[str, ...] = ()
    """RE2 patterns of further such values, as a JSON list; each matches the whole value."""
    silence_ms: int = Field(100, ge=10)
    """After this much silence of INTAKE a tick gives the log its time."""
    clock_jump_max_ms: int = Field(5_000, ge=100)
    """The broker's clock may differ from ours by this much; beyond it ingest stops."""

    # The doors.
    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65535)
    """Where Segment's API is served; 0 leaves this door shut."""
    http_bytes_max: int = Field(64 << 20, ge=1 << 20)
    """Bytes of requests that may be in hand over HTTP; beyond them they are refused (429)."""
    http_requests_max: int = Field(1_000, ge=1)
    """Requests that may be in hand over HTTP; beyond them they are refused (429)."""
    keys_required: bool = False
    """Refuses publishers that nobody registered; off, they may take any free name (local)."""
    linger_ms: int = Field(2, ge=0)
    """How long calls of one publisher wait for each other to share a message."""
    linger_events_max: int = Field(500, ge=1, le=1_000)
    """A shared message is sent at once when it holds this many events."""
    store_timeout_ms: int = Field(4_000, ge=100)
    """An unanswered store is an unknown outcome: the caller sends the same ids again."""
    waiting_bytes_max: int = Field(64 << 20, ge=1 << 20)
    """Bytes that may wait for their PubAck; beyond them calls are refused as overloaded."""
    verdict_wait_max_ms: int = Field(30_000, ge=0)
    """The longest a call may wait for ACCEPTED or DUPLICATE."""

"""Settings from the environment: one frozen class per service, every limit with its unit last."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every process reads. Each field is the variable MUSTER_<FIELD>.

    A service adds its own in `services/<service>/settings.py`; a wrong value stops the start with
    the name of the variable and what it must be.
    """

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True, extra="ignore")

    tenant: str = Field("demo", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    partitions: int = Field(1, ge=1, le=64)
    partition: int = Field(0, ge=0, lt=64)
    nats_url: str = "nats://127.0.0.1:7422"
    postgres_url: str = "postgresql://muster@127.0.0.1:7432/muster"
    state_dir: Path = Path(".state/work")
    grpc_host: str = "127.0.0.1"
    grpc_port: int = Field(0, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535)
    log_level: str = "INFO"
    log_bytes_max: int = Field(8 << 30, ge=64 << 20)
    """Disk given to the whole log; topology.py shares it out among the streams."""
    stream_replicas: int = Field(1, ge=1, le=5)
    print_key: str = "muster-local-development-key"
    """Keys the prints of identifiers and event ids; a secret per tenant in production."""

    # The fenced worker.
    step_bytes_max: int = 640 << 10
    """Input bytes taken into one step."""
    commit_timeout_ms: int = 5_000
    """An unanswered commit is an unknown outcome: the process ends and reads the log."""
    idle_commit_ms: int = 1_000
    """A step without facts is committed after this much log time."""
    snapshot_steps: int = 2_000
    snapshot_interval_ms: int = 60_000
    """A snapshot is due this many steps and this much log time after the last one …"""
    snapshot_input_bytes: int = 256 << 20
    """… or after this much input, which a new life would have to replay."""
    standby_quiet_ms: int = 2_500
    """A standby takes over when the owner has committed nothing for this long."""
    snapshot_ahead_retry_ms: int = 30_000
    """A snapshot ahead of the log may be a stale read: tried again this long before stopping."""
    fresh_start: bool = False
    """Lets a worker that never ran begin although its own stream no longer starts at 1."""
    deaths_max: int = 3
    """A message that kills the process this often is stepped alone, then parked."""
    drain_ms: int = 2_000
    """Time calls get to end when the process is told to stop."""


ports = {
    "nats": 7422,
    "postgres": 7432,
    "ingest": 7401,
    "ingest-worker": 7411,
    "identity": 7402,
    "segments": 7403,
    "relay": 7413,
    "frequency": 7404,
    "alerts": 7405,
}
"""Documented ports of the local stack (gRPC; metrics are 100 above)."""
HTTP_PORT = 7480
"""Segment's API, at the doors of ingest."""

"""Settings of frequency: each field is the variable MUSTER_<FIELD>."""

from __future__ import annotations

from pydantic import Field

from services.chassis.settings import Settings


class FrequencySettings(Settings):
    """What a frequency process reads beside the common settings."""

    wishes_max: int = Field(1_000, ge=1, le=10_000)
    """Wishes of one ReserveMessages call."""
    lanes: int = Field(4, ge=1, le=16)
    """Transactions that decide at the same time."""
    lane_wishes_max: int = Field(250, ge=1, le=256)
    """Wishes of one transaction, gathered from the calls that wait."""
    waiting_wishes_max: int = Field(50_000, ge=1)
    """Wishes that may wait; more are refused with RESOURCE_EXHAUSTED."""
    kinds_max: int = Field(10_000, ge=1)
    """Distinct pairs of message type and channel of a tenant."""
    due_poll_ms: int = Field(200, ge=10)
    """How often deferred asks are looked at."""
    due_asks_max: int = Field(200, ge=1, le=256)
    """Deferred asks judged in one transaction."""
    triggers_max: int = Field(200, ge=1, le=256)
    """Triggers applied in one transaction."""
    steps_max: int = Field(256, ge=1)
    """Steps of identity read in one transaction."""
    memory_days_min: int = Field(35, ge=1)
    """Message keys are remembered this long, or as long as the longest window looks back."""
    sweep_every_s: float = Field(60.0, gt=0)
    """How often forgotten keys are deleted and old tallies summed."""

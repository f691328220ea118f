"""Settings of alerts: each field is the variable MUSTER_<FIELD>."""

from __future__ import annotations

from pydantic import Field

from services.chassis.settings import Settings


class AlertsSettings(Settings):
    """What an alerts process reads beside the common settings."""

    watches_max: int = Field(1_000, ge=1)
    """Watches of a tenant at a time."""
    steps_max: int = Field(256, ge=1)
    """Messages of TRANSITIONS applied in one transaction."""
    points_closed_max: int = Field(2_000, ge=1)
    """Points a watch closes in one transaction, when it has fallen far behind."""
    points_kept_days: int = Field(90, ge=1)
    """Closed points older than this are deleted."""
    page_max: int = Field(1_000, ge=1)
    """Rows of one page of an answer."""
    sweep_every_s: float = Field(300.0, gt=0)
    """How often old points are deleted."""

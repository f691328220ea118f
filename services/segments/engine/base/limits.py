"""What an engine may grow to: every limit with its unit, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Limits of one engine (one tenant, one partition). Beyond one, EngineFull ends the process:
    a worker that forgets is worse than one that stops."""

    profiles_max: int = 16_000_000
    events_max: int = 1_000_000_000
    segments_max: int = 10_000
    depth_max: int = 16
    """Of a rule."""
    leaves_max: int = 256
    """Of a rule."""
    filters_max: int = 256
    """Property filters of one selection of events."""
    values_max: int = 1_000
    """Values an operator of a rule compares with; more make a list or an attribute."""
    steps_max: int = 16
    """Steps of a sequence."""
    periods_max: int = 366
    """Periods a regularity looks at."""
    window_years_max: int = 100
    """Of a window or any other duration in a rule."""
    evidence_events_max: int = 100
    """Events an explanation names per leaf."""
    explain_instants_max: int = 20_000
    """Future instants an explanation looks at before it says it does not know the next flip."""
    history_bytes_max: int = 480 << 10
    """Body of one HistoryMoved message, below the 512 KB of a message of facts."""
    shift_rows_max: int = 2_048
    """A row later than this many newer ones goes into the tail instead of between them."""
    tail_rows_max: int = 4_096
    """Rows of a tail before it is merged into the late run."""
    late_rows_min: int = 65_536
    """Rows of a late run before it is merged into main (or an eighth of main, if that is more)."""
    sealed_rows: int = 65_536
    """Rows of main that snapshots write once and share, a block of so many after the other, as soon
    as none can come between them any more; what is younger is written anew each time."""


class EngineFull(Exception):
    """A limit of the engine is reached; the message names it."""

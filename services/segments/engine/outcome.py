"""What the engine says: transitions, activity, sizes, plans and explanations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.engine.arrays import Array
from services.segments.engine.expressions import Expression
from services.segments.engine.memberships import reasons
from services.segments.engine.partition import Partition
from services.segments.engine.said import Said

LATE_AFTER_US = 600_000_000
"""An event accepted longer than this after it occurred is late, as a reason."""
IMPORT, BACKFILL = 7, 9
SILENT = 1


@dataclass(slots=True)
class StepOutcome:
    """What one advance says.

    transitions: columns of TransitionColumns, in order of (at_us, profile, segment); empty when
    nothing changed. activity: columns of ActivityCounted, in order of (minute, segment, type).
    sizes: (segment number, segment id, version, members) of segments that changed, by number.
    """

    transitions: dict[str, Any]
    activity: dict[str, Any]
    sizes: list[tuple[int, str, int, int]]

    def __bool__(self) -> bool:
        return bool(self.transitions or self.activity or self.sizes)


@dataclass(frozen=True, slots=True)
class Plan:
    """A rule compiled for questions."""

    node: rule.Node
    expression: Expression


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event that counts. value: what it adds; leave_us: None when it never leaves."""

    event_id: str
    type: str
    occur_us: int
    value: str
    leave_us: int | None


@dataclass(frozen=True, slots=True)
class LeafExplanation:
    """One leaf. window edges: microseconds, None when open or when it has no window."""

    path: str
    sentence: str
    holds: bool
    found: str
    window_from_us: int | None = None
    window_to_us: int | None = None
    events: tuple[Evidence, ...] = ()
    events_total: int = 0
    missing: str = ""
    """The least that would turn the leaf, where that is simple: 2 more, 50 more."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a profile is in or out. flip_time_us: the next instant it changes if nothing more
    happens; None when never (or, see flip_known, when too far to tell)."""

    segment_id: str
    segment_version: int
    profile: int
    member: bool
    leaves: tuple[LeafExplanation, ...]
    flip_time_us: int | None
    flip_known: bool = True


@dataclass(slots=True)
class SegmentInfo:
    """A segment as it stands in this partition."""

    number: int
    segment_id: str
    version: int
    definition: bytes
    members: int
    retired: bool
    sentence: str = ""
    zone: str = ""
    references: tuple[str, ...] = field(default=())


def _joined(said: list[Said], name: str) -> Array:
    return (
        getattr(said[0], name)
        if len(said) == 1
        else np.concatenate([getattr(one, name) for one in said])
    )


@njit(cache=True, nogil=True)
def _spread(
    row: Array, place: Array, number: Array, public: Array, partition: int, partitions: int,
    reason: Array, profile: Array, segment: Array, public_id: Array, flags: Array,
) -> None:  # fmt: skip
    for i in range(row.size):
        profile[i] = np.int64(row[i]) * partitions + partition
        segment[i] = number[place[i]]
        public_id[i] = public[row[i]]
        flags[i] = 1 if reason[i] == IMPORT or reason[i] == BACKFILL else 0


def transition_columns(part: Partition, said: list[Said]) -> dict[str, Any]:
    """Columns of TransitionColumns."""
    if not said or not sum(one.at.size for one in said):
        return {}
    cause, row, place, version = (
        _joined(said, name) for name in ("cause", "row", "place", "version")
    )
    n = cause.size
    reason, prints = np.empty(n, np.uint8), np.empty(2 * n, np.uint64)
    records = part.attributes.columns
    reasons(
        cause, part.events.view, records["print_high"], records["print_low"], part.move_high,
        part.move_low, part.move_reason, LATE_AFTER_US, reason, prints,
    )  # fmt: skip
    profile, segment = np.empty(n, np.uint32), np.empty(n, np.uint32)
    public, flags = np.empty(n, np.uint64), np.empty(n, np.uint8)
    _spread(
        row, place, part.tables()[0].number, part.people.public_id, part.people.partition,
        part.people.partitions, reason, profile, segment, public, flags,
    )  # fmt: skip
    return {
        "at_us": _joined(said, "at"),
        "profile": profile,
        "segment": segment,
        "version": version,
        "entered": _joined(said, "entered"),
        "reason": reason,
        "ordinal": _joined(said, "ordinal"),
        "cause_print": prints,
        "public_id": public,
        "row_flags": flags,
    }


def activity_columns(part: Partition, said: list[Said]) -> dict[str, Any]:
    """Columns of ActivityCounted."""
    said = [one for one in said if one.minute.size]
    if not said:
        return {}
    minute, place, kind, count = (
        _joined(said, name) for name in ("minute", "active_place", "active_type", "active")
    )
    segment = part.tables()[0].number[place]
    present = np.zeros(len(part.names.names), bool)
    present[kind] = True
    kinds = np.flatnonzero(present)
    local = (np.cumsum(present) - 1)[kind]
    if len(said) > 1 or not bool((np.diff(part.tables()[0].number) > 0).all()):
        order = np.lexsort((local, segment, minute))
        minute, segment, local, count = minute[order], segment[order], local[order], count[order]
        fresh = np.ones(minute.size, bool)
        fresh[1:] = (
            (minute[1:] != minute[:-1]) | (segment[1:] != segment[:-1]) | (local[1:] != local[:-1])
        )
        heads = np.flatnonzero(fresh)
        minute, segment, local = minute[heads], segment[heads], local[heads]
        count = np.add.reduceat(count, heads)
    raw = [part.names.names[number].encode() for number in kinds.tolist()]
    return {
        "segment": segment.astype(np.uint32),
        "type": local.astype(np.uint32),
        "minute_us": minute,
        "count": count.astype(np.uint32),
        "name": np.frombuffer(b"".join(raw), np.uint8),
        "name_end": np.cumsum([len(one) for one in raw]).astype(np.uint32),
    }

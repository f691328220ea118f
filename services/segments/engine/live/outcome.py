"""What the engine says: transitions, activity, sizes, plans and explanations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, bare
from services.segments.engine.language.expressions import Expression
from services.segments.engine.live.activity import Activity
from services.segments.engine.live.cursors import EVENT_CAUSE
from services.segments.engine.live.memberships import (
    ATTRIBUTE_CAUSE,
    BIRTH_CAUSE,
    MOVE_CAUSE,
    RULE_CAUSE,
    Transitions,
)
from services.segments.engine.live.said import Said
from services.segments.engine.partition import Partition
from services.segments.engine.store.events import IMPORT, PUNCTUAL, EventRows

LATE_AFTER_US = 600_000_000
"""An event accepted longer than this after it occurred is late, as a reason."""
EVENT, TIME, ATTRIBUTE, RULE_CHANGE, IMPORTED, BACKFILL, LATE = 1, 2, 3, 4, 7, 9, 10
"""Reasons, numbered as in muster.types.v1.Reason."""
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


@njit(cache=True, nogil=True)
def _spell(
    n: int, t: Transitions, e: EventRows, record_high: Array, record_low: Array, move_high: Array,
    move_low: Array, move_reason: Array, public: Array, partition: int, partitions: int,
    late_after: int, profile: Array, public_id: Array, reason: Array, prints: Array, flags: Array,
) -> None:  # fmt: skip
    """Profiles, reasons and prints of the causes of n transitions."""
    t, e = bare(t), bare(e)
    before = np.int64(-1)
    why = np.uint8(0)
    high = low = np.uint64(0)
    for i in range(n):
        code = t.cause[i]
        if code != before:
            before = code
            high = low = np.uint64(0)
            if code == 0:
                why = np.uint8(TIME)
            elif code >= RULE_CAUSE:
                why = np.uint8(BACKFILL if code == RULE_CAUSE else RULE_CHANGE)
            elif code >= MOVE_CAUSE:
                why = move_reason[code - MOVE_CAUSE]
                high, low = move_high[code - MOVE_CAUSE], move_low[code - MOVE_CAUSE]
            elif code >= EVENT_CAUSE:
                row = code - EVENT_CAUSE
                high, low = e.print_high[row], e.print_low[row]
                if e.flags[row] & np.uint8(IMPORT):
                    why = np.uint8(IMPORTED)
                elif e.accept[row] - e.occur[row] > late_after and not (
                    e.flags[row] & np.uint8(PUNCTUAL)
                ):
                    why = np.uint8(LATE)
                else:
                    why = np.uint8(EVENT)
            elif code >= BIRTH_CAUSE:
                why = np.uint8(EVENT)
            else:
                why = np.uint8(ATTRIBUTE)
                record = code - ATTRIBUTE_CAUSE
                high, low = record_high[record], record_low[record]
        row = np.int64(t.row[i])
        profile[i] = row * partitions + partition
        public_id[i] = public[row]
        reason[i] = why
        prints[2 * i] = high
        prints[2 * i + 1] = low
        flags[i] = SILENT if why in (IMPORTED, BACKFILL) else 0


@njit(cache=True, nogil=True)
def _tell(
    n: int, a: Activity, number: Array, log: Array, local: Array, segment: Array, kind: Array
) -> bool:
    """Segments and types of n lines; whether the segments of a minute come in order.

    log: types in the order in which the log brought them. local: by type -1, and afterwards of
    those that occur their place among them.
    """
    a = bare(a)
    for i in range(n):
        local[a.type[i]] = 0
    types = 0
    for i in range(log.size):
        if local[log[i]] == 0:
            local[log[i]] = types
            types += 1
    ordered = True
    before, minute = np.uint32(0), np.int64(-1)
    for i in range(n):
        mine = np.uint32(number[a.place[i]])
        if mine < before and a.minute[i] == minute:
            ordered = False
        before, minute = mine, a.minute[i]
        segment[i] = mine
        kind[i] = local[a.type[i]]
    return ordered


def transition_columns(part: Partition, said: Said) -> dict[str, Any]:
    """Columns of TransitionColumns."""
    n = said.changes
    if not n:
        return {}
    told, people, records = said.transitions, part.people, part.attributes.columns
    profile, public_id = np.empty(n, np.uint32), np.empty(n, np.uint64)
    reason, prints, flags = np.empty(n, np.uint8), np.empty(2 * n, np.uint64), np.empty(n, np.uint8)
    _spell(
        n, told, part.events.view, records["print_high"], records["print_low"], part.move_high,
        part.move_low, part.move_reason, people.public_id, people.partition, people.partitions,
        LATE_AFTER_US, profile, public_id, reason, prints, flags,
    )  # fmt: skip
    return {
        "at_us": told.at[:n].copy(),
        "profile": profile,
        "segment": told.segment[:n].copy(),
        "version": told.version[:n].copy(),
        "entered": told.entered[:n].copy(),
        "reason": reason,
        "ordinal": told.ordinal[:n].copy(),
        "cause_print": prints,
        "public_id": public_id,
        "row_flags": flags,
    }


def activity_columns(part: Partition, said: Said) -> dict[str, Any]:
    """Columns of ActivityCounted."""
    n, lines = said.lines, said.activity
    if not n:
        return {}
    log, local = part.events.types_in_order, np.full(len(part.names.names), -1)
    segment, kind = np.empty(n, np.uint32), np.empty(n, np.uint32)
    ordered = _tell(n, lines, part.tables()[0].number, log, local, segment, kind)
    minute, count = lines.minute[:n].copy(), lines.total[:n].copy()
    if said.parted or not ordered:
        order = np.lexsort((kind, segment, minute))
        minute, segment, kind, count = minute[order], segment[order], kind[order], count[order]
        fresh = np.ones(n, bool)
        fresh[1:] = (
            (minute[1:] != minute[:-1]) | (segment[1:] != segment[:-1]) | (kind[1:] != kind[:-1])
        )
        heads = np.flatnonzero(fresh)
        minute, segment, kind = minute[heads], segment[heads], kind[heads]
        count = np.add.reduceat(count, heads).astype(np.uint32)
    raw = [part.names.names[number].encode() for number in log[local[log] >= 0].tolist()]
    return {
        "segment": segment,
        "type": kind,
        "minute_us": minute,
        "count": count,
        "name": np.frombuffer(b"".join(raw), np.uint8),
        "name_end": np.cumsum([len(one) for one in raw]).astype(np.uint32),
    }

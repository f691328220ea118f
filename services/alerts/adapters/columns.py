"""What one message of TRANSITIONS adds to sizes, flows and activity, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.segments.v1 import facts_pb2
from services.chassis.columns import ColumnCodec, pool_texts, shadow_of

_STEP = shadow_of(facts_pb2.SegmentStep)
_TRANSITIONS = ColumnCodec(facts_pb2.TransitionColumns)
_ACTIVITY = ColumnCodec(facts_pb2.ActivityCounted)
SILENT = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One message. Rows of transitions are ordered by segment: rows of segment s lie between
    searchsorted(segment, s, left) and (…, right); so are those of activity.

    at_us: int64. sign: int64, 1 entered, -1 left. loud: bool, not from an import or backfill.
    sizes: (segment number, segment id, members) after the step.
    """

    segment: np.ndarray
    at_us: np.ndarray
    sign: np.ndarray
    loud: np.ndarray
    counted_segment: np.ndarray
    counted_type: list[str]
    counted_type_number: np.ndarray
    counted_minute_us: np.ndarray
    counted: np.ndarray
    sizes: list[tuple[int, str, int]]


def decoded(body: bytes) -> Step:
    """A SegmentStep; raises DecodeError when it is not one."""
    message = _STEP.FromString(body)
    rows = _TRANSITIONS.decode(message.transitions)
    activity = _ACTIVITY.decode(message.activity)
    order = np.argsort(rows["segment"], kind="stable")
    flags = rows["row_flags"]
    loud = (flags[order] & SILENT) == 0 if len(flags) else np.ones(len(order), bool)
    counted = np.argsort(activity["segment"], kind="stable")
    sizes = [facts_pb2.SegmentSize.FromString(raw) for raw in message.sizes]
    return Step(
        rows["segment"][order],
        rows["at_us"][order],
        rows["entered"][order].astype(np.int64) * 2 - 1,
        loud,
        activity["segment"][counted],
        pool_texts(activity["name"], activity["name_end"]),
        activity["type"][counted],
        activity["minute_us"][counted],
        activity["count"][counted].astype(np.int64),
        [(size.segment_number, size.segment_id, size.members) for size in sizes],
    )


def rows_of(column: np.ndarray, segment: int) -> slice:
    """The rows of a segment in a sorted column."""
    return slice(
        int(np.searchsorted(column, segment, "left")),
        int(np.searchsorted(column, segment, "right")),
    )


def by_point(at_us: np.ndarray, amounts: np.ndarray, step_us: int) -> list[tuple[int, int]]:
    """(start of the point, sum of the amounts that fall into it)."""
    starts, places = np.unique(at_us // step_us, return_inverse=True)
    sums = np.zeros(len(starts), np.int64)
    np.add.at(sums, places, amounts)
    return [(int(start) * step_us, int(total)) for start, total in zip(starts, sums, strict=True)]


def net_by_segment(step: Step) -> list[tuple[int, int]]:
    """(segment, entered less left) of every segment in the transitions."""
    segments, places = np.unique(step.segment, return_inverse=True)
    sums = np.zeros(len(segments), np.int64)
    np.add.at(sums, places, step.sign)
    return [(int(segment), int(total)) for segment, total in zip(segments, sums, strict=True)]

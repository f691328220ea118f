"""What is begun from the log as of now: streams, measures, cursors; and who has what now."""

from __future__ import annotations

import numpy as np

from services.segments.engine.base.arrays import Array
from services.segments.engine.columns.scans import with_kinds
from services.segments.engine.language.expressions import DayLeaf
from services.segments.engine.live.cursor_table import Cursor, CursorTable
from services.segments.engine.live.cursors import COUNT, settle
from services.segments.engine.live.streams import Stream, StreamTable
from services.segments.engine.partition import Partition
from services.segments.engine.store.attributes import test_all


def begin_cursor(
    part: Partition, streams: StreamTable, cursors: CursorTable, cursor: Cursor
) -> None:
    """Sets a cursor's places and figures as of now."""
    if cursor.refill(part.now, part.now):
        cursors.touched()
    counts = cursor.figure if cursor.kind == COUNT else cursor.elements
    sums = cursor.figure if cursor.figure.dtype == np.int64 else np.zeros(1, np.int64)
    settle(
        cursors.view(), streams.view(), cursor.number, part.people.slot_row, part.now, counts, sums
    )


def stream_rows(table: StreamTable, stream: Stream) -> tuple[Array, Array]:
    """(rows of a stream, their slots), in no order."""
    lengths = table.length[stream.number].tolist()
    runs = list(zip(stream.runs, lengths, strict=True))
    return (
        np.concatenate([one.row[:n] for one, n in runs]),
        np.concatenate([one.slot[:n] for one, n in runs]),
    )


def standing_profiles(part: Partition) -> Array:
    """Profiles that are created and not absorbed, one bool per row."""
    return part.people.standing(part.now)


def standing_records(part: Partition, attribute: str) -> Array:
    """The record that stands of an attribute for every profile row, -1 where there is none."""
    key = part.names.number_of(attribute)
    part.attributes.follow([key], part.people, part.now)
    return part.attributes.records(key, part.people.rows).astype(np.int32)


def attribute_holding(part: Partition, attribute: str, test: int) -> Array:
    """Which profiles' value of an attribute satisfies a test."""
    key, rows = part.names.number_of(attribute), part.people.rows
    part.attributes.follow([key], part.people, part.now)
    cells = part.attributes.current[key][:rows]
    found = np.zeros(rows, bool)
    while True:
        answers = np.zeros(part.texts.count, np.uint8)
        test_all(part.attributes.view, part.tests.view(), cells, test, answers, found)
        if part.tests.answered():
            return found


def kinds_holding(part: Partition, kinds: tuple[str, ...]) -> Array:
    """Which profiles have an identifier of one of these kinds."""
    people, found = part.people, np.zeros(part.people.rows, bool)
    with_kinds(people.slot_kind[: people.slots], people.owners(), wanted_kinds(part, kinds), found)
    return found


def wanted_kinds(part: Partition, kinds: tuple[str, ...]) -> Array:
    """One byte per name: whether it is one of these kinds of identifiers; and one more, 0."""
    numbers, wanted = part.names.numbers, np.zeros(len(part.names.names) + 1, np.uint8)
    wanted[[numbers[kind.encode()] for kind in kinds if kind.encode() in numbers]] = 1
    return wanted


def day_holding(part: Partition, spec: DayLeaf) -> Array:
    """Which profiles' day comes round."""
    live = part.days.calendars.get(spec)
    if live is not None:
        return part.days.holding(live)
    found = part.days.add(spec, -1, part.now)
    part.days.drop(spec)
    return found

"""Past leaves in a stretch of time: judged again when something they look at happens to a profile,
and when the instant comes that the last verdict named.

A (leaf, profile) is followed by itself, since a verdict is a function of the log at its instant. Of
several things at one instant the cause is the last that makes the difference, what time does first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from services.segments.engine.base.arrays import Array
from services.segments.engine.live.cursors import EVENT_CAUSE
from services.segments.engine.live.memberships import ATTRIBUTE_CAUSE, BIRTH_CAUSE
from services.segments.engine.pasts import Past, earliest, judge
from services.segments.engine.pasts.crowd import cuts, some
from services.segments.engine.pasts.scratch import at_once
from services.segments.engine.pasts.table import Kept
from services.segments.engine.pasts.timers import NEVER

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

CROWD_MIN = 8
"""Instants of a leaf from which on they are judged together."""
NONE = np.zeros(0, np.int64)
Flip = tuple[int, int, int, int, int]
"""(instant, profile row, leaf, state, cause), as in `Flips`."""
Wait = tuple[int, int, int, int]
"""(profile row, instant, cause, the instant up to which the verdict is followed)."""
Touches = dict[tuple[int, int], list[tuple[int, int]]]
"""(profile row, leaf) -> (instant, cause)."""


@dataclass(slots=True)
class Arrived:
    """What takes effect in a stretch: attribute records, and rows by stream as `distribute` puts
    them, with their instants."""

    records: Array = field(default_factory=lambda: NONE)
    record_effects: Array = field(default_factory=lambda: NONE)
    ptr: Array = field(default_factory=lambda: np.zeros(1, np.int64))
    rows: Array = field(default_factory=lambda: NONE)
    effects: Array = field(default_factory=lambda: NONE)


def turned(part: Partition, until: int, arrived: Arrived) -> list[Flip]:
    """What past leaves are at the instants up to `until` at which they may turn."""
    touches = _touches(part, until, arrived)
    for number, one in part.pasts.kept.items():
        for row in one.wheel.due(until):
            touches.setdefault((row, number), [])
    found: list[Flip] = []
    _together(part, until, touches, found)
    past = Past(part, -1)
    for row, number in sorted(touches):
        if past.row != row:
            past = Past(part, row)
        _follow(part.pasts.kept[number], past, sorted(touches[row, number]), until, found)
    return found


def _together(part: Partition, until: int, touches: Touches, found: list[Flip]) -> None:
    """Judges leaf by leaf the profiles to which things happen one at a time, and takes them from
    `touches`."""
    by_leaf: dict[int, list[tuple[int, list[tuple[int, int]]]]] = {}
    for (row, number), given in touches.items():
        by_leaf.setdefault(number, []).append((row, sorted(given)))
    for number, asked in by_leaf.items():
        if sum(max(len(given), 1) for _, given in asked) < CROWD_MIN:
            continue
        one = part.pasts.kept[number]
        waits = [wait for row, given in asked for wait in _waits(one, row, given, until)]
        for row in _wave_by_wave(part, one, waits, until, found):
            del touches[row, number]


def _waits(one: Kept, row: int, given: list[tuple[int, int]], until: int) -> list[Wait]:
    """The instants of a profile, each up to the next; none when two things come at one."""
    instants = [at for at, _ in given]
    planned = one.wheel.planned(row)
    if len({*instants, planned}) <= len(instants):
        return []
    bounds = [*instants, until + 1]
    waits = [(row, at, cause, bounds[i + 1]) for i, (at, cause) in enumerate(given)]
    return [(row, planned, 0, bounds[0]), *waits] if planned < bounds[0] else waits


def _wave_by_wave(
    part: Partition, one: Kept, waits: list[Wait], until: int, found: list[Flip]
) -> Iterable[int]:
    """Judges all instants together, then those that the verdicts name and that come before the
    next one; rows of the profiles that are done."""
    judged: dict[tuple[int, int], tuple[bool, int]] = {}
    together: set[tuple[int, int]] = set()
    last: dict[int, int] = {}
    while waits:
        verdicts = _verdicts(part, one, waits)
        if verdicts is None:
            return ()
        again: list[Wait] = []
        for (row, at, cause, bound), (holds, later) in zip(waits, verdicts, strict=True):
            judged[row, at] = holds, cause
            if 0 < later < bound:
                again.append((row, later, 0, bound))
            elif bound > until:
                last[row] = later
            elif later == bound:
                together.add((row, bound))
        waits = again
    for (row, at), (holds, cause) in judged.items():
        if (row, at) in together:
            _blame(one, Past(part, row), at, [0, cause], holds, found)
        else:
            found.append((at, row, one.number, int(holds != one.leaf.negated), cause))
    one.wheel.fill(np.array(list(last), np.int64), np.array(list(last.values()), np.int64))
    return last


def _verdicts(part: Partition, one: Kept, waits: list[Wait]) -> list[tuple[bool, int]] | None:
    """(whether the leaf holds, next instant or 0) at each instant; None when kernels cannot say."""
    columns = np.array(waits, np.int64)
    rows, now = np.ascontiguousarray(columns[:, 0]), np.ascontiguousarray(columns[:, 1])
    found: list[tuple[bool, int]] = []
    low = earliest(one.leaf.node, int(now.min()))
    for begin, end in pairwise(cuts(part, rows, low)):
        crowd = some(part, rows[begin:end], now[begin:end], low)
        verdicts = at_once(part, one.leaf.node, crowd, one.leaf.negated)
        if verdicts is None:
            return None
        found += zip(verdicts[0].tolist(), verdicts[1].tolist(), strict=True)
    return found


def _touches(part: Partition, until: int, arrived: Arrived) -> Touches:
    """What happens to profiles that some leaf looks at."""
    table, view = part.pasts, part.events.view
    touches: Touches = {}

    def touch(one: Kept, rows: Array, instants: Array, causes: Array) -> None:
        for row, at, cause in zip(rows.tolist(), instants.tolist(), causes.tolist(), strict=True):
            if row >= 0:
                touches.setdefault((row, one.number), []).append((at, cause))

    for number, records, effects in _records_by_name(part, arrived):
        owners = part.people.slot_row[part.attributes.columns["slot"][records]]
        for one in table.by_name[number]:
            touch(one, owners, effects, ATTRIBUTE_CAUSE + records)
    for stream, takers in table.by_stream.items():
        if stream + 1 < arrived.ptr.size and arrived.ptr[stream] < arrived.ptr[stream + 1]:
            stretch = slice(int(arrived.ptr[stream]), int(arrived.ptr[stream + 1]))
            rows = arrived.rows[stretch]
            owners = part.people.slot_row[view.slot[rows]]
            for one in takers:
                touch(one, owners, arrived.effects[stretch], EVENT_CAUSE + rows)
    due = [asked for asked in table.asked if asked.at <= until]
    if due:
        table.asked = [asked for asked in table.asked if asked.at > until]
    for asked in due:
        same = np.full(asked.rows.size, max(asked.at, part.now), np.int64)
        touch(table.kept[asked.number], asked.rows, same, np.full(same.size, asked.cause))
    return touches


def _records_by_name(part: Partition, arrived: Arrived) -> list[tuple[int, Array, Array]]:
    if not arrived.records.size or not part.pasts.by_name:
        return []
    keys = part.attributes.columns["key"][arrived.records]
    masks = [(number, keys == number) for number in part.pasts.by_name]
    return [
        (number, arrived.records[mask], arrived.record_effects[mask])
        for number, mask in masks
        if mask.any()
    ]


def _follow(
    one: Kept, past: Past, touches: list[tuple[int, int]], until: int, found: list[Flip]
) -> None:
    """Judges a leaf of a profile at each instant it may turn, and notes the next one."""
    planned = one.wheel.planned(past.row)
    place = 0
    while True:
        at = min(planned, touches[place][0] if place < len(touches) else NEVER)
        if at > until:
            break
        causes = [0] if planned == at else []
        while place < len(touches) and touches[place][0] == at:
            causes.append(touches[place][1])
            place += 1
        holds, later = judge(one.leaf.node, past, at)
        planned = NEVER if later is None else later
        if len(causes) > 1:
            _blame(one, past, at, causes, holds, found)
        else:
            _note(one, past, at, holds, causes[0], found)
    one.wheel.set(past.row, None if planned == NEVER else planned)


def _note(one: Kept, past: Past, at: int, holds: bool, cause: int, found: list[Flip]) -> None:
    found.append((at, past.row, one.number, int(holds != one.leaf.negated), cause))


def _blame(
    one: Kept, past: Past, at: int, causes: list[int], holds: bool, found: list[Flip]
) -> None:
    """Of several causes at one instant, the last without which the answer were another.

    What is no event and no attribute cannot be left aside; it goes before what can, as time does.
    """
    state = _without(one, past, at, causes)
    _note(one, past, at, state, next((c for c in causes if c >= 2 * EVENT_CAUSE), 0), found)
    if state == holds:
        return
    last = range(len(causes) - 1, 0, -1)
    place = next((i for i in last if _without(one, past, at, causes[i:]) != holds), 0)
    _note(one, past, at, holds, causes[place], found)


def _without(one: Kept, past: Past, at: int, causes: list[int]) -> bool:
    """The verdict if some of what comes had not come."""
    past.without_rows = {
        cause - EVENT_CAUSE for cause in causes if EVENT_CAUSE <= cause < 2 * EVENT_CAUSE
    }
    past.without_records = {
        cause - ATTRIBUTE_CAUSE for cause in causes if ATTRIBUTE_CAUSE <= cause < BIRTH_CAUSE
    }
    try:
        return judge(one.leaf.node, past, at)[0]
    finally:
        past.without_rows, past.without_records = set(), set()

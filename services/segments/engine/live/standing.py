"""Leaves in a snapshot: their bits stand as they stood, and what keeps them up goes on.

A leaf is recognised by what it says and keeps its number. Figures of cursors are added up again
from the streams; when a leaf of a past may turn is kept with it, because only judging everybody
anew would tell. A leaf that is not recognised begins from the log, as for a new rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import (
    AttributeLeaf,
    AverageLeaf,
    DayLeaf,
    FigureLeaf,
    KindsLeaf,
    LeafSpec,
    PartLeaf,
    PastLeaf,
)
from services.segments.engine.live import reader
from services.segments.engine.live.cursor_table import BEGINNING, Cursor, CursorLeaf, key_of
from services.segments.engine.live.cursors import BY_CALENDAR, OPEN
from services.segments.engine.live.leaves import Leaves
from services.segments.engine.live.memberships import ALIVE
from services.segments.engine.live.sealed import print_of
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import selectors_of


def dump(part: Partition) -> dict[str, Array]:
    """The bits of all leaves, and by number of a past leaf the profiles it may turn for, and when;
    the days that texts were read as."""
    words = (part.leaf_count + 63) // 64
    found = {"bits": part.bits[: part.people.rows, :words].copy()}
    for number, kept in part.pasts.kept.items():
        timed = np.flatnonzero(kept.wheel.next_us[: part.people.rows])
        found[f"pasts.{number}.rows"] = timed.astype(np.int32)
        found[f"pasts.{number}.next_us"] = kept.wheel.next_us[timed]
    for place, days in enumerate(part.days.days.values()):
        found[f"days.{place}"] = days.copy()
    return found


def described(leaves: Leaves) -> dict[str, Any]:
    """Leaves as (number, print of what it says), in the order in which they began."""
    return {
        "count": leaves.part.leaf_count,
        "leaves": [[number, print_of(spec)] for spec, number in leaves.numbers.items()],
        "free": leaves.free,
        "dropped": leaves.dropped,
        "zones": list(leaves.part.days.days),
    }


def begin(part: Partition) -> None:
    """Without leaves in a dump: the bit of those who stand."""
    alive = np.flatnonzero(reader.standing_profiles(part))
    part.bits[alive, ALIVE >> 6] |= np.uint64(1 << (ALIVE & 63))


def restore(
    leaves: Leaves, state: Mapping[str, memoryview], meta: dict[str, Any], asked: set[LeafSpec]
) -> None:
    """Takes up those leaves of a dump that the rules ask for; their streams are there."""
    part, rows = leaves.part, leaves.part.people.rows
    part.reserve_leaves(meta["count"])
    words = (meta["count"] + 63) // 64
    part.bits[:rows, :words] = np.frombuffer(state["bits"], np.uint64).reshape(rows, words)
    for place, zone in enumerate(meta["zones"]):
        part.days.days[zone] = np.frombuffer(state[f"days.{place}"], np.int16).copy()
    known = {print_of(spec): spec for spec in asked}
    leaves.free = meta["free"]
    for number, mark in meta["leaves"]:
        spec = known.get(mark)
        if spec is not None and _goes_on(leaves, spec, number, state):
            leaves.numbers[spec] = number
        else:
            leaves.free.append(number)
    _add_up(part)


def _add_up(part: Partition) -> None:
    """Figures of all cursors. Of windows that end together, a longer one goes on from the figures
    of the next shorter one, so every row is added once."""
    rows, cursors, together = part.people.rows, part.cursors, dict[tuple[int, ...], list[Cursor]]()
    for cursor in cursors.cursors.values():
        cursor.refill(part.now, part.now)
        oldest, newest, since, until = cursor.edges()
        plain = (since, until) == (BEGINNING, OPEN) and BY_CALENDAR not in (oldest, newest)
        own = (newest, cursor.elements_measure) if plain else (OPEN, cursor.number)
        key = (cursor.stream, cursor.kind, cursor.measure, *own)
        together.setdefault(key, []).append(cursor)
    cursors.touched()
    view = cursors.view()
    for alike in together.values():
        alike.sort(key=lambda cursor: cursor.edges()[0])
        for place, cursor in enumerate(alike):
            until = int(view.until[cursor.number])
            if place:
                shorter = alike[place - 1]
                # The room for profiles to come is left alone: nobody has written to it.
                cursor.figure[:rows] = shorter.figure[:rows]
                cursor.elements[:rows] = shorter.elements[:rows]
                view.until[cursor.number] = part.now - shorter.edges()[0] + 1
            reader.begin_cursor(part, part.streams, cursors, cursor)
            view.until[cursor.number] = until


def _goes_on(leaves: Leaves, spec: LeafSpec, number: int, state: Mapping[str, memoryview]) -> bool:
    """Sets up what keeps a leaf up; False when it cannot be without the log."""
    part = leaves.part
    match spec:
        case FigureLeaf() | AverageLeaf():
            return _cursor_goes_on(part, spec, number)
        case AttributeLeaf(attribute, _):
            part.attributes.follow([part.names.number_of(attribute)], part.people, part.now)
        case DayLeaf():
            part.days.add(spec, number, part.now)
        case KindsLeaf(kinds):
            leaves.kinds[spec] = number
            for kind in kinds:
                part.names.number_of(kind)
        case PartLeaf():
            leaves.parts[spec] = number
        case PastLeaf(node, _):
            streams = [part.streams.by_selector.get(one) for one in selectors_of(node)]
            taken = tuple(one for one in streams if one is not None)
            if len(taken) != len(streams):
                return False
            kept = part.pasts.keep(spec, number, taken)
            timed = np.frombuffer(state[f"pasts.{number}.rows"], np.int32)
            kept.wheel.fill(timed, np.frombuffer(state[f"pasts.{number}.next_us"], np.int64))
    return True


def _cursor_goes_on(part: Partition, spec: CursorLeaf, number: int) -> bool:
    """The cursor of a leaf, without its figures."""
    key = key_of(spec)
    known = part.cursors.by_key.get(key)
    if known is None:
        place = part.streams.by_selector.get(spec.events)
        if place is None:
            return False
        measures = part.streams.streams[place].measures
        wanted = [(spec.property, False)] if spec.property else []
        wanted += [(spec.property, True)] if isinstance(spec, AverageLeaf) else []
        if not measures.keys() >= set(wanted):
            return False
        own = [measures[one] for one in wanted] + [-1, -1]
        known = part.cursors.add(key, place, own[0], part.capacity, own[1]).number
    part.cursors.cursors[known].leaves[spec] = number
    return True

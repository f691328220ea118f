"""When memberships turn: those of one profile in the past, and those of a segment in the next time.

The past of a profile is cut where something changed in place: whose an identifier is, what is known
of it, what was said about being written to. Between two cuts everything is in the log, and the
outlook at the first one goes through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.asof import PastUnknown, as_of, as_of_in_pieces
from services.segments.engine.expressions import express
from services.segments.engine.former import ABSORBED, KIND, NO, OWNER, YES
from services.segments.engine.outlook import Outlook
from services.segments.engine.partition import Partition
from services.segments.engine.people import UNBORN
from services.segments.engine.questions import Pieces, Reader
from services.segments.engine.trials import members_of

TURNS_MAX = 1_000
"""Turns of one answer."""
INSTANTS_MAX = 100_000
"""Instants looked at between two turns."""
CANDIDATES_MAX = 5_000
"""Profiles of a partition whose next flip is found in one question."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of a membership within (low_us, …], oldest first: (instant, whether it was entered)."""

    low_us: int
    member_at_low: bool
    turns: list[tuple[int, bool]]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Soon:
    """(instant, profile row, whether it enters) of those who flip, soonest first."""

    flips: list[tuple[int, int, bool]]


def turns_of(
    part: Partition, row: int, node: rule.Node, low: int | None, high: int
) -> Pieces[Turns]:
    """Turns of a profile's membership up to an instant of the past. low None: from its beginning.

    Raises PastUnknown when what the rule looks at is known only as of now.
    """
    born = int(part.people.created_us[row]) if row < part.people.rows else UNBORN
    start = min(born, high) - 1 if low is None else low
    cuts = [start, *_cuts(part, row, start, high), high + 1]
    found: list[tuple[int, bool]] = []
    expression = express(node)
    state: bool | None = None
    first = False
    for begin, end in pairwise(cuts):
        outlook = Outlook(as_of(part, begin, begin, expression), row, node)
        if state is None:
            state = first = outlook.member
        for at, member in _followed(outlook, begin, end):
            if member != state:
                found.append((at, member))
                state = member
            if len(found) > TURNS_MAX:
                return Turns(start, first, found[:TURNS_MAX], True)
        yield 1
    return Turns(start, first, found, False)


def _followed(outlook: Outlook, begin: int, end: int) -> Iterator[tuple[int, bool]]:
    """(begin, the answer there), then every instant before the end at which it is another."""
    yield begin, outlook.member
    while True:
        at, certain = outlook.next_flip(INSTANTS_MAX)
        if not certain:
            raise PastUnknown("too many instants to look at; ask for a shorter time")
        if at is None or at >= end:
            return
        outlook.member = not outlook.member
        yield at, outlook.member


def _cuts(part: Partition, row: int, low: int, high: int) -> list[int]:
    """Instants within (low, high] at which something of a profile changed in place."""
    former, people = part.former, part.people
    slots = set(np.flatnonzero(people.slot_row[: people.slots] == row).tolist())
    places, before, _ = former.of(OWNER, -1, 1 << 62)
    slots |= set(places[before == row].tolist())
    mine = np.array(sorted(slots), np.int64)
    found: set[int] = set()
    for what in (OWNER, KIND, YES, NO):
        places, _, instants = former.of(what, low, high)
        of = places & 0xFFFFFFFF if what in (YES, NO) else places
        found |= set(instants[np.isin(of, mine)].tolist())
    places, _, instants = former.of(ABSORBED, low, high)
    return sorted(found | set(instants[places == row].tolist()))


def flips_within(part: Partition, segment_id: str, within_us: int) -> Pieces[Soon]:
    """Who is other at the end of a time than now if nothing more happens, and from when on.

    Raises KeyError when there is no such segment, PastUnknown when there are too many.
    """
    segment = part.segments[segment_id]
    if segment.node is None:
        return Soon([])
    until = part.now + within_us
    before = members_of(part, segment_id)
    now = as_of(part, part.now, part.now, segment.expression)
    later = Reader((yield from as_of_in_pieces(part, until, part.now, segment.expression)))
    after = (yield from later.answers([segment.expression]))[0]
    rows = np.flatnonzero(before[: after.size] != after)
    if rows.size > CANDIDATES_MAX:
        raise PastUnknown(f"{rows.size} profiles flip in that time; ask for a shorter one")
    found = []
    for row in rows.tolist():
        at, certain = Outlook(now, row, segment.node).next_flip(INSTANTS_MAX)
        if certain and at is not None and at <= until:
            found.append((at, row, bool(after[row])))
        yield 1
    return Soon(sorted(found))

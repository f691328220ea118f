"""When memberships turn: those of one profile in the past, and those of a segment in the next time.

The past of a profile is cut where something changed that is not in the log of events: whose an
identifier is, what is known of it, what was said about being written to, which version of a rule
stood, who was in a list, how an item stood, what scores were cut at. Between two cuts everything is
in the log, and the outlook at the first one goes through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.asked.asof import PastUnknown, as_of, as_of_in_pieces
from services.segments.engine.asked.outlook import Outlook
from services.segments.engine.asked.questions import Reader
from services.segments.engine.asked.stretches import Stretch, Stretches
from services.segments.engine.asked.trials import members_of
from services.segments.engine.asked.whys import Why, why
from services.segments.engine.base.pieces import Pieces
from services.segments.engine.partition import Partition
from services.segments.engine.store.people import UNBORN

TURNS_MAX = 1_000
"""Turns of one answer."""
INSTANTS_MAX = 100_000
"""Instants looked at between two turns."""
CANDIDATES_MAX = 5_000
"""Profiles of a partition whose next flip is found in one question."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A profile entered or left; version: of the segment, 0 for a rule nobody saved."""

    at_us: int
    entered: bool
    version: int
    why: Why


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of a membership within (low_us, …], oldest first."""

    low_us: int
    member_at_low: bool
    turns: list[Turn]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Soon:
    """(instant, profile row, whether it enters) of those who flip, soonest first."""

    flips: list[tuple[int, int, bool]]


def turns_of(
    part: Partition, row: int, asked: rule.Node | str, low: int | None, high: int
) -> Pieces[Turns]:
    """Turns of a profile's membership up to an instant of the past. low None: from its beginning.

    asked: a segment by its id, judged by the version of each instant; or a rule, judged throughout,
    with the segments it refers to as they are now. Raises PastUnknown for what was not kept.
    """
    born = int(part.people.created_us[row]) if row < part.people.rows else UNBORN
    start = min(born, high) - 1 if low is None else low
    stretches = Stretches(part, row, asked)
    cuts = [start, *stretches.cuts(start, high), high + 1]
    found: list[Turn] = []
    state: bool | None = None
    first = False
    before: Stretch | None = None
    for begin, end in pairwise(cuts):
        stretch = stretches.at(begin, before)
        outlook = stretch.outlook(begin)
        if state is None:
            state = first = outlook.member
        for at, member in _followed(outlook, begin, end):
            if member != state:
                state = member
                came_from = stretch if at > begin or before is None else before
                found.append(Turn(at, member, stretch.version, why(came_from, stretch, outlook)))
                yield 1
            if len(found) > TURNS_MAX:
                return Turns(start, first, found[:TURNS_MAX], True)
        before = stretch
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

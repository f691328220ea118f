"""What a rule nobody has saved would do, from scratch: its reach, and what a change would change.

Answers are of one partition and of the instant their question began, without touching what lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.asked.questions import Reader
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import Pieces, finished
from services.segments.engine.language.expressions import Expression, Push, express
from services.segments.engine.partition import Partition


@dataclass(frozen=True, slots=True)
class Reached:
    """Members of a rule. reach: members by channel; reachable: by any. rows: sorted places. begun:
    the beginning of the question whose instant this is of."""

    members: int
    profiles: int
    reach: dict[str, int]
    reachable: int
    rows: Array
    begun: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What a segment's new rule would do. enters, leaves: rows; dependents: id -> (enters,
    leaves) of segments that rest on it."""

    enters: Array
    leaves: Array
    stays: int
    profiles: int
    reach: dict[str, int]
    dependents: dict[str, tuple[int, int]]
    begun: int


def reach_of(part: Partition, expression: Expression) -> Pieces[Reached]:
    """A rule's members and how many of them each channel reaches."""
    reader = Reader(part)
    members, *channels = yield from reader.answers([expression, *_CHANNELS])
    reach, reachable = _by_channel(members, channels)
    rows = np.flatnonzero(members)
    profiles = int(np.count_nonzero(reader.alive))
    return Reached(int(rows.size), profiles, reach, reachable, rows, reader.begun)


def change_of(part: Partition, segment_id: str, expression: Expression) -> Pieces[Changed]:
    """A new rule for a segment against its members now; an empty one takes it out of service.

    Raises KeyError when there is no such segment.
    """
    reader, before, asked = _asked(part, segment_id, expression)
    after = yield from reader.answers(asked)
    begun = reader.begun
    if begun > 1:
        # A move or another definition came in between: once more, without a rest.
        reader, before, asked = _asked(part, segment_id, expression)
        after, begun = finished(reader.answers(asked)), begun + 1
    (name, standing), *above = before.items()
    found, *changed = after[: len(before)]
    enters, leaves = found & ~standing, standing & ~found
    assert name == segment_id
    return Changed(
        np.flatnonzero(enters),
        np.flatnonzero(leaves),
        int(np.count_nonzero(standing & found)),
        int(np.count_nonzero(reader.alive)),
        _by_channel(enters, after[len(before) :])[0],
        {
            name: (int(np.count_nonzero(new & ~old)), int(np.count_nonzero(old & ~new)))
            for (name, old), new in zip(above, changed, strict=True)
        },
        begun,
    )


def _asked(
    part: Partition, segment_id: str, expression: Expression
) -> tuple[Reader, dict[str, Array], list[Expression]]:
    """A reader; members now of the segment and of those that rest on it; their rules after the
    change, then the channels."""
    names = [segment_id, *_above(part, segment_id)]
    rules = {segment_id: expression}
    after = [expression or _NOBODY, *(_spliced(part, name, rules) for name in names[1:])]
    return Reader(part), {name: members_of(part, name) for name in names}, [*after, *_CHANNELS]


def members_of(part: Partition, segment_id: str) -> Array:
    """Members as they are kept up, one bool per profile row. Raises KeyError."""
    place = part.segments[segment_id].place
    words = part.member[: part.people.rows, place >> 6]
    return np.asarray((words >> np.uint64(place & 63)) & np.uint64(1), bool)


def _by_channel(members: Array, channels: list[Array]) -> tuple[dict[str, int], int]:
    reached = [members & channel for channel in channels]
    counts = [int(np.count_nonzero(one)) for one in reached]
    found = dict(zip(rule.CHANNEL_KINDS, counts, strict=True))
    return found, int(np.count_nonzero(np.logical_or.reduce(reached)))


def _above(part: Partition, segment_id: str) -> list[str]:
    """Segments that rest on one, directly or not, by id."""
    found: set[str] = set()
    near = {segment_id}
    while near:
        near = {
            name
            for name, one in part.segments.items()
            if one.node is not None and name not in found and near & set(one.references)
        }
        found |= near
    return sorted(found)


def _spliced(part: Partition, segment_id: str, rules: Mapping[str, Expression]) -> Expression:
    """A segment's rule with the rules of those it refers to in their places, as `rules` has them.

    An expression is postfix, so a reference and the rule referred to say the same; what is out of
    service (an empty rule) is left as a reference, which nobody is a member of.
    """
    steps: list[object] = []
    for step in part.segments[segment_id].expression:
        referred = step.of if isinstance(step, Push) else None
        if not isinstance(referred, str):
            steps.append(step)
        elif referred in rules:
            steps += rules[referred] or _NOBODY
        else:
            steps += _spliced(part, referred, rules)
    return tuple(steps)  # type: ignore[arg-type]


_NOBODY: Expression = express(rule.Not(rule.Everyone()))
_CHANNELS: list[Expression] = [express(rule.Reachable(one)) for one in rule.CHANNEL_KINDS]

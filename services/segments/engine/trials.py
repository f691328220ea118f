"""What a rule nobody has saved would do, from scratch: its reach, and what a change would change.

All answers are at `part.now`, of one partition, without touching what lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.arrays import Array
from services.segments.engine.expressions import Expression, Push, express
from services.segments.engine.partition import Partition
from services.segments.engine.questions import Reader
from services.segments.engine.reader import standing_profiles


@dataclass(frozen=True, slots=True)
class Reached:
    """Members of a rule. reach: members by channel; reachable: by any. rows: sorted places."""

    members: int
    profiles: int
    reach: dict[str, int]
    reachable: int
    rows: Array


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


def reach_of(part: Partition, expression: Expression) -> Reached:
    """A rule's members and how many of them each channel reaches."""
    reader = Reader(part)
    members = reader.answer(expression)
    reach, reachable = _by_channel(reader, members)
    profiles = int(np.count_nonzero(standing_profiles(part)))
    rows = np.flatnonzero(members)
    return Reached(int(rows.size), profiles, reach, reachable, rows)


def change_of(part: Partition, segment_id: str, expression: Expression) -> Changed:
    """A new rule for a segment against its members now; an empty one takes it out of service.

    Raises KeyError when there is no such segment.
    """
    reader = Reader(part)
    nobody = np.zeros(part.people.rows, bool)
    after = reader.answer(expression) if expression else nobody
    before = members_of(part, segment_id)
    enters = after & ~before
    rules = {segment_id: expression}
    dependents: dict[str, tuple[int, int]] = {}
    for name in _above(part, segment_id):
        changed = reader.answer(_spliced(part, name, rules))
        standing = members_of(part, name)
        dependents[name] = (
            int(np.count_nonzero(changed & ~standing)),
            int(np.count_nonzero(standing & ~changed)),
        )
    reach, _ = _by_channel(reader, enters)
    return Changed(
        np.flatnonzero(enters), np.flatnonzero(before & ~after),
        int(np.count_nonzero(before & after)),
        int(np.count_nonzero(standing_profiles(part))), reach, dependents,
    )  # fmt: skip


def members_of(part: Partition, segment_id: str) -> Array:
    """Members as they are kept up, one bool per profile row. Raises KeyError."""
    place = part.segments[segment_id].place
    words = part.member[: part.people.rows, place >> 6]
    return np.asarray((words >> np.uint64(place & 63)) & np.uint64(1), bool)


def _by_channel(reader: Reader, members: Array) -> tuple[dict[str, int], int]:
    reach: dict[str, int] = {}
    any_channel = np.zeros(members.size, bool)
    for channel in rule.CHANNEL_KINDS:
        reached = members & reader.answer(express(rule.Reachable(channel)))
        reach[channel] = int(np.count_nonzero(reached))
        any_channel |= reached
    return reach, int(np.count_nonzero(any_channel))


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

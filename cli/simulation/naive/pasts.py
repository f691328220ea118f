"""Leaves about a profile's past, judged at one instant over what was known by then.

Rows come in order of time; a timeline is (since_us, value) of an attribute in order of time, one
entry per instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cli.simulation.naive import windows
from cli.simulation.naive.events import items_of, passes, sameness
from cli.simulation.naive.facts import Row
from cli.simulation.naive.values import Value, holds, moments
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb

Timeline = Sequence[tuple[int, tuple[Value, ...]]]


def present(values: Sequence[Value]) -> list[Value]:
    """The elements of a value that are not missing."""
    return [value for value in values if value != ""]


def held(leaf: pb.AttributeHeldLeaf, timeline: Timeline, at_us: int, zone: str) -> bool:
    """Whether the attribute satisfies the test, and has for so long; missing since ever before
    the first value."""
    since = windows.ALWAYS
    holding = holds(leaf.test, [], at_us, zone)
    ends = [*(begins_us for begins_us, _ in timeline[1:]), at_us + 1]
    for (begins_us, values), end in zip(timeline, ends, strict=False):
        turning = moments(leaf.test, values, zone)
        for since_us in sorted({begins_us, *(us for us in turning if begins_us < us < end)}):
            holds_now = holds(leaf.test, list(values), since_us, zone)
            if holds_now and not holding:
                since = since_us
            holding = holds_now
    if not holding:
        return False
    lasted = at_us - since
    long_enough = not leaf.HasField("at_least") or lasted >= leaf.at_least.ToMicroseconds()
    return long_enough and (
        not leaf.HasField("less_than") or lasted < leaf.less_than.ToMicroseconds()
    )


def changed(leaf: pb.AttributeChangedLeaf, timeline: Timeline, low: int, high: int) -> bool:
    """Whether the value became another between two instants, both in."""
    before: tuple[Value, ...] = ()
    for begins_us, after in timeline:
        differs = list(map(sameness, present(before))) != list(map(sameness, present(after)))
        wanted = _is(leaf, "from", before) and _is(leaf, "to", after)
        if differs and wanted and low <= begins_us <= high:
            return True
        before = after
    return False


def _is(
    leaf: pb.AttributeChangedLeaf, side: Literal["from", "to"], values: Sequence[Value]
) -> bool:
    if not leaf.HasField(side):
        return True
    wanted: common_pb2.Value = getattr(leaf, side)
    return holds(pb.Test(op=pb.OPERATOR_EQ, values=[wanted]), list(values), 0, "")


def first_lies_in(rows: Sequence[Row], low: int, high: int) -> bool:
    """Whether the first of all matching events lies between two instants, both in."""
    return bool(rows) and low <= min(row.occur_us for row in rows) <= high


def last_has(leaf: pb.LastEventLeaf, rows: Sequence[Row], at_us: int, zone: str) -> bool:
    """Whether the last of all matching events has the properties."""
    return bool(rows) and passes(leaf.has, rows[-1].properties, at_us, zone)


def keys_of(row: Row, same: str) -> set[object]:
    """What a row may have in common with others; without a property everything has one thing."""
    return {sameness(v) for v in items_of(row.properties, same)} if same else {None}


def sequence(leaf: pb.SequenceLeaf, steps: Sequence[Sequence[Row]]) -> bool:
    """Whether there is one row of each step's, at growing times, in `within`, with one key.

    steps: of each step the rows in the window.
    """
    within = leaf.within.ToMicroseconds() if leaf.HasField("within") else None

    def goes_on(place: int, begin: Row, last: Row, keys: set[object]) -> bool:
        if within is not None and last.occur_us - begin.occur_us > within:
            return False
        if place == len(steps):
            return True
        return any(
            goes_on(place + 1, begin, row, keys & keys_of(row, leaf.same))
            for row in steps[place]
            if row.occur_us > last.occur_us and keys & keys_of(row, leaf.same)
        )

    starts = [(row, keys_of(row, leaf.same)) for row in steps[0]]
    return any(goes_on(1, row, row, keys) for row, keys in starts if keys)


def not_followed(
    leaf: pb.NotFollowedLeaf, starts: Sequence[Row], followers: Sequence[Row], at_us: int
) -> bool:
    """Whether a start whose time is over has nothing that follows it. starts: in the window."""
    within = leaf.within.ToMicroseconds()
    return any(
        start.occur_us + within <= at_us
        and not any(
            start.occur_us < row.occur_us <= start.occur_us + within
            and keys_of(start, leaf.same) & keys_of(row, leaf.same)
            for row in followers
        )
        for start in starts
    )


def regularly(leaf: pb.RegularlyLeaf, rows: Sequence[Row], at_us: int) -> bool:
    """Whether enough of the last periods, which end at the instant, held enough rows."""
    length, reached = leaf.period.ToMicroseconds(), 0
    for place in range(leaf.of_periods):
        end = at_us - place * length
        count = sum(end - length < row.occur_us <= end for row in rows)
        reached += count >= max(1, leaf.min_count)
    return reached >= max(1, leaf.at_least_periods)


def later(leaf: pb.Condition, occur_us: int) -> set[int]:
    """Instants at which the answer may change only because something at a time grows older,
    windows apart."""
    kind = leaf.WhichOneof("node")
    if kind == "not_followed":
        return {occur_us + leaf.not_followed.within.ToMicroseconds()}
    if kind == "regularly":
        length = leaf.regularly.period.ToMicroseconds()
        return {occur_us + count * length for count in range(1, leaf.regularly.of_periods + 1)}
    return set()


def held_later(leaf: pb.AttributeHeldLeaf, begins_us: int) -> set[int]:
    """Instants at which a value that stood since a time has stood long enough, or too long."""
    lengths = [getattr(leaf, name) for name in ("at_least", "less_than") if leaf.HasField(name)]
    return {begins_us + length.ToMicroseconds() for length in lengths}

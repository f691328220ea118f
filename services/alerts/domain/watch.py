"""A watch over a series: quiet, pending or raised, judged at the end of each point.

`for_points` breaches in a row in one direction raise, on the last of them; a raised alert resolves
after `resolve_points` calm points in a row. The cool-down is the least time between two raises: a
breach that lasts until its end raises then. All times are of the log, none is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum


class Series(IntEnum):
    """What is added up; the numbers are those of the contract."""

    SIZE = 1
    ENTERED = 2
    LEFT = 3
    ACTIVITY = 4


class Status(IntEnum):
    """Where a watch stands; the numbers are those of the contract."""

    QUIET = 1
    PENDING = 2
    RAISED = 3


class Breach(IntEnum):
    """Which bound was broken; the numbers are those of the contract."""

    ABOVE = 1
    BELOW = 2


@dataclass(frozen=True, slots=True)
class Bound:
    """units * 10^-exponent."""

    units: int
    exponent: int = 0

    def compared(self, value: int) -> int:
        """Positive when the value lies above, negative when below, 0 when it is the bound."""
        return value * 10**self.exponent - self.units

    def __str__(self) -> str:
        digits = str(abs(self.units)).rjust(self.exponent + 1, "0")
        whole, rest = digits[: len(digits) - self.exponent], digits[len(digits) - self.exponent :]
        sign = "-" if self.units < 0 else ""
        return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"


@dataclass(frozen=True, slots=True)
class Watch:
    """One version of a watch. step_us: length of a point. Bounds are strict."""

    watch_id: str
    version: int
    segment_id: str
    series: Series
    step_us: int
    event_type: str = ""
    above: Bound | None = None
    below: Bound | None = None
    for_points: int = 1
    resolve_points: int = 1
    cool_down_us: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A closed step [from_us, to_us) of a series."""

    from_us: int
    to_us: int
    value: int


@dataclass(frozen=True, slots=True)
class State:
    """What a watch remembers.

    streak: breaches in a row in one direction. calm: points in a row without a breach. raises:
    alerts so far. raised_us: end of the point that raised last, 0 before the first. judged_us: end
    of the last point judged; an earlier one says nothing.
    """

    status: Status = Status.QUIET
    since_us: int = 0
    streak: int = 0
    direction: int = 0
    calm: int = 0
    raises: int = 0
    raised_us: int = 0
    judged_us: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A point was held against the bounds."""

    point: Point
    breach: Breach | None


@dataclass(frozen=True, slots=True)
class Raised:
    """The alert of that number (from 1) begins."""

    point: Point
    breach: Breach
    bound: Bound
    raises: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """The alert of that number is over."""

    point: Point
    raises: int
    raised_us: int


Fact = Judged | Raised | Resolved


def initial() -> State:
    return State()


def evolve(state: State, fact: Fact) -> State:
    point = fact.point
    if isinstance(fact, Raised):
        return replace(
            state,
            status=Status.RAISED,
            since_us=point.to_us,
            calm=0,
            raises=fact.raises,
            raised_us=point.to_us,
        )
    if isinstance(fact, Resolved):
        return replace(state, status=Status.QUIET, since_us=point.to_us, streak=0, direction=0)
    streak, direction, calm = 0, 0, state.calm + 1
    if fact.breach is not None:
        calm, direction = 0, int(fact.breach)
        streak = state.streak + 1 if state.direction == direction else 1
    status = state.status
    if status is not Status.RAISED:
        status = Status.PENDING if streak else Status.QUIET
    return replace(
        state,
        status=status,
        since_us=point.to_us if status is not state.status else state.since_us,
        streak=streak,
        direction=direction,
        calm=calm,
        judged_us=point.to_us,
        value=point.value,
    )


def decide(watch: Watch, state: State, point: Point) -> list[Fact]:
    """What a closed point says; nothing when it has been judged."""
    if point.to_us <= state.judged_us:
        return []
    broken = broken_bound(watch, point.value)
    judged = Judged(point, broken[0] if broken else None)
    after = evolve(state, judged)
    if after.status is Status.RAISED:
        over = after.calm >= watch.resolve_points
        return [judged, Resolved(point, after.raises, after.raised_us)] if over else [judged]
    cooled = not after.raises or point.to_us >= after.raised_us + watch.cool_down_us
    if broken and after.streak >= watch.for_points and cooled:
        return [judged, Raised(point, *broken, after.raises + 1)]
    return [judged]


def decide_end(watch: Watch, state: State) -> list[Resolved]:
    """What is to be said when a watch ends or is replaced: a raised alert resolves."""
    if state.status is not Status.RAISED:
        return []
    last = Point(state.judged_us - watch.step_us, state.judged_us, state.value)
    return [Resolved(last, state.raises, state.raised_us)]


def broken_bound(watch: Watch, value: int) -> tuple[Breach, Bound] | None:
    """The bound that a value lies strictly beyond."""
    if watch.above is not None and watch.above.compared(value) > 0:
        return Breach.ABOVE, watch.above
    if watch.below is not None and watch.below.compared(value) < 0:
        return Breach.BELOW, watch.below
    return None

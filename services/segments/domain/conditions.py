"""A rule as a tree of conditions: the normal form that every reader compiles.

Nodes are frozen and hashable, so an identical leaf is one leaf for all segments of a tenant.
Durations and instants are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from services.segments.domain.values import Op, Scalar, Test, satisfies

KNOWN_KINDS = ("user_id", "email", "phone")
"""A profile with one of these identifiers is a known person."""

CHANNEL_KINDS = {
    "email": "email",
    "sms": "phone",
    "viber": "phone",
    "web_push": "web_push_token",
    "mobile_push": "mobile_push_token",
}
"""The identifier that makes a channel reachable."""


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these holds."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one of these holds."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Neither:
    """None of these hold."""

    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    of: Node


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least n of these hold."""

    n: int
    of: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Everyone:
    """Every profile that exists, or every known person."""

    known_only: bool = False


@dataclass(frozen=True, slots=True)
class AttributeIs:
    """A profile's attribute against a test."""

    attribute: str
    test: Test


@dataclass(frozen=True, slots=True)
class Reachable:
    """The profile has the identifier a channel needs."""

    channel: str


@dataclass(frozen=True, slots=True)
class MemberOf:
    """The profile is a member of another segment."""

    segment_id: str


@dataclass(frozen=True, slots=True)
class FilterAll:
    """Every one of these filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class FilterAny:
    """At least one of these filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class FilterNone:
    """None of these filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Property:
    """One property of the event against a test."""

    key: str
    test: Test


@dataclass(frozen=True, slots=True)
class AnyItem:
    """One element of a list satisfies `where`, whose keys stand in full (lines.quantity)."""

    path: str
    where: Filter


Filter = FilterAll | FilterAny | FilterNone | Property | AnyItem


@dataclass(frozen=True, slots=True)
class Selector:
    """Events of any of `types`, or whose type begins with `prefix`; neither is every event."""

    types: tuple[str, ...] = ()
    prefix: str = ""
    where: Filter | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Events at t with T - oldest_us < t <= T - newest_us and since_us <= t < until_us."""

    oldest_us: int | None = None
    newest_us: int = 0
    since_us: int | None = None
    until_us: int | None = None

    def edges(self, at_us: int) -> tuple[int | None, int | None]:
        """(from, to) at an instant, for people; None is open."""
        start = None if self.oldest_us is None else at_us - self.oldest_us
        if self.since_us is not None:
            start = self.since_us if start is None else max(start, self.since_us)
        end: int | None = at_us - self.newest_us
        if self.until_us is not None:
            end = self.until_us if end is None else min(end, self.until_us)
        return start, end

    def holds(self, occur_us: int, at_us: int) -> bool:
        """Whether an event of this time lies in the window at an instant."""
        return (
            occur_us <= at_us - self.newest_us
            and (self.oldest_us is None or occur_us > at_us - self.oldest_us)
            and (self.since_us is None or occur_us >= self.since_us)
            and (self.until_us is None or occur_us < self.until_us)
        )


class Kind(IntEnum):
    """Aggregates, numbered as in muster.types.v1.AggregateKind."""

    COUNT = 1
    SUM = 2
    AVG = 3
    MIN = 4
    MAX = 5
    DISTINCT = 6
    DISTINCT_DAYS = 7
    FIRST = 8
    LAST = 9
    MOST_FREQUENT = 10
    RATIO = 11


@dataclass(frozen=True, slots=True)
class Aggregate:
    """How events are summed up into one figure."""

    kind: Kind = Kind.COUNT
    property: str = ""
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """eq, ne, gt, gte, lt, lte with `low`; between low and high, both ends in.

    test: what a first or last value, which may be of any type, is held against instead.
    """

    op: Op
    low: Fraction
    high: Fraction = Fraction(0)
    test: Test | None = None

    def holds(self, figure: Fraction | Scalar | None) -> bool:
        """No value: every comparison is false."""
        if figure is None:
            return False
        if isinstance(figure, Scalar):
            return self.test is not None and satisfies(self.test, [figure])
        number = figure
        match self.op:
            case Op.EQ:
                return number == self.low
            case Op.NE:
                return number != self.low
            case Op.GT:
                return number > self.low
            case Op.GTE:
                return number >= self.low
            case Op.LT:
                return number < self.low
            case Op.LTE:
                return number <= self.low
        return self.low <= number <= self.high


@dataclass(frozen=True, slots=True)
class EventsAre:
    """Events of the profile in a window, summed up and compared."""

    events: Selector
    window: Window
    aggregate: Aggregate
    comparison: Comparison


Group = All | Any | Neither | Not | AtLeast
Leaf = Everyone | AttributeIs | Reachable | MemberOf | EventsAre
Node = Group | Leaf


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below; none for a leaf."""
    if isinstance(node, Not):
        return (node.of,)
    return node.of if isinstance(node, All | Any | Neither | AtLeast) else ()


def group_name(node: Node) -> str:
    """The name of a group in paths, as in the contract."""
    names = {All: "all", Any: "any", Neither: "none", Not: "not", AtLeast: "at_least"}
    return names[type(node)]


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """(path, leaf) in order; paths such as all[0].any[1], empty when the rule is one leaf."""
    below = children(node)
    if not below:
        yield path, node  # type: ignore[misc]
        return
    for index, child in enumerate(below):
        step = "not" if isinstance(node, Not) else f"{group_name(node)}[{index}]"
        if isinstance(node, AtLeast):
            step = f"at_least.of[{index}]"
        yield from leaves(child, f"{path}.{step}" if path else step)


def decide(node: Node, holds: dict[Leaf, bool]) -> bool:
    """The rule's answer, given the answers of its leaves."""
    match node:
        case All():
            return all(decide(child, holds) for child in node.of)
        case Any():
            return any(decide(child, holds) for child in node.of)
        case Neither():
            return not any(decide(child, holds) for child in node.of)
        case Not():
            return not decide(node.of, holds)
        case AtLeast():
            return sum(decide(child, holds) for child in node.of) >= node.n
    return holds[node]

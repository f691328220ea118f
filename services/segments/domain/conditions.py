"""A rule as a tree of conditions: the normal form that every reader compiles.

Nodes are frozen and hashable, so an identical leaf is one leaf for all segments of a tenant.
Durations and instants are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from services.segments.domain.selections import (
    Aggregate,
    AnyItem,
    Comparison,
    Filter,
    FilterAll,
    FilterAny,
    FilterNone,
    Kind,
    Property,
    Selector,
)
from services.segments.domain.values import Scalar, Test
from services.segments.domain.windows import Span

__all__ = [
    "CHANNEL_KINDS", "KNOWN_KINDS", "Aggregate", "All", "Any", "AnyItem", "AtLeast",
    "AttributeChanged", "AttributeHeld", "AttributeIs", "Catalogue", "Comparison", "EventsAre",
    "Everyone", "Filter", "FilterAll", "FilterAny", "FilterNone", "FirstEvent", "Group",
    "InList", "InPart", "Kind", "LastEvent", "Leaf", "MemberOf", "Neither", "Node", "Not",
    "NotFollowed", "PastLeaf", "Property", "Reachable", "Regularly", "Rfm", "Selector",
    "Sequence", "children", "decide", "group_name", "leaves",
]  # fmt: skip
"""The whole language; selections of events and their figures from `selections`."""

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
    """The profile can be reached over a channel; of a push channel, on a platform such as ios."""

    channel: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class MemberOf:
    """The profile is a member of another segment, or in a list, which is a segment by itself.

    listed: said of a list; equal all the same.
    """

    segment_id: str
    listed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class InPart:
    """The salted place of the profile lies in [low, high) thousandths (domain.shares)."""

    salt: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class EventsAre:
    """Events of the profile in a window, summed up and compared."""

    events: Selector
    window: Span
    aggregate: Aggregate
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class AttributeHeld:
    """The attribute has satisfied the test without a break for D: at_least_us <= D, and
    D < less_than_us. Either may be None. A break begins at the instant the test no longer holds."""

    attribute: str
    test: Test
    at_least_us: int | None
    less_than_us: int | None


@dataclass(frozen=True, slots=True)
class AttributeChanged:
    """The attribute's value became another in the window, from `before` and to `after` where
    given (None: any value, missing ones too). The first value is a change from missing."""

    attribute: str
    before: Scalar | None
    after: Scalar | None
    window: Span


@dataclass(frozen=True, slots=True)
class FirstEvent:
    """The first ever event of the selection lies in the window."""

    events: Selector
    window: Span


@dataclass(frozen=True, slots=True)
class LastEvent:
    """The last event of the selection has these properties; false when there is none."""

    events: Selector
    has: Filter


@dataclass(frozen=True, slots=True)
class Sequence:
    """Events of these selections at strictly growing times, all in the window, the last at most
    `within_us` after the first (both ends in; None: no bound), `same`: the property every step
    has with one value (empty: none asked)."""

    steps: tuple[Selector, ...]
    within_us: int | None
    window: Span
    same: str


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """A start event in the window with no `by` event in (start, start + within_us], judged from
    start + within_us on; `same`: the property in which the `by` event equals the start's."""

    start: Selector
    by: Selector
    within_us: int
    window: Span
    same: str


@dataclass(frozen=True, slots=True)
class Regularly:
    """At least `periods_min` of the last `periods` periods of `period_us`, the last of which ends
    at T, held `count_min` events or more each."""

    events: Selector
    periods_min: int
    periods: int
    period_us: int
    count_min: int


@dataclass(frozen=True, slots=True)
class InList:
    """The profile is in a list."""

    list_id: str


@dataclass(frozen=True, slots=True)
class Rfm:
    """Recency, frequency and money scores, each from low to high, both in (semantics 7).

    edges: four ascending ones each, of whole days, orders and money; None: by quantile, whose cuts
    hold from one local midnight of `zone` to the next. A profile without an order has no score.
    """

    orders: Selector
    amount: str
    window: Span
    recency: tuple[int, int]
    frequency: tuple[int, int]
    money: tuple[int, int]
    edges: tuple[tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...]] | None
    zone: str
    ties_by_id: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The number of events in the window whose item, named by a property, has these properties
    in the catalogue now. An item the catalogue does not know has none."""

    events: Selector
    window: Span
    item_property: str
    has: Filter
    comparison: Comparison


Group = All | Any | Neither | Not | AtLeast
PastLeaf = (
    AttributeHeld
    | AttributeChanged
    | FirstEvent
    | LastEvent
    | Sequence
    | NotFollowed
    | Regularly
    | Catalogue
    | Rfm
)
"""Leaves judged from a profile's whole past."""
Leaf = Everyone | AttributeIs | Reachable | MemberOf | InList | InPart | EventsAre | PastLeaf
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

"""What the engine can judge of the language: a rule that says more is refused, not half judged.

Whoever makes the engine judge another leaf, window, aggregate or operator adds its word here, in
the same change as the mark in docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.segments.domain import conditions as rule
from services.segments.domain.values import Op, Test
from services.segments.domain.windows import CalendarPeriods, CalendarSteps

ENGINE_SPEAKS = {
    "Everyone", "AttributeIs", "Reachable", "MemberOf", "InList", "InPart", "EventsAre",
    "Catalogue", "Rfm", "platform",
    "AttributeHeld", "AttributeChanged", "FirstEvent", "LastEvent", "Sequence", "NotFollowed",
    "Regularly",
    *(kind.name.lower() for kind in (
        rule.Kind.COUNT, rule.Kind.SUM, rule.Kind.AVG, rule.Kind.MIN, rule.Kind.MAX,
        rule.Kind.DISTINCT, rule.Kind.DISTINCT_DAYS, rule.Kind.FIRST, rule.Kind.LAST,
        rule.Kind.MOST_FREQUENT, rule.Kind.RATIO,
    )),
    *(op.name.lower() for op in Op), "CalendarSteps", "CalendarPeriods", "by_profile",
    "once", "denominator_min", "shares", "moving properties",
}  # fmt: skip
"""Names of leaves (as in domain.conditions), aggregates and operators; and `platform`,
`CalendarSteps`, `CalendarPeriods`, `by_profile` (a window on the profile's own clock), `moving
properties` (in_last … over an event's property), `once`, `denominator_min`, and `shares`
(most_frequent over a denominator)."""


def unspoken(node: rule.Node) -> list[tuple[str, str]]:
    """(path of the leaf, fault) for each word of a rule that the engine does not judge yet."""
    found = []
    for path, leaf in rule.leaves(node):
        missing = dict.fromkeys(word for word in words_of(leaf) if word not in ENGINE_SPEAKS)
        found += [(path, f"{word} is not evaluated yet: leave it out") for word in missing]
    return found


def words_of(leaf: rule.Leaf) -> Iterator[str]:
    """What a leaf needs the engine to know."""
    yield type(leaf).__name__
    if isinstance(leaf, rule.Reachable) and leaf.platform:
        yield "platform"
    for name in type(leaf).__slots__:
        yield from _words(getattr(leaf, name), in_event=False)


def _words(part: Any, in_event: bool) -> Iterator[str]:
    match part:
        case tuple():
            for one in part:
                yield from _words(one, in_event)
        case Test():
            yield part.op.name.lower()
            if in_event and part.moves:
                yield "moving properties"
        case rule.Selector(_, _, where):
            yield from _words(where, True)
        case rule.Property(_, test):
            yield from _words(test, True)
        case rule.AnyItem(_, where):
            yield from _words(where, True)
        case rule.FilterAll(of) | rule.FilterAny(of) | rule.FilterNone(of):
            yield from _words(of, True)
        case rule.Aggregate():
            yield part.kind.name.lower()
            yield from _words(part.denominator, True)
            if part.once:
                yield "once"
            if part.denominator_min > 1:
                yield "denominator_min"
            if part.denominator is not None and part.kind is not rule.Kind.RATIO:
                yield "shares"
        case CalendarSteps() | CalendarPeriods():
            yield type(part).__name__
            if part.clock.by_profile:
                yield "by_profile"

"""Any leaf of the language, judged for one profile from its whole past.

`judge` answers a leaf at an instant and says when that may change if nothing more happens; `course`
follows it from there. Both are functions of the log as it stands at the instant, so it does not
matter when, or how often, they are asked. The readers of the engine, live, from scratch and for
explanations, ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from services.segments.domain import conditions as rule
from services.segments.domain.calendars import bounds
from services.segments.engine.language.moving import moves, still
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.pasts import (
    attributes,
    events,
    figures,
    items,
    orders,
    regularly,
    scores,
)
from services.segments.engine.pasts.past import ZONE_ATTRIBUTE, Past, reads_profile_clock
from services.segments.engine.pasts.spans import NEVER, Span, Verdict, covered, edges

__all__ = ["Judged", "Past", "attributes_of", "course", "earliest", "judge", "selectors_of"]

Judged = rule.PastLeaf | rule.EventsAre | rule.AttributeIs
Course = Iterator[tuple[int, bool]]

_SPANS: dict[type, Callable[[Any, Past, int], list[Span | None]]] = {
    rule.AttributeChanged: attributes.changed_spans,
    rule.FirstEvent: events.first_spans,
    rule.Sequence: orders.sequence_spans,
    rule.NotFollowed: orders.unfollowed_spans,
}
_JUDGES: dict[type, Callable[[Any, Past, int], Verdict]] = {
    rule.AttributeIs: attributes.attribute_is,
    rule.AttributeHeld: attributes.attribute_held,
    rule.LastEvent: events.last_event,
    rule.Rfm: scores.rfm_in,
}
_COURSES: dict[type, Callable[[Any, Past, int], Course]] = {
    rule.EventsAre: figures.course,
    rule.Catalogue: items.course,
    rule.Regularly: regularly.course,
}


def judge(leaf: Judged, past: Past, at: int) -> Verdict:
    """(whether a leaf holds at an instant, the next instant, later, at which that may change if
    nothing more happens; None: never)."""
    past.edge_us = NEVER
    holds, later = _judged(leaf, past, at)
    if past.edge_us < NEVER:
        later = past.edge_us if later is None else min(later, past.edge_us)
    return holds, later


def _judged(leaf: Judged, past: Past, at: int) -> Verdict:
    """The verdict if no filter's answer changed with time."""
    kind = type(leaf)
    if kind in _SPANS:
        return covered(_SPANS[kind](leaf, past, at), at)
    if kind in _JUDGES:
        return _JUDGES[kind](leaf, past, at)
    found = list(islice(_COURSES[kind](leaf, past, at), 2))
    return found[0][1], found[1][0] if len(found) > 1 else None


def course(leaf: Judged, past: Past, at: int) -> Course:
    """(at, whether a leaf holds), then in order every instant at which that changes if nothing more
    happens; instants at which nothing changes may be among them."""
    kind = type(leaf)
    if kind in _COURSES and not any(map(moves, _filters_of(leaf))):
        yield from _COURSES[kind](leaf, past, at)
    elif kind in _SPANS and not any(map(moves, _filters_of(leaf))):
        yield from edges(_SPANS[kind](leaf, past, at), at)
    else:
        instant: int | None = at
        while instant is not None:
            holds, later = judge(leaf, past, instant)
            yield instant, holds
            instant = later


def _filters_of(leaf: Judged) -> list[rule.Filter | None]:
    """Every filter that a leaf asks of events or items."""
    has = [leaf.has] if isinstance(leaf, rule.LastEvent | rule.Catalogue) else []
    return [*has, *(selector.where for selector in _selectors(leaf))]


def selectors_of(leaf: Judged) -> tuple[rule.Selector, ...]:
    """Selections of every event that a leaf may look at, each once."""
    return tuple(dict.fromkeys(still(selector) for selector in _selectors(leaf)))


def _selectors(leaf: Judged) -> tuple[rule.Selector, ...]:
    """The selections of a leaf."""
    found: tuple[rule.Selector, ...] = ()
    match leaf:
        case rule.EventsAre(events=selected, aggregate=aggregate):
            found = (selected,)
            if aggregate.denominator is not None:
                found = (selected, aggregate.denominator)
        case rule.FirstEvent() | rule.LastEvent() | rule.Regularly() | rule.Catalogue():
            found = (leaf.events,)
        case rule.Sequence(steps):
            found = steps
        case rule.NotFollowed(start, by):
            found = (start, by)
        case rule.Rfm(orders=selected):
            found = (selected,)
    return found


def earliest(leaf: Judged, at: int) -> int:
    """The oldest event time that matters to a leaf's answer at an instant."""
    match leaf:
        case rule.Regularly():
            return at - leaf.periods * leaf.period_us
        case rule.EventsAre() | rule.Sequence() | rule.NotFollowed() | rule.Rfm():
            if not reads_profile_clock(leaf.window):
                low = bounds(leaf.window, at)[0]
                return ALWAYS if low is None else low
    return ALWAYS


def attributes_of(leaf: Judged) -> tuple[str, ...]:
    """Attributes of the profile that a leaf looks at."""
    match leaf:
        case rule.AttributeIs() | rule.AttributeHeld():
            return (leaf.attribute,)
        case rule.AttributeChanged():
            found: tuple[str, ...] = (leaf.attribute,)
        case _:
            found = ()
    window = getattr(leaf, "window", None)
    if window is not None and reads_profile_clock(window):
        found = tuple(dict.fromkeys((*found, ZONE_ATTRIBUTE)))
    return found

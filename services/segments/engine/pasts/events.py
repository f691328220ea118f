"""Leaves about one event of many: the first ever, the last."""

from __future__ import annotations

import numpy as np

from services.segments.domain import calendars
from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.moving import moves
from services.segments.engine.pasts.past import Past
from services.segments.engine.pasts.spans import Span, Verdict
from services.segments.engine.store import persons


def first_row(leaf: rule.FirstEvent, past: Past, at: int) -> Array:
    """The first event ever that the leaf looks at, if there is one."""
    return past.taken(leaf.events, at).rows[:1]


def first_spans(leaf: rule.FirstEvent, past: Past, at: int) -> list[Span | None]:
    """When the first event ever lies in the window."""
    found = past.taken(leaf.events, at)
    if not found.rows.size:
        return []
    return [calendars.stay(leaf.window, int(found.occur[0]), past.zone(leaf.window, at))]


def last_row(leaf: rule.LastEvent, past: Past, at: int) -> Array:
    """The last event that the leaf looks at, if there is one."""
    return past.taken(leaf.events, at).rows[-1:]


def last_event(leaf: rule.LastEvent, past: Past, at: int) -> Verdict:
    """Whether the last event has the properties."""
    last = last_row(leaf, past, at)
    if last.size and moves(leaf.has):
        return past.passes(int(last[0]), leaf.has, at), None
    every = rule.Selector(where=leaf.has)
    return bool(last.size and persons.matching(past.part, last.astype(np.int64), every).size), None

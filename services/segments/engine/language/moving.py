"""Filters whose answer changes as time passes: the booked trip begins within a week."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from services.segments.domain import conditions as rule
from services.segments.domain.values import Scalar, Test, stays
from services.segments.engine.store.catalogue import passes

NEVER = 1 << 62
Properties = Mapping[str, Mapping[int, Scalar]]


def tests_of(where: rule.Filter | None) -> Iterator[tuple[str, Test]]:
    """(property, test) of the tests in a filter that move."""
    match where:
        case rule.Property(key, test):
            if test.moves:
                yield key, test
        case rule.FilterAll(of) | rule.FilterAny(of) | rule.FilterNone(of):
            for one in of:
                yield from tests_of(one)
        case rule.AnyItem(_, inner):
            yield from tests_of(inner)


@lru_cache(maxsize=16_384)
def moves(where: rule.Filter | None) -> bool:
    """Whether time alone changes what a filter says."""
    return any(True for _ in tests_of(where))


def still(selector: rule.Selector) -> rule.Selector:
    """Every event that a selection takes at some instant: itself, or without its filter."""
    return replace(selector, where=None) if moves(selector.where) else selector


def passed(where: rule.Filter, properties: Properties, at: int) -> tuple[bool, int]:
    """(whether an event passes at an instant, the next instant at which that may change)."""
    spans = (
        span
        for key, test in tests_of(where)
        for span in stays(test, list(properties.get(key, {}).values()))
    )
    edges = (edge for span in spans for edge in span if edge is not None and edge > at)
    return passes(where, properties, at), min(edges, default=NEVER)

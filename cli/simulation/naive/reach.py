"""Instants at which a leaf may change for a profile because time passes; more than there are is
no harm, one missing is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from cli.simulation.naive import calendar, pasts, scores, windows
from cli.simulation.naive.events import items_of, moving
from cli.simulation.naive.facts import Assigned, Defined, Row
from cli.simulation.naive.values import moments
from muster.types.v1 import condition_pb2 as pb

_WITH_WINDOW = (
    *("event", "attribute_changed", "first_event", "sequence", "not_followed", "catalogue", "rfm"),
)


def leaves_of(defined: Defined) -> Iterable[tuple[pb.Condition, str]]:
    """(leaf, zone) of a rule."""
    waiting = [defined.condition]
    while waiting:
        condition = waiting.pop()
        kind = condition.WhichOneof("node")
        if kind == "not":
            waiting.append(getattr(condition, "not"))
        elif kind in ("all", "any", "none", "at_least"):
            waiting += getattr(condition, str(kind)).of
        elif kind is not None:
            yield condition, defined.zone


def window_of(leaf: pb.Condition) -> pb.Window | None:
    """The window of a leaf that has one."""
    kind = leaf.WhichOneof("node")
    return getattr(leaf, str(kind)).window if kind in _WITH_WINDOW else None


def of_row(leaf: pb.Condition, row: Row, zone: str, own_zones: Iterable[object]) -> set[int]:
    """Instants of an event. own_zones: every zone the profile may have said to be its own."""
    occur_us = row.occur_us
    found = pasts.later(leaf, occur_us)
    for selector in selectors_of(leaf):
        for name, test in moving(selector):
            found |= moments(test, items_of(row.properties, name), zone)
    window = window_of(leaf)
    if window is not None and leaf.WhichOneof("node") != "attribute_changed":
        for by in {windows.zone_for(window, zone, own) for own in (None, *own_zones)}:
            found |= windows.turns(window, occur_us, by)
    if leaf.WhichOneof("node") == "rfm":
        found |= scores.later(leaf.rfm, occur_us, leaf.rfm.zone or zone)
    return found


def selectors_of(leaf: pb.Condition) -> list[pb.EventSelector]:
    """Every selection of a leaf; what the last event must have counts as one."""
    kind = leaf.WhichOneof("node")
    node = getattr(leaf, str(kind))
    if kind == "event":
        return [node.events, node.aggregate.denominator]
    if kind == "last_event":
        return [node.events, pb.EventSelector(where=node.has)]
    if kind == "sequence":
        return list(node.steps)
    if kind == "not_followed":
        return [node.start, node.by]
    if kind == "rfm":
        return [node.orders]
    return [node.events] if kind in ("first_event", "regularly", "catalogue") else []


def of_value(
    leaf: pb.Condition, fact: Assigned, zone: str, own_zones: Iterable[object]
) -> set[int]:
    """Instants of an attribute's value."""
    kind = leaf.WhichOneof("node")
    if kind == "attribute" and leaf.attribute.attribute == fact.key:
        return moments(leaf.attribute.test, fact.values or (), zone)
    if kind == "attribute_held" and leaf.attribute_held.attribute == fact.key:
        turning = moments(leaf.attribute_held.test, fact.values or (), zone)
        begins = {fact.occur_us, *turning}
        return turning | {us for b in begins for us in pasts.held_later(leaf.attribute_held, b)}
    if kind == "attribute_changed" and leaf.attribute_changed.attribute == fact.key:
        window = leaf.attribute_changed.window
        zones = {windows.zone_for(window, zone, own) for own in (None, *own_zones)}
        return {us for by in zones for us in windows.turns(window, fact.occur_us, by)}
    return set()


def midnight_zones(leaf: pb.Condition, zone: str) -> set[str]:
    """Zones any of whose midnights may change the leaf's answer."""
    kind = leaf.WhichOneof("node")
    if kind == "attribute" and leaf.attribute.test.op == pb.OPERATOR_ANNIVERSARY:
        return {leaf.attribute.test.zone or zone}
    if kind == "rfm" and not scores.has_edges(leaf.rfm):
        return {leaf.rfm.zone or zone}
    return set()


def midnights(zones: Iterable[str], since_us: int, until_us: int) -> set[int]:
    """Every local midnight of some zones between two instants."""
    found = set()
    for zone in zones:
        day, last = calendar.day_of(since_us, zone), calendar.day_of(until_us, zone)
        while day <= last:
            day += dt.timedelta(days=1)
            found.add(calendar.midnight(day, zone))
    return found

"""Leaves of a rule over rows in effect, slowly and exactly, for the naive model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from muster.types.v1 import condition_pb2 as pb
from tests.support.facts import Assigned, Row
from tests.support.values import Value, holds, instant_of, number_of

__all__ = ["attribute_instants", "event_holds", "holds", "selects", "window_shifts"]

_ATTRIBUTE_SHIFTS = {
    pb.OPERATOR_IN_LAST: (0, 1),
    pb.OPERATOR_IN_NEXT: (0, -1),
    pb.OPERATOR_OLDER_THAN: (1,),
}


def selects(selector: pb.EventSelector, row: Row, at_us: int, zone: str) -> bool:
    """Whether a row is among the selector's events."""
    by_type = row.type in selector.types
    by_prefix = bool(selector.type_prefix) and row.type.startswith(selector.type_prefix)
    if not (by_type or by_prefix):
        return False
    return not selector.HasField("where") or _passes(selector.where, row.properties, zone)


def _passes(filter_: pb.PropertyFilter, properties: dict[str, dict[int, Value]], zone: str) -> bool:
    kind = filter_.WhichOneof("node")
    node = getattr(filter_, kind)
    if kind == "test":
        items = properties.get(node.property, {})
        return holds(node.test, [items[place] for place in sorted(items)], 0, zone)
    if kind == "any_item":
        return any(
            all(_passes(part, item, zone) for part in node.where)
            for item in _items(properties, node.path)
        )
    passed = [_passes(part, properties, zone) for part in node.of]
    return {"all": all(passed), "any": any(passed), "none": not any(passed)}[kind]


def _items(properties: dict[str, dict[int, Value]], path: str) -> list[dict[str, dict[int, Value]]]:
    """Elements of a list: each the properties under `path.` that stand at its place."""
    fields = {
        name.removeprefix(path + "."): values
        for name, values in properties.items()
        if name.startswith(path + ".")
    }
    places = sorted({place for values in fields.values() for place in values})
    return [
        {name: {0: values[place]} for name, values in fields.items() if place in values}
        for place in places
    ]


def in_window(window: pb.Window, row: Row, at_us: int) -> bool:
    """Whether the row's occur time lies in the window as it stands at an instant."""
    kind = window.WhichOneof("kind")
    occur_us = row.occur_us
    if kind is None or kind == "ever":
        return occur_us <= at_us
    if kind == "last":
        return at_us - window.last.ToMicroseconds() < occur_us <= at_us
    if kind == "slice":
        begin = at_us - getattr(window.slice, "from").ToMicroseconds()
        return begin < occur_us <= at_us - window.slice.to.ToMicroseconds()
    if kind == "absolute":
        since = getattr(window.absolute, "from").ToMicroseconds()
        until = window.absolute.to.ToMicroseconds()
        after = not window.absolute.HasField("from") or occur_us >= since
        return after and (not window.absolute.HasField("to") or occur_us < until)
    raise ValueError(f"the naive model does not speak the window {kind}")


def event_holds(leaf: pb.EventLeaf, rows: Sequence[Row], at_us: int) -> bool:
    """Whether matching rows in effect satisfy the leaf at an instant."""
    seen = [row for row in rows if in_window(leaf.window, row, at_us)]
    if not leaf.HasField("aggregate"):
        return len(seen) >= 1
    figure = figure_of(leaf.aggregate, seen)
    return figure is not None and _compares(leaf.comparison, figure)


def figure_of(aggregate: pb.Aggregate, rows: Sequence[Row]) -> Value | None:
    """The aggregate's answer over rows in order; None where there is no value."""
    kind = aggregate.kind
    if kind == pb.AGGREGATE_KIND_COUNT:
        return Fraction(len(rows))
    values = [value for row in rows for value in _values(row, aggregate.property)]
    if kind in (pb.AGGREGATE_KIND_FIRST, pb.AGGREGATE_KIND_LAST):
        place = 0 if kind == pb.AGGREGATE_KIND_FIRST else -1
        return values[place] if values else None
    if kind == pb.AGGREGATE_KIND_DISTINCT:
        return Fraction(len(_distinct(values)))
    numbers = [number for value in values if (number := number_of(value)) is not None]
    if kind == pb.AGGREGATE_KIND_SUM:
        return sum(numbers, Fraction(0))
    if not numbers:
        return None
    if kind == pb.AGGREGATE_KIND_AVG:
        return sum(numbers, Fraction(0)) / len(numbers)
    if kind == pb.AGGREGATE_KIND_MIN:
        return min(numbers)
    if kind == pb.AGGREGATE_KIND_MAX:
        return max(numbers)
    raise ValueError(f"the naive model does not speak the aggregate {kind}")


def _values(row: Row, name: str) -> list[Value]:
    items = row.properties.get(name, {})
    return [items[place] for place in sorted(items) if items[place] != ""]


def _distinct(values: list[Value]) -> set[object]:
    """Values that differ; a numeric text is its number, so that the answer has no order."""
    found: set[object] = set()
    for value in values:
        number = number_of(value)
        text = unicodedata.normalize("NFC", value) if isinstance(value, str) else value
        found.add((type(text), text) if number is None else (Fraction, number))
    return found


def _compares(comparison: pb.Comparison, figure: Value) -> bool:
    test = pb.Test(op=comparison.op, values=comparison.values)
    return holds(test, [figure], 0, "")


def window_shifts(leaf: pb.Condition) -> set[int]:
    """What is to be added to an occur time to get the instants at which it may come or go."""
    if leaf.WhichOneof("node") != "event":
        return set()
    window = leaf.event.window
    kind = window.WhichOneof("kind")
    if kind == "last":
        return {window.last.ToMicroseconds()}
    if kind == "slice":
        return {getattr(window.slice, "from").ToMicroseconds(), window.slice.to.ToMicroseconds()}
    return set()


def attribute_shifts(leaf: pb.Condition) -> set[tuple[str, int, str]]:
    """(attribute, shift, zone) of tests whose answer changes when a time is reached."""
    if leaf.WhichOneof("node") != "attribute":
        return set()
    test = leaf.attribute.test
    length = test.duration.ToMicroseconds()
    signs = _ATTRIBUTE_SHIFTS.get(test.op, ())
    return {(leaf.attribute.attribute, sign * length, test.zone) for sign in signs}


def attribute_instants(fact: Assigned, shifts: set[tuple[str, int, str]]) -> set[int]:
    """Instants at which a time attribute reaches one of the shifts."""
    found = set()
    for attribute, shift, zone in shifts:
        for value in (fact.values or ()) if fact.key == attribute else ():
            instant = instant_of(value, zone)
            if instant is not None:
                found.add(instant + shift)
    return found


def midnight_zones(leaf: pb.Condition, zone: str) -> set[str]:
    """Zones whose midnights change the leaf's answer."""
    if leaf.WhichOneof("node") != "attribute":
        return set()
    test = leaf.attribute.test
    return {test.zone or zone} if test.op == pb.OPERATOR_ANNIVERSARY else set()

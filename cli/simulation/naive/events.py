"""Which events a rule takes, and the figure over them, slowly and exactly, for the naive model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from cli.simulation.naive import calendar
from cli.simulation.naive.facts import Row
from cli.simulation.naive.values import MOVING, Value, holds, number_of
from muster.types.v1 import condition_pb2 as pb

Properties = dict[str, dict[int, Value]]


def selects(selector: pb.EventSelector, row: Row, at_us: int, zone: str) -> bool:
    """Whether a row is among the selector's events; one that names none takes all."""
    named = bool(selector.types or selector.type_prefix)
    by_type = row.type in selector.types
    by_prefix = bool(selector.type_prefix) and row.type.startswith(selector.type_prefix)
    if named and not (by_type or by_prefix):
        return False
    return not selector.HasField("where") or passes(selector.where, row.properties, at_us, zone)


def passes(filter_: pb.PropertyFilter, properties: Properties, at_us: int, zone: str) -> bool:
    """Whether properties pass a filter at an instant."""
    kind = str(filter_.WhichOneof("node"))
    node = getattr(filter_, kind)
    if kind == "test":
        return holds(node.test, items_of(properties, node.property), at_us, zone)
    if kind == "any_item":
        return any(
            all(passes(part, item, at_us, zone) for part in node.where)
            for item in _elements(properties, node.path)
        )
    passed = [passes(part, properties, at_us, zone) for part in node.of]
    return {"all": all(passed), "any": any(passed), "none": not any(passed)}[kind]


def items_of(properties: Properties, name: str) -> list[Value]:
    """A property's values in order of their items, missing ones left out."""
    items = properties.get(name, {})
    return [items[place] for place in sorted(items) if items[place] != ""]


def _elements(properties: Properties, path: str) -> list[Properties]:
    """Elements of a list: each the properties under `path.` that stand at its place."""
    fields = {
        name.removeprefix(path + "."): values
        for name, values in properties.items()
        if name.startswith(path + ".")
    }
    if path in properties:
        fields[""] = properties[path]
    places = sorted({place for values in fields.values() for place in values})
    return [
        {name: {0: values[place]} for name, values in fields.items() if place in values}
        for place in places
    ]


def event_holds(leaf: pb.EventLeaf, rows: Sequence[Row], below: Sequence[Row], zone: str) -> bool:
    """Whether the leaf holds over what lies in its window. below: of a ratio's denominator."""
    if leaf.aggregate.kind in (pb.AGGREGATE_KIND_UNSPECIFIED, pb.AGGREGATE_KIND_COUNT):
        return count_holds(leaf.comparison, len(rows))
    figure = figure_of(leaf.aggregate, rows, below, zone)
    return figure is not None and compares(leaf.comparison, figure, zone)


def count_holds(comparison: pb.Comparison, count: int) -> bool:
    """A number against what it is compared with; without that, at least one."""
    return compares(comparison, Fraction(count)) if comparison.op else count >= 1


def figure_of(
    aggregate: pb.Aggregate, rows: Sequence[Row], below: Sequence[Row], zone: str
) -> Value | None:
    """The aggregate's answer over rows in order; None where there is no value."""
    kind, name = aggregate.kind, aggregate.property
    if kind == pb.AGGREGATE_KIND_DISTINCT_DAYS:
        by = aggregate.zone or zone
        return Fraction(len({calendar.day_of(row.occur_us, by) for row in rows}))
    if aggregate.currency:
        rows, below = _paid_in(aggregate.currency, rows), _paid_in(aggregate.currency, below)
    if kind == pb.AGGREGATE_KIND_RATIO:
        return _ratio(aggregate, rows, below)
    if kind == pb.AGGREGATE_KIND_MOST_FREQUENT:
        return _most_frequent(aggregate, rows, below)
    values = [value for row in rows for value in items_of(row.properties, name)]
    if kind in (pb.AGGREGATE_KIND_FIRST, pb.AGGREGATE_KIND_LAST):
        place = 0 if kind == pb.AGGREGATE_KIND_FIRST else -1
        return values[place] if values else None
    if kind == pb.AGGREGATE_KIND_DISTINCT:
        return Fraction(len({sameness(value) for value in values}))
    return _of_numbers(kind, [n for value in values if (n := number_of(value)) is not None])


def _paid_in(currency: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if currency in items_of(row.properties, "currency")]


def _of_numbers(kind: int, numbers: list[Fraction]) -> Fraction | None:
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


def _count(rows: Sequence[Row], once: str) -> int:
    """Rows, those with one value of a property once; a row without it counts by itself."""
    marks: list[object] = []
    for place, row in enumerate(rows):
        named = items_of(row.properties, once) if once else []
        marks.append((True, sameness(named[0])) if named else (False, place))
    return len(set(marks))


def _ratio(aggregate: pb.Aggregate, rows: Sequence[Row], below: Sequence[Row]) -> Fraction | None:
    name = aggregate.property
    if _count(below, aggregate.once) < max(1, aggregate.denominator_min):
        return None
    if not name:
        return Fraction(_count(rows, aggregate.once), _count(below, aggregate.once))
    totals = []
    for chosen, summed in ((rows, name), (below, aggregate.denominator_property or name)):
        numbers = [number_of(v) for row in chosen for v in items_of(row.properties, summed)]
        totals.append(sum((n for n in numbers if n is not None), Fraction(0)))
    return totals[0] / totals[1] if totals[1] else None


def _most_frequent(
    aggregate: pb.Aggregate, rows: Sequence[Row], below: Sequence[Row]
) -> Value | None:
    """The value seen most often, or with the highest share of what is below; of several the one
    seen last; as it was written then."""
    name = aggregate.property
    found = [value for row in rows for value in items_of(row.properties, name)]
    ranks: dict[object, Fraction] = {}
    for value in found:
        key = sameness(value)
        if not aggregate.HasField("denominator"):
            ranks[key] = ranks.get(key, Fraction(0)) + 1
            continue
        count, of = (_count(_with(side, name, key), aggregate.once) for side in (rows, below))
        if of >= max(1, aggregate.denominator_min):
            ranks[key] = Fraction(count, of)
    most = max(ranks.values(), default=None)
    latest = (value for value in reversed(found) if ranks.get(sameness(value)) == most)
    return next(latest, None) if ranks else None


def _with(rows: Sequence[Row], name: str, key: object) -> list[Row]:
    return [r for r in rows if key in {sameness(v) for v in items_of(r.properties, name)}]


def sameness(value: Value) -> object:
    """Equal for values that are the same; a numeric text is its number, so that there are no
    three values of which only two pairs are the same."""
    number = number_of(value)
    if number is not None:
        return Fraction, number
    text = unicodedata.normalize("NFC", value) if isinstance(value, str) else value
    return type(text), text


def compares(comparison: pb.Comparison, figure: Value, zone: str = "") -> bool:
    """A figure against what it is compared with."""
    test = pb.Test(op=comparison.op, values=comparison.values)
    return holds(test, [figure], 0, zone)


def moving(selector: pb.EventSelector) -> list[tuple[str, pb.Test]]:
    """(property, test) of a selector's filters that change as time passes; in a list's elements
    by full names."""
    found: list[tuple[str, pb.Test]] = []
    waiting = [("", selector.where)] if selector.HasField("where") else []
    while waiting:
        within, filter_ = waiting.pop()
        kind = str(filter_.WhichOneof("node"))
        node = getattr(filter_, kind)
        if kind == "test":
            if node.test.op in MOVING:
                found.append((within + node.property, node.test))
        elif kind == "any_item":
            waiting += [(f"{within}{node.path}.", part) for part in node.where]
        else:
            waiting += [(within, part) for part in node.of]
    return found

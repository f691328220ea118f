"""Reads which events a leaf looks at, how they are summed up, and what the figure must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.domain import normal
from services.segments.domain.values import (
    MOVING,
    ORDERS,
    POSITIVE_OF,
    TEXT,
    Op,
    Scalar,
    Test,
    normal_text,
)
from services.segments.domain.windows import Span
from services.segments.engine.language.reading_state import Reading
from services.segments.engine.language.reading_values import read_test

AT_LEAST_ONE = rule.Comparison(Op.GTE, Fraction(1))
EMPTY = rule.Property("", Test(Op.EXISTS))
"""Stands for a filter with a fault."""
_KINDS = {int(kind) for kind in rule.Kind}
_OF_FIGURES = {Op.EQ, Op.NE, *ORDERS}
_NOT_OF_VALUES = {Op.ANNIVERSARY, Op.MATCHES, Op.EXISTS, Op.NOT_EXISTS, Op.ALL} | MOVING
_OF_A_VALUE = {rule.Kind.FIRST, rule.Kind.LAST, rule.Kind.MOST_FREQUENT}
_OF_EVENTS = {rule.Kind.COUNT, rule.Kind.DISTINCT_DAYS}
_OF_MONEY = {rule.Kind.SUM, rule.Kind.AVG, rule.Kind.MIN, rule.Kind.MAX, rule.Kind.RATIO}
_OVER_OTHERS = {rule.Kind.RATIO, rule.Kind.MOST_FREQUENT}
_OTHER = "denominator_property"
_FILTERS: dict[str, Callable[[tuple[rule.Filter, ...]], rule.Filter]] = {
    "all": rule.FilterAll,
    "any": rule.FilterAny,
    "none": rule.FilterNone,
}


def read_selector(reading: Reading, events: pb.EventSelector, field: str) -> rule.Selector:
    """The selection in a field of a leaf, in its normal form."""
    with reading.at(field):
        if "" in events.types:
            reading.fault("an event type is empty", "types")
        where = None
        if events.HasField("where"):
            where = read_filter(reading, events.where, "where")
        return normal.selector(rule.Selector(tuple(events.types), events.type_prefix, where))


def read_filter(reading: Reading, given: pb.PropertyFilter, field: str) -> rule.Filter:
    """The filter in a field of a leaf or selection, in its normal form."""
    with reading.at(field):
        size = _size(given)
        if size > reading.limits.filters_max:
            reading.fault(f"has {size} tests and groups; at most {reading.limits.filters_max}")
            return EMPTY
        return normal.where(_filter(reading, given, "", 1))


def _size(given: pb.PropertyFilter) -> int:
    kind = given.WhichOneof("node")
    if kind is None or kind == "test":
        return 1
    inner = given.any_item.where if kind == "any_item" else getattr(given, kind).of
    return 1 + sum(map(_size, inner))


def _filter(reading: Reading, given: pb.PropertyFilter, within: str, depth: int) -> rule.Filter:
    """within: the path of the any_item around, whose keys are relative to it."""
    kind = given.WhichOneof("node")
    if kind is None:
        reading.fault("an empty filter: choose a test or a group")
        return EMPTY
    if depth > reading.limits.depth_max:
        reading.fault(f"deeper than {reading.limits.depth_max} levels: use fewer groups")
        return EMPTY
    if kind == "test":
        return _property(reading, given.test, within)
    if kind == "any_item":
        return _any_item(reading, given.any_item, within, depth)
    of = []
    for index, child in enumerate(getattr(given, kind).of):
        with reading.at(f"{kind}[{index}]"):
            of.append(_filter(reading, child, within, depth + 1))
    if not of:
        reading.fault("an empty group is refused: put at least one filter into it", kind)
        return EMPTY
    return _FILTERS[kind](tuple(of))


def _property(reading: Reading, given: pb.PropertyTest, within: str) -> rule.Filter:
    with reading.at("test"):
        if not given.property and not within:
            reading.fault("name the property", "property")
        with reading.at("test"):
            test = read_test(reading, given.test, of_attribute=False)
    return rule.Property(".".join(filter(None, (within, given.property))), test)


def _any_item(reading: Reading, given: pb.AnyItem, within: str, depth: int) -> rule.Filter:
    with reading.at("any_item"):
        if not given.path:
            reading.fault("name the list", "path")
        if not given.where:
            reading.fault("put at least one filter into it", "where")
        path = ".".join(filter(None, (within, given.path)))
        of = []
        for index, child in enumerate(given.where):
            with reading.at(f"where[{index}]"):
                of.append(_filter(reading, child, path, depth + 1))
        if not of:
            return EMPTY
        inner = rule.FilterAll(tuple(of))
        if not within:
            return rule.AnyItem(path, inner)
        plain = normal.where(inner)
        if not _of_one_element(plain):
            reading.fault(
                "an event numbers the elements of one list, not of a list in its elements: there,"
                " use one positive test, or `any` of such, and for the rest an event per element"
            )
        return plain


def _of_one_element(given: rule.Filter) -> bool:
    """Whether one element satisfies this exactly when some value below the list does."""
    if isinstance(given, rule.FilterAny):
        return all(map(_of_one_element, given.of))
    return (
        isinstance(given, rule.Property)
        and given.test.op not in POSITIVE_OF
        and given.test.op is not Op.ALL
    )


def read_aggregate(reading: Reading, given: pb.Aggregate) -> rule.Aggregate:
    """The aggregate; count where there was a fault."""
    with reading.at("aggregate"):
        if given.kind and given.kind not in _KINDS:
            reading.fault("there is no such aggregate", "kind")
            return rule.Aggregate()
        kind = rule.Kind(given.kind or rule.Kind.COUNT)
        name = kind.name.lower()
        if kind in _OF_EVENTS and given.property:
            reading.fault(f"{name} looks at no property: leave it out, or use distinct", "property")
        elif kind not in _OF_EVENTS | {rule.Kind.RATIO} and not given.property:
            reading.fault(f"name the property that {name} looks at", "property")
        if given.currency and (kind not in _OF_MONEY or not given.property):
            reading.fault("only sum, avg, min, max and a ratio of sums have one", "currency")
        if given.zone and kind is not rule.Kind.DISTINCT_DAYS:
            reading.fault("only distinct_days has a zone", "zone")
        zone = reading.zone_of(given.zone) if kind is rule.Kind.DISTINCT_DAYS else ""
        made = rule.Aggregate(kind, given.property, given.currency, zone)
        return _over(reading, given, made)


def _over(reading: Reading, given: pb.Aggregate, made: rule.Aggregate) -> rule.Aggregate:
    """The aggregate with what it is divided by."""
    if not given.HasField("denominator"):
        if made.kind is rule.Kind.RATIO:
            reading.fault("say over which events: types or type_prefix", "denominator")
        for field in ("once", "denominator_min", _OTHER):
            if getattr(given, field):
                reading.fault("only an aggregate over a denominator has it", field)
        return made
    if made.kind not in _OVER_OTHERS:
        reading.fault("only ratio and most_frequent have one", "denominator")
    if given.once and made.kind is rule.Kind.RATIO and made.property:
        reading.fault("sums add every event up: leave it out, or leave the property out", "once")
    other = given.denominator_property
    if other and not (made.kind is rule.Kind.RATIO and made.property):
        reading.fault("only a ratio of sums has it: name the property here too", _OTHER)
    denominator = read_selector(reading, given.denominator, "denominator")
    return replace(
        made,
        denominator=denominator,
        denominator_property="" if other == made.property else other,
        once=given.once,
        denominator_min=given.denominator_min or 1,
    )


def read_comparison(reading: Reading, leaf: pb.EventLeaf, kind: rule.Kind) -> rule.Comparison:
    """What the figure of an event leaf must be."""
    if not leaf.HasField("comparison") or leaf.comparison == pb.Comparison():
        if kind is not rule.Kind.COUNT:
            reading.fault("say what the figure is compared with", "comparison")
        return AT_LEAST_ONE
    if kind in _OF_A_VALUE:
        return _value_comparison(reading, leaf.comparison)
    return read_number_comparison(reading, leaf.comparison, "comparison")


def _value_comparison(reading: Reading, given: pb.Comparison) -> rule.Comparison:
    """A value may be of any type: it is held against a test, and no value satisfies none."""
    with reading.at("comparison"):
        if given.op in {int(op) for op in _NOT_OF_VALUES}:
            reading.fault(
                "must be eq, ne, eq_ci, gt, gte, lt, lte, between, in, not_in, before, after,"
                " contains, not_contains, starts_with or ends_with",
                "op",
            )
            return AT_LEAST_ONE
        test = read_test(reading, pb.Test(op=given.op, values=given.values), of_attribute=False)
    return rule.Comparison(test.op, Fraction(0), test=test)


def read_number_comparison(reading: Reading, given: pb.Comparison, field: str) -> rule.Comparison:
    """A comparison of a number; at least one where there was a fault."""
    with reading.at(field):
        if given.op not in {int(op) for op in _OF_FIGURES}:
            reading.fault("must be eq, ne, gt, gte, lt, lte or between", "op")
            return AT_LEAST_ONE
        before = len(reading.faults)
        test = read_test(reading, pb.Test(op=given.op, values=given.values), of_attribute=False)
        numbers = [value.number() for value in test.values]
        if len(reading.faults) > before:
            return AT_LEAST_ONE
        if None in numbers:
            reading.fault("compare with a number", "values")
            return AT_LEAST_ONE
    return rule.Comparison(test.op, *numbers)  # type: ignore[arg-type]


def figure(
    selector: rule.Selector,
    window: Span,
    aggregate: rule.Aggregate,
    comparison: rule.Comparison,
) -> rule.EventsAre:
    """The leaf; a figure of money takes only events whose `currency` says so."""
    currency = aggregate.currency
    if currency:
        selector = _in_currency(selector, currency)
        if aggregate.denominator is not None:
            paid = _in_currency(aggregate.denominator, currency)
            aggregate = replace(aggregate, denominator=paid)
    return rule.EventsAre(selector, window, aggregate, comparison)


def _in_currency(selector: rule.Selector, currency: str) -> rule.Selector:
    paid = rule.Property("currency", Test(Op.EQ, (Scalar(TEXT, normal_text(currency)),)))
    where = paid if selector.where is None else rule.FilterAll((selector.where, paid))
    return normal.selector(rule.Selector(selector.types, selector.prefix, where))

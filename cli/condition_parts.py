"""Friendly YAML of what stands inside a leaf: values, operators and property filters.

Values: text, whole numbers, exact decimals, true/false, lists; an instant or a date as YAML writes
it (2026-05-01T10:00:00Z, 2026-05-01), or {time: ...}, {date: ...}, {text: ...}, {decimal: ...}
where it must be said.

Operators: eq, ne, eq_ci, gt, gte, lt, lte, contains, not_contains, starts_with, ends_with, matches,
before, after: one value; between: [low, high]; in, not_in, all: a list; exists, not_exists: true;
in_last, in_next, older_than: a duration; anniversary: today, tomorrow, or {offset_days: 1,
span_days: 7, zone: Europe/Kyiv, leap_day: february_28 | march_1 | leap_years_only}. `zone` and
`leap_day` may stand beside the operator.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as Exact
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cli.reading import Node, describe
from muster.types.v1 import common_pb2, event_pb2
from muster.types.v1 import condition_pb2 as pb

OPERATORS: dict[str, pb.Operator] = {
    name.removeprefix("OPERATOR_").lower(): cast("pb.Operator", number)
    for name, number in pb.Operator.items()
    if number
}
COMPARISONS = {"eq", "ne", "gt", "gte", "lt", "lte", "between"}
"""Of figures."""
VALUE_COMPARISONS = COMPARISONS | {
    "eq_ci", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with", "before",
    "after",
}  # fmt: skip
"""Of aggregates that answer a value: first, last, most_frequent."""
SAID_VALUES = {"time", "date", "text", "decimal"}
SELECTOR = {"type", "type_prefix", "any_type", "where"}
TEST_KEYS = set(OPERATORS) | {"zone", "leap_day"}

LISTS = {"in", "not_in", "all"}
DURATIONS = {"in_last", "in_next", "older_than"}
GROUPS = {"all", "any", "none"}
LEAP_DAYS = {
    "february_28": pb.LEAP_DAY_FEBRUARY_28,
    "march_1": pb.LEAP_DAY_MARCH_1,
    "leap_years_only": pb.LEAP_DAY_LEAP_YEARS_ONLY,
}
_EXPONENT_MAX = 18
_SINT64 = 2**63


def flag(node: Node) -> bool:
    if node.tree is not None and not isinstance(node.tree, bool):
        node.fault(f"must be true or false, not {describe(node.tree)}")
    return node.tree is True


def zone(node: Node) -> str:
    """An IANA name; empty when absent."""
    if node.tree is None:
        return ""
    try:
        return ZoneInfo(node.text() or "UTC").key
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: longer than a file name may be.
        node.fault(f"{node.tree!r} is no time zone; use a name such as Europe/Kyiv")
        return ""


def decimal(node: Node) -> event_pb2.Decimal:
    """Units and exponent of a number or a decimal text."""
    tree = node.tree
    try:
        exact = Exact(repr(tree)) if isinstance(tree, float) else Exact(tree)
        sign, digits, exponent = exact.as_tuple()
    except (TypeError, ValueError, ArithmeticError):
        node.fault(f"must be a number, not {describe(tree)}")
        return event_pb2.Decimal()
    if not isinstance(exponent, int):
        node.fault("NaN and infinities are refused")
        return event_pb2.Decimal()
    units = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    if exponent > 0:
        units, exponent = units * 10**exponent, 0
    if -exponent > _EXPONENT_MAX or not -_SINT64 <= units < _SINT64:
        node.fault(f"{tree} needs more than {_EXPONENT_MAX} digits after the point or 18 in all")
        return event_pb2.Decimal()
    return event_pb2.Decimal(units=units, exponent=-exponent)


def value(node: Node) -> common_pb2.Value:
    """A Value; a fault for what no value can be."""
    tree = node.tree
    if isinstance(tree, bool):
        return common_pb2.Value(flag=tree)
    if isinstance(tree, int):
        if not -_SINT64 <= tree < _SINT64:
            node.fault(f"{tree} does not fit 64 bits")
            return common_pb2.Value()
        return common_pb2.Value(whole=tree)
    if isinstance(tree, (Exact, float)):
        return common_pb2.Value(decimal=decimal(node))
    if isinstance(tree, str):
        return common_pb2.Value(text=tree)
    if isinstance(tree, dt.datetime):
        return _time(node)
    if isinstance(tree, dt.date):
        return common_pb2.Value(date=tree.isoformat())
    if isinstance(tree, list):
        made = common_pb2.Value()
        made.list.values.extend(value(item) for item in node.items())
        return made
    if isinstance(tree, dict) and len(tree) == 1:
        return _said_value(node)
    node.fault(f"must be a value, not {describe(tree)}")
    return common_pb2.Value()


def _said_value(node: Node) -> common_pb2.Value:
    kind = str(next(iter(node.tree)))
    said = node.at(kind)
    if kind == "time":
        return _time(said)
    if kind == "date":
        try:
            return common_pb2.Value(date=dt.date.fromisoformat(str(said.tree)).isoformat())
        except ValueError:
            said.fault(f"must be a date such as 2026-05-01, not {said.tree!r}")
    elif kind == "text":
        return common_pb2.Value(text=str(said.tree))
    elif kind == "decimal":
        return common_pb2.Value(decimal=decimal(said))
    else:
        node.fault(f"there is no kind of value {kind!r}; use time, date, text or decimal")
    return common_pb2.Value()


def _time(node: Node) -> common_pb2.Value:
    made = common_pb2.Value()
    made.time.FromMicroseconds(node.instant_us())
    return made


def tests_at(node: Node) -> list[pb.Test]:
    """The operators of a mapping, each a Test with the zone and leap day that stand beside them."""
    tests = []
    for name in OPERATORS:
        if not node.has(name):
            continue
        test = _test(node.at(name), name)
        if node.has("zone"):
            test.zone = zone(node.at("zone"))
        if node.has("leap_day") and name == "anniversary":
            test.leap_day = _leap_day(node.at("leap_day"))
        tests.append(test)
    if node.has("leap_day") and not node.has("anniversary"):
        node.at("leap_day").fault("stands beside anniversary only")
    return tests


def one_test(node: Node) -> pb.Test:
    """The one operator of a mapping that has also `at_least` or others: exactly one Test."""
    tests = tests_at(node)
    if len(tests) != 1:
        node.fault_at_last(f"must have one operator, has {len(tests)}")
        return pb.Test()
    return tests[0]


def _test(node: Node, name: str) -> pb.Test:
    test = pb.Test(op=OPERATORS[name])
    if name in {"exists", "not_exists"}:
        if node.tree not in (None, True):
            node.fault(f"takes true; say {'not_exists' if name == 'exists' else 'exists'} instead")
    elif name in DURATIONS:
        test.duration.FromMicroseconds(node.duration_us())
    elif name == "anniversary":
        _anniversary(node, test)
    elif name == "between":
        test.values.extend(_bounds(node))
    elif name in LISTS:
        test.values.extend(value(item) for item in node.items())
        if node.tree == []:
            node.fault("must list at least one value")
    else:
        test.values.append(value(node))
    return test


def _bounds(node: Node) -> list[common_pb2.Value]:
    bounds = [value(item) for item in node.items()]
    if len(bounds) != 2:
        node.fault("must be [low, high], both ends in")
    return bounds


def _anniversary(node: Node, test: pb.Test) -> None:
    if node.tree in ("today", "tomorrow"):
        test.offset_days = 1 if node.tree == "tomorrow" else 0
        return
    if node.tree in (None, True):
        return
    node.keys({"offset_days", "span_days", "zone", "leap_day"}, "anniversary")
    test.offset_days = node.at("offset_days").whole(least=-366, most=366, default=0)
    test.span_days = node.at("span_days").whole(least=1, most=366, default=0)
    test.zone = zone(node.at("zone"))
    if node.has("leap_day"):
        test.leap_day = _leap_day(node.at("leap_day"))


def _leap_day(node: Node) -> pb.LeapDay:
    if not isinstance(node.tree, str) or node.tree not in LEAP_DAYS:
        node.fault(f"must be one of {', '.join(LEAP_DAYS)}")
        return pb.LEAP_DAY_UNSPECIFIED
    return LEAP_DAYS[node.tree]


def comparison(node: Node, known: set[str] = COMPARISONS) -> pb.Comparison:
    """The one comparison of an aggregate, by one of the operators it knows."""
    named = sorted(name for name in known if node.has(name))
    if len(named) != 1:
        node.fault_at_last(f"must have one of {', '.join(sorted(known))}")
        return pb.Comparison()
    test = _test(node.at(named[0]), named[0])
    return pb.Comparison(op=test.op, values=test.values)


def score_range(node: Node) -> tuple[int, int]:
    """(least, most) of scores 1 to 5, from one score, [least, most] or {min, max}; 0 is open."""
    tree = node.tree
    if isinstance(tree, int):
        return node.whole(1, 5), node.whole(1, 5)
    if isinstance(tree, list) and len(tree) == 2:
        least, most = (item.whole(1, 5) for item in node.items())
        return least, most
    node.keys({"min", "max"}, "a range of scores")
    return node.at("min").whole(0, 5, 0), node.at("max").whole(0, 5, 0)


def selected(node: Node, more: set[str], what: str) -> pb.EventSelector:
    """The EventSelector of a mapping with type, type_prefix and where beside `more`; a text alone
    is the type."""
    if isinstance(node.tree, str):
        node = node.aside({"type": node.tree}, "type")
    node.keys(SELECTOR | more, what)
    selector = pb.EventSelector()
    types = node.at("type")
    if isinstance(types.tree, list):
        selector.types.extend(item.text() for item in types.items())
    elif types.tree is not None:
        selector.types.append(types.text())
    selector.type_prefix = node.at("type_prefix").text(needed=False)
    every = flag(node.at("any_type"))
    if bool(selector.types or selector.type_prefix) == every:
        node.fault_at_last("must say which events: type, a list of types, type_prefix or any_type")
    if node.has("where"):
        selector.where.CopyFrom(property_filter(node.at("where")))
    return selector


def property_filter(node: Node, in_item: bool = False) -> pb.PropertyFilter:
    """One PropertyFilter; several keys or a list stand under all. in_item: of an element of a list,
    where a property without a name is the element itself."""
    if isinstance(node.tree, list):
        filters = [property_filter(item, in_item) for item in node.items()]
    else:
        filters = _filters_of_mapping(node, in_item)
    if not filters:
        node.fault_at_last("must have at least one filter, such as {category: phones}")
    if len(filters) == 1:
        return filters[0]
    made = pb.PropertyFilter()
    made.all.of.extend(filters)
    return made


def _filters_of_mapping(node: Node, in_item: bool) -> list[pb.PropertyFilter]:
    if not isinstance(node.tree, dict):
        node.fault(f"must be a mapping of property to value, not {describe(node.tree)}")
        return []
    filters: list[pb.PropertyFilter] = []
    for key in node.tree:
        inner = node.at(str(key))
        if not isinstance(key, str):
            inner.fault("the name of a property is a text: put it in quotes")
        elif key in GROUPS:
            made = pb.PropertyFilter()
            getattr(made, key).of.extend(property_filter(item, in_item) for item in inner.items())
            if inner.tree == []:
                inner.fault("an empty group is refused: name at least one filter")
            filters.append(made)
        elif key == "any_item":
            filters.append(_any_item(inner))
        elif key == "property":
            filters.extend(_named_property(inner, in_item))
        else:
            filters.extend(property_tests(key, inner))
    return filters


def _named_property(node: Node, in_item: bool) -> list[pb.PropertyFilter]:
    node.keys({"name"} | TEST_KEYS, "property")
    name = node.at("name").tree
    if name is None and not in_item:
        node.at("name").fault("must be a text, the property's name")
    elif name is not None:
        name = node.at("name").text()
    tree = node.tree if isinstance(node.tree, dict) else {}
    return property_tests(name or "", node.aside({k: v for k, v in tree.items() if k != "name"}))


def property_tests(name: str, node: Node) -> list[pb.PropertyFilter]:
    """The tests of a property: a value, a list of values, or operators that must all hold."""
    if not isinstance(node.tree, dict) or (node.tree and set(node.tree) <= SAID_VALUES):
        short = "in" if isinstance(node.tree, list) else "eq"
        node = node.aside({short: node.tree}, short)
    else:
        node.keys(TEST_KEYS, "a property")
    tests = tests_at(node)
    if not tests:
        node.fault_at_last(f"must have an operator: one of {', '.join(sorted(OPERATORS))}")
    return [pb.PropertyFilter(test=pb.PropertyTest(property=name, test=test)) for test in tests]


def _any_item(node: Node) -> pb.PropertyFilter:
    node.keys({"path", "where"}, "any_item")
    made = pb.PropertyFilter()
    made.any_item.path = node.at("path").text()
    where = node.at("where")
    if isinstance(where.tree, list):
        made.any_item.where.extend(property_filter(item, in_item=True) for item in where.items())
    else:
        made.any_item.where.extend(_filters_of_mapping(where, in_item=True))
    if not made.any_item.where:
        where.fault_at_last("must have at least one filter")
    return made

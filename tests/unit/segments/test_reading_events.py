"""Which events, which figure, compared with what; and what cannot be."""

from __future__ import annotations

from fractions import Fraction

import pytest

from services.segments.domain import conditions as rule
from services.segments.domain.values import TEXT, Op, Scalar
from services.segments.domain.values import Test as Asked
from tests.unit.segments.reading import assert_faults, read, said

A = 'events { types: "a" }'


def where(text: str) -> str:
    return f'first_event {{ events {{ types: "a" where {{ {text} }} }} }}'


def having(name: str, op: str = "op: OPERATOR_EXISTS") -> str:
    return f'test {{ property: "{name}" test {{ {op} }} }}'


def property_is(key: str, text: str) -> rule.Property:
    return rule.Property(key, Asked(Op.EQ, (Scalar(TEXT, text),)))


def figure(friendly: str) -> rule.EventsAre:
    node = said(friendly)
    assert isinstance(node, rule.EventsAre)
    return node


WRONG_FILTERS = {
    "": [": an empty filter"],
    "all {}": ["all: an empty group is refused"],
    "any { of {} }": ["any[0]: an empty filter"],
    having(""): ["test.property: name the property"],
    having("x", "op: OPERATOR_EQ"): ["test.test.values: eq takes 1 value"],
    having("x", "op: OPERATOR_ANNIVERSARY"): ["test.test.op: anniversary stands over an attribute"],
    "any_item {}": ["any_item.path: name the list", "any_item.where: put at least one filter"],
    f'any_item {{ path: "lines" where {{ any_item {{ path: "tags" where {{ {having("x")} }}'
    f' where {{ {having("y")} }} }} }} }}': [
        "any_item.where[0].any_item: an event numbers the elements of one list",
    ],
    'any_item { path: "lines" where { any_item { path: "tags" where { '
    + having("", 'op: OPERATOR_NE values { text: "x" }') + " } } } }": [
        "any_item.where[0].any_item: an event numbers the elements of one list",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG_FILTERS)
def test_a_filter_that_cannot_be_is_refused(text: str) -> None:
    path = "first_event.events.where"
    expected = [
        f"{path}{fault}" if fault.startswith(":") else f"{path}.{fault}"
        for fault in WRONG_FILTERS[text]
    ]
    assert_faults(where(text), expected)


def test_filters_have_a_depth_and_a_size() -> None:
    deep = having("x")
    for _ in range(16):
        deep = f"all {{ of {{ {deep} }} }}"
    assert_faults(where(deep), [f"first_event.events.where{'.all[0]' * 16}: deeper than 16"])
    wide = "all { " + f"of {{ {having('x')} }} " * 256 + "}"
    assert_faults(where(wide), ["first_event.events.where: has 257 tests and groups; at most 256"])


def test_an_empty_type_is_refused() -> None:
    assert_faults('first_event { events { types: "" } }', ["first_event.events.types: an event"])


def test_keys_inside_of_a_list_stand_in_full() -> None:
    node = said("last_event: {type: a, has: {any_item: {path: lines, where: {sku: x, color: y}}}}")
    assert isinstance(node, rule.LastEvent)
    inner = rule.FilterAll((property_is("lines.color", "y"), property_is("lines.sku", "x")))
    assert node.has == rule.AnyItem("lines", inner)


def test_a_list_in_a_lists_element_is_read_where_one_value_decides() -> None:
    tags = "{any_item: {path: tags, where: {any: [{name: x}, {name: y}]}}}"
    node = said(f"last_event: {{type: a, has: {{any_item: {{path: lines, where: [{tags}]}}}}}}")
    assert isinstance(node, rule.LastEvent)
    either = rule.FilterAny(
        (property_is("lines.tags.name", "x"), property_is("lines.tags.name", "y"))
    )
    assert node.has == rule.AnyItem("lines", either)


def test_without_figure_there_is_at_least_one() -> None:
    leaf = figure("event: a")
    assert leaf.aggregate == rule.Aggregate()
    assert leaf.comparison == rule.Comparison(Op.GTE, Fraction(1))


def test_money_takes_only_events_of_its_currency_on_both_sides_of_a_ratio() -> None:
    leaf = figure(
        "event: {type: a, ratio: {of: total, over: {type: b, where: {x: y}}, currency: EUR, gt: 1}}"
    )
    assert leaf.events.where == property_is("currency", "EUR")
    assert leaf.aggregate.denominator == rule.Selector(
        ("b",), "", rule.FilterAll((property_is("currency", "EUR"), property_is("x", "y")))
    )


def test_a_ratio_of_sums_names_another_property_only_when_it_is_another() -> None:
    same = figure("event: {type: a, ratio: {of: x, over: b, over_of: x, gt: 1}}").aggregate
    assert same == figure("event: {type: a, ratio: {of: x, over: b, gt: 1}}").aggregate
    assert same.below() == same
    other = figure("event: {type: a, ratio: {of: x, over: b, over_of: y, gt: 1}}").aggregate
    assert (other.property, other.below().property) == ("x", "y")


def test_a_figure_compares_exactly() -> None:
    leaf = figure("event: {type: a, avg: {of: total, between: [0.1, 999.995]}}")
    assert leaf.comparison == rule.Comparison(Op.BETWEEN, Fraction(1, 10), Fraction(999995, 1000))


def test_a_value_is_held_against_a_test() -> None:
    for friendly in ("last: {of: store, in: [b, a]}", "most_frequent: {of: store, in: [a, b, a]}"):
        leaf = figure(f"event: {{type: a, {friendly}}}")
        assert leaf.comparison.op is Op.IN
        assert leaf.comparison.test == Asked(Op.IN, (Scalar(TEXT, "a"), Scalar(TEXT, "b")))


def test_days_are_those_of_the_zone_said_here_else_of_the_rules_else_of_utc() -> None:
    text = f"event {{ {A} aggregate {{ kind: AGGREGATE_KIND_DISTINCT_DAYS %s }} {GTE_1} }}"
    zones = []
    for given, of_rule in (("", ""), ("", "Europe/Kyiv"), ('zone: "Asia/Tokyo"', "Europe/Kyiv")):
        node, faults = read(text % given, of_rule)
        assert faults == []
        assert isinstance(node, rule.EventsAre)
        zones.append(node.aggregate.zone)
    assert zones == ["UTC", "Europe/Kyiv", "Asia/Tokyo"]


GTE_1 = "comparison { op: OPERATOR_GTE values { whole: 1 } }"
OVER = 'denominator { types: "b" }'


def of(kind: str, more: str = "", comparison: str = GTE_1) -> str:
    return f"aggregate {{ kind: AGGREGATE_KIND_{kind} {more} }} {comparison}"


WRONG = {
    "aggregate { kind: 99 } " + GTE_1: ["aggregate.kind: there is no such aggregate"],
    of("COUNT", 'property: "x"'): ["aggregate.property: count looks at no property"],
    of("DISTINCT_DAYS", 'property: "x"'): ["aggregate.property: distinct_days looks at no"],
    of("SUM"): ["aggregate.property: name the property that sum looks at"],
    of("MOST_FREQUENT"): ["aggregate.property: name the property that most_frequent looks at"],
    of("COUNT", 'currency: "EUR"'): ["aggregate.currency: only sum, avg, min, max"],
    of("RATIO", f'currency: "EUR" {OVER}'): ["aggregate.currency: only sum, avg, min, max"],
    of("SUM", 'property: "x" zone: "UTC"'): ["aggregate.zone: only distinct_days has a zone"],
    of("DISTINCT_DAYS", 'zone: "Mars/Base"'): ["aggregate.zone: 'Mars/Base' is not"],
    of("RATIO"): ["aggregate.denominator: say over which events"],
    of("SUM", f'property: "x" {OVER}'): ["aggregate.denominator: only ratio and most_frequent"],
    of("SUM", 'property: "x" once: "y" denominator_min: 2'): [
        "aggregate.once: only an aggregate over a denominator",
        "aggregate.denominator_min: only an aggregate over a denominator",
    ],
    of("RATIO", f'property: "x" once: "y" {OVER}'): ["aggregate.once: sums add every event up"],
    of("RATIO", f'denominator_property: "y" {OVER}'): [
        "aggregate.denominator_property: only a ratio of sums has it",
    ],
    of("MOST_FREQUENT", f'property: "x" denominator_property: "y" {OVER}'): [
        "aggregate.denominator_property: only a ratio of sums has it",
    ],
    of("SUM", 'property: "x" denominator_property: "y"'): [
        "aggregate.denominator_property: only an aggregate over a denominator",
    ],
    of("RATIO", "denominator { where {} }"): ["aggregate.denominator.where: an empty filter"],
    of("SUM", 'property: "x"', ""): ["comparison: say what the figure is compared with"],
    of("COUNT", "", "comparison { op: OPERATOR_IN values { whole: 1 } }"): [
        "comparison.op: must be eq, ne, gt, gte, lt, lte or between",
    ],
    of("COUNT", "", "comparison { values { whole: 1 } }"): ["comparison.op: must be eq, ne, gt"],
    of("COUNT", "", 'comparison { op: OPERATOR_GT values { text: "many" } }'): [
        "comparison.values: compare with a number",
    ],
    of("COUNT", "", "comparison { op: OPERATOR_BETWEEN values { whole: 2 } values { whole: 1 } }"):
        ["comparison.values: the first value is the lower end"],
    of("LAST", 'property: "x"', "comparison { op: OPERATOR_EXISTS }"): [
        "comparison.op: must be eq, ne, eq_ci",
    ],
    of("LAST", 'property: "x"', "comparison { op: OPERATOR_IN_LAST }"): [
        "comparison.op: must be eq, ne, eq_ci",
    ],
    of("LAST", 'property: "x"', "comparison { op: OPERATOR_EQ }"): [
        "comparison.values: eq takes 1 value(s)",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_figure_that_cannot_be_is_refused(text: str) -> None:
    assert_faults(f"event {{ {A} {text} }}", [f"event.{fault}" for fault in WRONG[text]])

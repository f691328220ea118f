"""Friendly YAML means what it says, covers the whole vocabulary, and names every fault."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from cli.conditions import read_condition
from cli.reading import TreeFaults, read_document
from muster.types.v1 import condition_pb2 as pb

DAY_S = 86_400
SPOKEN: dict[str, str] = {
    "everyone: {}": "everyone {}",
    "segment: big-spenders": 'segment { segment_id: "big-spenders" }',
    "list: vip": 'list { list_id: "vip" }',
    "all: [{everyone: {}}]": "all { of { everyone {} } }",
    "none: [{channel: email}]": 'none { of { channel { channel: "email" } } }',
    "not: {segment: big-spenders}": 'not { segment { segment_id: "big-spenders" } }',
    "at_least: {n: 1, of: [{list: vip}, {everyone: {known_only: true}}]}": (
        'at_least { n: 1 of { list { list_id: "vip" } } of { everyone { known_only: true } } }'
    ),
    "attribute: {name: city, eq: Kyiv}": (
        'attribute { attribute: "city" test { op: OPERATOR_EQ values { text: "Kyiv" } } }'
    ),
    "attribute: {name: age, gte: 18, lt: 30}": (
        'all { of { attribute { attribute: "age" test { op: OPERATOR_GTE values { whole: 18 } } } }'
        ' of { attribute { attribute: "age" test { op: OPERATOR_LT values { whole: 30 } } } } }'
    ),
    "attribute: {name: age, between: [18, 30.50]}": (
        'attribute { attribute: "age" test { op: OPERATOR_BETWEEN values { whole: 18 }'
        " values { decimal { units: 3050 exponent: 2 } } } }"
    ),
    "attribute: {name: birth_date, anniversary: tomorrow, zone: Europe/Kyiv}": (
        'attribute { attribute: "birth_date" test { op: OPERATOR_ANNIVERSARY offset_days: 1'
        ' zone: "Europe/Kyiv" } }'
    ),
    "attribute: {name: seen, in_last: 7 days}": (
        'attribute { attribute: "seen" test { op: OPERATOR_IN_LAST'
        f" duration {{ seconds: {7 * DAY_S} }} }} }}"
    ),
    "attribute: {name: born, before: 2000-01-01}": (
        'attribute { attribute: "born" test { op: OPERATOR_BEFORE values { date: "2000-01-01" } } }'
    ),
    "attribute_held: {name: plan, eq: pro, at_least: 30 days}": (
        'attribute_held { attribute: "plan" test { op: OPERATOR_EQ values { text: "pro" } }'
        f" at_least {{ seconds: {30 * DAY_S} }} }}"
    ),
    "attribute_changed: {name: city, from: Kyiv, to: Lviv, window: last 1 week}": (
        'attribute_changed { attribute: "city" from { text: "Kyiv" } to { text: "Lviv" }'
        f" window {{ last {{ seconds: {7 * DAY_S} }} }} }}"
    ),
    "channel: {name: web_push, platform: ios}": ('channel { channel: "web_push" platform: "ios" }'),
    "split: {salt: spring, from: 250, to: 500}": (
        'split { salt: "spring" from_permille: 250 to_permille: 500 }'
    ),
    "event: page_viewed": 'event { events { types: "page_viewed" } }',
    "event: {type: order, window: last 90 days, sum: {of: amount, gte: 1000, currency: USD}}": (
        f'event {{ events {{ types: "order" }} window {{ last {{ seconds: {90 * DAY_S} }} }}'
        ' aggregate { kind: AGGREGATE_KIND_SUM property: "amount" currency: "USD" }'
        " comparison { op: OPERATOR_GTE values { whole: 1000 } } }"
    ),
    "event: {type_prefix: app_, window: from 14 to 7 days ago, count: {between: [1, 3]}}": (
        'event { events { type_prefix: "app_" } window { slice {'
        f" from {{ seconds: {14 * DAY_S} }} to {{ seconds: {7 * DAY_S} }} }} }}"
        " aggregate { kind: AGGREGATE_KIND_COUNT } comparison { op: OPERATOR_BETWEEN"
        " values { whole: 1 } values { whole: 3 } } }"
    ),
    "event: {type: a, window: {since: 1970-01-02}}": (
        'event { events { types: "a" }'
        f" window {{ absolute {{ from {{ seconds: {DAY_S} }} }} }} }}"
    ),
    "event: {type: a, window: last 3 months}": (
        'event { events { types: "a" } window { last_calendar_units {'
        " n: 3 unit: CALENDAR_UNIT_MONTH } } }"
    ),
    "event: {type: a, window: today}": (
        'event { events { types: "a" } window { this_period {'
        " unit: CALENDAR_UNIT_DAY length: 1 } } }"
    ),
    "event: {type: a, window: calendar_last 3 days}": (
        'event { events { types: "a" } window { this_period {'
        " unit: CALENDAR_UNIT_DAY back: 3 length: 4 } } }"
    ),
    "event: {type: a, window: {this: week, zone: Europe/Kyiv, week_start: 7}}": (
        'event { events { types: "a" } window { this_period { unit: CALENDAR_UNIT_WEEK length: 1'
        ' zone: "Europe/Kyiv" week_start: 7 } } }'
    ),
    "event: {type: a, where: {category: [phones, tablets], price: {gt: 9.99}}}": (
        'event { events { types: "a" where { all {'
        ' of { test { property: "category" test { op: OPERATOR_IN values { text: "phones" }'
        ' values { text: "tablets" } } } }'
        ' of { test { property: "price" test { op: OPERATOR_GT'
        " values { decimal { units: 999 exponent: 2 } } } } } } } } }"
    ),
    "event: {type: a, where: {any_item: {path: lines, where: {sku: x}}}}": (
        'event { events { types: "a" where { any_item { path: "lines" where {'
        ' test { property: "sku" test { op: OPERATOR_EQ values { text: "x" } } } } } } } }'
    ),
    "event: {type: a, where: {property: {name: all, exists: true}}}": (
        'event { events { types: "a" where {'
        ' test { property: "all" test { op: OPERATOR_EXISTS } } } } }'
    ),
    "event: {any_type: true, where: {any_item: {path: tags, where: {property: {ne: x}}}}}": (
        'event { events { where { any_item { path: "tags" where {'
        ' test { test { op: OPERATOR_NE values { text: "x" } } } } } } } }'
    ),
    "event: {type: a, window: before 2 days ago}": (
        'event { events { types: "a" } window { slice {'
        f" from {{ seconds: {36_600 * DAY_S} }} to {{ seconds: {2 * DAY_S} }} }} }} }}"
    ),
    "event: {type: c, last: {of: store, in: [a, b]}}": (
        'event { events { types: "c" } aggregate { kind: AGGREGATE_KIND_LAST property: "store" }'
        ' comparison { op: OPERATOR_IN values { text: "a" } values { text: "b" } } }'
    ),
    "event: {type: c, ratio: {over: d, once: m, over_at_least: 5, gte: 1}}": (
        'event { events { types: "c" } aggregate { kind: AGGREGATE_KIND_RATIO'
        ' denominator { types: "d" } once: "m" denominator_min: 5 } comparison {'
        " op: OPERATOR_GTE values { whole: 1 } } }"
    ),
    "event: {type: c, ratio: {over: {type: d}, gte: 0.2}}": (
        'event { events { types: "c" } aggregate { kind: AGGREGATE_KIND_RATIO'
        ' denominator { types: "d" } } comparison { op: OPERATOR_GTE'
        " values { decimal { units: 2 exponent: 1 } } } }"
    ),
    "first_event: {type: a, window: today}": (
        'first_event { events { types: "a" } window { this_period {'
        " unit: CALENDAR_UNIT_DAY length: 1 } } }"
    ),
    "last_event: {type: a, has: {plan: pro}}": (
        'last_event { events { types: "a" } has {'
        ' test { property: "plan" test { op: OPERATOR_EQ values { text: "pro" } } } } }'
    ),
    "sequence: {steps: [{type: a}, {type: b}], within: 1h 30m, same: cart}": (
        'sequence { steps { types: "a" } steps { types: "b" } within { seconds: 5400 }'
        ' same: "cart" }'
    ),
    "not_followed: {start: {type: a}, by: {type: b}, within: 30 minutes}": (
        'not_followed { start { types: "a" } by { types: "b" } within { seconds: 1800 } }'
    ),
    "regularly: {type: a, at_least_periods: 3, of_periods: 4, period: 7 days}": (
        'regularly { events { types: "a" } at_least_periods: 3 of_periods: 4'
        f" period {{ seconds: {7 * DAY_S} }} min_count: 1 }}"
    ),
    "rfm: {type: order, amount: total, recency: [4, 5], frequency: {min: 3}, money: 5}": (
        'rfm { orders { types: "order" } amount_property: "total" recency_min: 4 recency_max: 5'
        " frequency_min: 3 money_min: 5 money_max: 5 }"
    ),
    "catalogue: {type: a, item: product_id, has: {stock: {gt: 0}}, count: {gte: 2}}": (
        'catalogue { events { types: "a" } item_property: "product_id" item_has {'
        ' test { property: "stock" test { op: OPERATOR_GT values { whole: 0 } } } }'
        " count { op: OPERATOR_GTE values { whole: 2 } } }"
    ),
}
REFUSED = {
    "{}": ["(top): must be one of"],
    "any: []": ["any: an empty group is refused"],
    "all: [{foo: 1}, {any: []}]": ["all[0]: there is no 'foo'", "all[1].any: an empty group"],
    "at_least: {n: 3, of: [{everyone: {}}]}": ["at_least.n: must be from 1 to 1"],
    "attribute: {name: a}": ["attribute: must have an operator"],
    "attribute: {name: a, like: x}": ["attribute.like: attribute has no 'like'"],
    "attribute: {name: a, eq: .nan}": ["attribute.eq: NaN and infinities are refused"],
    "attribute: {name: a, in: []}": ["attribute.in: must list at least one value"],
    "attribute: {name: a, between: [1]}": ["attribute.between: must be [low, high]"],
    "attribute: {name: a, eq: 1, zone: Mars/Base}": ["attribute.zone: 'Mars/Base' is no time zone"],
    "event: {window: today}": ["event: must say which events"],
    "event: {type: a, window: last while}": ["event.window: 'last while' is no window"],
    "event: {type: a, window: last 0 days}": ["event.window: must be longer than nothing"],
    "event: {type: a, window: from 7 to 14 days ago}": ["event.window: a slice goes from"],
    "event: {type: a, window: {from: 2026-02-01, to: 2026-01-01}}": ["window: the window is empty"],
    "event: {type: a, sum: {gte: 1}}": ["event.sum.of: must be a text"],
    "event: {type: a, count: 3}": ["event.count: count must be a mapping"],
    "event: {type: a, count: {gte: 1}, sum: {of: b, gte: 1}}": ["event: has count and sum"],
    "event: {type: a, where: {b: {lik: 1}}}": ["event.where.b.lik: a property has no 'lik'"],
    "attribute_held: {name: a, eq: 1}": ["attribute_held: must have at_least or less_than"],
    "event: {type: a, any_type: true}": ["event: must say which events"],
    "event: {type: a, where: {1: x}}": ["event.where.1: the name of a property is a text"],
    "event: {type: a, where: {b: {}}}": ["event.where.b: must have an operator"],
    "event: {type: a, where: {b: {name: c, eq: 1}}}": ["event.where.b.name: a property has no"],
    "event: {type: a, where: {property: {eq: 1}}}": ["event.where.property.name: must be a text"],
    "event: {type: a, count: {in: [1]}}": ["event.count.in: count has no 'in'"],
    "event: {type: a, sum: {of: b, once: c, gte: 1}}": ["event.sum.once: sum has no 'once'"],
    "event: {type: a, window: {last: 3 days, zone: UTC}}": ["event.window.zone: only windows by"],
    "event: {type: a, window: last 99999999 days}": ["event.window: must be at most 100 years"],
    "attribute: {name: a, eq: 1, leap_day: march_1}": ["attribute.leap_day: stands beside"],
    "sequence: {steps: [{type: a}]}": ["sequence.steps: must have at least two"],
    "attribute: {name: a, eq: 123456789012345678901234567890}": ["attribute.eq: 1234"],
}


@pytest.mark.parametrize("written", SPOKEN)
def test_a_rule_means_what_it_says(written: str) -> None:
    meant = text_format.Parse(SPOKEN[written], pb.Condition())
    assert read_condition(read_document(written)) == meant


def test_every_node_of_the_vocabulary_can_be_written() -> None:
    written = {read_condition(read_document(t)).WhichOneof("node") for t in SPOKEN}
    assert written | {"any"} == {field.name for field in pb.Condition.DESCRIPTOR.fields}


@pytest.mark.parametrize("written", REFUSED)
def test_a_fault_is_named_with_its_path_and_what_to_do(written: str) -> None:
    with pytest.raises(TreeFaults) as refused:
        read_condition(read_document(written))
    said = str(refused.value).splitlines()
    assert len(said) == len(REFUSED[written])
    for line, part in zip(said, REFUSED[written], strict=True):
        assert part in line


def test_depth_and_size_have_limits() -> None:
    deep = "everyone: {}"
    for _ in range(16):
        deep = f"not: {{{deep}}}"
    with pytest.raises(TreeFaults, match="nested deeper than 16"):
        read_condition(read_document(deep))
    with pytest.raises(TreeFaults, match="has 257 leaves; at most 256"):
        read_condition({"any": [{"everyone": {}}] * 257})


def test_json_is_read_as_yaml_is_and_numbers_stay_exact() -> None:
    rule = read_condition(read_document('{"attribute": {"name": "a", "eq": 0.1}}'))
    assert (rule.attribute.test.values[0].decimal.units, 1) == (1, 1)
    rule = read_condition(read_document("attribute: {name: a, eq: 123456789.123456789}"))
    assert rule.attribute.test.values[0].decimal.units == 123456789123456789

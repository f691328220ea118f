"""A rule in plain words: one sentence for every leaf, window, operator and group."""

from __future__ import annotations

import pytest

from cli.conditions import read_condition
from services.segments.domain import conditions as rule
from services.segments.domain.phrases import test_text as words_of
from services.segments.domain.sentences import sentence_of
from services.segments.domain.values import Op
from services.segments.domain.values import Test as Asked
from tests.contract.test_conditions_page import EXAMPLES
from tests.unit.segments.reading import read_message, said

SAID = {
    "everyone: {}": "everyone",
    "everyone: {known_only: true}": "everyone who is known",
    "attribute: {name: city, eq: Kyiv}": "city is “Kyiv”",
    "attribute: {name: city, not_in: [Kyiv, Lviv]}": "city is none of “Kyiv”, “Lviv”",
    "attribute: {name: seen, in_last: 7 days}": "seen lies in the last 7 days",
    "attribute: {name: due, in_next: 2 hours}": "due lies in the next 2 hours",
    "attribute: {name: seen, older_than: 30 days}": "seen is at least 30 days ago",
    "attribute: {name: born, anniversary: tomorrow}": "born comes round tomorrow",
    "attribute: {name: born, anniversary: {offset_days: -3, span_days: 7}, zone: Europe/Kyiv,"
    " leap_day: march_1}": "born comes round within 7 days from 3 days ago"
    " (29 February is 1 March in common years), by the clock of Europe/Kyiv",
    "attribute_held: {name: plan, eq: pro, at_least: 30 days, less_than: 60 days}": (
        "plan is “pro” without a break for at least 30 days and less than 60 days"
    ),
    "attribute_changed: {name: city, from: Kyiv, to: Lviv, window: last 2 weeks}": (
        "city changed from “Kyiv” to “Lviv” in the last 2 weeks"
    ),
    "attribute_changed: {name: city}": "city changed",
    "channel: web_push": "reachable by web push",
    "channel: {name: web_push, platform: ios}": "reachable by web push on ios",
    "segment: big-spenders": "in segment big-spenders",
    "split: {salt: spring, from: 250, to: 500}": (
        "in the part from 250‰ to 500‰ of the split “spring”"
    ),
    "event: order": "did order",
    "event: {any_type: true, window: today}": "did any event today, by the person's own clock",
    "event: {type: [b, a], type_prefix: app_}": "did a or b or app_…",
    "event: {type: a, where: {x: 1, any: [{y: 2}, {z: {exists: true}}]}}": (
        "did a with ((y is 2 or z is known) and x is 1)"
    ),
    "event: {type: a, where: {none: [{x: 1}]}}": "did a with (not x is 1)",
    "event: {type: a, where: {any_item: {path: lines, where: {sku: x}}}}": (
        "did a with one of lines has (lines.sku is “x”)"
    ),
    "event: {type: a, count: {between: [2, 4]}}": "number of a is from 2 to 4",
    "event: {type: a, avg: {of: t, gt: 0.5}}": "average t of a is more than 0.5",
    "event: {type: a, distinct_days: {gte: 3, zone: Europe/Kyiv}}": (
        "number of days of Europe/Kyiv with a is at least 3"
    ),
    "event: {type: a, most_frequent: {of: x, eq: y}}": "most frequent x of a is “y”",
    "event: {type: a, ratio: {over: {type: b}, gte: 0.2}}": (
        "number of a per number of b is at least 0.2"
    ),
    "event: {type: a, ratio: {of: t, over: {type: b}, over_at_least: 3, gte: 0.2}}": (
        "sum of t of a per sum of t of b (from 3 b on) is at least 0.2"
    ),
    "average_order_value: {gte: 50}": (
        "sum of value of purchase_counted per sum of orders of purchase_counted is at least 50"
    ),
    "preferred_type: {eq: promo}": (
        "message_type with the highest share of message_opened with machine is not true in"
        " message_delivered (each message_id once, from 5 message_delivered on) is “promo”"
    ),
    "first_event: {type: a, window: last 1 day}": "the first a ever was in the last 1 day",
    "first_event: {type: a}": "did a",
    "last_event: {type: a, has: {x: 1}}": "the last a had x is 1",
    "sequence: {steps: [a, b], within: 90 minutes, same: cart}": (
        "did a, then b, within 90 minutes, with the same cart"
    ),
    "not_followed: {start: a, by: b, within: 1 hour, window: last 3 days, same: cart}": (
        "did a in the last 3 days and no b with the same cart within 1 hour after it"
    ),
    "regularly: {type: a, at_least_periods: 3, of_periods: 4, period: 7 days, min_count: 2}": (
        "did a at least 2 times in at least 3 of the last 4 periods of 7 days"
    ),
    "rfm: {type: o, amount: t, recency: [4, 5], money: 5}": (
        "has the recency 4 to 5 and money 5 score by t of o, by quantiles"
    ),
    "catalogue: {type: v, item: p, has: {stock: {gt: 0}}}": (
        "did v whose p now has (stock is more than 0)"
    ),
    "catalogue: {type: v, item: p, has: {stock: 0}, count: {gt: 2}}": (
        "number of v whose p now has (stock is 0) is more than 2"
    ),
    "not: {event: a}": "did no a",
    "none: [{event: {any_type: true, window: last 1 hour}}]": "did no event in the last 1 hour",
    "not: {sequence: {steps: [a, b]}}": "not did a, then b",
    "not: {channel: email}": "not reachable by email",
    "list: vip": "in list vip",
    "none: [{event: a}, {event: b}]": "neither did a nor did b",
    "at_least: {n: 2, of: [{event: a}, {any: [{event: b}, {event: c}]}]}": (
        "at least 2 of: did a; (did b or did c)"
    ),
}


@pytest.mark.parametrize("friendly", SAID)
def test_a_rule_is_said_in_plain_words(friendly: str) -> None:
    assert sentence_of(said(friendly)) == SAID[friendly]


WINDOWS = {
    "ever": "",
    "last 1 week": "in the last 7 days",
    "last 3 months": "in the last 3 months, by the person's own clock",
    "from 14 to 7 days ago": "from 2 weeks to 7 days ago",
    "before 30 days ago": "30 days ago or earlier",
    "{since: 2026-01-01}": "since 2026-01-01T00:00:00Z",
    "{from: 2026-01-01, to: 2026-02-01}": (
        "since 2026-01-01T00:00:00Z and before 2026-02-01T00:00:00Z"
    ),
    "{this: day, zone: UTC}": "today",
    "{this: day, back: 1, zone: UTC}": "yesterday",
    "{this: month, zone: Europe/Kyiv}": "this month, by the clock of Europe/Kyiv",
    "{this: year, back: 1, zone: UTC}": "last year",
    "{this: day, back: 3, length: 4, zone: UTC}": "today and the 3 days before",
    "{this: month, back: 3, zone: UTC}": "in the month 3 months before this month",
    "{this: month, back: 3, length: 2, zone: UTC}": (
        "in the 2 months from 3 months before this month on"
    ),
    "{this: week, week_start: 7, zone: UTC}": "this week, weeks from Sunday",
    "{this: week, zone: Asia/Tokyo, zone_source: profile}": (
        "this week, by the person's own clock, else Asia/Tokyo"
    ),
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_is_said_in_plain_words(window: str) -> None:
    tail = WINDOWS[window] and f" {WINDOWS[window]}"
    assert sentence_of(said(f"event: {{type: a, window: {window}}}")) == f"did a{tail}"


def test_every_operator_has_words() -> None:
    for op in Op:
        values = (said("attribute: {name: a, between: [1, 2]}"),)
        leaf = values[0]
        assert isinstance(leaf, rule.AttributeIs)
        assert words_of(Asked(op, leaf.test.values, duration_us=1))


def test_an_item_of_a_list_has_words() -> None:
    assert sentence_of(rule.InList("vip")) == "in list vip"


def test_different_examples_of_the_page_have_different_sentences() -> None:
    said_by: dict[str, rule.Node] = {}
    for tree in EXAMPLES:
        node, _ = read_message(read_condition(tree))
        said_by.setdefault(sentence_of(node), node)
        assert said_by[sentence_of(node)] == node

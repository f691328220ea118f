"""Recipes by name: each is stored as what it expands to, and asks for what it needs."""

from __future__ import annotations

import pytest

from cli.conditions import read_condition
from cli.macros import MACROS
from cli.reading import TreeFaults, read_document

EXPANDED = {
    "performed_first_time: {type: order, window: last 7 days}": (
        "first_event: {type: order, window: last 7 days}"
    ),
    "stopped: {type: app_opened, for: 30 days}": (
        "all: [{event: app_opened}, {not: {event: {type: app_opened, window: last 30 days}}}]"
    ),
    "stopped: {type: a, where: {x: 1}, for: 30 days, at_least: 3}": (
        "all: [{event: {type: a, where: {x: 1}, count: {gte: 3}}},"
        " {not: {event: {type: a, where: {x: 1}, window: last 30 days}}}]"
    ),
    "restarted: {type: a, within: 7 days, after: 30 days}": (
        "all: [{event: {type: a, window: last 7 days}},"
        " {not: {event: {type: a, window: from 37 to 7 days ago}}},"
        " {event: {type: a, window: before 37 days ago}}]"
    ),
    "has_not_done: order": "not: {event: order}",
    "has_not_done: {type: order, window: last 90 days}": (
        "not: {event: {type: order, window: last 90 days}}"
    ),
    "bought: {product: [x, y], window: last 90 days}": (
        "event: {type: purchase_counted, where: {any_item: {path: lines,"
        " where: {product_id: [x, y]}}}, window: last 90 days, sum: {of: orders, gte: 1}}"
    ),
    "bought: {product: x, times: {between: [2, 3]}}": (
        "event: {type: purchase_counted, where: {any_item: {path: lines,"
        " where: {product_id: x}}}, sum: {of: orders, between: [2, 3]}}"
    ),
    "bought: {type: order_paid, product: x}": (
        "event: {type: order_paid, where: {any_item: {path: lines, where: {product_id: x}}}}"
    ),
    "bought: {category: [phones, tablets]}": (
        "event: {type: order_completed, where: {any_item: {path: lines,"
        " where: {category: [phones, tablets]}}}}"
    ),
    "bought: {type: order_paid, product: x, category: y, window: today, times: {gte: 2}}": (
        "event: {type: order_paid, where: {any_item: {path: lines,"
        " where: {product_id: x, category: y}}}, window: today, count: {gte: 2}}"
    ),
    "average_order_value: {gte: 50, currency: EUR, window: last 365 days}": (
        "event: {type: purchase_counted, window: last 365 days, ratio: {of: value, currency: EUR,"
        " over: {type: purchase_counted}, over_of: orders, gte: 50}}"
    ),
    "average_order_value: {lt: 5, where: {store: kyiv}}": (
        "event: {type: purchase_counted, where: {store: kyiv}, ratio: {of: value,"
        " over: {type: purchase_counted, where: {store: kyiv}}, over_of: orders, lt: 5}}"
    ),
    "average_order_value: {gte: 50, type: order_completed}": (
        "event: {type: order_completed, avg: {of: total, gte: 50}}"
    ),
    "revenue: {gte: 1000, currency: EUR, window: last 90 days}": (
        "event: {type: purchase_counted, window: last 90 days,"
        " sum: {of: value, currency: EUR, gte: 1000}}"
    ),
    "revenue: {between: [10, 20.5], of: amount, type: sale, where: {store: kyiv}}": (
        "event: {type: sale, where: {store: kyiv}, sum: {of: amount, between: [10, 20.5]}}"
    ),
    "open_rate: {lt: 0.1}": (
        "event: {type: message_opened, where: {machine: {ne: true}},"
        " ratio: {over: {type: message_delivered}, once: message_id, lt: 0.1}}"
    ),
    "click_rate: {gte: 0.1, where: {channel: email}, window: last 90 days}": (
        "event: {type: message_clicked, where: {channel: email, machine: {ne: true}},"
        " window: last 90 days, ratio: {over: {type: message_delivered,"
        " where: {channel: email}}, once: message_id, gte: 0.1}}"
    ),
    "preferred_type: {in: [promo, triggered], window: last 180 days}": (
        "event: {type: message_opened, where: {machine: {ne: true}}, window: last 180 days,"
        " most_frequent: {of: message_type, over: {type: message_delivered}, once: message_id,"
        " over_at_least: 5, in: [promo, triggered]}}"
    ),
}


@pytest.mark.parametrize("recipe", EXPANDED)
def test_a_recipe_is_stored_as_what_it_expands_to(recipe: str) -> None:
    plain = read_condition(read_document(EXPANDED[recipe]))
    assert read_condition(read_document(recipe)) == plain


def test_every_recipe_is_shown() -> None:
    assert {recipe.partition(":")[0] for recipe in EXPANDED} == set(MACROS)


REFUSED = {
    "performed_first_time: {window: today}": ["performed_first_time: must say which events"],
    "stopped: {type: a}": ["stopped.for: must be a duration"],
    "stopped: {type: a, for: 1 day, at_least: 0}": ["stopped.at_least: must be from 1"],
    "stopped: {type: a, for: 1 day, window: today}": ["stopped.window: stopped has no 'window'"],
    "restarted: {type: a, within: 1 day}": ["restarted.after: must be a duration"],
    "restarted: {type: a, within: 30000 days, after: 30000 days}": ["restarted: within and after"],
    "has_not_done: {window: today}": ["has_not_done: must say which events"],
    "bought: {window: today}": ["bought: must name a product, a category, or both"],
    "bought: phones": ["bought: bought must be a mapping"],
    "bought: {category: x, times: 3}": ["bought.times: times must be a mapping"],
    "average_order_value: {window: today}": ["average_order_value: must have one of"],
    "revenue: {gte: 1, lte: 2}": ["revenue: must have one of"],
    "click_rate: {in: [1]}": ["click_rate.in: click_rate has no 'in'"],
    "preferred_type: {eq: promo, once: x}": ["preferred_type.once: preferred_type has no 'once'"],
}


@pytest.mark.parametrize("recipe", REFUSED)
def test_a_recipe_says_what_it_needs(recipe: str) -> None:
    with pytest.raises(TreeFaults) as refused:
        read_condition(read_document(recipe))
    found = [f"{path}: {message}" for path, message in refused.value.faults]
    assert len(found) == len(REFUSED[recipe]), found
    for fault, beginning in zip(found, REFUSED[recipe], strict=True):
        assert fault.startswith(beginning)

"""Every leaf: what it is read as, and what cannot be."""

from __future__ import annotations

from fractions import Fraction

import pytest

from services.segments.domain import conditions as rule
from services.segments.domain.times import DAY_US, HOUR_US
from services.segments.domain.values import TEXT, WHOLE, Op, Scalar
from services.segments.domain.values import Test as Asked
from services.segments.domain.windows import Window
from tests.unit.segments.reading import assert_faults, said

EVER = Window()
A, B = rule.Selector(("a",)), rule.Selector(("b",))
PRO = Asked(Op.EQ, (Scalar(TEXT, "pro"),))
ONE = rule.Comparison(Op.GTE, Fraction(1))
IN_STOCK = rule.Property("stock", Asked(Op.GT, (Scalar(WHOLE),)))

MEANT: dict[str, rule.Leaf] = {
    "everyone: {known_only: true}": rule.Everyone(True),
    "attribute: {name: plan, eq: pro}": rule.AttributeIs("plan", PRO),
    "attribute_held: {name: plan, eq: pro, at_least: 1 day, less_than: 2 days}": (
        rule.AttributeHeld("plan", PRO, DAY_US, 2 * DAY_US)
    ),
    "attribute_held: {name: plan, eq: pro, less_than: 1 day}": (
        rule.AttributeHeld("plan", PRO, None, DAY_US)
    ),
    "attribute_changed: {name: plan, to: pro, window: last 1 day}": (
        rule.AttributeChanged("plan", None, Scalar(TEXT, "pro"), Window(DAY_US))
    ),
    "attribute_changed: {name: plan, from: 1.0}": (
        rule.AttributeChanged("plan", Scalar(WHOLE, units=1), None, EVER)
    ),
    "channel: sms": rule.Reachable("sms"),
    "channel: {name: web_push, platform: ios}": rule.Reachable("web_push", "ios"),
    "event: {any_type: true}": rule.EventsAre(rule.Selector(), EVER, rule.Aggregate(), ONE),
    "first_event: {type: a, window: last 1 day}": rule.FirstEvent(A, Window(DAY_US)),
    "last_event: {type: a, has: {stock: {gt: 0}}}": rule.LastEvent(A, IN_STOCK),
    "sequence: {steps: [a, b], within: 1 hour, same: cart}": (
        rule.Sequence((A, B), HOUR_US, EVER, "cart")
    ),
    "sequence: {steps: [a, b, a]}": rule.Sequence((A, B, A), None, EVER, ""),
    "not_followed: {start: a, by: b, within: 1 hour, window: last 1 day}": (
        rule.NotFollowed(A, B, HOUR_US, Window(DAY_US), "")
    ),
    "regularly: {type: a, at_least_periods: 3, of_periods: 4, period: 1 day}": (
        rule.Regularly(A, 3, 4, DAY_US, 1)
    ),
    "segment: big-spenders": rule.MemberOf("big-spenders"),
    # A list is a segment whose rule is InList.
    "list: vip": rule.MemberOf("vip"),
    "list: big-spenders": rule.MemberOf("big-spenders"),
    "split: {salt: spring, from: 250, to: 500}": rule.InPart("spring", 250, 500),
    "split: {salt: spring}": rule.InPart("spring", 0, 1_000),
    "rfm: {type: a, amount: total, recency: [4, 5], frequency: {min: 3}, ties: by_id}": rule.Rfm(
        A, "total", EVER, (4, 5), (3, 5), (1, 5), None, "UTC", True
    ),
    "rfm: {type: a, amount: total, money: 2, edges: {recency_days: [1, 2, 3, 4],"
    " frequency: [2, 3, 5, 9], money: [0.5, 1, 2, 3]}, zone: Europe/Kyiv}": rule.Rfm(
        A, "total", EVER, (1, 5), (1, 5), (2, 2),
        (
            (Fraction(1), Fraction(2), Fraction(3), Fraction(4)),
            (Fraction(2), Fraction(3), Fraction(5), Fraction(9)),
            (Fraction(1, 2), Fraction(1), Fraction(2), Fraction(3)),
        ),
        "Europe/Kyiv", False,
    ),
    "catalogue: {type: a, item: product_id, has: {stock: {gt: 0}}, window: last 1 day}": (
        rule.Catalogue(A, Window(DAY_US), "product_id", IN_STOCK, ONE)
    ),
    "catalogue: {type: a, item: sku, has: {stock: {gt: 0}}, count: {lt: 3}}": (
        rule.Catalogue(A, EVER, "sku", IN_STOCK, rule.Comparison(Op.LT, Fraction(3)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("friendly", MEANT)
def test_a_leaf_is_read_in_its_normal_form(friendly: str) -> None:
    assert said(friendly) == MEANT[friendly]


EXISTS = "test { op: OPERATOR_EXISTS }"
BIRTHDAY = "test { op: OPERATOR_ANNIVERSARY }"
DAYS = "seconds: 86400"
EVENTS = 'events { types: "a" }'
START = 'start { types: "a" } by { types: "b" }'
RFM = 'rfm { orders { types: "a" } amount_property: "t"'
EDGES = "recency_edges_days: [1, 2, 3, 4] frequency_edges: [1, 2, 3, 4]"


def money(*edges: int) -> str:
    return " ".join(f"money_edges {{ units: {edge} }}" for edge in edges)


WRONG = {
    f"attribute {{ {EXISTS} }}": ["attribute.attribute: name the attribute"],
    'attribute { attribute: "a" }': ["attribute.test.op: choose an operator"],
    f'attribute_held {{ attribute: "a" {EXISTS} }}': ["attribute_held.at_least: say how long"],
    f"attribute_held {{ {EXISTS} at_least {{}} }}": [
        "attribute_held.attribute: name the attribute",
        "attribute_held.at_least: must be longer than nothing",
    ],
    f'attribute_held {{ attribute: "a" {EXISTS} at_least {{ {DAYS} }} less_than {{ {DAYS} }} }}': [
        "attribute_held.less_than: must be longer than at_least",
    ],
    f'attribute_held {{ attribute: "a" {BIRTHDAY} at_least {{ {DAYS} }} }}':
        ["attribute_held.test.op: a day that comes round is not held"],
    'attribute_changed { attribute: "a" from {} }': [
        "attribute_changed.from: a missing value compares with nothing",
    ],
    'attribute_changed { attribute: "a" from { whole: 1 } to { decimal { units: 1 } } }':
        ["attribute_changed.to: a change is to another value"],
    "attribute_changed { window { last {} } }": [
        "attribute_changed.attribute: name the attribute",
        "attribute_changed.window.last: must be longer than nothing",
    ],
    "channel {}": ["channel.channel: must be one of email, sms, viber, web_push, mobile_push"],
    'channel { channel: "email" platform: "ios" }': ["channel.platform: only web_push and mobile"],
    f"last_event {{ {EVENTS} }}": ["last_event.has: say which properties"],
    f"last_event {{ {EVENTS} has {{}} }}": ["last_event.has: an empty filter"],
    'sequence { steps { types: "a" } }': ["sequence.steps: must be from 2 to 16 steps"],
    "sequence { " + 'steps { types: "a" } ' * 17 + "}": ["sequence.steps: must be from 2 to 16"],
    'sequence { steps { types: "a" } steps { types: "" where {} } within {} }': [
        "sequence.steps[1].types: an event type is empty",
        "sequence.steps[1].where: an empty filter",
        "sequence.within: must be longer than nothing",
    ],
    "not_followed {}": [
        "not_followed.start: say which events", "not_followed.by: say which events",
        "not_followed.within: say within how long",
    ],
    f"not_followed {{ {START} within {{ seconds: -1 }} }}": [
        "not_followed.within: must be longer than nothing",
    ],
    f"regularly {{ {EVENTS} }}": [
        "regularly.of_periods: must be from 1 to 366 periods",
        "regularly.period: say how long a period is",
    ],
    f"regularly {{ {EVENTS} of_periods: 367 at_least_periods: 1 period {{ {DAYS} }} }}": [
        "regularly.of_periods: must be from 1 to 366",
    ],
    f"regularly {{ {EVENTS} of_periods: 4 at_least_periods: 5 period {{ {DAYS} }} }}": [
        "regularly.at_least_periods: must be from 1 to 4",
    ],
    "segment {}": ["segment.segment_id: name the segment"],
    'segment { segment_id: "ghost" }': ["segment.segment_id: there is no 'ghost'"],
    "list {}": ["list.list_id: name the list"],
    'list { list_id: "ghost" }': ["list.list_id: there is no 'ghost'"],
    "split {}": ["split.salt: name the split", "split.to_permille: thousandths, 1 to 1000"],
    'split { salt: "s" from_permille: 5 to_permille: 5 }': ["split.from_permille: must be less"],
    'split { salt: "s" to_permille: 1001 }': ["split.to_permille: thousandths"],
    f'split {{ salt: "{"s" * 999}" to_permille: 1 }}': ["split.salt: at most"],
    'rfm { orders { types: "a" } money_min: 5 }': ["rfm.amount_property: name the property"],
    f"{RFM} }}": ["rfm: give a range of at least one of recency, frequency and money"],
    f"{RFM} recency_min: 5 recency_max: 4 }}": ["rfm.recency_max: must be at least recency_min"],
    f"{RFM} money_min: 6 frequency_max: 9 }}": [
        "rfm.frequency_max: scores are from 1 to 5", "rfm.money_min: scores are from 1 to 5",
    ],
    f'{RFM} money_min: 5 zone: "Mars/Base" }}': ["rfm.zone: 'Mars/Base' is not"],
    f"{RFM} money_min: 5 {EDGES} }}": ["rfm.money_edges: give four edges of each figure"],
    f"{RFM} money_min: 5 {EDGES} {money(1, 2, 2, 3)} }}": ["rfm.money_edges: edges ascend"],
    f"{RFM} money_min: 5 recency_edges_days: [4, 3, 2, 1] frequency_edges: [1, 2, 3] "
    f"{money(1, 2, 3, 4)} }}": [
        "rfm.recency_edges_days: edges ascend", "rfm.frequency_edges: give four edges",
    ],
    "catalogue {}": [
        "catalogue.item_property: name the property that names the item",
        "catalogue.item_has: say which properties",
    ],
    f'catalogue {{ {EVENTS} item_property: "p" item_has {{}} count {{}} }}': [
        "catalogue.item_has: an empty filter", "catalogue.count.op: must be eq, ne, gt",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_leaf_that_cannot_be_is_refused_once_for_each_fault(text: str) -> None:
    assert_faults(text, WRONG[text])

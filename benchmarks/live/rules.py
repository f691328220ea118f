"""What is previewed and put in force, one rule of each kind, and who enters it a moment later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.segments.rules import ASKED
from benchmarks.segments.workload import CATEGORY, CLICKED, OPENED, ORDER, PRODUCT
from cli.conditions import read_condition
from muster.types.v1.condition_pb2 import Condition

PAGE, CART = 3, 6
ORDERS = "order_completed"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in the friendly form.

    events: of a profile that enters by them at once, as columns of `workload.Shop` (amounts in
    cents); attributes: what is set on it. With neither, time alone lets somebody in.
    """

    name: str
    tree: dict[str, Any]
    events: list[dict[str, int]] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)

    def condition(self) -> Condition:
        """As the API takes it."""
        return read_condition(self.tree)


def _event(kind: str, window: str, **more: Any) -> dict[str, Any]:
    return {"event": {"type": kind, "window": window} | more}


def _asked(name: str) -> dict[str, Any]:
    found: dict[str, Any] = ASKED[next(one for one in ASKED if one.startswith(name))]
    return found


def _sequence(within: str, *steps: str, **more: Any) -> dict[str, Any]:
    tree = {"steps": [{"type": step} for step in steps], "within": within}
    return {"sequence": tree | {"window": "last 30 days"} | more}


RULES = [
    Rule("attribute", _asked("S1"), attributes={"gender": "f", "city": "city-7"}),
    Rule(
        "one of many texts",
        {"attribute": {"name": "city", "in": ["city-1", "city-2", "city-3"]}},
        attributes={"city": "city-2"},
    ),
    Rule("anniversary", _asked("S2")),
    Rule("sum of 90 days", _asked("S3"), [{"type": ORDER, "amount": 100_000}]),
    Rule(
        "sum of 30 days",
        _event(ORDERS, "last 30 days", sum={"of": "amount", "gte": 200}),
        [{"type": ORDER, "amount": 20_000}],
    ),
    Rule(
        "average",
        _event(ORDERS, "last 365 days", avg={"of": "amount", "gt": 150}),
        [{"type": ORDER, "amount": 90_000}],
    ),
    Rule(
        "count",
        _event("message_opened", "last 90 days", count={"gte": 3}),
        [{"type": OPENED}] * 3,
    ),
    Rule("days", _event("page_viewed", "last 14 days", count={"gte": 2}), [{"type": PAGE}] * 2),
    Rule("group", _asked("S4"), [{"type": OPENED}, {"type": CATEGORY, "category": 7}]),
    Rule("an hour", _asked("S5"), [{"type": CLICKED, "kind": 1}]),
    Rule("silence", _asked("S6")),
    Rule(
        "category",
        _event("product_viewed", "last 7 days", where={"category": "category-3"}),
        [{"type": PRODUCT, "category": 3}],
    ),
    Rule(
        "sequence",
        _sequence("1 days", "product_viewed", "cart_changed"),
        [{"type": PRODUCT}, {"type": CART}],
    ),
    Rule(
        "sequence of one thing",
        _sequence("7 days", "product_viewed", "cart_changed", ORDERS, same="category"),
        [{"type": kind, "category": 5} for kind in (PRODUCT, CART, ORDER)],
    ),
    Rule("not followed", _asked("S7")),
    Rule(
        "abandoned",
        {
            "not_followed": {
                "start": {"type": "cart_changed"},
                "by": {"type": ORDERS},
                "within": "1 hours",
                "window": "last 7 days",
            }
        },
    ),
    Rule("RFM", _asked("S8"), [{"type": ORDER, "amount": 30_000}] * 5),
    Rule(
        "distinct",
        _event("product_viewed", "last 90 days", distinct={"of": "category", "gte": 3}),
        [{"type": PRODUCT, "category": number} for number in (1, 2, 3)],
    ),
    Rule(
        "the last one",
        {"last_event": {"type": "app_opened", "has": {"platform": "ios"}}},
        [{"type": 8, "platform": 1}],
    ),
    Rule("nearly everybody", {"not": _event(ORDERS, "last 14 days")}),
]
"""Kinds of rule, from cheap to dear."""

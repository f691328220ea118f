"""The eight rules every engine is asked, and a menu of as many as you like to keep up."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.segments.workload import CITIES
from cli.conditions import read_condition
from muster.types.v1 import condition_pb2

DAYS = [1, 3, 7, 14, 30, 60, 90, 180, 365]

ASKED: dict[str, Any] = {
    "S1 women of a city with an address": {
        "all": [
            {"attribute": {"name": "gender", "eq": "f"}},
            {"attribute": {"name": "city", "eq": "city-7"}},
            {"channel": "email"},
        ]
    },
    "S2 birthday tomorrow": {
        "attribute": {"name": "birthday", "anniversary": "tomorrow", "zone": "UTC"}
    },
    "S3 orders of 1000 in 90 days": {
        "event": {
            "type": "order_completed",
            "window": "last 90 days",
            "sum": {"of": "amount", "gte": 1000},
        }
    },
    "S4 opened, and viewed phones or uses the app on iOS": {
        "all": [
            {"event": {"type": "message_opened", "window": "last 90 days"}},
            {
                "any": [
                    {"event": {"type": "category_viewed", "where": {"category": "category-7"}}},
                    {"event": {"type": "app_opened", "where": {"platform": "ios"}}},
                    {"event": {"type": "push_subscribed", "where": {"platform": "ios"}}},
                ]
            },
        ]
    },
    "S5 clicked in a triggered message in the last hour": {
        "event": {
            "type": "message_clicked",
            "where": {"kind": "triggered"},
            "window": "last 1 hours",
        }
    },
    "S6 ten opens in a year, nothing for 30 days": {
        "all": [
            {"not": {"event": {"any_type": True, "window": "last 30 days"}}},
            {"event": {"type": "message_opened", "window": "last 365 days", "count": {"gte": 10}}},
        ]
    },
    "S7 looked at a product, no order within 3 days": {
        "not_followed": {
            "start": {"type": "product_viewed"},
            "by": {"type": "order_completed"},
            "within": "3 days",
            "window": "last 14 days",
        }
    },
    "S8 recent, frequent and worth much": {
        "rfm": {
            "type": "order_completed",
            "amount": "amount",
            "window": "last 365 days",
            "recency": {"min": 4},
            "frequency": {"min": 4},
            "money": {"min": 4},
            "edges": {
                "recency_days": [30, 90, 180, 270],
                "frequency": [1, 2, 3, 5],
                "money": [50, 100, 200, 400],
            },
            "zone": "UTC",
        }
    },
}
"""As in the literature of the field: attributes, days, sums, filters, silence, abandonment, RFM."""


def asked() -> dict[str, condition_pb2.Condition]:
    return {name: read_condition(tree) for name, tree in ASKED.items()}


def kept(number: int, rng: np.random.Generator) -> condition_pb2.Condition:
    """One of seven kinds of rule that people write, with parameters from a menu."""
    return read_condition(_kinds(number, rng))


def _kinds(number: int, rng: np.random.Generator) -> dict[str, Any]:
    days = f"last {rng.choice(DAYS)} days"

    def event(types: Any, window: str | None = days, **more: Any) -> dict[str, Any]:
        named = {"any_type": True} if types is None else {"type": str(types)}
        return {"event": named | ({"window": window} if window else {}) | more}

    match number % 7:
        case 0:
            return {
                "all": [
                    {"attribute": {"name": "gender", "eq": str(rng.choice(["f", "m"]))}},
                    {"attribute": {"name": "city", "eq": str(rng.choice(CITIES))}},
                ]
            }
        case 1:
            types = rng.choice(["message_opened", "product_viewed", "order_completed"])
            return {"all": [{"attribute": {"name": "gender", "eq": "f"}}, event(types)]}
        case 2:
            bound = int(rng.choice([50, 100, 200, 500, 1_000, 2_000]))
            return event("order_completed", sum={"of": "amount", "gte": bound})
        case 3:
            viewed = event(
                "category_viewed",
                [None, "last 90 days", "last 30 days"][int(rng.integers(0, 3))],
                where={"category": f"category-{rng.integers(0, 100)}"},
            )
            opened = event("message_opened", count={"gte": int(rng.choice([1, 1, 2, 3]))})
            return {"all": [opened, {"any": [viewed, event("app_opened", "last 30 days")]}]}
        case 4:
            hours = f"last {rng.choice([1, 2, 6, 24, 72])} hours"
            where = {"kind": str(rng.choice(["promo", "triggered"]))}
            return event("message_clicked", hours, where=where)
        case 5:
            quiet = f"last {rng.choice([7, 14, 30, 60, 90])} days"
            types = rng.choice(["message_opened", "page_viewed"])
            often = event(types, "last 365 days", count={"gte": int(rng.choice([3, 5, 10, 20]))})
            return {"all": [{"not": event(None, quiet)}, often]}
    return {"all": [event("cart_changed"), {"not": event("order_completed")}]}

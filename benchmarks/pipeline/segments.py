"""A hundred segments in the style of the mission: variants of eight rules."""

from __future__ import annotations

from google.protobuf.json_format import ParseDict

from benchmarks.pipeline.events import CATEGORIES
from muster.types.v1.condition_pb2 import Condition


def count(
    event: str, days: float, at_least: int, where: dict[str, object] | None = None
) -> dict[str, object]:
    """At least n events of a type in the last days."""
    selector: dict[str, object] = {"types": [event]}
    if where:
        selector["where"] = where
    return {
        "event": {
            "events": selector,
            "window": {"last": f"{int(days * 86_400)}s"},
            "aggregate": {"kind": "AGGREGATE_KIND_COUNT"},
            "comparison": {"op": "OPERATOR_GTE", "values": [{"whole": str(at_least)}]},
        }
    }


def spent(days: float, at_least: int) -> dict[str, object]:
    """Orders worth at least an amount in the last days."""
    return {
        "event": {
            "events": {"types": ["order_completed"]},
            "window": {"last": f"{int(days * 86_400)}s"},
            "aggregate": {"kind": "AGGREGATE_KIND_SUM", "property": "amount"},
            "comparison": {"op": "OPERATOR_GTE", "values": [{"whole": str(at_least)}]},
        }
    }


def is_text(name: str, value: str) -> dict[str, object]:
    test = {"op": "OPERATOR_EQ", "values": [{"text": value}]}
    return {"test": {"property": name, "test": test}}


def rule(number: int) -> Condition:
    """Rule `number` of the family: eight shapes, with other windows, thresholds and filters."""
    shape, variant = number % 8, number // 8
    days = (1, 7, 14, 30, 60, 90)[variant % 6]
    category = is_text("category", f"category-{(number * 37) % CATEGORIES}")
    match shape:
        case 0:
            tree: dict[str, object] = spent(days, 100 * (1 + variant))
        case 1:
            tree = count("email_opened", days, 1 + variant % 4)
        case 2:
            tree = {
                "all": {
                    "of": [
                        count("email_opened", 90, 1),
                        {
                            "any": {
                                "of": [
                                    count("category_viewed", days, 1, category),
                                    count("app_opened", days, 1, is_text("platform", "ios")),
                                ]
                            }
                        },
                    ]
                }
            }
        case 3:
            hour = count("email_clicked", 1 / 24, 1, is_text("kind", "triggered"))
            tree = hour if variant == 0 else count("email_clicked", days / 24, 1 + variant % 2)
        case 4:
            silent = {"not": count("page_viewed", days, 1)}
            tree = {"all": {"of": [silent, count("email_opened", 365, 2 + variant % 5)]}}
        case 5:
            bought = {"not": count("order_completed", days, 1)}
            tree = {"all": {"of": [count("product_viewed", days, 2), bought]}}
        case 6:
            tree = count("product_viewed", days / 24, 1 + variant % 3)
        case _:
            tree = {"all": {"of": [spent(365, 300), count("order_completed", days, 2)]}}
    return ParseDict(tree, Condition())

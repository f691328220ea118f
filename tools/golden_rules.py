"""The whole vocabulary of the condition tree in one rule, as protobuf's JSON."""

from __future__ import annotations

from typing import Any

NOON = "2026-03-14T12:00:00Z"

ANY_VALUES: list[dict[str, Any]] = [
    {"text": "Straße"},
    {"whole": "-9007199254740993"},
    {"decimal": {"units": "30", "exponent": 2}},
    {"flag": True},
    {"time": NOON},
    {"date": "2000-02-29"},
    {"list": {"values": [{"text": "a"}, {"list": {"values": [{"whole": "1"}]}}]}},
]

BUY: dict[str, Any] = {"types": ["order_completed"]}

_OPERATORS: dict[str, dict[str, Any]] = {
    "EQ": {"values": [{"text": "Ada"}]},
    "NE": {"values": [{"text": "Ada"}]},
    "EQ_CI": {"values": [{"text": "STRASSE"}]},
    "GT": {"values": [{"whole": "18"}]},
    "GTE": {"values": [{"whole": "18"}]},
    "LT": {"values": [{"whole": "18"}]},
    "LTE": {"values": [{"decimal": {"units": "185", "exponent": 1}}]},
    "BETWEEN": {"values": [{"whole": "18"}, {"whole": "25"}]},
    "IN": {"values": ANY_VALUES[:-1]},
    "NOT_IN": {"values": [{"text": "x"}]},
    "ALL": {"values": [{"text": "a"}, {"text": "b"}]},
    "CONTAINS": {"values": [{"text": "@example."}]},
    "NOT_CONTAINS": {"values": [{"text": "spam"}]},
    "STARTS_WITH": {"values": [{"text": "+49"}]},
    "ENDS_WITH": {"values": [{"text": ".de"}]},
    "MATCHES": {"values": [{"text": "^[a-z]+$"}]},
    "EXISTS": {},
    "NOT_EXISTS": {},
    "BEFORE": {"values": [{"date": "2000-01-01"}], "zone": "Europe/Berlin"},
    "AFTER": {"values": [{"time": NOON}]},
    "IN_LAST": {"duration": "2592000s"},
    "IN_NEXT": {"duration": "604800s"},
    "OLDER_THAN": {"duration": "31536000s"},
    "ANNIVERSARY": {
        "offsetDays": 1,
        "spanDays": 1,
        "zone": "Europe/Berlin",
        "leapDay": "LEAP_DAY_MARCH_1",
    },
}

_ATTRIBUTES = [
    {"attribute": {"attribute": "address.city", "test": {"op": f"OPERATOR_{op}", **rest}}}
    for op, rest in _OPERATORS.items()
]

_WINDOWS: list[dict[str, Any]] = [
    {"last": "3600.000001s"},
    {
        "lastCalendarUnits": {
            "n": 3,
            "unit": "CALENDAR_UNIT_MONTH",
            "zone": "Europe/Kyiv",
            "zoneSource": "ZONE_SOURCE_RULE",
        }
    },
    {
        "thisPeriod": {
            "unit": "CALENDAR_UNIT_WEEK",
            "back": 1,
            "length": 1,
            "zone": "Europe/Kyiv",
            "zoneSource": "ZONE_SOURCE_PROFILE",
            "weekStart": 7,
        }
    },
    {"slice": {"from": "1209600s", "to": "604800s"}},
    {"absolute": {"from": "2026-01-01T00:00:00Z", "to": NOON}},
    {"ever": {}},
]

_AGGREGATES: list[dict[str, Any]] = [
    {"kind": "AGGREGATE_KIND_COUNT"},
    {"kind": "AGGREGATE_KIND_SUM", "property": "total", "currency": "EUR"},
    {"kind": "AGGREGATE_KIND_AVG", "property": "total"},
    {"kind": "AGGREGATE_KIND_MIN", "property": "total"},
    {"kind": "AGGREGATE_KIND_MAX", "property": "total"},
    {"kind": "AGGREGATE_KIND_DISTINCT", "property": "sku"},
    {"kind": "AGGREGATE_KIND_DISTINCT_DAYS", "zone": "Europe/Berlin"},
    {"kind": "AGGREGATE_KIND_FIRST", "property": "sku"},
    {"kind": "AGGREGATE_KIND_LAST", "property": "sku"},
    {
        "kind": "AGGREGATE_KIND_MOST_FREQUENT",
        "property": "kind",
        "denominator": {"types": ["message_delivered"]},
        "once": "message_id",
        "denominatorMin": 5,
    },
    {"kind": "AGGREGATE_KIND_MOST_FREQUENT", "property": "category"},
    {
        "kind": "AGGREGATE_KIND_RATIO",
        "property": "value",
        "denominator": {"types": ["purchase_counted"]},
        "denominatorProperty": "orders",
    },
    {"kind": "AGGREGATE_KIND_RATIO", "denominator": {"typePrefix": "message_"}},
]

_COUNT: dict[str, Any] = {"op": "OPERATOR_GTE", "values": [{"whole": "2"}]}

_WHERE: dict[str, Any] = {
    "any": {
        "of": [
            {"test": {"property": "category", "test": {"op": "OPERATOR_EXISTS"}}},
            {
                "anyItem": {
                    "path": "lines",
                    "where": [
                        {
                            "test": {
                                "property": "sku",
                                "test": {"op": "OPERATOR_EQ", "values": [{"text": "boots-42"}]},
                            }
                        }
                    ],
                }
            },
            {
                "none": {
                    "of": [
                        {
                            "all": {
                                "of": [
                                    {
                                        "test": {
                                            "property": "test",
                                            "test": {"op": "OPERATOR_EXISTS"},
                                        }
                                    }
                                ]
                            }
                        }
                    ]
                }
            },
        ]
    }
}

_EVENTS = [
    {"event": {"events": {**BUY, "where": _WHERE}, "window": window, "comparison": _COUNT}}
    for window in _WINDOWS
] + [
    {"event": {"events": BUY, "window": _WINDOWS[0], "aggregate": kind, "comparison": _COUNT}}
    for kind in _AGGREGATES
]

_OTHERS: list[dict[str, Any]] = [
    {
        "attributeHeld": {
            "attribute": "plan",
            "test": {"op": "OPERATOR_EXISTS"},
            "atLeast": "86400s",
            "lessThan": "864000s",
        }
    },
    {
        "attributeChanged": {
            "attribute": "plan",
            "from": {"text": "free"},
            "to": {"text": "paid"},
            "window": _WINDOWS[0],
        }
    },
    {"channel": {"channel": "email"}},
    {"split": {"salt": "spring", "fromPermille": 250, "toPermille": 500}},
    {"channel": {"channel": "web_push", "platform": "ios"}},
    {"firstEvent": {"events": BUY, "window": _WINDOWS[0]}},
    {"lastEvent": {"events": BUY, "has": _WHERE}},
    {
        "sequence": {
            "steps": [{"types": ["product_viewed"]}, {"types": ["cart_updated"]}, BUY],
            "within": "3600s",
            "window": _WINDOWS[0],
            "same": "cart_id",
        }
    },
    {
        "notFollowed": {
            "start": {"types": ["cart_updated"]},
            "by": BUY,
            "within": "1800s",
            "window": _WINDOWS[0],
            "same": "cart_id",
        }
    },
    {
        "regularly": {
            "events": BUY,
            "atLeastPeriods": 3,
            "ofPeriods": 4,
            "period": "604800s",
            "minCount": 1,
        }
    },
    {"segment": {"segmentId": "big-spenders"}},
    {"list": {"listId": "vip"}},
    {
        "rfm": {
            "orders": BUY,
            "amountProperty": "total",
            "window": _WINDOWS[0],
            "recencyMin": 4,
            "recencyMax": 5,
            "frequencyMin": 1,
            "frequencyMax": 5,
            "moneyMin": 3,
            "moneyMax": 5,
            "recencyEdgesDays": [7, 30, 90, 365],
            "frequencyEdges": [1, 2, 5, 10],
            "moneyEdges": [{"units": str(u), "exponent": 2} for u in (1000, 5000, 10000, 99999)],
            "zone": "Europe/Berlin",
            "tiesById": True,
        }
    },
    {
        "catalogue": {
            "events": {"types": ["product_viewed"]},
            "window": _WINDOWS[0],
            "itemProperty": "sku",
            "itemHas": {
                "test": {
                    "property": "stock",
                    "test": {"op": "OPERATOR_GT", "values": [{"whole": "0"}]},
                }
            },
            "count": _COUNT,
        }
    },
]

EVERY_LEAF: dict[str, Any] = {
    "all": {
        "of": [
            {"any": {"of": _ATTRIBUTES}},
            {"none": {"of": _EVENTS}},
            {"not": {"atLeast": {"n": 2, "of": _OTHERS}}},
            {"everyone": {"knownOnly": True}},
        ]
    }
}
"""Every kind of node, operator, window, aggregate and value at least once."""

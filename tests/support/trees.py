"""Random condition trees over the values that random histories use, thresholds on the edge."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from tests.support.values import Instant, Value

TEXTS = [
    *("Kyiv", "kyiv", "KYIV", "Straße", "STRASSE", "caf\u00e9", "cafe\u0301", "ab", "abc", "b"),
    *("10", "10.0", "0.30", "-1", "1e3", " 10", "", "true", "2026-03-01", "ΑΣ", "ας"),
]
NUMBERS = [
    *(Fraction(n) for n in (0, 1, 2, 3, 10, -1, 1000, 2**53, 2**53 + 1, 10**12)),
    *(Fraction(n, 10) for n in (1, 2, 3, -3)),
    *(Fraction("999.995"), Fraction("999.99"), Fraction("0.005"), Fraction("0.000001")),
]
EVENT_TYPES = ["page_viewed", "order_completed", "app_opened", "app_closed", "profile_updated"]
TEXT_PROPERTIES = ["category", "note"]
NUMBER_PROPERTIES = ["amount", "lines.quantity"]
PATTERNS = ["^K", "iv$", "(?i)kyiv", "a.c", "^$", "[0-9]+", "é"]
ATTRIBUTES = ["city", "age", "vip", "tags", "seen"]
CHANNELS = ["email", "sms", "viber", "web_push", "mobile_push"]

_ORDERINGS = ("GT", "GTE", "LT", "LTE")
_TEXT_OPERATORS = ("CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "EQ_CI")


def value_message(value: Value) -> common_pb2.Value:
    """A rule's Value of one of ours; a number in as many digits as it needs."""
    if isinstance(value, bool):
        return common_pb2.Value(flag=value)
    if isinstance(value, Instant):
        made = common_pb2.Value()
        made.time.FromMicroseconds(value.us)
        return made
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return common_pb2.Value(whole=value.numerator)
        units, exponent = units_of(value)
        return common_pb2.Value(decimal={"units": units, "exponent": exponent})
    assert isinstance(value, str)
    return common_pb2.Value(text=value)


def units_of(value: Fraction) -> tuple[int, int]:
    """(units, exponent) of a number with an end to its decimals."""
    exponent = 0
    while (value * 10**exponent).denominator != 1:
        exponent += 1
    return int(value * 10**exponent), exponent


def operator(name: str) -> pb.Operator:
    return cast("pb.Operator", pb.Operator.Value(f"OPERATOR_{name}"))


@dataclass
class Trees:
    """Makes trees from one source of chance."""

    rng: random.Random
    durations_us: list[int]
    instants_us: list[int]
    segments: list[str] = field(default_factory=list)
    """Segments a tree may name."""
    ordered: bool = True
    """Whether leaves that depend on the order of equal instants may occur."""

    def tree(self, depth: int = 3) -> pb.Condition:
        rng = self.rng
        if depth == 0 or rng.random() < 0.35:
            return self.leaf()
        kind = rng.choice(["all", "all", "any", "any", "none", "not", "at_least"])
        made = pb.Condition()
        if kind == "not":
            getattr(made, "not").CopyFrom(self.tree(depth - 1))
            return made
        children = [self.tree(depth - 1) for _ in range(rng.randint(1, 3))]
        getattr(made, kind).of.extend(children)
        if kind == "at_least":
            made.at_least.n = rng.randint(1, len(children))
        return made

    def leaf(self) -> pb.Condition:
        draw = self.rng.random()
        if draw < 0.62:
            return pb.Condition(event=self.event_leaf())
        if draw < 0.84:
            return self.attribute_leaf()
        if draw < 0.91:
            return pb.Condition(channel=pb.ChannelLeaf(channel=self.rng.choice(CHANNELS)))
        if draw < 0.97 and self.segments:
            return pb.Condition(segment=pb.SegmentLeaf(segment_id=self.rng.choice(self.segments)))
        return pb.Condition(everyone=pb.Everyone(known_only=self.rng.random() < 0.5))

    def attribute_leaf(self) -> pb.Condition:
        leaf = pb.AttributeLeaf(attribute=self.rng.choice(ATTRIBUTES), test=self.test())
        if leaf.attribute == "seen" and self.rng.random() < 0.7:
            leaf.test.CopyFrom(self.time_test())
        return pb.Condition(attribute=leaf)

    def time_test(self) -> pb.Test:
        bound = Instant(self.rng.choice(self.instants_us))
        name = self.rng.choice(["BEFORE", "AFTER", "GT", "LTE", "EQ"])
        return pb.Test(op=operator(name), values=[value_message(bound)])

    def test(self, numeric: bool | None = None) -> pb.Test:
        """A test over texts, numbers and flags, now and then over another type than meant."""
        rng = self.rng
        if numeric is None:
            numeric = rng.random() < 0.4
        pool: list[Value] = list(NUMBERS if numeric else TEXTS)
        pool += [True, False, "10", Fraction(10)]
        draw = rng.random()
        if draw < 0.12:
            return pb.Test(op=operator(rng.choice(["EXISTS", "NOT_EXISTS"])))
        if draw < 0.3:
            values = [value_message(rng.choice(pool)) for _ in range(rng.randint(1, 3))]
            return pb.Test(op=operator(rng.choice(["IN", "NOT_IN", "ALL"])), values=values)
        if draw < 0.4:
            ends = sorted(rng.choice(NUMBERS) for _ in range(2))
            return pb.Test(op=operator("BETWEEN"), values=map(value_message, ends))
        if not numeric and draw < 0.65:
            name = rng.choice(_TEXT_OPERATORS)
            return pb.Test(op=operator(name), values=[value_message(rng.choice(TEXTS[:16]))])
        if not numeric and draw < 0.7:
            pattern = common_pb2.Value(text=rng.choice(PATTERNS))
            return pb.Test(op=operator("MATCHES"), values=[pattern])
        name = rng.choice([*_ORDERINGS, "EQ", "EQ", "NE"])
        choice = rng.choice(NUMBERS if name in _ORDERINGS else pool)
        return pb.Test(op=operator(name), values=[value_message(choice)])

    def property_filter(self, depth: int = 2) -> pb.PropertyFilter:
        rng = self.rng
        made = pb.PropertyFilter()
        draw = rng.random()
        if depth and draw < 0.3:
            kind = rng.choice(["all", "any", "none"])
            children = [self.property_filter(depth - 1) for _ in range(rng.randint(1, 3))]
            getattr(made, kind).of.extend(children)
        elif depth and draw < 0.4:
            made.any_item.path = "lines"
            for name in rng.sample(["quantity", "sku"], rng.randint(1, 2)):
                inner = made.any_item.where.add()
                inner.test.property = name
                inner.test.test.CopyFrom(self.test(numeric=name == "quantity"))
        else:
            numeric = rng.random() < 0.5
            names = NUMBER_PROPERTIES if numeric else TEXT_PROPERTIES
            made.test.property = rng.choice(names)
            made.test.test.CopyFrom(self.test(numeric))
        return made

    def event_leaf(self) -> pb.EventLeaf:
        rng = self.rng
        leaf = pb.EventLeaf()
        if rng.random() < 0.15:
            leaf.events.type_prefix = rng.choice(["app_", "order", "p"])
        else:
            leaf.events.types.extend(rng.sample(EVENT_TYPES, rng.choice([1, 1, 2])))
        if rng.random() < 0.3:
            leaf.events.where.CopyFrom(self.property_filter())
        self.window(leaf.window)
        draw = rng.random()
        if draw < 0.2:
            return leaf
        kinds = ["COUNT", "COUNT", "SUM", "SUM", "SUM"]
        if self.ordered:
            kinds += ["MIN", "MAX", "AVG", "DISTINCT", "LAST"]
        kind = rng.choice(kinds)
        leaf.aggregate.kind = cast(
            "pb.AggregateKind", pb.AggregateKind.Value(f"AGGREGATE_KIND_{kind}")
        )
        if kind != "COUNT":
            leaf.aggregate.property = rng.choice(NUMBER_PROPERTIES)
        if kind in ("DISTINCT", "LAST") and rng.random() < 0.5:
            leaf.aggregate.property = "category"
        self.comparison(leaf, counting=kind in ("COUNT", "DISTINCT"))
        return leaf

    def comparison(self, leaf: pb.EventLeaf, counting: bool) -> None:
        rng = self.rng
        if counting:
            thresholds = [Fraction(rng.randint(0, 4)) for _ in range(2)]
        else:
            sums = [sum(rng.choices(NUMBERS, k=rng.randint(1, 3)), Fraction(0)) for _ in range(9)]
            thresholds = [total for total in sums if abs(units_of(total)[0]) < 2**63]
            thresholds += rng.choices(NUMBERS, k=2)
        name = rng.choice(["EQ", "NE", "GT", "GTE", "LT", "LTE", "BETWEEN"])
        leaf.comparison.op = operator(name)
        count = 2 if name == "BETWEEN" else 1
        leaf.comparison.values.extend(map(value_message, sorted(thresholds[:count])))

    def window(self, window: pb.Window) -> None:
        rng = self.rng
        draw = rng.random()
        if draw < 0.55:
            window.last.FromMicroseconds(rng.choice(self.durations_us))
        elif draw < 0.7:
            to_us, from_us = sorted(rng.sample([0, *self.durations_us], 2))
            getattr(window.slice, "from").FromMicroseconds(from_us)
            window.slice.to.FromMicroseconds(to_us)
        elif draw < 0.85:
            since, until = sorted(rng.sample(self.instants_us, 2))
            if rng.random() < 0.7:
                getattr(window.absolute, "from").FromMicroseconds(since)
            if rng.random() < 0.7 or not window.absolute.HasField("from"):
                window.absolute.to.FromMicroseconds(until)
        elif draw < 0.95:
            window.ever.SetInParent()

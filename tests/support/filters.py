"""Random tests over texts, numbers, flags and instants, and filters over an event's properties."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from cli.simulation.naive.values import Instant, Value
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb

TEXTS = [
    *("Kyiv", "kyiv", "KYIV", "Straße", "STRASSE", "caf\u00e9", "cafe\u0301", "ab", "abc", "b"),
    *("10", "10.0", "0.30", "-1", "1e3", " 10", "", "true", "2026-03-01", "ΑΣ", "ας"),
]
NUMBERS = [
    *(Fraction(n) for n in (0, 1, 2, 3, 10, -1, 1000, 2**53, 2**53 + 1, 10**12)),
    *(Fraction(n, 10) for n in (1, 2, 3, -3)),
    *(Fraction("999.995"), Fraction("999.99"), Fraction("0.005"), Fraction("0.000001")),
]
TEXT_PROPERTIES = ["category", "note"]
NUMBER_PROPERTIES = ["amount", "lines.quantity"]
SAME = "cart"
"""The property that events have in common, and that names items of the catalogue."""
SAME_VALUES: list[Value] = ["c1", "c1", "c2", "c3", "7", Fraction(7)]
ITEM_PROPERTIES = ["category", "price", "stock"]
PATTERNS = ["^K", "iv$", "(?i)kyiv", "a.c", "^$", "[0-9]+", "é"]
ATTRIBUTES = ["city", "age", "vip", "tags", "seen", "born"]
BIRTHDAYS = ["1992-02-29", "1990-03-01", "1991-02-28", "1988-03-29", "2000-10-25", "1999-12-31"]
CHANNELS = ["email", "sms", "viber", "web_push", "mobile_push"]

_ORDERINGS = ("GT", "GTE", "LT", "LTE")
_TEXT_OPERATORS = ("CONTAINS", "NOT_CONTAINS", "STARTS_WITH", "ENDS_WITH", "EQ_CI")
_MOVING = ("IN_LAST", "IN_NEXT", "OLDER_THAN")


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


def aggregate_kind(name: str) -> pb.AggregateKind:
    return cast("pb.AggregateKind", pb.AggregateKind.Value(f"AGGREGATE_KIND_{name}"))


@dataclass
class Filters:
    """Makes tests and filters from one source of chance."""

    rng: random.Random
    durations_us: list[int]
    instants_us: list[int]

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
        if not numeric and draw < 0.7:
            return self._text_test(draw < 0.65)
        name = rng.choice([*_ORDERINGS, "EQ", "EQ", "NE"])
        choice = rng.choice(NUMBERS if name in _ORDERINGS else pool)
        return pb.Test(op=operator(name), values=[value_message(choice)])

    def _text_test(self, literal: bool) -> pb.Test:
        if literal:
            text = value_message(self.rng.choice(TEXTS[:16]))
            return pb.Test(op=operator(self.rng.choice(_TEXT_OPERATORS)), values=[text])
        pattern = common_pb2.Value(text=self.rng.choice(PATTERNS))
        return pb.Test(op=operator("MATCHES"), values=[pattern])

    def value_test(self) -> pb.Test:
        """A test that the value of an aggregate may be held against."""
        while True:
            test = self.test()
            if pb.Operator.Name(test.op)[9:] not in ("EXISTS", "NOT_EXISTS", "MATCHES", "ALL"):
                return test

    def time_test(self, moving: float) -> pb.Test:
        """A test over an instant; moving: how often one that changes as time passes."""
        rng = self.rng
        if rng.random() < moving:
            test = pb.Test(op=operator(rng.choice(_MOVING)))
            test.duration.FromMicroseconds(rng.choice(self.durations_us))
            return test
        bound = Instant(rng.choice(self.instants_us))
        name = rng.choice(["BEFORE", "AFTER", "GT", "LTE", "EQ"])
        return pb.Test(op=operator(name), values=[value_message(bound)])

    def anniversary(self, zone: str) -> pb.Test:
        rng = self.rng
        return pb.Test(
            op=operator("ANNIVERSARY"),
            offset_days=rng.choice([0, 0, 1, -1, 3]),
            span_days=rng.choice([0, 0, 2, 30]),
            leap_day=cast("pb.LeapDay", rng.choice([0, 1, 2, 3])),
            zone=zone,
        )

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
                made.any_item.where.append(self._element_filter(name))
        elif draw < 0.46:
            made.test.property = "when"
            made.test.test.CopyFrom(self.time_test(moving=0.5))
        else:
            numeric = rng.random() < 0.5
            names = NUMBER_PROPERTIES if numeric else [*TEXT_PROPERTIES, SAME]
            made.test.property = rng.choice(names)
            made.test.test.CopyFrom(self.test(numeric))
        return made

    def _element_filter(self, name: str) -> pb.PropertyFilter:
        """A test of one element of a list; now and then in groups of their own."""
        made = pb.PropertyFilter()
        if self.rng.random() < 0.25:
            group = getattr(made, self.rng.choice(["any", "none", "all"]))
            group.of.extend(self._element_filter(n) for n in ("quantity", "sku"))
            return made
        made.test.property = name
        made.test.test.CopyFrom(self.test(numeric=name == "quantity"))
        return made

"""Values and operators as semantics 3 says them, one value at a time, exact and slow.

text is str, a number Fraction, a flag bool, an instant Instant, a day date. A property or attribute
is the list of its values in order of their items; empty texts are missing.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from zoneinfo import ZoneInfo

import re2

from cli.simulation.naive import calendar
from cli.simulation.naive.calendar import EPOCH, MICROSECOND
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb

_NUMERIC = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
MOVING = {
    pb.OPERATOR_IN_LAST: (0, 1),
    pb.OPERATOR_IN_NEXT: (0, -1),
    pb.OPERATOR_OLDER_THAN: (1,),
}
"""Operators whose answer changes as time passes: when, from the value on, in their durations."""
_NEGATIVES = {
    pb.OPERATOR_NE: pb.OPERATOR_EQ,
    pb.OPERATOR_NOT_IN: pb.OPERATOR_IN,
    pb.OPERATOR_NOT_CONTAINS: pb.OPERATOR_CONTAINS,
    pb.OPERATOR_NOT_EXISTS: pb.OPERATOR_EXISTS,
}


@dataclass(frozen=True, order=True)
class Instant:
    """A time, in microseconds since 1970."""

    us: int


Value = str | Fraction | bool | Instant | dt.date


def value_of(value: common_pb2.Value) -> Value:
    """A rule's value; lists are not values of a comparison."""
    kind = value.WhichOneof("kind")
    if kind == "text":
        return value.text
    if kind == "whole":
        return Fraction(value.whole)
    if kind == "decimal":
        return Fraction(value.decimal.units, 10**value.decimal.exponent)
    if kind == "flag":
        return value.flag
    if kind == "time":
        return Instant(value.time.ToMicroseconds())
    if kind == "date":
        return dt.date.fromisoformat(value.date)
    raise ValueError(f"no single value: {kind}")


def number_of(value: Value) -> Fraction | None:
    """The number a value is, or is the text of."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        return Fraction(value)
    return None


def order_of(one: Value, other: Value) -> int | None:
    """-1, 0, 1; None when the two are of different types and so never equal, never ordered."""
    if isinstance(one, str) and isinstance(other, str):
        left: object = unicodedata.normalize("NFC", one)
        right: object = unicodedata.normalize("NFC", other)
    elif isinstance(one, (Fraction, str)) and isinstance(other, (Fraction, str)):
        left, right = number_of(one), number_of(other)
        if left is None or right is None:
            return None
    elif type(one) is not type(other):
        return None
    else:
        left, right = one, other
    return (left > right) - (left < right)  # type: ignore[operator]


def instant_of(value: Value, zone: str) -> int | None:
    """Microseconds of a time, of ISO 8601 text, of the midnight of a day in the zone."""
    if isinstance(value, Instant):
        return value.us
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
        if len(value) > len("2026-05-01"):
            local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone or "UTC"))
            return (local - EPOCH) // MICROSECOND
        value = moment.date()
    if isinstance(value, dt.date):
        return calendar.midnight(value, zone)
    return None


def holds(test: pb.Test, items: list[Value], at_us: int, zone: str) -> bool:
    """Whether a property or attribute with these items satisfies the test at an instant."""
    items = [item for item in items if item != ""]
    if test.op in _NEGATIVES:
        positive = pb.Test()
        positive.CopyFrom(test)
        positive.op = _NEGATIVES[test.op]
        return not holds(positive, items, at_us, zone)
    if test.op == pb.OPERATOR_ALL:
        wanted = [value_of(value) for value in test.values]
        return all(any(order_of(item, value) == 0 for item in items) for value in wanted)
    return any(_satisfies(test, item, at_us, test.zone or zone) for item in items)


def _satisfies(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    op = test.op
    if op == pb.OPERATOR_EXISTS:
        return True
    if op in _TIMES:
        return _TIMES[op](test, item, at_us, zone)
    if op == pb.OPERATOR_ANNIVERSARY:
        return _is_anniversary(test, item, at_us, zone)
    values = [value_of(value) for value in test.values]
    if op in (pb.OPERATOR_EQ, pb.OPERATOR_IN):
        return any(order_of(item, value) == 0 for value in values)
    if op == pb.OPERATOR_BETWEEN:
        low, high = (order_of(item, value) for value in values)
        return low is not None and high is not None and low >= 0 and high <= 0
    if op in _ORDERS:
        return order_of(item, values[0]) in _ORDERS[op]
    return _satisfies_text(op, item, values[0])


_ORDERS = {
    pb.OPERATOR_GT: (1,),
    pb.OPERATOR_GTE: (1, 0),
    pb.OPERATOR_LT: (-1,),
    pb.OPERATOR_LTE: (-1, 0),
}


def _satisfies_text(op: int, item: Value, value: Value) -> bool:
    if op == pb.OPERATOR_EQ_CI and not (isinstance(item, str) and isinstance(value, str)):
        return order_of(item, value) == 0
    if not isinstance(item, str) or not isinstance(value, str):
        return False
    item, value = unicodedata.normalize("NFC", item), unicodedata.normalize("NFC", value)
    if op == pb.OPERATOR_EQ_CI:
        folded = [unicodedata.normalize("NFC", text.casefold()) for text in (item, value)]
        return folded[0] == folded[1]
    if op == pb.OPERATOR_CONTAINS:
        return value in item
    if op == pb.OPERATOR_STARTS_WITH:
        return item.startswith(value)
    if op == pb.OPERATOR_ENDS_WITH:
        return item.endswith(value)
    if op == pb.OPERATOR_MATCHES:
        return re2.search(value, item) is not None
    raise ValueError(f"operator {op} is unknown to the naive model")


def _before(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    instant, bound = instant_of(item, zone), instant_of(value_of(test.values[0]), zone)
    return instant is not None and bound is not None and instant < bound


def _after(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    instant, bound = instant_of(item, zone), instant_of(value_of(test.values[0]), zone)
    return instant is not None and bound is not None and instant > bound


def _in_last(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    instant, length = instant_of(item, zone), test.duration.ToMicroseconds()
    return instant is not None and at_us - length < instant <= at_us


def _in_next(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    instant, length = instant_of(item, zone), test.duration.ToMicroseconds()
    return instant is not None and at_us < instant <= at_us + length


def _older_than(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    instant, length = instant_of(item, zone), test.duration.ToMicroseconds()
    return instant is not None and instant <= at_us - length


_TIMES = {
    pb.OPERATOR_BEFORE: _before,
    pb.OPERATOR_AFTER: _after,
    pb.OPERATOR_IN_LAST: _in_last,
    pb.OPERATOR_IN_NEXT: _in_next,
    pb.OPERATOR_OLDER_THAN: _older_than,
}


def _is_anniversary(test: pb.Test, item: Value, at_us: int, zone: str) -> bool:
    instant = instant_of(item, zone)
    if instant is None:
        return False
    born = calendar.day_of(instant, zone)
    first = calendar.day_of(at_us, zone) + dt.timedelta(days=test.offset_days)
    span = max(1, test.span_days)
    return any(
        _is_celebrated(born, first + dt.timedelta(days=day), test.leap_day) for day in range(span)
    )


def _is_celebrated(born: dt.date, day: dt.date, leap_day: int) -> bool:
    if (born.month, born.day) == (day.month, day.day):
        return True
    if (born.month, born.day) != (2, 29) or leap_day == pb.LEAP_DAY_LEAP_YEARS_ONLY:
        return False
    is_leap = day.year % 4 == 0 and (day.year % 100 != 0 or day.year % 400 == 0)
    instead = (3, 1) if leap_day == pb.LEAP_DAY_MARCH_1 else (2, 28)
    return not is_leap and (day.month, day.day) == instead


def moments(test: pb.Test, items: Iterable[Value], zone: str) -> set[int]:
    """Instants at which the answer changes because time passes."""
    length = test.duration.ToMicroseconds()
    reached = (instant_of(item, test.zone or zone) for item in items)
    known = [us for us in reached if us is not None]
    return {us + sign * length for us in known for sign in MOVING.get(test.op, ())}

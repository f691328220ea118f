"""Reads values, tests, durations and instants of the contract; faults go to the reader."""

from __future__ import annotations

from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from muster.types.v1 import common_pb2, condition_pb2
from services.segments.domain import times
from services.segments.domain.values import (
    DATE,
    DECIMAL,
    FLAG,
    TEXT,
    TIME,
    WHOLE,
    LeapDay,
    Op,
    Scalar,
    Test,
    normal_text,
)
from services.segments.engine.patterns import compiled

_TAKES_NONE = {Op.EXISTS, Op.NOT_EXISTS, Op.ANNIVERSARY}
_TAKES_MANY = {Op.IN, Op.NOT_IN, Op.ALL}
_TEXT_ONLY = {Op.CONTAINS, Op.NOT_CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH, Op.MATCHES}
_NOT_YET = {Op.IN_LAST, Op.IN_NEXT, Op.OLDER_THAN}
EXPONENT_MAX = 18


class Faults(Protocol):
    """Where faults go; `zone` is the rule's."""

    zone: str

    def fault(self, message: str, field: str = "") -> None: ...


def duration_us(duration: Duration) -> int:
    """Microseconds; finer digits are cut."""
    return duration.seconds * times.SECOND_US + duration.nanos // 1_000


def time_us(timestamp: Timestamp) -> int:
    """Microseconds since 1970; finer digits are cut."""
    return timestamp.seconds * times.SECOND_US + timestamp.nanos // 1_000


def read_value(reader: Faults, value: common_pb2.Value, field: str) -> Scalar:
    """One value of a rule as a scalar; lists stand only where a test takes many."""
    match value.WhichOneof("kind"):
        case "text":
            return Scalar(TEXT, normal_text(value.text))
        case "whole":
            return Scalar(WHOLE, units=value.whole)
        case "decimal":
            if value.decimal.exponent > EXPONENT_MAX:
                reader.fault(f"at most {EXPONENT_MAX} decimals", field)
            return Scalar(
                DECIMAL,
                units=value.decimal.units,
                exponent=min(value.decimal.exponent, EXPONENT_MAX),
            )
        case "flag":
            return Scalar(FLAG, units=int(value.flag))
        case "time":
            return Scalar(TIME, units=time_us(value.time))
        case "date":
            if len(value.date) != 10 or times.day_of_text(value.date) is None:
                reader.fault("must be a day such as 2026-05-31", field)
            return Scalar(DATE, value.date)
        case "list":
            reader.fault("a list stands only where the operator takes many: in, not_in, all", field)
        case _:
            reader.fault("a missing value compares with nothing: use exists or not_exists", field)
    return Scalar(WHOLE)


def read_test(reader: Faults, given: condition_pb2.Test, of_attribute: bool) -> Test:
    """The test; a stand-in where there was a fault."""
    stand_in = Test(Op.EXISTS)
    if given.op not in {int(op) for op in Op}:
        reader.fault("choose an operator", "op")
        return stand_in
    op = Op(given.op)
    if op in _NOT_YET:
        reader.fault(f"{op.name.lower()} is not evaluated yet; use before, after or a window", "op")
        return stand_in
    zone = given.zone or reader.zone
    try:
        times.zone_of(zone)
    except ValueError as error:
        reader.fault(str(error), "zone")
        return stand_in
    if op is Op.ANNIVERSARY:
        return _anniversary(reader, given, zone, of_attribute)
    raw = list(given.values)
    if op in _TAKES_MANY and len(raw) == 1 and raw[0].WhichOneof("kind") == "list":
        raw = list(raw[0].list.values)
    values = tuple(read_value(reader, value, f"values[{i}]") for i, value in enumerate(raw))
    return _checked(reader, op, values, zone)


def _checked(reader: Faults, op: Op, values: tuple[Scalar, ...], zone: str) -> Test:
    wanted = 0 if op in _TAKES_NONE else 2 if op is Op.BETWEEN else 1
    if op in _TAKES_MANY:
        if not values:
            reader.fault(f"{op.name.lower()} needs at least one value", "values")
    elif len(values) != wanted:
        reader.fault(f"{op.name.lower()} takes {wanted or 'no'} value(s)", "values")
        return Test(Op.EXISTS)
    if op in _TEXT_ONLY and (values[0].kind != TEXT or not values[0].text):
        reader.fault(f"{op.name.lower()} needs a text", "values")
        return Test(Op.EXISTS)
    if op is Op.MATCHES:
        try:
            compiled(values[0].text)
        except ValueError as error:
            reader.fault(str(error), "values")
    if op in (Op.BEFORE, Op.AFTER):
        zone_info = times.zone_of(zone)
        text = values[0].text
        if values[0].kind not in (TIME, DATE) and (
            values[0].kind != TEXT or times.instant_of_text(text, zone_info) is None
        ):
            reader.fault(f"{op.name.lower()} needs an instant, a date, or ISO 8601 text", "values")
    return Test(op, values, zone)


def _anniversary(reader: Faults, given: condition_pb2.Test, zone: str, of_attribute: bool) -> Test:
    if not of_attribute:
        reader.fault("anniversary is evaluated for attributes only", "op")
    if given.values:
        reader.fault("anniversary takes no value", "values")
    if given.span_days > 366:
        reader.fault("at most 366 days", "span_days")
    if abs(given.offset_days) > 366:
        reader.fault("at most 366 days either way", "offset_days")
    leap_day = LeapDay(given.leap_day or LeapDay.FEBRUARY_28)
    return Test(Op.ANNIVERSARY, (), zone, given.offset_days, given.span_days or 1, leap_day)

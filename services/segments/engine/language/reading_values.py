"""Reads values and tests of the contract; faults go to the reading."""

from __future__ import annotations

from muster.types.v1 import common_pb2, event_pb2
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import normal, times
from services.segments.domain.values import (
    DATE,
    DECIMAL,
    FLAG,
    MOVING,
    ORDERS,
    TEXT,
    TIME,
    WHOLE,
    LeapDay,
    Op,
    Scalar,
    Test,
    normal_text,
    number_of_text,
)
from services.segments.engine.language.patterns import compiled
from services.segments.engine.language.reading_state import Reading
from services.segments.engine.language.reading_windows import needed_duration, read_time

_TAKES_NONE = {Op.EXISTS, Op.NOT_EXISTS, Op.ANNIVERSARY} | MOVING
_TAKES_MANY = {Op.IN, Op.NOT_IN, Op.ALL}
_TEXT_ONLY = {Op.CONTAINS, Op.NOT_CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH, Op.MATCHES}
_OPERATORS = {int(op) for op in Op}
_LEAP_DAYS = {int(day) for day in LeapDay}
EXPONENT_MAX = 18
DAYS_MAX = 366
STAND_IN = Test(Op.EXISTS)


def read_value(reading: Reading, value: common_pb2.Value, field: str) -> Scalar:
    """One value of a rule as a scalar; lists stand only where a test takes many."""
    match value.WhichOneof("kind"):
        case "text":
            return Scalar(TEXT, normal_text(value.text))
        case "whole":
            return Scalar(WHOLE, units=value.whole)
        case "decimal":
            return read_decimal(reading, value.decimal, field)
        case "flag":
            return Scalar(FLAG, units=int(value.flag))
        case "time":
            return Scalar(TIME, units=read_time(reading, value.time, field))
        case "date":
            if len(value.date) != 10 or times.day_of_text(value.date) is None:
                reading.fault("must be a day such as 2026-05-31", field)
            return Scalar(DATE, value.date)
        case "list":
            reading.fault(
                "a list stands only where the operator takes many: in, not_in, all", field
            )
        case _:
            reading.fault("a missing value compares with nothing: use exists or not_exists", field)
    return Scalar(WHOLE)


def read_decimal(reading: Reading, decimal: event_pb2.Decimal, field: str) -> Scalar:
    """Units and exponent as a scalar."""
    if decimal.exponent > EXPONENT_MAX:
        reading.fault(f"at most {EXPONENT_MAX} decimals", field)
    return normal.value(
        Scalar(DECIMAL, units=decimal.units, exponent=min(decimal.exponent, EXPONENT_MAX))
    )


def read_test(reading: Reading, given: pb.Test, of_attribute: bool) -> Test:
    """The test in its normal form; a stand-in where there was a fault."""
    if given.op not in _OPERATORS:
        reading.fault("choose an operator", "op")
        return STAND_IN
    op = Op(given.op)
    zone = reading.zone_of(given.zone)
    before = len(reading.faults)
    _check_options(reading, given, op)
    raw, where = list(given.values), "values"
    if op in _TAKES_MANY and len(raw) == 1 and raw[0].WhichOneof("kind") == "list":
        raw, where = list(raw[0].list.values), "values[0].list.values"
    if len(raw) > reading.limits.values_max:
        reading.fault(f"at most {reading.limits.values_max} values: keep them as a list", "values")
        return STAND_IN
    values = tuple(read_value(reading, value, f"{where}[{i}]") for i, value in enumerate(raw))
    test = Test(op, values, zone)
    if op is Op.ANNIVERSARY:
        test = _anniversary(reading, given, zone, of_attribute)
    elif op in MOVING:
        length = needed_duration(reading, given, "duration", "say how long, such as 30 days")
        test = Test(op, (), zone, duration_us=length)
    if len(reading.faults) == before:
        _check_values(reading, test)
    return normal.test(test) if len(reading.faults) == before else STAND_IN


def _check_options(reading: Reading, given: pb.Test, op: Op) -> None:
    """Fields that another operator has are a misunderstanding, not to be passed over."""
    name = op.name.lower()
    if given.HasField("duration") and op not in MOVING:
        reading.fault(
            f"{name} takes no duration: only in_last, in_next and older_than do", "duration"
        )
    if op is not Op.ANNIVERSARY:
        for field in ("offset_days", "span_days", "leap_day"):
            if getattr(given, field):
                reading.fault(f"{name} takes none: only anniversary does", field)
    wanted = 0 if op in _TAKES_NONE else 2 if op is Op.BETWEEN else 1
    if op in _TAKES_MANY:
        if not given.values:
            reading.fault(f"{name} needs at least one value", "values")
    elif len(given.values) != wanted:
        reading.fault(f"{name} takes {wanted or 'no'} value(s)", "values")


def _check_values(reading: Reading, test: Test) -> None:
    op, values = test.op, test.values
    name = op.name.lower()
    if op in _TAKES_MANY and not values:
        reading.fault(f"{name} needs at least one value", "values")
    elif op in _TEXT_ONLY and (values[0].kind != TEXT or not values[0].text):
        reading.fault(f"{name} needs a text", "values")
    elif op is Op.MATCHES:
        try:
            compiled(values[0].text)
        except ValueError as error:
            reading.fault(str(error), "values")
    elif op in (Op.BEFORE, Op.AFTER):
        zone = times.zone_of(test.zone)
        if values[0].kind not in (TIME, DATE) and (
            values[0].kind != TEXT or times.instant_of_text(values[0].text, zone) is None
        ):
            reading.fault(f"{name} needs an instant, a date, or ISO 8601 text", "values")
    elif op in ORDERS and any(value.kind == FLAG for value in values):
        reading.fault(f"{name} orders, and true and false have no order: use eq", "values")
    elif op is Op.BETWEEN and _reversed(test):
        reading.fault("the first value is the lower end, the second the upper", "values")


def _reversed(test: Test) -> bool:
    """Whether nothing can lie between two ends, whichever way they compare."""
    low, high = test.values
    if low.kind == TEXT and high.kind == TEXT:
        numbers = number_of_text(low.text), number_of_text(high.text)
        if low.text <= high.text:
            return False
        return None in numbers or numbers[0] > numbers[1]  # type: ignore[operator]
    if low.kind in (TIME, DATE) and high.kind in (TIME, DATE):
        zone = times.zone_of(test.zone)
        ends = [
            one.units if one.kind == TIME else times.instant_of_text(one.text, zone)
            for one in (low, high)
        ]
        return ends[0] > ends[1]  # type: ignore[operator]
    one, other = low.number(), high.number()
    return one is not None and other is not None and one > other


def _anniversary(reading: Reading, given: pb.Test, zone: str, of_attribute: bool) -> Test:
    if not of_attribute:
        reading.fault("anniversary stands over an attribute of the profile, not here", "op")
    if given.span_days > DAYS_MAX:
        reading.fault(f"at most {DAYS_MAX} days", "span_days")
    if abs(given.offset_days) > DAYS_MAX:
        reading.fault(f"at most {DAYS_MAX} days either way", "offset_days")
    leap_day = given.leap_day or LeapDay.FEBRUARY_28
    if leap_day not in _LEAP_DAYS:
        reading.fault("must be february_28, march_1 or leap_years_only", "leap_day")
        leap_day = LeapDay.FEBRUARY_28
    return Test(
        Op.ANNIVERSARY, (), zone, given.offset_days, given.span_days or 1, LeapDay(leap_day)
    )

"""Values and operators: their normal form, and the tests that cannot be."""

from __future__ import annotations

import pytest

from services.segments.domain.conditions import AttributeIs
from services.segments.domain.times import DAY_US
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
)
from services.segments.domain.values import (
    Test as Asked,
)
from tests.unit.segments.reading import assert_faults, read


def leaf(test: str) -> str:
    return f'attribute {{ attribute: "a" test {{ {test} }} }}'


def one(value: str, op: str = "EQ") -> str:
    return f"op: OPERATOR_{op} values {{ {value} }}"


def two(low: str, high: str) -> str:
    return f"op: OPERATOR_BETWEEN values {{ {low} }} values {{ {high} }}"


DAY = "duration { seconds: 86400 }"
ADA = Scalar(TEXT, "Ada")
MEANT: dict[str, Asked] = {
    one('text: "Ada"'): Asked(Op.EQ, (ADA,)),
    # Unicode NFC: e and a combining accent are one letter.
    one('text: "Ame\\314\\201lie"'): Asked(Op.EQ, (Scalar(TEXT, "Amélie"),)),
    one("whole: -9007199254740993", "GT"): Asked(Op.GT, (Scalar(WHOLE, units=-9007199254740993),)),
    one("decimal { units: 1050 exponent: 2 }"): Asked(Op.EQ, (Scalar(DECIMAL, "", 105, 1),)),
    one("decimal { units: 300 exponent: 2 }"): Asked(Op.EQ, (Scalar(WHOLE, units=3),)),
    one("flag: true", "NE"): Asked(Op.NE, (Scalar(FLAG, units=1),)),
    one("time { seconds: 1 nanos: 1999 }"): Asked(Op.EQ, (Scalar(TIME, units=1_000_001),)),
    one('date: "2026-05-31"'): Asked(Op.EQ, (Scalar(DATE, "2026-05-31"),), "Europe/Kyiv"),
    one('text: "2026-05-31"', "BEFORE"): Asked(
        Op.BEFORE, (Scalar(TEXT, "2026-05-31"),), "Europe/Kyiv"
    ),
    one("time { seconds: 1 }", "AFTER") + ' zone: "Asia/Tokyo"': Asked(
        Op.AFTER, (Scalar(TIME, units=1_000_000),), "Asia/Tokyo"
    ),
    two("whole: 1", "whole: 2"): Asked(
        Op.BETWEEN, (Scalar(WHOLE, units=1), Scalar(WHOLE, units=2))
    ),
    two("whole: 7", "decimal { units: 70 exponent: 1 }"): Asked(Op.EQ, (Scalar(WHOLE, units=7),)),
    # As text 9 to 10 is the wrong way round, as numbers it is not.
    two('text: "9"', 'text: "10"'): Asked(Op.BETWEEN, (Scalar(TEXT, "9"), Scalar(TEXT, "10"))),
    "op: OPERATOR_EXISTS": Asked(Op.EXISTS),
    one('text: "(a|b)+"', "MATCHES"): Asked(Op.MATCHES, (Scalar(TEXT, "(a|b)+"),)),
    'op: OPERATOR_IN values { list { values { text: "b" } values { text: "a" } } }': Asked(
        Op.IN, (Scalar(TEXT, "a"), Scalar(TEXT, "b"))
    ),
    f"op: OPERATOR_IN_LAST {DAY}": Asked(Op.IN_LAST, (), "Europe/Kyiv", duration_us=DAY_US),
    f"op: OPERATOR_IN_NEXT {DAY}": Asked(Op.IN_NEXT, (), "Europe/Kyiv", duration_us=DAY_US),
    f"op: OPERATOR_OLDER_THAN {DAY}": Asked(Op.OLDER_THAN, (), "Europe/Kyiv", duration_us=DAY_US),
    "op: OPERATOR_ANNIVERSARY": Asked(Op.ANNIVERSARY, (), "Europe/Kyiv"),
    "op: OPERATOR_ANNIVERSARY offset_days: -1 span_days: 7 leap_day: LEAP_DAY_MARCH_1": Asked(
        Op.ANNIVERSARY, (), "Europe/Kyiv", -1, 7, LeapDay.MARCH_1
    ),
}


@pytest.mark.parametrize("test", MEANT)
def test_a_test_is_read_in_its_normal_form(test: str) -> None:
    assert read(leaf(test), "Europe/Kyiv") == (AttributeIs("a", MEANT[test]), [])


def test_only_what_depends_on_time_alone_moves() -> None:
    moving = {op for op in Op if Asked(op).moves}
    assert moving == {Op.IN_LAST, Op.IN_NEXT, Op.OLDER_THAN}


WRONG = {
    "": ["op: choose an operator"],
    "op: 99": ["op: choose an operator"],
    "op: OPERATOR_EQ": ["values: eq takes 1 value(s)"],
    "op: OPERATOR_EQ values {}": ["values[0]: a missing value compares with nothing"],
    one("list {}"): ["values[0]: a list stands only where the operator takes many"],
    one('date: "2026-02-30"'): ["values[0]: must be a day such as"],
    one('date: "2026-02-03T10:00"'): ["values[0]: must be a day such as"],
    one("decimal { units: 1 exponent: 19 }"): ["values[0]: at most 18 decimals"],
    one("time { seconds: 999999999999 }"): ["values[0]: must lie in the years 1 to 9998"],
    one("whole: 1") + ' zone: "Mars/Base"': ["zone: 'Mars/Base' is not an IANA time zone"],
    one("whole: 1") + f" {DAY}": ["duration: eq takes no duration"],
    one("whole: 1") + " offset_days: 1 span_days: 2 leap_day: 3": [
        "offset_days: eq takes none", "span_days: eq takes none", "leap_day: eq takes none",
    ],
    "op: OPERATOR_EXISTS values { whole: 1 }": ["values: exists takes no value(s)"],
    "op: OPERATOR_IN": ["values: in needs at least one value"],
    "op: OPERATOR_ALL values { list {} }": ["values: all needs at least one value"],
    "op: OPERATOR_IN values { list { values { list {} } values {} } }": [
        "values[0].list.values[0]: a list stands only", "values[0].list.values[1]: a missing value",
    ],
    two("whole: 2", "whole: 1"): ["values: the first value is the lower end"],
    two("whole: 2", 'text: "1.5"'): ["values: the first value is the lower end"],
    two('text: "b"', 'text: "a"'): ["values: the first value is the lower end"],
    two('date: "2026-01-02"', 'date: "2026-01-01"'): ["values: the first value is the lower end"],
    two('date: "2026-01-02"', "time { seconds: 5 }"): ["values: the first value is the lower end"],
    two("flag: false", "flag: true"): ["values: between orders, and true and false have no order"],
    "op: OPERATOR_BETWEEN values { whole: 1 }": ["values: between takes 2 value(s)"],
    one("flag: true", "GT"): ["values: gt orders, and true and false have no order"],
    one("whole: 1", "CONTAINS"): ["values: contains needs a text"],
    one('text: ""', "STARTS_WITH"): ["values: starts_with needs a text"],
    one('text: "(a"', "MATCHES"): ["values: not an RE2 pattern: missing )"],
    # A look-ahead and a back reference need a machine that can be made slow: RE2 has neither.
    one('text: "(?=a)"', "MATCHES"): ["values: not an RE2 pattern"],
    one('text: "(a)\\\\1"', "MATCHES"): ["values: not an RE2 pattern"],
    one('text: "soon"', "BEFORE"): ["values: before needs an instant, a date, or ISO 8601 text"],
    one("whole: 5", "AFTER"): ["values: after needs an instant, a date, or ISO 8601 text"],
    "op: OPERATOR_IN_LAST": ["duration: say how long"],
    "op: OPERATOR_IN_NEXT duration {}": ["duration: must be longer than nothing"],
    f"op: OPERATOR_OLDER_THAN {DAY} values {{ whole: 1 }}": ["values: older_than takes no value"],
    "op: OPERATOR_ANNIVERSARY offset_days: 367": ["offset_days: at most 366 days either way"],
    "op: OPERATOR_ANNIVERSARY span_days: 367": ["span_days: at most 366 days"],
    "op: OPERATOR_ANNIVERSARY leap_day: 9": ["leap_day: must be february_28, march_1"],
    "op: OPERATOR_ANNIVERSARY values { whole: 1 }": ["values: anniversary takes no value"],
}  # fmt: skip


@pytest.mark.parametrize("test", WRONG)
def test_a_test_that_cannot_be_is_refused(test: str) -> None:
    assert_faults(leaf(test), [f"attribute.test.{fault}" for fault in WRONG[test]])


def test_the_number_of_values_has_a_limit() -> None:
    many = "op: OPERATOR_IN " + "values { whole: 1 } " * 1_001
    assert_faults(leaf(many), ["attribute.test.values: at most 1000 values"])

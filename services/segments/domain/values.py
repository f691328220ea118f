"""Values and tests over them: what equal, greater, contains … mean (semantics 3).

This is the reference for every operator. The engine turns tests into intervals and look-ups for
its kernels, and asks `satisfies_one` about texts; the answers are the same by construction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from services.segments.domain import times

TEXT, WHOLE, DECIMAL, FLAG, TIME = 1, 2, 3, 4, 5
"""Kinds of a scalar, as in `prop_kind` on the wire."""
DATE = 6
"""A day without time; only in rules."""

DIGITS_MAX = 400
"""Longer numeric text counts as text: no rule needs it and its exact value could be used to tire
us."""

_NUMERIC = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


class Op(IntEnum):
    """Operators, numbered as in muster.types.v1.Operator."""

    EQ = 1
    NE = 2
    EQ_CI = 3
    GT = 4
    GTE = 5
    LT = 6
    LTE = 7
    BETWEEN = 8
    IN = 9
    NOT_IN = 10
    ALL = 11
    CONTAINS = 12
    NOT_CONTAINS = 13
    STARTS_WITH = 14
    ENDS_WITH = 15
    MATCHES = 16
    EXISTS = 17
    NOT_EXISTS = 18
    BEFORE = 19
    AFTER = 20
    IN_LAST = 21
    IN_NEXT = 22
    OLDER_THAN = 23
    ANNIVERSARY = 24


POSITIVE_OF = {
    Op.NE: Op.EQ,
    Op.NOT_IN: Op.IN,
    Op.NOT_CONTAINS: Op.CONTAINS,
    Op.NOT_EXISTS: Op.EXISTS,
}
"""Negative operators are the plain negation of these."""

ORDERS = {Op.GT, Op.GTE, Op.LT, Op.LTE, Op.BETWEEN}
MOVING = {Op.IN_LAST, Op.IN_NEXT, Op.OLDER_THAN}
"""Operators over an instant whose answer changes with time alone."""


class LeapDay(IntEnum):
    """What 29 February means in common years."""

    FEBRUARY_28 = 1
    MARCH_1 = 2
    LEAP_YEARS_ONLY = 3


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. text: of TEXT and DATE; units × 10^-exponent: of numbers; units: of FLAG, TIME."""

    kind: int
    text: str = ""
    units: int = 0
    exponent: int = 0

    @property
    def missing(self) -> bool:
        return self.kind == TEXT and not self.text

    def number(self) -> Fraction | None:
        """The exact number this is or, as numeric text, means."""
        if self.kind in (WHOLE, DECIMAL):
            return Fraction(self.units, 10**self.exponent)
        if self.kind == TEXT:
            return number_of_text(self.text)
        return None

    def plain(self) -> str:
        """As shown to people."""
        if self.kind in (TEXT, DATE):
            return self.text
        if self.kind == FLAG:
            return "true" if self.units else "false"
        if self.kind == TIME:
            return times.datetime_of(self.units).isoformat().replace("+00:00", "Z")
        return decimal_text(Fraction(self.units, 10**self.exponent))


@dataclass(frozen=True, slots=True)
class Test:
    """An operator with what it compares with.

    zone: of dates and of times without an offset, empty where it cannot matter (else UTC).
    duration_us: IN_LAST, IN_NEXT, OLDER_THAN. offset_days, span_days, leap_day: ANNIVERSARY.
    """

    op: Op
    values: tuple[Scalar, ...] = ()
    zone: str = ""
    offset_days: int = 0
    span_days: int = 1
    leap_day: LeapDay = LeapDay.FEBRUARY_28
    duration_us: int = 0

    @property
    def moves(self) -> bool:
        """Whether the answer depends on the instant asked about: `satisfies` needs `at_us`, and
        `stays` says when the answer changes. ANNIVERSARY, judged by days, is none of these."""
        return self.op in MOVING

    @property
    def positive(self) -> Test:
        """The test this one negates, or itself."""
        op = POSITIVE_OF.get(self.op)
        return self if op is None else Test(op, self.values, self.zone)


def normal_text(text: str) -> str:
    """Text as compared: Unicode NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Text as compared without case: full case folding, NFC before and after."""
    return normal_text(normal_text(text).casefold())


def number_of_text(text: str) -> Fraction | None:
    """The exact number of numeric text such as 10, -3.50 or 1e3; None for any other text."""
    if len(text) > DIGITS_MAX or not _NUMERIC.fullmatch(text):
        return None
    return Fraction(text)


def decimal_text(number: Fraction) -> str:
    """Exact decimal text where there is one, else twelve decimals and an ellipsis."""
    units, exponent = number.numerator, 0
    divisor = number.denominator
    while divisor % 10 == 0:
        divisor //= 10
        exponent += 1
    twos = fives = 0
    while divisor % 2 == 0:
        divisor //= 2
        twos += 1
    while divisor % 5 == 0:
        divisor //= 5
        fives += 1
    if divisor != 1:
        return f"{float(number):.12g}…"
    more = max(twos, fives)
    units *= 2 ** (more - twos) * 5 ** (more - fives)
    exponent += more
    digits = str(abs(units)).rjust(exponent + 1, "0")
    sign = "-" if units < 0 else ""
    return sign + (f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits)


def instant_of(value: Scalar, zone: ZoneInfo) -> int | None:
    """The instant a value means under a time operator."""
    if value.kind == TIME:
        return value.units
    if value.kind in (TEXT, DATE):
        return times.instant_of_text(value.text, zone)
    return None


def stay(test: Test, value: Scalar) -> tuple[int, int | None] | None:
    """The instants [from, until) at which one element satisfies a moving test; None: never;
    until None: for ever.

    IN_LAST D: the value lies in (T - D, T]; IN_NEXT D: in (T, T + D]; OLDER_THAN D: at T - D or
    before. A date, and text that names one, begins at midnight of the test's zone.
    """
    moment = instant_of(value, times.zone_of(test.zone))
    if moment is None:
        return None
    match test.op:
        case Op.IN_LAST:
            return moment, moment + test.duration_us
        case Op.IN_NEXT:
            return moment - test.duration_us, moment
        case Op.OLDER_THAN:
            return moment + test.duration_us, None
    raise ValueError(f"{test.op!r} does not move")


def stays(test: Test, values: Sequence[Scalar]) -> list[tuple[int, int | None]]:
    """`stay` of every element that has one: a moving test holds at T iff one of them covers T."""
    found = [stay(test, value) for value in values]
    return [span for span in found if span is not None]


def satisfies(test: Test, values: Sequence[Scalar], at_us: int | None = None) -> bool:
    """Whether a value, given as its elements (none: missing), satisfies a test.

    A positive operator needs one element, a negative one needs none; ALL needs every listed value.
    at_us: the instant asked about, for tests that move. ANNIVERSARY is not answered here: its days
    are the engine's (`engine.anniversaries`).
    """
    if test.moves:
        if at_us is None:
            raise ValueError(f"{test.op!r} is asked at an instant")
        return any(
            start <= at_us and (end is None or at_us < end) for start, end in stays(test, values)
        )
    if test.op in POSITIVE_OF:
        return not satisfies(test.positive, values)
    present = [value for value in values if not value.missing]
    if test.op is Op.ALL:
        return all(
            any(satisfies_one(Test(Op.EQ, (wanted,), test.zone), value) for value in present)
            for wanted in test.values
        )
    return any(satisfies_one(test, value) for value in present)


def satisfies_one(test: Test, value: Scalar) -> bool:
    """Whether one present element satisfies a positive test."""
    op = test.op
    if value.missing:
        return False
    if op is Op.EXISTS:
        return True
    if op is Op.EQ:
        return _equal(value, test.values[0], test.zone)
    if op is Op.IN:
        return any(_equal(value, wanted, test.zone) for wanted in test.values)
    if op is Op.EQ_CI:
        wanted = test.values[0]
        if value.kind == TEXT and wanted.kind == TEXT:
            return folded(value.text) == folded(wanted.text)
        return _equal(value, wanted, test.zone)
    if op in ORDERS:
        return _ordered(test, value)
    if op in (Op.BEFORE, Op.AFTER):
        zone = times.zone_of(test.zone)
        ours, theirs = instant_of(value, zone), instant_of(test.values[0], zone)
        if ours is None or theirs is None:
            return False
        return ours < theirs if op is Op.BEFORE else ours > theirs
    return _text_test(test, value)


def _text_test(test: Test, value: Scalar) -> bool:
    if value.kind != TEXT or test.values[0].kind != TEXT:
        return False
    ours, theirs = normal_text(value.text), normal_text(test.values[0].text)
    match test.op:
        case Op.CONTAINS:
            return theirs in ours
        case Op.STARTS_WITH:
            return ours.startswith(theirs)
        case Op.ENDS_WITH:
            return ours.endswith(theirs)
    raise ValueError(f"{test.op!r} needs more than the value: MATCHES a pattern, others an instant")


def _comparable(ours: Scalar, theirs: Scalar, zone: str) -> tuple[Any, Any] | None:
    """Both sides in one ordered type, or None when their types are never equal and never
    ordered."""
    if ours.kind == FLAG or theirs.kind == FLAG:
        return (ours.units, theirs.units) if ours.kind == theirs.kind else None
    if theirs.kind in (TIME, DATE):
        if ours.kind == TEXT and theirs.kind == DATE:
            return ours.text, theirs.text
        if ours.kind != TIME:
            return None
        return ours.units, instant_of(theirs, times.zone_of(zone))
    if ours.kind == TIME:
        return None
    if ours.kind == TEXT and theirs.kind == TEXT:
        return normal_text(ours.text), normal_text(theirs.text)
    one, other = ours.number(), theirs.number()
    return None if one is None or other is None else (one, other)


def _equal(ours: Scalar, theirs: Scalar, zone: str) -> bool:
    pair = None if theirs.missing else _comparable(ours, theirs, zone)
    return pair is not None and pair[0] == pair[1]


def _ordered(test: Test, value: Scalar) -> bool:
    """The order operators; flags are equal or not, never ordered."""
    if value.kind == FLAG:
        return False
    pairs = [_comparable(value, bound, test.zone) for bound in test.values]
    if any(pair is None for pair in pairs):
        return False
    ours, bound = pairs[0]  # type: ignore[misc]
    match test.op:
        case Op.GT:
            return bool(ours > bound)
        case Op.GTE:
            return bool(ours >= bound)
        case Op.LT:
            return bool(ours < bound)
        case Op.LTE:
            return bool(ours <= bound)
    again, upper = pairs[1]  # type: ignore[misc]
    return bool(ours >= bound) and bool(again <= upper)

"""Tests as kernels see them: intervals of exact numbers and instants, text numbers, answers kept.

A number is (whole part, 10^-18 parts), so every decimal of the wire compares exactly and a bound is
a pair of int64. What needs the text itself (contains, patterns, dates …) is asked of Python once
per (test, text) and kept in a table; a kernel that meets a text it has no answer for says so.
Hot kernel.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import times
from services.segments.domain.values import (
    DATE,
    DECIMAL,
    FLAG,
    ORDERS,
    TEXT,
    TIME,
    WHOLE,
    Op,
    Scalar,
    Test,
    instant_of,
    satisfies_one,
)
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.tables import Table, find
from services.segments.engine.language.patterns import element_satisfies
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC, Texts, put_memo

GRID = 10**18
INT_MAX = (1 << 63) - 1
INT_MIN = -(1 << 63)
NEVER_TEXT, BY_NUMBER, BY_ORDER, PRESENT, ASK = 0, 1, 2, 3, 4
"""How a test treats texts: not at all; equality; numeric order; any text; ask Python."""
UNKNOWN_MAX = 4096


class Predicates(NamedTuple):
    """All tests in force; *_ptr are running starts by test."""

    number_ptr: Array
    numbers: Array
    text_number_ptr: Array
    text_numbers: Array
    time_ptr: Array
    times: Array
    flags: Array
    text_mode: Array
    text_ptr: Array
    texts: Array
    memo_keys: Array
    memo_values: Array
    units: Array
    exponents: Array
    canonical: Array
    unknown: Array
    unknown_count: Array
    powers: Array


@njit(cache=True, nogil=True)
def _in_numbers(bounds: Array, start: int, end: int, units: int, exponent: int, ten: Array) -> bool:
    power = ten[exponent]
    whole = units // power
    part = (units - whole * power) * ten[18 - exponent]
    for i in range(start, end):
        low, low_part = bounds[i, 0], bounds[i, 1]
        high, high_part = bounds[i, 2], bounds[i, 3]
        if (whole > low or (whole == low and part >= low_part)) and (
            whole < high or (whole == high and part <= high_part)
        ):
            return True
    return False


@njit(cache=True, nogil=True)
def _ask(p: Predicates, test: int, text: int) -> bool:
    key = np.uint64(test) << np.uint64(40) | np.uint64(text)
    answer = find(p.memo_keys, p.memo_values, key)
    if answer >= 0:
        return answer == 1
    if p.unknown_count[0] < p.unknown.size:
        p.unknown[p.unknown_count[0]] = key
    p.unknown_count[0] += 1
    return False


@njit(cache=True, nogil=True, inline="always")
def accepts(p: Predicates, test: int, kind: int, exponent: int, value: int) -> bool:
    """Whether one element of a property or attribute satisfies a positive test.

    A text without an answer counts as refused and is noted in `unknown`: the caller asks and
    repeats what it did.
    """
    if kind == 1:
        text = value
        if text == 0:
            return False
        mode = p.text_mode[test]
        if mode == NEVER_TEXT:
            return False
        if mode == PRESENT:
            return True
        if mode == ASK:
            return _ask(p, test, text)
        same = p.canonical[text]
        for i in range(p.text_ptr[test], p.text_ptr[test + 1]):
            if p.texts[i] == same:
                return True
        start, end = p.text_number_ptr[test], p.text_number_ptr[test + 1]
        if start == end:
            return False
        digits = p.exponents[text]
        if digits == NOT_NUMERIC:
            return False
        if digits == BIG_NUMERIC:
            return _ask(p, test, text)
        return _in_numbers(p.text_numbers, start, end, p.units[text], digits, p.powers)
    if kind == 2 or kind == 3:
        if exponent > 18:
            return False
        return _in_numbers(
            p.numbers, p.number_ptr[test], p.number_ptr[test + 1], value, exponent, p.powers
        )
    if kind == 4:
        return (p.flags[test] >> np.uint8(1 if value else 0)) & np.uint8(1) == 1
    if kind == 5:
        for i in range(p.time_ptr[test], p.time_ptr[test + 1]):
            if p.times[i, 0] <= value <= p.times[i, 1]:
                return True
    return False


def _pair(grid: int) -> tuple[int, int] | None:
    whole, part = divmod(grid, GRID)
    return (whole, part) if INT_MIN <= whole <= INT_MAX else None


def _interval(low: int | None, high: int | None) -> list[tuple[int, int, int, int]]:
    """Grid bounds, both in, None open, as whole and part; empty when nothing lies between."""
    if low is not None and high is not None and low > high:
        return []
    lower, upper = (INT_MIN, 0), (INT_MAX, GRID - 1)
    if low is not None:
        if low > INT_MAX * GRID + GRID - 1:
            return []
        lower = _pair(low) or lower
    if high is not None:
        if high < INT_MIN * GRID:
            return []
        upper = _pair(high) or upper
    return [(*lower, *upper)]


def number_intervals(op: Op, bounds: list[Fraction]) -> list[tuple[int, int, int, int]]:
    """The numbers that satisfy an operator, as intervals of the grid."""
    scaled = [bound * GRID for bound in bounds]
    match op:
        case Op.EQ | Op.IN | Op.EQ_CI:
            return [
                found
                for bound in scaled
                if bound.denominator == 1
                for found in _interval(bound.numerator, bound.numerator)
            ]
        case Op.GT:
            return _interval(math.floor(scaled[0]) + 1, None)
        case Op.GTE:
            return _interval(math.ceil(scaled[0]), None)
        case Op.LT:
            return _interval(None, math.ceil(scaled[0]) - 1)
        case Op.LTE:
            return _interval(None, math.floor(scaled[0]))
        case Op.BETWEEN:
            return _interval(math.ceil(scaled[0]), math.floor(scaled[1]))
    return []


def _time_intervals(test: Test) -> list[tuple[int, int]]:
    zone = times.zone_of(test.zone)
    if test.op is Op.EXISTS:
        return [(INT_MIN, INT_MAX)]
    if test.op in (Op.BEFORE, Op.AFTER):
        bound = instant_of(test.values[0], zone)
        if bound is None:
            return []
        return [(INT_MIN, bound - 1)] if test.op is Op.BEFORE else [(bound + 1, INT_MAX)]
    bounds = [instant_of(v, zone) for v in test.values if v.kind in (TIME, DATE)]
    if test.op in (Op.EQ, Op.IN, Op.EQ_CI):
        return [(bound, bound) for bound in bounds if bound is not None]
    if test.op not in ORDERS or len(bounds) != len(test.values) or None in bounds:
        return []
    first = bounds[0]
    assert first is not None
    match test.op:
        case Op.GT:
            return [(first + 1, INT_MAX)]
        case Op.GTE:
            return [(first, INT_MAX)]
        case Op.LT:
            return [(INT_MIN, first - 1)]
        case Op.LTE:
            return [(INT_MIN, first)]
    second = bounds[1]
    assert second is not None
    return [(first, second)] if first <= second else []


class Compiled(NamedTuple):
    """One positive test, taken apart by kind of value."""

    numbers: list[tuple[int, int, int, int]]
    text_numbers: list[tuple[int, int, int, int]]
    times: list[tuple[int, int]]
    flags: int
    text_mode: int
    texts: list[int]


def compile_test(test: Test, texts: Texts) -> Compiled:
    """The test taken apart. It is positive and not ALL or ANNIVERSARY."""
    op = test.op
    if op is Op.EXISTS:
        every = [(INT_MIN, 0, INT_MAX, GRID - 1)]
        return Compiled(every, every, _time_intervals(test), 3, PRESENT, [])
    equality = op in (Op.EQ, Op.IN, Op.EQ_CI)
    wanted = [value for value in test.values if not value.missing]
    numbers = [n for value in wanted if (n := value.number()) is not None]
    plain = [n for value in wanted if value.kind != TEXT and (n := value.number()) is not None]
    if not equality and (op not in ORDERS or len(numbers) != len(test.values)):
        numbers = []
    text_numbers = number_intervals(op, plain) if equality else []
    mode, ids = ASK, []
    if op is Op.EQ_CI:
        mode = ASK
    elif equality:
        mode = BY_NUMBER
        # A new text may move the columns of texts: all are known before one is looked up.
        numbered = [texts.number_of(value.text) for value in wanted if value.kind in (TEXT, DATE)]
        ids = [int(texts.canonical[number]) for number in numbered]
    elif op in ORDERS and numbers and len(plain) == len(test.values):
        mode, text_numbers = BY_ORDER, number_intervals(op, plain)
    flags = 0
    if equality:
        for state in (0, 1):
            flags |= int(satisfies_one(test, Scalar(FLAG, units=state))) << state
    intervals = number_intervals(op, numbers) if numbers else []
    return Compiled(intervals, text_numbers, _time_intervals(test), flags, mode, ids)


class TestTable:
    """Every positive test in use, numbered; the answers about texts."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.tests: list[Test] = []
        self.numbers: dict[Test, int] = {}
        self.compiled: list[Compiled] = []
        self.memo = Table()
        self.unknown = np.zeros(UNKNOWN_MAX, np.uint64)
        self.unknown_count = np.zeros(1, np.int64)
        self._fixed: dict[str, Array] | None = None

    def number_of(self, test: Test) -> int:
        """The number of a positive test, compiling it when new."""
        number = self.numbers.get(test)
        if number is None:
            number = self.numbers[test] = len(self.tests)
            self.tests.append(test)
            self.compiled.append(compile_test(test, self.texts))
            self._fixed = None
        return number

    def view(self) -> Predicates:
        """The tests for kernels; valid until a text or test is added."""
        if self._fixed is None:
            self._fixed = self._build()
        return Predicates(
            **self._fixed,
            memo_keys=self.memo.keys,
            memo_values=self.memo.values,
            units=self.texts.units,
            exponents=self.texts.exponents,
            canonical=self.texts.canonical,
            unknown=self.unknown,
            unknown_count=self.unknown_count,
            powers=_POWERS,
        )

    def _build(self) -> dict[str, Array]:
        def starts(lists: list[list[object]]) -> Array:
            return np.cumsum([0, *map(len, lists)]).astype(np.int64)

        def flat(lists: list[list[object]], width: int) -> Array:
            every = [item for items in lists for item in items]
            shape = (len(every), width) if width > 1 else (len(every),)
            return np.array(every, np.int64).reshape(shape)

        fixed: dict[str, Array] = {}
        for name, pointer, width in (
            ("numbers", "number_ptr", 4), ("text_numbers", "text_number_ptr", 4),
            ("times", "time_ptr", 2), ("texts", "text_ptr", 1),
        ):  # fmt: skip
            lists = [list(getattr(one, name)) for one in self.compiled]
            fixed[name], fixed[pointer] = flat(lists, width), starts(lists)
        fixed["flags"] = np.array([one.flags for one in self.compiled], np.uint8)
        fixed["text_mode"] = np.array([one.text_mode for one in self.compiled], np.uint8)
        return fixed

    def answered(self) -> bool:
        """Answers what kernels could not; False when they must be asked again."""
        count = int(self.unknown_count[0])
        if not count:
            return True
        self.unknown_count[0] = 0
        pairs = np.unique(self.unknown[: min(count, UNKNOWN_MAX)])
        answers = np.empty(pairs.size, np.int64)
        for i, pair in enumerate(pairs.tolist()):
            text = self.texts.text_of(pair & ((1 << 40) - 1))
            answers[i] = element_satisfies(self.tests[pair >> 40], Scalar(TEXT, text))
        self.memo.reserve(pairs.size)
        self.memo.used += int(put_memo(self.memo.keys, self.memo.values, pairs, answers))
        return False


_POWERS = np.array([10**i for i in range(19)], np.int64)
NUMBERS = (WHOLE, DECIMAL)

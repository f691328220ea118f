"""Property filters as small programs over the properties of one row. Hot kernel.

A program is a run of (operation, argument) pairs over a stack of bits held in one word:
TEST pushes whether any element of a property satisfies a test, AT_LEAST replaces the top k bits by
whether n of them are set, NOT turns the top bit round, ITEM pushes whether a program holds for one
element of a list.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain.values import POSITIVE_OF, Op, Test
from services.segments.engine.base.arrays import Array, Number
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.predicates import Predicates, TestTable, accepts
from services.segments.engine.store.texts import Names

TEST, AT_LEAST, NOT, ITEM = 0, 1, 2, 3
ANY_ITEM = np.int64(-1)


class Filters(NamedTuple):
    """Programs by number: operations in [ptr[f], ptr[f + 1]); first, second: their arguments.

    under: list (second argument of ITEM) x name, whether the name is of the list's elements.
    """

    ptr: Array
    operation: Array
    first: Array
    second: Array
    under: Array


@njit(cache=True, nogil=True, inline="always")
def any_accepted(
    e: EventRows, p: Predicates, start: int, end: int, key: int, test: int, item: int
) -> Number:
    for q in range(start, end):
        if (
            e.key[q] == key
            and (item < 0 or np.int64(e.item[q]) == item)
            and accepts(p, test, e.kind[q], e.exponent[q], e.value[q])
        ):
            return 1
    return 0


@njit(cache=True, nogil=True)
def _top(stack: int, n: int, k: int) -> Number:
    """The stack with its top k bits replaced by whether at least n of them are set."""
    mask = (np.uint64(1) << np.uint64(k)) - np.uint64(1)
    bits = stack & mask
    count = 0
    while bits:
        bits &= bits - np.uint64(1)
        count += 1
    return (stack >> np.uint64(k)) << np.uint64(1) | np.uint64(1 if count >= n else 0)


@njit(cache=True, nogil=True)
def _inner(
    e: EventRows, p: Predicates, f: Filters, number: int, start: int, end: int, item: int
) -> Number:
    stack = np.uint64(0)
    for i in range(f.ptr[number], f.ptr[number + 1]):
        operation = f.operation[i]
        if operation == TEST:
            bit = any_accepted(e, p, start, end, f.first[i], f.second[i], item)
            stack = stack << np.uint64(1) | np.uint64(bit)
        elif operation == AT_LEAST:
            stack = _top(stack, f.first[i], f.second[i])
        else:
            stack ^= np.uint64(1)
    return np.int64(stack & np.uint64(1))


@njit(cache=True, nogil=True)
def matches(e: EventRows, p: Predicates, f: Filters, number: int, row: int) -> bool:
    """Whether the properties of a row satisfy a filter."""
    start = e.prop_end[row - 1] if row > 0 else np.int64(0)
    end = e.prop_end[row]
    stack = np.uint64(0)
    for i in range(f.ptr[number], f.ptr[number + 1]):
        operation = f.operation[i]
        if operation == TEST:
            bit = any_accepted(e, p, start, end, f.first[i], f.second[i], ANY_ITEM)
            stack = stack << np.uint64(1) | np.uint64(bit)
        elif operation == AT_LEAST:
            stack = _top(stack, f.first[i], f.second[i])
        elif operation == NOT:
            stack ^= np.uint64(1)
        else:
            found = 0
            for q in range(start, end):
                if not f.under[f.second[i], e.key[q]]:
                    continue
                item = np.int64(e.item[q])
                seen = False
                for before in range(start, q):
                    if np.int64(e.item[before]) == item and f.under[f.second[i], e.key[before]]:
                        seen = True
                        break
                if not seen and _inner(e, p, f, f.first[i], start, end, item):
                    found = 1
                    break
            stack = stack << np.uint64(1) | np.uint64(found)
    return stack & np.uint64(1) == np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def meets(e: EventRows, p: Predicates, f: Filters, number: int, row: int) -> bool:
    """`matches`, with the filter of a single test, the usual one, judged in place.

    A call hands over every array of three tables field by field: 0.6 µs.
    """
    at = f.ptr[number]
    if f.ptr[number + 1] - at == 1 and f.operation[at] == TEST:
        start = e.prop_end[row - 1] if row > 0 else np.int64(0)
        return any_accepted(e, p, start, e.prop_end[row], f.first[at], f.second[at], ANY_ITEM) == 1
    return matches(e, p, f, number, row)


class FilterTable:
    """Filters in use, numbered; identical ones are one."""

    def __init__(self, tests: TestTable, names: Names) -> None:
        self.tests, self.names = tests, names
        self.numbers: dict[rule.Filter, int] = {}
        self.programs: list[list[tuple[int, int, int]]] = []
        self.lists: dict[str, int] = {}
        """Path of a list -> its place in `under`."""
        self._view: Filters | None = None

    def number_of(self, given: rule.Filter) -> int:
        """The number of a filter, compiling it when new."""
        number = self.numbers.get(given)
        if number is None:
            program: list[tuple[int, int, int]] = []
            self._compile(given, program)
            number = self.numbers[given] = len(self.programs)
            self.programs.append(program)
            self._view = None
        return number

    def over_cells(self, number: int) -> list[tuple[int, int, int]] | None:
        """The program of a filter that looks at whole rows; None when it looks at elements."""
        program = self.programs[number]
        return None if any(step[0] == ITEM for step in program) else program

    def view(self) -> Filters:
        if self._view is None or self._view.under.shape[1] != len(self.names.names):
            flat = [step for program in self.programs for step in program]
            columns = np.array(flat, np.int64).reshape(len(flat), 3)
            self._view = Filters(
                np.cumsum([0, *map(len, self.programs)]).astype(np.int64),
                columns[:, 0].astype(np.uint8),
                np.ascontiguousarray(columns[:, 1]),
                np.ascontiguousarray(columns[:, 2]),
                self._under(),
            )
        return self._view

    def _under(self) -> Array:
        under = np.zeros((max(len(self.lists), 1), len(self.names.names)), np.uint8)
        for path, place in self.lists.items():
            for number, name in enumerate(self.names.names):
                under[place, number] = name == path or name.startswith(f"{path}.")
        return under

    def _compile(self, given: rule.Filter, program: list[tuple[int, int, int]]) -> None:
        match given:
            case rule.Property():
                self._test(given.key, given.test, program)
                return
            case rule.AnyItem():
                place = self.lists.setdefault(given.path, len(self.lists))
                program.append((ITEM, self.number_of(given.where), place))
                return
        # Combined one by one, so that the stack is as deep as the filter, not as wide.
        wanted = 2 if isinstance(given, rule.FilterAll) else 1
        for index, child in enumerate(given.of):
            self._compile(child, program)
            if index:
                program.append((AT_LEAST, wanted, 2))
        if isinstance(given, rule.FilterNone):
            program.append((NOT, 0, 0))

    def _test(self, key: str, test: Test, program: list[tuple[int, int, int]]) -> None:
        number = self.names.number_of(key)
        if test.op in POSITIVE_OF:
            self._test(key, test.positive, program)
            program.append((NOT, 0, 0))
        elif test.op is Op.ALL:
            for index, value in enumerate(test.values):
                self._test(key, Test(Op.EQ, (value,), test.zone), program)
                if index:
                    program.append((AT_LEAST, 2, 2))
        else:
            program.append((TEST, number, self.tests.number_of(test)))

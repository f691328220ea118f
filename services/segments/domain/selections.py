"""Which events a leaf looks at, how they are summed up, and what the figure must be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction

from services.segments.domain.values import Op, Scalar, Test, satisfies


@dataclass(frozen=True, slots=True)
class FilterAll:
    """Every one of these filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class FilterAny:
    """At least one of these filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class FilterNone:
    """None of these filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Property:
    """One property of the event against a test."""

    key: str
    test: Test


@dataclass(frozen=True, slots=True)
class AnyItem:
    """One element of a list satisfies `where`, whose keys stand in full (lines.quantity)."""

    path: str
    where: Filter


Filter = FilterAll | FilterAny | FilterNone | Property | AnyItem


@dataclass(frozen=True, slots=True)
class Selector:
    """Events of any of `types`, or whose type begins with `prefix`; neither is every event."""

    types: tuple[str, ...] = ()
    prefix: str = ""
    where: Filter | None = None


class Kind(IntEnum):
    """Aggregates, numbered as in muster.types.v1.AggregateKind."""

    COUNT = 1
    SUM = 2
    AVG = 3
    MIN = 4
    MAX = 5
    DISTINCT = 6
    DISTINCT_DAYS = 7
    FIRST = 8
    LAST = 9
    MOST_FREQUENT = 10
    RATIO = 11


@dataclass(frozen=True, slots=True)
class Aggregate:
    """How events are summed up into one figure."""

    kind: Kind = Kind.COUNT
    property: str = ""
    currency: str = ""
    zone: str = ""
    """Of DISTINCT_DAYS."""
    denominator: Selector | None = None
    """Of RATIO: the aggregate's count or sum (`property`) over the leaf's selection, divided by
    the same over this selection in the same window; no value when that is nothing. Of
    MOST_FREQUENT: the value whose count in the leaf's selection, divided by its count in this
    selection, is highest; ties: the one that came last in the leaf's selection."""
    once: str = ""
    """Of counts over a denominator: events with one value of this property count once."""
    denominator_min: int = 1
    """Of a denominator: below this count, of the selection or of the value, there is no value."""
    denominator_property: str = ""
    """Of RATIO with a property: what is summed over the denominator; empty is the same one."""

    def below(self) -> Aggregate:
        """What the denominator's selection is summed up by."""
        return replace(self, property=self.denominator_property or self.property)


@dataclass(frozen=True, slots=True)
class Comparison:
    """eq, ne, gt, gte, lt, lte with `low`; between low and high, both ends in.

    test: what a first or last value, which may be of any type, is held against instead.
    """

    op: Op
    low: Fraction
    high: Fraction = Fraction(0)
    test: Test | None = None

    def holds(self, figure: Fraction | Scalar | None) -> bool:
        """No value: every comparison is false."""
        if figure is None:
            return False
        if isinstance(figure, Scalar):
            return self.test is not None and satisfies(self.test, [figure])
        number = figure
        match self.op:
            case Op.EQ:
                return number == self.low
            case Op.NE:
                return number != self.low
            case Op.GT:
                return number > self.low
            case Op.GTE:
                return number >= self.low
            case Op.LT:
                return number < self.low
            case Op.LTE:
                return number <= self.low
        return self.low <= number <= self.high

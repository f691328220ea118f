"""One spelling for what means the same, so that rules share leaves and equal rules are seen.

`test`, `where`, `selector` are applied to every leaf as it is read. `node` also puts groups in one
shape and order; it is for comparing rules: explanations keep the groups as they were written.
"""

from __future__ import annotations

from dataclasses import replace

from services.segments.domain import conditions as rule
from services.segments.domain.values import (
    DATE,
    DECIMAL,
    MOVING,
    WHOLE,
    Op,
    Scalar,
    Test,
)

_SETS = {Op.IN, Op.NOT_IN, Op.ALL}
_OF_ONE = {Op.IN: Op.EQ, Op.NOT_IN: Op.NE, Op.ALL: Op.EQ}
_BY_ZONE = MOVING | {Op.BEFORE, Op.AFTER, Op.ANNIVERSARY}


def value(given: Scalar) -> Scalar:
    """Decimals without zeros at the end; one without a fraction is a whole number."""
    if given.kind != DECIMAL:
        return given
    units, exponent = given.units, given.exponent
    while exponent and units % 10 == 0:
        units, exponent = units // 10, exponent - 1
    return Scalar(DECIMAL if exponent else WHOLE, units=units, exponent=exponent)


def test(given: Test) -> Test:
    """Values each once and in order where order says nothing; a set of one is that one; the zone
    only where it matters."""
    op, values = given.op, tuple(map(value, given.values))
    if op in _SETS:
        values = tuple(sorted(set(values), key=_scalar_order))
        if len(values) == 1:
            op = _OF_ONE[op]
    if op is Op.BETWEEN and values[0] == values[1]:
        op, values = Op.EQ, values[:1]
    zoned = op in _BY_ZONE or any(one.kind == DATE for one in values)
    return replace(given, op=op, values=values, zone=given.zone if zoned else "")


def _scalar_order(given: Scalar) -> tuple[int, str, int, int]:
    return given.kind, given.text, given.units, given.exponent


def where(given: rule.Filter) -> rule.Filter:
    """Groups in groups of their kind are one, groups of one are that one, repetitions go, and what
    stands side by side is in order."""
    match given:
        case rule.Property(key, against):
            return rule.Property(key, test(against))
        case rule.AnyItem(path, inner):
            return rule.AnyItem(path, where(inner))
    found: set[rule.Filter] = set()
    opened = rule.FilterAll if isinstance(given, rule.FilterAll) else rule.FilterAny
    for child in map(where, given.of):
        found.update(child.of if isinstance(child, opened) else (child,))
    of = tuple(sorted(found, key=repr))
    if len(of) == 1 and not isinstance(given, rule.FilterNone):
        return of[0]
    return type(given)(of)


def selector(given: rule.Selector) -> rule.Selector:
    """Types each once, in order, and only those the prefix does not already take."""
    types = sorted(set(given.types))
    if given.prefix:
        types = [name for name in types if not name.startswith(given.prefix)]
    return rule.Selector(
        tuple(types), given.prefix, None if given.where is None else where(given.where)
    )


def node(given: rule.Node) -> rule.Node:
    """The rule in one shape: no double negation, no group in a group of its kind, no group of one,
    children in order. Two rules that differ only so are equal."""
    match given:
        case rule.Not(of):
            inner = node(of)
            if isinstance(inner, rule.Not):
                return inner.of
            if isinstance(inner, rule.Neither):
                return inner.of[0] if len(inner.of) == 1 else rule.Any(inner.of)
            return rule.Neither(inner.of) if isinstance(inner, rule.Any) else rule.Not(inner)
        case rule.All(of):
            return _side_by_side(of, rule.All)
        case rule.Any(of):
            return _side_by_side(of, rule.Any)
        case rule.Neither(of):
            return node(rule.Not(rule.Any(of)))
        case rule.AtLeast(n, of):
            children = tuple(sorted(map(node, of), key=repr))
            if n == 1:
                return _side_by_side(children, rule.Any)
            if n == len(children):
                return _side_by_side(children, rule.All)
            return rule.AtLeast(n, children)
    return given


def _side_by_side(of: tuple[rule.Node, ...], group: type[rule.All | rule.Any]) -> rule.Node:
    found: set[rule.Node] = set()
    for child in map(node, of):
        found.update(child.of if isinstance(child, group) else (child,))
    if len(found) == 1:
        return found.pop()
    return group(tuple(sorted(found, key=repr)))

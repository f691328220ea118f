"""Attribute and event leaves (count, sum, min, max) as DuckDB SQL; edges come in as instants.

One value of a property or attribute is one row of `row_values` or `assigned`: text (in NFC), the
exact number as DECIMAL(38, 6) for numbers and numeric texts, a flag or microseconds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import duckdb

from cli.simulation.naive.world import NaiveWorld
from muster.types.v1 import condition_pb2 as pb
from tests.support.facts import Assigned, Row
from tests.support.values import Instant, Value, number_of, value_of

_COLUMNS = "kind varchar, text varchar, number decimal(38, 6), flag boolean, us bigint"
_SCHEMA = f"""
create table stays (line integer, profile integer, since bigint, until bigint, behind integer,
    arrived integer);
create table lines (line integer, type varchar, occur bigint, effect bigint);
create table row_values (line integer, property varchar, item integer, {_COLUMNS});
create table assigned (line integer, key varchar, occur bigint, accept bigint, effect bigint);
create table assigned_values (line integer, item integer, {_COLUMNS});
"""
_ORDERS = {
    pb.OPERATOR_GT: ">",
    pb.OPERATOR_GTE: ">=",
    pb.OPERATOR_LT: "<",
    pb.OPERATOR_LTE: "<=",
    pb.OPERATOR_EQ: "=",
}
_NEGATIVES = {
    pb.OPERATOR_NE: pb.OPERATOR_EQ,
    pb.OPERATOR_NOT_IN: pb.OPERATOR_IN,
    pb.OPERATOR_NOT_CONTAINS: pb.OPERATOR_CONTAINS,
    pb.OPERATOR_NOT_EXISTS: pb.OPERATOR_EXISTS,
}
_TEXTS = {
    pb.OPERATOR_CONTAINS: "contains",
    pb.OPERATOR_STARTS_WITH: "starts_with",
    pb.OPERATOR_ENDS_WITH: "ends_with",
}
_SIDES = {pb.OPERATOR_BEFORE: "<", pb.OPERATOR_AFTER: ">"}
_FIGURES = {
    pb.AGGREGATE_KIND_SUM: "coalesce(sum(number), 0)",
    pb.AGGREGATE_KIND_MIN: "min(number)",
    pb.AGGREGATE_KIND_MAX: "max(number)",
}


class Unspoken(Exception):
    """The oracle has no SQL for this."""


class SqlOracle:
    """The rows of a world in DuckDB; answers which profiles satisfy a leaf at an instant."""

    def __init__(self, world: NaiveWorld) -> None:
        self.base = duckdb.connect(":memory:", config={"threads": 1})
        self.base.execute(_SCHEMA)
        stays, lines, values, assigned, assigned_values = [], [], [], [], []
        seen = {id(h): h for kept in (world.rows, world.assignments) for p in kept for h in kept[p]}
        for held in seen.values():
            fact, line = held.fact, held.order
            stays += [(line, *stay) for stay in held.stays]
            if isinstance(fact, Row):
                lines.append((line, fact.type, fact.occur_us, fact.effect_us))
                for name, items in fact.properties.items():
                    values += [(line, name, item, *_spread(v)) for item, v in items.items()]
            elif isinstance(fact, Assigned):
                assigned.append((line, fact.key, fact.occur_us, fact.accept_us, fact.effect_us))
                assigned_values += [
                    (line, item, *_spread(value)) for item, value in enumerate(fact.values or ())
                ]
        self._insert("stays", stays)
        self._insert("lines", lines)
        self._insert("row_values", values)
        self._insert("assigned", assigned)
        self._insert("assigned_values", assigned_values)

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            places = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in rows)
            self.base.execute(f"insert into {table} values {places}")

    def satisfying(self, leaf: pb.Condition, at_us: int, existing: Iterable[int]) -> list[int]:
        """Those of the existing profiles for which the leaf holds. Unspoken when SQL has none."""
        kind = leaf.WhichOneof("node")
        if kind == "attribute":
            found = self._with_attribute(leaf.attribute, at_us)
        elif kind == "event":
            found = self._with_events(leaf.event, at_us)
        else:
            raise Unspoken(str(kind))
        return [profile for profile in existing if profile in found]

    def _profiles(self, query: str) -> set[int]:
        return {int(profile) for (profile,) in self.base.execute(query).fetchall()}

    def _with_attribute(self, leaf: pb.AttributeLeaf, at_us: int) -> set[int]:
        positive, negated = _positive(leaf.test)
        every = {int(p) for (p,) in self.base.execute("select profile from stays").fetchall()}
        every |= set(range(64))
        where = _over_items(positive, "select * from assigned_values v where v.line = last.line")
        found = self._profiles(
            f"""with last as (
              select profile, arg_max(line, (occur, accept, arrived, line)) as line
              from stays join assigned using (line)
              where key = {_literal(leaf.attribute)} and behind = 0
                and since <= {at_us} and {at_us} < until and effect <= {at_us}
              group by profile)
            select profile from last where {where}"""
        )
        return every - found if negated else found

    def _with_events(self, leaf: pb.EventLeaf, at_us: int) -> set[int]:
        figure = "count(*)"
        if leaf.HasField("aggregate") and leaf.aggregate.kind != pb.AGGREGATE_KIND_COUNT:
            if leaf.aggregate.kind not in _FIGURES:
                raise Unspoken(pb.AggregateKind.Name(leaf.aggregate.kind))
            of = _literal(leaf.aggregate.property)
            inner = f"select number from row_values v join seen using (line) where property = {of}"
            figure = _FIGURES[leaf.aggregate.kind]
            figure = f"(select {figure} from ({inner} and seen.profile = known.profile))"
        else:
            figure = "(select count(*) from seen where seen.profile = known.profile)"
        bound = _comparison(leaf, figure)
        return self._profiles(
            f"""with seen as (
              select profile, line from stays join lines using (line)
              where since <= {at_us} and {at_us} < until and effect <= {at_us}
                and {_types(leaf.events)} and {_edges(leaf.window, at_us)}
                and {_filter(leaf.events.where)}),
            known as (select range as profile from range(64))
            select profile from known where {bound}"""
        )


def _spread(value: Value) -> tuple[Any, ...]:
    kind = type(value).__name__
    text = unicodedata.normalize("NFC", value) if isinstance(value, str) else None
    flag = value if isinstance(value, bool) else None
    us = value.us if isinstance(value, Instant) else None
    return kind, text, number_of(value), flag, us


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Fraction):
        scaled = value * 10**6
        assert scaled.denominator == 1, "numbers of the oracle have at most six decimals"
        sign, digits = "-" if scaled < 0 else "", f"{abs(scaled.numerator):07d}"
        return f"{sign}{digits[:-6]}.{digits[-6:]}::decimal(38, 6)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _positive(test: pb.Test) -> tuple[pb.Test, bool]:
    if test.op not in _NEGATIVES:
        return test, False
    positive = pb.Test()
    positive.CopyFrom(test)
    positive.op = _NEGATIVES[test.op]
    return positive, True


def _over_items(test: pb.Test, items: str) -> str:
    """A clause over a query of items: one item, or for `all` one for each listed value."""
    present = "not (v.kind = 'str' and v.text = '')"
    if test.op == pb.OPERATOR_ALL:
        each = [f"exists ({items} and {present} and {_equals(value_of(v))})" for v in test.values]
        return " and ".join(each)
    return f"exists ({items} and {present} and {_item(test)})"


def _equals(value: Value, sign: str = "=") -> str:
    """A clause that compares item v with a value, false over different types."""
    _, text, number, flag, us = _spread(value)
    if text is not None:
        as_text = f"(v.kind = 'str' and v.text {sign} {_literal(text)})"
        if number is None:
            return as_text
        return f"({as_text} or (v.kind = 'Fraction' and v.number {sign} {_literal(number)}))"
    if number is not None:
        return f"coalesce(v.number {sign} {_literal(number)}, false)"
    if flag is not None:
        return f"coalesce(v.flag {sign} {_literal(flag)}, false)"
    return f"coalesce(v.us {sign} {_literal(us)}, false)"


def _item(test: pb.Test) -> str:
    values = [value_of(value) for value in test.values]
    if test.op == pb.OPERATOR_EXISTS:
        return "true"
    if test.op == pb.OPERATOR_IN:
        return "(" + " or ".join(_equals(value) for value in values) + ")"
    if test.op == pb.OPERATOR_BETWEEN:
        return f"({_equals(values[0], '>=')} and {_equals(values[1], '<=')})"
    if test.op in _ORDERS:
        return _equals(values[0], _ORDERS[test.op])
    if test.op in _TEXTS and isinstance(values[0], str):
        text = _literal(unicodedata.normalize("NFC", values[0]))
        return f"(v.kind = 'str' and {_TEXTS[test.op]}(v.text, {text}))"
    if test.op in _SIDES and isinstance(values[0], Instant):
        raise Unspoken("before and after also read texts")
    raise Unspoken(pb.Operator.Name(test.op))


def _filter(filter_: pb.PropertyFilter) -> str:
    kind = filter_.WhichOneof("node")
    if kind is None:
        return "true"
    if kind == "test":
        positive, negated = _positive(filter_.test.test)
        name = _literal(filter_.test.property)
        items = f"select * from row_values v where v.line = lines.line and v.property = {name}"
        clause = _over_items(positive, items)
        return f"not ({clause})" if negated else f"({clause})"
    if kind == "any_item":
        raise Unspoken("any_item")
    parts = [_filter(part) for part in getattr(filter_, kind).of]
    joined = {"all": " and ", "any": " or ", "none": " or "}[kind].join(parts)
    return f"not ({joined})" if kind == "none" else f"({joined})"


def _types(selector: pb.EventSelector) -> str:
    clauses = [f"type = {_literal(name)}" for name in selector.types]
    if selector.type_prefix:
        clauses.append(f"starts_with(type, {_literal(selector.type_prefix)})")
    return "(" + " or ".join(clauses) + ")"


def _edges(window: pb.Window, at_us: int) -> str:
    """The window as it stands at an instant: its edges are computed here, not in SQL."""
    kind = window.WhichOneof("kind")
    if kind is None or kind == "ever":
        return f"occur <= {at_us}"
    if kind == "last":
        return f"occur > {at_us - window.last.ToMicroseconds()} and occur <= {at_us}"
    if kind == "slice":
        begin = at_us - getattr(window.slice, "from").ToMicroseconds()
        return f"occur > {begin} and occur <= {at_us - window.slice.to.ToMicroseconds()}"
    clauses = ["true"]
    if window.absolute.HasField("from"):
        clauses.append(f"occur >= {getattr(window.absolute, 'from').ToMicroseconds()}")
    if window.absolute.HasField("to"):
        clauses.append(f"occur < {window.absolute.to.ToMicroseconds()}")
    return " and ".join(clauses)


def _comparison(leaf: pb.EventLeaf, figure: str) -> str:
    if not leaf.HasField("aggregate"):
        return f"{figure} >= 1"
    bounds = [_literal(value_of(value)) for value in leaf.comparison.values]
    op = leaf.comparison.op
    if op == pb.OPERATOR_BETWEEN:
        return f"{figure} between {bounds[0]} and {bounds[1]}"
    if op == pb.OPERATOR_NE:
        return f"{figure} <> {bounds[0]}"
    return f"{figure} {_ORDERS[op]} {bounds[0]}"

"""Attribute and event leaves as DuckDB SQL, the third answer; edges of windows come in as instants.

One value of a property or attribute is one row of `row_values` or `assigned_values`: text (in NFC),
the exact number as DECIMAL(38, 6) for numbers and numeric texts, a flag or microseconds.
"""

# ruff: noqa: S608 — the texts of a query are literals made here, in a database in memory.

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import duckdb

from cli.simulation.naive.facts import Assigned, Row
from cli.simulation.naive.values import Instant, Value, number_of, value_of
from cli.simulation.naive.world import NaiveWorld
from muster.types.v1 import condition_pb2 as pb

_COLUMNS = "kind varchar, text varchar, number decimal(38, 6), flag boolean, us bigint"
_SCHEMA = f"""
create table stays (line integer, profile integer, since bigint, until bigint, behind integer,
    arrived integer);
create table lines (line integer, type varchar, occur bigint, accept bigint, effect bigint);
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
_HOLDS: dict[int, Callable[..., bool]] = {
    pb.OPERATOR_EQ: operator.eq,
    pb.OPERATOR_NE: operator.ne,
    pb.OPERATOR_GT: operator.gt,
    pb.OPERATOR_GTE: operator.ge,
    pb.OPERATOR_LT: operator.lt,
    pb.OPERATOR_LTE: operator.le,
    pb.OPERATOR_BETWEEN: lambda figure, low, high: low <= figure <= high,
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
_SAME = """coalesce(v.number::varchar,
    v.kind || ':' || coalesce(v.text, v.flag::varchar, v.us::varchar))"""
_FIGURES = {
    pb.AGGREGATE_KIND_SUM: ("coalesce(sum(v.number), 0)", "1"),
    pb.AGGREGATE_KIND_MIN: ("min(v.number)", "1"),
    pb.AGGREGATE_KIND_MAX: ("max(v.number)", "1"),
    pb.AGGREGATE_KIND_AVG: ("sum(v.number)", "count(v.number)"),
    pb.AGGREGATE_KIND_DISTINCT: (f"count(distinct {_SAME})", "1"),
}
"""Two figures; the answer is the first divided by the second, exactly."""
_ENDS = {pb.AGGREGATE_KIND_FIRST: "", pb.AGGREGATE_KIND_LAST: "desc"}
_PROFILES = 64
_PRESENT = "not (v.kind = 'str' and v.text = '')"


class Unspoken(Exception):
    """The oracle has no SQL for this."""


class SqlOracle:
    """The rows of a world in DuckDB; answers which profiles satisfy a leaf at an instant."""

    def __init__(self, world: NaiveWorld) -> None:
        self.world = world
        self.base = duckdb.connect(":memory:", config={"threads": 1})
        self.base.execute(_SCHEMA)
        stays, lines, values, assigned, assigned_values = [], [], [], [], []
        seen = {id(h): h for kept in (world.rows, world.assignments) for p in kept for h in kept[p]}
        for held in seen.values():
            fact, line = held.fact, held.order
            stays += [(line, *stay) for stay in held.stays]
            if isinstance(fact, Row):
                lines.append((line, fact.type, fact.occur_us, fact.accept_us, fact.effect_us))
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

    def satisfying(
        self, leaf: pb.Condition, at_us: int, existing: Iterable[int], zone: str = ""
    ) -> list[int]:
        """Those of the existing profiles for which the leaf holds. zone: the rule's. Unspoken
        when SQL has none."""
        kind = leaf.WhichOneof("node")
        if kind == "attribute":
            found = self._with_attribute(leaf.attribute, at_us)
        elif kind == "event":
            found = self._with_events(leaf.event, at_us, zone)
        else:
            raise Unspoken(str(kind))
        return [profile for profile in existing if profile in found]

    def _profiles(self, query: str) -> set[int]:
        return {int(profile) for (profile,) in self.base.execute(query).fetchall()}

    def _with_attribute(self, leaf: pb.AttributeLeaf, at_us: int) -> set[int]:
        positive, negated = _positive(leaf.test)
        every = {int(p) for (p,) in self.base.execute("select profile from stays").fetchall()}
        every |= set(range(_PROFILES))
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

    def _with_events(self, leaf: pb.EventLeaf, at_us: int, zone: str) -> set[int]:
        kind, name = leaf.aggregate.kind, _literal(leaf.aggregate.property)
        if leaf.aggregate.currency:
            raise Unspoken("money of one currency")
        edges = [
            f"({profile}, {low}, {high})"
            for profile in range(_PROFILES)
            for low, high in [self.world.edges(leaf.window, profile, at_us, zone)]
        ]
        seen = f"""with edges as (
              select * from (values {", ".join(edges)}) as e(profile, low, high)),
            seen as (
              select profile, line, row_number() over
                (partition by profile order by occur, accept, arrived, line) as place
              from stays join lines using (line) join edges using (profile)
              where since <= {at_us} and {at_us} < until and effect <= {at_us}
                and low <= occur and occur <= high
                and {_types(leaf.events)} and {_filter(leaf.events.where)})"""
        if kind in _ENDS:
            return self._with_end(leaf, seen, name)
        upper, lower = "count(seen.line)", "1"
        values = "(select null as line) v"
        if kind not in (pb.AGGREGATE_KIND_UNSPECIFIED, pb.AGGREGATE_KIND_COUNT):
            if kind not in _FIGURES:
                raise Unspoken(pb.AggregateKind.Name(kind))
            upper, lower = _FIGURES[kind]
            values = f"(select * from row_values v where v.property = {name} and {_PRESENT}) v"
        rows = self.base.execute(
            f"""{seen} select edges.profile, {upper}, {lower} from edges
              left join seen using (profile) left join {values} on v.line = seen.line
              group by edges.profile"""
        ).fetchall()
        return {int(profile) for profile, *figure in rows if _compares(leaf, *figure)}

    def _with_end(self, leaf: pb.EventLeaf, seen: str, name: str) -> set[int]:
        """The first or last value that is there, against the comparison."""
        test, negated = _positive(pb.Test(op=leaf.comparison.op, values=leaf.comparison.values))
        order = _ENDS[leaf.aggregate.kind]
        ends = f"""{seen}, ends as (
              select profile, v.* from seen join row_values v using (line)
              where v.property = {name} and {_PRESENT}
              qualify row_number() over
                (partition by profile order by place {order}, v.item {order}) = 1)"""
        every = self._profiles(f"{ends} select profile from ends")
        found = self._profiles(f"{ends} select profile from ends v where {_item(test)}")
        return every - found if negated else found


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
    if test.op == pb.OPERATOR_ALL:
        each = [f"exists ({items} and {_PRESENT} and {_equals(value_of(v))})" for v in test.values]
        return " and ".join(each)
    return f"exists ({items} and {_PRESENT} and {_item(test)})"


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
    if not selector.types and not selector.type_prefix:
        return "true"
    clauses = [f"type = {_literal(name)}" for name in selector.types]
    if selector.type_prefix:
        clauses.append(f"starts_with(type, {_literal(selector.type_prefix)})")
    return "(" + " or ".join(clauses) + ")"


def _compares(leaf: pb.EventLeaf, upper: Any, lower: int) -> bool:
    if upper is None or not lower:
        return False
    figure = Fraction(upper) / lower
    if not leaf.comparison.op:
        return figure >= 1
    bounds = [number_of(value_of(value)) for value in leaf.comparison.values]
    return _HOLDS[leaf.comparison.op](figure, *bounds)

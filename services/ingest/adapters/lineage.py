"""Which live rules look at which events, read from the definitions of segments on CONTROL."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from muster.segments.v1.facts_pb2 import SegmentDefined
from muster.types.v1 import condition_pb2 as rule
from services.ingest.domain.registry import Use
from services.ingest.domain.schemas import Kind

_NUMERIC = {rule.AGGREGATE_KIND_SUM, rule.AGGREGATE_KIND_AVG}
_ORDERED = {rule.AGGREGATE_KIND_MIN, rule.AGGREGATE_KIND_MAX}
_VALUE_KINDS = {
    "whole": Kind.NUMBER,
    "decimal": Kind.NUMBER,
    "flag": Kind.FLAG,
    "time": Kind.TIME,
    "date": Kind.TIME,
}
_TEXTUAL = {
    rule.OPERATOR_EQ_CI,
    rule.OPERATOR_CONTAINS,
    rule.OPERATOR_STARTS_WITH,
    rule.OPERATOR_ENDS_WITH,
    rule.OPERATOR_MATCHES,
}
_TEMPORAL = {
    rule.OPERATOR_BEFORE,
    rule.OPERATOR_AFTER,
    rule.OPERATOR_IN_LAST,
    rule.OPERATOR_IN_NEXT,
    rule.OPERATOR_OLDER_THAN,
    rule.OPERATOR_ANNIVERSARY,
}


def uses_of(definition: SegmentDefined) -> list[Use]:
    """Every look of a segment's rule at events; none when it is retired."""
    if definition.retired:
        return []
    return list(_uses(definition.segment_id, definition.condition))


def _uses(segment_id: str, node: Message) -> Iterator[Use]:
    extra: list[tuple[str, Kind]] = []
    if isinstance(node, rule.EventLeaf) and node.HasField("aggregate"):
        aggregate = node.aggregate
        if aggregate.property:
            kind = Kind.NUMBER if aggregate.kind in _NUMERIC else Kind.ANY
            if aggregate.kind in _ORDERED:
                kind = _kind_of_values(node.comparison.values)
            extra.append((aggregate.property, kind))
        if aggregate.currency:
            extra.append(("currency", Kind.TEXT))
    elif isinstance(node, rule.RfmLeaf) and node.amount_property:
        extra.append((node.amount_property, Kind.NUMBER))
    elif isinstance(node, rule.CatalogueLeaf):
        extra.append((node.item_property, Kind.ANY))
    elif isinstance(node, (rule.SequenceLeaf, rule.NotFollowedLeaf)) and node.same:
        extra.append((node.same, Kind.ANY))
    for selector in _selectors(node):
        types = tuple(selector.types)
        yield Use(segment_id, types, selector.type_prefix)
        looks = [*extra, *_tests(selector.where, "")]
        if isinstance(node, rule.LastEventLeaf):
            looks += _tests(node.has, "")
        for property_key, kind in looks:
            yield Use(segment_id, types, selector.type_prefix, property_key, kind)
    for _, value in node.ListFields():
        for child in value if hasattr(value, "__len__") and not isinstance(value, str) else [value]:
            if isinstance(child, Message) and not isinstance(child, rule.EventSelector):
                yield from _uses(segment_id, child)


def _selectors(node: Message) -> Iterator[rule.EventSelector]:
    """The selectors that stand in this node itself."""
    for _, value in node.ListFields():
        if isinstance(value, rule.EventSelector):
            yield value
        elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            yield from (one for one in value if isinstance(one, rule.EventSelector))


def _tests(node: rule.PropertyFilter, prefix: str) -> Iterator[tuple[str, Kind]]:
    which = node.WhichOneof("node")
    if which == "test":
        yield prefix + node.test.property, _kind_of_test(node.test.test)
    elif which == "any_item":
        for inner in node.any_item.where:
            yield from _tests(inner, f"{prefix}{node.any_item.path}.")
    elif which is not None:
        for inner in getattr(node, which).of:
            yield from _tests(inner, prefix)


def _kind_of_test(test: rule.Test) -> Kind:
    if test.op in _TEXTUAL:
        return Kind.TEXT
    if test.op in _TEMPORAL:
        return Kind.TIME
    return _kind_of_values(test.values)


def _kind_of_values(values: object) -> Kind:
    """What a value must be to equal or exceed one of these; ANY when that is not certain."""
    kinds = {_VALUE_KINDS.get(value.WhichOneof("kind") or "", Kind.ANY) for value in values}  # type: ignore[attr-defined]
    return kinds.pop() if len(kinds) == 1 else Kind.ANY

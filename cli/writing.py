"""A protobuf Condition back as friendly YAML: reading what is written gives the same Condition.

`write_condition` makes the tree that `cli.conditions` reads; `document_of` its text. Recipes come
back as the conditions they expanded to.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal as Exact
from typing import Any

import yaml

from cli import writing_parts as parts
from muster.segments.v1.facts_pb2 import SegmentDefined, TriggerPolicy
from muster.types.v1 import common_pb2, event_pb2
from muster.types.v1 import condition_pb2 as pb

_SCORES = ("recency", "frequency", "money")


def write_condition(condition: pb.Condition) -> dict[str, Any]:
    """The friendly tree. Raises ValueError for a Condition that is no rule: an empty node, an
    operator or a unit that does not exist."""
    kind = condition.WhichOneof("node")
    if kind is None:
        raise ValueError("an empty condition cannot be written")
    try:
        return {kind: _NODES[kind](getattr(condition, kind))}
    except (KeyError, IndexError) as unknown:
        raise ValueError(f"{kind}: {unknown} is no part of the language") from unknown


def write_definition(definition: SegmentDefined) -> dict[str, Any]:
    """The document of a segment, as `cli.definitions` reads it: rule, name, tags, policy; who
    defined it, when and why are history. ValueError for a list: its members are no rule."""
    if definition.HasField("list"):
        raise ValueError(f"{definition.segment_id} is a list: it has members, not a rule")
    name = "" if definition.name == definition.segment_id else definition.name
    made = _said(segment=definition.segment_id, name=name, zone=definition.zone)
    made |= _said(tags=list(definition.tags) or None, shadow_of=definition.shadow_of)
    if policy := _policy(definition.triggers):
        made["triggers"] = policy
    return made | {"condition": write_condition(definition.condition)}


def _policy(policy: TriggerPolicy) -> dict[str, Any]:
    names = [common_pb2.Reason.Name(one).removeprefix("REASON_").lower() for one in policy.reasons]
    return _said(
        reasons=names or None,
        cool_down=parts.duration(policy.cool_down) if policy.HasField("cool_down") else None,
        reentry=policy.reentry if policy.HasField("reentry") else None,
        variant_set=policy.variant_set,
        migrates_from=policy.migrates_from,
    )


def document_of(tree: Any) -> str:
    """YAML text of a friendly tree; numbers exact, instants with Z."""
    return yaml.dump(
        tree,
        Dumper=_Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=96,
    )


class _Dumper(yaml.SafeDumper):
    """Writes exact decimals and instants as the loader reads them, and repeats, never refers."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _exact(dumper: yaml.SafeDumper, number: Exact) -> yaml.ScalarNode:
    written = format(number, "f")
    return dumper.represent_scalar(
        "tag:yaml.org,2002:float", written if "." in written else f"{written}.0"
    )


def _moment(dumper: yaml.SafeDumper, moment: dt.datetime) -> yaml.ScalarNode:
    written = moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return dumper.represent_scalar("tag:yaml.org,2002:timestamp", written)


_Dumper.add_representer(Exact, _exact)
_Dumper.add_representer(dt.datetime, _moment)


def _group(given: pb.Group) -> list[Any]:
    return [write_condition(one) for one in given.of]


def _at_least(given: pb.AtLeast) -> dict[str, Any]:
    return {"n": given.n, "of": [write_condition(one) for one in given.of]}


def _everyone(given: pb.Everyone) -> dict[str, Any]:
    return {"known_only": True} if given.known_only else {}


def _said(**fields: Any) -> dict[str, Any]:
    """What is said at all: neither nothing nor an empty text. A trailing _ is no part of a key."""
    return {key.rstrip("_"): given for key, given in fields.items() if given not in (None, "")}


def _attribute(given: pb.AttributeLeaf) -> dict[str, Any]:
    return {"name": given.attribute, **parts.operators(given.test)}


def _attribute_held(given: pb.AttributeHeldLeaf) -> dict[str, Any]:
    made = {"name": given.attribute, **parts.operators(given.test)}
    for name in ("at_least", "less_than"):
        if given.HasField(name):
            made[name] = parts.duration(getattr(given, name))
    return made


def _attribute_changed(given: pb.AttributeChangedLeaf) -> dict[str, Any]:
    made: dict[str, Any] = {"name": given.attribute}
    for name in ("from", "to"):
        if given.HasField(name):
            made[name] = parts.value(getattr(given, name))
    return made | _window(given)


def _split(given: pb.SplitLeaf) -> dict[str, Any]:
    return {"salt": given.salt, "from": given.from_permille, "to": given.to_permille}


def _channel(given: pb.ChannelLeaf) -> Any:
    if not given.platform:
        return given.channel
    return {"name": given.channel, "platform": given.platform}


def _selector(given: pb.EventSelector) -> dict[str, Any]:
    types: Any = list(given.types)
    made = _said(type=types[0] if len(types) == 1 else types or None, type_prefix=given.type_prefix)
    if not made:
        made["any_type"] = True
    if given.HasField("where"):
        made["where"] = parts.property_filter(given.where)
    return made


def _window(given: Any) -> dict[str, Any]:
    return {"window": parts.window(given.window)} if given.HasField("window") else {}


def _event(given: pb.EventLeaf) -> Any:
    made = _selector(given.events) | _window(given)
    if given.HasField("aggregate") or given.HasField("comparison"):
        name = pb.AggregateKind.Name(given.aggregate.kind or pb.AGGREGATE_KIND_COUNT)
        made[name.removeprefix("AGGREGATE_KIND_").lower()] = _aggregate(given)
    return made["type"] if list(made) == ["type"] and isinstance(made["type"], str) else made


def _aggregate(given: pb.EventLeaf) -> dict[str, Any]:
    aggregate = given.aggregate
    made = _said(of=aggregate.property, currency=aggregate.currency, zone=aggregate.zone)
    if aggregate.HasField("denominator"):
        made["over"] = _selector(aggregate.denominator)
        made |= _said(over_of=aggregate.denominator_property)
    made |= _said(once=aggregate.once, over_at_least=aggregate.denominator_min or None)
    if given.comparison == pb.Comparison():
        return made | {"gte": 1}
    return made | parts.comparison(given.comparison)


def _first_event(given: pb.FirstEventLeaf) -> dict[str, Any]:
    return _selector(given.events) | _window(given)


def _last_event(given: pb.LastEventLeaf) -> dict[str, Any]:
    return _selector(given.events) | {"has": parts.property_filter(given.has)}


def _sequence(given: pb.SequenceLeaf) -> dict[str, Any]:
    made: dict[str, Any] = {"steps": [_selector(step) for step in given.steps]}
    if given.HasField("within"):
        made["within"] = parts.duration(given.within)
    return made | _window(given) | _said(same=given.same)


def _not_followed(given: pb.NotFollowedLeaf) -> dict[str, Any]:
    made = {
        "start": _selector(given.start),
        "by": _selector(given.by),
        "within": parts.duration(given.within),
    }
    return made | _window(given) | _said(same=given.same)


def _regularly(given: pb.RegularlyLeaf) -> dict[str, Any]:
    return _selector(given.events) | {
        "at_least_periods": given.at_least_periods,
        "of_periods": given.of_periods,
        "period": parts.duration(given.period),
        "min_count": given.min_count or 1,
    }


def _rfm(given: pb.RfmLeaf) -> dict[str, Any]:
    made = _selector(given.orders) | {"amount": given.amount_property} | _window(given)
    for score in _SCORES:
        low, high = getattr(given, f"{score}_min"), getattr(given, f"{score}_max")
        if low or high:
            made[score] = parts.score_range(low, high)
    edges = {
        "recency_days": list(given.recency_edges_days),
        "frequency": list(given.frequency_edges),
        "money": [_edge(one) for one in given.money_edges],
    }
    if any(edges.values()):
        made["edges"] = {name: of for name, of in edges.items() if of}
    return made | _said(zone=given.zone, ties="by_id" if given.ties_by_id else None)


def _edge(given: event_pb2.Decimal) -> Any:
    return parts.decimal(given) if given.exponent else given.units


def _catalogue(given: pb.CatalogueLeaf) -> dict[str, Any]:
    made = _selector(given.events) | {
        "item": given.item_property,
        "has": parts.property_filter(given.item_has),
    }
    if given.HasField("count"):
        made["count"] = parts.comparison(given.count)
    return made | _window(given)


_NODES: dict[str, Callable[[Any], Any]] = {
    "all": _group,
    "any": _group,
    "none": _group,
    "not": write_condition,
    "at_least": _at_least,
    "everyone": _everyone,
    "attribute": _attribute,
    "attribute_held": _attribute_held,
    "attribute_changed": _attribute_changed,
    "channel": _channel,
    "event": _event,
    "first_event": _first_event,
    "last_event": _last_event,
    "sequence": _sequence,
    "not_followed": _not_followed,
    "regularly": _regularly,
    "segment": lambda given: given.segment_id,
    "list": lambda given: given.list_id,
    "split": _split,
    "rfm": _rfm,
    "catalogue": _catalogue,
}

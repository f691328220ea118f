"""What rules use, read from their trees: attributes, event types, properties, other segments.

It walks every message of a rule by its descriptor, so that a new leaf built of the known parts
(selectors, tests, windows) is found without a line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import condition_pb2

PREFIX = "*"
"""After an event type: every type that begins so; alone: every type."""

_NAMED = {
    ("AttributeLeaf", "attribute"): "attribute",
    ("AttributeHeldLeaf", "attribute"): "attribute",
    ("AttributeChangedLeaf", "attribute"): "attribute",
    ("PropertyTest", "property"): "property",
    ("AnyItem", "path"): "property",
    ("Aggregate", "property"): "property",
    ("Aggregate", "once"): "property",
    ("Aggregate", "denominator_property"): "property",
    ("SequenceLeaf", "same"): "property",
    ("NotFollowedLeaf", "same"): "property",
    ("RfmLeaf", "amount_property"): "property",
    ("CatalogueLeaf", "item_property"): "property",
    ("SegmentLeaf", "segment_id"): "segment_id",
    ("ListLeaf", "list_id"): "list_id",
    ("ChannelLeaf", "channel"): "channel",
}
"""(message, field) -> what it names; fields of SegmentUse."""

_SETS = {"segment_id", "list_id"}
"""Both name members by an id of the same kind."""

PROFILE_ZONE = "time_zone"
"""The attribute that a window by the profile's clock reads."""

Use = tuple[str, str]
"""(field of SegmentUse, what it says)."""


def uses_of(message: Message) -> list[Use]:
    """What a rule uses, each once, in the order of the tree."""
    return list(dict.fromkeys(_uses(message, in_item=False)))


def _uses(message: Message, *, in_item: bool) -> Iterator[Use]:
    kind = message.DESCRIPTOR.name
    if isinstance(message, condition_pb2.EventSelector):
        yield from (("event_type", one) for one in message.types)
        if message.type_prefix or not message.types:
            yield "event_type", message.type_prefix + PREFIX
    if getattr(message, "zone_source", 0) == condition_pb2.ZONE_SOURCE_PROFILE:
        yield "attribute", PROFILE_ZONE
    for field, value in message.ListFields():
        named = _NAMED.get((kind, field.name))
        if named is not None and value:
            yield ("item_property" if in_item and named == "property" else named), value
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            inside = in_item or (kind, field.name) == ("CatalogueLeaf", "item_has")
            for one in value if field.is_repeated else [value]:
                yield from _uses(one, in_item=inside)


def uses(found: list[Use], wanted: Use) -> bool:
    """Whether a rule that uses these uses what is asked about.

    An attribute or property is used with any path below it or above it; an event type by its name,
    or by a prefix of it.
    """
    kind, value = wanted
    kinds = _SETS if kind in _SETS else {kind}
    return any(one in kinds and _matches(kind, said, value) for one, said in found)


def _matches(kind: str, said: str, value: str) -> bool:
    if said == value:
        return True
    if kind == "event_type":
        return said.endswith(PREFIX) and value.startswith(said.removesuffix(PREFIX))
    if kind in ("attribute", "property", "item_property"):
        return said.startswith(f"{value}.") or value.startswith(f"{said}.")
    return False


def uses_of_definition(definition: segments.SegmentDefined) -> list[Use]:
    """What a segment, shadow or list uses."""
    if definition.HasField("list"):
        followed = definition.list.follows_segment_id
        return [("segment_id", followed)] if followed else []
    also = (definition.shadow_of, definition.triggers.migrates_from)
    found = uses_of(definition.condition) + [("segment_id", one) for one in also if one]
    return list(dict.fromkeys(found))


def use_of(wanted: api.SegmentUse) -> Use | None:
    """What a request asks about; None when it says nothing."""
    kind = wanted.WhichOneof("use")
    return None if kind is None else (kind, getattr(wanted, kind))


def use_message(use: Use) -> api.SegmentUse:
    """The other way round."""
    kind, value = use
    return api.SegmentUse(**{kind: value})


@dataclass(frozen=True, slots=True)
class Resting:
    """A segment that rests on something. distance: 1 uses it itself; via: through which."""

    segment_id: str
    distance: int
    via: str


def resting_on(wanted: Use, in_service: Mapping[str, segments.SegmentDefined]) -> list[Resting]:
    """Every segment that uses it, directly or through other segments; nearest first, then by id.

    A shadow rests on the segment it stands beside, a list on the one it follows. A list may be
    named as a segment, and the other way round.
    """
    used = {name: uses_of_definition(one) for name, one in in_service.items()}
    near = sorted(name for name, found in used.items() if uses(found, wanted))
    found = {name: Resting(name, 1, "") for name in near}
    while near:
        further = []
        for below in near:
            for name in sorted(used):
                if name not in found and {("segment_id", below), ("list_id", below)} & {
                    *used[name]
                }:
                    found[name] = Resting(name, found[below].distance + 1, below)
                    further.append(name)
        near = further
    return list(found.values())

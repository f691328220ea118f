"""Definitions in plain words: a rule's sentence, and what one version says otherwise than another.

Other segments are taken as they are named: an old version may speak of some that are gone.
"""

from __future__ import annotations

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1.condition_pb2 import Condition
from services.segments.domain import conditions as rule
from services.segments.domain.differences import differences
from services.segments.domain.faults import ConditionFaults
from services.segments.domain.sentences import duration_text, sentence_of
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import read_condition


def node_of(condition: Condition, zone: str) -> rule.Node | None:
    """The normal form of a rule; None when it has faults, which only a rule that a later version
    of the language refuses can have."""
    try:
        return read_condition(condition, zone, lambda _segment_id: None, EngineLimits())
    except ConditionFaults:
        return None


def sentence(definition: segments.SegmentDefined) -> str:
    """The rule in plain English."""
    node = node_of(definition.condition, definition.zone)
    return "" if node is None else sentence_of(node)


def kind_of(definition: segments.SegmentDefined) -> api.SegmentKind:
    """Shadow, list, or dynamic."""
    if definition.shadow_of:
        return api.SEGMENT_KIND_SHADOW
    if definition.HasField("list"):
        return api.SEGMENT_KIND_LIST
    return api.SEGMENT_KIND_DYNAMIC


def definition_differences(
    before: segments.SegmentDefined, after: segments.SegmentDefined
) -> list[api.Difference]:
    """What `after` says otherwise: the rule part by part, then the fields."""
    return [
        *condition_differences(before.condition, before.zone, after.condition, after.zone),
        *_field("zone", before.zone, after.zone),
        *_field("name", before.name, after.name),
        *_field("tags", ", ".join(before.tags), ", ".join(after.tags)),
        *_field("triggers", _policy_text(before), _policy_text(after)),
        *_field("follows", before.list.follows_segment_id, after.list.follows_segment_id),
        *_field("shadow_of", before.shadow_of, after.shadow_of),
        *_field("retired", _service_text(before), _service_text(after)),
    ]


def condition_differences(
    before: Condition, zone_before: str, after: Condition, zone_after: str
) -> list[api.Difference]:
    """What a rule says otherwise than another, part by part."""
    old, new = node_of(before, zone_before), node_of(after, zone_after)
    if old is None or new is None:
        changed = before != after
        return [_said(api.DIFFERENCE_KIND_CHANGED, "condition", "", "")] if changed else []
    return [
        _said(
            _kind(one.before is not None, one.after is not None),
            f"condition.{one.path}" if one.path else "condition",
            one.sentence_before,
            one.sentence_after,
        )
        for one in differences(old, new)
    ]


def _field(path: str, before: str, after: str) -> list[api.Difference]:
    if before == after:
        return []
    return [_said(_kind(bool(before), bool(after)), path, before, after)]


def _said(kind: api.DifferenceKind, path: str, before: str, after: str) -> api.Difference:
    return api.Difference(kind=kind, path=path, before=before, after=after)


def _kind(before: bool, after: bool) -> api.DifferenceKind:
    if before and after:
        return api.DIFFERENCE_KIND_CHANGED
    return api.DIFFERENCE_KIND_REMOVED if before else api.DIFFERENCE_KIND_ADDED


def _service_text(definition: segments.SegmentDefined) -> str:
    return "out of service" if definition.retired else "in service"


def _policy_text(definition: segments.SegmentDefined) -> str:
    """Which transitions reach subscribers, in words."""
    triggers = definition.triggers
    names = [
        common_pb2.Reason.Name(reason).removeprefix("REASON_").lower().replace("_", " ")
        for reason in triggers.reasons
    ]
    said = [f"on {', '.join(names)}" if names else "on the usual reasons"]
    cool_us = triggers.cool_down.ToMicroseconds()
    if cool_us:
        said.append(f"at most one entry per profile in {duration_text(cool_us)}")
    if triggers.HasField("reentry") and not triggers.reentry:
        said.append("first entry only")
    if triggers.migrates_from:
        said.append(f"only who leaves {triggers.migrates_from} by the same cause")
    if triggers.variant_set:
        said.append(f"with the variant of {triggers.variant_set}")
    return "; ".join(said)

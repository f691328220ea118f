"""Segment files: YAML documents that say what a segment is.

    segment: big-spenders            its id, [a-z][a-z0-9-]{0,62}
    name: Spent 1000 in 90 days
    zone: Europe/Kyiv                of calendar windows; left out: UTC
    tags: [sales]
    triggers: {reasons: [event, time], cool_down: 1 day, reentry: false, variant_set: spring}
    condition: {event: {type: order_completed, window: last 90 days, sum: {of: total, gte: 1000}}}

A document with `shadow_of: <segment>` is computed and counted beside that one and never triggers.
A variant set says which content a profile gets, by the first segment that holds it:

    variants: spring
    rules: [{segment: big-spenders, variant: concierge}, {segment: buyers, variant: thanks}]
    default: hello

A list is kept by hand or beside a segment; who is in it comes by `muster lists`, never from a file:

    list: vip
    name: Our best
    follows: big-spenders            left out: kept by hand
    tags: [care]
    triggers: {reasons: [list change]}

One file may hold several, separated by lines of `---`. The language of conditions is described in
cli/conditions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cli.condition_parts import flag, zone
from cli.conditions import condition_at
from cli.problems import Problem
from cli.reading import Node, TreeFaults, read_document
from muster.segments.v1.facts_pb2 import TriggerPolicy
from muster.segments.v1.lists_pb2 import DefineListRequest
from muster.segments.v1.service_pb2 import DefineSegmentRequest
from muster.segments.v1.variants_pb2 import DefineVariantsRequest
from muster.types.v1 import common_pb2

T = TypeVar("T")
_KEYS = {"segment", "name", "zone", "tags", "triggers", "condition", "shadow_of"}
_REASONS = {
    name.removeprefix("REASON_").lower(): number
    for name, number in common_pb2.Reason.items()
    if number
}


def read_definition(tree: Any, tenant: str) -> DefineSegmentRequest:
    """A definition from one document. TreeFaults lists everything that is wrong."""
    node = Node(tree)
    node.keys(_KEYS, "a segment")
    request = DefineSegmentRequest(
        tenant=tenant,
        segment_id=node.at("segment").text(),
        name=node.at("name").text(needed=False),
        zone=zone(node.at("zone")),
        shadow_of=node.at("shadow_of").text(needed=False),
    )
    if node.has("tags"):
        request.tags.extend(tag.text() for tag in node.at("tags").items())
    if node.has("triggers"):
        _triggers(node.at("triggers"), request.triggers)
    request.condition.CopyFrom(condition_at(node.at("condition")))
    if node.faults:
        raise TreeFaults(node.faults)
    return request


def _triggers(node: Node, policy: TriggerPolicy) -> None:
    known = {"reasons", "cool_down", "reentry", "variant_set", "migrates_from"}
    node.keys(known, "triggers")
    policy.SetInParent()
    if node.has("reasons"):
        for reason in node.at("reasons").items():
            spoken = reason.text().replace(" ", "_")
            if spoken not in _REASONS:
                reason.fault(f"there is no reason {spoken!r}; use {', '.join(_REASONS)}")
            policy.reasons.append(_REASONS.get(spoken, 0))  # type: ignore[arg-type]
    if node.has("cool_down"):
        policy.cool_down.FromMicroseconds(node.at("cool_down").duration_us())
    if node.has("reentry"):
        policy.reentry = flag(node.at("reentry"))
    policy.variant_set = node.at("variant_set").text(needed=False)
    policy.migrates_from = node.at("migrates_from").text(needed=False)


def read_variant_set(tree: Any, tenant: str) -> DefineVariantsRequest:
    """A variant set from one document. TreeFaults lists everything that is wrong."""
    node = Node(tree)
    node.keys({"variants", "name", "rules", "default"}, "a variant set")
    request = DefineVariantsRequest(
        tenant=tenant,
        variant_set_id=node.at("variants").text(),
        name=node.at("name").text(needed=False),
        default_variant=node.at("default").text(needed=False),
    )
    for rule in node.at("rules").items():
        rule.keys({"segment", "variant"}, "a rule")
        request.rules.add(segment_id=rule.at("segment").text(), variant=rule.at("variant").text())
    if node.faults:
        raise TreeFaults(node.faults)
    return request


def read_list(tree: Any, tenant: str) -> DefineListRequest:
    """A list from one document. TreeFaults lists everything that is wrong."""
    node = Node(tree)
    if node.has("members"):
        node.at("members").fault("who is in a list comes by `muster lists add` or `import`")
    node.keys({"list", "name", "follows", "tags", "triggers", "members"}, "a list")
    request = DefineListRequest(
        tenant=tenant,
        list_id=node.at("list").text(),
        name=node.at("name").text(needed=False),
        follows_segment_id=node.at("follows").text(needed=False),
    )
    if node.has("tags"):
        request.tags.extend(tag.text() for tag in node.at("tags").items())
    if node.has("triggers"):
        _triggers(node.at("triggers"), request.triggers)
    if node.faults:
        raise TreeFaults(node.faults)
    return request


def read_definitions(
    file: Path, tenant: str, *, needed: bool = True
) -> Iterator[DefineSegmentRequest]:
    """Every segment of a file. Problem names the file and the fault; none is one when needed."""
    found = [one for one in _documents(file) if not (_says(one[1], "variants") or _is_list(one[1]))]
    if needed and not found:
        raise Problem(f"{file} holds no segment")
    yield from (_read(where, read_definition, tree, tenant) for where, tree in found)


def read_variants(file: Path, tenant: str) -> Iterator[DefineVariantsRequest]:
    """Every variant set of a file. Problem names the file and the fault."""
    found = [one for one in _documents(file) if _says(one[1], "variants")]
    yield from (_read(where, read_variant_set, tree, tenant) for where, tree in found)


def read_lists(file: Path, tenant: str) -> Iterator[DefineListRequest]:
    """Every list of a file. Problem names the file and the fault."""
    found = [one for one in _documents(file) if _is_list(one[1])]
    yield from (_read(where, read_list, tree, tenant) for where, tree in found)


def _says(tree: Any, key: str) -> bool:
    return isinstance(tree, dict) and key in tree


def _is_list(tree: Any) -> bool:
    return _says(tree, "list") and not _says(tree, "segment")


def _documents(file: Path) -> list[tuple[str, Any]]:
    """(where, tree) of every document of a file."""
    try:
        text = file.read_text()
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from None
    parts = [part for part in split_documents(text) if part.strip()]
    many = len(parts) > 1
    return [
        (where, _read(where, lambda text, _tenant: read_document(text), part, ""))
        for place, part in enumerate(parts, 1)
        for where in [f"{file}, document {place}" if many else f"{file}"]
    ]


def _read(where: str, read: Callable[[Any, str], T], given: Any, tenant: str) -> T:
    try:
        return read(given, tenant)
    except TreeFaults as wrong:
        raise Problem(f"{where}:\n" + "\n".join(f"  {p}: {m}" for p, m in wrong.faults)) from None


def split_documents(text: str) -> list[str]:
    """The documents of a YAML stream as texts; empty ones left out."""
    starts = [
        token.start_mark.index
        for token in yaml.scan(text, yaml.SafeLoader)
        if isinstance(token, yaml.DocumentStartToken)
    ]
    edges = [0, *starts, len(text)]
    parts = [text[a:b].removeprefix("---") for a, b in pairwise(edges)]
    return [part for part in parts if part.strip()]

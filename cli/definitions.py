"""Segment files: YAML documents that say what a segment is.

    segment: big-spenders            its id, [a-z][a-z0-9-]{0,62}
    name: Spent 1000 in 90 days
    zone: Europe/Kyiv                of calendar windows; left out: UTC
    tags: [sales]
    triggers: {reasons: [event, time], cool_down: 1 day, reentry: false}
    condition: {event: {type: order_completed, window: last 90 days, sum: {of: total, gte: 1000}}}

One file may hold several, separated by lines of `---`. The language of conditions is described in
cli/conditions.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from cli.condition_parts import flag, zone
from cli.conditions import condition_at
from cli.problems import Problem
from cli.reading import Node, TreeFaults, read_document
from muster.segments.v1.service_pb2 import DefineSegmentRequest
from muster.types.v1 import common_pb2

_KEYS = {"segment", "name", "zone", "tags", "triggers", "condition"}
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
    )
    if node.has("tags"):
        request.tags.extend(tag.text() for tag in node.at("tags").items())
    if node.has("triggers"):
        _triggers(node.at("triggers"), request)
    request.condition.CopyFrom(condition_at(node.at("condition")))
    if node.faults:
        raise TreeFaults(node.faults)
    return request


def _triggers(node: Node, request: DefineSegmentRequest) -> None:
    node.keys({"reasons", "cool_down", "reentry"}, "triggers")
    policy = request.triggers
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


def read_definitions(file: Path, tenant: str) -> Iterator[DefineSegmentRequest]:
    """Every definition of a file. Problem or TreeFaults name the file and the fault."""
    try:
        text = file.read_text()
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from None
    documents = [part for part in split_documents(text) if part.strip()]
    if not documents:
        raise Problem(f"{file} holds no segment")
    for place, document in enumerate(documents):
        where = f"{file}" if len(documents) == 1 else f"{file}, document {place + 1}"
        try:
            yield read_definition(read_document(document), tenant)
        except TreeFaults as wrong:
            raise Problem(
                f"{where}:\n" + "\n".join(f"  {p}: {m}" for p, m in wrong.faults)
            ) from None


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

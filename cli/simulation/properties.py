"""Properties of events and items as a case writes them: nested mappings and lists of values."""

from __future__ import annotations

import datetime as dt
from collections.abc import MutableSequence
from decimal import Decimal
from typing import Any

from cli import condition_parts
from cli.reading import EPOCH, MICROSECOND, Node, describe
from muster.types.v1 import event_pb2


def add_properties(into: MutableSequence[Any], node: Node) -> None:
    """Adds the Properties of a mapping: nested mappings become dotted keys, lists become items.

    into: a repeated field of muster.types.v1.Property.
    """
    if node.tree is None:
        return
    if not isinstance(node.tree, dict):
        node.fault(f"must be a mapping of property to value, not {describe(node.tree)}")
        return
    for key, tree in node.tree.items():
        _add(into, node.at(str(key)).aside(tree), str(key), 0)


def _add(into: MutableSequence[Any], node: Node, key: str, item: int) -> None:
    tree = node.tree
    if isinstance(tree, dict):
        for name, inner in tree.items():
            _add(into, node.aside(inner), f"{key}.{name}", item)
    elif isinstance(tree, list):
        for place, inner in enumerate(tree):
            _add(into, node.aside(inner), key, place)
    elif tree is not None:  # null is missing: nothing to send
        made = _property(node, key, item)
        if made is not None:
            into.append(made)


def _property(node: Node, key: str, item: int) -> event_pb2.Property | None:
    tree = node.tree
    if isinstance(tree, bool):
        return event_pb2.Property(key=key, item=item, flag=tree)
    if isinstance(tree, int) and not -(2**63) <= tree < 2**63:
        node.fault(f"{tree} does not fit 64 bits; write it as a text")
        return None
    if isinstance(tree, int):
        return event_pb2.Property(key=key, item=item, whole=tree)
    if isinstance(tree, float):
        return event_pb2.Property(key=key, item=item, number=tree)
    if isinstance(tree, Decimal):
        return event_pb2.Property(key=key, item=item, decimal=condition_parts.decimal(node))
    if isinstance(tree, str):
        return event_pb2.Property(key=key, item=item, text=tree)
    if isinstance(tree, dt.datetime):
        time_us = (tree - EPOCH) // MICROSECOND if tree.tzinfo else node.instant_us()
        return event_pb2.Property(key=key, item=item, time_us=time_us)
    if isinstance(tree, dt.date):
        return event_pb2.Property(key=key, item=item, text=tree.isoformat())
    node.fault(f"must be a value, not {describe(tree)}")
    return None

"""Facts of the naive model as the columns and messages the services speak."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from cli.simulation.naive.facts import (
    Assigned,
    Created,
    Defined,
    Item,
    Linked,
    Listed,
    Moved,
    Row,
)
from cli.simulation.naive.values import Instant, Value
from muster.identity.v1 import facts_pb2 as identity_pb
from muster.ingest.v1 import catalogue_pb2
from muster.segments.v1 import facts_pb2 as segments_pb
from muster.segments.v1 import lists_pb2
from muster.types.v1 import columns_pb2, event_pb2
from services.chassis.columns import ColumnCodec, pool_of
from tests.support.filters import units_of

TEXT, WHOLE, DECIMAL, FLAG, TIME = 1, 2, 3, 4, 5
EVENTS = ColumnCodec(columns_pb2.EventColumns)
CREATED = ColumnCodec(identity_pb.ProfilesCreated)
LINKED = ColumnCodec(identity_pb.IdentifiersLinked)
ATTRIBUTES = ColumnCodec(identity_pb.AttributesSet)


def print_words(text: str) -> tuple[int, int]:
    """Two words that stand for a text; not the keyed print of production."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")


class Pool:
    """Texts numbered in order of first use."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))

    def columns(self, name: str) -> dict[str, Any]:
        raw, ends = pool_of(list(self.numbers))
        return {name: raw, f"{name}_end": ends}


def wire_value(value: Value, texts: Pool, more_digits: int = 0) -> tuple[int, int, int]:
    """(kind, value, exponent) of a property; a decimal with more digits than it needs, if asked."""
    if isinstance(value, bool):
        return FLAG, int(value), 0
    if isinstance(value, Instant):
        return TIME, value.us, 0
    if isinstance(value, str):
        return TEXT, texts.number(value), 0
    assert isinstance(value, Fraction)
    units, exponent = units_of(value)
    if abs(units) * 10**more_digits < 2**63:
        units, exponent = units * 10**more_digits, exponent + more_digits
    return (DECIMAL, units, exponent) if exponent else (WHOLE, units, 0)


def event_columns(rows: Sequence[Row]) -> dict[str, Any]:
    """EventColumns of rows, decoded from their wire bytes as a service gets them."""
    names, texts = Pool(), Pool()
    columns: dict[str, list[int]] = {
        name: []
        for name in (
            *("event_print", "type", "occur_time_us", "send_time_us", "accept_time_us"),
            *("prop_end", "prop_key", "prop_item", "prop_kind", "prop_value", "prop_exponent"),
            *("profile", "atom", "row_flags", "event_id_end", "id_end"),
        )
    }
    ids = b""
    for row in rows:
        columns["event_print"] += print_words(row.event_id)
        columns["type"].append(names.number(row.type))
        columns["occur_time_us"].append(row.occur_us)
        columns["send_time_us"].append(row.accept_us)
        columns["accept_time_us"].append(row.accept_us)
        columns["profile"].append(row.profile)
        columns["atom"].append(row.atom)
        columns["row_flags"].append(int(row.imported))
        columns["id_end"].append(0)
        ids += row.event_id.encode()
        columns["event_id_end"].append(len(ids))
        _properties(columns, row, names, texts)
        columns["prop_end"].append(len(columns["prop_key"]))
    arrays: dict[str, Any] = {"rows": len(rows), "event_id": ids}
    arrays |= names.columns("name") | texts.columns("text")
    arrays |= {n: np.array(v, EVENTS.columns[n]) for n, v in columns.items()}
    return EVENTS.decode(EVENTS.encode(arrays))


def _properties(columns: dict[str, list[int]], row: Row, names: Pool, texts: Pool) -> None:
    for key, values in row.properties.items():
        for item, value in values.items():
            digits = len(row.event_id) % 3
            kind, wire, exponent = wire_value(value, texts, digits)
            columns["prop_key"].append(names.number(key))
            columns["prop_item"].append(item)
            columns["prop_kind"].append(kind)
            columns["prop_value"].append(wire)
            columns["prop_exponent"].append(exponent)


def attribute_columns(facts: Sequence[Assigned]) -> dict[str, Any]:
    """AttributesSet of assignments."""
    names, texts = Pool(), Pool()
    columns: dict[str, list[int]] = {
        name: []
        for name in (
            *("profile", "atom", "key", "item", "kind", "value", "exponent"),
            *("occur_time_us", "accept_time_us", "event_print"),
        )
    }
    for fact in facts:
        values: Sequence[Value | None] = (None,) if fact.values is None else fact.values
        for item, value in enumerate(values):
            kind, wire, exponent = (0, 0, 0) if value is None else wire_value(value, texts)
            columns["profile"].append(fact.profile)
            columns["atom"].append(fact.atom)
            columns["key"].append(names.number(fact.key))
            columns["item"].append(item)
            columns["kind"].append(kind)
            columns["value"].append(wire)
            columns["exponent"].append(exponent)
            columns["occur_time_us"].append(fact.occur_us)
            columns["accept_time_us"].append(fact.accept_us)
            columns["event_print"] += print_words(fact.event_id)
    arrays = names.columns("name") | texts.columns("text")
    arrays |= {n: np.array(v, ATTRIBUTES.columns[n]) for n, v in columns.items()}
    return ATTRIBUTES.decode(ATTRIBUTES.encode(arrays))


def created_columns(facts: Sequence[Created]) -> dict[str, Any]:
    return CREATED.decode(
        CREATED.encode(
            {
                "profile": [f.profile for f in facts],
                "public_id": [f.public_id for f in facts],
                "atom": [f.atom for f in facts],
                "create_time_us": [f.at_us for f in facts],
            }
        )
    )


def linked_columns(facts: Sequence[Linked]) -> dict[str, Any]:
    kind, kind_end = pool_of([f.kind for f in facts])
    text, text_end = pool_of([f.text for f in facts])
    words = [word for f in facts for word in print_words(f"{f.kind}:{f.text}")]
    return LINKED.decode(
        LINKED.encode(
            {
                "atom": [f.atom for f in facts],
                "profile": [f.profile for f in facts],
                "id_print": np.array(words, np.uint64),
                "kind": kind,
                "kind_end": kind_end,
                "text": text,
                "text_end": text_end,
                "link_time_us": [f.at_us for f in facts],
            }
        )
    )


def atoms_moved(fact: Moved) -> identity_pb.AtomsMoved:
    high, low = print_words(fact.cause)
    return identity_pb.AtomsMoved(
        move_id=fact.move_id,
        from_profile=fact.source,
        to_profile=fact.target,
        atom=fact.atoms,
        merge=fact.merge,
        cause_event_id=fact.cause.encode(),
        cause_print_high=high,
        cause_print_low=low,
        move_time_us=fact.at_us,
        across_partitions=fact.arrive_us is not None,
    )


def segment_defined(fact: Defined) -> segments_pb.SegmentDefined:
    made = segments_pb.SegmentDefined(
        segment_id=fact.segment,
        segment_number=fact.number,
        version=fact.version,
        condition=fact.condition,
        retired=fact.retired,
        zone=fact.zone,
    )
    made.define_time.FromMicroseconds(fact.at_us)
    if fact.follows is not None:
        made.list.follows_segment_id = fact.follows
        made.list.SetInParent()
    return made


def list_changed(fact: Listed) -> lists_pb2.ListChanged:
    return lists_pb2.ListChanged(
        list_id=fact.list_id,
        added=[fact.profile] if fact.added else [],
        removed=[] if fact.added else [fact.profile],
    )


def items_set(fact: Item) -> catalogue_pb2.CatalogueItemsSet:
    made = catalogue_pb2.CatalogueItemsSet()
    one = made.items.add(item_id=fact.item_id, removed=fact.properties is None)
    one.occur_time.FromMicroseconds(fact.occur_us)
    for key, values in (fact.properties or {}).items():
        if not values:
            one.properties.add(key=key)
        for item, value in values.items():
            _set_value(one.properties.add(key=key, item=item), value)
    return made


def _set_value(made: event_pb2.Property, value: Value) -> None:
    if isinstance(value, bool):
        made.flag = value
    elif isinstance(value, Instant):
        made.time_us = value.us
    elif isinstance(value, str):
        made.text = value
    elif isinstance(value, Fraction):
        made.decimal.units, made.decimal.exponent = units_of(value)

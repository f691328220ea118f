"""Pasts on their way between partitions: HistoryMoved written and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.types.v1 import columns_pb2
from services.chassis.columns import ColumnCodec, pool_of
from services.segments.domain.values import TEXT
from services.segments.engine.base.arrays import Array
from services.segments.engine.partition import Partition

EVENTS = ColumnCodec(columns_pb2.EventColumns)
ATTRIBUTES = ColumnCodec(identity.AttributesSet)
ROW_BYTES = 96
PROPERTY_BYTES = 24
RECORDS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class History:
    """A past: event rows and attribute records of this partition."""

    rows: Array
    records: list[int]


def past_of(part: Partition, slots: list[int]) -> History:
    """All event rows and attribute records of some slots, in order of arrival."""
    rows = _chained(part.people.slot_event, slots, part.events.view.previous)
    records = _chained(part.people.slot_record, slots, part.attributes.columns["previous"])
    return History(np.array(sorted(rows), np.int64), sorted(records))


def export_history(
    part: Partition, move_id: int, source: int, target: int, past: History, complete: bool
) -> list[bytes]:
    """HistoryMoved messages with a past; complete: nothing of that move follows.

    Each message is at most `history_bytes_max` unless one row is larger. Attribute records keep
    the profile whose own they are.
    """

    def message() -> identity.HistoryMoved:
        return identity.HistoryMoved(move_id=move_id, from_profile=source, to_profile=target)

    made = []
    for chunk in _chunks(part, past.rows):
        made.append(message())
        columns = _event_columns(part, chunk, target)
        made[-1].events.add().MergeFromString(EVENTS.encode(columns))
    for start in range(0, len(past.records), RECORDS_MAX):
        made.append(message())
        columns = _attribute_columns(part, past.records[start : start + RECORDS_MAX])
        made[-1].attributes.add().MergeFromString(ATTRIBUTES.encode(columns))
    if not made:
        made.append(message())
    made[-1].last = complete
    return [one.SerializeToString(deterministic=True) for one in made]


def _chained(heads: Array, slots: list[int], previous: Array) -> list[int]:
    found = []
    for slot in slots:
        one = int(heads[slot])
        while one >= 0:
            found.append(one)
            one = int(previous[one])
    return found


def _chunks(part: Partition, rows: Array) -> list[Array]:
    if not rows.size:
        return []
    view = part.events.view
    starts = np.where(rows > 0, view.prop_end[rows - 1], 0)
    ids = view.id_end[rows] - np.where(rows > 0, view.id_end[rows - 1], 0)
    texts = np.zeros(rows.size, np.int64)
    for i, row in enumerate(rows.tolist()):
        for q in part.events.properties_of(row):
            if view.kind[q] == TEXT:
                number = int(view.value[q])
                start = int(part.texts.heap_end[number - 1]) if number else 0
                texts[i] += int(part.texts.heap_end[number]) - start
    sizes = ROW_BYTES + ids + texts + PROPERTY_BYTES * (view.prop_end[rows] - starts)
    limit = part.limits.history_bytes_max
    chunks, begin, size = [], 0, 0
    for i, bytes_ in enumerate(sizes.tolist()):
        if size and size + bytes_ > limit:
            chunks.append(rows[begin:i])
            begin, size = i, 0
        size += bytes_
    chunks.append(rows[begin:])
    return chunks


class _Pools:
    """Names and texts of one message, numbered in order of appearance."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.names: dict[int, int] = {}
        self.texts: dict[int, int] = {}

    def name(self, number: int) -> int:
        return self.names.setdefault(number, len(self.names))

    def text(self, number: int) -> int:
        return self.texts.setdefault(number, len(self.texts))

    def columns(self) -> dict[str, Any]:
        name, name_end = pool_of([self.part.names.names[number] for number in self.names])
        raw = self.part.texts.raw_of(self.texts)
        ends = np.cumsum([len(one) for one in raw], dtype=np.int64).astype(np.uint32)
        return {
            "name": name, "name_end": name_end, "text": np.frombuffer(b"".join(raw), np.uint8),
            "text_end": ends,
        }  # fmt: skip


def _event_columns(part: Partition, rows: Array, target: int) -> dict[str, Any]:
    view, pools = part.events.view, _Pools(part)
    types = [pools.name(int(number)) for number in view.type[rows]]
    places = [q for row in rows.tolist() for q in part.events.properties_of(row)]
    counts = [len(part.events.properties_of(row)) for row in rows.tolist()]
    keys = [pools.name(int(view.key[q])) for q in places]
    values = [
        pools.text(int(view.value[q])) if view.kind[q] == TEXT else int(view.value[q])
        for q in places
    ]
    ids = [part.events.id_of(row).encode() for row in rows.tolist()]
    prints = np.empty(2 * rows.size, np.uint64)
    prints[0::2], prints[1::2] = view.print_high[rows], view.print_low[rows]
    return {
        "rows": rows.size,
        **pools.columns(),
        "event_print": prints,
        "type": np.array(types, np.uint32),
        "occur_time_us": view.occur[rows],
        "accept_time_us": view.accept[rows],
        "prop_end": np.cumsum(counts).astype(np.uint32),
        "prop_key": np.array(keys, np.uint32),
        "prop_item": view.item[places],
        "prop_kind": view.kind[places],
        "prop_value": np.array(values, np.int64),
        "prop_exponent": view.exponent[places],
        "event_id": np.frombuffer(b"".join(ids), np.uint8),
        "event_id_end": np.cumsum([len(one) for one in ids]).astype(np.uint32),
        "row_flags": view.flags[rows],
        "profile": np.full(rows.size, target, np.uint32),
        "atom": part.people.slot_atom[view.slot[rows]],
    }


def _attribute_columns(part: Partition, records: list[int]) -> dict[str, Any]:
    """Records in long form; a removal is one row of kind 0."""
    c, pools = part.attributes.columns, _Pools(part)
    rows: list[tuple[int, ...]] = []
    for record in records:
        start = int(c["value_end"][record - 1]) if record else 0
        places = list(range(start, int(c["value_end"][record])))
        key = pools.name(int(c["key"][record]))
        if not places:
            rows.append((record, key, 0, 0, 0, 0))
        for item, q in enumerate(places):
            kind, value = int(c["kind"][q]), int(c["value"][q])
            value = pools.text(value) if kind == TEXT else value
            rows.append((record, key, item, kind, value, int(c["exponent"][q])))
    table = np.array(rows, np.int64).reshape(-1, 6)
    of = table[:, 0]
    prints = np.empty(2 * of.size, np.uint64)
    prints[0::2], prints[1::2] = c["print_high"][of], c["print_low"][of]
    return {
        **pools.columns(),
        "profile": c["home"][of],
        "atom": part.people.slot_atom[c["slot"][of]],
        "key": table[:, 1],
        "item": table[:, 2],
        "kind": table[:, 3],
        "value": table[:, 4],
        "exponent": table[:, 5],
        "occur_time_us": c["occur"][of],
        "accept_time_us": c["accept"][of],
        "event_print": prints,
    }


def read_history(part: Partition, bodies: list[bytes], slots: dict[int, int]) -> History:
    """Takes the rows and records of a whole past. slots: atom -> the slot made for it."""
    rows: list[Array] = []
    records: list[int] = []
    for body in bodies:
        message = identity.HistoryMoved.FromString(body)
        for block in message.events:
            columns = EVENTS.decode(block.SerializeToString())
            owners = np.array([slots[int(atom)] for atom in columns["atom"]], np.int32)
            new = part.events.append(columns, part.people, part.names, part.texts, owners)
            rows.append(np.arange(new.start, new.stop, dtype=np.int64))
        for attributes in message.attributes:
            columns = ATTRIBUTES.decode(attributes.SerializeToString())
            records += part.attributes.take(
                columns, part.people, part.names, part.texts,
                lambda atoms, _: np.array([slots[atom] for atom in atoms.tolist()], np.int64),
            )  # fmt: skip
        for marks in message.lists:
            part.lists.arrive(marks, slots)
        for words in message.words:
            part.words.arrive(words, slots)
    return History(np.concatenate(rows) if rows else np.zeros(0, np.int64), records)

"""The whole state as named buffers: the log, what it does not tell, and what it tells slowly.

Streams are kept as they lie (`sealed.py`), leaves as they stand (`standing.py`). Cursors and their
figures are not: they are added up again. Append-only columns are handed out as they stand and taken
over without copying; what changes in place is copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from muster.segments.v1 import facts_pb2 as facts
from services.chassis.core import Appended, roomy
from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, grown
from services.segments.engine.language.expressions import LeafSpec, express, leaves_of
from services.segments.engine.language.reading import read_condition
from services.segments.engine.live import sealed, standing
from services.segments.engine.live.inbox import Waiting
from services.segments.engine.live.rules import Segment
from services.segments.engine.partition import Partition
from services.segments.engine.store.people import People

if TYPE_CHECKING:
    from services.segments.engine.engine import Engine

FORMAT = 3
"""Raised when an older `load` could not take a dump over."""
FORMATS = (2, FORMAT)
"""What `load` takes over: those of before kept no streams and no leaves, which then begin from the
log. To pass a snapshot over, because the same input gives other bytes now, is the business of the
core's version: past the horizon of the log there may be nothing to replay instead."""
_BY_ROW = ("public_id", "created_us", "absorbed", "first_slot")
_BY_SLOT = (
    "slot_atom", "slot_row", "slot_next", "slot_event", "slot_record", "slot_kind", "slot_gone",
    "print_high", "print_low",
)  # fmt: skip
_BY_PROPERTY = ("key", "item", "kind", "exponent", "value")
_BY_VALUE = ("kind", "exponent", "value")


def dump(engine: Engine) -> dict[str, Array | bytes | Appended]:
    """Everything `load` needs. Raises RuntimeError between a move and the advance that says it."""
    part, inbox = engine.part, engine.walker.inbox
    if engine.walker.carried or engine.walker.said or part.pasts.asked:
        raise RuntimeError("a snapshot is taken between advances")
    people = part.people
    buffers: dict[str, Array | bytes | Appended] = {}
    for name in _BY_ROW:
        buffers[f"people.{name}"] = getattr(people, name)[: people.rows].copy()
    for name in _BY_SLOT:
        buffers[f"people.{name}"] = getattr(people, name)[: people.slots].copy()
    buffers["people.former"] = np.array(people.former, np.uint64).reshape(-1, 2)
    buffers["people.prints"] = people.print_places[people.print_places >= 0]
    for name, column in part.events.columns.items():
        n = part.events.properties if name in _BY_PROPERTY else part.events.count
        buffers[f"events.{name}"] = Appended(column[:n])
    used = int(part.events.columns["id_end"][part.events.count - 1]) if part.events.count else 0
    buffers["events.ids"] = Appended(part.events.ids[:used])
    for name, column in part.attributes.columns.items():
        n = part.attributes.values if name in _BY_VALUE else part.attributes.count
        buffers[f"attributes.{name}"] = (
            column[:n].copy() if name == "home" else Appended(column[:n])
        )
    buffers.update({name: Appended(column) for name, column in part.texts.dump().items()})
    places = len(part.by_place)
    buffers["member"] = part.member[: people.rows].copy()
    buffers["ordinal"] = part.ordinal[: people.rows, :places].copy()
    buffers["sizes"] = part.sizes[:places].copy()
    kept = part.carry.values >= 0
    buffers["carry.keys"], buffers["carry.values"] = part.carry.keys[kept], part.carry.values[kept]
    buffers.update(part.lists.dump())
    buffers["catalogue"] = part.catalogue.dump()
    buffers.update(part.catalogue_log.dump())
    buffers["cuts"] = part.cuts.dump()
    buffers["cuts.former"] = part.cuts.dump_former()
    buffers["versions"] = part.versions.dump()
    buffers.update(part.words.dump())
    buffers.update(part.former.dump())
    buffers.update(sealed.dump(part))
    buffers.update(standing.dump(part))
    buffers["waiting"] = inbox.rows.astype(np.int64)
    buffers["meta"] = json.dumps(_meta(engine), separators=(",", ":")).encode()
    return buffers


def _meta(engine: Engine) -> dict[str, Any]:
    part, inbox = engine.part, engine.walker.inbox
    return {
        "format": FORMAT,
        "partition": part.people.partition,
        "partitions": part.people.partitions,
        "now": part.now,
        "rows": part.people.rows,
        "events": [part.events.count, part.events.properties],
        "attributes": [part.attributes.count, part.attributes.values],
        "member_words": part.member.shape[1],
        "names": part.names.names,
        "types": part.events.types,
        "records": inbox.records.tolist(),
        "births": inbox.births.pairs(),
        "unborn": inbox.unborn.pairs(),
        "links": inbox.links.pairs(),
        "moves": engine.moves.state(),
        "lists": part.lists.numbers,
        "came": list(part.lists.came.items()),
        "topics": part.words.topics,
        "streams": sealed.described(part),
        "leaves": standing.described(engine.leaves),
        "segments": [
            [one.number, one.segment_id, one.version, one.definition.hex()] for one in part.by_place
        ],
    }


def load(engine: Engine, state: Mapping[str, memoryview]) -> None:
    """Fills a fresh engine. Raises ValueError for a dump of another partition or format."""
    meta = json.loads(bytes(state["meta"]))
    part = engine.part
    people = part.people
    if meta["format"] not in FORMATS:
        said = f"a snapshot of format {meta['format']}, but this release reads {FORMATS}: start the"
        raise ValueError(f"{said} release that wrote it, or move the snapshot away and replay")
    if (meta["partition"], meta["partitions"]) != (people.partition, people.partitions):
        raise ValueError("a snapshot of another partition")
    if people.rows or part.by_place:
        raise ValueError("a snapshot is loaded into a fresh engine")
    part.now = meta["now"]
    part.former.load(state, part.now)
    for name in meta["names"]:
        part.names.number_of(name)
    # Before there was an order of types, that of the numbers was said.
    part.events.meet(meta.get("types", list(range(len(meta["names"])))))
    _load_texts(part, state)
    # As wide as they will be while they are short: to widen a million rows is to copy them.
    part.reserve_places(max(len(meta["segments"]), 1))
    part.reserve_leaves(meta.get("leaves", {}).get("count", 1))
    _load_columns(part, state, meta)
    _load_people(people, state, meta["rows"])
    part.reserve_profiles(max(meta["rows"], 1))
    inbox = engine.walker.inbox
    inbox.first = part.events.count
    inbox.rows = np.frombuffer(state["waiting"], np.int64).copy()
    inbox.records = np.array(meta["records"], np.int64)
    inbox.births = Waiting.of(meta["births"])
    inbox.unborn = Waiting.of(meta["unborn"])
    inbox.links = Waiting.of(meta["links"])
    engine.moves.restore(meta["moves"])
    _load_memberships(part, state, meta)
    lists = (_array(state, "lists.keys", np.uint64), _array(state, "lists.marks", np.int64))
    part.lists.load(meta["lists"], meta["came"], *lists)
    part.catalogue.load(bytes(state["catalogue"]))
    part.catalogue_log.load(state, bytes(state["catalogue"]), part.now)
    part.cuts.load(bytes(state["cuts"]), _bytes(state, "cuts.former"), part.now)
    words = {"yes": np.uint64, "yes_us": np.int64, "no": np.uint64, "no_us": np.int64}
    part.words.load(
        meta["topics"], {name: _array(state, f"words.{name}", kind) for name, kind in words.items()}
    )
    part.attributes.follow_again(people, part.now)
    nodes = _load_segments(part, meta)
    part.versions.load(_bytes(state, "versions"), part.now)
    asked = {leaf for _, node in nodes for leaf in _leaves_of(part, node)}
    if "leaves" in meta:
        sealed.restore(part, state, meta["streams"], asked)
        standing.restore(engine.leaves, state, meta["leaves"], asked)
    else:
        standing.begin(part)
    for segment, node in nodes:
        engine.definitions.install(segment, node)
    engine.leaves.dropped = meta["leaves"]["dropped"] if "leaves" in meta else []


def _leaves_of(part: Partition, node: rule.Node | None) -> list[LeafSpec]:
    """What a rule, or a list, looks at."""
    if node is None:
        return []
    if isinstance(node, rule.InList) and node.list_id in part.lists.follows:
        return leaves_of(part.lists.expression(node.list_id))
    return leaves_of(express(node))


def _array(state: Mapping[str, memoryview], name: str, dtype: Any) -> Array:
    return np.frombuffer(state[name], dtype).copy()


def _bytes(state: Mapping[str, memoryview], name: str) -> bytes | None:
    """A buffer of bytes; None in a snapshot made before there was one."""
    return bytes(state[name]) if name in state else None


def _load_texts(part: Partition, state: Mapping[str, memoryview]) -> None:
    ends = np.frombuffer(state["texts_end"], np.int64)
    if "texts_units" not in state:
        part.texts.load(np.frombuffer(state["texts_heap"], np.uint8), ends)
        return
    kinds = {"heap": np.uint8, "end": np.int64, "units": np.int64, "exponents": np.uint8}
    kinds["canonical"] = np.int64
    columns = (roomy(state[f"texts_{name}"], kind) for name, kind in kinds.items())
    part.texts.take_over(ends.size, *columns)


def _load_columns(part: Partition, state: Mapping[str, memoryview], meta: dict[str, Any]) -> None:
    events, attributes = part.events, part.attributes
    for name, column in list(events.columns.items()):
        events.columns[name] = roomy(state[f"events.{name}"], column.dtype)
    events.count, events.properties = meta["events"]
    events.ids = roomy(state["events.ids"], np.uint8)
    events.forget_view()
    for name, column in list(attributes.columns.items()):
        attributes.columns[name] = roomy(state[f"attributes.{name}"], column.dtype)
    attributes.count, attributes.values = meta["attributes"]
    attributes.forget_view()


def _load_people(people: People, state: Mapping[str, memoryview], rows: int) -> None:
    people.reserve_rows(rows)
    for name in _BY_ROW:
        getattr(people, name)[:rows] = _array(state, f"people.{name}", getattr(people, name).dtype)
    people.rows = rows
    former = _array(state, "people.former", np.uint64).reshape(-1, 2)
    people.former = [(public_id, row) for public_id, row in former.tolist()]
    # Present ids last: one that went from a profile to another means the other now.
    people.by_public.fill(former[:, 0], former[:, 1].astype(np.int64))
    people.by_public.fill(people.public_id[:rows], np.arange(rows))
    slots = np.frombuffer(state["people.slot_atom"], np.uint32).size
    people.reserve_slots(slots)
    for name in _BY_SLOT:
        getattr(people, name)[:slots] = _array(state, f"people.{name}", getattr(people, name).dtype)
    people.slots = slots
    here = np.flatnonzero(people.slot_row[:slots] >= 0)
    profiles = people.slot_row[here].astype(np.uint64) * np.uint64(people.partitions)
    profiles += np.uint64(people.partition)
    keys = people.slot_atom[here].astype(np.uint64) << np.uint64(32) | profiles
    people.slot_table.fill(keys, here)
    people.link_again(_array(state, "people.prints", np.int32))


def _load_memberships(
    part: Partition, state: Mapping[str, memoryview], meta: dict[str, Any]
) -> None:
    rows, places = meta["rows"], len(meta["segments"])
    words = meta["member_words"]
    member, ordinal = state["member"], state["ordinal"]
    part.member[:rows, :words] = np.frombuffer(member, np.uint64).reshape(rows, words)
    part.ordinal[:rows, :places] = np.frombuffer(ordinal, np.uint8).reshape(rows, places)
    part.sizes = grown(_array(state, "sizes", np.int64), max(places, 8))
    part.carry.fill(
        np.frombuffer(state["carry.keys"], np.uint64),
        np.frombuffer(state["carry.values"], np.int64),
    )
    part.carry_used[0] = part.carry.used


def _load_segments(part: Partition, meta: dict[str, Any]) -> list[tuple[Segment, rule.Node | None]]:
    """All segments, in their places before any is put in force: rules refer to one another."""
    found = []
    for place, (number, segment_id, version, raw) in enumerate(meta["segments"]):
        given = facts.SegmentDefined.FromString(bytes.fromhex(raw))
        node: rule.Node | None = None
        if not given.retired and given.HasField("list"):
            node = rule.InList(segment_id)
            part.lists.follows[segment_id] = given.list.follows_segment_id
        elif not given.retired:
            node = read_condition(given.condition, given.zone, lambda _: None, part.limits)
        segment = Segment(place, number, segment_id, version, bytes.fromhex(raw), zone=given.zone)
        part.by_place.append(segment)
        part.segments[segment_id] = segment
        found.append((segment, node))
    return found

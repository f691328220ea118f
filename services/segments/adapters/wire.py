"""What the engine takes and says, as bytes on the log: ProfileStep in, SegmentStep out.

Columns pass as NumPy buffers (chassis/columns.py); no row becomes a Python object here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import columns_pb2
from services.chassis.columns import ColumnCodec, Columns, pool_of, pool_texts, shadow_of, varint
from services.chassis.core import PART_BYTES_MAX

PROFILES_CREATED = ColumnCodec(identity.ProfilesCreated)
IDENTIFIERS_LINKED = ColumnCodec(identity.IdentifiersLinked)
EVENT_COLUMNS = ColumnCodec(columns_pb2.EventColumns)
ATTRIBUTES_SET = ColumnCodec(identity.AttributesSet)
TRANSITION_COLUMNS = ColumnCodec(segments.TransitionColumns)
ACTIVITY_COUNTED = ColumnCodec(segments.ActivityCounted)

TRANSITION_ROW_BYTES = 51
"""at_us, public_id 8 each; profile, segment, version, ordinal 4; cause 16; three columns of 1."""
VARIANT_ROW_BYTES = 8
"""Place in the pool and end in the pool; the variant's name comes on top."""
ACTIVITY_ROW_BYTES = 20
"""segment 4, type 4, minute 8, count 4; the type's name comes on top."""
SIZES_KEPT = 20_000
"""Segments whose number, id and version are kept as bytes."""
PART_HEADROOM_BYTES = 4 << 10
"""Room for field keys, lengths and the checkpoint's neighbours."""

_VARIANT_COLUMNS = ("variant", "variant_name", "variant_name_end")
_STEP_FIELDS = {
    field.name: varint(field.number << 3 | 2) for field in segments.SegmentStep.DESCRIPTOR.fields
}
_MEMBERS = varint(segments.SegmentSize.DESCRIPTOR.fields_by_name["members"].number << 3)
_PROFILE_STEP = shadow_of(identity.ProfileStep)
_PROFILE_ENTRY = shadow_of(identity.ProfileEntry)
_SEGMENT_STEP = shadow_of(segments.SegmentStep)

Parts = list[Any]
"""The bytes of a message, and columns as they lie in memory, that together are its body."""
Size = tuple[int, str, int, int]
"""Segment number, segment id, version, members."""


def entries_of(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The entries of a ProfileStep in order: (name of its kind, its bytes).

    google.protobuf.message.DecodeError when `body` is not a ProfileStep.
    """
    for raw in _PROFILE_STEP.FromString(body).entries:
        entry = _PROFILE_ENTRY.FromString(raw)
        kind = entry.WhichOneof("entry")
        if kind is not None:
            yield kind, getattr(entry, kind)


def step_bodies(
    transitions: Columns,
    activity: Columns,
    sizes: Sequence[Size],
    bytes_max: int = PART_BYTES_MAX,
) -> list[bytes]:
    """SegmentStep messages of at most `bytes_max` that together say all of it; [] for nothing.

    Cut by rows, in order; a pure function of its arguments, so that a replayed step has the same
    parts.
    """
    room = bytes_max - PART_HEADROOM_BYTES
    blocks: list[tuple[str, Parts | bytes]] = [
        *(("transitions", block) for block in _transition_blocks(transitions, room)),
        *(("activity", block) for block in _activity_blocks(activity, room)),
        *(("sizes", block) for block in _size_blocks(sizes)),
    ]
    bodies: list[bytes] = []
    parts: Parts = []
    held, said = 0, set[str]()
    for kind, block in blocks:
        alone = [block] if isinstance(block, bytes) else block
        size = len(block) if isinstance(block, bytes) else _size_in_bytes(block)
        if held and (kind in said or held + size > room):
            bodies.append(b"".join(parts))
            parts, held, said = [], 0, set()
        if kind != "sizes":
            said.add(kind)
        # A message is its fields one after the other: nothing is gained by building it.
        parts += (_STEP_FIELDS[kind], varint(size), *alone)
        held += size + 8
    if held:
        bodies.append(b"".join(parts))
    return bodies


def _size_in_bytes(block: Parts) -> int:
    return sum(len(one) if isinstance(one, bytes) else one.nbytes for one in block)


def transitions_of(body: bytes) -> Columns:
    """The transition columns of a SegmentStep: arrays of one length (cause_print: two a row).

    variant: texts, empty for none; only there when a row has one.
    """
    return read_transitions(_SEGMENT_STEP.FromString(body).transitions)


def read_transitions(block: bytes) -> Columns:
    """The columns of a TransitionColumns message, as `transitions_of`."""
    columns = TRANSITION_COLUMNS.decode(block)
    place, pool, ends = (columns.pop(name) for name in _VARIANT_COLUMNS)
    if len(place):
        columns["variant"] = np.array(["", *pool_texts(pool, ends)], object)[place]
    return columns


def write_transitions(columns: Columns) -> bytes:
    """A TransitionColumns message; `variant` as in `transitions_of`."""
    return b"".join(_transition_parts(columns))


def _transition_parts(columns: Columns) -> Parts:
    texts = columns.get("variant")
    if texts is None:
        return TRANSITION_COLUMNS.parts(columns)
    names = sorted(set(texts.tolist()) - {""})
    places = {"": 0} | {name: place for place, name in enumerate(names, 1)}
    pool, ends = pool_of(names)
    variants = dict(
        zip(_VARIANT_COLUMNS, ([places[one] for one in texts.tolist()], pool, ends), strict=True)
    )
    return TRANSITION_COLUMNS.parts({**columns, **(variants if names else {"variant": ()})})


def joined_transitions(blocks: Sequence[Columns]) -> Columns:
    """The rows of several blocks, one after the other."""
    names = dict.fromkeys(name for block in blocks for name in block)
    return {
        name: np.concatenate(
            [block.get(name, np.full(len(block["at_us"]), "", object)) for block in blocks]
        )
        for name in names
    }


def _transition_blocks(columns: Columns, room: int) -> Iterator[Parts]:
    rows = len(columns.get("at_us", ()))
    weight = TRANSITION_ROW_BYTES
    if "variant" in columns:
        # An upper bound that needs no search: as if every row brought the longest name.
        longest = max(len(text.encode()) for text in set(columns["variant"].tolist()))
        weight += VARIANT_ROW_BYTES + longest
    most = max(1, room // weight)
    if 0 < rows <= most:
        yield _transition_parts(columns)
        return
    start = 0
    while start < rows:
        end = _cut(columns, start, start + most) if start + most < rows else rows
        cut = {name: _rows(name, column, start, end) for name, column in columns.items()}
        yield _transition_parts(cut)
        start = end


def _cut(columns: Columns, start: int, end: int) -> int:
    """Where a part ends: what happened to one profile at one instant stays together if it fits."""
    at, profile = columns["at_us"], columns["profile"]
    place = end
    while place > start and at[place] == at[place - 1] and profile[place] == profile[place - 1]:
        place -= 1
    return place if place > start else end


def _rows(name: str, column: Any, start: int, end: int) -> Any:
    return column[2 * start : 2 * end] if name == "cause_print" else column[start:end]


def _activity_blocks(columns: Columns, room: int) -> Iterator[Parts]:
    rows = len(columns.get("segment", ()))
    if not rows:
        return
    pool = np.frombuffer(bytes(columns["name"]), np.uint8)
    if rows * ACTIVITY_ROW_BYTES + len(pool) + 4 * len(columns["name_end"]) <= room:
        yield ACTIVITY_COUNTED.parts(columns)
        return
    names = pool_texts(pool, np.asarray(columns["name_end"]))
    types = np.asarray(columns["type"])
    # An upper bound that needs no search: as if every row brought its own name.
    lengths = np.array([len(name.encode()) + 4 for name in names], np.int64)
    weights = np.cumsum(np.take(ACTIVITY_ROW_BYTES + lengths, types))
    start = 0
    while start < rows:
        spent = weights[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(weights, spent + room, side="right")))
        present = np.bincount(types[start:end], minlength=len(names)) > 0
        recoded = np.take((np.cumsum(present) - 1).astype(np.uint32), types[start:end])
        name, name_end = pool_of([names[n] for n in np.flatnonzero(present).tolist()])
        yield ACTIVITY_COUNTED.parts(
            {
                "segment": columns["segment"][start:end],
                "type": recoded,
                "minute_us": columns["minute_us"][start:end],
                "count": columns["count"][start:end],
                "name": name,
                "name_end": name_end,
            }
        )
        start = end


def _size_blocks(sizes: Sequence[Size]) -> Iterator[bytes]:
    for number, segment_id, version, members in sizes:
        size = _size_of(number, segment_id, version)
        yield size + _MEMBERS + varint(members) if members else size


@lru_cache(maxsize=SIZES_KEPT)
def _size_of(number: int, segment_id: str, version: int) -> bytes:
    """A SegmentSize without members, which come last in it: the rest is said again and again."""
    size = segments.SegmentSize(segment_number=number, segment_id=segment_id, version=version)
    return size.SerializeToString()

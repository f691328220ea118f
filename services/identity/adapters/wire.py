"""What identity says, as bytes on the log: entries of ProfileStep, per partition, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.types.v1 import columns_pb2
from services.chassis.columns import ColumnCodec, Columns, pool_of, varint
from services.chassis.core import PART_BYTES_MAX, Message
from services.chassis.parking import timestamp
from services.identity.engine.changes import Move
from services.identity.engine.cutting import properties_of, rows_of, spans
from services.identity.engine.evidence import Event
from services.identity.engine.store import Store

EVENT_COLUMNS = ColumnCodec(columns_pb2.EventColumns)
PROFILES_CREATED = ColumnCodec(identity.ProfilesCreated)
IDENTIFIERS_LINKED = ColumnCodec(identity.IdentifiersLinked)
ATTRIBUTES_SET = ColumnCodec(identity.AttributesSet)

ENTRY_BYTES_MAX = PART_BYTES_MAX - 64
"""An entry with its frame fits one part."""

_ENTRIES = {field.name: field.number << 3 | 2 for field in identity.ProfileEntry.DESCRIPTOR.fields}


class Created(NamedTuple):
    """Profiles to be said: arrays side by side; former_ids: 0 for new ones. order: place in
    all that is said about ids."""

    numbers: np.ndarray
    public_ids: np.ndarray
    former_ids: np.ndarray
    atoms: np.ndarray
    order: int


def entry(kind: str, body: bytes, more: bytes = b"") -> bytes:
    """One entry of a ProfileStep. more: further fields of the same message."""
    inner = bytes([_ENTRIES[kind]]) + varint(len(body) + len(more))
    return b"".join((b"\x0a", varint(len(inner) + len(body) + len(more)), inner, body, more))


def control_entry(message: Message, time_us: int) -> bytes:
    record = identity.ControlRecord(
        control_sequence=message.sequence,
        subject=message.subject,
        body=message.body,
        take_time=timestamp(time_us),
    )
    return entry("control", record.SerializeToString(deterministic=True))


def created_entries(store: Store, created: Created, chosen: np.ndarray) -> list[bytes]:
    """chosen: places of those to say."""
    numbers, public_ids = created.numbers[chosen], created.public_ids[chosen]
    former_ids, atoms = created.former_ids[chosen], created.atoms[chosen]
    times = store.profiles["create_time_us"][numbers]

    def encoded(start: int, end: int) -> bytes:
        columns = {
            "profile": numbers[start:end],
            "public_id": public_ids[start:end],
            "atom": atoms[start:end],
            "create_time_us": times[start:end],
        }
        if former_ids[start:end].any():
            columns["former_public_id"] = former_ids[start:end]
            columns["order"] = created.order
        return PROFILES_CREATED.encode(columns)

    return _cut("created", encoded, len(numbers))


def linked_entries(
    store: Store, kinds: Sequence[str], atoms: np.ndarray, profiles: np.ndarray
) -> list[bytes]:
    """atoms, profiles: int64, side by side."""
    identifiers = store.atoms["identifier"][atoms].astype(np.int64)
    prints = np.stack([store.atoms["print_high"][atoms], store.atoms["print_low"][atoms]], axis=1)

    def encoded(start: int, end: int) -> bytes:
        chosen = slice(start, end)
        names = [kinds[kind] for kind in store.atoms["kind"][atoms[chosen]].tolist()]
        kind, kind_end = pool_of(names)
        places, text_end = spans(store.text_end, identifiers[chosen])
        return IDENTIFIERS_LINKED.encode(
            {
                "atom": atoms[chosen],
                "profile": profiles[chosen],
                "id_print": prints[chosen].ravel(),
                "kind": kind,
                "kind_end": kind_end,
                "text": store.text[places],
                "text_end": text_end,
                "link_time_us": store.atoms["link_time_us"][atoms[chosen]],
            }
        )

    return _cut("linked", encoded, len(atoms))


def moved_entry(
    move: Move,
    move_id: int,
    event: Event,
    cause: int,
    ids: tuple[int, int],
    order: int,
    across: bool,
    newest: Iterable[str],
) -> bytes:
    """event: what happened; cause: why atoms move for it, a MoveCause. ids: public ids of source
    and target. order: place in all that is said about ids. newest: attributes whose newest value
    stands at a merge."""
    moved = identity.AtomsMoved(
        move_id=move_id,
        from_profile=move.source,
        to_profile=move.target,
        atom=move.atoms,
        merge=move.ends,
        cause_event_id=event.event_id,
        cause_print_high=event.key[3],
        cause_print_low=event.print_low,
        move_time_us=event.time_us,
        across_partitions=across,
        cause=identity.MoveCause.Name(cause),
        newest_attributes=sorted(newest) if move.ends else (),
        from_public_id=ids[0],
        to_public_id=ids[1],
        order=order,
    )
    return entry("moved", moved.SerializeToString(deterministic=True))


def whole_events_entry(body: bytes, profiles: np.ndarray, atoms: np.ndarray) -> bytes | None:
    """All rows of a message as they came, with two columns more; None when that is too large."""
    more = EVENT_COLUMNS.encode({"profile": profiles, "atom": atoms})
    return entry("events", body, more) if len(body) + len(more) <= ENTRY_BYTES_MAX else None


def events_entries(
    columns: Columns, rows: np.ndarray, profiles: np.ndarray, atoms: np.ndarray
) -> list[bytes]:
    """Chosen rows of a message. rows: int64, ascending; profiles, atoms: of all its rows."""

    def encoded(start: int, end: int) -> bytes:
        chosen = rows[start:end]
        cut = rows_of(columns, chosen)
        cut["profile"], cut["atom"] = profiles[chosen], atoms[chosen]
        return EVENT_COLUMNS.encode(cut)

    return _cut("events", encoded, len(rows))


def attributes_of(
    columns: Columns, rows: np.ndarray, profiles: np.ndarray, atoms: np.ndarray
) -> dict[str, Any]:
    """The properties of chosen rows as the columns of an AttributesSet; `key` is by its names."""
    places, ends = spans(columns["prop_end"], rows)
    cut = properties_of(columns, places)
    row = np.repeat(rows, np.diff(ends.astype(np.int64), prepend=0))
    none = np.zeros(len(places), np.uint32)
    return {
        "profile": profiles[row],
        "atom": atoms[row],
        "name": columns["name"],
        "name_end": columns["name_end"],
        "text": cut.get("text", b""),
        "text_end": cut.get("text_end", none[:0]),
        "key": cut.get("prop_key", none),
        "item": cut.get("prop_item", none),
        "kind": cut.get("prop_kind", none.astype(np.uint8)),
        "value": cut.get("prop_value", none.astype(np.int64)),
        "exponent": cut.get("prop_exponent", none.astype(np.uint8)),
        "occur_time_us": columns["occur_time_us"][row],
        "accept_time_us": columns["accept_time_us"][row],
        "event_print": columns["event_print"].reshape(-1, 2)[row].ravel(),
    }


def attributes_entries(
    columns: Columns, rows: np.ndarray, profiles: np.ndarray, atoms: np.ndarray
) -> list[bytes]:
    def encoded(start: int, end: int) -> bytes:
        return ATTRIBUTES_SET.encode(attributes_of(columns, rows[start:end], profiles, atoms))

    return _cut("attributes", encoded, len(rows))


def correction_entries(columns: Columns, chosen: np.ndarray) -> list[bytes]:
    """Chosen values (places, int64) of the columns of an AttributesSet."""
    pools = {name: columns[name] for name in ("name", "name_end", "text", "text_end")}
    prints = columns["event_print"].reshape(-1, 2)
    each = [name for name in columns if name not in pools and name != "event_print"]

    def encoded(start: int, end: int) -> bytes:
        some = chosen[start:end]
        cut = {name: columns[name][some] for name in each}
        return ATTRIBUTES_SET.encode({**pools, **cut, "event_print": prints[some].ravel()})

    return _cut("attributes", encoded, len(chosen))


def bodies_of(entries: Sequence[bytes]) -> list[bytes]:
    """ProfileStep messages of at most PART_BYTES_MAX; a record of CONTROL may stand above it."""
    bodies: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for one in entries:
        if part and size + len(one) > PART_BYTES_MAX:
            bodies.append(b"".join(part))
            part, size = [], 0
        part.append(one)
        size += len(one)
    return [*bodies, b"".join(part)] if part else bodies


def _cut(kind: str, encoded: Callable[[int, int], bytes], n: int) -> list[bytes]:
    """Entries over [0, n), halved until each fits a part."""
    entries: list[bytes] = []
    open_ranges = [(0, n)] if n else []
    while open_ranges:
        start, end = open_ranges.pop()
        body = encoded(start, end)
        if len(body) > ENTRY_BYTES_MAX and end - start > 1:
            middle = (start + end) // 2
            open_ranges += [(middle, end), (start, middle)]
        else:
            entries.append(entry(kind, body))
    return entries

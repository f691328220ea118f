"""Checked rows to bodies of EventColumns, cut by rows so that each fits one message."""

from __future__ import annotations

import numpy as np

from muster.types.v1 import columns_pb2
from services.chassis.columns import ColumnCodec, pool_of
from services.chassis.core import PART_BYTES_MAX
from services.ingest.adapters import rows as at_
from services.ingest.adapters.checks import Checked
from services.ingest.adapters.column_kernel import Buffers, Sizes, build
from services.ingest.adapters.rows import PADDING

CODEC = ColumnCodec(columns_pb2.EventColumns)
_GROWTH = 1.25
"""Columns take up to this much more than the rows they come from: the first guess of a cut."""
_TABLE_MIN = 256
SOURCES_MAX = 255
"""Publishers named in one message; a row of a further one says nobody."""


class ColumnWriter:
    """Writes columns through buffers that every step reuses.

    seed: keys the tables of texts, so that nobody outside can aim at one of their places.
    """

    def __init__(self, seed: int) -> None:
        self._seed = np.uint64(seed)
        self._buffers = _buffers(0, 0, 0, 0)

    def bodies(self, checked: Checked, chosen: np.ndarray) -> list[bytes]:
        """EventColumns of the chosen rows (int64), in order, each at most PART_BYTES_MAX."""
        if not len(chosen):
            return []
        events = checked.rows.events
        size = int((events[chosen, at_.EVENT_END] - events[chosen, at_.EVENT_START]).sum())
        return self._cut(checked, chosen, int(size * _GROWTH) // PART_BYTES_MAX + 1)

    def _cut(self, checked: Checked, chosen: np.ndarray, pieces: int) -> list[bytes]:
        bodies = []
        for piece in np.array_split(chosen, min(pieces, len(chosen))):
            body = self._encoded(checked, piece)
            if len(body) > PART_BYTES_MAX and len(piece) > 1:
                bodies += self._cut(checked, piece, len(body) // PART_BYTES_MAX + 1)
            else:
                bodies.append(body)
        return bodies

    def _encoded(self, checked: Checked, chosen: np.ndarray) -> bytes:
        rows = checked.rows
        names = len(chosen) + len(rows.identifiers) + len(rows.properties)
        self._make_room(len(chosen), len(rows.identifiers), len(rows.properties), len(rows.data))
        out = self._buffers
        sizes = Sizes(
            *build(
                rows.data,
                rows.events,
                rows.identifiers,
                rows.properties,
                chosen,
                checked.prints,
                checked.identifier_prints,
                checked.dropped,
                checked.time_us,
                checked.flags,
                self._seed,
                _table(names),
                _table(len(rows.properties)),
                out,
            )
        )
        columns = _used(out, len(chosen), sizes)
        columns |= _sources(checked.sources, rows.events[chosen, at_.MESSAGE])
        return CODEC.encode(columns)

    def _make_room(self, rows: int, identifiers: int, properties: int, data_bytes: int) -> None:
        have = self._buffers
        if (
            len(have.type) < rows
            or len(have.id_kind) < identifiers
            or len(have.prop_key) < properties
            or len(have.id_text) < data_bytes
        ):
            self._buffers = _buffers(
                max(rows, 2 * len(have.type)),
                max(identifiers, 2 * len(have.id_kind)),
                max(properties, 2 * len(have.prop_key)),
                max(data_bytes, 2 * len(have.id_text)),
            )


def _sources(by_message: list[str], messages: np.ndarray) -> dict[str, np.ndarray]:
    """Who published each row; nothing when nobody is known. messages: of each row."""
    pool = list(dict.fromkeys(name for name in by_message if name))[:SOURCES_MAX]
    if not pool:
        return {}
    places = {name: place for place, name in enumerate(pool, 1)}
    of_message = np.array([places.get(name, 0) for name in by_message], np.uint8)
    name, name_end = pool_of(pool)
    row_source = of_message[messages]
    return {"row_source": row_source, "source_name": name, "source_name_end": name_end}


def _table(entries: int) -> np.ndarray:
    """An empty table, a power of two, at most half full with so many entries."""
    return np.full(max(_TABLE_MIN, 1 << (2 * entries).bit_length()), -1, np.int32)


def _buffers(rows: int, identifiers: int, properties: int, data_bytes: int) -> Buffers:
    u4, i8, u1, u8 = np.uint32, np.int64, np.uint8, np.uint64
    names = rows + identifiers + properties
    return Buffers(
        event_print=np.empty((rows, 2), u8),
        type=np.empty(rows, u4),
        occur_time_us=np.empty(rows, i8),
        send_time_us=np.empty(rows, i8),
        accept_time_us=np.empty(rows, i8),
        row_flags=np.empty(rows, u1),
        event_id=np.empty(data_bytes, u1),
        event_id_end=np.empty(rows, u4),
        id_end=np.empty(rows, u4),
        id_kind=np.empty(identifiers, u4),
        id_print=np.empty((identifiers, 2), u8),
        id_text=np.empty(data_bytes, u1),
        id_text_end=np.empty(identifiers, u4),
        prop_end=np.empty(rows, u4),
        prop_key=np.empty(properties, u4),
        prop_item=np.empty(properties, u4),
        prop_kind=np.empty(properties, u1),
        prop_value=np.empty(properties, i8),
        prop_exponent=np.empty(properties, u1),
        name=np.empty(data_bytes + len(PADDING), u1),
        name_end=np.empty(names, u4),
        text=np.empty(data_bytes + len(PADDING), u1),
        text_end=np.empty(properties, u4),
    )


def _used(out: Buffers, rows: int, sizes: Sizes) -> dict[str, np.ndarray | int]:
    """The columns as the codec takes them: only what was written."""
    per_row = {
        name: getattr(out, name)[:rows]
        for name in (
            "event_print",
            "type",
            "occur_time_us",
            "send_time_us",
            "accept_time_us",
            "row_flags",
            "event_id_end",
            "id_end",
            "prop_end",
        )
    }
    per_identifier = {
        name: getattr(out, name)[: sizes.identifiers]
        for name in ("id_kind", "id_print", "id_text_end")
    }
    per_property = {
        name: getattr(out, name)[: sizes.properties]
        for name in ("prop_key", "prop_kind", "prop_value", "prop_exponent")
    }
    if sizes.has_items:
        per_property["prop_item"] = out.prop_item[: sizes.properties]
    return {
        "rows": rows,
        **per_row,
        **per_identifier,
        **per_property,
        "event_id": out.event_id[: sizes.event_id_bytes],
        "id_text": out.id_text[: sizes.id_text_bytes],
        "name": out.name[: sizes.name_bytes],
        "name_end": out.name_end[: sizes.names],
        "text": out.text[: sizes.text_bytes],
        "text_end": out.text_end[: sizes.texts],
    }

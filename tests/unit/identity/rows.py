"""EventColumns as rows, value by value, to compare what went in with what came out."""

from __future__ import annotations

from typing import Any

from muster.types.v1 import columns_pb2
from tests.unit.identity.follower import texts


def rows_of(columns: columns_pb2.EventColumns) -> list[dict[str, Any]]:
    names = texts(columns.name, columns.name_end)
    pool = texts(columns.text, columns.text_end)
    event_ids = texts(columns.event_id, columns.event_id_end)
    id_texts = texts(columns.id_text, columns.id_text_end)
    sealed = sealed_of(columns)
    rows, id_start, prop_start = [], 0, 0
    for place in range(columns.rows):
        id_end = columns.id_end[place]
        prop_end = columns.prop_end[place] if columns.prop_end else 0
        rows.append(
            {
                "event_id": event_ids[place],
                "print": tuple(columns.event_print[2 * place : 2 * place + 2]),
                "type": names[columns.type[place]],
                "occur": columns.occur_time_us[place],
                "send": columns.send_time_us[place],
                "accept": columns.accept_time_us[place],
                "flags": columns.row_flags[place] if columns.row_flags else 0,
                "ids": [
                    (
                        names[columns.id_kind[at]],
                        tuple(columns.id_print[2 * at : 2 * at + 2]),
                        id_texts[at],
                    )
                    for at in range(id_start, id_end)
                ],
                "properties": [
                    (
                        names[columns.prop_key[at]],
                        columns.prop_item[at] if columns.prop_item else 0,
                        columns.prop_kind[at],
                        pool[columns.prop_value[at]]
                        if columns.prop_kind[at] == 1
                        else columns.prop_value[at],
                        columns.prop_exponent[at] if columns.prop_exponent else 0,
                        sealed.get(at),
                    )
                    for at in range(prop_start, prop_end)
                ],
            }
        )
        id_start, prop_start = id_end, prop_end
    return rows


def sealed_of(columns: columns_pb2.EventColumns) -> dict[int, tuple[int, bytes]]:
    found, start = {}, 0
    for at, (place, end) in enumerate(
        zip(columns.sealed_prop, columns.sealed_text_end, strict=True)
    ):
        found[place] = columns.sealed_key_id[at], columns.sealed_text[start:end]
        start = end
    return found

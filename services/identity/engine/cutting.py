"""Some rows of EventColumns as EventColumns of their own: hot kernels over ragged columns.

Names keep their numbers; texts are pooled anew, so that a cut carries only what it uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

TEXT_KIND = 1
_PER_ROW = ("type", "occur_time_us", "send_time_us", "accept_time_us", "row_flags")
_PER_PROPERTY = ("prop_key", "prop_item", "prop_kind", "prop_value", "prop_exponent")
Columns = Mapping[str, Any]


@njit(nogil=True, cache=True)
def spans(ends: Any, chosen: Any) -> Any:
    """(places, running ends) of chosen slices of a ragged column."""
    total = np.int64(0)
    new_ends = np.empty(len(chosen), np.uint32)
    for i in range(len(chosen)):
        one = chosen[i]
        total += np.int64(ends[one]) - (np.int64(ends[one - 1]) if one else 0)
        new_ends[i] = total
    places = np.empty(total, np.int64)
    at = 0
    for i in range(len(chosen)):
        one = chosen[i]
        for place in range(np.int64(ends[one - 1]) if one else 0, np.int64(ends[one])):
            places[at] = place
            at += 1
    return places, new_ends


@njit(nogil=True, cache=True)
def _repooled(kinds: Any, values: Any, text_end: Any, text: Any) -> Any:
    """(values with new text numbers, texts, ends): only texts that are used, in order of use."""
    number = np.full(len(text_end), -1, np.int64)
    order = np.empty(len(text_end), np.int64)
    used = 0
    out = values.copy()
    for i in range(len(values)):
        if kinds[i] == TEXT_KIND:
            old = values[i]
            if number[old] < 0:
                number[old] = used
                order[used] = old
                used += 1
            out[i] = number[old]
    ends = np.empty(used, np.uint32)
    total = np.int64(0)
    for i in range(used):
        old = order[i]
        total += np.int64(text_end[old]) - (np.int64(text_end[old - 1]) if old else 0)
        ends[i] = total
    pool = np.empty(total, np.uint8)
    at = 0
    for i in range(used):
        old = order[i]
        for place in range(np.int64(text_end[old - 1]) if old else 0, np.int64(text_end[old])):
            pool[at] = text[place]
            at += 1
    return out, pool, ends


def _pairs(words: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Chosen prints, two words each."""
    return words.reshape(-1, 2)[places].ravel()


def properties_of(columns: Columns, places: np.ndarray) -> dict[str, Any]:
    """Chosen properties with the pools they use. places: int64, in order."""
    cut = {name: columns[name][places] for name in _PER_PROPERTY if len(columns[name])}
    if len(places) and len(columns["text_end"]):
        cut["prop_value"], cut["text"], cut["text_end"] = _repooled(
            cut["prop_kind"], cut["prop_value"], columns["text_end"], columns["text"]
        )
    return cut


def rows_of(columns: Columns, rows: np.ndarray) -> dict[str, Any]:
    """The columns of chosen rows. rows: int64 row numbers, ascending."""
    cut = {name: columns[name][rows] for name in _PER_ROW if len(columns[name])}
    cut["rows"] = len(rows)
    cut["name"], cut["name_end"] = columns["name"], columns["name_end"]
    cut["event_print"] = _pairs(columns["event_print"], rows)
    if len(columns["event_id_end"]):
        places, cut["event_id_end"] = spans(columns["event_id_end"], rows)
        cut["event_id"] = columns["event_id"][places]
    ids, cut["id_end"] = spans(columns["id_end"], rows)
    cut["id_kind"] = columns["id_kind"][ids]
    cut["id_print"] = _pairs(columns["id_print"], ids)
    places, cut["id_text_end"] = spans(columns["id_text_end"], ids)
    cut["id_text"] = columns["id_text"][places]
    if len(columns["prop_end"]):
        properties, cut["prop_end"] = spans(columns["prop_end"], rows)
        cut |= properties_of(columns, properties)
        if len(columns["sealed_prop"]):
            cut |= _sealed(columns, properties)
    return cut


def _sealed(columns: Columns, properties: np.ndarray) -> dict[str, Any]:
    """Sealed properties among the chosen ones, with their new numbers."""
    place_of = np.full(len(columns["prop_key"]), -1, np.int64)
    place_of[properties] = np.arange(len(properties))
    chosen = np.flatnonzero(place_of[columns["sealed_prop"]] >= 0)
    if not len(chosen):
        return {}
    places, ends = spans(columns["sealed_text_end"], chosen)
    return {
        "sealed_prop": place_of[columns["sealed_prop"][chosen]],
        "sealed_key_id": columns["sealed_key_id"][chosen],
        "sealed_text": columns["sealed_text"][places],
        "sealed_text_end": ends,
    }

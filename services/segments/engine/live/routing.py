"""The index from an event to the streams that take it, so that cost grows with what matches.

A selection that asks for one text of a property (campaign = spring) is found by a look-up of that
text; a thousand campaigns cost as much as one. Other filters are asked per event of their types.
Hot kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain.values import TEXT, Op, Test, number_of_text
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.base.tables import Table, find, mixed
from services.segments.engine.live.streams import Stream
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.filters import Filters, FilterTable, meets
from services.segments.engine.store.predicates import Predicates
from services.segments.engine.store.texts import Names, Texts


class Routes(NamedTuple):
    """By event type: streams asked for every event, and properties whose text is looked up."""

    ptr: Array
    streams: Array
    filters: Array
    key_ptr: Array
    keys: Array
    look_keys: Array
    look_values: Array
    look_ptr: Array
    look_streams: Array
    look_filters: Array


@njit(cache=True, nogil=True, inline="always")
def _place_of(kind: int, key: int, text: int) -> Number:
    return mixed(np.uint64(kind) << np.uint64(44) ^ np.uint64(key) << np.uint64(24)) ^ np.uint64(
        text
    )


@njit(cache=True, nogil=True)
def route(
    r: Routes, e: EventRows, p: Predicates, f: Filters, slot_row: Array, rows: Array,
    seen: Array, out_stream: Array, out_place: Array, counts: Array,
) -> int:  # fmt: skip
    """Pairs (stream, place in `rows`) of the rows each stream takes; how many, -1 when full.

    counts[s] counts the rows of stream s; seen is scratch, by stream. Writes nothing else, so it
    can be repeated when a text had no answer yet.
    """
    r, e, p, f = bare(r), bare(e), bare(p), bare(f)
    n = 0
    counts[:] = 0
    seen[:] = -1
    for place in range(rows.size):
        row = rows[place]
        kind = e.type[row]
        if kind + 1 >= r.ptr.size or slot_row[e.slot[row]] < 0:
            continue
        if n + seen.size > out_stream.size:
            return -1
        for i in range(r.ptr[kind], r.ptr[kind + 1]):
            if r.filters[i] < 0 or meets(e, p, f, r.filters[i], row):
                s = r.streams[i]
                out_stream[n] = s
                out_place[n] = place
                counts[s] += 1
                n += 1
        if r.key_ptr[kind] == r.key_ptr[kind + 1]:
            continue
        start = e.prop_end[row - 1] if row > 0 else np.int64(0)
        for q in range(start, e.prop_end[row]):
            if e.kind[q] != 1:
                continue
            for j in range(r.key_ptr[kind], r.key_ptr[kind + 1]):
                if r.keys[j] != e.key[q]:
                    continue
                text = p.canonical[e.value[q]]
                entry = find(r.look_keys, r.look_values, _place_of(kind, e.key[q], text))
                if entry < 0:
                    break
                for i in range(r.look_ptr[entry], r.look_ptr[entry + 1]):
                    s = r.look_streams[i]
                    if seen[s] == place:
                        continue
                    seen[s] = place
                    if meets(e, p, f, r.look_filters[i], row):
                        out_stream[n] = s
                        out_place[n] = place
                        counts[s] += 1
                        n += 1
                break
    return n


@njit(cache=True, nogil=True)
def distribute(
    n: int, out_stream: Array, out_place: Array, counts: Array, rows: Array, effects: Array,
    ptr: Array, stream_rows: Array, stream_effects: Array,
) -> None:  # fmt: skip
    """Groups the pairs by stream, keeping their order: stream s has [ptr[s], ptr[s + 1])."""
    total = np.int64(0)
    for s in range(counts.size):
        ptr[s] = total
        total += counts[s]
    ptr[counts.size] = total
    fill = ptr[: counts.size].copy()
    for i in range(n):
        at = fill[out_stream[i]]
        fill[out_stream[i]] = at + 1
        stream_rows[at] = rows[out_place[i]]
        stream_effects[at] = effects[out_place[i]]


def looked_up(where: rule.Filter | None) -> tuple[str, tuple[str, ...]] | None:
    """(property, texts) when the filter can only hold for events with one of these texts."""
    if isinstance(where, rule.FilterAll):
        return next((found for part in where.of if (found := looked_up(part))), None)
    if not isinstance(where, rule.Property) or where.test.op not in (Op.EQ, Op.IN):
        return None
    if not all(_only_text(where.test, i) for i in range(len(where.test.values))):
        return None
    return where.key, tuple(value.text for value in where.test.values)


def _only_text(test: Test, index: int) -> bool:
    """Whether only that very text is equal to the value: numeric texts equal numbers too."""
    value = test.values[index]
    return value.kind == TEXT and bool(value.text) and number_of_text(value.text) is None


def build_routes(streams: list[Stream], filters: FilterTable, names: Names, texts: Texts) -> Routes:
    """The index over these streams and all event types known so far."""
    plain: list[list[tuple[int, int]]] = [[] for _ in names.names]
    keys: list[set[int]] = [set() for _ in names.names]
    entries: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for stream in streams:
        wanted = looked_up(stream.selector.where)
        for kind, name in enumerate(names.names):
            if not stream.takes(name):
                continue
            if wanted is None:
                plain[kind].append((stream.number, stream.filter_number))
                continue
            key = names.number_of(wanted[0])
            keys[kind].add(key)
            # A new text may move the columns of texts: all are known before one is looked up.
            known = [texts.number_of(text) for text in wanted[1]]
            for number in {int(texts.canonical[one]) for one in known}:
                entry = entries.setdefault((kind, key, number), [])
                entry.append((stream.number, stream.filter_number))
    table = Table()
    table.reserve(len(entries))
    collided: dict[int, list[tuple[int, int]]] = {}
    for (kind, key, number), takers in entries.items():
        # Two entries under one 64-bit place only cost a filter that says no.
        collided.setdefault(int(_place_of(kind, key, number)), []).extend(takers)
    for index, place in enumerate(collided):
        table.set(place, index)
    takers_of = list(collided.values())
    flat = [pair for pairs in plain for pair in pairs]
    looked = [pair for pairs in takers_of for pair in pairs]
    return Routes(
        _starts(plain), _column(flat, 0), _column(flat, 1), _starts([sorted(k) for k in keys]),
        np.array([key for found in keys for key in sorted(found)], np.int64), table.keys,
        table.values, _starts(takers_of), _column(looked, 0), _column(looked, 1),
    )  # fmt: skip


def _starts(lists: list[list[tuple[int, int]]] | list[list[int]]) -> Array:
    return np.cumsum([0, *map(len, lists)]).astype(np.int64)


def _column(pairs: list[tuple[int, int]], index: int) -> Array:
    return np.array([pair[index] for pair in pairs], np.int64)

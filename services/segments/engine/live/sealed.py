"""Streams in a snapshot: what nothing can come between any more is written once, the rest anew.

Until late rows are merged into it, a main run changes only among its newest `shift_rows_max` rows.
Whole blocks before them are append-only columns, named by the run's serial, which the next life
maps as they lie; of younger rows, of late and of tail only the numbers are kept: all else about
them stands in the log. A selection is recognised by what it says; one that is not is begun from the
log, as for a new rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from services.chassis.core import Appended, roomy
from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, grown
from services.segments.engine.language.expressions import (
    AverageLeaf,
    FigureLeaf,
    LeafSpec,
    PastLeaf,
)
from services.segments.engine.live.streams import LATE, MAIN, TAIL, Stream, fill_amounts
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import selectors_of

_COLUMNS = {"occur": np.int64, "slot": np.int32, "row": np.int32}


def print_of(said: object) -> str:
    """What recognises a selection or a leaf: a digest of its text, which names every field."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


def dump(part: Partition) -> dict[str, Array | Appended]:
    """The rows of all streams and the amounts beside them; `described` says whose they are."""
    table, found = part.streams, dict[str, Array | Appended]()
    for number, stream in table.streams.items():
        main, late, tail = stream.runs
        n = table.length[number].tolist()
        sealed = _sealed(part, n[MAIN])
        name = _name(stream.serial, print_of(stream.selector))
        fresh = main.row[sealed : n[MAIN]], late.row[: n[LATE]], tail.row[: n[TAIL]]
        found[f"{name}.fresh"] = np.concatenate(fresh)
        if sealed:
            for column in _COLUMNS:
                found[f"{name}.{column}"] = Appended(getattr(main, column)[:sealed])
        for measure in table.filled(stream).values():
            amounts = f"{name}.{table.measure_serials[measure]}"
            if sealed:
                found[amounts] = Appended(main.amounts[measure][:sealed])
            marked = np.flatnonzero(table.exact[measure][: part.people.rows])
            if marked.size:
                found[f"{amounts}.exact"] = marked.astype(np.int32)
    return found


def described(part: Partition) -> dict[str, Any]:
    """The streams of a dump: number, serial, print of the selection, lengths, sealed rows, measures
    as (property, whether elements are counted, serial)."""
    table, streams = part.streams, []
    for number, stream in table.streams.items():
        lengths = table.length[number].tolist()
        measures = [
            [*measured, table.measure_serials[measure]]
            for measured, measure in table.filled(stream).items()
        ]
        streams.append(
            [
                number, stream.serial, print_of(stream.selector), lengths,
                _sealed(part, lengths[MAIN]), measures,
            ]
        )  # fmt: skip
    return {"serial": table.serial, "free": table.free, "streams": streams}


def _name(serial: int, mark: str) -> str:
    """Of the columns of a run: of another selection it would be another, whoever counts serials."""
    return f"streams.{serial}.{mark[:8]}"


def _sealed(part: Partition, rows: int) -> int:
    """How many of the first rows of a main run can change no more until a merge."""
    block = part.limits.sealed_rows
    return max(rows - part.limits.shift_rows_max, 0) // block * block


def restore(
    part: Partition, state: Mapping[str, memoryview], meta: dict[str, Any], asked: set[LeafSpec]
) -> None:
    """Takes up the streams of a dump whose selections these leaves look at."""
    known = {print_of(one): one for spec in asked for one in _selections(spec)}
    table = part.streams
    for number, serial, mark, lengths, sealed, measures in meta["streams"]:
        selector = known.get(mark)
        if selector is None:
            meta["free"].append(number)
            continue
        name = _name(serial, mark)
        stream = _stream(part, selector, number, state, name, lengths, sealed)
        stream.serial = serial
        for what, elements, own in measures:
            measure = _measure(part, stream, (what, elements), state, f"{name}.{own}", sealed)
            table.measure_serials[measure] = own
    table.serial, table.free = meta["serial"], meta["free"]
    table.touched()
    part.rerouted()


def _selections(spec: LeafSpec) -> Iterable[rule.Selector]:
    if isinstance(spec, FigureLeaf | AverageLeaf):
        return (spec.events,)
    return selectors_of(spec.node) if isinstance(spec, PastLeaf) else ()


def _stream(
    part: Partition, selector: rule.Selector, number: int, state: Mapping[str, memoryview],
    name: str, lengths: list[int], sealed: int,
) -> Stream:  # fmt: skip
    """A stream with its rows, in the runs in which they were."""
    view = part.events.view
    chosen = -1 if selector.where is None else part.filters.number_of(selector.where)
    stream = part.streams.add(selector, chosen, number)
    fresh = np.frombuffer(state[f"{name}.fresh"], np.int32)
    if sealed:
        for column, kind in _COLUMNS.items():
            setattr(stream.runs[MAIN], column, roomy(state[f"{name}.{column}"], kind))
    first = 0
    for run, length, start in zip(stream.runs, lengths, (sealed, 0, 0), strict=True):
        rows = fresh[first : first + length - start]
        for column, values in (
            ("occur", view.occur[rows]), ("slot", view.slot[rows]), ("row", rows)
        ):  # fmt: skip
            array = grown(getattr(run, column), length)
            array[start:length] = values
            setattr(run, column, array)
        first += rows.size
    part.streams.length[stream.number] = lengths
    return stream


def _measure(
    part: Partition, stream: Stream, measured: tuple[str, bool], state: Mapping[str, memoryview],
    name: str, sealed: int,
) -> int:  # fmt: skip
    """A measure with its amounts, and the marks of profiles whose sums come from rows."""
    table = part.streams
    key = part.names.number_of(measured[0])
    measure = table.new_measure(stream, measured, key, part.capacity)
    view, tests, key = part.events.view, part.tests.view(), table.measures[measure][1]
    lengths = table.length[stream.number].tolist()
    for run, length, start in zip(stream.runs, lengths, (sealed, 0, 0), strict=True):
        amounts = roomy(state[name], np.int64) if start else np.zeros(run.occur.size, np.int64)
        amounts = run.amounts[measure] = grown(amounts, length)
        fill_amounts(view, tests, run.row[start:length], key, amounts[start:length])
    if f"{name}.exact" in state:
        table.exact[measure][np.frombuffer(state[f"{name}.exact"], np.int32)] = 1
    return measure

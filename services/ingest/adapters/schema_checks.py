"""Holds checked rows against the registry's schemas, on columns.

Costs nothing while nobody described a type. Otherwise types and property keys are numbered once a
batch, and what each (type, key) may hold is one look-up per property; Python looks only at texts
that stand for numbers or times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.ingest.adapters import rows as at_
from services.ingest.adapters.checks import Checked
from services.ingest.adapters.identifier_kernel import kinds
from services.ingest.adapters.rows import Rows
from services.ingest.domain.faults import Fault
from services.ingest.domain.registry import Registry
from services.ingest.domain.schemas import Kind, Schema, reads_as

_NUMBERS = 1 << at_.WHOLE | 1 << at_.DECIMAL | 1 << at_.NUMBER
_EVERY = 0xFF
_MASKS = {
    Kind.ANY: _EVERY,
    Kind.TEXT: 1 << at_.TEXT,
    Kind.NUMBER: _NUMBERS,
    Kind.FLAG: 1 << at_.FLAG,
    Kind.TIME: 1 << at_.TIME,
}
_READABLE = {Kind.NUMBER, Kind.TIME}
"""Kinds that a text may stand for."""


@dataclass(slots=True)
class Numbered:
    """Distinct slices of a table: their texts, and the number of each line's."""

    texts: list[str]
    number: np.ndarray


def check_schemas(checked: Checked, registry: Registry) -> None:
    """Refuses rows that a schema does not allow; only clean rows are judged."""
    if registry.is_plain or not len(checked.rows):
        return
    checked.named |= _judged(checked.rows, checked.faults, registry)
    checked.faulty = int(np.count_nonzero(checked.faults))


def _judged(rows: Rows, faults: np.ndarray, registry: Registry) -> dict[int, str]:
    types = types_of(rows)
    schemas = [registry.schema(name) for name in types.texts]
    if registry.vocabulary.quarantine:
        unknown = np.array([schema is None for schema in schemas])
        faults[unknown[types.number] & (faults == 0)] = Fault.EVENT_TYPE_NOT_DESCRIBED
    if not any(schema is not None and (schema.rules or schema.closed) for schema in schemas):
        return {}
    return _check_properties(rows, faults, types, schemas)


def types_of(rows: Rows) -> Numbered:
    """The distinct event types of the rows."""
    return _numbered(rows, rows.events, at_.TYPE_START)


def _check_properties(
    rows: Rows, faults: np.ndarray, types: Numbered, schemas: list[Schema | None]
) -> dict[int, str]:
    named: dict[int, str] = {}
    ends = rows.events[:, at_.PROPERTIES_END]
    owners = np.repeat(np.arange(len(rows)), np.diff(ends, prepend=0))
    keys = _numbered(rows, rows.properties, at_.KEY_START)
    allowed, wanted = _tables(schemas, keys.texts)
    if len(owners):
        pairs = types.number[owners], keys.number
        kind = rows.properties[:, at_.KIND]
        fits = allowed[pairs] >> kind & 1 == 1
        fits |= kind == at_.ABSENT
        for line in np.flatnonzero(~fits & (faults[owners] == 0)).tolist():
            row, key = int(owners[line]), int(keys.number[line])
            if allowed[int(types.number[row]), key] == 0:
                fault = Fault.PROPERTY_NOT_DESCRIBED
            elif _reads(rows, line, Kind(int(wanted[int(types.number[row]), key]))):
                continue
            else:
                fault = Fault.PROPERTY_OF_WRONG_TYPE
            if not faults[row]:
                faults[row] = fault
                named[row] = keys.texts[key]
    _check_required(rows, faults, types, schemas, keys, owners, named)
    return named


def _check_required(
    rows: Rows,
    faults: np.ndarray,
    types: Numbered,
    schemas: list[Schema | None],
    keys: Numbered,
    owners: np.ndarray,
    named: dict[int, str],
) -> None:
    places = {text: number for number, text in enumerate(keys.texts)}
    there = rows.properties[:, at_.KIND] != at_.ABSENT
    for number, schema in enumerate(schemas):
        for rule in schema.rules if schema else ():
            if not rule.required:
                continue
            present = np.zeros(len(rows), np.bool_)
            if rule.key in places:
                present[owners[(keys.number == places[rule.key]) & there]] = True
            missing = (types.number == number) & ~present & (faults == 0)
            faults[missing] = Fault.PROPERTY_MISSING
            named.update(dict.fromkeys(np.flatnonzero(missing).tolist(), rule.key))


def _tables(schemas: list[Schema | None], keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(types, keys): a bit per kind of value that is allowed; the kind that is wanted."""
    allowed = np.full((len(schemas), len(keys)), _EVERY, np.int64)
    wanted = np.full((len(schemas), len(keys)), Kind.ANY, np.int64)
    for number, schema in enumerate(schemas):
        if schema is None:
            continue
        rules = {rule.key: rule for rule in schema.rules}
        for place, key in enumerate(keys):
            rule = rules.get(key)
            if rule is not None:
                allowed[number, place] = _MASKS[rule.kind]
                wanted[number, place] = rule.kind
            elif schema.closed:
                allowed[number, place] = 0
    return allowed, wanted


def _reads(rows: Rows, line: int, kind: Kind) -> bool:
    if kind not in _READABLE or rows.properties[line, at_.KIND] != at_.TEXT:
        return False
    start, end = rows.properties[line, at_.TEXT_START : at_.TEXT_END + 1].tolist()
    return reads_as(kind, rows.slice(start, end).decode(errors="replace"))


def _numbered(rows: Rows, table: np.ndarray, start: int) -> Numbered:
    """The distinct slices [start, start + 1) of a table's lines."""
    slices = np.zeros((len(table), at_.IDENTIFIER_WIDTH), np.int64)
    slices[:, :2] = table[:, start : start + 2]
    number = np.empty(len(table), np.int32)
    firsts = np.empty(len(table), np.int64)
    found = int(kinds(rows.data, slices, number, firsts)) if len(table) else 0
    texts = [
        rows.slice(*slices[first, :2].tolist()).decode(errors="replace")
        for first in firsts[:found].tolist()
    ]
    return _merged(texts, number)


def _merged(texts: list[str], number: np.ndarray) -> Numbered:
    """One number a text: the kernel may number one twice when there are many."""
    places: dict[str, int] = {}
    to = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
    return Numbered(list(places), to[number] if len(texts) else number.astype(np.int64))

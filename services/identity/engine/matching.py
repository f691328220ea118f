"""Identifiers that match a pattern of the rules: marked before anything is decided on them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from services.identity.domain.patterns import Pattern, by_kind, matching
from services.identity.engine import tables
from services.identity.engine.regions import Knowledge
from services.identity.engine.shapes import Rows
from services.identity.engine.store import ATOMS, SHARED


def matched(knowledge: Knowledge, patterns: Iterable[Pattern]) -> set[int]:
    """All known identifiers that match; about a microsecond for each of the kinds spoken of."""
    store, names = knowledge.store, knowledge.kinds.names
    spoken = by_kind(patterns, names)
    if not spoken:
        return set()
    atoms = store.atoms[: store.count(ATOMS)]
    codes = [code for code, name in enumerate(names) if name in spoken]
    first = atoms["identifier"] == np.arange(len(atoms))
    chosen = np.flatnonzero(first & np.isin(atoms["kind"], codes))
    kind = atoms["kind"]
    return {
        one
        for one in chosen.tolist()
        if _match(spoken[names[int(kind[one])]], store.text_of(one).decode())
    }


def mark_new(knowledge: Knowledge, rows: Rows, names: list[str]) -> None:
    """Enters the identifiers of these rows that nobody knew and that match, as ignored.

    names: the rows' pool. What is known was marked when it came, or when the rules did.
    """
    spoken = by_kind(knowledge.kinds.rules.patterns, _used(rows, names))
    if not spoken:
        return
    store = knowledge.store
    wanted = np.array([name in spoken for name in names], np.bool_)
    places = np.flatnonzero(wanted[rows.id_kind])
    places = places[tables.unknown(store.atom_slots, store.atoms, rows.id_print, places)]
    for place in places.tolist():
        name = names[int(rows.id_kind[place])]
        start = int(rows.id_text_end[place - 1]) if place else 0
        text = rows.id_text[start : int(rows.id_text_end[place])].tobytes()
        if _match(spoken[name], text.decode()):
            high, low = (int(word) for word in rows.id_print[2 * place : 2 * place + 2])
            enter(knowledge, high, low, int(rows.code[rows.id_kind[place]]), text)


def enter(knowledge: Knowledge, high: int, low: int, kind: int, text: bytes) -> int:
    """The identifier of a name, entered if need be; ignored as a whole when it matches."""
    store, kinds = knowledge.store, knowledge.kinds
    found = store.find_identifier(high, low)
    if found is not None:
        return found
    identifier = store.add_identifier(high, low, kind, text, kinds.token[kind])
    name = kinds.names[kind]
    if matching(kinds.rules.patterns, name, text.decode()):
        store.atoms["flags"][identifier] |= SHARED
    return identifier


def _used(rows: Rows, names: list[str]) -> list[str]:
    return [names[place] for place in np.flatnonzero(np.asarray(rows.code) >= 0).tolist()]


def _match(patterns: Iterable[Pattern], value: str) -> bool:
    return any(pattern.matches(value) for pattern in patterns)

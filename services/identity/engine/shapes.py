"""What the kernels of identity take: rows, the store's arrays, the rules, room for joins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.identity.domain.kinds import UNLIMITED, Kinds
from services.identity.engine import store as layout

U = np.uint64
ROW_IDENTIFIERS_MAX = 64
"""Different identifiers of one row; ingest takes at most 20."""

JOINS_MAX = 512
"""Joins of one run of the kernel; with the atoms that go, beyond it the run ends."""
JOINED_ATOMS_MAX = 8_192
ROW_UNTRUSTED = 2
"""Bit of row_flags: the row's publisher may not join two known people."""


class Rows(NamedTuple):
    """Columns of EventColumns that say who a row is about. code: pool name -> code of the kind."""

    id_end: Any
    id_kind: Any
    id_print: Any
    id_text: Any
    id_text_end: Any
    occur_time_us: Any
    accept_time_us: Any
    event_print: Any
    event_id: Any
    event_id_end: Any
    row_flags: Any
    code: Any


class Arrays(NamedTuple):
    """The store's arrays."""

    counts: Any
    atoms: Any
    evidence: Any
    bears: Any
    profiles: Any
    sightings: Any
    text: Any
    text_end: Any
    event_ids: Any
    atom_slots: Any
    set_slots: Any


def arrays_of(store: layout.Store) -> Arrays:
    """The store as the kernel sees it, until it grows."""
    return Arrays(
        store.counts,
        store.atoms,
        store.evidence,
        store.bears,
        store.profiles,
        store.sightings,
        store.text,
        store.text_end,
        store.event_ids,
        store.atom_slots,
        store.set_slots,
    )


class Joins(NamedTuple):
    """Profiles joined in one run: the row, who ended, in whom, and the atoms that went.

    run: number of the run (uint32). count: of joins (int64, one element). atom_end: running ends.
    """

    run: Any
    count: Any
    row: Any
    source: Any
    target: Any
    atom_end: Any
    atom: Any


def joins_for(run: int) -> Joins:
    """Room for the joins of one run."""
    some = np.empty(JOINS_MAX, np.int64)
    return Joins(
        np.uint32(run & 0xFFFFFFFF),
        np.zeros(1, np.int64),
        some,
        some.copy(),
        some.copy(),
        some.copy(),
        np.empty(JOINED_ATOMS_MAX, np.int64),
    )


class Limits(NamedTuple):
    """The rules by code of kind. limited, tokens, people: bits of kinds with a limit, that are
    push tokens, that make a person known. forbids: whether any two may not stand together."""

    strength: Any
    token: Any
    knows: Any
    limited: Any
    tokens: Any
    people: Any
    forbids: Any
    shared_others_max: int
    identifiers_max: int


@njit(nogil=True, cache=True, inline="always")
def kind_bit(code: Any) -> Any:
    return U(1) << U(min(code, 63))


def limits_of(kinds: Kinds, forbids: bool) -> Limits:
    """The rules for the kinds met so far."""

    def bits(chosen: Iterable[int]) -> np.uint64:
        found = U(0)
        for code in chosen:
            found |= kind_bit(code)
        return found

    return Limits(
        np.array(kinds.strengths(), np.int64),
        np.array(kinds.token, np.bool_),
        np.array(kinds.knows, np.bool_),
        bits(code for code, limit in enumerate(kinds.limit) if limit < UNLIMITED),
        bits(code for code, token in enumerate(kinds.token) if token),
        bits(code for code, knows in enumerate(kinds.knows) if knows),
        forbids,
        kinds.rules.shared_others_max,
        kinds.rules.profile_identifiers_max,
    )

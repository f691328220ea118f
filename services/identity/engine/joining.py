"""Joining two profiles when nothing is to be decided about it. Hot kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.identity.engine import store as layout
from services.identity.engine.shapes import ROW_UNTRUSTED

U = np.uint64
_NONE = layout.NONE


@njit(nogil=True, cache=True)
def may_join(
    rows: Any, arrays: Any, limits: Any, joins: Any, row: Any, one: Any, other: Any, fresh: Any
) -> Any:
    """Whether a row without tokens joins two profiles with nothing to be decided.

    Neither may have changed in this run: what was learnt of it has not been said yet.
    """
    a, b = arrays.profiles[one], arrays.profiles[other]
    done = joins.count[0]
    room = len(joins.atom) - (joins.atom_end[done - 1] if done else 0)
    untrusted = rows.row_flags[row] & ROW_UNTRUSTED != 0
    return not (
        limits.forbids
        or a.run == joins.run
        or b.run == joins.run
        or rows.occur_time_us[row] <= a.last_time_us
        or rows.occur_time_us[row] <= b.last_time_us
        or (a.kinds | b.kinds) >> U(63)
        or a.kinds & b.kinds & (limits.limited | limits.tokens)
        or (untrusted and a.kinds & limits.people and b.kinds & limits.people)
        or np.int64(a.size) + np.int64(b.size) + fresh > limits.identifiers_max
        or room < max(_atoms_of(arrays, one), _atoms_of(arrays, other))
    )


@njit(nogil=True, cache=True)
def _atoms_of(arrays: Any, profile: Any) -> Any:
    count = np.int64(0)
    atom = np.int64(arrays.profiles[profile].head)
    while atom != _NONE:
        count += 1
        atom = np.int64(arrays.atoms[atom].next)
    return count


@njit(nogil=True, cache=True)
def _strongest(limits: Any, kinds: Any) -> Any:
    strongest = np.int64(1 << 30)
    for code in range(min(len(limits.strength), 63)):
        if kinds >> U(code) & U(1):
            strongest = min(strongest, limits.strength[code])
    return strongest


@njit(nogil=True, cache=True)
def survives(arrays: Any, limits: Any, one: Any, other: Any) -> Any:
    """Whether of two profiles that join the first stands: the stronger, then the older."""
    profiles, evidence = arrays.profiles, arrays.evidence
    a = _strongest(limits, profiles[one].kinds)
    b = _strongest(limits, profiles[other].kinds)
    if a != b:
        return a < b
    left, right = evidence[profiles[one].origin], evidence[profiles[other].origin]
    if left.time_us != right.time_us:
        return left.time_us < right.time_us
    if left.word_0 != right.word_0:
        return left.word_0 < right.word_0
    if left.word_1 != right.word_1:
        return left.word_1 < right.word_1
    return left.print_high < right.print_high


@njit(nogil=True, cache=True)
def join(arrays: Any, joins: Any, row: Any, source: Any, target: Any) -> None:
    """All atoms of one profile go to another, and it ends."""
    atoms, profiles = arrays.atoms, arrays.profiles
    done = joins.count[0]
    at = joins.atom_end[done - 1] if done else np.int64(0)
    atom = np.int64(profiles[source].head)
    last = atom
    while atom != _NONE:
        atoms[atom].profile = target
        joins.atom[at] = atom
        at += 1
        last = atom
        atom = np.int64(atoms[atom].next)
    atoms[last].next = profiles[target].head
    profiles[target].head = profiles[source].head
    profiles[target].size += profiles[source].size
    profiles[target].kinds |= profiles[source].kinds
    profiles[target].touched += profiles[source].touched
    profiles[target].run = joins.run
    profiles[source].run = joins.run
    profiles[source].head = _NONE
    profiles[source].size = 0
    profiles[source].forward = target
    joins.row[done] = row
    joins.source[done] = source
    joins.target[done] = target
    joins.atom_end[done] = at
    joins.count[0] = done + 1

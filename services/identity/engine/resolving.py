"""Rows to profiles without Python: a hot kernel for everything that needs no decision.

It resolves, in order, rows whose set of identifiers is known; rows of identifiers that are all new
(a new profile); rows that add new identifiers, or a new set, to one profile; and rows without push
tokens that join two: all in canonical order and within the limits. It stops before a row that joins
more, comes late, meets a limit, or has a shared or handed-on identifier: visits.py decides that one
and calls again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.identity.engine import store as layout
from services.identity.engine.entering import (
    add_atom,
    add_evidence,
    add_profile,
    date,
    event_words,
    link,
    set_print,
    sort_by_strength,
)
from services.identity.engine.joining import join, may_join, survives
from services.identity.engine.shapes import ROW_IDENTIFIERS_MAX, ROW_UNTRUSTED, kind_bit
from services.identity.engine.tables import find_print, find_set, public_id

U = np.uint64
_NONE = layout.NONE
_SHARED_OR_HANDED = layout.SHARED | layout.HANDED
_KEPT = layout.SIGHTINGS_KEPT
_VISIT, _SALT = layout.VISIT, layout.UNTRUSTED_SALT


@njit(nogil=True, cache=True)
def _order(rows: Any, row: Any, evidence: Any, number: Any) -> Any:
    """-1, 0, 1: this row comes before, is, or comes after the first event of the evidence."""
    time_us = rows.occur_time_us[row]
    if time_us != evidence[number].time_us:
        return -1 if time_us < evidence[number].time_us else 1
    first, second = event_words(rows.event_id, rows.event_id_end, row)
    if first != evidence[number].word_0:
        return -1 if first < evidence[number].word_0 else 1
    if second != evidence[number].word_1:
        return -1 if second < evidence[number].word_1 else 1
    high = rows.event_print[2 * row]
    if high != evidence[number].print_high:
        return -1 if high < evidence[number].print_high else 1
    return 0


@njit(nogil=True, cache=True)
def _see(rows: Any, row: Any, arrays: Any, number: Any) -> None:
    """Keeps a further sighting of a set with a token: the latest ones, oldest first."""
    evidence = arrays.evidence
    kept = arrays.sightings[evidence[number].sightings]
    time_us, high = rows.occur_time_us[row], rows.event_print[2 * row]
    first, second = event_words(rows.event_id, rows.event_id_end, row)
    n = np.int64(evidence[number].seen)
    at = n
    while at > 0:
        one = kept[at - 1]
        if one.time_us != time_us:
            before = one.time_us < time_us
        elif one.word_0 != first:
            before = one.word_0 < first
        elif one.word_1 != second:
            before = one.word_1 < second
        elif one.print_high == high:
            return
        else:
            before = one.print_high < high
        if before:
            break
        at -= 1
    if n == _KEPT:
        if at == 0:
            return
        at -= 1
        for i in range(at):
            kept[i] = kept[i + 1]
    else:
        for i in range(n, at, -1):
            kept[i] = kept[i - 1]
        evidence[number].seen = n + 1
    kept[at].time_us = time_us
    kept[at].word_0 = first
    kept[at].word_1 = second
    kept[at].print_high = high


# Hot kernel: one pass over the identifiers of a row.
@njit(nogil=True, cache=True)
def _extend(
    rows: Any,
    arrays: Any,
    limits: Any,
    joins: Any,
    row: Any,
    places: Any,
    found: Any,
    n: Any,
    high: Any,
    low: Any,
) -> Any:
    """The anchor of a new set that makes a profile, fits into one or joins two; -1 when it must be
    decided."""
    atoms, profiles = arrays.atoms, arrays.profiles
    profile: Any = np.int64(_NONE)
    other: Any = np.int64(_NONE)
    fresh = people = 0
    settled = knows = token = False
    for i in range(n):
        code = rows.code[rows.id_kind[places[i]]]
        people += 1 if limits.knows[code] else 0
        token = token or limits.token[code]
    for i in range(n):
        place = places[i]
        atom = find_print(
            arrays.atom_slots, atoms, rows.id_print[2 * place], rows.id_print[2 * place + 1]
        )
        found[i] = atom
        if atom < 0:
            fresh += 1
            knows = knows or limits.knows[rows.code[rows.id_kind[place]]]
            continue
        settled = settled or not limits.token[atoms[atom].kind]
        owner = np.int64(atoms[atom].profile)
        if atoms[atom].flags & _SHARED_OR_HANDED or owner == _NONE:
            return -1
        if np.int64(atoms[atom].degree) + people > limits.shared_others_max:
            return -1
        if profile == _NONE:
            profile = owner
        elif profile != owner:
            if other != _NONE and other != owner:
                return -1
            other = owner
    kinds, size = U(0), np.int64(0)
    if other != _NONE:
        if token or not may_join(rows, arrays, limits, joins, row, profile, other, fresh):
            return -1
        kinds = profiles[profile].kinds | profiles[other].kinds
    elif profile != _NONE:
        # A token alone may be handed on to a person who is new with this row.
        if rows.occur_time_us[row] <= profiles[profile].last_time_us or (knows and not settled):
            return -1
        kinds, size = profiles[profile].kinds, np.int64(profiles[profile].size)
    if people > limits.shared_others_max or size + fresh > limits.identifiers_max:
        return -1
    for i in range(n):
        if found[i] < 0:
            bit = kind_bit(rows.code[rows.id_kind[places[i]]])
            if bit & limits.limited & kinds:
                return -1
            kinds |= bit
    for i in range(n):
        if found[i] < 0:
            found[i] = -1 - add_atom(rows, arrays, limits, places[i])
    sort_by_strength(rows, limits, places, found, n)
    added = np.empty(ROW_IDENTIFIERS_MAX, np.int64)
    for i in range(n):
        added[i] = -1 - found[i] if found[i] < 0 else found[i]
    evidence = add_evidence(rows, arrays, limits, row, added, n, high, low)
    if profile == _NONE:
        profile = add_profile(rows, arrays, row, evidence)
    elif other != _NONE:
        if not survives(arrays, limits, profile, other):
            profile, other = other, profile
        join(arrays, joins, row, other, profile)
    for i in range(n):
        if found[i] < 0:
            link(arrays, limits, added[i], profile, rows.accept_time_us[row], joins.run)
    profiles[profile].last_time_us = rows.occur_time_us[row]
    profiles[profile].touched += 1
    return added[0]


@njit(nogil=True, cache=True)
def _single(rows: Any, arrays: Any, limits: Any, row: Any, place: Any, found: Any, run: Any) -> Any:
    """(evidence or -1 when new, anchor or -1 when it must be decided) of one identifier."""
    atoms, profiles = arrays.atoms, arrays.profiles
    time_us = rows.occur_time_us[row]
    high, low = rows.id_print[2 * place], rows.id_print[2 * place + 1]
    atom = find_print(arrays.atom_slots, atoms, high, low)
    if atom < 0:
        found[0] = atom = add_atom(rows, arrays, limits, place)
        evidence = add_evidence(rows, arrays, limits, row, found, 1, U(0), U(0))
        profile = add_profile(rows, arrays, row, evidence)
        link(arrays, limits, atom, profile, rows.accept_time_us[row], run)
        profiles[profile].touched = 1
        return np.int64(-1), atom
    if atoms[atom].evidence != _NONE:
        return np.int64(atoms[atom].evidence), atom
    profile = np.int64(atoms[atom].profile)
    if atoms[atom].flags or profile == _NONE or time_us <= profiles[profile].last_time_us:
        return np.int64(-1), np.int64(-1)
    found[0] = atom
    add_evidence(rows, arrays, limits, row, found, 1, U(0), U(0))
    profiles[profile].last_time_us = time_us
    profiles[profile].touched += 1
    return np.int64(-1), atom


@njit(nogil=True, cache=True)
def _redate(rows: Any, arrays: Any, row: Any, number: Any, profile: Any) -> Any:
    """Moves evidence forward in time when it is all that its profile rests on."""
    evidence, profiles = arrays.evidence, arrays.profiles
    n = U(evidence[number].count)
    if (
        profiles[profile].touched != 1
        or profiles[profile].origin != number
        or evidence[number].kept != (U(1) << n) - U(1)
        or evidence[number].sightings != _NONE
    ):
        return False
    date(rows, arrays, row, number, evidence[number].count)
    profiles[profile].public_id = public_id(
        rows.event_print[2 * row], rows.event_print[2 * row + 1]
    )
    return True


# Hot kernel: one pass over the rows of a message.
@njit(nogil=True, cache=True)
def resolve(
    start: Any,
    rows: Any,
    arrays: Any,
    limits: Any,
    joins: Any,
    out_profile: Any,
    out_atom: Any,
    renamed: Any,
    former: Any,
) -> Any:
    """Resolves rows from `start`. (row it stopped at, whether that must be decided, renames).

    The row is the number of rows when all are done, and -1 - row for one without identifiers or
    with more than ROW_IDENTIFIERS_MAX. A run with joins ends with their instant of acceptance: what
    later rows teach is not said before a move of an earlier instant. renamed (int64), former
    (uint64): profiles whose public id became that of an earlier event, and the one they had.
    """
    places = np.empty(ROW_IDENTIFIERS_MAX, np.int64)
    found = np.empty(ROW_IDENTIFIERS_MAX, np.int64)
    atoms, evidence = arrays.atoms, arrays.evidence
    id_print = rows.id_print
    renames = 0
    for row in range(start, len(rows.id_end)):
        done = joins.count[0]
        if done and (
            done == len(joins.row)
            or rows.accept_time_us[row] != rows.accept_time_us[joins.row[done - 1]]
        ):
            return row, False, renames
        first = np.int64(rows.id_end[row - 1]) if row else np.int64(0)
        n = 0
        for place in range(first, np.int64(rows.id_end[row])):
            known = False
            for i in range(n):
                known = known or (
                    id_print[2 * places[i]] == id_print[2 * place]
                    and id_print[2 * places[i] + 1] == id_print[2 * place + 1]
                )
            if not known:
                if n == ROW_IDENTIFIERS_MAX:
                    return -1 - row, True, renames
                places[n] = place
                n += 1
        if n == 0:
            return -1 - row, True, renames
        if n == 1:
            number, anchor = _single(rows, arrays, limits, row, places[0], found, joins.run)
        else:
            high, low = set_print(id_print, places, n)
            if rows.row_flags[row] & ROW_UNTRUSTED:
                high ^= U(_SALT)
            number = find_set(arrays.set_slots, evidence, high, low)
            if number < 0:
                anchor = _extend(rows, arrays, limits, joins, row, places, found, n, high, low)
            else:
                anchor = np.int64(evidence[number].anchor)
        if anchor < 0 or (number >= 0 and evidence[number].flags & _VISIT):
            return row, True, renames
        profile = np.int64(atoms[anchor].profile)
        if number >= 0:
            order = _order(rows, row, evidence, number)
            if order < 0:
                was = arrays.profiles[profile].public_id
                if not _redate(rows, arrays, row, number, profile):
                    return row, True, renames
                renamed[renames] = profile
                former[renames] = was
                renames += 1
            elif order > 0 and evidence[number].sightings != _NONE:
                _see(rows, row, arrays, number)
                if rows.occur_time_us[row] > arrays.profiles[profile].last_time_us:
                    arrays.profiles[profile].last_time_us = rows.occur_time_us[row]
        out_profile[row] = profile
        out_atom[row] = anchor + 1 if limits.token[atoms[anchor].kind] else anchor
    return len(rows.id_end), False, renames

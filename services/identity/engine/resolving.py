"""Rows to profiles without Python: a hot kernel for everything that needs no decision.

It resolves, in order, rows whose set of identifiers is known; rows of identifiers that are all new
(a new profile); rows that add new identifiers, or a new set, to one profile; and rows without push
tokens that join two: all in canonical order and within the limits. It stops before a row that joins
more, comes late, meets a limit, or has a shared or handed-on identifier: visits.py decides that one
and calls again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.identity.domain.kinds import UNLIMITED, Kinds
from services.identity.engine import store as layout
from services.identity.engine.tables import find_print, find_set, mixed, public_id, put

U = np.uint64
ROW_IDENTIFIERS_MAX = 64
"""Different identifiers of one row; ingest takes at most 20."""

JOINS_MAX = 512
"""Joins of one run of the kernel; with the atoms that go, beyond it the run ends."""
JOINED_ATOMS_MAX = 8_192

_NONE = layout.NONE
_SHARED_OR_HANDED = layout.SHARED | layout.HANDED
_KEPT = layout.SIGHTINGS_KEPT
_ATOMS, _EVIDENCES, _BEARS = layout.ATOMS, layout.EVIDENCES, layout.BEARS
_PROFILES, _SIGHTINGS, _TEXT = layout.PROFILES, layout.SIGHTINGS, layout.TEXT
_EVENT_IDS = layout.EVENT_IDS
_VISIT, _UNTRUSTED, _SALT = layout.VISIT, layout.UNTRUSTED, layout.UNTRUSTED_SALT
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


@njit(nogil=True, cache=True)
def event_words(event_id: Any, event_id_end: Any, row: Any) -> Any:
    """The first 16 bytes of a row's event id as two big-endian words, filled with zeroes."""
    start = np.int64(event_id_end[row - 1]) if row else np.int64(0)
    end = np.int64(event_id_end[row])
    first, second = U(0), U(0)
    for i in range(8):
        first <<= U(8)
        second <<= U(8)
        if start + i < end:
            first |= U(event_id[start + i])
        if start + 8 + i < end:
            second |= U(event_id[start + 8 + i])
    return first, second


@njit(nogil=True, cache=True)
def set_print(id_print: Any, places: Any, n: Any) -> Any:
    """Two words that name a set of identifiers, whatever their order."""
    high, low = U(0), U(0)
    for i in range(n):
        first, second = id_print[2 * places[i]], id_print[2 * places[i] + 1]
        high += mixed(first ^ mixed(second))
        low += mixed(second + mixed(first))
    return high, low


@njit(nogil=True, cache=True)
def _comes_before(rows: Any, limits: Any, left: Any, right: Any) -> Any:
    """Whether identifier `left` is stronger: by kind, then by text."""
    a = limits.strength[rows.code[rows.id_kind[left]]]
    b = limits.strength[rows.code[rows.id_kind[right]]]
    if a != b:
        return a < b
    i = np.int64(rows.id_text_end[left - 1]) if left else np.int64(0)
    j = np.int64(rows.id_text_end[right - 1]) if right else np.int64(0)
    i_end, j_end = np.int64(rows.id_text_end[left]), np.int64(rows.id_text_end[right])
    while i < i_end and j < j_end:
        if rows.id_text[i] != rows.id_text[j]:
            return rows.id_text[i] < rows.id_text[j]
        i += 1
        j += 1
    return i_end - i < j_end - j


@njit(nogil=True, cache=True)
def _sort_by_strength(rows: Any, limits: Any, places: Any, found: Any, n: Any) -> None:
    for i in range(1, n):
        place, number = places[i], found[i]
        j = i
        while j > 0 and _comes_before(rows, limits, place, places[j - 1]):
            places[j], found[j] = places[j - 1], found[j - 1]
            j -= 1
        places[j], found[j] = place, number


@njit(nogil=True, cache=True)
def _add_atom(rows: Any, arrays: Any, limits: Any, place: Any) -> Any:
    counts, atoms = arrays.counts, arrays.atoms
    number = counts[_ATOMS]
    counts[_ATOMS] = number + 1
    high, low = rows.id_print[2 * place], rows.id_print[2 * place + 1]
    atoms[number].print_high = high
    atoms[number].print_low = low
    atoms[number].kind = rows.code[rows.id_kind[place]]
    atoms[number].identifier = number
    atoms[number].evidence = _NONE
    atoms[number].bears = _NONE
    atoms[number].degree = 0
    atoms[number].flags = 0
    start = np.int64(rows.id_text_end[place - 1]) if place else np.int64(0)
    at = counts[_TEXT]
    for i in range(start, np.int64(rows.id_text_end[place])):
        arrays.text[at] = rows.id_text[i]
        at += 1
    counts[_TEXT] = at
    arrays.text_end[number] = at
    put(arrays.atom_slots, high, low, number)
    if limits.token[atoms[number].kind]:
        # Its rows get an atom of their own, so that they stay when the token is handed on.
        atoms[number + 1] = atoms[number]
        arrays.text_end[number + 1] = at
        counts[_ATOMS] = number + 2
    return number


@njit(nogil=True, cache=True)
def _add_evidence(
    rows: Any, arrays: Any, limits: Any, row: Any, found: Any, n: Any, high: Any, low: Any
) -> Any:
    """Evidence of `n` identifiers, strongest first, all of them kept."""
    counts, atoms, evidence, bears = arrays.counts, arrays.atoms, arrays.evidence, arrays.bears
    number = counts[_EVIDENCES]
    counts[_EVIDENCES] = number + 1
    _date(rows, arrays, row, number, n)
    untrusted = n > 1 and rows.row_flags[row] & ROW_UNTRUSTED != 0
    begin = counts[_BEARS]
    counts[_BEARS] = begin + n
    token = False
    people = 0
    for i in range(n):
        people += 1 if limits.knows[atoms[found[i]].kind] else 0
    for i in range(n):
        atom = found[i]
        bears[begin + i].identifier = atom
        bears[begin + i].evidence = number
        bears[begin + i].next = atoms[atom].bears
        atoms[atom].bears = begin + i
        own = limits.knows[atoms[atom].kind]
        if not (own and untrusted):
            atoms[atom].degree += people - 1 if own else people
        token = token or limits.token[atoms[atom].kind]
    evidence[number].set_high = high
    evidence[number].set_low = low
    evidence[number].begin = begin
    evidence[number].count = n
    evidence[number].anchor = found[0]
    evidence[number].kept = (U(1) << U(n)) - U(1)
    evidence[number].flags = _UNTRUSTED if untrusted else 0
    evidence[number].left = 0
    evidence[number].seen = 0
    evidence[number].sightings = _NONE
    if n == 1:
        atoms[found[0]].evidence = number
    else:
        put(arrays.set_slots, high, low, number)
        if token:
            evidence[number].sightings = counts[_SIGHTINGS]
            counts[_SIGHTINGS] += 1
    return number


@njit(nogil=True, cache=True)
def _date(rows: Any, arrays: Any, row: Any, number: Any, n: Any) -> None:
    """Gives evidence of n identifiers the place of this row in canonical order."""
    evidence = arrays.evidence
    first, second = event_words(rows.event_id, rows.event_id_end, row)
    evidence[number].time_us = rows.occur_time_us[row]
    evidence[number].word_0 = first
    evidence[number].word_1 = second
    evidence[number].print_high = rows.event_print[2 * row]
    evidence[number].print_low = rows.event_print[2 * row + 1]
    evidence[number].event_at = 0
    if n > 1:
        begin = np.int64(rows.event_id_end[row - 1]) if row else np.int64(0)
        at = arrays.counts[_EVENT_IDS]
        length: Any = np.int64(rows.event_id_end[row]) - begin
        length = min(length, np.int64(255))
        evidence[number].event_at = U(at) << U(8) | U(length)
        for i in range(length):
            arrays.event_ids[at + i] = rows.event_id[begin + i]
        arrays.counts[_EVENT_IDS] = at + length


@njit(nogil=True, cache=True)
def _add_profile(rows: Any, arrays: Any, row: Any, origin: Any) -> Any:
    counts, profiles = arrays.counts, arrays.profiles
    number = counts[_PROFILES]
    counts[_PROFILES] = number + 1
    profiles[number].public_id = public_id(rows.event_print[2 * row], rows.event_print[2 * row + 1])
    profiles[number].create_time_us = rows.accept_time_us[row]
    profiles[number].last_time_us = rows.occur_time_us[row]
    profiles[number].kinds = U(0)
    profiles[number].origin = origin
    profiles[number].forward = _NONE
    profiles[number].head = _NONE
    profiles[number].size = 0
    profiles[number].touched = 0
    return number


@njit(nogil=True, cache=True)
def _link(arrays: Any, limits: Any, atom: Any, profile: Any, time_us: Any, run: Any) -> None:
    atoms, profiles = arrays.atoms, arrays.profiles
    profiles[profile].run = run
    for one in range(atom, atom + 2 if limits.token[atoms[atom].kind] else atom + 1):
        atoms[one].profile = profile
        atoms[one].link_time_us = time_us
        atoms[one].next = profiles[profile].head
        profiles[profile].head = one
    profiles[profile].size += 1
    profiles[profile].kinds |= kind_bit(atoms[atom].kind)


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


@njit(nogil=True, cache=True)
def _may_join(
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
def _survives(arrays: Any, limits: Any, one: Any, other: Any) -> Any:
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
def _join(arrays: Any, joins: Any, row: Any, source: Any, target: Any) -> None:
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
        if token or not _may_join(rows, arrays, limits, joins, row, profile, other, fresh):
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
            found[i] = -1 - _add_atom(rows, arrays, limits, places[i])
    _sort_by_strength(rows, limits, places, found, n)
    added = np.empty(ROW_IDENTIFIERS_MAX, np.int64)
    for i in range(n):
        added[i] = -1 - found[i] if found[i] < 0 else found[i]
    evidence = _add_evidence(rows, arrays, limits, row, added, n, high, low)
    if profile == _NONE:
        profile = _add_profile(rows, arrays, row, evidence)
    elif other != _NONE:
        if not _survives(arrays, limits, profile, other):
            profile, other = other, profile
        _join(arrays, joins, row, other, profile)
    for i in range(n):
        if found[i] < 0:
            _link(arrays, limits, added[i], profile, rows.accept_time_us[row], joins.run)
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
        found[0] = atom = _add_atom(rows, arrays, limits, place)
        evidence = _add_evidence(rows, arrays, limits, row, found, 1, U(0), U(0))
        profile = _add_profile(rows, arrays, row, evidence)
        _link(arrays, limits, atom, profile, rows.accept_time_us[row], run)
        profiles[profile].touched = 1
        return np.int64(-1), atom
    if atoms[atom].evidence != _NONE:
        return np.int64(atoms[atom].evidence), atom
    profile = np.int64(atoms[atom].profile)
    if atoms[atom].flags or profile == _NONE or time_us <= profiles[profile].last_time_us:
        return np.int64(-1), np.int64(-1)
    found[0] = atom
    _add_evidence(rows, arrays, limits, row, found, 1, U(0), U(0))
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
    _date(rows, arrays, row, number, evidence[number].count)
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

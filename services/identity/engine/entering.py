"""Entering what a row brings that nobody knew: atoms, evidence, profiles. Hot kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.identity.engine import store as layout
from services.identity.engine.shapes import ROW_UNTRUSTED, kind_bit
from services.identity.engine.tables import mixed, public_id, put

U = np.uint64
_NONE = layout.NONE
_ATOMS, _EVIDENCES, _BEARS = layout.ATOMS, layout.EVIDENCES, layout.BEARS
_PROFILES, _SIGHTINGS, _TEXT = layout.PROFILES, layout.SIGHTINGS, layout.TEXT
_EVENT_IDS = layout.EVENT_IDS
_UNTRUSTED = layout.UNTRUSTED


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
def sort_by_strength(rows: Any, limits: Any, places: Any, found: Any, n: Any) -> None:
    for i in range(1, n):
        place, number = places[i], found[i]
        j = i
        while j > 0 and _comes_before(rows, limits, place, places[j - 1]):
            places[j], found[j] = places[j - 1], found[j - 1]
            j -= 1
        places[j], found[j] = place, number


@njit(nogil=True, cache=True)
def add_atom(rows: Any, arrays: Any, limits: Any, place: Any) -> Any:
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
def add_evidence(
    rows: Any, arrays: Any, limits: Any, row: Any, found: Any, n: Any, high: Any, low: Any
) -> Any:
    """Evidence of `n` identifiers, strongest first, all of them kept."""
    counts, atoms, evidence, bears = arrays.counts, arrays.atoms, arrays.evidence, arrays.bears
    number = counts[_EVIDENCES]
    counts[_EVIDENCES] = number + 1
    date(rows, arrays, row, number, n)
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
def date(rows: Any, arrays: Any, row: Any, number: Any, n: Any) -> None:
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
def add_profile(rows: Any, arrays: Any, row: Any, origin: Any) -> Any:
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
def link(arrays: Any, limits: Any, atom: Any, profile: Any, time_us: Any, run: Any) -> None:
    atoms, profiles = arrays.atoms, arrays.profiles
    profiles[profile].run = run
    for one in range(atom, atom + 2 if limits.token[atoms[atom].kind] else atom + 1):
        atoms[one].profile = profile
        atoms[one].link_time_us = time_us
        atoms[one].next = profiles[profile].head
        profiles[profile].head = one
    profiles[profile].size += 1
    profiles[profile].kinds |= kind_bit(atoms[atom].kind)

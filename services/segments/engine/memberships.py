"""Who is in what: leaf bits per profile, rules as small programs over them, and what changed.

All flips of one (instant, profile) are taken together; then the rules that look at a changed leaf
are judged once, in an order in which a rule comes after those it refers to; a membership that
differs from before the instant is a transition. Its cause is the greatest cause among the changed
leaves it looks at: causes are numbered so that a change of rule outranks a move, a move an event,
an event an attribute, and anything time alone; among events the last in the log stands. Hot kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from services.segments.engine.arrays import (
    Array,
    Number,
    bare,
    prefetch,
    prefetch_cell,
    trailing_zeros,
)
from services.segments.engine.cursors import EVENT_CAUSE
from services.segments.engine.events import IMPORT, PUNCTUAL, EventRows
from services.segments.engine.flips import Flips
from services.segments.engine.tables import find, put

ALIVE = 0
"""The leaf of every profile that stands: created and not absorbed."""
ATTRIBUTE_CAUSE = 1
BIRTH_CAUSE = 1 << 40
MOVE_CAUSE = 1 << 42
RULE_CAUSE = 1 << 43
NOTHING, BY_TABLE, BY_STEPS = 0, 1, 2
PUSH, AT_LEAST, NOT, TRUE = 0, 1, 2, 3
MINUTE_US = 60_000_000
AHEAD = 16
"""Flips between asking for a profile's state and needing it."""


class Rules(NamedTuple):
    """Rules by place. An input is a leaf, or -1 - place of a rule referred to.

    watch: leaf x words, the ranks that look at a leaf; rank: place -> rank, referred ones first.
    ends: leaves of a profile that a transition of the rule ends (lists that follow it).
    """

    kind: Array
    table: Array
    input_ptr: Array
    inputs: Array
    step_ptr: Array
    step: Array
    first: Array
    second: Array
    watch: Array
    rank_of: Array
    place_of: Array
    number: Array
    version: Array
    dependent_ptr: Array
    dependents: Array
    reference_ptr: Array
    references: Array
    end_ptr: Array
    ends: Array


class State(NamedTuple):
    """bits: profile x words of leaves; member: profile x words of places; ordinal: profile x places
    (transitions so far, modulo 256; carries count the full rounds); sizes, changed: by place."""

    bits: Array
    member: Array
    ordinal: Array
    carry_keys: Array
    carry_values: Array
    carry_used: Array
    sizes: Array
    changed: Array


class Scratch(NamedTuple):
    """Per leaf: the group it was last met in, its bit before, its cause; per place likewise.

    turned: places whose membership changed in the group, by number.
    """

    leaf_stamp: Array
    leaf_before: Array
    leaf_cause: Array
    place_stamp: Array
    place_cause: Array
    touched: Array
    turned: Array
    dirty: Array
    stack: Array
    stamp: Array


class Transitions(NamedTuple):
    """What changed, in order."""

    at: Array
    row: Array
    place: Array
    entered: Array
    ordinal: Array
    cause: Array


class Activity(NamedTuple):
    """Events by members: scratch counts by (place, type), one bit for each that is not 0, and
    counts closed per minute."""

    counts: Array
    touched: Array
    minute: Array
    key: Array
    total: Array


@njit(cache=True, nogil=True, inline="always")
def _bit(words: Array, row: int, place: int) -> Number:
    return (words[row, place >> 6] >> np.uint64(place & 63)) & np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def judge(r: Rules, bits: Array, member: Array, place: int, row: int, stack: Array) -> Number:
    """Whether a rule holds for a profile, from its leaf bits; the profile itself must stand."""
    kind = r.kind[place]
    if kind == NOTHING or _bit(bits, row, ALIVE) == np.uint64(0):
        return 0
    begin = r.input_ptr[place]
    if kind == BY_TABLE:
        index = np.uint64(0)
        for i in range(begin, r.input_ptr[place + 1]):
            given = r.inputs[i]
            bit = _bit(bits, row, given) if given >= 0 else _bit(member, row, -1 - given)
            index |= bit << np.uint64(i - begin)
        return np.int64((r.table[place] >> index) & np.uint64(1))
    top = 0
    for i in range(r.step_ptr[place], r.step_ptr[place + 1]):
        step = r.step[i]
        if step == PUSH:
            given = r.inputs[begin + r.first[i]]
            bit = _bit(bits, row, given) if given >= 0 else _bit(member, row, -1 - given)
            stack[top] = bit
            top += 1
        elif step == AT_LEAST:
            total = 0
            for _ in range(r.second[i]):
                top -= 1
                total += stack[top]
            stack[top] = 1 if total >= r.first[i] else 0
            top += 1
        elif step == NOT:
            stack[top - 1] ^= 1
        else:
            stack[top] = 1
            top += 1
    return np.int64(stack[0])


@njit(cache=True, nogil=True, inline="always")
def _cause_of(r: Rules, s: Scratch, place: int, stamp: int, touched: int) -> Number:
    cause = s.place_cause[place] if s.place_stamp[place] == stamp else np.int64(0)
    rank = r.rank_of[place]
    for i in range(touched):
        leaf = s.touched[i]
        if leaf == ALIVE or (r.watch[leaf, rank >> 6] >> np.uint64(rank & 63)) & np.uint64(1):
            cause = max(cause, s.leaf_cause[leaf])
    for i in range(r.reference_ptr[place], r.reference_ptr[place + 1]):
        other = r.references[i]
        if s.place_stamp[other] == stamp:
            cause = max(cause, s.place_cause[other])
    return cause


@njit(cache=True, nogil=True, inline="always")
def _count(state: State, row: int, place: int) -> Number:
    """The ordinal of the transition that happens now."""
    low = np.uint8(state.ordinal[row, place] + np.uint8(1))
    state.ordinal[row, place] = low
    if low == 0 or state.carry_used[0] > 0:
        key = np.uint64(row) << np.uint64(24) | np.uint64(place)
        rounds = max(find(state.carry_keys, state.carry_values, key), np.int64(0))
        if low == 0:
            rounds += 1
            state.carry_used[0] += put(state.carry_keys, state.carry_values, key, rounds)
        return rounds * 256 + np.int64(low)
    return np.int64(low)


@njit(cache=True, nogil=True, inline="always")
def _close_minute(a: Activity, n: int, touched: int, minute: int) -> Number:
    for w in range(a.touched.size if touched else 0):
        word = a.touched[w]
        a.touched[w] = 0
        while word:
            key = np.int64(w * 64) + np.int64(trailing_zeros(word))
            word &= word - np.uint64(1)
            a.minute[n] = minute
            a.key[n] = key
            a.total[n] = a.counts[key]
            a.counts[key] = 0
            n += 1
    return n


# A hot kernel: one loop, so that nothing is called and no reference is counted inside.
@njit(cache=True, nogil=True)
def apply(
    r: Rules, state: State, s: Scratch, f: Flips, total: int, e: EventRows,
    slot_row: Array, rows: Array, effects: Array, types: int, out: Transitions, a: Activity,
    resume: Array,
) -> bool:  # fmt: skip
    """Applies flips in order and counts the rows' activity at their instants.

    f: `total` flips by (instant, profile). rows, effects: all rows that take effect, by instant.
    resume: next flip, next row, transitions, activity lines, types touched, minute. False: a buffer
    is full; call again with larger ones.
    """
    r, state, s, f, e = bare(r), bare(state), bare(s), bare(f), bare(e)
    out, a = bare(out), bare(a)
    slot_row, rows, effects = bare(slot_row), bare(rows), bare(effects)
    i, j, m, n, touched_types, minute = (
        resume[0], resume[1], resume[2], resume[3], resume[4], resume[5]
    )  # fmt: skip
    words = s.dirty.size
    full = False
    while True:
        at = f.at[i] if i < total else np.iinfo(np.int64).max
        # Rows whose instant is over: everything that happens at it has been applied.
        while j < rows.size and (effects[j] < at or i >= total):
            began = effects[j] - effects[j] % MINUTE_US
            if began != minute:
                if n + touched_types > a.minute.size:
                    full = True
                    break
                n = _close_minute(a, n, touched_types, minute)
                touched_types = 0
                minute = began
            row = rows[j]
            if j + AHEAD < rows.size:
                prefetch(state.member, max(slot_row[e.slot[rows[j + AHEAD]]], 0))
            owner = slot_row[e.slot[row]]
            if owner >= 0 and e.flags[row] & np.uint8(IMPORT) == 0:
                kind = e.type[row]
                for w in range(state.member.shape[1]):
                    word = state.member[owner, w]
                    while word:
                        place = np.int64(w * 64) + np.int64(trailing_zeros(word))
                        word &= word - np.uint64(1)
                        key = place * types + kind
                        if a.counts[key] == 0:
                            a.touched[key >> 6] |= np.uint64(1) << np.uint64(key & 63)
                            touched_types += 1
                        a.counts[key] += 1
            j += 1
        if full or i >= total:
            break
        if (
            m + r.number.size > out.at.size
            or (state.carry_used[0] + r.number.size) * 2 > state.carry_keys.size
        ):
            full = True
            break
        soon = f.row[min(i + AHEAD, total - 1)]
        prefetch(state.bits, soon)
        prefetch(state.member, soon)
        prefetch(state.ordinal, soon)
        # The group of one (instant, profile).
        owner = f.row[i]
        s.stamp[0] += 1
        stamp = s.stamp[0]
        touched = 0
        s.dirty[:] = 0
        while i < total:
            if f.at[i] != at or f.row[i] != owner:
                break
            leaf = f.leaf[i]
            if leaf < 0:
                place = -1 - leaf
                if s.place_stamp[place] != stamp:
                    s.place_stamp[place] = stamp
                    s.place_cause[place] = f.cause[i]
                rank = r.rank_of[place]
                s.dirty[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
            else:
                before = _bit(state.bits, owner, leaf)
                if before != np.uint64(f.state[i]):
                    if s.leaf_stamp[leaf] != stamp:
                        s.leaf_stamp[leaf] = stamp
                        s.leaf_before[leaf] = np.uint8(before)
                        s.touched[touched] = leaf
                        touched += 1
                    s.leaf_cause[leaf] = f.cause[i]
                    state.bits[owner, leaf >> 6] ^= np.uint64(1) << np.uint64(leaf & 63)
            i += 1
        changed = 0
        begins = False
        for q in range(touched):
            leaf = s.touched[q]
            if np.uint8(_bit(state.bits, owner, leaf)) == s.leaf_before[leaf]:
                continue
            s.touched[changed] = leaf
            changed += 1
            if leaf == ALIVE and s.leaf_before[leaf] == 0:
                begins = True
            if leaf == ALIVE and s.leaf_before[leaf] == 1:
                for w in range(state.member.shape[1]):
                    word = state.member[owner, w]
                    while word:
                        rank = r.rank_of[np.int64(w * 64) + np.int64(trailing_zeros(word))]
                        word &= word - np.uint64(1)
                        s.dirty[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
            for w in range(words):
                s.dirty[w] |= r.watch[leaf, w]
        if begins:
            # Bits set before the profile existed turned nothing then: every rule is judged now.
            early = np.int64(-changed)
            for w in range(state.bits.shape[1]):
                word = state.bits[owner, w]
                while word:
                    word &= word - np.uint64(1)
                    early += np.int64(1)
            for q in range(changed):
                early += np.int64(1) - np.int64(_bit(state.bits, owner, s.touched[q]))
            if early > 0:
                for rank in range(r.number.size):
                    s.dirty[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
        turned = 0
        for w in range(words):
            while s.dirty[w]:
                rank = np.int64(w * 64) + np.int64(trailing_zeros(s.dirty[w]))
                s.dirty[w] &= s.dirty[w] - np.uint64(1)
                place = r.place_of[rank]
                holds = judge(r, state.bits, state.member, place, owner, s.stack)
                if np.uint64(holds) == _bit(state.member, owner, place):
                    s.place_stamp[place] = 0
                    continue
                state.member[owner, place >> 6] ^= np.uint64(1) << np.uint64(place & 63)
                s.place_cause[place] = _cause_of(r, s, place, stamp, changed)
                s.place_stamp[place] = stamp
                prefetch_cell(state.ordinal, owner, place)
                # In order of the segments' numbers, which ranks follow except after references.
                q = turned
                while q > 0 and r.number[s.turned[q - 1]] > r.number[place]:
                    s.turned[q] = s.turned[q - 1]
                    q -= 1
                s.turned[q] = place
                turned += 1
                for q in range(r.dependent_ptr[place], r.dependent_ptr[place + 1]):
                    other = r.rank_of[r.dependents[q]]
                    s.dirty[other >> 6] |= np.uint64(1) << np.uint64(other & 63)
                for q in range(r.end_ptr[place], r.end_ptr[place + 1]):
                    leaf = r.ends[q]
                    state.bits[owner, leaf >> 6] &= ~(np.uint64(1) << np.uint64(leaf & 63))
        for q in range(turned):
            place = s.turned[q]
            holds = _bit(state.member, owner, place)
            state.sizes[place] += 1 if holds else -1
            state.changed[place] = 1
            out.at[m] = at
            out.row[m] = owner
            out.place[m] = place
            out.entered[m] = holds
            out.ordinal[m] = _count(state, owner, place)
            out.cause[m] = s.place_cause[place]
            m += 1
    if not full:
        if n + touched_types > a.minute.size:
            full = True
        else:
            n = _close_minute(a, n, touched_types, minute)
            touched_types = 0
    resume[0], resume[1], resume[2], resume[3], resume[4], resume[5] = (
        i, j, m, n, touched_types, minute
    )  # fmt: skip
    return not full


@njit(cache=True, nogil=True)
def reasons(
    cause: Array, e: EventRows, record_high: Array, record_low: Array, move_high: Array,
    move_low: Array, move_reason: Array, late_after: int, reason: Array, prints: Array,
) -> None:  # fmt: skip
    """Reason (muster.types.v1.Reason) and print of each cause."""
    for i in range(cause.size):
        code = cause[i]
        prints[2 * i] = 0
        prints[2 * i + 1] = 0
        if code == 0:
            reason[i] = 2
        elif code >= RULE_CAUSE:
            reason[i] = 9 if code == RULE_CAUSE else 4
        elif code >= MOVE_CAUSE:
            move = code - MOVE_CAUSE
            reason[i] = move_reason[move]
            prints[2 * i] = move_high[move]
            prints[2 * i + 1] = move_low[move]
        elif code >= EVENT_CAUSE:
            row = code - EVENT_CAUSE
            prints[2 * i] = e.print_high[row]
            prints[2 * i + 1] = e.print_low[row]
            if e.flags[row] & np.uint8(IMPORT):
                reason[i] = 7
            elif e.accept[row] - e.occur[row] > late_after and not (
                e.flags[row] & np.uint8(PUNCTUAL)
            ):
                reason[i] = 10
            else:
                reason[i] = 1
        elif code >= BIRTH_CAUSE:
            reason[i] = 1
        else:
            reason[i] = 3
            prints[2 * i] = record_high[code - ATTRIBUTE_CAUSE]
            prints[2 * i + 1] = record_low[code - ATTRIBUTE_CAUSE]

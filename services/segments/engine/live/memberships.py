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

from services.segments.engine.base.arrays import (
    Array,
    Number,
    bare,
    prefetch,
    prefetch_cell,
    trailing_zeros,
)
from services.segments.engine.base.tables import find, put
from services.segments.engine.live.activity import Activity, close_minute, rank_types, take_event
from services.segments.engine.live.flips import Flips
from services.segments.engine.store.events import IMPORT, EventRows

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
SHORT_INPUTS_MAX = 3
"""Leaves of a rule that is judged without a loop."""
PLACE, TABLE, HEARD, INPUTS, SHORT_WIDTH = 0, 1, 2, 3, 8
"""The short form of a rule: its place, the answers over three leaves as eight bits, whether others
hear of its transitions, the leaves. Without answers it is judged at length."""


class Rules(NamedTuple):
    """Rules by place. An input is a leaf, or -1 - place of a rule referred to.

    watch: leaf x words, the ranks that look at a leaf; rank: place -> rank, referred ones first.
    ends: leaves of a profile that a transition of the rule ends (lists that follow it).
    short: by rank, SHORT_WIDTH numbers each: what the kernel needs of most rules, in half a line.
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
    short: Array


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

    turned: ranks whose membership changed in the group; after it places, by number.
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
    """What changed, in order. segment, version: number and version of the rule then."""

    at: Array
    row: Array
    place: Array
    entered: Array
    cause: Array
    ordinal: Array
    segment: Array
    version: Array


@njit(cache=True, nogil=True, inline="always")
def _bit(words: Array, place: int) -> Number:
    """A bit of one profile. Unsigned, since a place may not be counted from the end."""
    at = np.uint64(place)
    return (words[at >> np.uint64(6)] >> (at & np.uint64(63))) & np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def judge(r: Rules, bits: Array, member: Array, place: int, stack: Array) -> Number:
    """Whether a rule holds for a profile, from its leaf bits; the profile itself must stand."""
    kind = r.kind[place]
    if kind == NOTHING or _bit(bits, ALIVE) == np.uint64(0):
        return 0
    begin = r.input_ptr[place]
    if kind == BY_TABLE:
        index = np.uint64(0)
        for i in range(begin, r.input_ptr[place + 1]):
            given = r.inputs[i]
            bit = _bit(bits, given) if given >= 0 else _bit(member, -1 - given)
            index |= bit << np.uint64(i - begin)
        return np.int64((r.table[place] >> index) & np.uint64(1))
    top = 0
    for i in range(r.step_ptr[place], r.step_ptr[place + 1]):
        step = r.step[i]
        if step == PUSH:
            given = r.inputs[begin + r.first[i]]
            bit = _bit(bits, given) if given >= 0 else _bit(member, -1 - given)
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
    low = np.uint8(state.ordinal[np.uint64(row), place] + np.uint8(1))
    state.ordinal[np.uint64(row), place] = low
    if low == 0 or state.carry_used[0] > 0:
        key = np.uint64(row) << np.uint64(24) | np.uint64(place)
        rounds = max(find(state.carry_keys, state.carry_values, key), np.int64(0))
        if low == 0:
            rounds += 1
            state.carry_used[0] += put(state.carry_keys, state.carry_values, key, rounds)
        return rounds * 256 + np.int64(low)
    return np.int64(low)


@njit(cache=True, nogil=True, inline="always")
def _number(r: Rules, state: State, out: Transitions, done: int, m: int) -> Number:
    """Counts transitions from `done` on and says which rule they are of; where it had to stop.

    Apart from judging, where the cells of many profiles can be asked for far ahead.
    """
    for i in range(np.uint64(done), np.uint64(m)):
        soon = min(i + np.uint64(2 * AHEAD), np.uint64(m - 1))
        prefetch_cell(state.ordinal, out.row[soon], out.place[soon])
        if (state.carry_used[0] + 1) * 2 > state.carry_keys.size:
            return np.int64(i)
        place = np.uint64(out.place[i])
        out.ordinal[i] = _count(state, out.row[i], place)
        out.segment[i] = r.number[place]
        out.version[i] = r.version[place]
        state.sizes[place] += np.int64(2) * np.int64(out.entered[i]) - np.int64(1)
        state.changed[place] = 1
    return m


# A hot kernel: one loop, so that nothing is called and no reference is counted inside.
@njit(cache=True, nogil=True)
def apply(
    r: Rules, state: State, s: Scratch, f: Flips, total: int, e: EventRows,
    slot_row: Array, rows: Array, effects: Array, log: Array, out: Transitions, a: Activity,
    resume: Array,
) -> bool:  # fmt: skip
    """Applies flips in order and counts the rows' activity at their instants.

    f: `total` flips by (instant, profile). rows, effects: all rows that take effect, by instant;
    log: types of events in the order in which the log brought them.
    resume: next flip, next row, transitions, activity lines, transitions numbered, minute. False: a
    buffer is full; call again with larger ones.
    """
    r, state, s, f, e = bare(r), bare(state), bare(s), bare(f), bare(e)
    out, a = bare(out), bare(a)
    slot_row, rows, effects = bare(slot_row), bare(rows), bare(effects)
    i, j, m, n, done, minute = (
        resume[0], resume[1], resume[2], resume[3], resume[4], resume[5]
    )  # fmt: skip
    member, short, number = state.member, r.short, r.number
    words, places = s.dirty.size, number.size
    shift = rank_types(a, e.type, rows, log)
    in_order = True
    for rank in range(1, places):
        if number[r.place_of[rank]] < number[r.place_of[rank - 1]]:
            in_order = False
    full = False
    while True:
        at = f.at[i] if i < total else np.iinfo(np.int64).max
        # Rows whose instant is over: everything that happens at it has been applied.
        while j < rows.size and (effects[j] < at or i >= total):
            began = effects[j] - effects[j] % MINUTE_US
            if began != minute:
                if n + a.held[0] > a.minute.size:
                    full = True
                    break
                n = close_minute(a, n, minute, shift, places)
                minute = began
            row = rows[j]
            if j + AHEAD < rows.size:
                soon = max(slot_row[e.slot[rows[j + AHEAD]]], 0)
                for w in range(0, member.shape[1], 8):
                    prefetch_cell(member, soon, w)
            owner = slot_row[e.slot[row]]
            if owner >= 0 and e.flags[row] & np.uint8(IMPORT) == 0:
                take_event(a, member[owner], a.rank[e.type[row]], shift)
            j += 1
        if full or i >= total:
            break
        if m + places > out.at.size:
            full = True
            break
        soon = f.row[min(i + AHEAD, total - 1)]
        prefetch(state.bits, soon)
        for w in range(0, member.shape[1], 8):
            prefetch_cell(member, soon, w)
        # The group of one (instant, profile).
        owner = f.row[i]
        bits, mine = state.bits[owner], member[owner]
        s.stamp[0] += 1
        stamp = s.stamp[0]
        touched = 0
        named = False
        while i < total:
            if f.at[i] != at or f.row[i] != owner:
                break
            leaf = f.leaf[i]
            if leaf < 0:
                place = -1 - leaf
                named = True
                if s.place_stamp[place] != stamp:
                    s.place_stamp[place] = stamp
                    s.place_cause[place] = f.cause[i]
                rank = r.rank_of[place]
                s.dirty[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
            else:
                before = _bit(bits, leaf)
                if before != np.uint64(f.state[i]):
                    if s.leaf_stamp[leaf] != stamp:
                        s.leaf_stamp[leaf] = stamp
                        s.leaf_before[leaf] = np.uint8(before)
                        s.touched[touched] = leaf
                        touched += 1
                    s.leaf_cause[leaf] = f.cause[i]
                    bits[leaf >> 6] ^= np.uint64(1) << np.uint64(leaf & 63)
            i += 1
        changed = 0
        begins = False
        common = np.int64(0)
        alike = not named
        for q in range(touched):
            leaf = s.touched[q]
            if np.uint8(_bit(bits, leaf)) == s.leaf_before[leaf]:
                continue
            s.touched[changed] = leaf
            alike = alike and (changed == 0 or s.leaf_cause[leaf] == common)
            common = s.leaf_cause[leaf]
            changed += 1
            if leaf == ALIVE and s.leaf_before[leaf] == 0:
                begins = True
            if leaf == ALIVE and s.leaf_before[leaf] == 1:
                for w in range(mine.size):
                    word = mine[w]
                    while word:
                        rank = r.rank_of[np.int64(w * 64) + np.int64(trailing_zeros(word))]
                        word &= word - np.uint64(1)
                        s.dirty[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
            for w in range(words):
                s.dirty[w] |= r.watch[leaf, w]
        if begins:
            # Bits set before the profile existed turned nothing then: every rule is judged now.
            early = np.int64(-changed)
            for w in range(bits.size):
                word = bits[w]
                while word:
                    word &= word - np.uint64(1)
                    early += np.int64(1)
            for q in range(changed):
                early += np.int64(1) - np.int64(_bit(bits, s.touched[q]))
            if early > 0:
                for rank in range(places):
                    s.dirty[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)
        turned = np.uint64(0)
        alive = _bit(bits, ALIVE)
        for w in range(words):
            word = s.dirty[w]
            s.dirty[w] = 0
            while word:
                rank = np.uint64(w) << np.uint64(6) | trailing_zeros(word)
                word &= word - np.uint64(1)
                form = rank * np.uint64(SHORT_WIDTH)
                place = short[form]
                if short[form + np.uint64(TABLE)] != 0:
                    holds = alive & np.uint64(short[form + np.uint64(TABLE)]) >> (
                        _bit(bits, short[form + np.uint64(INPUTS)])
                        | _bit(bits, short[form + np.uint64(INPUTS + 1)]) << np.uint64(1)
                        | _bit(bits, short[form + np.uint64(INPUTS + 2)]) << np.uint64(2)
                    )
                else:
                    holds = np.uint64(judge(r, bits, mine, np.int64(place), s.stack))
                turns = holds ^ _bit(mine, place)
                # Without a branch: whether a rule turns cannot be foreseen.
                mine[np.uint64(place) >> np.uint64(6)] ^= turns << np.uint64(place & 63)
                s.turned[turned] = rank
                turned += turns
                if named and turns == np.uint64(0):
                    s.place_stamp[place] = 0
                if turns & np.uint64(short[form + np.uint64(HEARD)]):
                    for q in range(r.dependent_ptr[place], r.dependent_ptr[place + 1]):
                        other = r.rank_of[r.dependents[q]]
                        s.dirty[other >> 6] |= np.uint64(1) << np.uint64(other & 63)
                    word |= s.dirty[w]
                    s.dirty[w] = 0
                    for q in range(r.end_ptr[place], r.end_ptr[place + 1]):
                        leaf = r.ends[q]
                        bits[leaf >> 6] &= ~(np.uint64(1) << np.uint64(leaf & 63))
        if not in_order or not alike:
            for q in range(np.int64(turned)):
                place = r.place_of[s.turned[q]]
                s.place_cause[place] = common if alike else _cause_of(r, s, place, stamp, changed)
                s.place_stamp[place] = stamp
                # In order of the segments' numbers, which ranks follow except after references.
                p = q
                while p > 0 and number[s.turned[p - 1]] > number[place]:
                    s.turned[p] = s.turned[p - 1]
                    p -= 1
                s.turned[p] = place
        for q in range(turned):
            place = s.turned[q]
            cause = common
            if not in_order or not alike:
                cause = s.place_cause[place]
            else:
                place = r.place_of[place]
            out.at[m] = at
            out.row[m] = owner
            out.place[m] = place
            out.entered[m] = _bit(mine, place)
            out.cause[m] = cause
            m += 1
    if not full:
        if n + a.held[0] > a.minute.size:
            full = True
        else:
            n = close_minute(a, n, minute, shift, places)
    done = _number(r, state, out, done, m)
    resume[0], resume[1], resume[2], resume[3], resume[4], resume[5] = i, j, m, n, done, minute
    return not full and done == m

"""A leaf's rows of many profiles as columns: by profile, and by what rows have in common.

Hot kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain import windows
from services.segments.domain.values import DECIMAL, TEXT, WHOLE
from services.segments.engine.base.arrays import Array, bare
from services.segments.engine.live.boundaries import stays
from services.segments.engine.pasts.adding import elements_by_row
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.kernels import NO_KEY
from services.segments.engine.pasts.past import reads_profile_clock
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

UNITS_MAX = 1 << 54

FEW = 48
"""Rows of a group sorted by insertion; more by merging."""


class Timed(NamedTuple):
    """Rows by group, time and log. Group g has [start[g], start[g + 1]); owner: its place; key:
    what its rows have in common. A row lies in the window from `begin` on until `until`, never when
    until <= begin; step: a number given with it."""

    rows: Array
    occur: Array
    step: Array
    begin: Array
    until: Array
    owner: Array
    key: Array
    start: Array


def shared_clock(window: windows.Span) -> bool:
    """Whether all profiles read a window on one clock."""
    return not reads_profile_clock(window)


def keys_at(part: Partition, places: Array) -> Array | None:
    """Elements of properties, by their places in the log, as one number each, equal for those that
    are one value; NO_KEY for missing ones. None when a number is too large for that."""
    view = part.events.view
    return keys_of_values(part, view.kind[places], view.value[places], view.exponent[places])


def keys_of_values(part: Partition, kinds: Array, values: Array, exponents: Array) -> Array | None:
    """The same for elements given by kind, value and exponent."""
    texts = part.texts
    of_text = np.where(kinds == TEXT, values, 0)
    written = texts.exponents[of_text]
    if bool((written == BIG_NUMERIC).any()):
        return None
    numeric = (kinds == TEXT) & (written != NOT_NUMERIC)
    units = np.where(numeric, texts.units[of_text], values)
    digits = np.where(numeric, written, exponents).astype(np.int64)
    number = numeric | (kinds == WHOLE) | (kinds == DECIMAL)
    while (shorter := number & (digits > 0) & (units % 10 == 0)).any():
        units, digits = np.where(shorter, units // 10, units), digits - shorter
    if bool((number & ((np.abs(units) >= UNITS_MAX) | (digits >= 32))).any()):
        return None
    plain = np.where(kinds == TEXT, texts.canonical[of_text], values) * 8
    plain += np.where(kinds == TEXT, 0, kinds)
    made = np.where(number, (units * 32 + digits) * 8 + 1, plain)
    return np.where((kinds == TEXT) & (values == 0), NO_KEY, made)


def keys_of(part: Partition, rows: Array, name: str) -> Array | None:
    """What rows have in common, as one number each, NO_KEY for none; None when a row has several
    elements or a number is too large, which are read one by one."""
    if not name:
        return np.zeros(rows.size, np.int64)
    places, bounds = elements_by_row(part, rows, part.names.number_of(name))
    counts, made = np.diff(bounds), keys_at(part, places)
    if made is None or bool((counts > 1).any()):
        return None
    found = np.full(rows.size, NO_KEY, np.int64)
    found[np.flatnonzero(counts)] = made
    return found


def timed(
    part: Partition, crowd: Crowd, selectors: Sequence[rule.Selector], window: windows.Span,
    same: str = "",
) -> Timed | None:  # fmt: skip
    """The rows of a crowd in groups, in order, those of each selection with its number as step;
    None when they have to be read one by one."""
    taken = [crowd.take(selector) for selector in selectors]
    rows, owners = taken[0]
    if len(taken) > 1:
        rows, owners = (np.concatenate(parts) for parts in zip(*taken, strict=True))
    steps = np.repeat(np.arange(len(taken)), [of.size for of, _ in taken])
    keys = keys_of(part, rows, same)
    if keys is None:
        return None
    order = order_of(part, rows, owners, crowd.rows.size, keys if same else None)
    rows, owners, keys, steps = rows[order], owners[order], keys[order], steps[order]
    fresh = np.ones(rows.size, bool)
    fresh[1:] = (owners[1:] != owners[:-1]) | (keys[1:] != keys[:-1])
    occur = part.events.view.occur[rows]
    begin, until = stays(window, occur)
    start = np.append(np.flatnonzero(fresh), rows.size)
    return Timed(rows, occur, steps, begin, until, owners[fresh], keys[fresh], start)


@njit(cache=True, nogil=True)
def _by_owner(owners: Array, profiles: int, order: Array) -> Array:
    """Places by owner, those of one owner as they stand in `order`."""
    next_place = np.zeros(profiles + 1, np.int64)
    for owner in owners:
        next_place[owner + 1] += 1
    for profile in range(profiles):
        next_place[profile + 1] += next_place[profile]
    found = np.empty(owners.size, np.int64)
    for place in order:
        owner = owners[place]
        found[next_place[owner]] = place
        next_place[owner] += 1
    return found


@njit(cache=True, nogil=True)
def _before(occur: Array, accept: Array, rows: Array, one: int, other: int) -> bool:
    """Whether a row stands before another of its profile."""
    if occur[one] != occur[other]:
        return bool(occur[one] < occur[other])
    if accept[one] != accept[other]:
        return bool(accept[one] < accept[other])
    return bool(rows[one] < rows[other])


@njit(cache=True, nogil=True)
def _in_time(
    order: Array, owners: Array, keys: Array, occur: Array, accept: Array, rows: Array
) -> None:
    """Puts every group, rows of one owner and key that lie together, in order of time and log."""
    owners, keys, occur = bare(owners), bare(keys), bare(occur)
    accept, rows = bare(accept), bare(rows)
    begin = np.int64(0)
    while begin < order.size:
        end, ordered = begin + 1, True
        while (
            end < order.size
            and owners[order[end]] == owners[order[begin]]
            and keys[order[end]] == keys[order[begin]]
        ):
            ordered = ordered and _before(occur, accept, rows, order[end - 1], order[end])
            end += 1
        if not ordered and end - begin > FEW:
            for column in (rows, accept, occur):
                group = order[begin:end].copy()
                order[begin:end] = group[np.argsort(column[group], kind="mergesort")]
        elif not ordered:
            for i in range(begin + 1, end):
                place = order[i]
                j = i - 1
                while j >= begin and _before(occur, accept, rows, place, order[j]):
                    order[j + 1] = order[j]
                    j -= 1
                order[j + 1] = place
        begin = end


def order_of(
    part: Partition, rows: Array, owners: Array, profiles: int, keys: Array | None = None
) -> Array:
    """The order of rows by owner, key, time and log."""
    view = part.events.view
    order = np.arange(rows.size) if keys is None else np.argsort(keys, kind="stable")
    order = _by_owner(owners, profiles, order)
    same = np.zeros(rows.size, np.int64) if keys is None else keys
    occur, accept = view.occur[rows], view.accept[rows]
    _in_time(order, owners, same, occur, accept, rows)
    return np.asarray(order)

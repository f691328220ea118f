"""Figures of everybody from scratch: elements as numbers for the kernels, bounds as whole ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.times import DAY_US
from services.segments.domain.values import DECIMAL, TEXT, WHOLE, Op
from services.segments.engine.base.arrays import Array
from services.segments.engine.live.boundaries import offsets_between, walls_at
from services.segments.engine.pasts import figure_kernels as kernels
from services.segments.engine.pasts.adding import elements_by_row
from services.segments.engine.pasts.columns import NO_KEY, Timed, keys_at, keys_of
from services.segments.engine.pasts.figure_kernels import Queue, Side
from services.segments.engine.store.attributes import scalar_of
from services.segments.engine.store.texts import BIG_NUMERIC, NOT_NUMERIC

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

UNITS_MAX = 1 << 62
SHARE_MAX = 1 << 30
"""Greatest part of a fraction that a share is compared with."""
SMALL = 1 << 16
ROWS_MAX = 2_048
"""Rows of one profile up to which its most frequent value is looked for at every step."""
KINDS = {
    rule.Kind.MIN: kernels.LEAST, rule.Kind.MAX: kernels.GREATEST,
    rule.Kind.DISTINCT: kernels.DISTINCT, rule.Kind.DISTINCT_DAYS: kernels.DISTINCT,
    rule.Kind.FIRST: kernels.FIRST, rule.Kind.LAST: kernels.LAST,
    rule.Kind.MOST_FREQUENT: kernels.MOST,
}  # fmt: skip


def interval(comparison: rule.Comparison, scale: int) -> tuple[int, int, bool]:
    """(low, high, negated) of the whole figures, in units of 1 / scale, that satisfy it."""
    low, high = comparison.low * scale, comparison.high * scale
    bottom, top = -UNITS_MAX, UNITS_MAX
    match comparison.op:
        case Op.GTE:
            bottom = math.ceil(low)
        case Op.GT:
            bottom = math.floor(low) + 1
        case Op.LT:
            top = math.ceil(low) - 1
        case Op.LTE:
            top = math.floor(low)
        case Op.EQ | Op.NE:
            bottom, top = math.ceil(low), math.floor(low)
        case Op.BETWEEN:
            bottom, top = math.ceil(low), math.floor(high)
    clipped = [max(-UNITS_MAX, min(UNITS_MAX, bound)) for bound in (bottom, top)]
    return clipped[0], clipped[1], comparison.op is Op.NE


def fractions_of(comparison: rule.Comparison) -> tuple[Array, bool] | None:
    """What `follow_shares` compares with; None when the parts of the fraction are too large."""
    low, high = comparison.low, comparison.high
    bounds = [0, 0, 0, 0, 0, 0]
    if max(abs(low.numerator), low.denominator, abs(high.numerator), high.denominator) > SHARE_MAX:
        return None
    exact = comparison.op in (Op.EQ, Op.NE, Op.BETWEEN)
    if exact or comparison.op in (Op.GT, Op.GTE):
        bounds[:3] = low.numerator, low.denominator, int(comparison.op is not Op.GT)
    if exact or comparison.op in (Op.LT, Op.LTE):
        top = high if comparison.op is Op.BETWEEN else low
        bounds[3:] = top.numerator, top.denominator, int(comparison.op is not Op.LT)
    return np.array(bounds, np.int64), comparison.op is Op.NE


def numbers(part: Partition, found: Timed, name: str) -> tuple[Array, Array, int] | None:
    """(elements before each row, numeric elements in units of 1 / scale, scale); None when one
    does not fit."""
    view, texts = part.events.view, part.texts
    places, bounds = elements_by_row(part, found.rows, part.names.number_of(name))
    kinds, values = view.kind[places], view.value[places]
    of_text = np.where(kinds == TEXT, values, 0)
    digits = np.where(kinds == TEXT, texts.exponents[of_text], view.exponent[places])
    units = np.where(kinds == TEXT, texts.units[of_text], values)
    numeric = (kinds == WHOLE) | (kinds == DECIMAL) | (kinds == TEXT) & (digits != NOT_NUMERIC)
    if bool(((kinds == TEXT) & (digits == BIG_NUMERIC)).any()):
        return None
    units, digits = units[numeric], digits[numeric].astype(np.int64)
    most = int(digits.max(initial=0))
    if most > 18 or bool((np.abs(units) > UNITS_MAX // 10 ** (most - digits)).any()):
        return None
    before = np.concatenate(([0], np.cumsum(numeric)))[np.array(bounds, np.int64)]
    return before, units * 10 ** (most - digits), 10**most


def different(part: Partition, found: Timed, name: str) -> tuple[Array, Array, Array] | None:
    """(elements before each row, their values numbered from 0, their places in the log); None when
    a number is too large."""
    places, bounds = elements_by_row(part, found.rows, part.names.number_of(name))
    keys = keys_at(part, places)
    if keys is None:
        return None
    present = keys != NO_KEY
    before = np.concatenate(([0], np.cumsum(present)))[np.array(bounds, np.int64)]
    return before, _numbered(keys[present]), places[present]


def _told_apart(keys: Array) -> tuple[Array, Array]:
    """(the different numbers, the place of each number among them)."""
    if keys.size and keys.min() >= 0 and int(keys.max()) <= 8 * keys.size + SMALL:
        present = np.zeros(int(keys.max()) + 1, bool)
        present[keys] = True
        return np.flatnonzero(present), (np.cumsum(present) - 1)[keys]
    every, of = np.unique(keys, return_inverse=True)
    return every, of.reshape(-1)


def _numbered(keys: Array) -> Array:
    return _told_apart(keys)[1].astype(np.int64)


def days(found: Timed, zone: str) -> tuple[Array, Array]:
    """(elements before each row, the local days of rows, numbered from 0)."""
    if not found.occur.size:
        return np.zeros(1, np.int64), found.occur
    known = offsets_between(zone, int(found.occur.min()), int(found.occur.max()))
    return np.arange(found.occur.size + 1), _numbered(walls_at(known, found.occur) // DAY_US)


def fitting(part: Partition, places: Array, comparison: rule.Comparison) -> Array:
    """For each element whether it satisfies what a value is compared with."""
    view = part.events.view
    kinds, exponents = view.kind[places], view.exponent[places]
    forms = kinds.astype(np.int64) * 256 + exponents
    found = np.zeros(places.size, np.uint8)
    for form in np.unique(forms).tolist():
        alike = forms == form
        every, of = _told_apart(view.value[places[alike]])
        fine = [
            comparison.holds(scalar_of(form // 256, value, form % 256, part.texts))
            for value in every.tolist()
        ]
        found[alike] = np.array(fine, np.uint8)[of]
    return found


def _side(found: Timed, before: Array, value: Array, fine: Array) -> Side:
    ptr = before.astype(np.int64)
    return Side(found.begin, found.until, found.owner, found.start, ptr, value, fine)


def figures(
    part: Partition, leaf: rule.EventsAre, found: Timed, now: Array, holds: Array, next_us: Array
) -> Array | None:
    """Judges everybody with events of a leaf, into `holds` and `next_us`; rows of the profiles to
    judge one by one, or None for all."""
    kind, name, comparison = leaf.aggregate.kind, leaf.aggregate.property, leaf.comparison
    fine, scale = np.zeros(0, np.uint8), 1
    if kind in (rule.Kind.MIN, rule.Kind.MAX):
        scaled = numbers(part, found, name)
        if scaled is None:
            return None
        before, value, scale = scaled
    elif kind is rule.Kind.DISTINCT_DAYS:
        before, value = days(found, leaf.aggregate.zone)
    else:
        told_apart = different(part, found, name)
        if told_apart is None:
            return None
        before, value, places = told_apart
        if kind is not rule.Kind.DISTINCT:
            fine = fitting(part, places, comparison)
    extreme = kind in (rule.Kind.MIN, rule.Kind.MAX)
    counts = np.zeros(1 if extreme else int(value.max(initial=0)) + 1, np.int64)
    longest = int(np.diff(before[found.start]).max(initial=0)) + 1
    queue = Queue(np.zeros(longest, np.int64), np.zeros(longest, np.int64), np.zeros(2, np.int64))
    left = np.zeros(now.size, np.uint8)
    rows_max = ROWS_MAX if kind is rule.Kind.MOST_FREQUENT else found.rows.size
    kernels.follow(
        _side(found, before, value, fine), KINDS[kind], counts, np.zeros(3, np.int64), queue,
        now, *interval(comparison, scale), rows_max, holds, next_us, left,
    )  # fmt: skip
    return np.flatnonzero(left)


def shares(
    part: Partition, leaf: rule.EventsAre, over: Timed, under: Timed, now: Array, holds: Array,
    next_us: Array,
) -> Array | None:  # fmt: skip
    """The same for a ratio of counts."""
    compared = fractions_of(leaf.comparison)
    sides = [_marked(part, found, leaf.aggregate.once) for found in (over, under)]
    if compared is None or leaf.aggregate.property or sides[0] is None or sides[1] is None:
        return None
    counts = [np.zeros(int(one.value.max(initial=0)) + 1, np.int64) for one in sides if one]
    kernels.follow_shares(
        sides[0], sides[1], *counts, now, max(leaf.aggregate.denominator_min, 1), *compared,
        np.zeros((4, 2), np.int64), holds, next_us,
    )  # fmt: skip
    return np.zeros(0, np.int64)


def _marked(part: Partition, found: Timed, once: str) -> Side | None:
    """Rows with what counts once as their value."""
    marks = np.arange(found.rows.size)
    if once:
        keys = keys_of(part, found.rows, once)
        if keys is None:
            return None
        marks = _numbered(np.where(keys == NO_KEY, -2 - marks, keys))
    return _side(found, np.zeros(1, np.int64), marks, np.zeros(0, np.uint8))

"""Everybody's recency, frequency and money at a local midnight, from which cuts are taken."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import calendars, times
from services.segments.domain import conditions as rule
from services.segments.domain.values import DECIMAL, TEXT, WHOLE
from services.segments.engine.arrays import Array
from services.segments.engine.expressions import PastLeaf
from services.segments.engine.moving import moves
from services.segments.engine.pasts.adding import numbers_by_row
from services.segments.engine.pasts.past import Past, reads_profile_clock
from services.segments.engine.pasts.scores import figures_of
from services.segments.engine.reader import rows_in_force
from services.segments.engine.texts import BIG_NUMERIC, NOT_NUMERIC

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

SUM_MAX = float(1 << 62)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of many profiles, the greater the better: units × 10^-exponent, or exact where
    that does not fit."""

    units: Array
    exponent: int = 0
    exact: tuple[Fraction, ...] = ()


@dataclass(frozen=True, slots=True)
class Everybody:
    """Numbers of the profiles with an order, and their figures side by side."""

    profiles: Array
    figures: tuple[Figure, Figure, Figure]


def quantile_leaves(part: Partition) -> dict[str, list[tuple[int, rule.Rfm]]]:
    """(number, leaf) of those in force that score by quantile, by the key of their cuts."""
    found: dict[str, list[tuple[int, rule.Rfm]]] = {}
    for leaf, number in part.leaf_numbers.items():
        node = leaf.node if isinstance(leaf, PastLeaf) else None
        if isinstance(node, rule.Rfm) and node.edges is None:
            found.setdefault(part.cuts.key_of(node), []).append((number, node))
    return found


def last_midnight_us(zone: str, at_us: int) -> int:
    """The instant at which the local day of an instant began."""
    place = times.zone_of(zone)
    return times.midnight_us(times.local_day(at_us, place), place)


def owners_of(part: Partition, leaf: rule.Rfm) -> Array:
    """Rows of the profiles that ever had an order."""
    owners = part.people.slot_row[part.events.view.slot[_orders(part, leaf)]]
    return np.unique(owners[owners >= 0]).astype(np.int64)


def _orders(part: Partition, leaf: rule.Rfm) -> Array:
    """Orders in force; all that may be some when a filter moves."""
    where = leaf.orders.where
    if where is not None and moves(where):
        where = None
    number = -1 if where is None else part.filters.number_of(where)
    selector = rule.Selector(leaf.orders.types, leaf.orders.prefix, where)
    return rows_in_force(part, selector, number).astype(np.int64)


def everybody(part: Partition, leaf: rule.Rfm, at: int) -> Everybody:
    """Figures at an instant, as the log stood then, of profiles as they are known now."""
    where = leaf.orders.where
    if reads_profile_clock(leaf.window) or (where is not None and moves(where)):
        return _one_by_one(part, leaf, at)
    view = part.events.view
    low, high = calendars.bounds(leaf.window, at)
    rows = _orders(part, leaf)
    kept = (view.accept[rows] <= at) & (view.occur[rows] <= high)
    if low is not None:
        kept &= view.occur[rows] >= low
    rows = rows[kept]
    owners = part.people.slot_row[view.slot[rows]].astype(np.int64)
    rows, owners = rows[owners >= 0], owners[owners >= 0]
    if not rows.size:
        none = Figure(np.zeros(0, np.int64))
        return Everybody(np.zeros(0, np.uint32), (none, none, none))
    order = np.argsort(owners, kind="stable")
    rows, owners = rows[order], owners[order]
    heads = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
    counts = np.diff(np.append(heads, rows.size))
    last = np.maximum.reduceat(view.occur[rows], heads)
    profiles = owners[heads] * part.people.partitions + part.people.partition
    return Everybody(
        profiles.astype(np.uint32),
        (Figure(-_days(last, leaf.zone, at)), Figure(counts), _money(part, leaf, rows, heads)),
    )


def _days(last: Array, zone: str, at: int) -> Array:
    """Whole local days from some instants to one, which is not before them."""
    place = times.zone_of(zone)
    today = times.local_day(at, place)
    first = times.local_day(int(last.min()), place)
    begins = np.array(
        [
            times.midnight_us(first + dt.timedelta(days=day), place)
            for day in range((today - first).days + 1)
        ],
        np.int64,
    )
    return np.asarray(begins.size - np.searchsorted(begins, last, "right"), np.int64)


def _money(part: Partition, leaf: rule.Rfm, rows: Array, heads: Array) -> Figure:
    """Exact sums by profile. rows: in order of profiles, each beginning at its head."""
    view, texts = part.events.view, part.texts
    key = part.names.number_of(leaf.amount)
    starts = np.where(rows > 0, view.prop_end[rows - 1], 0)
    lengths = view.prop_end[rows] - starts
    before = np.cumsum(lengths) - lengths
    places = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    mine = view.key[places] == key
    places, of_row = places[mine], np.repeat(np.arange(rows.size), lengths)[mine]
    kinds = view.kind[places]
    of_text = np.where(kinds == TEXT, view.value[places], 0)
    units = np.where(kinds == TEXT, texts.units[of_text], view.value[places])
    decimals = np.where(kinds == TEXT, texts.exponents[of_text], view.exponent[places])
    numeric = (kinds == WHOLE) | (kinds == DECIMAL) | ((kinds == TEXT) & (decimals != NOT_NUMERIC))
    units, decimals, of_row = units[numeric], decimals[numeric].astype(np.int64), of_row[numeric]
    text = kinds[numeric] == TEXT
    most = int(decimals.max(initial=0))
    large = bool((text & (decimals == BIG_NUMERIC)).any())
    if large or np.abs(units * 10.0 ** (most - decimals)).sum() >= SUM_MAX:
        return _exact_money(part, rows, heads, key)
    scaled = units * 10 ** (most - decimals)
    by_row = np.zeros(rows.size, np.int64)
    np.add.at(by_row, of_row, scaled)
    return Figure(np.add.reduceat(by_row, heads), most)


def _exact_money(part: Partition, rows: Array, heads: Array, key: int) -> Figure:
    amounts, scale = numbers_by_row(part, rows, key)
    ends = [*heads.tolist()[1:], rows.size]
    sums = (
        Fraction(sum(sum(one) for one in amounts[start:end])) / scale
        for start, end in zip(heads.tolist(), ends, strict=True)
    )
    return Figure(np.zeros(0, np.int64), 0, tuple(sums))


def _one_by_one(part: Partition, leaf: rule.Rfm, at: int) -> Everybody:
    """Where each profile has its own window, or time changes what counts as an order."""
    found = []
    for row in owners_of(part, leaf).tolist():
        figures = figures_of(leaf, Past(part, row), at)
        if figures is not None:
            found.append((part.people.number_of(row), figures))
    numbers = np.array([number for number, _ in found], np.uint32)
    nothing = np.zeros(0, np.int64)
    recency, frequency, money = (
        tuple(sign * figures[place] for _, figures in found)
        for place, sign in ((0, -1), (1, 1), (2, 1))
    )
    return Everybody(
        numbers,
        (
            Figure(nothing, 0, recency),
            Figure(nothing, 0, frequency),
            Figure(nothing, 0, money),
        ),
    )

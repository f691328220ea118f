"""Last order, orders and money of everybody at an instant, added up from the runs of the log.

Hot kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import calendars
from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, bare, prefetch
from services.segments.engine.base.pieces import finished
from services.segments.engine.columns.choosing import Chosen, cells_of
from services.segments.engine.columns.scans import (
    COUNT_MAX,
    COUNT_SMALL,
    SOON,
    keep_between,
    words_of,
)
from services.segments.engine.columns.sums import add_marked, amount_in_cell, counts_of
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.live.cursors import SUM_MAX
from services.segments.engine.live.streams import SCALE
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.predicates import Predicates

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

MONEY_UNITS = 10**SCALE
SAFE_MAX = SUM_MAX >> 1
"""A sum up to this lies between the ends of every range."""
ORDERS, LAST, MONEY = 0, 1, 2
LOWEST, HIGHEST = -(1 << 62), 1 << 62
"""Ends of a range that is open."""


class Orders(NamedTuple):
    """Of profiles with an order in the window: rows, time of the last one, how many, money in
    units of 10^-6."""

    owners: Array
    last_us: Array
    orders: Array
    money: Array


@njit(cache=True, nogil=True)
def _add(
    e: EventRows, p: Predicates, slot: Array, rows: Array, occur: Array, value: Array, form: Array,
    mask: Array, key: int, slot_row: Array, added: Array,
) -> bool:  # fmt: skip
    """Adds rows of a run to (orders, last, money) by profile; False when a sum does not fit."""
    e, p = bare(e), bare(p)
    for i in range(slot.size):
        if i + SOON < slot.size:
            prefetch(added, 4 * max(slot_row[slot[i + SOON]], 0))
        if mask.size > 0 and mask[i] == 0:
            continue
        place = 4 * np.int64(slot_row[slot[i]])
        if place < 0:
            continue
        amount, fits, _ = amount_in_cell(e, p, value, form, rows, i, key)
        if added[place + ORDERS] == 0 or occur[i] > added[place + LAST]:
            added[place + LAST] = occur[i]
        added[place + ORDERS] += 1
        added[place + MONEY] += amount
        if not fits or abs(added[place + MONEY]) > SAFE_MAX:
            return False
    return True


@njit(cache=True, nogil=True)
def _compact(added: Array, owners: Array, last: Array, orders: Array, money: Array) -> int:
    n = 0
    for row in range(added.size // 4):
        if added[4 * row + ORDERS] > 0:
            owners[n] = row
            last[n] = added[4 * row + LAST]
            orders[n] = added[4 * row + ORDERS]
            money[n] = added[4 * row + MONEY]
            n += 1
    return n


class Ranges(NamedTuple):
    """[low, high) of orders, of the time of the last one, and of money in units of 10^-6."""

    orders: tuple[int, int]
    last_us: tuple[int, int]
    money: tuple[int, int]


def _in_window(leaf: rule.Rfm, chosen: list[Chosen], at: int) -> list[Chosen]:
    low, high = calendars.bounds(leaf.window, at)
    return [one.within(ALWAYS if low is None else low, min(high, at)) for one in chosen]


def within(
    part: Partition, leaf: rule.Rfm, chosen: list[Chosen], ranges: Ranges, at: int
) -> Array | None:
    """Which profiles' figures lie in ranges at an instant; None where money does not fit.

    Who has so many orders, and one since, but none later, is seen from counts of one byte; money is
    added up for all: to look who is left costs more than to add.
    """
    chosen = _in_window(leaf, chosen, at)
    least, above = max(ranges.orders[0], 1), ranges.orders[1]
    most = above if above <= COUNT_MAX else least
    counts = counts_of(part, chosen, COUNT_SMALL if most <= COUNT_SMALL else COUNT_MAX)
    found = (counts >= least) & (counts < above) if above <= COUNT_MAX else counts >= least
    for edge, wanted in zip(ranges.last_us, (True, False), strict=True):
        if LOWEST < edge < HIGHEST:
            since = [one.within(edge, at) for one in chosen]
            found &= counts_of(part, since, 1).view(bool) == wanted
        elif (edge == HIGHEST) == wanted:
            found[:] = False
    low, high = ranges.money
    if (low, high) == (LOWEST, HIGHEST):
        return found
    sums, exact = np.zeros(part.people.rows, np.int64), np.zeros(part.people.rows, np.uint8)
    key = part.names.number_of(leaf.amount)
    for one in chosen:
        cells = finished(cells_of(part, one, key))
        add_marked(
            part.events.view, part.tests.view(), one, cells, key, part.people.owners(), SAFE_MAX,
            np.zeros(0, np.int32), sums, exact,
        )  # fmt: skip
    if exact.any():
        return None
    keep_between(words_of(found), sums, low, high, found)
    return found


def orders_of(part: Partition, leaf: rule.Rfm, chosen: list[Chosen], at: int) -> Orders | None:
    """Figures at an instant of a leaf whose window all profiles read on one clock; None where money
    does not fit. chosen: at least its orders in the window."""
    chosen = _in_window(leaf, chosen, at)
    key = part.names.number_of(leaf.amount)
    # Four numbers a profile, the last one unused: no profile lies on two cache lines.
    added = np.zeros(4 * part.people.rows, np.int64)
    for one in chosen:
        cells, run = finished(cells_of(part, one, key)), one.run
        fits = _add(
            part.events.view, part.tests.view(), one.column(run.slot), one.column(run.row),
            one.column(run.occur), *map(one.column, cells), one.mask, key, part.people.slot_row,
            added,
        )  # fmt: skip
        if not fits:
            return None
    owners, last, orders, money = (np.empty(part.people.rows, np.int64) for _ in range(4))
    n = _compact(added, owners, last, orders, money)
    return Orders(owners[:n], last[:n], orders[:n], money[:n])

"""Everybody's recency, frequency and money at a local midnight, from which cuts are taken."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain import times
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import finished
from services.segments.engine.columns.choosing import Chosen, choose, row_and_slot
from services.segments.engine.language.expressions import PastLeaf
from services.segments.engine.language.moving import moves, still
from services.segments.engine.live.boundaries import ALWAYS
from services.segments.engine.live.streams import SCALE
from services.segments.engine.pasts.past import Past, reads_profile_clock
from services.segments.engine.pasts.rfm_figures import orders_of
from services.segments.engine.pasts.scores import figures_of

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition


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
    _, slots = row_and_slot(_orders(part, leaf, part.now))
    owners = part.people.slot_row[slots]
    return np.unique(owners[owners >= 0]).astype(np.int64)


def _orders(part: Partition, leaf: rule.Rfm, at: int) -> list[Chosen]:
    """Orders in force at an instant; all that may be some when a filter moves."""
    return finished(choose(part, still(leaf.orders), ALWAYS, at, part.events.count, {}))


def everybody(part: Partition, leaf: rule.Rfm, at: int) -> Everybody:
    """Figures at an instant, as the log stood then, of profiles as they are known now."""
    if reads_profile_clock(leaf.window) or moves(leaf.orders.where):
        return _one_by_one(part, leaf, at)
    found = orders_of(part, leaf, _orders(part, leaf, at), at)
    if found is None:
        return _one_by_one(part, leaf, at)
    profiles = found.owners * part.people.partitions + part.people.partition
    recency = _days(found.last_us, leaf.zone, at) if found.owners.size else found.owners
    return Everybody(
        profiles.astype(np.uint32),
        (Figure(-recency), Figure(found.orders), Figure(found.money, SCALE)),
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

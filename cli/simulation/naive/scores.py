"""Recency, frequency and money from 1 to 5, by given edges, for the naive model (semantics 7)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from cli.simulation.naive import calendar
from cli.simulation.naive.events import items_of
from cli.simulation.naive.facts import Row
from cli.simulation.naive.values import number_of
from muster.types.v1 import condition_pb2 as pb

CELLS = 5
Figures = tuple[Fraction, Fraction, Fraction]
"""Days since the last order, orders, money."""


def has_edges(leaf: pb.RfmLeaf) -> bool:
    """Whether scores go by given edges; else by quantile."""
    return bool(leaf.recency_edges_days)


def edges_of(leaf: pb.RfmLeaf) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """The given edges of recency, frequency and money."""
    money = [Fraction(edge.units, 10**edge.exponent) for edge in leaf.money_edges]
    recency = [Fraction(edge) for edge in leaf.recency_edges_days]
    return recency, [Fraction(edge) for edge in leaf.frequency_edges], money


def figures(leaf: pb.RfmLeaf, orders: Sequence[Row], at_us: int, zone: str) -> Figures | None:
    """The figures of a profile's orders; None without one."""
    if not orders:
        return None
    last = calendar.day_of(max(row.occur_us for row in orders), zone)
    days = (calendar.day_of(at_us, zone) - last).days
    paid = [number_of(v) for row in orders for v in items_of(row.properties, leaf.amount_property)]
    money = sum((amount for amount in paid if amount is not None), Fraction(0))
    return Fraction(days), Fraction(len(orders)), money


def by_edges(leaf: pb.RfmLeaf, of: Figures) -> tuple[int, int, int]:
    """Scores; a figure on an edge belongs to the upper cell, and few days are best."""
    cells = [
        1 + sum(edge <= figure for edge in edges)
        for edges, figure in zip(edges_of(leaf), of, strict=True)
    ]
    return CELLS + 1 - cells[0], cells[1], cells[2]


def wanted(leaf: pb.RfmLeaf, scores: tuple[int, int, int]) -> bool:
    """Whether scores lie in the leaf's ranges."""
    ranges = (
        (leaf.recency_min, leaf.recency_max),
        (leaf.frequency_min, leaf.frequency_max),
        (leaf.money_min, leaf.money_max),
    )
    return all(
        (low or 1) <= score <= (high or CELLS)
        for score, (low, high) in zip(scores, ranges, strict=True)
    )


def by_quantile(
    leaf: pb.RfmLeaf, everybody: dict[int, Figures], profile: int
) -> tuple[int, int, int]:
    """Scores among everybody with an order: 1 + floor(5 r / n), r of them strictly worse."""
    made = []
    for place, better in ((0, -1), (1, 1), (2, 1)):
        own = everybody[profile][place] * better, profile
        worse = 0
        for other, of in everybody.items():
            theirs = of[place] * better
            worse += theirs < own[0] or (leaf.ties_by_id and theirs == own[0] and other < profile)
        made.append(1 + CELLS * worse // len(everybody))
    return made[0], made[1], made[2]


def later(leaf: pb.RfmLeaf, occur_us: int, zone: str) -> set[int]:
    """Midnights at which an order is as many days old as an edge."""
    day = calendar.day_of(occur_us, zone).toordinal()
    days = (int(edge) for edge in leaf.recency_edges_days)
    return {calendar.midnight(type(calendar.EPOCH.date()).fromordinal(day + n), zone) for n in days}

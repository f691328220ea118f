"""Scores of recency, frequency and money from 1 to 5, 5 best (semantics 7).

By given edges a figure on an edge belongs to the upper cell. By quantile a score is
1 + floor(5 r / n), where r of the n profiles with an order are worse: strictly so when ties are
shared, and by id among equals otherwise. What decides a quantile score is four cuts, each the
worst figure of the cell below: whoever is beyond cut k scores more than k. So cuts taken once
score everybody until they are taken anew, also those who had no order then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

CELLS = 5
Figures = tuple[Fraction, Fraction, Fraction]
"""Whole local days since the last order, orders, money."""
Scores = tuple[int, int, int]
"""Of recency, frequency and money."""
Cut = tuple[Fraction, int]
"""A figure, the greater the better (days are negative), and the profile that has it."""
Edges = tuple[tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...]]


@dataclass(frozen=True, slots=True)
class Cuts:
    """Four cuts each, ascending; none at all when nobody had an order. ties_by_id: equals are told
    apart by their number."""

    recency: tuple[Cut, ...] = ()
    frequency: tuple[Cut, ...] = ()
    money: tuple[Cut, ...] = ()
    ties_by_id: bool = False


def goodness(figures: Figures) -> Figures:
    """The figures, the greater the better."""
    days, orders, money = figures
    return -days, orders, money


def by_edges(figures: Figures, edges: Edges) -> Scores:
    """Scores by four ascending edges each; few days are best."""
    days, orders, money = (
        1 + sum(edge <= figure for edge in of) for figure, of in zip(figures, edges, strict=True)
    )
    return CELLS + 1 - days, orders, money


def by_cuts(figures: Figures, profile: int, cuts: Cuts) -> Scores | None:
    """Scores by cuts; None while there are none."""
    if not cuts.recency:
        return None
    recency, frequency, money = (
        1 + sum(_beyond((figure, profile), cut, cuts.ties_by_id) for cut in of)
        for figure, of in zip(
            goodness(figures), (cuts.recency, cuts.frequency, cuts.money), strict=True
        )
    )
    return recency, frequency, money


def _beyond(one: Cut, cut: Cut, ties_by_id: bool) -> bool:
    return one > cut if ties_by_id else one[0] > cut[0]


def places_of_cuts(count: int) -> list[int]:
    """Where the four cuts stand among `count` figures, the worst first, from 0."""
    return [-(-k * count // CELLS) - 1 for k in range(1, CELLS)] if count else []


def cuts_of(everybody: Sequence[Cut]) -> tuple[Cut, ...]:
    """The cuts of one figure over everybody with an order, in any order."""
    ordered = sorted(everybody)
    return tuple(ordered[place] for place in places_of_cuts(len(ordered)))


def days_that_turn(cuts_or_edges: Sequence[Cut] | Sequence[Fraction]) -> set[int]:
    """Numbers of days at which a recency score may become another as days pass."""
    found: set[int] = set()
    for one in cuts_or_edges:
        days = -one[0] if isinstance(one, tuple) else one
        whole = days.numerator // days.denominator
        found |= {whole, whole + 1}
    return found


def wanted(scores: Scores, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether scores lie in their ranges, both ends in."""
    return all(low <= score <= high for score, (low, high) in zip(scores, ranges, strict=True))

"""Scores: by edges, by quantile against a count of everybody, and the same by cuts."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from services.segments.domain import rfm

EDGES = (
    (Fraction(7), Fraction(30), Fraction(90), Fraction(365)),
    (Fraction(2), Fraction(3), Fraction(5), Fraction(10)),
    (Fraction(10), Fraction(50), Fraction(100), Fraction(1_000)),
)


@pytest.mark.parametrize(
    ("days", "orders", "money", "scores"),
    [
        (0, 1, "9.99", (5, 1, 1)),
        (6, 2, "10", (5, 2, 2)),
        (7, 3, "49.999", (4, 3, 2)),
        (30, 5, "100", (3, 4, 4)),
        (364, 9, "999.995", (2, 4, 4)),
        (365, 10, "1000", (1, 5, 5)),
    ],
)
def test_a_figure_on_an_edge_belongs_to_the_upper_cell(
    days: int, orders: int, money: str, scores: rfm.Scores
) -> None:
    assert rfm.by_edges((Fraction(days), Fraction(orders), Fraction(money)), EDGES) == scores


@pytest.mark.parametrize("ties_by_id", [False, True])
def test_cuts_score_as_counting_those_who_are_worse(ties_by_id: bool) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(60):
        people = {
            profile: (
                Fraction(rng.randrange(9)), Fraction(rng.randrange(1, 5)),
                Fraction(rng.randrange(400), rng.choice([1, 3, 100])),
            )
            for profile in rng.sample(range(100), rng.randrange(1, 30))
        }  # fmt: skip
        better = {profile: rfm.goodness(figures) for profile, figures in people.items()}
        cuts = rfm.Cuts(
            *(rfm.cuts_of([(of[place], p) for p, of in better.items()]) for place in range(3)),
            ties_by_id,
        )
        for profile, own in better.items():
            counted = tuple(
                1 + 5 * sum(
                    theirs[place] < own[place]
                    or (ties_by_id and theirs[place] == own[place] and other < profile)
                    for other, theirs in better.items()
                ) // len(people)
                for place in range(3)
            )  # fmt: skip
            assert rfm.by_cuts(people[profile], profile, cuts) == counted, seed


def test_nobody_has_a_score_before_there_are_cuts() -> None:
    assert rfm.by_cuts((Fraction(1), Fraction(1), Fraction(1)), 0, rfm.Cuts()) is None
    assert rfm.cuts_of([]) == ()


def test_five_people_have_the_five_scores_and_equals_share() -> None:
    cuts = rfm.cuts_of([(Fraction(n), n) for n in range(5)])
    of = rfm.Cuts(cuts, cuts, cuts)
    assert [rfm.by_cuts((Fraction(-n), Fraction(n), Fraction(n)), n, of) for n in range(5)] == [
        (1 + n, 1 + n, 1 + n) for n in range(5)
    ]
    same = rfm.cuts_of([(Fraction(7), n) for n in range(5)])
    alike = rfm.Cuts(same, same, same)
    assert rfm.by_cuts((Fraction(-7), Fraction(7), Fraction(7)), 3, alike) == (1, 1, 1)

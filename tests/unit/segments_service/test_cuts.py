"""Cuts gathered page by page from several partitions are those over everybody at once."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from muster.segments.v1 import cuts_pb2 as api
from services.segments.adapters.cuts_log import cuts_in
from services.segments.adapters.score_answers import _distinct
from services.segments.domain import rfm


def pages_of(
    figures: dict[int, Fraction], ties_by_id: bool, exact: bool, exponent: int, size: int
) -> list[api.CollectFiguresResponse]:
    """A partition's answers about one figure, `size` distinct ones a page."""
    numbers = np.array(list(figures), np.uint32)
    values = tuple(figures.values())
    if exact:
        found = _distinct(np.zeros(0, np.int64), 0, values, numbers, ties_by_id)
    else:
        units = np.array([int(value * 10**exponent) for value in values], np.int64)
        found = _distinct(units, exponent, (), numbers, ties_by_id)
    return [
        api.CollectFiguresResponse(
            units=found.units[start : start + size], exponent=found.exponent,
            text=found.texts[start : start + size], profiles=found.profiles[start : start + size],
            profile=found.profile[start : start + size],
        )
        for start in range(0, found.size, size)
    ]  # fmt: skip


@pytest.mark.parametrize("ties_by_id", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_gathered_cuts_are_those_over_everybody(ties_by_id: bool, exact: bool) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(50):
        everybody: dict[int, Fraction] = {}
        pages = []
        for partition in range(rng.randrange(1, 4)):
            exponent = rng.randrange(3)
            mine = {
                partition + 3 * n: Fraction(rng.randrange(-40, 40), 10**exponent)
                for n in rng.sample(range(40), rng.randrange(25))
            }
            everybody |= mine
            of_text = exact and rng.random() < 0.7
            pages += pages_of(mine, ties_by_id, of_text, exponent, rng.randrange(1, 9))
        wanted = rfm.cuts_of([(value, number) for number, value in everybody.items()])
        got = cuts_in(pages)
        assert [value for value, _ in got] == [value for value, _ in wanted], seed
        if ties_by_id:
            assert tuple(got) == wanted, seed

"""Scores by quantile: cuts taken once against 1 + floor(5 r / n) counted for everybody.

MUSTER_SEED is the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random
from fractions import Fraction

import pytest

from cli.simulation.naive import scores
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import rfm


@pytest.mark.parametrize("ties_by_id", [False, True])
def test_cuts_score_everybody_as_counting_does(ties_by_id: bool) -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}")
    leaf = pb.RfmLeaf(ties_by_id=ties_by_id)
    for offset in range(300):
        rng = random.Random(seed + offset)
        spread = rng.choice([2, 5, 40])
        everybody = {
            profile: (
                Fraction(rng.randint(0, spread)),
                Fraction(rng.randint(1, spread)),
                Fraction(rng.randint(-spread, 10 * spread), rng.choice([1, 3, 100])),
            )
            for profile in rng.sample(range(1_000), rng.randint(1, 40))
        }
        goodness = {profile: rfm.goodness(figures) for profile, figures in everybody.items()}
        sides = [
            rfm.cuts_of([(of[place], profile) for profile, of in goodness.items()])
            for place in range(3)
        ]
        cuts = rfm.Cuts(*sides, ties_by_id=ties_by_id)
        for profile, figures in everybody.items():
            counted = scores.by_quantile(leaf, everybody, profile)
            cut = rfm.by_cuts(figures, profile, cuts)
            assert cut == counted, f"seed {seed + offset}, profile {profile} of {everybody}"

"""Every story holds: as it is told, in other cuts of the log, and over more partitions."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from cli.simulation.cases import read_case
from cli.simulation.runs import run_case

STORIES = sorted(Path(__file__).parent.glob("*.yaml"))
CUTS = 2


@pytest.mark.parametrize("file", STORIES, ids=lambda file: file.stem)
def test_the_story_holds(file: Path) -> None:
    outcome = run_case(read_case(file.read_text()))
    assert outcome.checks > 0
    assert not outcome.wrong, "\n".join(outcome.wrong)


@pytest.mark.parametrize("file", STORIES, ids=lambda file: file.stem)
def test_the_story_holds_in_other_cuts(file: Path) -> None:
    """In one partition: a past that crosses partitions counts from its arrival (ADR 0009)."""
    case = read_case(file.read_text())
    first = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    for seed in range(first, first + CUTS):
        print(f"seed {seed}")
        rng = random.Random(seed)
        outcome = run_case(case, lambda waiting, rng=rng: rng.randint(1, waiting), partitions=1)
        assert not outcome.wrong, "\n".join(outcome.wrong)


@pytest.mark.parametrize("file", STORIES, ids=lambda file: file.stem)
def test_the_story_holds_over_three_partitions(file: Path) -> None:
    outcome = run_case(read_case(file.read_text()), partitions=3)
    assert not outcome.wrong, "\n".join(outcome.wrong)

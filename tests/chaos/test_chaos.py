"""A short run of the chaos harness in every `make test`; `make chaos` runs it for long."""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos import pipeline
from tests.chaos.harness import run

SECONDS = float(os.environ.get("MUSTER_CHAOS_SECONDS", "12"))


@pytest.mark.timeout(180 + 3 * SECONDS)
def test_two_owners_and_dead_servers_lose_nothing_and_double_nothing() -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    report = run(SECONDS, seed)
    print(report.as_json())
    assert report.wrong == []
    assert report.accepted > 200
    assert report.transitions > 20


@pytest.mark.timeout(300 + 3 * SECONDS)
def test_the_real_services_lose_nothing_and_double_nothing() -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    report = pipeline.run(SECONDS, seed)
    print(report.as_json())
    assert report.wrong == []
    assert report.accepted > 100
    assert report.transitions > 100

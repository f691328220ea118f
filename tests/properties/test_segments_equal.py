"""Random trees over random histories: incremental, from scratch, naive and DuckDB say the same.

MUSTER_TREES is the number of trees (2,000), MUSTER_SEED the first seed (by chance, printed). Every
seed that failed is kept in seeds.txt and replayed first.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from muster.types.v1 import condition_pb2 as pb
from services.segments.engine.language.speaking import ENGINE_SPEAKS
from tests.support.comparison import disagreements, in_words, shrunk, told_by
from tests.support.histories import History, Shape, random_history
from tests.support.trees import words_in

SEEDS = Path(__file__).with_name("seeds.txt")
TREES = int(os.environ.get("MUSTER_TREES", "2000"))
ENOUGH_TREES = 2_000
"""From so many on, every word that the engine speaks must have been compared."""
SHAPES = {
    "one partition": Shape(),
    "no merges": Shape(merges=0.0, instants=50),
    "many merges": Shape(merges=0.16, profiles=8),
    "two partitions": Shape(merges=0.1, partitions=2, ordered=False),
}
_NEVER_IN = {
    "two partitions": {
        *("first", "last", "most_frequent", "shares"),
        *("LastEvent", "AttributeHeld", "AttributeChanged"),
    }
}
"""Words whose answers depend on the order of equal instants, which two partitions may see apart."""


def _kept() -> list[tuple[int, str]]:
    """(seed, shape) of everything that ever failed."""
    kept = []
    for line in SEEDS.read_text().splitlines():
        seed, _, shape = line.partition("#")[0].strip().partition(" ")
        if seed:
            kept.append((int(seed), shape))
    return kept


def _keep(seed: int, shape: str) -> None:
    if (seed, shape) not in _kept():
        with SEEDS.open("a") as file:
            file.write(f"{seed} {shape}\n")


def _check(seed: int, shape: str) -> History:
    history = random_history(seed, SHAPES[shape])
    found = disagreements(history)
    if found:
        _keep(seed, shape)
        smaller, still = shrunk(history)
        pytest.fail(f"{shape}, {in_words(smaller, still or found)}", pytrace=False)
    return history


@pytest.mark.parametrize(("seed", "shape"), [one for one in _kept() if one[1] in SHAPES])
def test_a_seed_that_once_failed_agrees(seed: int, shape: str) -> None:
    _check(seed, shape)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_reader_gives_the_same_answer(shape: str) -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}, shape {shape}")
    compared: list[pb.Condition] = []
    refused: Counter[str] = Counter()
    while len(compared) < TREES // len(SHAPES):
        history = _check(seed, shape)
        compared += [defined.condition for defined in history.conditions()]
        refused += history.refused
        seed += 1
    words = words_in(compared)
    print(f"{len(compared)} trees compared, with", *(f"{w} {n}" for w, n in sorted(words.items())))
    print("not judged yet:", *(f"{word} {n}" for word, n in sorted(refused.items())))
    if TREES >= ENOUGH_TREES:
        never = {word for word in ENGINE_SPEAKS if not words[word]} - _NEVER_IN.get(shape, set())
        assert not never, f"{shape}: never compared, though said to be built: {sorted(never)}"


@pytest.mark.parametrize("shape", SHAPES)
def test_transitions_reasons_and_causes_do_not_depend_on_the_cuts(shape: str) -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}, shape {shape}")
    for offset in range(max(1, TREES // 200)):
        history = random_history(seed + offset, SHAPES[shape])
        by_few = told_by(history, 0.05, salt=1)
        for salt, chance in ((2, 0.5), (3, 1.0)):
            told = told_by(history, chance, salt)
            if told != by_few:
                _keep(seed + offset, shape)
            assert told == by_few, f"seed {seed + offset}, {shape}"

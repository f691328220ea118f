"""A question answered in pieces, with steps in between, says what it would have said at once.

Random histories with disorder, merges and rule changes; a question about every rule begins after a
random step, and one step more runs in each of its rests. MUSTER_HISTORIES is the number of
histories (30), MUSTER_SEED the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random

import pytest

from services.segments.engine.asked.questions import Reader
from services.segments.engine.language.expressions import Expression
from services.segments.engine.partition import Partition
from tests.support.engines import EngineRun
from tests.support.histories import Shape, random_history

HISTORIES = int(os.environ.get("MUSTER_HISTORIES", "30"))
SHAPES = {"no merges": Shape(merges=0.0, instants=80), "merges": Shape(merges=0.1, instants=80)}


class Asked:
    """One question about the rules of an instant, and what its answer has to be."""

    def __init__(self, part: Partition, piece: int) -> None:
        self.part, self.reader = part, Reader(part, piece)
        self.rules = {n: one.expression for n, one in part.segments.items() if one.node is not None}
        self.pieces = self.reader.answers(list(self.rules.values()))
        self._begin()

    def _begin(self) -> None:
        self.begun = self.reader.begun
        self.wanted = [_members(self.part, rule) for rule in self.rules.values()]

    def goes_on(self) -> bool:
        """One piece more; whether that was not the last."""
        try:
            begun = next(self.pieces)
        except StopIteration as end:
            if self.reader.begun != self.begun:
                self._begin()
            found = [one.nonzero()[0].tolist() for one in end.value]
            assert dict(zip(self.rules, found, strict=True)) == dict(
                zip(self.rules, self.wanted, strict=True)
            )
            return False
        if begun != self.begun:
            self._begin()
        return True


def _members(part: Partition, expression: Expression) -> list[int]:
    found: list[int] = Reader(part).answer(expression).nonzero()[0].tolist()
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_between_the_pieces_do_not_change_the_answer(shape: str) -> None:
    first = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {first}")
    rests = answers = anew = 0
    for seed in range(first, first + HISTORIES):
        run = EngineRun(random_history(seed, SHAPES[shape]), random.Random(seed))
        asked: Asked | None = None
        for at in run.cuts(0.7):
            run.step(at)
            if asked is not None:
                rests += 1
                if not asked.goes_on():
                    answers, anew = answers + 1, anew + asked.reader.begun - 1
                    asked = None
            elif run.rng.random() < 0.5:
                asked = Asked(run.engines[0].part, run.rng.choice([1, 2, 5]))
                while run.rng.random() < 0.8 and asked is not None:
                    asked = asked if asked.goes_on() else None
    print(f"{answers} answers after {rests} rests, {anew} began anew")
    assert answers and rests > answers

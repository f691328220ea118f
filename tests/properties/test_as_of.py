"""Members as of an instant are who the members were then, whatever came since.

Random histories with disorder, late facts, merges, splits and two partitions: after each step the
members of every rule are written down, and at the end each is asked as of its instant, from a
snapshot every other time. MUSTER_HISTORIES is the number of histories (12), MUSTER_SEED the first
seed (by chance, printed).
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from cli.simulation.naive.facts import Assigned, Created, Fact, Linked, Moved, Row
from cli.simulation.naive.world import NaiveWorld
from services.segments.engine.asof import as_of, unanswerable
from services.segments.engine.engine import Engine
from services.segments.engine.expressions import Expression
from services.segments.engine.questions import Reader
from tests.support.engines import EngineRun
from tests.support.histories import History, Shape, random_history

HISTORIES = int(os.environ.get("MUSTER_HISTORIES", "12"))
SHAPES = {
    "no merges": Shape(merges=0.0, instants=60),
    "merges": Shape(merges=0.12, instants=60),
    "two partitions": Shape(merges=0.08, instants=50, partitions=2, ordered=False),
}


def first_seed() -> int:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}")
    return seed


def loaded(engine: Engine) -> Engine:
    fresh = Engine(engine.partition, engine.partitions, engine.limits)
    fresh.load({name: memoryview(bytes(body)) for name, body in engine.dump().items()})
    return fresh


def in_transit(history: History, at_us: int) -> bool:
    """Whether a past is on its way between partitions: live, neither has it; as of then, it counts
    where it goes."""
    return any(
        isinstance(fact, Moved) and fact.arrive_us is not None
        and fact.at_us <= at_us < fact.arrive_us
        for fact in history.facts
    )  # fmt: skip


def asked(engine: Engine, expression: Expression, at_us: int, known_us: int) -> list[int]:
    view = as_of(engine.part, at_us, known_us, expression)
    found: list[int] = Reader(view).answer(expression).nonzero()[0].tolist()
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_who_was_in_then(shape: str) -> None:
    first = first_seed()
    compared = refused = earlier = 0
    for seed in range(first, first + HISTORIES):
        history = random_history(seed, SHAPES[shape])
        run = EngineRun(history, random.Random(seed))
        written: list[tuple[int, int, Expression, list[int]]] = []
        for at_us in run.cuts(0.4):
            run.step(at_us)
            if in_transit(history, at_us):
                continue
            for place, engine in enumerate(run.engines):
                for one in engine.part.segments.values():
                    if one.node is not None:
                        members = engine.part.members_of(one.place).tolist()
                        written.append((at_us, place, one.expression, members))
        engines = run.engines if seed % 2 else [loaded(engine) for engine in run.engines]
        for at_us, place, expression, members in written:
            engine = engines[place]
            if refers(expression) or unanswerable(engine.part, expression, at_us, at_us):
                refused += 1
                continue
            compared += 1
            earlier += members != asked(engine, expression, engine.time_us, engine.time_us)
            found = asked(engine, expression, at_us, at_us)
            assert found == members, f"seed {seed}, {shape}, at {at_us}: {expression}"
    print(f"{compared} compared, {refused} refused, {earlier} other than at the end")
    assert compared > refused
    assert earlier > compared // 10


def refers(expression: Expression) -> bool:
    """Whether a rule refers to another, which may have been another then."""
    return any(isinstance(getattr(step, "of", None), str) for step in expression)


def test_what_is_known_today_counts_from_when_it_happened() -> None:
    """(T, now) is what the naive model says at T of a world in which nothing ever was late."""
    first = first_seed()
    compared = other = 0
    for seed in range(first, first + HISTORIES):
        history = random_history(seed, Shape(merges=0.0, instants=60))
        run = EngineRun(history, random.Random(seed))
        cuts = run.cuts(0.4)
        for at_us in cuts:
            run.step(at_us)
        engine, naive = run.engines[0], NaiveWorld([punctual(fact) for fact in history.facts])
        for one in engine.part.segments.values():
            defined = naive.definition(one.segment_id, engine.time_us)
            if one.node is None or refers(one.expression) or defined is None:
                continue
            for at_us in cuts[:-1]:
                if unanswerable(engine.part, one.expression, at_us, engine.time_us):
                    continue
                expected = [
                    profile
                    for profile in sorted(naive.alive)
                    if naive.holds(defined.condition, profile, at_us, defined.zone)
                ]
                compared += 1
                found = asked(engine, one.expression, at_us, engine.time_us)
                other += found != asked(engine, one.expression, at_us, at_us)
                assert found == expected, f"seed {seed}, at {at_us}: {defined.condition}"
    print(f"{compared} compared, {other} other than what was known then")
    assert compared and other


def punctual(fact: Fact) -> Fact:
    """The fact as if it had been accepted when the log began; the order of the log stays."""
    if isinstance(fact, Row | Assigned):
        return replace(fact, accept_us=0)
    if isinstance(fact, Created | Linked):
        return replace(fact, at_us=0)
    return fact

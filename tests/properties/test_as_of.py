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

from cli.simulation.naive.facts import Assigned, Created, Defined, Fact, Linked, Listed, Moved, Row
from cli.simulation.naive.world import NaiveWorld
from services.segments.domain import conditions as rule
from services.segments.engine.across import overlap
from services.segments.engine.asof import PastUnknown, as_of, unanswerable
from services.segments.engine.engine import Engine
from services.segments.engine.expressions import Expression, express
from services.segments.engine.questions import Reader, finished
from services.segments.engine.turns import flips_within, turns_of
from tests.support.engines import EngineRun, transitions_of
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
            changed = refers(expression) and at_us < settled_us(history)
            if changed or unanswerable(engine.part, expression, at_us, at_us):
                refused += 1
                continue
            compared += 1
            earlier += members != asked(engine, expression, engine.time_us, engine.time_us)
            found = asked(engine, expression, at_us, at_us)
            assert found == members, f"seed {seed}, {shape}, at {at_us}: {expression}"
    print(f"{compared} compared, {refused} refused, {earlier} other than at the end")
    assert compared > refused
    assert earlier > compared // 10


@pytest.mark.parametrize("shape", SHAPES)
def test_the_history_of_a_profile_is_what_was_said_of_it(shape: str) -> None:
    first = first_seed()
    compared = turned = 0
    for seed in range(first, first + HISTORIES):
        history = random_history(seed, SHAPES[shape])
        run = EngineRun(history, random.Random(seed))
        for at_us in run.cuts(0.4):
            run.step(at_us)
        moved = {
            profile
            for fact in history.facts
            if isinstance(fact, Moved) and fact.arrive_us is not None
            for profile in (fact.source, fact.target)
        }
        for engine in run.engines:
            part, people = engine.part, engine.part.people
            for name, one in part.segments.items():
                defined = settled_us(history, name)
                expression = one.expression
                if refers(expression):
                    defined = settled_us(history)
                if one.node is None or unanswerable(part, expression, defined, defined):
                    continue
                for row in range(people.rows):
                    profile = people.number_of(row)
                    if profile in moved:
                        continue
                    said = [
                        (told.transition.at_us, told.transition.entered)
                        for told in run.told
                        if told.transition.segment == one.number
                        and told.transition.profile == profile
                        and told.transition.at_us > defined
                    ]
                    found = finished(turns_of(part, row, one.node, defined, part.now))
                    assert found.turns == said, f"seed {seed}, {name}, profile {profile}"
                    compared, turned = compared + 1, turned + len(said)
    print(f"{compared} compared, {turned} turns")
    assert turned


def test_who_flips_soon_flips() -> None:
    """Those who are other later, if nothing more happens, are those who then are."""
    first = first_seed()
    flipped = 0
    for seed in range(first, first + HISTORIES):
        run = EngineRun(random_history(seed, Shape(instants=40, merges=0.05)), random.Random(seed))
        cuts = run.cuts(0.3)
        for at_us in cuts[: run.rng.randrange(len(cuts) // 2, len(cuts))]:
            run.step(at_us)
        engine, within = run.engines[0], 20 * 24 * 3_600 * 1_000_000
        rules = [
            name
            for name, one in engine.part.segments.items()
            if one.node is not None and not refers(one.expression)
        ]
        before = {name: set(members_of(engine, name)) for name in rules}
        expected = {name: finished(flips_within(engine.part, name, within)).flips for name in rules}
        said = len(run.told)
        end = engine.time_us + within
        run.told += transitions_of(engine.advance(end).transitions)
        for name in rules:
            number = engine.part.segments[name].number
            after = set(members_of(engine, name))
            turned = {row: at for at, row, _ in expected[name]}
            assert set(turned) == before[name] ^ after, f"seed {seed}, {name}"
            for at, row, enters in expected[name]:
                first_turn = next(
                    (told.transition.at_us, told.transition.entered)
                    for told in run.told[said:]
                    if told.transition.segment == number
                    and told.transition.profile == engine.part.people.number_of(row)
                )
                assert (at, enters) == first_turn, f"seed {seed}, {name}, row {row}"
                flipped += 1
    print(f"{flipped} flips")
    assert flipped


def test_what_segments_share_is_what_their_members_have_in_common() -> None:
    first = first_seed()
    for seed in range(first, first + HISTORIES):
        run = EngineRun(random_history(seed, Shape(profiles=40)), random.Random(seed))
        for at_us in run.cuts(0.3):
            run.step(at_us)
        engine = run.engines[0]
        known = sorted(engine.part.segments)
        names = run.rng.sample(known, k=min(7, len(known)))
        sets = [set(members_of(engine, name)) for name in names]
        found = finished(overlap(engine.part, names))
        assert found.shared.tolist() == [[len(a & b) for b in sets] for a in sets], f"seed {seed}"
        assert (found.reached, found.profiles) == (len(set().union(*sets)), engine.profiles)


def test_a_snapshot_that_kept_no_changes_answers_for_no_time_before_it() -> None:
    run = EngineRun(random_history(7, Shape(merges=0.2, instants=40)), random.Random(7))
    for at_us in run.cuts(0.4):
        run.step(at_us)
    engine = run.engines[0]
    old = {k: v for k, v in engine.dump().items() if not k.startswith("former.")}
    fresh = Engine(engine.partition, engine.partitions, engine.limits)
    fresh.load({name: memoryview(bytes(body)) for name, body in old.items()})
    everyone: Expression = express(rule.Everyone())
    assert asked(engine, everyone, engine.time_us - 1, engine.time_us - 1)
    with pytest.raises(PastUnknown, match="begins later"):
        as_of(fresh.part, engine.time_us - 1, engine.time_us - 1, everyone)
    now = engine.time_us
    assert asked(fresh, everyone, now - 1, now) == asked(engine, everyone, now - 1, now)


def members_of(engine: Engine, name: str) -> list[int]:
    found: list[int] = engine.part.members_of(engine.part.segments[name].place).tolist()
    return found


def settled_us(history: History, name: str = "") -> int:
    """When a segment, or every one, became what it is at the end."""
    return max(
        fact.at_us
        for fact in history.facts
        if isinstance(fact, Defined) and name in ("", fact.segment)
    )


def refers(expression: Expression) -> bool:
    """Whether a rule refers to another, which may have been another then."""
    return any(isinstance(getattr(step, "of", None), str) for step in expression)


def test_what_is_known_today_counts_from_when_it_happened() -> None:
    """(T, K) is what the naive model says at T of a world in which nothing was late, nor came after
    K."""
    first = first_seed()
    compared = other = 0
    for seed in range(first, first + HISTORIES):
        history = random_history(seed, Shape(merges=0.0, instants=60))
        run = EngineRun(history, random.Random(seed))
        cuts = run.cuts(0.4)
        for at_us in cuts:
            run.step(at_us)
        engine = run.engines[0]
        for known in {engine.time_us, run.rng.choice(cuts)}:
            naive = NaiveWorld([punctual(fact) for fact in history.facts if came(fact, known)])
            for name, one in engine.part.segments.items():
                defined = naive.definition(name, engine.time_us)
                if one.node is None or refers(one.expression) or defined is None:
                    continue
                for at_us in cuts[:-1]:
                    if at_us == known or unanswerable(engine.part, one.expression, at_us, known):
                        continue
                    expected = [
                        profile
                        for profile in sorted(naive.alive)
                        if naive.holds(defined.condition, profile, at_us, defined.zone)
                    ]
                    compared += 1
                    found = asked(engine, one.expression, at_us, known)
                    other += found != asked(engine, one.expression, at_us, at_us)
                    assert found == expected, f"seed {seed}, ({at_us}, {known}): {name}"
    print(f"{compared} compared, {other} other than what was known then")
    assert compared and other


def came(fact: Fact, known_us: int) -> bool:
    """Whether a fact about people was accepted by an instant; rules are those of the end."""
    if isinstance(fact, Row | Assigned):
        return fact.accept_us <= known_us
    if isinstance(fact, Listed):
        return False  # Lists have no past here.
    return not isinstance(fact, Created | Linked) or fact.at_us <= known_us


def punctual(fact: Fact) -> Fact:
    """The fact as if it had been accepted when the log began; the order of the log stays."""
    if isinstance(fact, Row | Assigned):
        return replace(fact, accept_us=0)
    if isinstance(fact, Created | Linked):
        return replace(fact, at_us=0)
    return fact

"""Live splits: parts without gap or overlap, from birth on, the same by every reader."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cli.simulation.naive import splits
from cli.simulation.naive.facts import Created
from muster.segments.v1 import facts_pb2 as facts
from services.segments.domain.faults import ConditionFaults
from services.segments.domain.shares import permille, salt_key, sizes
from services.segments.engine.engine import Engine, EngineLimits
from services.segments.engine.language.expressions import PartLeaf
from services.segments.engine.store.parts import in_part
from tests.support import encoding
from tests.unit.segments.world import World

PARTS = {
    "a": {"split": {"salt": "spring", "from": 0, "to": 250}},
    "b": {"split": {"salt": "spring", "from": 250, "to": 1000}},
    "not-a": {"not": {"split": {"salt": "spring", "to": 250}}},
    "viewers-a": {"all": [{"split": {"salt": "spring", "to": 250}}, {"event": "viewed"}]},
}


def expected(numbers: range, low: int, high: int) -> list[int]:
    return [n for n in numbers if low <= splits.place("spring", n) < high]


def test_columns_the_domain_and_the_naive_model_put_everybody_alike() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    numbers = [*range(200), *(rng.randrange(1 << 32) for _ in range(300)), (1 << 32) - 1]
    for salt in ("a", "весна", str(rng.random())):
        places = [permille(salt_key(salt), number) for number in numbers]
        assert places == [splits.place(salt, number) for number in numbers]
        low, high = sorted(rng.sample(range(1_001), 2))
        found = in_part(PartLeaf(salt, low, high), np.array(numbers, np.uint32))
        assert found.tolist() == [low <= place < high for place in places]


def test_parts_are_even_on_average_and_salts_have_nothing_to_do_with_each_other() -> None:
    numbers = np.arange(100_000)
    first = [in_part(PartLeaf("x", 100 * n, 100 * n + 100), numbers) for n in range(10)]
    assert sum(part.astype(int) for part in first).tolist() == [1] * 100_000
    assert all(9_500 < np.count_nonzero(part) < 10_500 for part in first)
    other = in_part(PartLeaf("y", 0, 100), numbers)
    assert all(800 < np.count_nonzero(part & other) < 1_200 for part in first)


def test_everybody_falls_into_a_part_at_birth_and_stays_there() -> None:
    world = World(profiles=50)
    for name, rule in PARTS.items():
        world.define(name, rule)
    world.until(1)
    later = [Created(p, 1_000 + p, p, world.us(5)) for p in range(50, 100)]
    world.engine.create_profiles(encoding.created_columns(later))
    world.event(6, "viewed", profile=70)
    world.event(7, "viewed", profile=3)
    world.until(10)
    a, b = expected(range(100), 0, 250), expected(range(100), 250, 1000)
    assert a
    assert b
    assert (world.members("a"), world.members("b"), world.members("not-a")) == (a, b, b)
    assert world.members("viewers-a") == [n for n in (3, 70) if n in a]
    # A rule defined later, and a question from scratch, give the same.
    world.define("late", PARTS["a"], 11)
    world.until(12)
    assert world.members("late") == a
    condition = world.definition("asked", PARTS["b"]).condition
    assert world.engine.select(world.engine.compile(condition)).tolist() == b
    again = Engine(0, 1, EngineLimits())
    again.load({name: memoryview(bytes(one)) for name, one in world.engine.dump().items()})
    assert again.members("a").tolist() == a
    (leaf,) = again.explain("a", a[0]).leaves
    assert (leaf.holds, leaf.found) == (True, f"{splits.place('spring', a[0])}‰")
    assert leaf.sentence == "in the part from 0‰ to 250‰ of the split “spring”"


def test_at_a_merge_the_survivor_stays_in_its_part() -> None:
    world = World(profiles=30)
    world.define("a", PARTS["a"])
    world.define("b", PARTS["b"])
    world.until(1)
    a, b = expected(range(30), 0, 250), expected(range(30), 250, 1000)
    world.merge(2, a[0], b[0], [a[0]])
    said = world.until(3)
    assert [(profile, segment, way) for _, profile, segment, way, _ in said] == [(a[0], "a", "out")]
    assert world.members("b") == b


def test_parts_by_shares_add_up_and_lie_within_one_of_their_share() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    assert sizes(11, [0, 0]) == [6, 5]
    for _ in range(300):
        count = rng.randrange(2, 27)
        edges = sorted(rng.sample(range(1, 1_000), count - 1))
        shares = [b - a for a, b in zip([0, *edges], [*edges, 1_000], strict=True)]
        for weights in (shares, [0] * count):
            members = rng.randrange(11, 10_000)
            found = sizes(members, weights)
            assert sum(found) == members
            for size, weight in zip(found, weights, strict=True):
                exact = members * weight / 1_000 if any(weights) else members / count
                assert abs(size - exact) < 1


def test_what_is_wrong_with_a_part_is_said() -> None:
    engine = World().engine
    for split, path in (
        ({"from_permille": 0, "to_permille": 10}, "split.salt"),
        ({"salt": "x", "to_permille": 1_001}, "split.to_permille"),
        ({"salt": "x", "from_permille": 5, "to_permille": 5}, "split.from_permille"),
    ):
        made = facts.SegmentDefined()
        made.condition.split.SetInParent()
        for name, value in split.items():
            setattr(made.condition.split, name, value)
        with pytest.raises(ConditionFaults) as refusal:
            engine.compile(made.condition)
        assert [one for one, _ in refusal.value.faults] == [path]

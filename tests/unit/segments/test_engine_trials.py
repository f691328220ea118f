"""Dry runs in pieces: of the instant they began, or begun anew; what they foretell comes true."""

from __future__ import annotations

import random
from typing import Any

from services.segments.engine.asked.trials import Changed, change_of, reach_of
from services.segments.engine.base.pieces import finished
from tests.unit.segments.world import World

BUYERS = {"event": {"type": "order", "window": "last 1 hour"}}
VIEWERS = {"event": {"type": "viewed", "window": "last 1 hour"}}
ABOVE = {
    "mailed": {"all": [{"segment": "a"}, {"channel": "email"}]},
    "others": {"not": {"segment": "a"}},
    "far": {"any": [{"segment": "mailed"}, {"event": "left"}]},
}


def small_world(rng: random.Random, rule: Any = BUYERS) -> World:
    world = World(profiles=40)
    for profile in range(0, 40, 3):
        world.link(0, "email", profile)
    for name, one in {"a": rule, **ABOVE}.items():
        world.define(name, one)
    world.until(1)
    for second in range(2, 42):
        kind = rng.choice(["order", "viewed", "viewed", "left"])
        world.event(second, kind, rng.randrange(40))
    world.until(50)
    return world


def trial(world: World, rule: Any) -> Any:
    plan = world.engine.compile(world.definition("asked", rule).condition)
    return change_of(world.engine.part, "a", plan.expression)


def figures(changed: Changed) -> tuple:
    return (
        changed.enters.tolist(), changed.leaves.tolist(), changed.stays, changed.profiles,
        changed.reach, changed.dependents,
    )  # fmt: skip


def test_what_a_dry_run_foretells_comes_true() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    for offset in range(10):
        world = small_world(random.Random(seed + offset))
        before = {name: set(world.members(name)) for name in ("a", *ABOVE)}
        changed = finished(trial(world, VIEWERS))
        world.define("a", VIEWERS, 50)
        world.until(50)
        after = {name: set(world.members(name)) for name in ("a", *ABOVE)}
        assert set(changed.enters.tolist()) == after["a"] - before["a"]
        assert set(changed.leaves.tolist()) == before["a"] - after["a"]
        assert changed.stays == len(before["a"] & after["a"])
        assert changed.dependents == {
            name: (len(after[name] - before[name]), len(before[name] - after[name]))
            for name in ABOVE
        }


def test_steps_in_between_change_nothing_of_the_answer() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    world = small_world(random.Random(seed))
    asked = finished(trial(world, VIEWERS))
    pieces = trial(world, VIEWERS)
    assert next(pieces) == 1
    for profile in range(40):
        world.event(60, "viewed", profile)
    world.until(61)
    answer = finished(pieces)
    assert answer.begun == 1
    assert figures(answer) == figures(asked)


def test_a_definition_in_between_begins_the_question_anew() -> None:
    world = small_world(random.Random(7))
    pieces = trial(world, VIEWERS)
    next(pieces)
    world.define("mailed", {"segment": "a"}, 60)
    world.until(61)
    answer = finished(pieces)
    assert answer.begun > 1
    assert figures(answer) == figures(finished(trial(world, VIEWERS)))


def test_reach_counts_members_by_channel() -> None:
    world = World(profiles=6)
    for atom, (profile, kind) in enumerate(
        ((0, "email"), (0, "phone"), (1, "phone"), (2, "cookie"))
    ):
        world.link(0, kind, profile, 100 + atom)
    world.define("all", {"everyone": True})
    world.until(1)
    plan = world.engine.compile(world.definition("asked", {"everyone": True}).condition)
    reached = finished(reach_of(world.engine.part, plan.expression))
    assert (reached.members, reached.profiles, reached.reachable) == (6, 6, 2)
    assert reached.reach == {
        "email": 1, "sms": 2, "viber": 2, "web_push": 0, "mobile_push": 0,
    }  # fmt: skip

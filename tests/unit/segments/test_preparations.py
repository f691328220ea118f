"""What is prepared is kept until the rule comes, or for a while, and no more than so many."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from services.segments.adapters.preparations import Preparations
from services.segments.core import Live
from services.segments.engine.language.expressions import Expression, express
from services.segments.settings import SegmentsSettings
from tests.unit.segments.world import World

BOUGHT = {"event": {"type": "order", "window": "last 10 minutes"}}
TWICE = {"event": {"type": "order", "window": "last 1 hour", "count": {"gte": 2}}}
IN_TURN = {"sequence": {"steps": [{"type": "order"}, {"type": "view"}], "within": "1 hour"}}


def a_shop() -> World:
    """Ten people, of whom every second one bought something."""
    world = World(profiles=10)
    for profile in range(0, 10, 2):
        world.event(1, profile=profile)
    world.until(2)
    return world


def expression_of(world: World, rule: Any) -> Expression:
    condition = world.definition("read", rule).condition
    return express(world.engine.definitions.read(condition, ""))


def preparations_of(world: World, **settings: Any) -> tuple[Any, Preparations]:
    core: Any = SimpleNamespace(engine=world.engine, live={})
    return core, Preparations(core, SegmentsSettings(**settings))


async def test_a_rule_that_comes_takes_over_what_was_prepared() -> None:
    world = a_shop()
    core, preparations = preparations_of(world)
    leaves = world.engine.leaves
    for rule in (BOUGHT, IN_TURN):
        assert await preparations.prepare("buyers", expression_of(world, rule), 5)
    prepared = dict(leaves.numbers)
    assert len(prepared) == 2
    preparations.after_step()
    assert leaves.numbers == prepared
    world.define("buyers", BOUGHT, 3)
    world.until(3)
    assert world.engine.members("buyers").tolist() == [0, 2, 4, 6, 8]
    core.live["buyers"] = Live(1, 1, 5)
    preparations.after_step()
    (kept,) = leaves.numbers
    assert leaves.numbers[kept] == prepared[kept] and leaves.holders == {kept: 1}
    world.define("buyers", None, 4)
    world.until(4)
    part = world.engine.part
    assert not leaves.numbers and not part.cursors.cursors and not part.streams.streams


async def test_a_rule_that_never_comes_is_given_up() -> None:
    world = a_shop()
    _, preparations = preparations_of(world, prepared_kept_ms=1)
    await preparations.prepare("buyers", expression_of(world, BOUGHT), 5)
    while world.engine.leaves.numbers:
        await asyncio.sleep(0)
    assert not world.engine.part.streams.streams


async def test_of_too_many_the_oldest_are_given_up() -> None:
    world = a_shop()
    _, preparations = preparations_of(world, prepared_max=2)
    asked = [expression_of(world, rule) for rule in (BOUGHT, TWICE, IN_TURN)]
    for place, expression in enumerate(asked):
        await preparations.prepare(f"rule-{place}", expression, 5)
    first = asked[0][0].of  # type: ignore[union-attr]
    assert len(world.engine.leaves.numbers) == 2 and first not in world.engine.leaves.numbers


async def test_who_asks_again_joins_what_goes_on() -> None:
    world = a_shop()
    _, preparations = preparations_of(world, slice_ms=0)
    expression = expression_of(world, IN_TURN)
    assert not await preparations.prepare("a", expression, 0)
    assert await preparations.prepare("a", expression, 5)
    assert await preparations.prepare("b", expression, 5)
    assert set(world.engine.leaves.holders.values()) == {2}


async def test_a_caller_who_goes_away_does_not_stop_it() -> None:
    world = a_shop()
    _, preparations = preparations_of(world, slice_ms=0)
    asking = asyncio.create_task(preparations.prepare("a", expression_of(world, IN_TURN), 5))
    await asyncio.sleep(0)
    asking.cancel()
    assert await preparations.prepare("a", expression_of(world, IN_TURN), 5)
    assert set(world.engine.leaves.holders.values()) == {1}

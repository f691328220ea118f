"""Merges, splits, and pasts that travel between partitions."""

from __future__ import annotations

from muster.identity.v1 import facts_pb2 as identity
from services.segments.engine.engine import EngineLimits
from tests.unit.segments.world import World, dec


def test_a_merge_moves_the_past_and_a_split_brings_it_back() -> None:
    world = World(2)
    rule = {"event": {"type": "order", "sum": {"of": "amount", "gte": 100}}}
    world.define("spender", rule)
    world.event(1, amount=dec("60"))
    world.event(2, amount=dec("70"), profile=1)
    assert world.until(3) == []
    assert world.merge(4, source=1, target=0, atoms=[1]) == []
    assert world.until(5) == [(4, 0, "spender", "in", "merge")]
    assert world.engine.number_of(1_001) == 0
    world.merge(6, source=0, target=1, atoms=[1], merge=False, move_id=2)
    assert world.until(7) == [(6, 0, "spender", "out", "unmerge")]
    assert world.engine.number_of(1_001) == 1


def test_the_absorbed_leaves_everything_with_the_merge() -> None:
    world = World(2)
    world.define("all", {"everyone": {}})
    world.until(1)
    world.merge(2, source=1, target=0, atoms=[1])
    assert world.until(3) == [(2, 1, "all", "out", "merge")]
    assert world.members("all") == [0]


def test_at_a_merge_the_survivors_value_wins() -> None:
    world = World(2)
    world.define("kyiv", {"attribute": {"name": "city", "eq": "Kyiv"}})
    world.attribute(1, "city", "Kyiv")
    world.attribute(2, "city", "Lviv", profile=1)
    world.attribute(2, "plan", "pro", profile=1)
    world.define("pro", {"attribute": {"name": "plan", "eq": "pro"}})
    world.until(3)
    world.merge(4, source=1, target=0, atoms=[1])
    assert world.until(5) == [(4, 0, "pro", "in", "merge"), (4, 1, "pro", "out", "merge")]
    assert world.members("kyiv") == [0]


def test_a_past_goes_to_another_partition_and_takes_effect_there() -> None:
    here, there = World(2, partitions=2), World(2, partition=1, partitions=2)
    rule = {
        "event": {"type": "order", "sum": {"of": "amount", "gte": 100}, "window": "last 1 hour"}
    }
    for world in (here, there):
        world.define("spender", rule)
    here.event(1, amount=dec("60"))
    there.event(2, amount=dec("70"), profile=1)
    here.until(3)
    there.until(3)
    bodies = here.merge(4, source=0, target=1, atoms=[0])
    assert there.merge(4, source=0, target=1, atoms=[0]) == []
    assert here.until(5) == []
    assert there.until(5) == []
    assert [there.engine.take_history(body) for body in bodies] == [[]] * len(bodies)
    assert there.until(6) == [(6, 1, "spender", "in", "merge")]
    assert there.until(10_000) == [(3_601, 1, "spender", "out", "time")]


def test_a_past_that_comes_before_its_move_waits_for_it() -> None:
    here, there = World(2, partitions=2), World(2, partition=1, partitions=2)
    there.define("buyer", {"event": "order"})
    here.event(1)
    here.until(2)
    for body in here.merge(4, source=0, target=1, atoms=[0]):
        there.engine.take_history(body)
    assert there.until(3) == []
    there.merge(4, source=0, target=1, atoms=[0])
    assert there.until(5) == [(4, 1, "buyer", "in", "merge")]


def test_a_past_follows_its_atoms_when_they_have_moved_on() -> None:
    worlds = [World(2, partition=p, partitions=3) for p in range(3)]
    worlds[2].define("buyer", {"event": "order"})
    worlds[0].event(1)
    for world in worlds:
        world.until(2)
    first = worlds[0].merge(4, source=0, target=1, atoms=[0])
    worlds[1].merge(4, source=0, target=1, atoms=[0])
    empty = worlds[1].merge(5, source=1, target=2, atoms=[0, 1], move_id=2)
    worlds[2].merge(5, source=1, target=2, atoms=[0, 1], move_id=2)
    for world in worlds:
        world.until(6)
    for body in empty:
        worlds[2].engine.take_history(body)
    assert worlds[2].until(7) == []
    forwarded = [on for body in first for on in worlds[1].engine.take_history(body)]
    assert [target for target, _ in forwarded] == [2]
    for _, body in forwarded:
        worlds[2].engine.take_history(body)
    assert worlds[2].until(8) == [(8, 2, "buyer", "in", "merge")]


def test_a_long_past_travels_in_several_messages() -> None:
    limits = EngineLimits(history_bytes_max=2_000)
    here = World(2, partitions=2, limits=limits)
    there = World(2, partition=1, partitions=2)
    there.define("often", {"event": {"type": "order", "count": {"gte": 100}}})
    for second in range(100):
        here.event(second, note=f"text {second}", amount=dec("1.5"))
    here.attribute(3, "tags", "a", "b")
    here.until(200)
    bodies = here.merge(201, source=0, target=1, atoms=[0])
    there.until(200)
    there.merge(201, source=0, target=1, atoms=[0])
    assert len(bodies) > 3
    assert all(len(body) < 4_000 for body in bodies)
    for body in bodies:
        there.engine.take_history(body)
    assert there.until(202) == [(202, 1, "often", "in", "merge")]
    there.define("both", {"attribute": {"name": "tags", "all": ["a", "b"]}}, 203)
    assert there.until(203) == [(203, 1, "both", "in", "backfill")]


def test_a_question_after_its_rule_was_mended_knows_amounts_that_do_not_fit() -> None:
    world = World(2)
    large = {"event": {"type": "order", "sum": {"of": "amount", "gt": 1000}}}
    world.define("other", {"event": "order"})
    world.define("spender", large)
    world.define("spender", {"event": "order"}, 1)
    world.event(2, amount=dec("0.0000001"))
    world.event(3, amount=dec("9007199254740993"))
    world.until(4)
    world.merge(5, source=0, target=1, atoms=[0])
    world.until(6)
    plan = world.engine.compile(world.definition("question", large).condition)
    assert world.engine.select(plan).tolist() == [1]


def test_a_value_set_at_the_instant_of_the_merge_is_the_survivors() -> None:
    world = World(2)
    world.define("kyiv", {"attribute": {"name": "city", "eq": "Kyiv"}})
    world.until(0)
    world.attribute(1, "city", "Kyiv", profile=1)
    world.attribute(4, "city", "Lviv")
    world.merge(4, source=1, target=0, atoms=[1])
    assert world.until(5) == [(1, 1, "kyiv", "in", "attribute"), (4, 1, "kyiv", "out", "merge")]


def test_a_token_that_came_with_somebody_else_is_what_an_event_says() -> None:
    world = World(2)
    world.define("pushable", {"channel": "mobile_push"})
    world.link(1, "mobile_push_token", profile=0, atom=5)
    world.event(1, profile=0)
    world.event(1, profile=1)
    assert world.until(2) == [(1, 0, "pushable", "in", "event")]
    world.engine.move_atoms(
        identity.AtomsMoved(
            move_id=1, from_profile=0, to_profile=1, atom=[5], move_time_us=world.us(3),
            cause=identity.MOVE_CAUSE_HAND_OVER,
        )
    )  # fmt: skip
    assert sorted(world.until(4)) == [
        (3, 0, "pushable", "out", "event"),
        (3, 1, "pushable", "in", "event"),
    ]

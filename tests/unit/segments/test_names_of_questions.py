"""What people ask leaves no trace in what is said, not even in the order of names."""

from __future__ import annotations

from typing import Any

from services.segments.adapters import wire
from services.segments.engine.engine import Engine, EngineLimits
from services.segments.engine.live.preparing import Prepared
from tests.unit.segments.test_preparations import expression_of
from tests.unit.segments.world import World

NOBODY_SPOKE_OF_IT = {"attribute": {"name": "second", "eq": "third"}}
EVERYBODY = {"not": {"event": {"type": "never"}}}


class Speaking(Engine):
    """An engine that remembers the bytes of every step."""

    def __init__(self, partition: int, partitions: int, limits: EngineLimits) -> None:
        super().__init__(partition, partitions, limits)
        self.bodies: list[bytes] = []

    def advance(self, time_us: int) -> Any:
        outcome = super().advance(time_us)
        self.bodies += wire.step_bodies(outcome.transitions, outcome.activity, outcome.sizes)
        return outcome

    def loaded(self) -> Speaking:
        """The next life, from a snapshot; it has said the same."""
        fresh = Speaking(self.partition, self.partitions, self.limits)
        fresh.load({name: memoryview(bytes(one)) for name, one in self.dump().items()})
        fresh.bodies = self.bodies
        return fresh


def told(between: Any) -> list[bytes]:
    """What is said of events whose types come one after the other; between: happens before."""
    world = World(profiles=3)
    engine = Speaking(0, 1, EngineLimits())
    engine.create_profiles(created(3, world.begin_us))
    world.engine = engine
    world.define("all", EVERYBODY, 1)
    world.until(2)
    between(world)
    for second, kinds in enumerate((("first",), ("second",), ("third", "second", "first")), 100):
        for kind in kinds:
            world.event(second, kind=kind)
        world.until(second)
        world.engine = world.engine.loaded()  # type: ignore[attr-defined]
    return world.engine.bodies  # type: ignore[attr-defined, no-any-return]


def created(profiles: int, at_us: int) -> Any:
    from cli.simulation.naive.facts import Created
    from tests.support import encoding

    return encoding.created_columns([Created(n, 1_000 + n, n, at_us) for n in range(profiles)])


def prepare(world: World) -> None:
    prepared = Prepared(world.engine.part, world.engine.walker, world.engine.leaves)
    for _ in prepared.begin(expression_of(world, NOBODY_SPOKE_OF_IT)):
        pass


def ask(world: World) -> None:
    condition = world.definition("asked", NOBODY_SPOKE_OF_IT).condition
    assert world.engine.count(world.engine.compile(condition)) == 0


def test_a_name_that_only_a_question_knew_does_not_come_first() -> None:
    plain = told(lambda world: None)
    assert sum(map(len, plain)) > 100
    assert told(ask) == plain


def test_a_name_that_was_only_prepared_does_not_come_first() -> None:
    assert told(prepare) == told(lambda world: None)

"""Many people who begin in one step: what is said is what is said when they come one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cli.simulation.naive.facts import Assigned, Created, Linked, Row
from services.segments.engine.engine import Engine
from services.segments.engine.live.inbox import Waiting
from services.segments.engine.store.texts import LONG_POOL, Names
from tests.support import encoding
from tests.unit.segments.world import World

PEOPLE = 3 * LONG_POOL
KINDS = ("email", "cookie", "user_id")
RULES: dict[str, Any] = {
    "mail": {"channel": "email"},
    "quiet": {"not": {"event": {"type": "order", "window": "last 5 seconds"}}},
    "kyiv": {"attribute": {"name": "city", "eq": "Kyiv"}},
    "buyers": {"event": {"type": "order", "count": {"gte": 2}}},
    "stopped": {"all": [{"not": {"channel": "email"}}, {"event": {"type": "order"}}]},
}


def told(together: bool) -> dict[str, Any]:
    """Transitions and activity of a step in which everybody begins, from one batch or from many."""
    world = World(profiles=0)
    engine: Engine = world.engine
    for segment, rule in RULES.items():
        world.define(segment, rule)
    engine.advance(world.us(1))
    people = range(PEOPLE)
    born = [Created(p, 1_000 + p, p, world.us(2 + p % 5)) for p in people]
    linked = [Linked(p, p, KINDS[p % 3], f"one-{p}", world.us(2 + p % 7)) for p in people]
    given = [
        Assigned(p, p, f"a{p}", "city", ("Kyiv" if p % 2 else "Lviv",), world.us(3), world.us(3))
        for p in people
        if p % 4
    ]
    rows = [
        Row(
            p % PEOPLE, p % PEOPLE, f"e{p}", "message_unsubscribed" if p % 11 == 0 else "order",
            world.us(2 + p % 3), world.us(3 + p % 3), {"channel": {0: "email"}}, p % 13 == 0,
        )
        for p in range(2 * PEOPLE)
        if p % 5
    ]  # fmt: skip
    for facts, take, columns in (
        (born, engine.create_profiles, encoding.created_columns),
        (linked, engine.link_identifiers, encoding.linked_columns),
        (given, engine.set_attributes, encoding.attribute_columns),
        (rows, engine.add_events, encoding.event_columns),
    ):
        for batch in [facts] if together else [[one] for one in facts]:
            take(columns(batch))
    outcome = engine.advance(world.us(20))
    assert len(outcome.transitions["at_us"]) > PEOPLE
    return outcome.transitions | {f"activity {k}": v for k, v in outcome.activity.items()}


def test_a_batch_of_newcomers_is_as_many_newcomers_one_by_one() -> None:
    one, many = told(together=True), told(together=False)
    assert one.keys() == many.keys()
    for name, column in one.items():
        assert np.array_equal(column, many[name]), name


def test_a_long_pool_of_names_has_the_numbers_of_its_names() -> None:
    texts = [f"name-{n % 7}" if n % 3 else "again" for n in range(2 * LONG_POOL)]
    raw = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in raw]).astype(np.uint32)
    long, short = Names(), Names()
    numbers = long.intern(np.frombuffer(b"".join(raw), np.uint8), ends)
    assert numbers.tolist() == [short.number_of(text) for text in texts]
    assert long.names == short.names


@pytest.mark.parametrize("until", [0, 2, 3, 9])
def test_what_waits_is_due_once_and_in_the_order_it_came(until: int) -> None:
    waiting = Waiting()
    for at, what in (([3, 1], [30, 10]), ([2], [20]), ([], []), ([1, 9], [11, 90])):
        waiting.add(np.array(at, np.int64), np.array(what, np.int64))
    pairs = [(3, 30), (1, 10), (2, 20), (1, 11), (9, 90)]
    at, what = waiting.due(until)
    assert list(zip(at.tolist(), what.tolist(), strict=True)) == [p for p in pairs if p[0] <= until]
    assert waiting.due(until)[0].size == 0
    assert waiting.pairs() == [list(pair) for pair in pairs if pair[0] > until]
    again = Waiting.of(waiting.pairs())
    assert bool(again) == bool(waiting) and again.due(99)[1].tolist() == waiting.due(99)[1].tolist()

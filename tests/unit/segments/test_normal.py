"""What means the same is one: leaves are shared, and rules that differ only in spelling equal."""

from __future__ import annotations

import random

import pytest

from cli.reading import read_document
from services.segments.domain import conditions as rule
from services.segments.domain import normal
from tests.support.leaves import Leaves
from tests.unit.segments.reading import read_message, said
from tests.unit.segments.world import World

DAY = 86_400_000_000

SAME_LEAF = [
    ("attribute: {name: a, in: [x, y]}", "attribute: {name: a, in: [y, x, y]}"),
    ("attribute: {name: a, eq: x}", "attribute: {name: a, in: [x]}"),
    ("attribute: {name: a, ne: x}", "attribute: {name: a, not_in: [x, x]}"),
    ("attribute: {name: a, all: [x, y]}", "attribute: {name: a, all: [y, x]}"),
    ("attribute: {name: a, eq: 1}", "attribute: {name: a, eq: 1.00}"),
    ("attribute: {name: a, gt: 0.5}", "attribute: {name: a, gt: 0.500}"),
    ("attribute: {name: a, between: [3, 3.0]}", "attribute: {name: a, eq: 3}"),
    # A zone says nothing of what does not depend on it.
    ("attribute: {name: a, eq: x, zone: Europe/Kyiv}", "attribute: {name: a, eq: x}"),
    ("event: {type: [b, a]}", "event: {type: [a, b, a]}"),
    ("event: {type: [app_opened, x], type_prefix: app_}", "event: {type: x, type_prefix: app_}"),
    ("event: {type: a}", "event: {type: a, window: ever, count: {gte: 1}}"),
    ("event: {type: a, where: {x: 1, y: 2}}", "event: {type: a, where: {y: 2, x: 1}}"),
    ("event: {type: a, where: {x: 1}}", "event: {type: a, where: {all: [{any: [{x: 1}]}]}}"),
    (
        "event: {type: a, where: {x: 1, y: 2, z: 3}}",
        "event: {type: a, where: {all: [{z: 3}, {all: [{x: 1}, {y: 2}]}, {x: 1}]}}",
    ),
    (
        "event: {type: a, where: {none: [{x: 1}, {y: 2}]}}",
        "event: {type: a, where: {none: [{any: [{y: 2}, {x: 1}]}]}}",
    ),
    (
        "event: {type: a, where: {any_item: {path: l, where: {x: 1, y: 2}}}}",
        "event: {type: a, where: {any_item: {path: l, where: [{all: [{y: 2}, {x: 1}]}]}}}",
    ),
    ("event: {type: a, window: last 2 days}", "event: {type: a, window: last 48 hours}"),
    ("event: {type: a, window: from 2 to 0 days ago}", "event: {type: a, window: last 2 days}"),
    ("event: {type: a, window: calendar_last 0 days}", "event: {type: a, window: today}"),
    (
        "event: {type: a, window: {this: week, week_start: 1}}",
        "event: {type: a, window: this week}",
    ),
    (
        "event: {type: a, sum: {of: t, gt: 1, currency: EUR}, where: {x: 1}}",
        "event: {type: a, sum: {of: t, gt: 1, currency: EUR}, where: {x: 1, currency: EUR}}",
    ),
]


@pytest.mark.parametrize(("one", "other"), SAME_LEAF)
def test_two_spellings_of_a_leaf_are_one(one: str, other: str) -> None:
    assert said(one) == said(other)


APART = [
    ("attribute: {name: a, eq: x}", "attribute: {name: a, eq_ci: x}"),
    ("attribute: {name: a, eq: '1'}", "attribute: {name: a, eq: true}"),
    # A list has all of both values; it is one of them.
    ("attribute: {name: a, all: [x, y]}", "attribute: {name: a, in: [x, y]}"),
    (
        "attribute: {name: a, before: 2026-01-01, zone: Europe/Kyiv}",
        "attribute: {name: a, before: 2026-01-01}",
    ),
    ("event: {type: a, window: last 30 days}", "event: {type: a, window: last 1 month}"),
    ("event: {type: a, window: last 1 day}", "event: {type: a, window: today}"),
    ("sequence: {steps: [a, b]}", "sequence: {steps: [b, a]}"),
    (
        "event: {type: a, where: {any_item: {path: l, where: {x: 1, y: 2}}}}",
        "event: {type: a, where: {l.x: 1, l.y: 2}}",
    ),
]


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_means_something_else_stays_apart(one: str, other: str) -> None:
    assert normal.node(said(one)) != normal.node(said(other))


A, B, C = ("attribute: {name: a, eq: 1}", "channel: email", "event: c")
SAME_RULE = [
    (f"all: [{{{A}}}, {{{B}}}]", f"all: [{{{B}}}, {{{A}}}, {{{B}}}]"),
    (f"any: [{{{A}}}]", A),
    (f"not: {{not: {{{A}}}}}", A),
    (f"none: [{{{A}}}]", f"not: {{{A}}}"),
    (f"not: {{none: [{{{A}}}, {{{B}}}]}}", f"any: [{{{A}}}, {{{B}}}]"),
    (f"none: [{{none: [{{{A}}}]}}]", A),
    (f"none: [{{{A}}}, {{any: [{{{B}}}, {{{C}}}]}}]", f"none: [{{{C}}}, {{{B}}}, {{{A}}}]"),
    (f"at_least: {{n: 1, of: [{{{A}}}, {{{B}}}]}}", f"any: [{{{B}}}, {{{A}}}]"),
    (f"at_least: {{n: 2, of: [{{{A}}}, {{{B}}}]}}", f"all: [{{{B}}}, {{{A}}}]"),
    (
        f"at_least: {{n: 2, of: [{{{A}}}, {{{B}}}, {{{C}}}]}}",
        f"at_least: {{n: 2, of: [{{{C}}}, {{{A}}}, {{{B}}}]}}",
    ),
    (f"all: [{{all: [{{{A}}}, {{{B}}}]}}, {{{C}}}]", f"all: [{{{A}}}, {{{B}}}, {{{C}}}]"),
    ("attribute: {name: a, gte: 1, lt: 2}", "all: [{attribute: {name: a, lt: 2}}, "
     "{attribute: {name: a, gte: 1}}]"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME_RULE)
def test_two_spellings_of_a_rule_are_equal_in_one_shape(one: str, other: str) -> None:
    assert normal.node(said(one)) == normal.node(said(other))


def test_the_same_twice_in_at_least_counts_twice() -> None:
    twice = said(f"at_least: {{n: 2, of: [{{{A}}}, {{{A}}}, {{{B}}}]}}")
    assert normal.node(twice) != normal.node(said(f"all: [{{{A}}}, {{{B}}}]"))


def tree(rng: random.Random, leaves: list[rule.Leaf], depth: int) -> rule.Node:
    if not depth or rng.random() < 0.3:
        return rng.choice(leaves)
    of = tuple(tree(rng, leaves, depth - 1) for _ in range(rng.randint(1, 3)))
    return rng.choice(
        [rule.All(of), rule.Any(of), rule.Neither(of), rule.Not(of[0]),
         rule.AtLeast(rng.randint(1, len(of)), of)]
    )  # fmt: skip


def test_one_shape_answers_as_the_rule_did_and_is_its_own_shape() -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    drawn = Leaves(rng, [DAY, 2 * DAY, 3 * DAY], [0, DAY])
    leaves: list[rule.Leaf] = []
    while len(leaves) < 6:
        node, faults = read_message(drawn.draw())
        assert isinstance(node, rule.Leaf)
        leaves += [] if faults else [node]
    for _ in range(300):
        node = tree(rng, leaves, 4)
        shaped = normal.node(node)
        assert normal.node(shaped) == shaped
        for _ in range(8):
            holds = {leaf: rng.random() < 0.5 for leaf in leaves}
            assert rule.decide(shaped, holds) == rule.decide(node, holds), node


def test_reading_gives_leaves_in_their_one_spelling() -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    drawn = Leaves(random.Random(seed), [DAY, 2 * DAY, 3 * DAY], [0, DAY])
    for _ in range(300):
        node, faults = read_message(drawn.draw())
        if faults:
            continue
        match node:
            case rule.AttributeIs(_, test) | rule.AttributeHeld(_, test, _, _):
                assert normal.test(test) == test
            case rule.EventsAre(events, _, _, _) | rule.FirstEvent(events, _):
                assert normal.selector(events) == events


def test_shared_leaves_are_equal_and_hash_alike() -> None:
    one = said("event: {type: [b, a], where: {x: 1, y: [2, 3]}, window: last 7 days}")
    other = said("event: {type: [a, b], where: {y: [3, 2], x: 1}, window: last 168 hours}")
    assert len({one, other}) == 1


def test_segments_that_spell_a_leaf_otherwise_share_it_in_the_engine() -> None:
    world = World()
    world.define("a", read_document(SPELLED[0]), zone="Europe/Kyiv")
    before = dict(world.engine.definitions.leaves.numbers)
    world.define("b", read_document(SPELLED[1]))
    assert dict(world.engine.definitions.leaves.numbers) == before


SPELLED = (
    "all: [{event: {type: [b, a], where: {x: 1, y: [2, 3]}, window: last 7 days}},"
    " {attribute: {name: city, in: [Kyiv, Lviv, Kyiv]}}, {attribute: {name: age, eq: 3.0}}]",
    "any: [{attribute: {name: age, ne: 3}}, {not: {attribute: {name: city, not_in: [Lviv, Kyiv]}}},"
    " {event: {type: [a, b], where: {all: [{y: [3, 2]}, {any: [{x: 1.0}]}]},"
    " window: last 168 hours, count: {gt: 0}}}]",
)

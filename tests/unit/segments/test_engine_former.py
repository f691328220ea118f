"""What stood then of lists, items and versions: also where atoms are now, and at what size."""

from __future__ import annotations

import copy
import os
import random
from pathlib import Path
from typing import Any

import pytest

from cli.conditions import read_condition
from muster.segments.v1 import lists_pb2
from services.chassis.snapshots import SnapshotFolder
from services.segments.domain import conditions as rule
from services.segments.engine.asked.asof import PastUnknown, as_of, rules_at
from services.segments.engine.asked.questions import Reader, finished
from services.segments.engine.asked.turns import turns_of
from services.segments.engine.engine import Engine
from services.segments.engine.language.expressions import express
from tests.unit.segments.test_engine_catalogue import IN_STOCK, Shop
from tests.unit.segments.test_engine_lists import Listed
from tests.unit.segments.test_engine_scores import BEST, NOON, cuts_taken
from tests.unit.segments.world import World, dec

CHANGE_BYTES_MAX = 100
"""Of a change of a list, and of one of an item that says what the last one said."""


def members(world: World, name: str, at: float, known: float | None = None) -> list[int]:
    """Rows of members at (at, known) by the rule known."""
    at_us, known_us = world.us(at), world.us(at if known is None else known)
    part = world.engine.part
    expression = rules_at(part, known_us, min(at_us, known_us))[name].expression
    view = as_of(part, at_us, known_us, expression, known_us)
    found: list[int] = Reader(view).answer(expression).nonzero()[0].tolist()
    return found


def test_a_list_of_then_is_found_where_its_people_are_now() -> None:
    """Ann was in the list from 2 to 4, was merged into Bob of another partition at 6: asked in that
    partition with today's people, Bob was in it at 3."""
    source = Listed(profiles=2, partition=1, partitions=2)
    target = Listed(profiles=2, partition=0, partitions=2)
    for world in (source, target):
        world.list("vip")
        world.until(1)
    source.change("vip", 2, add=[1])
    source.change("vip", 4, remove=[1])
    source.until(5)
    bodies = source.merge(6, source=1, target=0, atoms=[1])
    target.merge(6, source=1, target=0, atoms=[1])
    for body in bodies:
        target.engine.take_history(body)
    for world in (source, target):
        world.until(8)
    assert members(source, "vip", 3) == [0]
    assert members(target, "vip", 3) == []
    assert members(target, "vip", 3, known=8) == [0]
    assert members(target, "vip", 5, known=8) == []
    assert members(source, "vip", 3, known=8) == []


def test_an_item_of_then_is_what_was_said_by_then_or_of_then() -> None:
    """The stock of 5 is reported at 10: known then, it counts from 5."""
    shop = Shop(profiles=1)
    shop.define("can-buy", IN_STOCK)
    shop.event(1, "viewed", profile=0, item_id="lamp")
    shop.item(2, "lamp", stock=1)
    shop.until(4)
    shop.item(10, "lamp", occur=5, stock=0)
    shop.until(11)
    shop.copied()
    assert members(shop, "can-buy", 7) == [0]
    assert members(shop, "can-buy", 7, known=11) == []
    assert members(shop, "can-buy", 3, known=11) == [0]
    assert members(shop, "can-buy", 1.5) == []
    # After the load the log goes on.
    shop.item(12, "lamp", stock=4)
    shop.until(13)
    assert members(shop, "can-buy", 11.5) == []
    assert members(shop, "can-buy", 12.5) == [0]


def test_what_says_the_same_again_shares_its_body() -> None:
    shop = Shop(profiles=1)
    for second in range(1, 201):
        shop.item(second, "lamp", stock=1, price=999, title="A lamp with a long name and a shade")
    log = shop.engine.part.catalogue_log
    assert log.count == 200
    entry = sum(column.itemsize for column in log.columns.values())
    assert entry + log.used // log.count < CHANGE_BYTES_MAX


def test_a_change_of_a_list_costs_one_entry_a_person() -> None:
    world = Listed(profiles=500)
    world.list("vip")
    world.until(1)
    former = world.engine.part.former
    before = former.count
    world.change("vip", 2, add=range(500))
    world.change("vip", 3, emptied=True)
    world.until(4)
    assert former.count - before == 1_000
    entry = sum(column.itemsize for column in former.columns.values())
    assert entry < CHANGE_BYTES_MAX


def test_a_version_stands_from_its_instant_to_the_next_and_a_retired_segment_stood_too() -> None:
    world = World(profiles=1)
    world.define("fans", {"event": {"type": "bought"}})
    world.event(1, "bought", profile=0)
    world.until(2)
    world.define("fans", {"event": {"type": "viewed"}}, at=3)
    world.until(4)
    gone = world.definition("fans", {"event": {"type": "viewed"}})
    gone.retired = True
    world.engine.define(gone, world.us(5))
    world.until(6)
    part = world.engine.part
    assert members(world, "fans", 2) == [0]
    assert members(world, "fans", 3) == []
    assert members(world, "fans", 2, known=4) == []
    assert rules_at(part, world.us(6), world.us(6))["fans"].node is None
    turns = finished(turns_of(part, 0, "fans", world.us(0), part.now)).turns
    said = [(turn.at_us, turn.entered, turn.version, turn.why.reason) for turn in turns]
    assert said == [(world.us(1), True, 1, 1), (world.us(3), False, 2, 4)]
    assert turns[0].why.leaves
    assert not turns[1].why.leaves


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        (rule.InList("vip"), "who was in the list vip by hand was not kept"),
        (rule.MemberOf("fans"), "which version stood then was not kept"),
    ],
)
def test_a_snapshot_of_before_knows_these_from_its_instant_on(leaf: Any, said: str) -> None:
    world = Listed(profiles=2)
    world.list("vip")
    world.define("fans", {"event": {"type": "bought"}})
    world.change("vip", 2, add=[1])
    world.until(4)
    kept = ("former.whole", "catalogue.", "cuts.former", "versions")
    old = {k: v for k, v in world.engine.dump().items() if not k.startswith(kept)}
    fresh = Engine(0, 1)
    fresh.load({name: memoryview(bytes(body)) for name, body in old.items()})
    fresh.advance(world.us(9))
    part, expression = fresh.part, express(leaf)
    with pytest.raises(PastUnknown, match=said):
        as_of(part, world.us(3), world.us(3), expression, world.us(3))
    if isinstance(leaf, rule.InList):
        with pytest.raises(PastUnknown, match=said):
            as_of(part, world.us(3), world.us(8), expression)
    view = as_of(part, world.us(5), world.us(5), expression, world.us(5))
    assert Reader(view).answer(expression).tolist() == [False, isinstance(leaf, rule.InList)]


def test_scores_of_then_are_by_the_cuts_of_the_day() -> None:
    """Orders of ten days, cuts after each midnight: who was best at any hour is who was said to be,
    and the history of each is what was said; a rule that was never in force has no cuts."""
    seed = int(os.environ.get("MUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    rng, hour = random.Random(seed), 3_600
    world = World(begin_us=NOON, profiles=12)
    world.define("best", BEST)
    said: list[tuple[int, int, bool]] = []
    written: list[tuple[float, list[int]]] = []
    for at in range(1, 240, 3):
        if at % 24 == 13:
            world.engine.set_cuts(cuts_taken(world, at * hour), world.us(at * hour + 1))
        for _ in range(rng.choice([0, 1, 2])):
            total = dec(str(rng.randint(1, 50)))
            world.event(at * hour + rng.randint(2, 900), profile=rng.randrange(12), total=total)
        for second, row, _, way, _ in world.until((at + 1) * hour):
            said.append((world.us(second), row, way == "in"))
        written.append(((at + 1) * hour, world.members("best")))
        if rng.random() < 0.05:
            fresh = Engine(0, 1)
            fresh.load({n: memoryview(bytes(b)) for n, b in world.engine.dump().items()})
            world.engine = fresh
    assert len({tuple(found) for _, found in written}) > 5
    for second, found in written:
        assert members(world, "best", second) == found, second
    part = world.engine.part
    for row in range(12):
        turns = finished(turns_of(part, row, "best", world.us(0), part.now)).turns
        mine = [(at_us, entered) for at_us, one, entered in said if one == row]
        assert [(turn.at_us, turn.entered) for turn in turns] == mine
    other = copy.deepcopy(BEST)
    other["rfm"]["window"] = {"last": "24h"}
    node = world.engine.definitions.read(read_condition(other), "")
    with pytest.raises(PastUnknown, match="no rule that scores so by quantile was in force"):
        as_of(part, world.us(hour), world.us(hour), express(node))


def test_the_past_goes_on_through_snapshots_that_are_mapped(tmp_path: Path) -> None:
    """Written, mapped, added to, written again: nothing of the past is lost or moved."""
    folder, shop = SnapshotFolder(tmp_path), Shop(profiles=2)
    shop.define("can-buy", IN_STOCK)
    made = shop.definition("vip", {"list": "vip"})
    made.list.follows_segment_id = ""
    shop.engine.define(made, shop.us(0))
    shop.event(1, "viewed", profile=0, item_id="lamp")
    expected: list[tuple[float, str, list[int]]] = []
    for step in range(1, 7):
        at = 10 * step
        shop.item(at, "lamp", stock=step % 2, title=f"A lamp of step {step}")
        side = "added" if step % 2 else "removed"
        change = lists_pb2.ListChanged(list_id="vip", **{side: [1]})
        shop.engine.change_list(change, shop.us(at + 1))
        shop.until(at + 5)
        expected += [(at + 2, "can-buy", [0] * (step % 2)), (at + 2, "vip", [1] * (step % 2))]
        folder.write(step, {"version": 1}, shop.engine.dump())
        found = SnapshotFolder(tmp_path).newest(1)
        assert found is not None
        shop.engine = Engine(0, 1)
        shop.engine.load(found.buffers)
        for instant, name, rows in expected:
            assert members(shop, name, instant) == rows, (step, instant, name)

"""Lists in the engine: by hand, following a segment, through merges, moves and snapshots."""

from __future__ import annotations

import random
from typing import Any

import pytest

from muster.segments.v1 import facts_pb2 as facts
from muster.segments.v1 import lists_pb2
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.engine import Engine
from tests.unit.segments.world import DAY, World

GOLD = {"attribute": {"name": "plan", "eq": "gold"}}


class Listed(World):
    """A world with lists."""

    def list(self, name: str, follows: str = "", at: float = 0, retired: bool = False) -> None:
        made = self.definition(name, {"list": name})
        made.list.follows_segment_id = follows
        made.retired = retired
        self.engine.define(made, self.us(at))

    def change(self, name: str, at: float, add: Any = (), remove: Any = (), **more: Any) -> bool:
        fact = lists_pb2.ListChanged(list_id=name, added=add, removed=remove, **more)
        return self.engine.change_list(fact, self.us(at))


def copy_of(world: Listed) -> Engine:
    """The engine, from a snapshot of it."""
    made = Engine(0, 1)
    made.load({name: memoryview(bytes(value)) for name, value in world.engine.dump().items()})
    return made


def test_people_are_put_in_and_taken_out_with_the_reason() -> None:
    world = Listed(profiles=3)
    world.list("vip")
    assert world.until(1) == []
    world.change("vip", 2, add=[0, 2], request_id="r1")
    assert world.until(3) == [
        (2, 0, "vip", "in", "list_change"),
        (2, 2, "vip", "in", "list_change"),
    ]
    assert world.outcome is not None
    assert any(world.outcome.transitions["cause_print"].tolist())
    world.change("vip", 4, add=[0, 1], remove=[2])
    assert world.until(5) == [
        (4, 1, "vip", "in", "list_change"),
        (4, 2, "vip", "out", "list_change"),
    ]
    assert world.members("vip") == [0, 1]
    world.change("vip", 6, emptied=True, add=[2])
    assert {said[1:4] for said in world.until(7)} == {
        (0, "vip", "out"),
        (1, "vip", "out"),
        (2, "vip", "in"),
    }
    assert not world.change("unknown", 8, add=[0])


def test_a_rule_over_a_list_changes_in_the_same_step() -> None:
    world = Listed(profiles=2)
    world.list("vip")
    world.define("gold-vips", {"all": [{"list": "vip"}, GOLD]})
    world.attribute(1, "plan", "gold", profile=0)
    assert world.until(2) == []
    world.change("vip", 3, add=[0, 1])
    assert world.until(3) == [
        (3, 0, "vip", "in", "list_change"),
        (3, 0, "gold-vips", "in", "list_change"),
        (3, 1, "vip", "in", "list_change"),
    ]


def test_a_list_follows_a_segment_and_hands_stand_until_its_next_transition() -> None:
    world = Listed(profiles=2)
    world.define("gold", GOLD)
    world.attribute(1, "plan", "gold", profile=0)
    world.until(2)
    world.list("club", follows="gold", at=3)
    assert world.until(3) == [(3, 0, "club", "in", "backfill")]
    world.change("club", 4, add=[1], remove=[0])
    assert world.until(5) == [
        (4, 0, "club", "out", "list_change"),
        (4, 1, "club", "in", "list_change"),
    ]
    # 1 enters the segment: it is in already; then it leaves both, though a hand had put it in.
    world.attribute(6, "plan", "gold", profile=1)
    assert world.until(7) == [(6, 1, "gold", "in", "attribute")]
    world.attribute(8, "plan", "tin", profile=1)
    assert world.until(9) == [
        (8, 1, "gold", "out", "attribute"),
        (8, 1, "club", "out", "attribute"),
    ]
    # 0 was taken out by hand: leaving the segment changes nothing, coming back puts it in.
    world.attribute(10, "plan", "tin", profile=0)
    world.attribute(11, "plan", "gold", profile=0)
    assert world.until(12) == [
        (10, 0, "gold", "out", "attribute"),
        (11, 0, "gold", "in", "attribute"),
        (11, 0, "club", "in", "attribute"),
    ]


def test_a_window_that_ends_takes_out_of_the_list_at_the_exact_instant() -> None:
    world = Listed()
    world.define("buyers", {"event": {"type": "order", "window": {"last": "1h"}}})
    world.list("thank", follows="buyers")
    world.event(10)
    world.until(20)
    assert world.members("thank") == [0]
    assert world.until(4_000) == [
        (3_610, 0, "buyers", "out", "time"),
        (3_610, 0, "thank", "out", "time"),
    ]


def test_following_ends_and_whoever_is_in_stays() -> None:
    world = Listed(profiles=2)
    world.define("gold", GOLD)
    world.list("club", follows="gold")
    world.attribute(1, "plan", "gold")
    world.until(2)
    world.list("club", at=3)
    assert world.until(4) == []
    world.attribute(5, "plan", "tin")
    assert world.until(6) == [(5, 0, "gold", "out", "attribute")]
    assert world.members("club") == [0]


def test_merges_unite_and_unmerges_restore() -> None:
    world = Listed(profiles=2)
    world.list("vip")
    world.change("vip", 1, add=[1])
    world.until(2)
    world.merge(3, source=1, target=0, atoms=[1])
    assert world.until(4) == [(3, 0, "vip", "in", "merge"), (3, 1, "vip", "out", "merge")]
    world.merge(5, source=0, target=1, atoms=[1], merge=False, move_id=2)
    assert world.until(6) == [(5, 0, "vip", "out", "unmerge"), (5, 1, "vip", "in", "unmerge")]


def test_an_addition_hangs_on_the_strongest_identifier() -> None:
    world = Listed(profiles=2)
    world.list("vip")
    world.link(0, "cookie", profile=0, atom=0)
    world.link(0, "email", profile=0, atom=7)
    world.until(1)
    world.change("vip", 2, add=[0])
    world.until(3)
    world.merge(4, source=0, target=1, atoms=[0], merge=False)
    assert world.until(5) == []
    world.merge(6, source=0, target=1, atoms=[7], merge=False, move_id=2)
    assert world.until(7) == [(6, 0, "vip", "out", "unmerge"), (6, 1, "vip", "in", "unmerge")]


def test_a_number_merged_away_stands_for_the_survivor() -> None:
    world = Listed(profiles=2)
    world.list("vip")
    world.merge(1, source=1, target=0, atoms=[1])
    world.until(2)
    world.change("vip", 3, add=[1])
    assert world.until(4) == [(3, 0, "vip", "in", "list_change")]


def test_a_number_merged_into_another_partition_stands_for_whom_it_became() -> None:
    world = Listed(profiles=2, partition=0, partitions=2)
    world.list("vip")
    world.merge(1, source=1, target=0, atoms=[1])
    world.until(2)
    world.change("vip", 3, add=[1])
    assert [said[1:4] for said in world.until(4)] == [(0, "vip", "in")]
    world.merge(5, source=0, target=1, atoms=[1], merge=False, move_id=2)
    world.change("vip", 6, remove=[1])
    world.until(7)
    assert world.engine.members("vip").tolist() == [0]


def test_marks_move_with_a_past_to_another_partition() -> None:
    source = Listed(profiles=2, partition=1, partitions=2)
    target = Listed(profiles=2, partition=0, partitions=2)
    for world in (source, target):
        world.define("gold", GOLD)
        world.list("vip")
        world.list("club", follows="gold")
        world.change("vip", 1, add=[1])
        world.change("club", 1, add=[1])
        world.until(2)
    assert source.members("vip") == [1]
    bodies = source.merge(3, source=1, target=0, atoms=[1])
    assert target.merge(3, source=1, target=0, atoms=[1]) == []
    source.until(4)
    for body in bodies:
        assert target.engine.take_history(body) == []
    said = target.until(4)
    assert {one[1:] for one in said} == {(0, "vip", "in", "merge"), (0, "club", "in", "merge")}
    back = target.merge(5, source=0, target=1, atoms=[1], merge=False, move_id=2)
    source.merge(5, source=0, target=1, atoms=[1], merge=False, move_id=2)
    target.until(6)
    for body in back:
        source.engine.take_history(body)
    source.until(6)
    assert target.members("vip") == target.members("club") == []
    assert source.members("vip") == source.members("club") == [1]


def test_a_snapshot_keeps_marks_and_what_they_will_do() -> None:
    world = Listed(profiles=3)
    world.define("gold", GOLD)
    world.list("club", follows="gold")
    world.attribute(1, "plan", "gold", profile=0)
    world.change("club", 2, add=[1], remove=[0])
    world.until(3)
    again = copy_of(world)
    assert again.members("club").tolist() == [1]
    world.engine = again
    world.attribute(4, "plan", "tin", profile=0)
    world.attribute(5, "plan", "gold", profile=0)
    assert [said[1:4] for said in world.until(6)] == [
        (0, "gold", "out"),
        (0, "gold", "in"),
        (0, "club", "in"),
    ]


def test_cycles_and_strangers_are_refused() -> None:
    world = Listed()
    world.list("vip")
    world.define("vips", {"list": "vip"})

    def fault(made: facts.SegmentDefined) -> str:
        try:
            world.engine.define(made, world.us(1))
        except ConditionFaults as refusal:
            (path, text), *_ = refusal.faults
            return f"{path}: {text}"
        raise AssertionError("not refused")

    def listed(name: str, follows: str) -> facts.SegmentDefined:
        made = world.definition(name, {"list": name})
        made.list.follows_segment_id = follows
        return made

    assert "cycle" in fault(listed("vip", "vips"))
    assert "itself" in fault(listed("vip", "vip"))
    assert "no segment" in fault(listed("other", "nobody"))
    assert "a list stays a list" in fault(world.definition("vip", GOLD))


def test_a_list_taken_out_of_service_begins_empty_when_it_comes_back() -> None:
    world = Listed()
    world.list("vip")
    world.change("vip", 1, add=[0])
    world.until(2)
    world.list("vip", at=3, retired=True)
    assert world.until(4) == [(3, 0, "vip", "out", "rule_change")]
    assert not world.change("vip", 5, add=[0])
    world.list("vip", at=6)
    assert world.until(7) == []
    assert world.members("vip") == []


def test_an_explanation_says_what_was_done_by_hand() -> None:
    world = Listed(profiles=2)
    world.define("buyers", {"event": {"type": "order", "window": {"last": "24h"}}})
    world.list("thank", follows="buyers")
    world.event(10)
    world.change("thank", 20, add=[1])
    world.until(30)
    explained = world.engine.explain("thank", 1)
    assert explained.member and explained.leaves[0].found == "added by hand"
    assert explained.flip_time_us is None
    assert world.engine.explain("thank", 0).flip_time_us == world.us(10) + DAY


class ByHand:
    """Lists as they are meant: a mark for each atom, and who owns which atom."""

    def __init__(self, atoms: dict[int, str]) -> None:
        self.kinds = atoms
        self.owner = {atom: atom % 5 for atom in atoms}
        self.marks: dict[int, str] = {}

    def of(self, profile: int) -> list[int]:
        return [atom for atom, owner in self.owner.items() if owner == profile]

    def strongest(self, profile: int) -> int:
        order = ["email", "phone", "cookie"]
        return min(self.of(profile), key=lambda atom: (order.index(self.kinds[atom]), atom))

    def clear(self, profile: int) -> None:
        for atom in self.of(profile):
            self.marks.pop(atom, None)

    def put(self, profile: int, mark: str) -> None:
        self.clear(profile)
        if mark:
            self.marks[self.strongest(profile)] = mark

    def members(self, followed: list[int]) -> list[int]:
        found = []
        for profile in sorted(set(self.owner.values())):
            marks = {self.marks.get(atom) for atom in self.of(profile)}
            if "added" in marks or (profile in followed and "removed" not in marks):
                found.append(profile)
        return found


@pytest.mark.parametrize("follows", ["", "gold"])
def test_any_history_of_hands_merges_and_splits_is_as_meant(follows: str) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    world = Listed(profiles=5)
    atoms = {atom: rng.choice(["email", "phone", "cookie"]) for atom in range(10)}
    meant = ByHand(atoms)
    for atom, kind in atoms.items():
        world.link(0, kind, profile=atom % 5, atom=atom)
    world.define("gold", GOLD)
    world.list("club", follows=follows)
    world.until(1)
    moved = 0
    for second in range(2, 160):
        owners = sorted(set(meant.owner.values()))
        profile = rng.choice(owners)
        draw = rng.random()
        if draw < 0.3:
            world.change("club", second, add=[profile])
            meant.put(profile, "added")
        elif draw < 0.5:
            world.change("club", second, remove=[profile])
            meant.put(profile, "removed" if follows else "")
        elif draw < 0.52:
            for one in world.members("club"):
                meant.put(one, "removed" if follows else "")
            world.change("club", second, emptied=True)
        elif draw < 0.75:
            value = rng.choice(["gold", "tin"])
            world.attribute(second, "plan", value, profile=profile, atom=meant.of(profile)[0])
        else:
            whole = rng.random() < 0.5
            other = rng.choice([one for one in range(5) if one != profile])
            if whole == (other not in owners) or (not whole and len(meant.of(profile)) < 2):
                continue
            chosen = meant.of(profile) if whole else rng.sample(meant.of(profile), 1)
            moved += 1
            world.merge(second, profile, other, chosen, merge=whole, move_id=moved)
            meant.owner |= dict.fromkeys(chosen, other)
        for _, who, segment, _, _ in world.until(second):
            if segment == "gold" and follows:
                meant.clear(who)
        followed = world.members("gold") if follows else []
        assert world.members("club") == meant.members(followed), (seed, second)
        if rng.random() < 0.05:
            world.engine = copy_of(world)

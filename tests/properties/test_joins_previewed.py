"""What a preview says of people as one, or of one as several, is what the move then does.

Random histories with random rules, over one and two partitions; the seed is printed, MUSTER_SEED
sets the first.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import numpy as np
import pytest

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import joins_pb2 as api
from services.segments.engine.asked.joins import Trial, export_past
from services.segments.engine.engine import Engine
from tests.support.engines import EngineRun
from tests.support.histories import Shape, random_history

SHAPES = {
    "one partition": Shape(instants=60, profiles=10, merges=0.1, segments=12),
    "two partitions": Shape(
        instants=60, profiles=10, merges=0.08, partitions=2, ordered=False, segments=12
    ),
}
HISTORIES = int(os.environ.get("MUSTER_HISTORIES", "6"))
NEWEST = ("city", "plan")


def first_seed() -> int:
    return int(os.environ.get("MUSTER_SEED") or random.SystemRandom().randrange(1 << 30))


class World:
    """The engines of a history at its end, and moves that are really made there."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.rng = random.Random(seed)
        self.run = EngineRun(random_history(seed, shape), self.rng)
        for at_us in self.run.cuts(0.3):
            self.run.step(at_us)
        self.now = self.run.history.end_us
        self.moves = 1_000_000
        self.new = 10_000

    def engine_of(self, profile: int) -> Engine:
        return self.run.engines[profile % len(self.run.engines)]

    def living(self) -> list[int]:
        return [
            engine.part.people.number_of(row)
            for engine in self.run.engines
            for row in range(engine.part.people.rows)
            if engine.part.people.created_us[row] <= self.now
            and not engine.part.people.absorbed[row]
        ]

    def segments(self) -> list[str]:
        return [one.segment_id for one in self.run.engines[0].segments() if not one.retired]

    def member_of(self, profile: int) -> set[str]:
        engine = self.engine_of(profile)
        return {name for name in self.segments() if engine.is_member(profile, name)}

    def past(self, profile: int) -> api.ProfilePast:
        return export_past(self.engine_of(profile).part, profile)

    def differ(self, one: set[str], other: set[str], judged: set[str]) -> list[tuple[str, str]]:
        """Segments that only one of these holds, in words."""
        told = {info.segment_id: info.sentence for info in self.run.engines[0].segments()}
        return [(name, told[name]) for name in sorted((one ^ other) & judged)]

    def move(self, source: int, target: int, past: api.ProfilePast) -> None:
        """Merges for real, over HISTORY when they live apart."""
        self.moves += 1
        across = self.engine_of(source) is not self.engine_of(target)
        moved = identity.AtomsMoved(
            move_id=self.moves,
            from_profile=source,
            to_profile=target,
            atom=past.atom,
            merge=True,
            across_partitions=across,
            cause=identity.MOVE_CAUSE_MERGE,
            move_time_us=self.now,
            newest_attributes=NEWEST,
        )
        if across:
            trial = Trial(self.engine_of(target).part, target)
            trial._engine = self.engine_of(target)
            trial.link(past.identifiers, target)
        bodies = self.engine_of(source).move_atoms(moved)
        if across:
            self.engine_of(target).move_atoms(moved)
        for body in bodies:
            self.engine_of(target).take_history(body)
        for engine in self.run.engines:
            engine.advance(self.now)

    def split(self, source: int, atoms: list[int]) -> int:
        """Makes these atoms a person of their own, for real; its number, of the same partition."""
        self.moves += 1
        self.new += 100 * len(self.run.engines)
        target = self.new + source % len(self.run.engines)
        engine = self.engine_of(source)
        engine.create_profiles(
            {
                "profile": np.array([target], np.uint32),
                "public_id": np.array([target], np.uint64),
                "atom": np.array(atoms[:1], np.uint32),
                "create_time_us": np.array([self.now], np.int64),
            }
        )
        moved = identity.AtomsMoved(
            move_id=self.moves,
            from_profile=source,
            to_profile=target,
            atom=atoms,
            cause=identity.MOVE_CAUSE_UNMERGE,
            move_time_us=self.now,
        )
        engine.move_atoms(moved)
        engine.advance(self.now)
        return target


@pytest.mark.parametrize("shape", SHAPES)
def test_one_as_several_are_members_as_the_preview_said(shape: str) -> None:
    seed, parted = first_seed(), 0
    for number in range(HISTORIES):
        print(f"MUSTER_SEED={seed + number}")
        world = World(seed + number, SHAPES[shape])
        for person in world.rng.sample(world.living(), min(4, len(world.living()))):
            past = world.past(person)
            linked = dict(zip(past.identifiers.atom, pairs(past.identifiers.id_print), strict=True))
            if len(linked) < 2:
                continue
            atoms = world.rng.sample(sorted(linked), len(linked) // 2)
            trial = Trial(world.engine_of(person).part, person, split=True)
            trial.enter(past)
            left = trial.leave({linked[atom] for atom in atoms})
            judged = set(world.segments()) - trial.unknown.keys()
            new = world.split(person, atoms)
            assert not world.differ(trial.member_of(), world.member_of(person), judged)
            assert not world.differ(trial.member_of(left), world.member_of(new), judged)
            parted += 1
    print(f"{parted} people parted")
    assert parted


def pairs(words: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(words[0::2], words[1::2], strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_people_as_one_are_members_as_the_preview_said(shape: str) -> None:
    seed, compared, changed = first_seed(), 0, 0
    for number in range(HISTORIES):
        print(f"MUSTER_SEED={seed + number}")
        world = World(seed + number, SHAPES[shape])
        for _ in range(3):
            living = world.living()
            if len(living) < 2:
                break
            target, source = world.rng.sample(living, 2)
            pasts = [world.past(target), world.past(source)]
            before = [world.member_of(target), world.member_of(source)]
            trial = Trial(world.engine_of(target).part, target)
            trial.enter(pasts[0])
            judged = set(world.segments()) - trial.unknown.keys()
            assert not world.differ(trial.member_of(), before[0], judged), "alone it is as it was"
            trial.enter(pasts[1], NEWEST)
            assert [world.past(target), world.past(source)] == pasts, "nothing was changed"
            world.move(source, target, pasts[1])
            assert not world.differ(trial.member_of(), world.member_of(target), judged)
            compared += len(judged)
            changed += len((before[0] ^ world.member_of(target)) & judged)
    print(f"{compared} memberships, {changed} changed by the merge")
    assert changed

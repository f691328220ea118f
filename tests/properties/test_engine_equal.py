"""The engine against itself: cursors, columns and persons agree; cuts and snapshots change nothing.

The limits are tiny, so that a few hundred rows go through every run of a stream. MUSTER_SEED sets
the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from cli.simulation.naive.facts import Defined, Row
from muster.segments.v1 import facts_pb2 as facts
from services.chassis.columns import ColumnCodec
from services.segments.engine.engine import Engine, EngineLimits
from tests.support.engines import EngineRun
from tests.support.histories import History, Shape, random_history

TRANSITIONS = ColumnCodec(facts.TransitionColumns)
TINY = EngineLimits(shift_rows_max=2, tail_rows_max=3, late_rows_min=9)
SHAPES = {
    "many rows": Shape(instants=160, profiles=12, merges=0.0, segments=10),
    "merges": Shape(instants=60, profiles=10, merges=0.14, segments=10),
    "two partitions": Shape(instants=60, profiles=10, merges=0.08, partitions=2, ordered=False),
}
HISTORIES = int(os.environ.get("MUSTER_HISTORIES", "6"))


class Told(EngineRun):
    """A run that also keeps the bytes and the activity each partition said."""

    def __post_init__(self) -> None:
        super().__post_init__()
        partitions = self.history.shape.partitions
        self.engines = [Recorder(p, partitions, TINY) for p in range(partitions)]


class Recorder(Engine):
    """An engine that remembers what it said."""

    def __init__(self, partition: int, partitions: int, limits: EngineLimits) -> None:
        super().__init__(partition, partitions, limits)
        self.columns: list[dict[str, Any]] = []
        self.counted: dict[tuple[int, str, int], int] = defaultdict(int)

    def advance(self, time_us: int) -> Any:
        outcome = super().advance(time_us)
        if outcome.transitions:
            self.columns.append(outcome.transitions)
        activity = outcome.activity
        if activity:
            ends = [0, *activity["name_end"].tolist()]
            raw = activity["name"].tobytes()
            names = [raw[a:b].decode() for a, b in pairwise(ends)]
            for i in range(activity["count"].size):
                key = (
                    int(activity["segment"][i]), names[activity["type"][i]],
                    int(activity["minute_us"][i]),
                )  # fmt: skip
                self.counted[key] += int(activity["count"][i])
        return outcome

    def wire(self) -> bytes:
        """All transitions as the bytes of one message."""
        if not self.columns:
            return b""
        joined = {
            name: np.concatenate([one[name] for one in self.columns]) for name in self.columns[0]
        }
        return TRANSITIONS.encode(joined)


def first_seed() -> int:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}")
    return seed


def run_of(history: History, chance: float, salt: int = 0) -> Told:
    return Told(history, random.Random(history.seed * 1_000 + salt))


def live(history: History, at_us: int) -> list[Defined]:
    """The definitions in force at an instant."""
    newest: dict[str, Defined] = {}
    for fact in history.facts:
        if isinstance(fact, Defined) and fact.at_us <= at_us:
            newest[fact.segment] = fact
    return [fact for fact in newest.values() if not fact.retired]


@pytest.mark.parametrize("shape", SHAPES)
def test_members_are_what_a_question_from_scratch_selects(shape: str) -> None:
    seed = first_seed()
    for offset in range(HISTORIES):
        history = random_history(seed + offset, SHAPES[shape])
        run = run_of(history, 0.3)
        for at_us in run.cuts(0.3):
            run.step(at_us)
            for defined in live(history, at_us):
                for engine in run.engines:
                    selected = engine.select(engine.compile(defined.condition, defined.zone))
                    members = engine.members(defined.segment)
                    assert selected.tolist() == members.tolist(), (
                        f"seed {seed + offset}, {shape}, at {at_us}, {defined.segment}"
                    )


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_said_does_not_depend_on_the_cuts(shape: str) -> None:
    seed = first_seed()
    for offset in range(HISTORIES):
        history = random_history(seed + offset, SHAPES[shape])
        told = []
        for salt, chance in enumerate((0.02, 0.3, 1.0)):
            run = run_of(history, chance, salt)
            for at_us in run.cuts(chance):
                run.step(at_us)
            told.append(([e.wire() for e in run.engines], [dict(e.counted) for e in run.engines]))
        for other in told[1:]:
            assert other[0] == told[0][0], f"seed {seed + offset}, {shape}: transitions"
            assert other[1] == told[0][1], f"seed {seed + offset}, {shape}: activity"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_snapshot_has_the_same_future(shape: str) -> None:
    seed = first_seed()
    for offset in range(HISTORIES):
        history = random_history(seed + offset, SHAPES[shape])
        through, renewed = run_of(history, 0.4), run_of(history, 0.4)
        cuts = through.cuts(0.4)
        turn = random.Random(seed + offset).choice(cuts)
        for at_us in cuts:
            through.step(at_us)
            renewed.step(at_us)
            if at_us == turn:
                renewed.engines = [loaded(engine) for engine in renewed.engines]
        for one, other in zip(through.engines, renewed.engines, strict=True):
            assert one.wire() == other.wire(), f"seed {seed + offset}, {shape}, at {turn}"
            assert one.counted == other.counted, f"seed {seed + offset}, {shape}, at {turn}"
            dumps = [
                {k: bytes(v) for k, v in e.dump().items() if k != "meta"} for e in (one, other)
            ]
            assert dumps[0].keys() == dumps[1].keys()


def loaded(engine: Recorder) -> Recorder:
    """A fresh engine with the state of another, as read from a file."""
    copy = Recorder(engine.partition, engine.partitions, engine.limits)
    copy.load({name: memoryview(bytes(value)) for name, value in engine.dump().items()})
    copy.columns, copy.counted = list(engine.columns), engine.counted.copy()
    return copy


@pytest.mark.parametrize("shape", SHAPES)
def test_activity_counts_the_events_of_those_who_are_members_when_they_happen(shape: str) -> None:
    seed = first_seed()
    for offset in range(HISTORIES):
        history = random_history(seed + offset, replace(SHAPES[shape], merges=0.0))
        run = run_of(history, 0.5)
        for at_us in run.cuts(0.5):
            run.step(at_us)
        member: dict[tuple[int, int], list[tuple[int, bool]]] = defaultdict(list)
        for told in sorted(run.told):
            one = told.transition
            member[one.segment, one.profile].append((one.at_us, one.entered))
        expected: dict[tuple[int, str, int], int] = defaultdict(int)
        for row in history.facts:
            if not isinstance(row, Row) or row.imported or row.effect_us > history.end_us:
                continue
            minute = row.effect_us - row.effect_us % 60_000_000
            for (segment, profile), changes in member.items():
                before = [entered for at, entered in changes if at <= row.effect_us]
                if profile == row.profile and before and before[-1]:
                    expected[segment, row.type, minute] += 1
        counted: dict[tuple[int, str, int], int] = defaultdict(int)
        for engine in run.engines:
            for key, count in engine.counted.items():
                counted[key] += count
        assert counted == expected, f"seed {seed + offset}, {shape}"


FOUND = (510931633,)
"""A word about subscriptions that had come already was not foreseen."""


def test_an_explanation_knows_the_next_instant_exactly() -> None:
    first, flips = first_seed(), 0
    for seed in (*FOUND, *range(first, first + 5 * HISTORIES)):
        history = random_history(seed, Shape(instants=40, segments=8, merges=0.05))
        run = run_of(history, 0.4)
        cuts = run.cuts(0.4)
        for at_us in cuts[: random.Random(seed).randrange(1, len(cuts))]:
            run.step(at_us)
        engine = run.engines[0]
        after: dict[int | None, Recorder] = {}
        for defined in live(history, engine.time_us):
            for profile in range(engine.part.people.rows):
                explained = engine.explain(defined.segment, profile)
                where = f"seed {seed}, {defined.segment}, profile {profile}"
                assert explained.member == engine.is_member(profile, defined.segment), where
                flip = explained.flip_time_us
                if len(after) > 12 and flip not in after:
                    continue
                if flip not in after:
                    after[flip] = loaded(engine)
                    after[flip].advance((flip or engine.time_us + 10**15) - 1)
                assert after[flip].is_member(profile, defined.segment) == explained.member, where
                if flip is not None:
                    flips += 1
                    later = loaded(after[flip])
                    later.advance(flip)
                    assert later.is_member(profile, defined.segment) != explained.member, where
    assert flips > 0

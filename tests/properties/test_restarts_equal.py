"""An engine that is killed and restarted from its snapshots on disk says what one that lives says.

Snapshots are written to files while later steps run, several in a row; a kill forgets what came
after the newest, and the steps since are taken again. The limits are tiny, so that a few hundred
rows are sealed, late and merged. MUSTER_SEED sets the first seed (by chance, printed); seeds that
failed are kept in seeds.txt and replayed first.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.simulation.naive.facts import Defined
from services.chassis.snapshots import SnapshotFolder
from services.segments.engine.engine import Engine, EngineLimits
from tests.properties.test_segments_equal import _keep, _kept
from tests.support.engines import EngineRun, log_time
from tests.support.histories import History, Shape, random_history

TINY = EngineLimits(shift_rows_max=2, tail_rows_max=3, late_rows_min=9, sealed_rows=4)
SHAPES = {
    "restarts, many rows": Shape(instants=160, profiles=12, merges=0.0, segments=10),
    "restarts, merges": Shape(instants=60, profiles=10, merges=0.14, segments=10),
    "restarts, two partitions": Shape(
        instants=60, profiles=10, merges=0.08, partitions=2, ordered=False
    ),
}
HISTORIES = int(os.environ.get("MUSTER_HISTORIES", "3"))
VERSION = 1


class Lives(EngineRun):
    """A run whose engines may be killed; `folders` hold their snapshots."""

    folders: list[SnapshotFolder]
    seen: Counter[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.engines = [Engine(one.partition, one.partitions, TINY) for one in self.engines]
        self.saved: dict[int, tuple[Any, ...]] = {}
        self.unwritten: list[tuple[int, list[Any]]] = []
        self.seen = Counter()

    def save(self, step: int) -> None:
        """What a snapshot of a step is made of; it is written later."""
        self.unwritten.append((step, [engine.dump() for engine in self.engines]))
        self.saved[step] = (len(self.told), list(self.waiting), copy.deepcopy(self.bodies))

    def write(self) -> None:
        """Writes what was saved, whatever has happened to the engines since."""
        for step, dumps in self.unwritten:
            for folder, buffers in zip(self.folders, dumps, strict=True):
                folder.write(step, {"version": VERSION, "step": step}, buffers)
                self.seen["sealed"] += any(name.endswith(".occur") for name in _streams(buffers))
        self.unwritten = []

    def kill(self) -> int:
        """New engines from the newest snapshots; the step they stand at, -1 without any."""
        self.unwritten, fresh, step = [], [], -1
        self.folders = [SnapshotFolder(one.folder) for one in self.folders]
        for engine, folder in zip(self.engines, self.folders, strict=True):
            found = folder.newest(VERSION)
            if found is None:
                return -1
            step = found.head["step"]
            again = Engine(engine.partition, engine.partitions, TINY)
            again.load(found.buffers)
            fresh.append(again)
        length, waiting, bodies = self.saved[step]
        self.engines, self.waiting, self.bodies = fresh, list(waiting), copy.deepcopy(bodies)
        del self.told[length:]
        return step


def _streams(buffers: dict[str, Any]) -> Iterator[str]:
    return (name for name in buffers if name.startswith("streams."))


def with_comebacks(history: History, rng: random.Random) -> History:
    """Segments that were taken out of service come back with their rule, some time later."""
    facts = list(history.facts)
    gone = [one for one in facts if isinstance(one, Defined) and one.retired]
    for one in gone:
        if "segment_id" not in str(one.condition):
            place = rng.randrange(facts.index(one) + 1, len(facts) + 1)
            at_us = log_time(facts[place - 1])
            back = replace(one, version=one.version + 1, retired=False, at_us=at_us)
            facts.insert(place, back)
    return replace(history, facts=facts)


def _check(seed: int, shape: str, folder: Path) -> Counter[str]:
    """Fails when the run that is killed says something else; how often what happened."""
    history = with_comebacks(random_history(seed, SHAPES[shape]), random.Random(seed))
    through, lives = (Lives(history, random.Random(seed)) for _ in range(2))
    folder.mkdir()
    lives.folders = [SnapshotFolder(folder / str(one.partition)) for one in lives.engines]
    cuts = through.cuts(0.4)
    for at_us in cuts:
        through.step(at_us)
    seen = live(lives, cuts, random.Random(f"kills {seed}"))
    where = f"seed {seed}, {shape}"
    assert lives.told == through.told, where
    for one, other in zip(through.engines, lives.engines, strict=True):
        _equal(one, other, where)
    return seen


@pytest.mark.parametrize("shape", SHAPES)
def test_whoever_is_killed_says_the_same(shape: str, tmp_path: Path) -> None:
    first = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {first}")
    seen: Counter[str] = Counter()
    kept = [seed for seed, of in _kept() if of == shape]
    for seed in [*kept, *range(first, first + HISTORIES)]:
        try:
            seen += _check(seed, shape, tmp_path / str(seed))
        except BaseException:
            _keep(seed, shape)
            raise
    assert seen["kills"] > HISTORIES
    assert seen["sealed"] > 0


def live(lives: Lives, cuts: list[int], rng: random.Random) -> Counter[str]:
    """Takes all steps, with snapshots and kills in between; how often what happened."""
    step, kills = 0, 0
    while step < len(cuts):
        lives.step(cuts[step])
        if rng.random() < 0.25:
            lives.save(step)
        if rng.random() < 0.3:
            lives.write()
        step += 1
        if rng.random() < 0.12:
            reached = lives.kill()
            step = reached + 1 if reached >= 0 else step
            kills += reached >= 0
    lives.seen["kills"] = kills
    return lives.seen


def _equal(one: Engine, other: Engine, where: str) -> None:
    """The same rows in the same runs, the same answers."""
    dumps = [{k: bytes(v) for k, v in engine.dump().items()} for engine in (one, other)]
    for name in _streams(dumps[0]):
        assert dumps[0][name] == dumps[1].get(name), f"{where}: {name}"
    assert list(_streams(dumps[0])) == list(_streams(dumps[1])), where
    for info in one.segments():
        mine, theirs = one.members(info.segment_id), other.members(info.segment_id)
        assert np.array_equal(mine, theirs), f"{where}: {info.segment_id}"


def of_before(buffers: dict[str, Any]) -> dict[str, memoryview]:
    """A dump as it was when streams and leaves began from the log at every start."""
    meta = json.loads(bytes(buffers["meta"]))
    del meta["streams"], meta["leaves"]
    new = ("streams.", "pasts.", "days.", "bits", "texts_units", "texts_exp", "texts_can")
    old = {name: bytes(value) for name, value in buffers.items() if not name.startswith(new)}
    old["meta"] = json.dumps(meta | {"format": 2}).encode()
    return {name: memoryview(value) for name, value in old.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_snapshot_of_an_older_release_has_the_same_future(shape: str) -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"seed {seed}")
    history = random_history(seed, SHAPES[shape])
    through, renewed = (Lives(history, random.Random(seed)) for _ in range(2))
    for at_us in through.cuts(0.4):
        through.step(at_us)
        renewed.step(at_us)
        for place, engine in enumerate(renewed.engines):
            if renewed.rng.random() < 0.2:
                again = Engine(engine.partition, engine.partitions, TINY)
                again.load(of_before(dict(engine.dump())))
                renewed.engines[place] = again
    assert renewed.told == through.told, f"seed {seed}, {shape}"


def test_a_snapshot_of_a_release_to_come_is_refused_and_says_what_to_do() -> None:
    state = {name: memoryview(bytes(one)) for name, one in Engine(0, 1).dump().items()}
    meta = json.loads(bytes(state["meta"])) | {"format": 99}
    state["meta"] = memoryview(json.dumps(meta).encode())
    with pytest.raises(ValueError, match=r"format 99.*move the snapshot away"):
        Engine(0, 1).load(state)

"""Our engine: bytes of EventColumns in, transitions out, as columns or as one tuple each.

Within the clock: profiles created, bodies decoded with their eight properties, every step advanced.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from benchmarks.peers.job import Array, Job, Player, Said, main, table_of
from benchmarks.peers.jobs import RULES
from benchmarks.segments.workload import BEGIN_US, CREATED, DAY_US, EVENTS, Shop
from muster.segments.v1 import facts_pb2 as facts
from services.segments.engine.engine import Engine
from services.segments.engine.warm import warm

STEP = 10_000
"""Events of one body. With 1,000, as bytewax's batches, it is 2 % (R20) to 13 % (R1) slower."""
COLUMNS = ["at_us", "profile", "segment", "entered"]


@dataclass
class Ready:
    engine: Engine
    created: bytes
    steps: list[tuple[bytes, int]]


def prepare(job: Job) -> Ready:
    """An empty engine with the rules in force, and what it will read."""
    events = job.time_us.size
    shop = Shop(job.profiles, events, 1, job.seed)
    shop.occur = shop.accept = job.time_us
    shop.profile, shop.type, shop.amount = job.profile, job.type, job.amount
    engine = Engine(0, 1)
    engine.advance(BEGIN_US - DAY_US)
    for place, rule in enumerate(RULES[job.name], start=1):
        given = facts.SegmentDefined(segment_id=f"s-{place}", segment_number=place, version=1)
        given.condition.CopyFrom(rule.condition)
        engine.define(given, engine.time_us)
    number = np.arange(job.profiles, dtype=np.uint32)
    created = {
        "profile": number, "public_id": number.astype(np.uint64) + np.uint64(10**12),
        "atom": number, "create_time_us": np.full(job.profiles, BEGIN_US - DAY_US),
    }  # fmt: skip
    ends = [min(first + STEP, events) for first in range(0, events, STEP)]
    steps = [
        (shop.body(first, end), int(job.time_us[end - 1]))
        for first, end in zip(range(0, events, STEP), ends, strict=True)
    ]
    return Ready(engine, CREATED.encode(created), steps)


def play_columns(ready: Ready) -> list[dict[str, Any]]:
    """Columns of TransitionColumns, by step."""
    engine = ready.engine
    said: list[dict[str, Any]] = []
    engine.create_profiles(CREATED.decode(ready.created))
    for body, at in ready.steps:
        engine.add_events(EVENTS.decode(body))
        outcome = engine.advance(at)
        if outcome.transitions:
            said.append(outcome.transitions)
    return said


def play_objects(ready: Ready) -> Said:
    """One tuple for each transition; segments are numbered from 1."""
    parts = [
        zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
        for columns in play_columns(ready)
    ]
    return list(chain.from_iterable(parts))


def table_of_columns(said: list[dict[str, Any]]) -> Array:
    parts = [np.stack([one[name].astype(np.int64) for name in COLUMNS], axis=1) for one in said]
    return np.concatenate(parts) - np.array([0, 0, 1, 0])


def table_of_objects(said: Said) -> Array:
    return table_of(said) - np.array([0, 0, 1, 0])


if __name__ == "__main__":
    warm()
    main(
        {
            "muster": Player(prepare, play_objects, table_of_objects),
            "muster_columns": Player(prepare, play_columns, table_of_columns),
        }
    )

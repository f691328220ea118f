"""B, tell me when it changes: events per second by number of rules, on one core."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.segments.rules import kept
from benchmarks.segments.workload import EVENTS, SECOND_US, Shop
from muster.segments.v1 import facts_pb2 as facts
from services.chassis.clock import performance_us
from services.segments.adapters.wire import step_bodies
from services.segments.engine.engine import Engine


def define(engine: Engine, first: int, count: int, rng: np.random.Generator) -> list[float]:
    """Puts rules first … first + count - 1 in force; milliseconds of each."""
    spent = []
    for number in range(first, first + count):
        given = facts.SegmentDefined(segment_id=f"s-{number}", segment_number=number + 1, version=1)
        given.condition.CopyFrom(kept(number, rng))
        began = performance_us()
        engine.define(given, engine.time_us)
        engine.advance(engine.time_us)
        spent.append((performance_us() - began) / 1e3)
    return spent


def play(engine: Engine, shop: Shop, start: int, end: int, step: int) -> dict[str, Any]:
    """Plays rows in steps of so many, decoded, and encoded as the service does: in messages of at
    most 512 KiB; bodies are made before the clock."""
    bodies, times = [], []
    for first in range(start, end, step):
        last = min(first + step, end)
        bodies.append(shop.body(first, last))
        times.append(int(shop.accept[last - 1]))
    spent = np.empty(len(bodies))
    said = activity = size = 0
    for i, (body, at) in enumerate(zip(bodies, times, strict=True)):
        began = performance_us()
        engine.add_events(EVENTS.decode(body))
        outcome = engine.advance(at)
        bodies_out = step_bodies(outcome.transitions, outcome.activity, outcome.sizes)
        spent[i] = performance_us() - began
        size += sum(map(len, bodies_out))
        said += len(outcome.transitions.get("at_us", ()))
        activity += len(outcome.activity.get("count", ()))
    rows = end - start
    return {
        "rows_per_step": step,
        "events_per_s": round(rows / spent.sum() * 1e6),
        "step_p50_ms": round(float(np.median(spent)) / 1e3, 3),
        "step_p99_ms": round(float(np.quantile(spent, 0.99)) / 1e3, 3),
        "transitions_per_event": round(said / rows, 2),
        "activity_per_event": round(activity / rows, 2),
        "bytes_out_per_event": round(size / rows),
    }


def live(shop: Shop, start: int, rate: int) -> None:
    """Tells the rest of the history faster: so many events a second from row `start` on."""
    behind = shop.accept[start:] - shop.occur[start:]
    first = int(shop.accept[start - 1])
    shop.accept[start:] = first + SECOND_US // rate * np.arange(1, behind.size + 1)
    shop.occur[start:] = shop.accept[start:] - behind

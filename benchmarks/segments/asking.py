"""A, ask anything: eight counts from scratch, ours against memory and against databases."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from benchmarks.segments.limits import bytes_used, copy_ms
from benchmarks.segments.others import PEERS, Tables
from benchmarks.segments.rules import asked
from benchmarks.segments.workload import Shop
from services.chassis.clock import performance_us
from services.segments.engine.engine import Engine

TRIES = 5


def timed(ask: Callable[[], int]) -> tuple[int, float]:
    """The answer and its milliseconds, warm: the median of some tries behind a first one."""
    answer, spent = ask(), []
    for _ in range(TRIES):
        began = performance_us()
        ask()
        spent.append((performance_us() - began) / 1e3)
    return answer, statistics.median(spent)


def run(shop: Shop, engine: Engine, rows: int, peers: list[str]) -> dict[str, object]:
    """Asks everybody; raises AssertionError when two answers differ."""
    ours, answers, first = {}, {}, {}
    for name, condition in asked().items():
        short = name.split()[0]
        plan = engine.compile(condition)
        began = performance_us()
        engine.count(plan)
        first[short] = round((performance_us() - began) / 1e3, 2)
        answers[short], ours[short] = timed(partial(engine.count, plan))
    used = bytes_used(shop, rows, engine.time_us)
    limit = {name: copy_ms(size) for name, size in used.items()}
    tables = Tables(shop, rows, engine.time_us)
    others: dict[str, dict[str, float]] = {}
    for peer in peers:
        others[peer] = {}
        for name, ask in PEERS[peer](tables).items():
            answer, others[peer][name] = timed(ask)
            if answer != answers[name]:
                raise AssertionError(f"{name}: {peer} counts {answer}, we count {answers[name]}")
    show(answers, ours, first, limit, others)
    return {
        "ask_ms": {name: round(ms, 3) for name, ms in ours.items()},
        "ask_first_ms": first,
        "index_bytes_per_event": round(engine.part.streams.index.nbytes / rows, 1),
        "ask_times_limit_max": round(max(ours[n] / limit[n] for n in ours), 1),
        **{
            f"ask_times_faster_than_{peer.lower()}_median": round(
                statistics.median(times[n] / ours[n] for n in times), 1
            )
            for peer, times in others.items()
        },
    }


def show(
    answers: dict[str, int],
    ours: dict[str, float],
    first: dict[str, float],
    limit: dict[str, float],
    others: dict[str, dict[str, float]],
) -> None:
    """A line for each question: times of the others as multiples of ours."""
    print("asked (ms of ours; memory limit and others as multiples)")
    for name, count in answers.items():
        rest = "  ".join(
            f"{peer} {times[name] / ours[name]:7.1f} x" for peer, times in others.items()
        )
        print(
            f"  {name}  {count:>9,} members  {ours[name]:8.2f} ms (first {first[name]:8.1f})  "
            f"{ours[name] / limit[name]:6.1f} x memory  {rest}",
            flush=True,
        )

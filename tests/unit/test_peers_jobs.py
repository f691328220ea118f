"""What the engines of `make bench-peers` are compared with is right, also at equal instants."""

from __future__ import annotations

import numpy as np

from benchmarks.peers import job_dicts, job_ours
from benchmarks.peers.job import Job, Player, table_of
from benchmarks.peers.jobs import RULES
from benchmarks.segments.workload import BEGIN_US, HOUR_US

EVENTS, PROFILES, SEED = 1_500, 3, 20_261_122
STEP_US = {"r1": 6 * HOUR_US, "r20": HOUR_US // 3}
CENTS_MAX = {"r1": 160, "r20": 15_000}


def job_of(name: str) -> Job:
    """Events at equal steps: whatever leaves a window leaves it at the instant of an event."""
    rng = np.random.default_rng(SEED)
    rules = RULES[name]
    return Job(
        name, PROFILES, SEED,
        BEGIN_US + np.arange(EVENTS, dtype=np.int64) * STEP_US[name],
        rng.integers(0, PROFILES, EVENTS).astype(np.uint32),
        np.array([rule.type for rule in rules], np.uint8)[rng.integers(0, len(rules), EVENTS)],
        rng.integers(1, CENTS_MAX[name], EVENTS),
        np.array([rule.type for rule in rules]),
        np.array([rule.hours * HOUR_US for rule in rules]),
        np.array([rule.bound for rule in rules]),
        np.array([rule.sums for rule in rules]),
    )  # fmt: skip


def searched(job: Job) -> set[tuple[int, ...]]:
    """Asks at the instant of every event, for everybody, what lies in (T - D, T]."""
    found: set[tuple[int, ...]] = set()
    for number, (kind, window, bound, sums) in enumerate(job.rules()):
        for profile in range(PROFILES):
            mine = (job.profile == profile) & (job.type == kind)
            was = False
            for at in job.time_us.tolist():
                inside = mine & (job.time_us <= at) & (job.time_us > at - window)
                total = int(job.amount[inside].sum()) if sums else int(inside.sum())
                if (total >= bound) != was:
                    was = not was
                    found.add((at, profile, number, int(was)))
    return found


def played(player: Player, job: Job) -> set[tuple[int, ...]]:
    rows = player.table(player.play(player.prepare(job))).tolist()
    assert len(rows) == len({tuple(row) for row in rows})
    return {tuple(row) for row in rows}


def check(name: str) -> None:
    print(f"seed {SEED}")
    job = job_of(name)
    expected = searched(job)
    assert {row[3] for row in expected} == {0, 1}
    assert {row[2] for row in expected} == set(range(len(RULES[name])))
    assert played(Player(job_dicts.prepare, job_dicts.play, table_of), job) == expected
    ours = Player(job_ours.prepare, job_ours.play_objects, job_ours.table_of_objects)
    assert played(ours, job) == expected
    columns = Player(job_ours.prepare, job_ours.play_columns, job_ours.table_of_columns)
    assert played(columns, job) == expected


def test_one_sum_is_said_at_its_instants() -> None:
    check("r1")


def test_twenty_rules_are_said_at_their_instants() -> None:
    check("r20")

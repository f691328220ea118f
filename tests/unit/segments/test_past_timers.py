"""The wheel of a leaf's next instants: exact, whatever is set and unset, and eight bytes each."""

from __future__ import annotations

import random

import numpy as np

from services.segments.engine.pasts.timers import BLOCK, Wheel


def test_what_is_due_is_what_a_plain_table_says() -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    rng = random.Random(seed)
    wheel, plain = Wheel(), {}
    wheel.reserve(10 * BLOCK)
    now = 0
    for _ in range(2_000):
        row = rng.randrange(10 * BLOCK)
        instant = rng.choice([None, now + rng.randrange(1, 500)])
        wheel.set(row, instant)
        plain.pop(row, None)
        if instant is not None:
            plain[row] = instant
        if rng.random() < 0.2:
            now += rng.randrange(100)
            due = wheel.due(now)
            assert sorted(due) == sorted(one for one, at in plain.items() if at <= now), seed
            for one in due:
                wheel.set(one, None)
                del plain[one]


def test_many_are_set_at_once_and_found_again() -> None:
    wheel = Wheel()
    wheel.reserve(5 * BLOCK)
    rows = np.arange(0, 5 * BLOCK, 3)
    instants = rows % 7  # 0: none
    wheel.fill(rows, instants)
    assert wheel.due(3) == rows[(instants > 0) & (instants <= 3)].tolist()


def test_a_million_timers_take_eight_bytes_each() -> None:
    wheel = Wheel()
    wheel.reserve(1_000_000)
    wheel.fill(np.arange(1_000_000), np.arange(1, 1_000_001))
    used = wheel.next_us[:1_000_000].nbytes + wheel.least.nbytes
    assert used <= 9 * 1_000_000
    assert wheel.due(5) == [0, 1, 2, 3, 4]

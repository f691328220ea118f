"""The two reduced jobs, R1 and R20: events in order, rules that count or add up in a window.

A job is one .npz that every engine reads: `time_us` int64, strictly growing; `profile` uint32;
`type` uint8; `amount` int64, cents; and the rules as `rule_type`, `rule_window_us`, `rule_bound`
(events, or cents) and `rule_sums` (whether it adds up the amount). The end is the last instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.segments.workload import DAY_US, HOUR_US, ORDER, TYPES, Shop
from cli.conditions import read_condition
from muster.types.v1 import condition_pb2

KINDS = 8
"""R20 looks at the first eight types of the shop."""


@dataclass(frozen=True, slots=True)
class Rule:
    """At least `bound` events of a type in a window; with `sums`, cents of their amounts."""

    type: int
    hours: int
    bound: int
    sums: bool = False

    @property
    def condition(self) -> condition_pb2.Condition:
        """The rule as people write it."""
        event: dict[str, Any] = {"type": TYPES[self.type], "window": f"last {self.hours} hours"}
        if self.sums:
            event["sum"] = {"of": "amount", "gte": self.bound // 100}
        else:
            event["count"] = {"gte": self.bound}
        return read_condition({"event": event})


HOURS = [1, 6, 24, 72, 7 * 24, 14 * 24, 30 * 24]
RULES = {
    "r1": [Rule(ORDER, 90 * 24, 10_000, sums=True)],
    "r20": [
        Rule(n % KINDS, HOURS[n * 3 % len(HOURS)], 10_000 if n % KINDS == ORDER else 1 + n // KINDS,
             sums=n % KINDS == ORDER)
        for n in range(20)
    ],
}  # fmt: skip
DAYS = {"r1": 365, "r20": 55}


def shop_of(name: str, profiles: int, events: int, seed: int) -> Shop:
    """The shop of a job: as the segments benchmark's, without disorder and equal instants."""
    shop = Shop(profiles, events, DAYS[name], seed)
    shop.type[:] = ORDER if name == "r1" else shop.type % KINDS
    number = np.arange(events)
    shop.occur = np.maximum.accumulate(np.sort(shop.occur) - number) + number
    shop.accept = shop.occur
    return shop


def write(shop: Shop, name: str, file: Path) -> None:
    """The job for all engines."""
    rules = RULES[name]
    np.savez(
        file,
        name=np.array(name), profiles=np.array(shop.profiles), seed=np.array(shop.seed),
        time_us=shop.occur, profile=shop.profile, type=shop.type,
        amount=shop.amount.astype(np.int64),
        rule_type=np.array([rule.type for rule in rules]),
        rule_window_us=np.array([rule.hours * HOUR_US for rule in rules]),
        rule_bound=np.array([rule.bound for rule in rules]),
        rule_sums=np.array([rule.sums for rule in rules]),
    )  # fmt: skip


def longest_days(name: str) -> float:
    """The longest window of a job, in days."""
    return max(rule.hours for rule in RULES[name]) * HOUR_US / DAY_US

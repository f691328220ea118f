"""Plain Python: a total for each rule and profile in a dict, exits in one heap.

The shortest program that is right; what it says is what the others are compared with.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

from benchmarks.peers.job import Job, Player, Said, main, table_of

Event = tuple[int, int, int, int]


def prepare(job: Job) -> tuple[list[Event], Job]:
    columns = (job.time_us, job.profile, job.type, job.amount)
    return list(zip(*(one.tolist() for one in columns), strict=True)), job


def play(ready: tuple[list[Event], Job]) -> Said:
    """Every transition at its instant, in order of time."""
    events, job = ready
    rules, bounds = job.rules_of_type(), job.rule_bound.tolist()
    total: dict[tuple[int, int], int] = {}
    exits: list[tuple[int, tuple[int, int], int]] = []
    said: Said = []

    def leave(until: int) -> None:
        while exits and exits[0][0] <= until:
            at, key, value = heappop(exits)
            was, bound = total[key], bounds[key[0]]
            total[key] = now = was - value
            if was >= bound > now:
                said.append((at, key[1], key[0], False))

    for at, profile, kind, amount in events:
        leave(at - 1)
        touched: list[tuple[tuple[int, int], int, int]] = []
        for rule, window, bound, sums in rules.get(kind, ()):
            key, value = (rule, profile), amount if sums else 1
            touched.append((key, total.get(key, 0), bound))
            total[key] = touched[-1][1] + value
            heappush(exits, (at + window, key, value))
        if exits and exits[0][0] == at:
            _leave_now(at, exits, total, touched, bounds, said)
        for key, was, bound in touched:
            now = total[key]
            if (was >= bound) != (now >= bound):
                said.append((at, profile, key[0], now >= bound))
    leave(job.end_us)
    return said


def _leave_now(
    at: int, exits: list[Any], total: dict[Any, int], touched: Any, bounds: Any, said: Said
) -> None:
    """Exits at the very instant of an event: with what the event adds, they are one change."""
    mine = {key for key, _, _ in touched}
    while exits and exits[0][0] == at:
        _, key, value = heappop(exits)
        was = total[key]
        total[key] = was - value
        if key not in mine and was >= bounds[key[0]] > was - value:
            said.append((at, key[1], key[0], False))


if __name__ == "__main__":
    main({"dicts": Player(prepare, play, table_of)})

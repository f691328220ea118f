"""bytewax: one stateful operator, keyed by profile; run by the peers' interpreter.

Its timers are wall clock only, so an exit is said at the profile's next event of that type, or at
the end of the input: with its exact instant, but late.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from benchmarks.peers.job import Job, Player, Said, main, table_of

BATCH = 1_000
"""Ten times as many made it 5 % slower."""
Event = tuple[int, int, int, int]
Rules = dict[int, list[tuple[int, int, int, bool]]]


class Events(DynamicSource[Any]):
    def __init__(self, items: list[tuple[str, Event]]) -> None:
        self.items = items

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Batches:
        return Batches(self.items)


class Batches(StatelessSourcePartition[Any]):
    def __init__(self, items: list[tuple[str, Event]]) -> None:
        self.items, self.place = items, 0

    def next_batch(self) -> list[tuple[str, Event]]:
        if self.place >= len(self.items):
            raise StopIteration
        self.place += BATCH
        return self.items[self.place - BATCH : self.place]


class Kept(DynamicSink[Any]):
    def __init__(self, said: Said) -> None:
        self.said = said

    def build(self, step_id: str, worker_index: int, worker_count: int) -> KeptPart:
        return KeptPart(self.said)


class KeptPart(StatelessSinkPartition[Any]):
    def __init__(self, said: Said) -> None:
        self.said = said

    def write_batch(self, items: list[Any]) -> None:
        self.said += [said for _, said in items]


class Memberships(StatefulBatchLogic[Any, Any, Any]):
    """One profile: by rule, what lies in the window and its total."""

    __slots__ = ("end", "profile", "rules", "state")

    def __init__(self, rules: Rules, end: int) -> None:
        self.rules, self.end, self.profile = rules, end, -1
        self.state: dict[int, list[Any]] = {}

    def on_batch(self, values: list[Event]) -> tuple[Iterable[Any], bool]:
        said: Said = []
        state = self.state
        for at, profile, kind, amount in values:
            self.profile = profile
            for rule, window, bound, sums in self.rules.get(kind, ()):
                held = state.get(rule)
                if held is None:
                    held = state[rule] = [deque(), 0, window, bound]
                elif held[0]:
                    self.leave(rule, held, at - 1, said)
                inside, total = held[0], held[1]
                member = total >= bound
                if inside and inside[0][0] + window == at:
                    total -= inside.popleft()[1]
                value = amount if sums else 1
                inside.append((at, value))
                held[1] = total = total + value
                if (total >= bound) != member:
                    said.append((at, profile, rule, not member))
        return said, StatefulBatchLogic.RETAIN

    def leave(self, rule: int, held: list[Any], until: int, said: Said) -> None:
        """Takes out what has left the window by an instant."""
        inside, total, window, bound = held
        while inside and inside[0][0] + window <= until:
            at, value = inside.popleft()
            if total >= bound > total - value:
                said.append((at + window, self.profile, rule, False))
            total -= value
        held[1] = total

    def on_eof(self) -> tuple[Iterable[Any], bool]:
        said: Said = []
        for rule, held in self.state.items():
            self.leave(rule, held, self.end, said)
        return said, StatefulBatchLogic.DISCARD

    def snapshot(self) -> Any:
        return (
            self.profile,
            {rule: (list(held[0]), *held[1:]) for rule, held in self.state.items()},
        )


def prepare(job: Job) -> tuple[Dataflow, Said]:
    columns = (job.time_us, job.profile, job.type, job.amount)
    rows = zip(*(one.tolist() for one in columns), strict=True)
    items = [(str(row[1]), row) for row in rows]
    rules, end = job.rules_of_type(), job.end_us
    said: Said = []
    flow = Dataflow("job")
    events = op.input("events", flow, Events(items))
    found = op.stateful_batch("rules", events, lambda _: Memberships(rules, end))
    op.output("said", found, Kept(said))
    return flow, said


def play(ready: tuple[Dataflow, Said]) -> Said:
    flow, said = ready
    run_main(flow)
    return said


if __name__ == "__main__":
    main({"bytewax": Player(prepare, play, table_of)})

"""Two toy cores for the fenced worker, small enough to recompute offline without any cut.

Sorter: rows of INTAKE -> one list per partition, duplicates dropped, every partition told the time.
Window: a key is in while it has NEED rows in the last WINDOW_US; exits carry the exact instant.
"""

from __future__ import annotations

import json
import pickle
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from services.chassis import subjects
from services.chassis.core import Appended, Buffers, Facts, Message, Own, Source

TENANT = "toy"
PARTITIONS = 3
WINDOW_US = 2_000_000
NEED = 3
TICK_US = 100_000
PART_BYTES = 20_000
"""Small, so that many steps have several parts."""


def partition_of(key: str) -> int:
    return zlib.crc32(key.encode()) % PARTITIONS


def cut_rows(rows: Sequence[object]) -> list[bytes]:
    """Rows as JSON bodies of at most PART_BYTES: a pure function of the rows."""
    bodies: list[list[str]] = [[]]
    size = 0
    for row in rows:
        text = json.dumps(row, separators=(",", ":"))
        if bodies[-1] and size + len(text) > PART_BYTES:
            bodies.append([])
            size = 0
        bodies[-1].append(text)
        size += len(text) + 1
    return [("[" + ",".join(body) + "]").encode() for body in bodies]


class Sorter:
    """Stage A: INTAKE -> PROFILES, one subject a partition, partition 0 the lead."""

    name = "sorter"
    version = 1
    sources = (Source(subjects.INTAKE, (subjects.intake_of(TENANT),), fenced=False),)
    own = (
        *(Own(subjects.PROFILES, subjects.profiles(TENANT, p)) for p in range(PARTITIONS)),
        Own(subjects.PARKED, subjects.parked(TENANT, "sorter")),
    )

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.told = [0] * PARTITIONS

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        rows: dict[int, list[object]] = {0: []}
        for message in batch:
            for row_id, key, pad in json.loads(message.body or b"[]"):
                if row_id == "poison":
                    raise RuntimeError("a row that kills the process")
                if row_id in self.seen:
                    continue
                self.seen.add(row_id)
                rows.setdefault(partition_of(key), []).append([row_id, key, message.time_us, pad])
        for partition in range(PARTITIONS):
            if time_us - self.told[partition] >= TICK_US:
                rows.setdefault(partition, [])
        for partition in rows:
            self.told[partition] = time_us
        return Facts({partition: cut_rows(taken) for partition, taken in sorted(rows.items())})

    def dump(self) -> Buffers:
        return {"state": pickle.dumps((sorted(self.seen), self.told))}

    def load(self, state: Mapping[str, memoryview]) -> None:
        seen, self.told = pickle.loads(state["state"])
        self.seen = set(seen)


class Window:
    """Stage B: PROFILES p -> TRANSITIONS p."""

    version = 1

    def __init__(self, partition: int) -> None:
        self.name = f"window-{partition}"
        self.sources = (Source(subjects.PROFILES, (subjects.profiles(TENANT, partition),)),)
        self.own = (
            Own(subjects.TRANSITIONS, subjects.transitions(TENANT, partition)),
            Own(subjects.PARKED, subjects.parked(TENANT, "window", partition)),
        )
        self.due: deque[tuple[int, str, int]] = deque()
        self.counts: dict[str, int] = {}
        self.taken: list[int] = []
        """Ends of all rows ever: a column that only grows."""

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        said: list[list[object]] = []
        for message in batch:
            for row_id, key, at, pad in json.loads(message.body or b"[]"):
                self._expire(at, said)
                count = self.counts[key] = self.counts.get(key, 0) + 1
                self.due.append((at + WINDOW_US, key, pad))
                self.taken.append(at + WINDOW_US)
                if count == NEED:
                    said.append(["entered", key, at, row_id, "x" * pad])
        self._expire(time_us, said)
        return Facts({0: cut_rows(said)}) if said else Facts()

    def _expire(self, until: int, said: list[list[object]]) -> None:
        while self.due and self.due[0][0] <= until:
            at, key, pad = self.due.popleft()
            self.counts[key] -= 1
            if self.counts[key] == NEED - 1:
                said.append(["left", key, at, None, "x" * pad])
            if not self.counts[key]:
                del self.counts[key]

    def dump(self) -> Buffers:
        # Arrays beside the pickle, so that every kind of buffer is in every snapshot.
        instants = np.array([at for at, _, _ in self.due], np.int64)
        return {
            "state": pickle.dumps((list(self.due), self.counts)),
            "instants": instants,
            "taken": Appended(np.array(self.taken, np.int64)),
        }

    def load(self, state: Mapping[str, memoryview]) -> None:
        due, self.counts = pickle.loads(state["state"])
        self.due = deque(due)
        assert np.frombuffer(state["instants"], np.int64).tolist() == [at for at, _, _ in self.due]
        self.taken = np.frombuffer(state["taken"], np.int64).tolist()
        assert self.taken[len(self.taken) - len(self.due) :] == [at for at, _, _ in self.due]


def offline_rows(messages: Iterable[tuple[int, bytes]]) -> list[list[object]]:
    """What the sorter must have let through, from INTAKE alone: (broker time, body) in order."""
    seen: set[str] = set()
    rows: list[list[object]] = []
    time_us = 0
    for broker_us, body in messages:
        time_us = max(time_us, broker_us)
        for row_id, key, pad in json.loads(body or b"[]"):
            if row_id not in seen:
                seen.add(row_id)
                rows.append([row_id, key, time_us, pad])
    return rows


def offline_transitions(rows: Sequence[Sequence[object]], until_us: int) -> set[tuple[object, ...]]:
    """Every transition up to `until_us`, from all instants of each key sorted; knows no cuts."""
    found: set[tuple[object, ...]] = set()
    by_key: dict[object, list[tuple[int, object]]] = {}
    for row_id, key, at, _ in rows:
        by_key.setdefault(key, []).append((int(str(at)), row_id))
    for key, arrivals in by_key.items():
        instants = [(at + WINDOW_US, 0, None) for at, _ in arrivals]
        instants += [(at, 1, row_id) for at, row_id in arrivals]
        count = 0
        for at, kind, row_id in sorted(instants, key=lambda x: (x[0], x[1])):
            if at > until_us:
                break
            count += 1 if kind else -1
            if kind and count == NEED:
                found.add(("entered", key, at, row_id))
            if not kind and count == NEED - 1:
                found.add(("left", key, at, None))
    return found

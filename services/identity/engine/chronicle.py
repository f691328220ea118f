"""What became of profiles: who was absorbed, split off or lost a token, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from services.identity.engine.changes import MERGE
from services.identity.engine.store import NONE

CHANGE = np.dtype(
    [
        ("source_id", "u8"),  # public ids, as they were
        ("target_id", "u8"),
        ("time_us", "i8"),
        ("cause_end", "i8"),
        ("source", "u4"),
        ("target", "u4"),
        ("next", "u4"),  # the merge before it into the same target
        ("kind", "u4"),  # a MoveCause
    ],
    align=True,
)


class Change(NamedTuple):
    """Atoms went from one profile to another.

    number: its place in the chronicle, dense from 0. kind: a MoveCause. source, target: numbers;
    ids: public. time_us: log time. cause: the id of an event, or of the request that decided it.
    """

    number: int
    kind: int
    source: int
    target: int
    source_id: int
    target_id: int
    time_us: int
    cause: str


class Chronicle:
    """Changes in order, with a chain of merges per survivor. counts: kind -> changes."""

    def __init__(self) -> None:
        self.count = 0
        self.records = np.zeros(64, CHANGE)
        self.causes = bytearray()
        self.counts: dict[int, int] = {}
        self._newest: dict[int, int] = {}

    def add(
        self, kind: int, numbers: tuple[int, int], ids: tuple[int, int], time_us: int, cause: bytes
    ) -> None:
        """numbers, ids: of source and target. cause: an event id as given. time_us: log time."""
        if self.count == len(self.records):
            self.records = np.concatenate([self.records, np.zeros_like(self.records)])
        self.causes += cause
        before = self._newest.get(numbers[1], NONE) if kind == MERGE else NONE
        self.records[self.count] = (*ids, time_us, len(self.causes), *numbers, before, kind)
        if kind == MERGE:
            self._newest[numbers[1]] = self.count
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.count += 1

    def change(self, number: int) -> Change:
        record = self.records[number]
        start = int(self.records[number - 1]["cause_end"]) if number else 0
        cause = bytes(self.causes[start : int(record["cause_end"])]).decode()
        return Change(
            number,
            int(record["kind"]),
            int(record["source"]),
            int(record["target"]),
            int(record["source_id"]),
            int(record["target_id"]),
            int(record["time_us"]),
            cause,
        )

    def merges_into(self, survivor: int) -> list[Change]:
        """Merges of a profile and of those it absorbed, newest first."""
        found = []
        open_numbers = [survivor]
        seen = {survivor}
        while open_numbers:
            at = self._newest.get(open_numbers.pop(), NONE)
            while at != NONE:
                change = self.change(at)
                found.append(change)
                if change.source not in seen:
                    seen.add(change.source)
                    open_numbers.append(change.source)
                at = int(self.records[at]["next"])
        return sorted(found, key=lambda change: change.number, reverse=True)

    def of(self, numbers: set[int]) -> list[int]:
        """Numbers of the changes that name one of these profiles, oldest first."""
        wanted = np.array(sorted(numbers), np.int64)
        records = self.records[: self.count]
        concerned = np.isin(records["source"], wanted) | np.isin(records["target"], wanted)
        return [int(place) for place in np.flatnonzero(concerned)]

    def dump(self) -> dict[str, Any]:
        return {"records": self.records[: self.count].copy(), "causes": bytes(self.causes)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.records = np.frombuffer(state["records"], CHANGE).copy()
        self.count = len(self.records)
        if not self.count:
            self.records = np.zeros(64, CHANGE)
        self.causes = bytearray(state["causes"])
        kinds, counts = np.unique(self.records["kind"][: self.count], return_counts=True)
        self.counts = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
        merges = np.flatnonzero(self.records["kind"][: self.count] == MERGE)
        targets = self.records["target"][merges].tolist()
        self._newest = dict(zip(targets, merges.tolist(), strict=True))

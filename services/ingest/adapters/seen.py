"""Remembers which events were taken, so that a repeat is recognised and never counted twice.

Live events lie in buckets of ten minutes of send time: a retry repeats its send time, so one bucket
answers. A bucket whose time is over is sealed: its table never changes again (a snapshot hands it
out as it lies), what still arrives late goes into a small table beside it. Buckets older than the
horizon go, by log time; their events are refused for their age. Imports share one set without
horizon: each prints its event ids under a key of its own. Nothing is forgotten to make room: at the
named maximum new events are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.ingest.adapters.seen_kernel import FULL, KNOWN, NEW, admit, transfer
from services.ingest.domain.faults import FUTURE_US, HORIZON_US

BUCKET_US = 10 * 60 * 1_000_000
SEAL_AFTER_US = FUTURE_US + BUCKET_US
"""A bucket is sealed this long of log time after its end: by then only stragglers come."""
CHUNK_PRINTS = 1 << 16
PRINTS_CAPACITY_MIN = 1 << 10
_IMPORTS = "imports"
_NONE = np.empty((0, 2), np.uint64)
_NONE.flags.writeable = False

__all__ = ["FULL", "KNOWN", "NEW", "Seen"]


class PrintSet:
    """A growing set of prints, with its journal in chunks so that a snapshot copies little."""

    def __init__(self, expected: int = 0) -> None:
        self.table = np.zeros((_capacity_for(expected), 2), np.uint64)
        self.count = 0
        self._full_chunks: list[np.ndarray] = []
        self._tail = np.empty((CHUNK_PRINTS, 2), np.uint64)
        self._tail_count = 0

    def admit(
        self,
        sealed: np.ndarray,
        prints: np.ndarray,
        chosen: np.ndarray,
        room: int,
        verdicts: np.ndarray,
    ) -> int:
        """As seen_kernel.admit, growing first when the table might fill up."""
        self._make_room(len(chosen))
        added = int(admit(self.table, sealed, prints, chosen, max(room, 0), verdicts))
        if added:
            self.count += added
            self._journal(prints[chosen[verdicts[chosen] == NEW]])
        return added

    def take(self, prints: np.ndarray) -> None:
        """Adds what a snapshot held, (n, 2)."""
        self._make_room(len(prints))
        self.count += int(transfer(prints, self.table))
        self._journal(prints)

    def chunks(self) -> list[np.ndarray]:
        """Every print in the order it was added; full chunks as they lie, the last one copied."""
        return [*self._full_chunks, self._tail[: self._tail_count].copy()]

    def _make_room(self, more: int) -> None:
        need = self.count + more
        if need * 4 > len(self.table) * 3:
            grown = np.zeros((_capacity_for(max(need, self.count * 3 // 2)), 2), np.uint64)
            transfer(_read_only(self.table), grown)
            self.table = grown

    def _journal(self, prints: np.ndarray) -> None:
        at = 0
        while at < len(prints):
            taken = min(len(prints) - at, CHUNK_PRINTS - self._tail_count)
            self._tail[self._tail_count : self._tail_count + taken] = prints[at : at + taken]
            self._tail_count += taken
            at += taken
            if self._tail_count == CHUNK_PRINTS:
                self._full_chunks.append(self._tail)
                self._tail = np.empty((CHUNK_PRINTS, 2), np.uint64)
                self._tail_count = 0


class Seen:
    """The event ids of one tenant within the horizon, and those of its imports."""

    def __init__(self, prints_max: int, import_prints_max: int) -> None:
        self.prints_max = prints_max
        self.import_prints_max = import_prints_max
        self.count = 0
        """Prints of live events remembered."""
        self._open: dict[int, PrintSet] = {}
        self._sealed: dict[int, tuple[np.ndarray, int]] = {}
        self._imports = PrintSet()

    @property
    def import_count(self) -> int:
        return self._imports.count

    def admit(
        self, prints: np.ndarray, send_us: np.ndarray, is_import: np.ndarray, chosen: np.ndarray
    ) -> np.ndarray:
        """Verdict per chosen row, in order: KNOWN, NEW or FULL (uint8).

        prints (n, 2) uint64, send_us (n) int64, is_import (n) bool; chosen: rows to judge.
        """
        verdicts = np.empty(len(prints), np.uint8)
        live = chosen
        if is_import.any():
            imported = is_import[chosen]
            live = chosen[~imported]
            room = self.import_prints_max - self._imports.count
            self._imports.admit(_NONE, prints, chosen[imported], room, verdicts)
        buckets = send_us[live] // BUCKET_US
        if len(live):
            first = int(buckets[0])
            if (buckets == first).all():
                self._admit_bucket(first, prints, live, verdicts)
            else:
                for bucket in np.unique(buckets).tolist():
                    self._admit_bucket(bucket, prints, live[buckets == bucket], verdicts)
        return verdicts[chosen]

    def advance(self, time_us: int) -> None:
        """Moves log time: seals buckets that are over, lets go of those beyond the horizon."""
        expired = (time_us - HORIZON_US) // BUCKET_US
        for bucket in [b for b in self._sealed if b < expired]:
            self.count -= self._sealed.pop(bucket)[1]
        for bucket in [b for b in self._open if b < expired]:
            self.count -= self._open.pop(bucket).count
        over = (time_us - SEAL_AFTER_US) // BUCKET_US
        for bucket in [b for b in self._open if b < over and b not in self._sealed]:
            done = self._open.pop(bucket)
            self._sealed[bucket] = _read_only(done.table), done.count

    def dump(self) -> dict[str, np.ndarray]:
        """Named buffers. A sealed table keeps its name and bytes from snapshot to snapshot."""
        buffers: dict[str, np.ndarray] = {}
        for bucket, (table, count) in sorted(self._sealed.items()):
            buffers[f"sealed.{bucket}.{count}"] = table
        for bucket, prints in sorted(self._open.items()):
            for place, chunk in enumerate(prints.chunks()):
                buffers[f"open.{bucket}.{place}"] = chunk
        for place, chunk in enumerate(self._imports.chunks()):
            buffers[f"{_IMPORTS}.{place}"] = chunk
        return buffers

    def load(self, state: Mapping[str, memoryview]) -> None:
        """Takes over what `dump` gave."""
        self._open, self._sealed, self._imports = {}, {}, PrintSet()
        for name, buffer in state.items():
            prints = _read_only(np.frombuffer(buffer, np.uint64).reshape(-1, 2))
            what, *place = name.split(".")
            if what == "sealed":
                self._sealed[int(place[0])] = prints, int(place[1])
            elif what == "open":
                self._open.setdefault(int(place[0]), PrintSet()).take(prints)
            elif what == _IMPORTS:
                self._imports.take(prints)
        self.count = sum(count for _, count in self._sealed.values())
        self.count += sum(prints.count for prints in self._open.values())

    def _admit_bucket(
        self, bucket: int, prints: np.ndarray, chosen: np.ndarray, verdicts: np.ndarray
    ) -> None:
        sealed = self._sealed.get(bucket)
        beside = self._open.get(bucket)
        if beside is None:
            # Sized like the bucket before it, so that a steady stream never rehashes.
            before = self._open.get(bucket - 1)
            expected = before.count * 5 // 4 if before and sealed is None else 0
            beside = self._open[bucket] = PrintSet(expected)
        table = sealed[0] if sealed else _NONE
        room = self.prints_max - self.count
        self.count += beside.admit(table, prints, chosen, room, verdicts)


def _capacity_for(prints: int) -> int:
    return max(PRINTS_CAPACITY_MIN, prints * 4 // 3 + 1)


def _read_only(table: np.ndarray) -> np.ndarray:
    """The same bytes, as the one type the kernels are compiled for."""
    view = table.view()
    view.flags.writeable = False
    return view


def warm() -> None:
    """Compiles the kernels, or reads them from their cache."""
    seen = Seen(8, 8)
    prints = np.array([[1, 1], [2, 2]], np.uint64)
    rows = np.arange(2)
    seen.admit(prints, np.zeros(2, np.int64), np.zeros(2, np.bool_), rows)
    seen.load({name: memoryview(buffer) for name, buffer in seen.dump().items()})

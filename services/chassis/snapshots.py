"""Keeps the two newest snapshots of a worker: whole or not at all.

A snapshot is a cache of the log, never its truth. One file: a JSON head (step, heads, positions,
places of the buffers), the buffers, and the SHA-256 of all. It is written aside, synced, renamed,
and its folder synced; what is not intact is passed over. Columns that only grow lie in files of
their own beside it, which all snapshots share (`appended.py`).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.chassis.appended import AppendedFiles, Kept
from services.chassis.core import Appended, Buffers
from services.chassis.errors import ExitCode, Stop
from services.chassis.settings import Settings
from services.chassis.slices import SLICE_BYTES, write_gently

MAGIC = b"MUSTERS1"
KEPT = 2
SUFFIX = ".snapshot"
_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was saved: `head` as given to `write`, buffers as memoryviews over mapped files."""

    head: dict[str, Any]
    buffers: dict[str, memoryview]
    columns: dict[str, Kept]
    """Those of the buffers that lie in files of their own."""


class SnapshotPlan:
    """When the next snapshot is due: what a new life would have to replay decides."""

    def __init__(self, settings: Settings) -> None:
        self.steps = settings.snapshot_steps
        self.interval_us = settings.snapshot_interval_ms * 1_000
        self.input_bytes = settings.snapshot_input_bytes
        self._step = self._time_us = self._bytes = 0

    def took(self, bytes_taken: int) -> None:
        """So many bytes of input came into a step."""
        self._bytes += bytes_taken

    def due(self, step: int, time_us: int) -> bool:
        """After enough steps and log time, or enough input, since the last one."""
        long_ago = time_us - self._time_us >= self.interval_us
        return (step - self._step >= self.steps and long_ago) or self._bytes >= self.input_bytes

    def saved(self, step: int, time_us: int) -> None:
        """One was taken, or loaded, that stands at a step and its log time."""
        self._step, self._time_us, self._bytes = step, time_us, 0


class SnapshotFolder:
    """The snapshots of one worker, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.appended = AppendedFiles(folder / "columns")
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, step: int, head: Mapping[str, Any], buffers: Buffers) -> int:
        """Saves a snapshot of `step`; returns bytes written. Older ones beyond two are removed."""
        grown = {n: value for n, value in buffers.items() if isinstance(value, Appended)}
        columns, written = self.appended.write(step, grown)
        head = {**head, "columns": {name: kept.entry() for name, kept in columns.items()}}
        path = self.folder / f"{step:015d}{SUFFIX}"
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        digest = hashlib.sha256()
        with aside.open("wb", buffering=0) as file:

            def put(raw: bytes | memoryview) -> None:
                digest.update(raw)
                for start in range(0, len(raw), SLICE_BYTES):
                    write_gently(file, raw[start : start + SLICE_BYTES])

            raw_head, arrays = _lay_out(head, buffers)
            put(MAGIC + struct.pack("<Q", len(raw_head)) + raw_head)
            for array, padding in arrays:
                put(array.data.cast("B") if len(array) else b"")
                put(b"\0" * padding)
            file.write(digest.digest())
            os.fsync(file.fileno())
            size = file.tell()
        aside.replace(path)
        _sync_folder(self.folder)
        for old in self._paths()[KEPT:]:
            old.unlink(missing_ok=True)
        heads = [_read_head(path) for path in self._paths()]
        self.appended.sweep(entry[0] for one in heads for entry in one.get("columns", {}).values())
        return size + written

    def newest(self, version: int) -> Snapshot | None:
        """The newest intact snapshot written by this `version` of the core; None without one."""
        for path in self._paths():
            snapshot = _read(path)
            if snapshot is not None and snapshot.head.get("version") == version:
                columns = self.appended.map(snapshot.columns)
                if columns is not None:
                    snapshot.buffers.update(columns)
                    return snapshot
        return None

    def verify(self, snapshot: Snapshot) -> None:
        """Reads every column a snapshot names; for a thread, while the worker already runs.

        Raises Stop, with the snapshots removed, when one does not hold what was written.
        """
        broken = self.appended.broken(snapshot.columns)
        if broken:
            for path in self._paths():
                path.unlink(missing_ok=True)
            raise Stop(
                ExitCode.DIVERGED,
                f"the disk gives back other bytes than were written to {', '.join(broken)}: the "
                "snapshots are removed, the next start replays the log. Check the disk.",
            )

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"), reverse=True)


def _lay_out(
    head: Mapping[str, Any], buffers: Buffers
) -> tuple[bytes, list[tuple[np.ndarray, int]]]:
    """The JSON head and the arrays with the padding behind each (so that each begins aligned)."""
    places: dict[str, tuple[int, int]] = {}
    arrays: list[tuple[np.ndarray, int]] = []
    offset = 0
    for name, value in buffers.items():
        if isinstance(value, Appended):
            continue
        array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        array = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        padding = -len(array) % _ALIGN
        places[name] = (offset, len(array))
        arrays.append((array, padding))
        offset += len(array) + padding
    raw = json.dumps({**head, "buffers": places}).encode()
    raw += b" " * (-(len(raw) + len(MAGIC) + 8) % _ALIGN)
    return raw, arrays


def _read(path: Path) -> Snapshot | None:
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    view = memoryview(mapped)
    if len(view) < len(MAGIC) + 40 or view[: len(MAGIC)] != MAGIC:
        return None
    if hashlib.sha256(view[:-32]).digest() != view[-32:]:
        return None
    (length,) = struct.unpack_from("<Q", view, len(MAGIC))
    start = len(MAGIC) + 8
    head = json.loads(bytes(view[start : start + length]))
    start += length
    places = head.pop("buffers")
    buffers = {name: view[start + at : start + at + size] for name, (at, size) in places.items()}
    columns = {name: Kept.parse(entry) for name, entry in head.pop("columns", {}).items()}
    return Snapshot(head, buffers, columns)


def _read_head(path: Path) -> dict[str, Any]:
    """Only the head, unchecked; empty when there is none."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 8)
        if start[: len(MAGIC)] != MAGIC:
            return {}
        (length,) = struct.unpack_from("<Q", start, len(MAGIC))
        head: dict[str, Any] = json.loads(file.read(length))
    return head


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

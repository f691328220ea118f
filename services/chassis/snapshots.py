"""Keeps the two newest snapshots of a worker: whole or not at all.

A snapshot is a cache of the log, never its truth. One file: a JSON head (step, heads, positions,
places of the buffers), the buffers, and the SHA-256 of all. It is written aside, synced, renamed,
and its folder synced; what is not intact is passed over.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from services.chassis import clock
from services.chassis.core import Buffers
from services.chassis.settings import Settings

MAGIC = b"MUSTERS1"
KEPT = 2
SLICE_BYTES = 4 << 20
"""Written and synced at a time, with as long a pause behind: the broker's own syncs, on which every
commit waits, go between two slices instead of behind the whole snapshot."""
SUFFIX = ".snapshot"
_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was saved: `head` as given to `write`, buffers as memoryviews over a mapped file."""

    head: dict[str, Any]
    buffers: dict[str, memoryview]


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
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, step: int, head: Mapping[str, Any], buffers: Buffers) -> int:
        """Saves a snapshot of `step`; returns its bytes. Older ones beyond two are removed."""
        path = self.folder / f"{step:015d}{SUFFIX}"
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        digest = hashlib.sha256()
        with aside.open("wb", buffering=0) as file:

            def put(raw: bytes | memoryview) -> None:
                digest.update(raw)
                for start in range(0, len(raw), SLICE_BYTES):
                    _write_gently(file, raw[start : start + SLICE_BYTES])

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
        return size

    def newest(self, version: int) -> Snapshot | None:
        """The newest intact snapshot written by this `version` of the core; None without one."""
        for path in self._paths():
            snapshot = _read(path)
            if snapshot is not None and snapshot.head.get("version") == version:
                return snapshot
        return None

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
    return Snapshot(head, buffers)


def _write_gently(file: FileIO, raw: bytes | memoryview) -> None:
    """Writes all of a slice; a large one is on the disk afterwards, and the disk rested."""
    began = clock.monotonic()
    view = memoryview(raw)
    while view:
        view = view[file.write(view) :]
    if len(raw) >= SLICE_BYTES // 4:
        os.fdatasync(file.fileno())
        clock.pause(clock.monotonic() - began)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Append-only columns of a worker's state, each in a file that only grows.

A snapshot names how much of each file it stands for; the next one writes what has come since and
nothing twice. A file is mapped as it lies, with room behind it, so that a new life begins without
copying its past. Blocks carry SHA-256 digests, which `broken` checks while the worker already runs.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.chassis import clock
from services.chassis.core import Appended
from services.chassis.slices import SLICE_BYTES, write_gently

BLOCK_BYTES = 16 << 20
"""Bytes under one digest; the last block of a file may be shorter."""
ROOM_TIMES = 8
"""A mapped file has room for so many times its length: addresses nobody has written to cost
nothing, and moving to a larger place would copy all that lies in the file …"""
ROOM_BYTES_MIN = 1 << 20
"""… and for at least this much more."""
_UNRESERVED = 0x4000 if sys.platform == "linux" else 0x40
"""MAP_NORESERVE, which `mmap` does not name before Python 3.12: no memory is set aside for room."""
_FIXED = 0x10
"""MAP_FIXED: exactly there, in place of what was mapped."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of a file a snapshot stands for."""

    file: str
    epoch: int
    bytes: int
    digests: tuple[str, ...]

    def entry(self) -> list[Any]:
        """As it stands in a snapshot's head."""
        return [self.file, self.epoch, self.bytes, list(self.digests)]

    @classmethod
    def parse(cls, entry: list[Any]) -> Kept:
        file, epoch, length, digests = entry
        return cls(file, epoch, length, tuple(digests))


class AppendedFiles:
    """The grown columns of one worker. Two owners may write here: they write the same bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Kept] = {}

    def write(self, step: int, columns: Mapping[str, Appended]) -> tuple[dict[str, Kept], int]:
        """Puts what is new on the disk: (how much of each file now counts, bytes written).

        step: names the file of a column that begins anew.
        """
        if columns:
            self.folder.mkdir(exist_ok=True)
        written, found = 0, {}
        for name, column in columns.items():
            raw = np.ascontiguousarray(column.array).reshape(-1).view(np.uint8).data
            kept = self.kept.get(name)
            if kept is None or kept.epoch != column.epoch or not self._goes_on(kept, len(raw)):
                kept = Kept(f"{name.replace('/', '-')}.{step:015d}", column.epoch, 0, ())
            found[name] = self._append(kept, raw)
            written += len(raw) - kept.bytes
        self.kept = found
        return found, written

    def _goes_on(self, kept: Kept, length: int) -> bool:
        """Whether a column of so many bytes continues its file. Another owner of the same folder,
        whose snapshots did not name it, may have swept it."""
        path = self.folder / kept.file
        return kept.bytes <= length and path.exists() and path.stat().st_size >= kept.bytes

    def _append(self, kept: Kept, raw: memoryview) -> Kept:
        if kept.digests and kept.bytes == len(raw):
            return kept
        path = self.folder / kept.file
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as file:
            file.seek(kept.bytes)
            for start in range(kept.bytes, len(raw), SLICE_BYTES):
                write_gently(file, raw[start : min(start + SLICE_BYTES, len(raw))])
            os.fsync(file.fileno())
        whole = kept.bytes // BLOCK_BYTES
        digests = (*kept.digests[:whole], *_digests(raw[whole * BLOCK_BYTES :]))
        return Kept(kept.file, kept.epoch, len(raw), digests)

    def map(self, columns: Mapping[str, Kept]) -> dict[str, memoryview] | None:
        """The columns as memory that may be written without changing the files, or None when one
        is not there in its length. `services.chassis.core.roomy` shows the room behind each."""
        found = {}
        for name, kept in columns.items():
            path = self.folder / kept.file
            if not path.exists() or path.stat().st_size < kept.bytes:
                return None
            found[name] = _mapped(path, kept.bytes)
        self.kept = dict(columns)
        return found

    def broken(self, columns: Mapping[str, Kept]) -> list[str]:
        """Files whose bytes are not those that were written. Reads everything: for a thread."""
        found = []
        for kept in columns.values():
            with (self.folder / kept.file).open("rb") as file:
                if not _intact(file, kept):
                    found.append(kept.file)
        return found

    def sweep(self, needed: Iterable[str]) -> None:
        """Removes files that no snapshot names."""
        names = set(needed) | {kept.file for kept in self.kept.values()}
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if path.name not in names:
                path.unlink(missing_ok=True)


def _digests(raw: memoryview) -> list[str]:
    return [
        hashlib.sha256(raw[start : start + BLOCK_BYTES]).hexdigest()
        for start in range(0, len(raw), BLOCK_BYTES)
    ]


def _intact(file: Any, kept: Kept) -> bool:
    left = kept.bytes
    for digest in kept.digests:
        began = clock.monotonic()
        block = file.read(min(BLOCK_BYTES, left))
        left -= len(block)
        if hashlib.sha256(block).hexdigest() != digest:
            return False
        # The worker catches up meanwhile: disk and core are its own for as long.
        clock.pause(clock.monotonic() - began)
    return left == 0


def _mapped(path: Path, length: int) -> memoryview:
    """The first bytes of a file, over the beginning of a region that reaches further."""
    size = max(length * ROOM_TIMES, length + ROOM_BYTES_MIN)
    own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _UNRESERVED
    region = mmap.mmap(-1, size, flags=own, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    if length:
        _lay_over(path, length, region)
    return memoryview(region)[:length]


def _lay_over(path: Path, length: int, region: mmap.mmap) -> None:
    """Maps a file, to be copied where it is written to, in place of a region's first pages.

    `mmap` ends a mapping where the file ends, so the room is asked for first. The region keeps both
    until it goes; the file is not held open.
    """
    place = np.frombuffer(region, np.uint8).ctypes.data
    rights, own = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _FIXED
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = ctypes.c_void_p
    system.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    with path.open("rb") as file:
        found = system.mmap(place, length, rights, own, file.fileno(), 0)
    if found != place:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map {path}: {os.strerror(number)}")

"""Writing much to a disk on which others wait for their syncs."""

from __future__ import annotations

import os
from io import FileIO

from services.chassis import clock

SLICE_BYTES = 4 << 20
"""Written and synced at a time, with as long a pause behind: the broker's own syncs, on which every
commit waits, go between two slices instead of behind the whole of it."""


def write_gently(file: FileIO, raw: bytes | memoryview) -> None:
    """Writes all of a slice; a large one is on the disk afterwards, and the disk rested."""
    began = clock.monotonic()
    view = memoryview(raw)
    while view:
        view = view[file.write(view) :]
    if len(raw) >= SLICE_BYTES // 4:
        os.fdatasync(file.fileno())
        clock.pause(clock.monotonic() - began)

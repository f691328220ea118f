"""Remembers, across lives, which message kills the process: stepped alone, then parked.

A worker that starts three times at the same position without getting past it becomes careful: it
steps one message at a time and notes it first. A message that was alone in the core at three deaths
is condemned; the worker parks it. Deaths elsewhere (a kill, a refused commit) count for nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SURVIVORS_MAX = 2_000
"""More than one cut holds: whatever killed the process before is not among them."""


class DeathLedger:
    """Two small files in the worker's folder."""

    def __init__(self, folder: Path, deaths_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._starts = folder / "starts.json"
        self._suspect = folder / "suspect.json"
        self._deaths_max = deaths_max
        self.careful = False
        self._survivors = 0

    def started_at(self, position: list[int]) -> None:
        """Notes a start; `careful` when this position has been started at too often."""
        before = _read(self._starts)
        starts = before.get("starts", 0) + 1 if before.get("position") == position else 1
        self._starts.write_text(json.dumps({"position": position, "starts": starts}))
        self.careful = starts > self._deaths_max or self._suspect.exists()

    def condemned(self, source: int, sequence: int) -> bool:
        """Whether this message was alone in the core at too many deaths."""
        suspect = _read(self._suspect)
        same = suspect.get("source") == source and suspect.get("sequence") == sequence
        return bool(same and suspect.get("deaths", 0) >= self._deaths_max)

    def enter(self, source: int, sequence: int) -> None:
        """Before the message is stepped alone: a death from now on is its own."""
        suspect = _read(self._suspect)
        same = suspect.get("source") == source and suspect.get("sequence") == sequence
        deaths = suspect.get("deaths", 0) if same else 0
        self._suspect.write_text(
            json.dumps({"source": source, "sequence": sequence, "deaths": deaths + 1})
        )

    def survived(self) -> None:
        """After the step: it was not this one. Enough survivors end the care."""
        self._suspect.unlink(missing_ok=True)
        self._survivors += 1
        self.careful = self._survivors < SURVIVORS_MAX


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}

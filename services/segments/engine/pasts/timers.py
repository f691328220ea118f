"""The next instant of each (leaf, profile) at which a leaf may turn by time alone.

Eight bytes each, and the least of every block of profiles beside them: what is due is found by
looking at the blocks whose least has come. A least may be too early, never too late.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.segments.engine.base.arrays import Array, grown

BLOCK = 1_024
"""Profiles under one least."""
NEVER = np.iinfo(np.int64).max
UNJUDGED = -1
"""Instead of an instant: a leaf that begins has not been judged for the profile."""


@dataclass(slots=True)
class Wheel:
    """The timers of one leaf. next_us: by profile row, 0 for none, or UNJUDGED; least: by block."""

    next_us: Array = field(default_factory=lambda: np.zeros(BLOCK, np.int64))
    least: Array = field(default_factory=lambda: np.full(1, NEVER, np.int64))
    first: int = NEVER

    def reserve(self, rows: int) -> None:
        """Room for profiles up to `rows`."""
        self.next_us = grown(self.next_us, rows)
        self.least = grown(self.least, -(-self.next_us.size // BLOCK), NEVER)

    def planned(self, row: int) -> int:
        """The next instant of a profile; NEVER: there is none."""
        instant = int(self.next_us[row])
        return instant if instant > 0 else NEVER

    def set(self, row: int, instant: int | None) -> None:
        """The next instant of a profile; None: there is none."""
        if instant is None:
            self.next_us[row] = 0
            return
        self.next_us[row] = instant
        block = row // BLOCK
        self.least[block] = min(self.least[block], instant)
        self.first = min(self.first, instant)

    def fill(self, rows: Array, instants: Array) -> None:
        """The next instants of many profiles, 0 for none."""
        self.next_us[rows] = instants
        timed = instants > 0
        np.minimum.at(self.least, rows[timed] // BLOCK, instants[timed])
        self.first = int(self.least.min())

    def due(self, until: int) -> list[int]:
        """Rows of the profiles whose instant comes by then; each is set anew by the caller."""
        if self.first > until:
            return []
        found = []
        for block in np.flatnonzero(self.least <= until).tolist():
            start = block * BLOCK
            stretch = self.next_us[start : start + BLOCK]
            timed = stretch > 0
            come = timed & (stretch <= until)
            found += (np.flatnonzero(come) + start).tolist()
            self.least[block] = stretch[timed & ~come].min(initial=NEVER)
        self.first = int(self.least.min())
        return found

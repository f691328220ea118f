"""What the processes used, and what everybody else used meanwhile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system seconds of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_s() -> float:
    """Seconds all cores together were busy since boot."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return sum(int(fields[i]) for i in (1, 2, 3, 6, 7, 8)) / _TICKS


@dataclass(frozen=True)
class Usage:
    """CPU seconds by process, and of the whole machine, at one instant (or between two)."""

    by_process: dict[str, float]
    machine: float

    @classmethod
    def now(cls, pids: dict[str, int]) -> Usage:
        return cls({name: cpu_s(pid) for name, pid in pids.items()}, busy_s())

    def since(self, before: Usage) -> Usage:
        used = {name: self.by_process[name] - before.by_process[name] for name in self.by_process}
        return Usage(used, self.machine - before.machine)

    @property
    def foreign(self) -> float:
        """What processes that are not ours used."""
        return max(0.0, self.machine - sum(self.by_process.values()))

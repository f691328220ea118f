"""How messages stand to the caps of a strategy now: of one person, or of several as if one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.frequency.domain.allowance import GAP, Stand, leaves_at, window_of
from services.frequency.domain.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit or gap. counted: messages in its window now; free_us: when a place is free, None
    when one is now, or never."""

    rule: str
    max: int
    counted: int
    free_us: int | None = None

    @property
    def reached(self) -> bool:
        """Whether a message that the rule covers would not be allowed now."""
        return self.counted >= self.max


def standings(strategy: Strategy, history: Sequence[Stand], now_us: int) -> list[Standing]:
    """Every limit, then the gap. history: all that may count of whoever is looked at."""
    standing = [s for s in history if not s.pending or s.at_us > now_us]
    standing.sort(key=lambda s: s.at_us)
    found = []
    for place, limit in enumerate(strategy.limits):
        from_us = window_of(limit, strategy.zone, now_us)[0]
        counted = [s for s in standing if s.at_us > from_us and limit.covers(s.kind)]
        free_us = None
        if limit.max and len(counted) >= limit.max:
            free_us = leaves_at(limit, strategy.zone, counted[len(counted) - limit.max].at_us)
        found.append(Standing(f"limit:{place}", limit.max, len(counted), free_us))
    if strategy.min_gap_us:
        within = [s for s in standing if now_us < s.at_us + strategy.min_gap_us]
        free_us = within[-1].at_us + strategy.min_gap_us if within else None
        found.append(Standing(GAP, 1, len(within), free_us))
    return found

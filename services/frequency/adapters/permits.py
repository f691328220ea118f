"""Which wishes of a batch everything permits, for all of them at once.

The rule is `domain/allowance.judge`; this is its first half over columns: it says for each wish of
a profile without a second wish whether no rule blocks. What it does not permit, and only that, is
judged one by one. A property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.frequency.domain.allowance import deadline, window_of
from services.frequency.domain.hours import open_until
from services.frequency.domain.strategy import Kind, Strategy


@dataclass(frozen=True, slots=True)
class History:
    """What may count, a row each, in any order.

    place: of the wish it counts against, int64. stand_us: int64, negative for a reservation that
    was not confirmed (its deadline). kind: int64.
    """

    place: np.ndarray
    stand_us: np.ndarray
    kind: np.ndarray

    def standing(self, now_us: int) -> History:
        """Without the expired; stand_us positive."""
        kept = (self.stand_us >= 0) | (-self.stand_us > now_us)
        return History(self.place[kept], np.abs(self.stand_us[kept]), self.kind[kept])


def unpacked(sent: bytes | None) -> np.ndarray:
    """int64 elements of what PostgreSQL's array_send makes of a bigint[] without nulls."""
    if sent is None:
        return np.empty(0, np.int64)
    element = np.dtype([("size", ">i4"), ("value", ">i8")])
    return np.frombuffer(sent, element, offset=20)["value"].astype(np.int64)


def permits(
    strategy: Strategy,
    kind: Kind,
    history: History,
    kinds: dict[int, Kind],
    wishes: int,
    now_us: int,
) -> tuple[np.ndarray, int]:
    """(mask over the places of all wishes, deadline) for wishes of one kind under one strategy.

    history: only what stands. kinds: by number, every kind in the history.
    """
    if strategy.hours and open_until(strategy.hours, strategy.zone, now_us) is None:
        return np.zeros(wishes, bool), 0
    free = np.ones(wishes, bool)
    for limit in strategy.limits:
        if not limit.covers(kind):
            continue
        counted = history.stand_us > window_of(limit, strategy.zone, now_us)[0]
        if limit.channels or limit.message_types:
            covered = [number for number, known in kinds.items() if limit.covers(known)]
            counted &= np.isin(history.kind, covered)
        free &= np.bincount(history.place[counted], minlength=wishes) < limit.max
    if strategy.min_gap_us:
        free[history.place[history.stand_us > now_us - strategy.min_gap_us]] = False
    return free, deadline(strategy, kind, now_us)


def singles(values: Sequence[object]) -> list[bool]:
    """For each value whether it occurs once."""
    if len(set(values)) == len(values):
        return [True] * len(values)
    times: dict[object, int] = {}
    for value in values:
        times[value] = times.get(value, 0) + 1
    return [times[value] == 1 for value in values]

"""Rows in a window counted and compared, for many profiles at once.

Hot kernel.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.pasts.columns import Timed
from services.segments.engine.pasts.figure_columns import interval
from services.segments.engine.pasts.kernels import NEVER


@njit(cache=True, nogil=True)
def _follow(
    begin: Array, until: Array, owner: Array, start: Array, now: Array, low: int, high: int,
    outside: bool, holds: Array, next_us: Array,
) -> None:  # fmt: skip
    """Whether low <= rows inside <= high (turned round when `outside`), and the next instant at
    which that is another; 0 for never. Rows that are in at no instant have until <= begin."""
    for g in range(owner.size):
        end, place = start[g + 1], owner[g]
        first = coming = start[g]
        count = 0
        at = now[place]
        before = False
        while True:
            while coming < end and (begin[coming] <= at or until[coming] <= begin[coming]):
                count += until[coming] > begin[coming]
                coming += 1
            while first < coming and (until[first] <= at or until[first] <= begin[first]):
                count -= until[first] > begin[first]
                first += 1
            answer = (low <= count <= high) != outside
            if at == now[place]:
                before = answer
                holds[place] = answer
                next_us[place] = 0
            elif answer != before:
                next_us[place] = at
                break
            at = np.int64(NEVER)
            if first < coming:
                at = min(at, until[first])
            if coming < end:
                at = min(at, begin[coming])
            if at == NEVER:
                break


def counted(
    found: Timed, comparison: rule.Comparison, now: Array, holds: Array, next_us: Array
) -> None:
    """Judges everybody with rows, into `holds` and `next_us`."""
    _follow(
        found.begin, found.until, found.owner, found.start, now, *interval(comparison, 1), holds,
        next_us,
    )  # fmt: skip

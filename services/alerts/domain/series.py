"""The points of a series: what falls into which, and when one closes.

Points lie on a grid of whole steps since 1970. A point closes when every partition's log time has
passed its end: then nothing can come that belongs into it. Nothing is counted or judged for time
before the watch was defined: the first point is the first whole one after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.alerts.domain.watch import Point, Series, Watch

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
STEP_US_MAX = 31 * 24 * 60 * MINUTE_US
POINTS_MAX = 100_000
"""Of for_points and resolve_points."""


def first_start(step_us: int, defined_us: int) -> int:
    """The start of the first whole point at or after an instant."""
    return -(-defined_us // step_us) * step_us


@dataclass(slots=True)
class OpenPoints:
    """Sums by start of the points that are still open. next_us: start of the next to close."""

    step_us: int
    next_us: int
    sums: dict[int, int] = field(default_factory=dict)

    def add(self, start_us: int, amount: int) -> bool:
        """Adds to the point that starts there; False when it has closed or is not watched."""
        if start_us < self.next_us or not amount:
            return False
        self.sums[start_us] = self.sums.get(start_us, 0) + amount
        return True

    def close(self, watch: Watch, log_time_us: int, members: int, most: int) -> Iterator[Point]:
        """Closes, in order, at most `most` points that end at or before the log time.

        members: of the segment after everything that was added, for the series size, which is the
        members now without what came after the point.
        """
        is_size = watch.series is Series.SIZE
        for _ in range(most):
            end_us = self.next_us + self.step_us
            if end_us > log_time_us:
                return
            value = self.sums.pop(self.next_us, 0)
            if is_size:
                value = members - sum(self.sums.values())
            point = Point(self.next_us, end_us, value)
            self.next_us = end_us
            yield point


def log_time(times_us: Iterable[int], partitions: int) -> int:
    """The log time that every partition has passed; 0 until each has spoken."""
    times = list(times_us)
    return min(times) if len(times) == partitions else 0


def faults(watch: Watch) -> Iterator[tuple[str, str]]:
    """(path of the field, what is wrong and what to do), for everything that is wrong."""
    step = watch.step_us
    if not 0 < step <= STEP_US_MAX or (step % MINUTE_US and (step % SECOND_US or MINUTE_US % step)):
        yield "step", "must be whole minutes up to 31 days, or seconds that divide a minute"
    if watch.above is None and watch.below is None:
        yield "above", "give above, below or both"
    if watch.above and watch.below:
        above, below = watch.above, watch.below
        if above.units * 10**below.exponent < below.units * 10**above.exponent:
            yield "below", "lies above `above`: every value would break a bound"
    if watch.event_type and watch.series is not Series.ACTIVITY:
        yield "event_type", "belongs to the series activity; leave it out"
    for name, points in (
        ("for_points", watch.for_points),
        ("resolve_points", watch.resolve_points),
    ):
        if not 1 <= points <= POINTS_MAX:
            yield name, f"must lie between 1 and {POINTS_MAX}; 0 is 1"
    if watch.cool_down_us < 0:
        yield "cool_down", "must not be negative"

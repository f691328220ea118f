"""A strategy: how often, when, and on which trigger; and what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

from services.frequency.domain.calendar import DAY_US, Calendar, Unit, zone_of
from services.frequency.domain.hours import Hours

LIMITS_MAX = 16
ASKS_MAX = 100
WINDOW_DAYS_MAX = 400
PERIODS_MAX = {Unit.DAY: 400, Unit.WEEK: 57, Unit.MONTH: 13}
DEFAULT_TTL_US = 300 * 1_000_000
TTL_US_MAX = DAY_US
PERIOD_US_MAX = {Unit.DAY: 26 * 3_600_000_000, Unit.WEEK: 8 * DAY_US, Unit.MONTH: 32 * DAY_US}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a message is, as far as limits tell messages apart."""

    message_type: str
    channel: str


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `max` messages in a window: rolling, of that many microseconds, or calendar.

    channels, message_types: it counts only these, and binds only these; empty is all.
    """

    max: int
    window: int | Calendar
    channels: frozenset[str] = frozenset()
    message_types: frozenset[str] = frozenset()

    def covers(self, kind: Kind) -> bool:
        return (not self.channels or kind.channel in self.channels) and (
            not self.message_types or kind.message_type in self.message_types
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """On a trigger of the segment, ask for the message. content: by variant."""

    segment_id: str
    entered: bool
    kind: Kind
    content: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Strategy:
    """One version of a strategy. Durations in microseconds; 0 is none (ttl_us: never 0)."""

    strategy_id: str
    version: int = 0
    limits: tuple[Limit, ...] = ()
    min_gap_us: int = 0
    hours: Hours | None = None
    defer_on_limit: bool = False
    defer_on_hours: bool = False
    longest_deferral_us: int = 0
    zone_name: str = ""
    asks: tuple[Ask, ...] = ()
    ttl_us: int = DEFAULT_TTL_US

    @cached_property
    def zone(self) -> ZoneInfo:
        return zone_of(self.zone_name)

    @cached_property
    def memory_us(self) -> int:
        """How far back a decision can look: no message older than this is counted."""
        return max((self.min_gap_us, *map(longest_us, self.limits)))


def longest_us(limit: Limit) -> int:
    """The longest a message can be counted in the limit's window."""
    if isinstance(limit.window, int):
        return limit.window
    return limit.window.length * PERIOD_US_MAX[limit.window.unit]


def faults(strategy: Strategy) -> Iterator[tuple[str, str]]:
    """(path of the field, what is wrong and what to do), for everything that is wrong."""
    if len(strategy.limits) > LIMITS_MAX:
        yield "limits", f"{len(strategy.limits)} limits; at most {LIMITS_MAX}"
    for place, limit in enumerate(strategy.limits):
        yield from _limit_faults(f"limits[{place}]", limit)
    if not 0 <= strategy.min_gap_us <= WINDOW_DAYS_MAX * DAY_US:
        yield "min_gap", f"must lie between 0 and {WINDOW_DAYS_MAX} days"
    if strategy.longest_deferral_us < 0:
        yield "longest_deferral", "must not be negative; leave it out for no limit"
    if not 0 < strategy.ttl_us <= TTL_US_MAX:
        yield "reservation_ttl", "must lie between a microsecond and a day; 0 is 5 minutes"
    if strategy.hours and strategy.hours.from_minute == strategy.hours.to_minute:
        yield "hours.to", "equals hours.from; leave hours out when every hour is preferred"
    try:
        zone_of(strategy.zone_name)
    except ValueError as error:
        yield "zone", str(error)
    yield from _ask_faults(strategy.asks)


def _limit_faults(path: str, limit: Limit) -> Iterator[tuple[str, str]]:
    if isinstance(limit.window, int):
        if not 0 < limit.window <= WINDOW_DAYS_MAX * DAY_US:
            yield f"{path}.rolling", f"must lie between a microsecond and {WINDOW_DAYS_MAX} days"
        return
    if not 1 <= limit.window.length <= PERIODS_MAX[limit.window.unit]:
        most = PERIODS_MAX[limit.window.unit]
        yield f"{path}.calendar.length", f"must lie between 1 and {most} for this unit"
    if not 1 <= limit.window.week_start <= 7:
        yield f"{path}.calendar.week_start", "must lie between 1 (Monday) and 7 (Sunday)"


def _ask_faults(asks: tuple[Ask, ...]) -> Iterator[tuple[str, str]]:
    if len(asks) > ASKS_MAX:
        yield "asks", f"{len(asks)} asks; at most {ASKS_MAX}"
    seen: set[tuple[str, bool]] = set()
    for place, ask in enumerate(asks):
        if (ask.segment_id, ask.entered) in seen:
            yield f"asks[{place}]", "a trigger asks for one message; this one has been asked for"
        seen.add((ask.segment_id, ask.entered))

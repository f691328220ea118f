"""May this message go now: the judgement of one wish against a strategy and a history.

Given the same history and `now` the answer is the same; nothing here reads a clock. Confirmed
messages stand at their confirm time, unconfirmed reservations at their deadline, as if confirmed
at the last moment: so the instant named in a deferral holds whatever becomes of them.

Why no window ever holds more confirms than its cap: take the confirms of any window and of them the
one granted last. Each other was then confirmed inside the window as judged, or reserved; both were
counted. The deadline never lies past the end of a calendar window, so that the confirm falls into
the window that was judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from zoneinfo import ZoneInfo

from services.frequency.domain.calendar import index_at, start_of
from services.frequency.domain.hours import next_open, open_until
from services.frequency.domain.strategy import Kind, Limit, Strategy

GAP = "gap"
HOURS = "hours"


class Decision(IntEnum):
    """The numbers are those of the contract."""

    ALLOWED = 1
    DEFERRED = 2
    DENIED = 3


@dataclass(frozen=True, slots=True)
class Stand:
    """One message that counts. at_us: its confirm, or the deadline of a reservation."""

    at_us: int
    kind: Kind
    message_key: str
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One rule that does not permit now. free_us: when it will by itself; None is never.

    (from_us, to_us]: its window as judged; both 0 for hours.
    """

    rule: str
    free_us: int | None
    counted: tuple[Stand, ...] = ()
    max: int = 0
    from_us: int = 0
    to_us: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a wish. next_us: the earliest instant at which everything permits."""

    decision: Decision
    deadline_us: int | None = None
    binding: Block | None = None
    next_us: int | None = None


def window_of(limit: Limit, zone: ZoneInfo, now_us: int) -> tuple[int, int]:
    """The window (from, to] that a limit counts in now; what stands after now counts too."""
    if isinstance(limit.window, int):
        return now_us - limit.window, now_us
    index = index_at(limit.window, zone, now_us)
    begin = start_of(limit.window, zone, index - limit.window.length + 1)
    return begin - 1, start_of(limit.window, zone, index + 1) - 1


def leaves_at(limit: Limit, zone: ZoneInfo, at_us: int) -> int:
    """The instant at which a message that stands at at_us is counted no longer."""
    if isinstance(limit.window, int):
        return at_us + limit.window
    return start_of(limit.window, zone, index_at(limit.window, zone, at_us) + limit.window.length)


def judge(
    strategy: Strategy, kind: Kind, history: Sequence[Stand], now_us: int, first_us: int
) -> Verdict:
    """Decides one wish. history: everything of the profile under this strategy that may count.

    first_us: when the message was asked for first; the longest deferral runs from there.
    """
    standing = [s for s in history if not s.pending or s.at_us > now_us]
    standing.sort(key=lambda s: s.at_us)
    blocks = list(_blocks(strategy, kind, standing, now_us))
    if not blocks:
        return Verdict(Decision.ALLOWED, deadline_us=deadline(strategy, kind, now_us))
    next_us = _earliest(strategy, blocks, now_us)
    denying = [b for b in blocks if not _defers(strategy, b)]
    binding = max(denying or blocks, key=lambda b: (b.free_us is None, b.free_us or 0))
    longest = strategy.longest_deferral_us
    too_late = next_us is None or (longest and next_us - first_us > longest)
    decision = Decision.DENIED if denying or too_late else Decision.DEFERRED
    return Verdict(decision, binding=binding, next_us=next_us)


def deadline(strategy: Strategy, kind: Kind, now_us: int) -> int:
    """Until when a place granted now may be confirmed: within the hours and calendar windows."""
    ends = [now_us + strategy.ttl_us]
    if strategy.hours is not None:
        closes = open_until(strategy.hours, strategy.zone, now_us)
        assert closes is not None, "granted outside the hours"
        ends.append(closes)
    ends += [
        window_of(limit, strategy.zone, now_us)[1] + 1
        for limit in strategy.limits
        if not isinstance(limit.window, int) and limit.covers(kind)
    ]
    return min(ends)


def _blocks(strategy: Strategy, kind: Kind, standing: list[Stand], now_us: int) -> Iterator[Block]:
    """Every rule that does not permit now, limits first; standing is in order of time."""
    for place, limit in enumerate(strategy.limits):
        if limit.covers(kind):
            block = _limit_block(f"limit:{place}", limit, strategy.zone, standing, now_us)
            if block:
                yield block
    gap_us = strategy.min_gap_us
    if gap_us and standing and now_us < standing[-1].at_us + gap_us:
        last = standing[-1]
        yield Block(GAP, last.at_us + gap_us, (last,), 1, now_us - gap_us, now_us)
    if strategy.hours and open_until(strategy.hours, strategy.zone, now_us) is None:
        yield Block(HOURS, next_open(strategy.hours, strategy.zone, now_us))


def _limit_block(
    rule: str, limit: Limit, zone: ZoneInfo, standing: list[Stand], now_us: int
) -> Block | None:
    from_us, to_us = window_of(limit, zone, now_us)
    counted = tuple(s for s in standing if s.at_us > from_us and limit.covers(s.kind))
    if len(counted) < limit.max:
        return None
    free_us = None
    if limit.max:
        free_us = leaves_at(limit, zone, counted[len(counted) - limit.max].at_us)
    return Block(rule, free_us, counted, limit.max, from_us, to_us)


def _defers(strategy: Strategy, block: Block) -> bool:
    return strategy.defer_on_hours if block.rule == HOURS else strategy.defer_on_limit


def _earliest(strategy: Strategy, blocks: list[Block], now_us: int) -> int | None:
    """Limits and gap permit for good once they permit, so the hours have the last word."""
    if any(b.free_us is None for b in blocks):
        return None
    free_us = max([now_us, *(b.free_us or 0 for b in blocks if b.rule != HOURS)])
    if strategy.hours is None:
        return free_us
    return next_open(strategy.hours, strategy.zone, free_us)

"""What the demo must show, and the books it keeps: what was sent, counted, entered and left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from muster.types.v1 import common_pb2

LATENCIES_KEPT = 5_000
SENT_KEPT = 50_000
IDS_KEPT = 1_000_000
"""Ids remembered to see a repeat: about an hour of the demo's traffic."""


@dataclass
class Ledger:
    """Live events by id: acknowledged by the log, and as often as they stand in EVENTS."""

    acknowledged: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    twice: int = 0

    def on_acknowledged(self, event_id: str, at: float) -> None:
        """`at`: monotonic seconds."""
        self.acknowledged += 1
        if event_id not in self.counted:
            self.waiting[event_id] = at

    def on_counted(self, event_id: str) -> None:
        self.counted[event_id] = self.counted.get(event_id, 0) + 1
        self.twice += self.counted[event_id] > 1
        self.waiting.pop(event_id, None)
        if len(self.counted) > IDS_KEPT:
            del self.counted[next(iter(self.counted))]

    def overdue(self, now: float, after_s: float) -> int:
        """Acknowledged longer ago than after_s and not in EVENTS yet."""
        return sum(at < now - after_s for at in self.waiting.values())


@dataclass
class Turns:
    """Transitions of each (segment, profile): they alternate and are numbered without gaps."""

    last: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    seen: int = 0
    repeated: int = 0
    missing: int = 0

    def on_transition(self, change: Any) -> None:
        place = (change.segment_id, change.profile_id)
        entered = change.direction == common_pb2.DIRECTION_ENTERED
        self.seen += 1
        if place in self.last:
            ordinal, was_in = self.last[place]
            if change.ordinal <= ordinal:
                self.repeated += 1
                return
            self.missing += change.ordinal != ordinal + 1 or entered == was_in
        self.last[place] = (change.ordinal, entered)


@dataclass
class Latencies:
    """Publish to transition in milliseconds, by the causing event; the last few thousand.

    What was caused while a killed service was away counts in `worst_outage`, not in the quantiles.
    """

    sent: dict[str, float] = field(default_factory=dict)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    outage: bool = False
    worst_outage: float = 0.0

    def on_sent(self, cause: str, now: float) -> None:
        self.sent.setdefault(cause, now)
        if len(self.sent) > SENT_KEPT:
            del self.sent[next(iter(self.sent))]

    def on_transition(self, cause: str, now: float) -> None:
        sent = self.sent.get(cause)
        if sent is None:
            return
        took_ms = (now - sent) * 1_000
        if self.outage:
            self.worst_outage = max(self.worst_outage, took_ms)
        else:
            self.recent.append(took_ms)

    def quantile(self, share: float) -> float:
        """0 when nothing was measured."""
        if not self.recent:
            return 0.0
        ordered = sorted(self.recent)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Check:
    """One thing that must happen. ok: None while it has not."""

    title: str
    ok: bool | None = None
    detail: str = ""


@dataclass
class Checks:
    """All of them in the order of the summary."""

    of: dict[str, Check] = field(default_factory=dict)

    def expect(self, key: str, title: str) -> None:
        self.of[key] = Check(title)

    def settle(self, key: str, ok: bool, detail: str = "") -> None:
        """A verdict; a failure stands."""
        check = self.of[key]
        if check.ok is not False:
            check.ok, check.detail = ok, detail

    def failed(self) -> bool:
        return any(check.ok is False for check in self.of.values())

    def complete(self) -> bool:
        return all(check.ok for check in self.of.values())

    def lines(self) -> list[tuple[str, str]]:
        """(mark, text) of each: ok, WRONG or `not yet`."""
        marks = {True: "ok", False: "WRONG", None: "not yet"}
        return [
            (marks[check.ok], check.title + (f": {check.detail}" if check.detail else ""))
            for check in self.of.values()
        ]

"""Judges what the services say against the script: which check each fact settles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.demo.play import WINDOW_US, cast_member
from muster.frequency.v1.facts_pb2 import DECISION_ALLOWED, DECISION_DEFERRED
from muster.types.v1 import common_pb2

if TYPE_CHECKING:
    from cli.demo.checks import Checks
    from cli.demo.play import Script

EXPECTED = (
    ("history", "both histories are imported, each row once, sizes as added up by hand"),
    ("first", "first transition after the start of the servers"),
    ("migration", "Marta: from prospects to customers at one instant, by one event"),
    ("time", "Olena left browsing-now by time alone, 20 s after her first page"),
    ("birthday", "Amira is in birthday-tomorrow"),
    ("iphone", "Kenji is in iphone-readers"),
    ("devices", "two devices became one person"),
    ("threshold", "a customer of the history reached $1000 in 90 days"),
    ("explain", "why is that customer in? answered"),
    ("allowed", "one message was allowed"),
    ("deferred", "one message was deferred"),
    ("raised", "an alert was raised"),
    ("resolved", "the alert was resolved"),
    ("lost", "every acknowledged event was counted once"),
    ("turns", "every membership entered and left in turn, none missing, none twice"),
    ("scratch", "every segment equals a count from scratch"),
)

UNKNOWN_KEPT = 5_000


def expect_all(checks: Checks) -> None:
    for key, title in EXPECTED:
        checks.expect(key, title)


def time_us(time: Any) -> int:
    return int(time.seconds) * 1_000_000 + int(time.nanos) // 1_000


class Judge:
    """Hears every fact once it has arrived."""

    def __init__(self, checks: Checks, script: Script) -> None:
        self._checks = checks
        self._script = script
        self._left_prospects: Any = None
        self._became_customer: Any = None
        self._unknown: list[Any] = []

    def on_transition(self, change: Any) -> None:
        """Kept for look_again while the script still looks for its people."""
        if not self._judge(change) and not self._script.everyone_found:
            self._unknown.append(change)
            del self._unknown[:-UNKNOWN_KEPT]

    def look_again(self) -> None:
        """Judges what came before its person was found; call it now and then."""
        self._unknown = [change for change in self._unknown if not self._judge(change)]
        if self._script.everyone_found:
            self._unknown.clear()

    def _judge(self, change: Any) -> bool:
        """Whether the change belonged to somebody of the script."""
        profiles = self._script.profiles
        who = cast_member(profiles, change.profile_id)
        entered = change.direction == common_pb2.DIRECTION_ENTERED
        if who == "marta":
            self._marta(change, entered)
        elif who == "olena" and change.segment_id == "browsing-now" and not entered:
            due_us = self._script.moments["olena"] + WINDOW_US
            exact = time_us(change.at_time) == due_us
            alone = change.reason == common_pb2.REASON_TIME and not change.cause
            off_us = time_us(change.at_time) - due_us
            self._checks.settle("time", exact and alone, f"{off_us} µs off")
        elif who == "amira" and change.segment_id == "birthday-tomorrow":
            self._checks.settle("birthday", entered)
        elif who == "kenji" and change.segment_id == "iphone-readers":
            self._checks.settle("iphone", entered)
        elif not who:
            spender = change.segment_id == "big-spenders" and entered
            if not (spender and change.profile_id in profiles.values()):
                return False
            self._checks.settle("threshold", True)
        return True

    def _marta(self, change: Any, entered: bool) -> None:
        if change.segment_id == "prospects" and not entered:
            self._left_prospects = change
        if change.segment_id == "customers" and entered:
            self._became_customer = change
        left, became = self._left_prospects, self._became_customer
        if left is not None and became is not None:
            together = left.at_time == became.at_time and left.cause == became.cause != ""
            self._checks.settle("migration", together)

    def on_message(self, decided: Any) -> None:
        decision = decided.receipt.decision
        if decision == DECISION_ALLOWED:
            self._checks.settle("allowed", True, decided.message.message_type)
        elif decision == DECISION_DEFERRED:
            self._checks.settle("deferred", True, f"by {decided.receipt.rule}")

    def on_alert(self, notice: Any) -> None:
        kind = notice.WhichOneof("notice")
        if kind == "raised":
            told = notice.raised
            self._checks.settle("raised", True, f"{told.value} above {told.bound}")
        elif kind == "resolved":
            self._checks.settle("resolved", True, f"back to {notice.resolved.value}")

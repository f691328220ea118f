"""Cuts of RFM scores by quantile, as they are in force: what everybody is scored by until the next.

Rules that score the same orders alike share their cuts, whatever ranges they ask for.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import TYPE_CHECKING

from muster.segments.v1 import cuts_pb2 as facts
from services.segments.domain import conditions as rule
from services.segments.domain import rfm

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition


def key_of(leaf: rule.Rfm) -> str:
    """What rules share that score the same orders alike: 32 hex digits."""
    said = repr((leaf.orders, leaf.amount, leaf.window, leaf.zone, leaf.ties_by_id))
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


class CutTable:
    """The cuts in force."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.facts: dict[str, facts.RfmCutsSet] = {}
        self._cuts: dict[str, rfm.Cuts] = {}
        self._keys: dict[rule.Rfm, str] = {}

    def key_of(self, leaf: rule.Rfm) -> str:
        found = self._keys.get(leaf)
        if found is None:
            found = self._keys[leaf] = key_of(leaf)
        return found

    def of(self, leaf: rule.Rfm) -> rfm.Cuts:
        """The cuts a leaf is scored by; none before they were first taken."""
        return self._cuts.get(self.key_of(leaf), rfm.Cuts())

    def midnight_us(self, key: str) -> int:
        """The midnight cuts were taken at; 0 for none."""
        known = self.facts.get(key)
        return 0 if known is None else known.midnight_us

    def take(self, given: facts.RfmCutsSet) -> bool:
        """Puts cuts in force; False when newer ones are."""
        if given.midnight_us < self.midnight_us(given.key):
            return False
        self.facts[given.key] = given
        self._cuts[given.key] = rfm.Cuts(
            _cuts_of(given.recency), _cuts_of(given.frequency), _cuts_of(given.money),
            given.ties_by_id,
        )  # fmt: skip
        return True

    def dump(self) -> bytes:
        return b"".join(
            len(body).to_bytes(4, "little") + body
            for one in self.facts.values()
            if (body := one.SerializeToString(deterministic=True))
        )

    def load(self, body: bytes) -> None:
        """Takes over a dump into a fresh table."""
        start = 0
        while start < len(body):
            size = int.from_bytes(body[start : start + 4], "little")
            self.take(facts.RfmCutsSet.FromString(body[start + 4 : start + 4 + size]))
            start += 4 + size


def _cuts_of(given: object) -> tuple[rfm.Cut, ...]:
    return tuple((Fraction(one.figure), one.profile) for one in given)  # type: ignore[attr-defined]

"""Cuts of RFM scores by quantile, as they are in force: what everybody is scored by until the next.

Rules that score the same orders alike share their cuts, whatever ranges they ask for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
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
        self.former: list[tuple[int, facts.RfmCutsSet]] = []
        """All that ever were in force, with the instant from which on."""
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

    def take(self, given: facts.RfmCutsSet, at: int) -> bool:
        """Puts cuts in force from an instant on; False when newer ones are."""
        if given.midnight_us < self.midnight_us(given.key):
            return False
        self.former.append((at, given))
        self._put(given)
        return True

    def _put(self, given: facts.RfmCutsSet) -> None:
        self.facts[given.key] = given
        self._cuts[given.key] = rfm.Cuts(
            _cuts_of(given.recency), _cuts_of(given.frequency), _cuts_of(given.money),
            given.ties_by_id,
        )  # fmt: skip

    def as_of(self, view: Partition, at: int, known: int) -> CutTable:
        """Cuts that were known, and of the past those of no later midnight, for a view of the
        partition."""
        found = CutTable(view)
        last = {
            given.key: given
            for taken_us, given in self.former
            if taken_us <= known and (at >= known or given.midnight_us <= at)
        }
        for given in last.values():
            found._put(given)
        return found

    def turns(self, keys: Collection[str], low: int, high: int) -> list[int]:
        """Instants within (low, high] from which on others of some cuts were in force."""
        return [at for at, given in self.former if given.key in keys and low < at <= high]

    def dump(self) -> bytes:
        """Cuts in force, those before them left out."""
        return b"".join(map(_framed, self.facts.values()))

    def dump_former(self) -> bytes:
        """All of them, each after its instant in 8 bytes."""
        return b"".join(at.to_bytes(8, "little") + _framed(given) for at, given in self.former)

    def load(self, body: bytes, former: bytes | None, now: int) -> None:
        """Takes over a dump into a fresh table; without what was before, that begins now."""
        if former is None:
            for given, _ in _unframed(body, 0):
                self.take(given, now)
            return
        self.former = [(at, given) for given, at in _unframed(former, 8)]
        for given in {given.key: given for _, given in self.former}.values():
            self._put(given)


def _framed(given: facts.RfmCutsSet) -> bytes:
    body = given.SerializeToString(deterministic=True)
    return len(body).to_bytes(4, "little") + bytes(body)


def _unframed(body: bytes, head: int) -> Iterator[tuple[facts.RfmCutsSet, int]]:
    """(cuts, the number in the bytes before them)."""
    start = 0
    while start < len(body):
        before = int.from_bytes(body[start : start + head], "little")
        start += head
        size = int.from_bytes(body[start : start + 4], "little")
        yield facts.RfmCutsSet.FromString(body[start + 4 : start + 4 + size]), before
        start += 4 + size


def _cuts_of(given: object) -> tuple[rfm.Cut, ...]:
    return tuple((Fraction(one.figure), one.profile) for one in given)  # type: ignore[attr-defined]

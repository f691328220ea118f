"""Which version of a rule stood when: every definition that was ever in force, with its instant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muster.segments.v1 import facts_pb2 as facts
from services.segments.domain import conditions as rule
from services.segments.engine.language.expressions import express, leaves_of
from services.segments.engine.language.reading import read_condition
from services.segments.engine.live.rules import Segment

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition


class Versions:
    """Definitions by segment, in the order they took effect: (instant, SegmentDefined)."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.former: dict[str, list[tuple[int, bytes]]] = {}
        self.listed: set[str] = set()
        """Those that ever were a list."""
        self._read: dict[tuple[str, int], Segment] = {}

    def note(self, given: facts.SegmentDefined, definition: bytes, at: int) -> None:
        """A definition in force from an instant on."""
        self.former.setdefault(given.segment_id, []).append((at, definition))
        if given.HasField("list"):
            self.listed.add(given.segment_id)

    def turns(self, segment_id: str, low: int, high: int) -> list[int]:
        """Instants within (low, high] at which another definition took effect."""
        return [at for at, _ in self.former.get(segment_id, ()) if low < at <= high]

    def at(self, at: int, lists_at: int) -> dict[str, Segment]:
        """Every segment as it stood at an instant, lists at one of their own; one that was not yet
        there has no rule and version 0."""
        return {
            name: self.standing(name, lists_at if name in self.listed else at)
            for name in self.part.segments
        }

    def standing(self, segment_id: str, at: int) -> Segment:
        """A segment as it stood at an instant."""
        given = self.former.get(segment_id, [])
        place = sum(since <= at for since, _ in given) - 1
        now = self.part.segments[segment_id]
        if place == len(given) - 1 and place >= 0:
            return replace(now)
        if place < 0:
            return Segment(now.place, now.number, segment_id)
        found = self._read.get((segment_id, place))
        if found is None:
            found = self._read[segment_id, place] = self._as_read(now, given[place][1])
        return replace(found)

    def follows(self, at: int) -> dict[str, str]:
        """Lists that stood at an instant, and the segment each followed."""
        found = {}
        for name in self.listed:
            given = [one for since, one in self.former.get(name, ()) if since <= at]
            if given:
                last = facts.SegmentDefined.FromString(given[-1])
                if last.HasField("list") and not last.retired:
                    found[name] = last.list.follows_segment_id
        return found

    def _as_read(self, now: Segment, definition: bytes) -> Segment:
        given = facts.SegmentDefined.FromString(definition)
        node: rule.Node | None = None
        if not given.retired:
            listed = given.HasField("list")
            node = (
                rule.InList(now.segment_id)
                if listed
                else read_condition(given.condition, given.zone, lambda _: None, self.part.limits)
            )
        expression = () if node is None or given.HasField("list") else express(node)
        return Segment(
            now.place, now.number, now.segment_id, given.version, definition, node, expression,
            given.zone, leaves=tuple(leaves_of(expression)),
        )  # fmt: skip

    def dump(self) -> bytes:
        """Each definition after its instant (8 bytes) and its length (4)."""
        return b"".join(
            at.to_bytes(8, "little") + len(body).to_bytes(4, "little") + body
            for given in self.former.values()
            for at, body in given
        )

    def load(self, body: bytes | None, now: int) -> None:
        """Takes over a dump; without one, what is in force begins now."""
        if body is None:
            for one in self.part.segments.values():
                self.note(facts.SegmentDefined.FromString(one.definition), one.definition, now)
            return
        start = 0
        while start < len(body):
            at = int.from_bytes(body[start : start + 8], "little")
            size = int.from_bytes(body[start + 8 : start + 12], "little")
            definition = body[start + 12 : start + 12 + size]
            self.note(facts.SegmentDefined.FromString(definition), definition, at)
            start += 12 + size

"""Rules that come, change and go.

A definition takes effect at an instant: everything before it is walked first, its leaves begin as of
then, and every profile whose answer differs is judged again in the group of that instant. So what
else happens at the instant joins the same net change.
"""

from __future__ import annotations

import numpy as np

from muster.segments.v1 import facts_pb2 as facts
from muster.types.v1 import condition_pb2
from services.segments.domain import conditions as rule
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.expressions import LeafSpec, express, leaves_of, references_of
from services.segments.engine.leaves import Leaves
from services.segments.engine.limits import EngineFull
from services.segments.engine.memberships import RULE_CAUSE
from services.segments.engine.partition import Partition, Segment
from services.segments.engine.reader import Reader
from services.segments.engine.reading import read_condition
from services.segments.engine.rules import build_rules, make_scratch
from services.segments.engine.walker import Walker

BACKFILL, RULE_CHANGE = RULE_CAUSE, RULE_CAUSE + 1


class Definitions:
    """The segments of a partition, and what a new definition does to them."""

    def __init__(self, part: Partition, walker: Walker, leaves: Leaves) -> None:
        self.part, self.walker, self.leaves = part, walker, leaves
        self.rebuild()

    def read(self, condition: condition_pb2.Condition, zone: str, of: str = "") -> rule.Node:
        """The normal form of a condition; `of`: the segment it defines. Raises ConditionFaults."""

        def refusal(segment_id: str) -> str | None:
            other = self.part.segments.get(segment_id)
            if other is None or other.node is None:
                if segment_id == of:
                    return "a segment cannot refer to itself"
                return f"there is no segment {segment_id!r}: define it first"
            if of and (segment_id == of or of in self.below(segment_id)):
                return f"{segment_id!r} depends on {of!r}: a cycle"
            return None

        return read_condition(condition, zone, refusal, self.part.limits)

    def below(self, segment_id: str) -> set[str]:
        """Every segment that one refers to, directly or not."""
        found: set[str] = set()
        todo = [segment_id]
        while todo:
            for of in references_of(self.part.segments[todo.pop()].expression):
                if of not in found:
                    found.add(of)
                    todo.append(of)
        return found

    def check(self, given: facts.SegmentDefined) -> rule.Node | None:
        """The rule to put in force, None to take out. Raises ConditionFaults."""
        if given.retired:
            return None
        known = self.part.segments.get(given.segment_id)
        if known is not None and known.number != given.segment_number:
            raise ConditionFaults(
                [("segment_number", f"{given.segment_id!r} has number {known.number}")]
            )
        return self.read(given.condition, given.zone, given.segment_id)

    def define(self, given: facts.SegmentDefined, node: rule.Node | None, at: int) -> None:
        """Puts a checked definition in force at an instant, at the earliest now."""
        part = self.part
        at = max(at, part.now)
        self.walker.walk(at - 1)
        segment = part.segments.get(given.segment_id)
        if segment is None:
            if node is None:
                return
            segment = self._new(given)
        first = segment.version == 0
        segment.version = given.version
        segment.definition = given.SerializeToString(deterministic=True)
        segment.zone = given.zone
        segment.node = node
        segment.expression = () if node is None else express(node)
        self.rebuild()
        answer = np.zeros(part.people.rows, bool)
        if node is not None:
            answer = Reader(part).answer(segment.expression)
        word, bit = segment.place >> 6, np.uint64(segment.place & 63)
        member = (part.member[: part.people.rows, word] >> bit) & np.uint64(1)
        cause = BACKFILL if first else RULE_CHANGE
        part.changed[segment.place] = 1
        differ = np.flatnonzero(answer != member.astype(bool))
        self.walker.carry(at, differ, -1 - segment.place, np.zeros(differ.size, np.uint8), cause)

    def _new(self, given: facts.SegmentDefined) -> Segment:
        part = self.part
        place = len(part.by_place)
        if place >= part.limits.segments_max:
            raise EngineFull(f"segments_max = {part.limits.segments_max} segments")
        segment = Segment(place, given.segment_number, given.segment_id, 0, b"", None, (), "")
        part.by_place.append(segment)
        part.segments[given.segment_id] = segment
        part.reserve_places(place + 1)
        return segment

    def rebuild(self) -> None:
        """Leaves and tables for the segments as they stand, as of now."""
        part = self.part
        wanted: dict[LeafSpec, None] = {}
        for segment in part.by_place:
            if segment.node is not None:
                wanted.update(dict.fromkeys(leaves_of(segment.expression)))
        self.leaves.hold(wanted, settled=not self.walker.carried)
        part.rules = build_rules(part, self.leaves.numbers, self.leaves.count)
        part.scratch = make_scratch(self.leaves.count, len(part.by_place))

"""Rules that come, change and go.

A definition takes effect at an instant: everything before it is walked first, its leaves begin as
of then, and every profile whose answer differs is judged again in the group of that instant. So
what else happens at the instant joins the same net change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from muster.segments.v1 import facts_pb2 as facts
from muster.types.v1 import condition_pb2
from services.segments.domain import conditions as rule
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.limits import EngineFull
from services.segments.engine.language.expressions import (
    ADDED,
    REMOVED,
    ListLeaf,
    express,
    leaves_of,
)
from services.segments.engine.language.reading import read_condition
from services.segments.engine.live.leaves import Leaves
from services.segments.engine.live.memberships import (
    ALIVE,
    AT_LEAST,
    BY_TABLE,
    NOT,
    NOTHING,
    PUSH,
    RULE_CAUSE,
)
from services.segments.engine.live.rules import Segment, compile_program
from services.segments.engine.live.walker import Walker
from services.segments.engine.partition import Partition

BACKFILL, RULE_CHANGE = RULE_CAUSE, RULE_CAUSE + 1


class Definitions:
    """The segments of a partition, and what a new definition does to them."""

    def __init__(self, part: Partition, walker: Walker, leaves: Leaves) -> None:
        self.part, self.walker, self.leaves = part, walker, leaves

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

        def list_refusal(list_id: str) -> str | None:
            if of and list_id in self.part.lists.follows:
                return refusal(list_id)
            return self._list_refusal(list_id)

        return read_condition(condition, zone, refusal, self.part.limits, list_refusal)

    def _list_refusal(self, list_id: str) -> str | None:
        """Why a rule cannot speak of a list."""
        if list_id in self.part.lists.follows:
            return None
        other = self.part.segments.get(list_id)
        if other is None or other.node is None:
            return f"there is no list {list_id!r}: define it first"
        return f"{list_id!r} is a segment with a rule: name it by `segment`"

    def below(self, segment_id: str) -> set[str]:
        """Every segment that one refers to, directly or not."""
        found: set[str] = set()
        todo = [segment_id]
        while todo:
            for of in self.part.segments[todo.pop()].references:
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
        listed = given.segment_id in self.part.lists.follows
        if known is not None and known.node is not None and listed != given.HasField("list"):
            text = "a list stays a list and a rule a rule: retire it first, or take another id"
            raise ConditionFaults([("list", text)])
        if given.HasField("list"):
            return self._check_list(given.segment_id, given.list.follows_segment_id)
        return self.read(given.condition, given.zone, given.segment_id)

    def _check_list(self, list_id: str, followed: str) -> rule.Node:
        path = "list.follows_segment_id"
        if followed:
            other = self.part.segments.get(followed)
            if followed == list_id:
                raise ConditionFaults([(path, "a list cannot follow itself")])
            if other is None or other.node is None:
                text = f"there is no segment {followed!r}: define it first"
                raise ConditionFaults([(path, text)])
            if list_id in self.below(followed):
                raise ConditionFaults([(path, f"{followed!r} depends on {list_id!r}: a cycle")])
        return rule.InList(list_id)

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
        cause = RULE_CHANGE if segment.version else BACKFILL
        segment.version, segment.zone = given.version, given.zone
        segment.definition = given.SerializeToString(deterministic=True)
        part.versions.note(given, segment.definition, at)
        self._keep_list(given, node, segment, at)
        self.install(segment, node)
        part.changed[segment.place] = 1
        word, bit = segment.place >> 6, np.uint64(segment.place & 63)
        member = (part.member[: part.people.rows, word] >> bit) & np.uint64(1)
        differ = np.flatnonzero(answer_of(part, segment) != member.astype(bool))
        self.walker.carry(at, differ, -1 - segment.place, np.zeros(differ.size, np.uint8), cause)

    def _keep_list(
        self, given: facts.SegmentDefined, node: rule.Node | None, segment: Segment, at: int
    ) -> None:
        """A list begins, follows something else, or ends; leaf bits follow its marks."""
        part = self.part
        if node is None:
            part.lists.retire(given.segment_id, at)
        elif given.HasField("list"):
            part.lists.define(
                given.segment_id, given.list.follows_segment_id, part.members_of(segment.place), at
            )
            for mark in (ADDED, REMOVED):
                self.leaves.renew(ListLeaf(given.segment_id, mark))

    def install(self, segment: Segment, node: rule.Node | None) -> None:
        """Makes a segment judge by a rule, or by none; its leaves live as of now."""
        part, before = self.part, segment.leaves
        segment.node = node
        if node == rule.InList(segment.segment_id):
            segment.expression = part.lists.expression(segment.segment_id)
        else:
            segment.expression = () if node is None else express(node)
        segment.leaves = tuple(leaves_of(segment.expression))
        self.leaves.hold(segment.leaves)
        self.leaves.release(before, settled=not self.walker.carried)
        places = {one: part.segments[one].place for one in segment.references}
        segment.program = compile_program(segment.expression, self.leaves.numbers, places)
        part.rules_changed()

    def _new(self, given: facts.SegmentDefined) -> Segment:
        part = self.part
        place = len(part.by_place)
        if place >= part.limits.segments_max:
            raise EngineFull(f"segments_max = {part.limits.segments_max} segments")
        segment = Segment(place, given.segment_number, given.segment_id)
        part.by_place.append(segment)
        part.segments[given.segment_id] = segment
        part.reserve_places(place + 1)
        return segment


def answer_of(part: Partition, segment: Segment) -> Array:
    """Which profiles a segment's rule holds for, from the leaf bits that are kept up."""
    rows = part.people.rows

    def column(words: Array, place: int) -> Array:
        return ((words[:rows, place >> 6] >> np.uint64(place & 63)) & np.uint64(1)).astype(bool)

    alive = column(part.bits, ALIVE)
    program = segment.program
    given = [
        column(part.bits, one) if one >= 0 else column(part.member, -1 - one)
        for one in program.inputs
    ]
    if program.kind == NOTHING:
        return np.zeros(rows, bool)
    if program.kind == BY_TABLE:
        index = np.zeros(rows, np.uint8)
        for place, bits in enumerate(given):
            index |= bits.astype(np.uint8) << np.uint8(place)
        table = np.array([program.table >> i & 1 for i in range(64)], bool)
        return np.asarray(table[index] & alive)
    stack: list[Any] = []
    for step, first, second in program.steps:
        if step == PUSH:
            stack.append(given[first])
        elif step == AT_LEAST:
            total = np.sum(stack[-second:], axis=0, dtype=np.int16)
            del stack[-second:]
            stack.append(total >= first)
        else:
            stack.append(~stack.pop() if step == NOT else np.ones(rows, bool))
    return np.asarray(stack[0] & alive)

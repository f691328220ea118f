"""Reads a protobuf Condition into the domain's normal form; every fault with its path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading_leaves import read_leaf
from services.segments.engine.language.reading_state import Reading
from services.segments.engine.language.speaking import unspoken

_GROUPS: dict[str, Callable[[tuple[rule.Node, ...]], rule.Node]] = {
    "all": rule.All,
    "any": rule.Any,
    "none": rule.Neither,
}


class Reader(Reading):
    """Walks one tree, collecting faults."""

    leaves = 0

    def node(self, condition: pb.Condition, depth: int = 1) -> rule.Node:
        """The node; a stand-in where there was a fault."""
        kind = condition.WhichOneof("node")
        if depth > self.limits.depth_max:
            self.fault(f"deeper than {self.limits.depth_max} levels: split the rule into segments")
            return rule.Everyone()
        if kind is None:
            self.fault("an empty condition: choose a group or a leaf")
            return rule.Everyone()
        if kind in _GROUPS:
            return _GROUPS[kind](self._group(getattr(condition, kind).of, kind, depth))
        if kind == "not":
            with self.at("not"):
                return rule.Not(self.node(getattr(condition, "not"), depth + 1))
        if kind == "at_least":
            of = self._group(condition.at_least.of, "at_least.of", depth)
            n = condition.at_least.n
            if of and not 1 <= n <= len(of):
                self.fault(
                    f"must be between 1 and {len(of)}, the number of conditions", "at_least.n"
                )
            return rule.AtLeast(n, of)
        self.leaves += 1
        if self.leaves == self.limits.leaves_max + 1:
            self.fault(f"more than {self.limits.leaves_max} leaves: split the rule into segments")
        with self.at(kind):
            return read_leaf(self, condition, kind)

    def _group(self, of: Sequence[pb.Condition], name: str, depth: int) -> tuple[rule.Node, ...]:
        nodes = []
        for index, child in enumerate(of):
            with self.at(f"{name}[{index}]"):
                nodes.append(self.node(child, depth + 1))
        if not nodes:
            self.fault("an empty group is refused: put at least one condition into it", name)
        return tuple(nodes)


def read_condition(
    condition: pb.Condition,
    zone: str,
    knows_segment: Callable[[str], str | None],
    limits: EngineLimits,
    knows_list: Callable[[str], str | None] | None = None,
) -> rule.Node:
    """The rule's normal form: leaves in one spelling, groups as they are written.

    zone: the rule's, empty when it names none. knows_segment and knows_list answer None, or why an
    id is refused; without knows_list the other is asked about lists too. Raises ConditionFaults
    with one entry per fault.
    """
    reader = Reader(zone, knows_segment, limits, knows_list)
    node = reader.node(condition)
    faults = reader.faults or unspoken(node)
    if faults:
        raise ConditionFaults(faults)
    return node

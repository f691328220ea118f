"""What a change of the catalogue does: profiles whose events name the item are judged again."""

from __future__ import annotations

from muster.ingest.v1 import catalogue_pb2 as facts
from services.segments.domain import conditions as rule
from services.segments.engine.language.expressions import PastLeaf
from services.segments.engine.live.memberships import MOVE_CAUSE
from services.segments.engine.live.walker import Walker
from services.segments.engine.partition import Partition

ATTRIBUTE = 3
"""Reason, numbered as in muster.types.v1.Reason: what is known of a thing became another."""


class Stock:
    """Takes CatalogueItemsSet."""

    def __init__(self, part: Partition, walker: Walker) -> None:
        self.part, self.walker = part, walker

    def take(self, given: facts.CatalogueItemsSet, at: int) -> int:
        """Takes effect at an instant, at the earliest now; judgements it takes."""
        part = self.part
        at = max(at, part.now)
        self.walker.walk(at - 1)
        changed = part.catalogue.take(given)
        for one in given.items:
            part.catalogue_log.note(one, at)
        joins = {
            number: leaf.node
            for leaf, number in part.leaf_numbers.items()
            if isinstance(leaf, PastLeaf) and isinstance(leaf.node, rule.Catalogue)
        }
        if not changed or not joins:
            return 0
        concerned = part.catalogue.concerned((one.item_property for one in joins.values()), changed)
        cause = MOVE_CAUSE + part.cause_of_move(0, 0, ATTRIBUTE)
        for number, node in joins.items():
            part.pasts.ask(at, number, concerned[node.item_property], cause)
        return sum(concerned[node.item_property].size for node in joins.values())

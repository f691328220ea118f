"""Stretches of one profile's past in which only the log of events moves, and views of each.

A view copies what changes in place of everybody, so it is made anew only where something of that
kind changed for the profile; where only a list, an item or a cut did, the view before it goes on.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.asked.asof import as_of, rules_at, stand_at
from services.segments.engine.asked.outlook import Outlook
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import (
    Expression,
    LeafSpec,
    PastLeaf,
    Push,
    express,
    references_of,
)
from services.segments.engine.live.history import past_of
from services.segments.engine.partition import Partition
from services.segments.engine.store import persons
from services.segments.engine.store.catalogue import key_of
from services.segments.engine.store.former import ABSORBED, KIND, MARK, MOVED, NO, OWNER, YES
from services.segments.engine.store.lists import OwnLists

NOBODY = rule.Neither((rule.Everyone(),))
"""Stands for a segment that was not in force."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A view of the partition from an instant on, and the rule that stood there."""

    part: Partition
    view: Partition
    row: int
    node: rule.Node
    expression: Expression
    version: int
    rules_us: int | None
    segment_id: str
    """Empty for a rule that nobody saved."""

    def outlook(self, at: int) -> Outlook:
        """The profile at an instant of the stretch, and what comes."""
        return Outlook(self.view if at == self.view.now else self.on(at).view, self.row, self.node)

    def on(self, at: int) -> Stretch:
        """The same at another instant: nothing of the profile changed in place in between."""
        view = copy.copy(self.view)
        view.attributes = copy.copy(view.attributes)
        view.attributes.current, view.attributes.known = {}, set(view.attributes.known)
        stand_at(view, self.part, at, at, self.expression, self.rules_us)
        return replace(self, view=view)


class Stretches:
    """Where the past of one profile is to be cut for one rule."""

    def __init__(self, part: Partition, row: int, asked: rule.Node | str) -> None:
        self.row, self.asked = row, asked
        slots = _slots_of(part, row)
        self.part, self.slots = copy.copy(part), slots
        self.part.lists = OwnLists(part.lists, slots)
        self._anew: set[int] = set()
        """Cuts from which on a view is made anew."""
        self.segments, self.leaves = self._looked_at()

    def at(self, at: int, before: Stretch | None) -> Stretch:
        """The stretch that begins at a cut, after another one."""
        if before is not None and at not in self._anew:
            return before.on(at)
        rules_us, version = None, 0
        if isinstance(self.asked, str):
            rules_us, one = at, rules_at(self.part, at, at)[self.asked]
            node, expression, version = one.node or NOBODY, one.expression, one.version
        else:
            node = self.asked
        if node is NOBODY or not isinstance(self.asked, str):
            expression = express(node)
        view = as_of(self.part, at, at, expression, rules_us)
        name = self.asked if isinstance(self.asked, str) else ""
        return Stretch(self.part, view, self.row, node, expression, version, rules_us, name)

    def cuts(self, low: int, high: int) -> list[int]:
        """Instants within (low, high] at which something changed that is not in the log."""
        slots = self.slots
        self._anew = self._of_people(slots, low, high) | {
            at for name in self.segments for at in self.part.versions.turns(name, low, high)
        }
        found = set(self._anew) | self._of_lists(slots, low, high)
        keys = {
            self.part.cuts.key_of(one) for one in self.leaves
            if isinstance(one, rule.Rfm) and one.edges is None
        }  # fmt: skip
        found |= set(self.part.cuts.turns(keys, low, high))
        return sorted(found | self._of_items(slots, low, high))

    def _looked_at(self) -> tuple[set[str], set[rule.Node]]:
        """Segments that any version of the rule looked at, itself too, and the past leaves of all
        of them."""
        part, leaves = self.part, set()
        names: set[str] = set()
        waiting: list[Expression] = []

        def meet(name: str) -> None:
            if name not in names:
                names.add(name)
                given = part.versions.former.get(name, [])
                waiting.extend(part.versions.standing(name, at).expression for at, _ in given)
                follows = {part.versions.follows(at).get(name, "") for at, _ in given}
                for followed in follows - {""}:
                    meet(followed)

        if isinstance(self.asked, str):
            meet(self.asked)
        else:
            waiting.append(express(self.asked))
        while waiting:
            expression = waiting.pop()
            leaves |= {_node(step.of) for step in expression if isinstance(step, Push)}
            for name in references_of(expression):
                meet(name)
        return names, {node for node in leaves if node is not None}

    def _of_people(self, slots: Array, low: int, high: int) -> set[int]:
        former, found = self.part.former, set()
        for what in (OWNER, KIND, YES, NO):
            places, _, instants = former.of(what, low, high)
            of = places & 0xFFFFFFFF if what in (YES, NO) else places
            found |= set(instants[np.isin(of, slots)].tolist())
        for what in (ABSORBED, MOVED):
            places, _, instants = former.of(what, low, high)
            found |= set(instants[places == self.row].tolist())
        return found

    def _of_lists(self, slots: Array, low: int, high: int) -> set[int]:
        numbers = [self.part.lists.numbers.get(name, -1) for name in self.segments]
        places, _, instants = self.part.former.of(MARK, low, high)
        mine = np.isin(places >> 32, numbers) & np.isin(places & 0xFFFFFFFF, slots)
        return set(instants[mine].tolist())

    def _of_items(self, slots: Array, low: int, high: int) -> set[int]:
        """When items changed that events of the profile name."""
        part, found = self.part, set()
        joins = {one.item_property for one in self.leaves if isinstance(one, rule.Catalogue)}
        rows = past_of(part, slots.tolist()).rows.tolist() if joins else []
        named = {
            key_of(name)
            for row in rows
            for join in joins
            for name in persons.scalars_of(part, row, part.names.number_of(join))
        }
        for key in named:
            found |= {
                int(part.catalogue_log.columns["taken"][p]) for p in part.catalogue_log.of(key)
            }
        return {at for at in found if low < at <= high}


def _slots_of(part: Partition, row: int) -> Array:
    """Every slot that is or was a profile's."""
    people = part.people
    slots = set(np.flatnonzero(people.slot_row[: people.slots] == row).tolist())
    places, before, _ = part.former.of(OWNER, -1, 1 << 62)
    return np.array(sorted(slots | set(places[before == row].tolist())), np.int64)


def _node(spec: LeafSpec | str) -> rule.Node | None:
    return spec.node if isinstance(spec, PastLeaf) else None

"""What people would be members of if they were one, or one of them several: tried on an engine of
its own, by the road that real merges take. Nothing of the partitions that live changes.

The pasts come as they would over HISTORY; each enters the trial as a merge from elsewhere. So the
survivor's values stand, the lists and words of all count, and every rule is judged as it is live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as facts
from muster.segments.v1 import joins_pb2 as api
from services.segments.domain import conditions as rule
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.asked.asof import leaves_of
from services.segments.engine.engine import Engine
from services.segments.engine.language.expressions import PartLeaf, PastLeaf
from services.segments.engine.live.history import export_history, past_of
from services.segments.engine.partition import Partition
from services.segments.engine.store.lists import ADDED, REMOVED

_PARTITIONS = 1 << 31
"""More than profiles: so the person of a trial is the first of a partition and has its own number,
by which live splits go; whoever comes into it lives in another partition."""
_ELSEWHERE = 0xFFFFFFF1
"""Home of values that are nobody's own any more: they stand for nobody."""


def export_past(part: Partition, profile: int) -> api.ProfilePast:
    """Everything of a profile of this partition; read only."""
    people = part.people
    row = people.row_of(profile)
    slots = people.slots_of(row)
    bodies = export_history(part, 0, profile, profile, past_of(part, slots), complete=True)
    past = api.ProfilePast(
        public_id=int(people.public_id[row]),
        create_time_us=int(people.created_us[row]),
        atom=people.slot_atom[slots].tolist(),
    )
    past.past.extend(identity.HistoryMoved.FromString(body) for body in bodies)
    past.past[-1].lists.extend(_marks(part, slots))
    past.past[-1].words.extend(part.words.export(slots))
    linked = past.identifiers
    for slot in slots:
        if people.slot_kind[slot] >= 0:
            linked.atom.append(int(people.slot_atom[slot]))
            linked.kind += part.names.names[int(people.slot_kind[slot])].encode()
            linked.kind_end.append(len(linked.kind))
            linked.id_print.extend((int(people.print_high[slot]), int(people.print_low[slot])))
    return past


def _marks(part: Partition, slots: Sequence[int]) -> list[identity.ListMarks]:
    found = []
    for list_id, number in sorted(part.lists.numbers.items()):
        marks = identity.ListMarks(list_id=list_id)
        for slot in slots:
            mark = part.lists.marks.get(number << 32 | slot)
            if mark in (ADDED, REMOVED):
                into = marks.added if mark == ADDED else marks.removed
                into.append(int(part.people.slot_atom[slot]))
        if marks.added or marks.removed:
            found.append(marks)
    return found


class Trial:
    """An engine with the present rules and one person. unknown: segment -> why it is not judged."""

    def __init__(self, part: Partition, person: int, split: bool = False) -> None:
        """person: number of who survives. split: parts of it will leave."""
        self.now = part.now
        self.unknown: dict[str, str] = {}
        self._person = person
        self._engine = Engine(person, _PARTITIONS, part.limits)
        self._moves = 0
        self._numbers = person
        living = {name: one for name, one in part.segments.items() if one.node is not None}
        for name, one in living.items():
            leaves = leaves_of(living, one.expression)
            if any(_catalogued(leaf) for leaf in leaves):
                self.unknown[name] = "it looks at the catalogue, or at scores among everybody"
            elif split and any(isinstance(leaf, PartLeaf) for leaf in leaves):
                self.unknown[name] = "live splits go by a number that new people do not have yet"
        self._definitions = {
            name: facts.SegmentDefined.FromString(one.definition)
            for name, one in living.items()
            if name not in self.unknown
        }

    def enter(self, past: api.ProfilePast, newest: Sequence[str] = ()) -> None:
        """The first past makes the person, each further one is absorbed by it."""
        if not self._moves:
            self._begin(past)
        self._moves += 1
        # Any number but the survivor's: it lives elsewhere.
        source = self._person + self._moves
        atoms = sorted({*past.atom, *past.identifiers.atom})
        self.link(past.identifiers, self._person)
        moved = identity.AtomsMoved(
            move_id=self._moves,
            from_profile=source,
            to_profile=self._person,
            atom=atoms,
            merge=True,
            across_partitions=True,
            cause=identity.MOVE_CAUSE_MERGE,
            move_time_us=self.now,
            newest_attributes=newest,
        )
        self._engine.move_atoms(moved)
        own = past.past[0].from_profile
        for place, one in enumerate(past.past):
            body = identity.HistoryMoved()
            body.CopyFrom(one)
            body.move_id, body.from_profile, body.to_profile = self._moves, source, self._person
            body.last = place == len(past.past) - 1
            for columns in body.attributes:
                columns.profile[:] = [source if p == own else _ELSEWHERE for p in columns.profile]
            self._engine.take_history(body.SerializeToString())
        self._engine.advance(self.now)

    def leave(self, prints: set[tuple[int, int]]) -> int:
        """Identifiers of these prints become a person of their own; its number."""
        people = self._engine.part.people
        slots = people.slots_of(people.row_of(self._person))
        atoms = [
            int(people.slot_atom[slot])
            for slot in slots
            if (int(people.print_high[slot]), int(people.print_low[slot])) in prints
        ]
        self._numbers += _PARTITIONS
        target = self._numbers
        self._moves += 1
        self._engine.create_profiles(_created(target, target, self.now, atoms[:1] or [0]))
        moved = identity.AtomsMoved(
            move_id=self._moves,
            from_profile=self._person,
            to_profile=target,
            atom=atoms,
            cause=identity.MOVE_CAUSE_UNMERGE,
            move_time_us=self.now,
        )
        self._engine.move_atoms(moved)
        self._engine.advance(self.now)
        return target

    def member_of(self, number: int | None = None) -> set[str]:
        """Segments that the person of the trial is a member of, or one that left it."""
        who = self._person if number is None else number
        return {name for name in self._definitions if self._engine.is_member(who, name)}

    def _begin(self, past: api.ProfilePast) -> None:
        atoms = list(past.atom) or [0]
        columns = _created(self._person, past.public_id, past.create_time_us, atoms[:1])
        self._engine.create_profiles(columns)
        self._engine.advance(self.now)
        self._define()

    def _define(self) -> None:
        """Every rule after those that it rests on."""
        waiting = dict(self._definitions)
        while waiting:
            left = dict(waiting)
            for name, definition in left.items():
                try:
                    self._engine.define(definition, self.now)
                except ConditionFaults as refusal:
                    reason = f"it rests on what is not judged: {refusal}"
                    self.unknown[name] = reason
                else:
                    self.unknown.pop(name, None)
                    del waiting[name]
            if len(waiting) == len(left):
                break
        for name in waiting:
            del self._definitions[name]
        self._engine.advance(self.now)

    def link(self, linked: identity.IdentifiersLinked, profile: int) -> None:
        """Names identifiers, as identity does before a move brings them."""
        if not linked.atom:
            return
        columns = {
            "atom": np.array(linked.atom, np.uint32),
            "profile": np.full(len(linked.atom), profile, np.uint32),
            "id_print": np.array(linked.id_print, np.uint64),
            "kind": np.frombuffer(linked.kind, np.uint8),
            "kind_end": np.array(linked.kind_end, np.uint32),
            "link_time_us": np.full(len(linked.atom), self.now, np.int64),
        }
        self._engine.link_identifiers(columns)


def _catalogued(leaf: Any) -> bool:
    if not isinstance(leaf, PastLeaf):
        return False
    node = leaf.node
    return isinstance(node, rule.Catalogue) or (isinstance(node, rule.Rfm) and node.edges is None)


def _created(
    number: int, public_id: int, time_us: int, atoms: Sequence[int]
) -> Mapping[str, np.ndarray]:
    return {
        "profile": np.array([number], np.uint32),
        "public_id": np.array([public_id], np.uint64),
        "atom": np.array(atoms[:1], np.uint32),
        "create_time_us": np.array([time_us], np.int64),
    }

"""The segments engine: who is in which segment, at every instant of one partition's log.

Inputs come in log order and take effect by the next `advance`; each has its own instant, so the
result does not depend on how the log is cut into advances. Two cuts of one instant are the
exception nobody can avoid: what was said stays said, and what comes later for the same instant is
said after it. The engine belongs to one thread; questions are asked between advances and answered
at `time_us`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.ingest.v1 import catalogue_pb2
from muster.segments.v1 import cuts_pb2, lists_pb2
from muster.segments.v1 import facts_pb2 as facts
from muster.types.v1 import condition_pb2
from services.chassis.core import Appended
from services.segments.domain.faults import ConditionFaults
from services.segments.domain.sentences import sentence_of
from services.segments.engine import snapshot
from services.segments.engine.asked import explain as explaining
from services.segments.engine.asked.questions import Reader
from services.segments.engine.asked.scoring import owners_of, quantile_leaves
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.limits import EngineFull, EngineLimits
from services.segments.engine.language.expressions import express
from services.segments.engine.live.definitions import Definitions
from services.segments.engine.live.leaves import Leaves
from services.segments.engine.live.list_changes import ListChanges
from services.segments.engine.live.moves import Moves
from services.segments.engine.live.outcome import (
    Explanation,
    Plan,
    SegmentInfo,
    StepOutcome,
    activity_columns,
    transition_columns,
)
from services.segments.engine.live.rules import Segment
from services.segments.engine.live.stock import Stock
from services.segments.engine.live.walker import Walker
from services.segments.engine.partition import Partition
from services.segments.engine.store.events import BrokenInput
from services.segments.engine.store.former import KIND
from services.segments.engine.store.people import NEVER

__all__ = [
    "BrokenInput",
    "ConditionFaults",
    "Engine",
    "EngineFull",
    "EngineLimits",
    "Explanation",
    "Plan",
    "SegmentInfo",
    "StepOutcome",
]

ENGINE_VERSION = 1
"""Raised when the same input would give other bytes."""


class Engine:
    """One tenant's segments over one partition of its profiles."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        limits: EngineLimits = EngineLimits(),  # noqa: B008
    ) -> None:
        self.partition, self.partitions, self.limits = partition, partitions, limits
        self.part = Partition(partition, partitions, limits)
        self.leaves = Leaves(self.part)
        self.walker = Walker(self.part, self.leaves)
        self.definitions = Definitions(self.part, self.walker, self.leaves)
        self.moves = Moves(self.part, self.walker, self.leaves)
        self.list_changes = ListChanges(self.part, self.walker)
        self.stock = Stock(self.part, self.walker)
        self._undated: list[tuple[facts.SegmentDefined, Any]] = []

    @property
    def time_us(self) -> int:
        """Everything up to this instant has been said."""
        return self.part.now

    # Inputs, in log order.

    def create_profiles(self, cols: Mapping[str, Any]) -> None:
        """Columns of ProfilesCreated. A profile exists from the acceptance of the first event or
        attribute of its own that arrives before the next advance, else from its creation."""
        part, numbers = self.part, cols["profile"].astype(np.int64)
        if not numbers.size:
            return
        if bool((numbers % self.partitions != self.partition).any()):
            raise BrokenInput("a profile that lives in another partition")
        rows = numbers // self.partitions
        part.reserve_profiles(int(rows.max()) + 1)
        new = part.people.create(rows, cols["public_id"])
        self.leaves.born(rows[new])
        self.walker.inbox.expect(rows[new], cols["create_time_us"][new])
        if cols["atom"].size:
            part.people.make_slots(cols["atom"], cols["profile"])

    def link_identifiers(self, cols: Mapping[str, Any]) -> None:
        """Columns of IdentifiersLinked; `kind` is the identifiers' kinds end to end, one each."""
        if not cols["profile"].size:
            return
        part, people, inbox = self.part, self.part.people, self.walker.inbox
        rows = people.rows_of(cols["profile"])
        part.reserve_profiles(int(rows.max()) + 1)
        slots = people.make_slots(cols["atom"], cols["profile"])
        times = cols["link_time_us"].astype(np.int64)
        times = times if times.size else np.full(rows.size, part.now)
        kinds = part.names.intern(cols["kind"], cols["kind_end"])
        before = people.link(slots, kinds, cols["id_print"])
        # What the identifier of a slot was until an instant; before its profile nobody asks.
        begins = inbox.expected(people, rows)
        noted = np.flatnonzero((begins == NEVER) | (times > begins))
        at = np.maximum(times[noted], part.now)
        part.former.note_all(KIND, slots[noted], before[noted], at)
        inbox.links.add(times, slots)

    def add_events(self, cols: dict[str, Any]) -> None:
        """Columns of EventColumns with `profile` and `atom`. Raises BrokenInput."""
        if cols["type"].size:
            part = self.part
            new = part.events.append(cols, part.people, part.names, part.texts)
            view = part.events.view
            arrived = slice(new.start, new.stop)
            owners = part.people.slot_row[view.slot[arrived]]
            self.walker.inbox.heard_of(part.people, owners, view.accept[arrived])

    def set_attributes(self, cols: dict[str, Any]) -> None:
        """Columns of AttributesSet."""
        part, people, inbox = self.part, self.part.people, self.walker.inbox
        taken = part.attributes.take(cols, people, part.names, part.texts, people.make_slots)
        records, columns = np.arange(taken.start, taken.stop), part.attributes.columns
        inbox.records = np.concatenate((inbox.records, records))
        owners = people.slot_row[columns["slot"][records]]
        inbox.heard_of(people, owners, columns["accept"][records])

    def move_atoms(self, move: identity.AtomsMoved) -> list[bytes]:
        """A merge or a split. HistoryMoved messages for the partition of `to_profile`, when the
        atoms leave this one."""
        return self.moves.move(move)

    def take_history(self, body: bytes) -> list[tuple[int, bytes]]:
        """A HistoryMoved from another partition; it takes effect with the next advance.

        Answers (partition, HistoryMoved) of what has to go on because its atoms have moved on
        meanwhile; almost always nothing.
        """
        return self.moves.take(body)

    def define(self, definition: facts.SegmentDefined, time_us: int | None = None) -> None:
        """A new segment, a new version, or one taken out of service.

        time_us: the instant it takes effect (the control record's take_time); without it that of
        the next advance, which makes the result depend on the cut. Raises ConditionFaults, and
        then nothing has changed.
        """
        node = self.definitions.check(definition)
        if time_us is None:
            self._undated.append((definition, node))
        else:
            self.definitions.define(definition, node, time_us)

    def change_list(self, change: lists_pb2.ListChanged, time_us: int) -> bool:
        """People put into a list or taken out, at an instant, at the earliest now.

        False, and nothing has changed, when there is no such list.
        """
        return self.list_changes.take(change, time_us)

    def set_catalogue(self, given: catalogue_pb2.CatalogueItemsSet, time_us: int) -> int:
        """Items as they stand from an instant on, at the earliest now; whoever is concerned is
        judged again at that instant. How many judgements that takes."""
        return self.stock.take(given, time_us)

    def set_cuts(self, cuts: cuts_pb2.RfmCutsSet, time_us: int) -> bool:
        """Cuts of scores by quantile, in force from an instant on, at the earliest now; everybody
        with an order is scored again. False when newer ones are in force."""
        part, at = self.part, max(time_us, self.part.now)
        self.walker.walk(at - 1)
        if not part.cuts.take(cuts, at):
            return False
        for number, leaf in quantile_leaves(part).get(cuts.key, ()):
            part.pasts.ask(at, number, owners_of(part, leaf), 0)
        return True

    def advance(self, time_us: int) -> StepOutcome:
        """Everything up to and including an instant, never before `time_us` of the engine."""
        part = self.part
        if time_us < part.now:
            raise ValueError(f"time goes forward: {time_us} after {part.now}")
        self.moves.arrive(time_us)
        for definition, node in self._undated:
            self.definitions.define(definition, node, time_us)
        self._undated = []
        self.walker.inbox.begin_due(part.people, part.now, time_us, late=True)
        self.walker.walk(time_us)
        said = self.walker.said
        outcome = StepOutcome(
            transition_columns(part, said), activity_columns(part, said), self._sizes()
        )
        said.clear()
        part.moves = 0  # Nothing that could name one as its cause is left.
        return outcome

    def _sizes(self) -> list[tuple[int, str, int, int]]:
        part = self.part
        places = np.flatnonzero(part.changed)
        part.changed[:] = 0
        places = places[np.argsort(part.tables()[0].number[places])]
        members = part.sizes[places].tolist()
        found = [part.by_place[place] for place in places.tolist()]
        return [
            (one.number, one.segment_id, one.version, size)
            for one, size in zip(found, members, strict=True)
        ]

    # Questions, at time_us.

    def compile(self, condition: condition_pb2.Condition, zone: str = "") -> Plan:
        """A rule for `count` and `select`. Raises ConditionFaults, one entry per fault."""
        node = self.definitions.read(condition, zone)
        return Plan(node, express(node))

    def sentence(self, condition: condition_pb2.Condition, zone: str = "") -> str:
        """The rule in plain English. Raises ConditionFaults."""
        return sentence_of(self.definitions.read(condition, zone))

    def count(self, plan: Plan) -> int:
        """Members of a rule, from scratch."""
        return int(np.count_nonzero(Reader(self.part).answer(plan.expression)))

    def select(self, plan: Plan) -> Array:
        """Sorted uint32 profile numbers of a rule's members, from scratch."""
        rows = np.flatnonzero(Reader(self.part).answer(plan.expression))
        return self._numbers(rows)

    def _numbers(self, rows: Array) -> Array:
        return (rows * self.partitions + self.partition).astype(np.uint32)

    @property
    def profiles(self) -> int:
        """Profiles that stand."""
        alive = self.part.bits[: self.part.people.rows, 0] & np.uint64(1)
        return int(np.count_nonzero(alive))

    def segments(self) -> list[SegmentInfo]:
        """Every segment by id, those taken out of service too."""
        return [
            SegmentInfo(
                one.number, one.segment_id, one.version, one.definition,
                int(self.part.sizes[one.place]), one.node is None,
                "" if one.node is None else sentence_of(one.node), one.zone,
                tuple(one.references),
            )
            for _, one in sorted(self.part.segments.items())
        ]  # fmt: skip

    def _segment(self, segment_id: str) -> Segment:
        """Raises KeyError when there is no such segment."""
        return self.part.segments[segment_id]

    def members(self, segment_id: str) -> Array:
        """Sorted uint32 profile numbers. Raises KeyError when there is no such segment."""
        return self._numbers(self.part.members_of(self._segment(segment_id).place))

    def is_member(self, profile: int, segment_id: str) -> bool:
        """Raises KeyError when there is no such segment, ValueError for another partition's."""
        place, row = self._segment(segment_id).place, self.part.people.row_of(profile)
        if row >= self.part.people.rows:
            return False
        return bool(int(self.part.member[row, place >> 6]) >> (place & 63) & 1)

    def explain(self, segment_id: str, profile: int) -> Explanation:
        """Why in, why out, and when that changes if nothing more happens. Raises KeyError."""
        segment = self._segment(segment_id)
        member = self.is_member(profile, segment_id)
        return explaining.explain(self.part, segment, profile, member)

    def resolve(self, print_high: int, print_low: int) -> int | None:
        """The profile an identifier stands for now; None when it is not of this partition."""
        people = self.part.people
        slot = people.slot_of_print(print_high, print_low)
        if slot < 0:
            return None
        row = int(people.slot_row[slot])
        return int(people.slot_gone[slot]) if row < 0 else people.survivor(people.number_of(row))

    def public_id(self, profile: int) -> int:
        """Raises KeyError for a profile that was never created here."""
        row = self.part.people.row_of(profile)
        if row >= self.part.people.rows:
            raise KeyError(profile)
        return int(self.part.people.public_id[row])

    def number_of(self, public_id: int) -> int | None:
        """The profile that a public id stands for now: an absorbed one resolves to the survivor,
        which may live in another partition."""
        people = self.part.people
        row = people.by_public.get(public_id)
        return None if row < 0 else people.survivor(people.number_of(row))

    # The whole state.

    def dump(self) -> dict[str, Array | bytes | Appended]:
        """Named buffers that `load` takes over; none changes after it was handed out."""
        return snapshot.dump(self)

    def load(self, state: Mapping[str, memoryview]) -> None:
        """Takes over a dump into a fresh engine of the same partition."""
        snapshot.load(self, state)

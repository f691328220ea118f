"""Merges, splits and pasts that come from other partitions.

A move takes effect at its instant: everything before it is walked first, then slots change hands,
and every leaf of the profiles touched is judged anew from their rows. What then happens at the same
instant is applied in the same group, so only net changes are transitions. Hot kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numba import njit

from muster.identity.v1 import facts_pb2 as identity
from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import at_i32, at_i64, at_u8
from services.segments.engine.language.expressions import (
    AttributeLeaf,
    AverageLeaf,
    DayLeaf,
    FigureLeaf,
    KindsLeaf,
    LeafSpec,
    ListLeaf,
    PartLeaf,
    PastLeaf,
    WordLeaf,
)
from services.segments.engine.language.patterns import element_satisfies
from services.segments.engine.live.cursor_table import CursorLeaf, key_of
from services.segments.engine.live.cursors import (
    AVERAGE,
    COUNT,
    ENTERING,
    LEAVING,
    OPEN,
    SUM,
    SUM_MAX,
    CursorView,
    account,
    due_again,
    passes,
)
from services.segments.engine.live.history import History, export_history, past_of, read_history
from services.segments.engine.live.leaves import Leaves
from services.segments.engine.live.memberships import ALIVE, MOVE_CAUSE
from services.segments.engine.live.streams import UNBOUNDED, StreamView, amount_of, insert
from services.segments.engine.live.walker import Walker, holds_for
from services.segments.engine.partition import Partition
from services.segments.engine.pasts.scratch import judge_one
from services.segments.engine.store import persons
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.former import ABSORBED, HOME, OWNER
from services.segments.engine.store.parts import in_part
from services.segments.engine.store.people import NONE, UNBORN
from services.segments.engine.store.predicates import Predicates

EVENT, MERGE, UNMERGE = 1, 5, 6
"""Reasons, numbered as in muster.types.v1.Reason."""


@njit(cache=True, nogil=True)
def _refigure(
    c: CursorView, v: StreamView, e: EventRows, p: Predicates, cursor: int, owner: int,
    rows: np.ndarray, at: int,
) -> int:  # fmt: skip
    """Sets one figure of a profile from the rows its stream takes; -1 when it must be exact."""
    kind, m = c.kind[cursor], c.measure[cursor]
    total = elements = np.int64(0)
    good = True
    oldest, newest = c.oldest[cursor], c.newest[cursor]
    for i in range(rows.size):
        row = rows[i]
        occur = e.occur[row]
        amount = np.int64(1)
        if kind in (SUM, AVERAGE):
            amount, fits = amount_of(e, p, row, v.measure_key[m])
            good = good and fits
        if (
            passes(c, cursor, ENTERING, newest, occur) <= at
            and (oldest == OPEN or passes(c, cursor, LEAVING, oldest, occur) > at)
            and occur >= c.since[cursor]
            and occur < c.until[cursor]
            and e.accept[row] <= at
        ):
            total += amount
            if kind == AVERAGE:
                elements += amount_of(e, p, row, v.measure_key[c.elements[cursor]])[0]
            if abs(total) > SUM_MAX:
                good = False
                total = np.int64(0)
    if kind == COUNT:
        at_i32(c.figure[cursor], UNBOUNDED)[owner] = total
    elif kind in (SUM, AVERAGE):
        at_i64(c.figure[cursor], UNBOUNDED)[owner] = total
        if kind == AVERAGE:
            at_i32(c.element_figure[cursor], UNBOUNDED)[owner] = elements
            if abs(total) > c.sum_max[cursor] or elements > c.elements_max[cursor]:
                good = False
        if not good:
            at_u8(v.exact[m], UNBOUNDED)[owner] = 1
        if at_u8(v.exact[m], UNBOUNDED)[owner]:
            return -1
    return 0


@dataclass(slots=True)
class Arrival:
    """A move whose past comes from another partition. slots: atom -> slot."""

    source: int
    target: int
    slots: dict[int, int]
    reason: int
    high: int
    low: int
    moved_us: int = 0
    newest: tuple[str, ...] = ()
    """Attributes whose newest value stands at this merge, whoever's it was."""


@dataclass(frozen=True, slots=True)
class Debt:
    """A past that will have to go on: its slots left before it came."""

    move_id: int
    source: int
    target: int
    slots: list[int]


@dataclass(slots=True)
class Moves:
    """Moves seen, pasts expected, and pasts that came before their move."""

    part: Partition
    walker: Walker
    leaves: Leaves
    expected: dict[int, Arrival] = field(default_factory=dict)
    early: dict[int, list[bytes]] = field(default_factory=dict)
    parts: dict[int, list[bytes]] = field(default_factory=dict)
    """Messages of a past whose last one has not come."""
    owed: dict[int, list[Debt]] = field(default_factory=dict)
    """By the move whose past is awaited."""
    owing: dict[int, int] = field(default_factory=dict)
    """Move -> pasts that still have to go after it."""
    arrived: list[tuple[list[bytes], Arrival]] = field(default_factory=list)
    """Pasts that take effect with the next advance."""

    def move(self, move: identity.AtomsMoved) -> list[bytes]:
        """Applies a move at its instant. The pasts to send when they leave this partition."""
        part, people = self.part, self.part.people
        at = max(move.move_time_us, part.now)
        if any(set(move.atom) & arrival.slots.keys() for _, arrival in self.arrived):
            self.arrive(part.now)
        self._await_links(move)
        self.walker.walk(at - 1)
        # A token that came with somebody else is what an event says about that person.
        handed = move.cause == identity.MOVE_CAUSE_HAND_OVER
        reason = MERGE if move.merge else EVENT if handed else UNMERGE
        number = part.cause_of_move(move.cause_print_high, move.cause_print_low, reason)
        source, target = move.from_profile, move.to_profile
        touched = []
        sent: list[bytes] = []
        if people.is_here(target):
            part.reserve_profiles(people.row_of(target) + 1)
            touched.append(people.row_of(target))
        if people.is_here(source):
            part.reserve_profiles(people.row_of(source) + 1)
            slots = [slot for atom in move.atom if (slot := people.known_slot(atom, source)) >= 0]
            if not people.is_here(target):
                sent = self._send(move.move_id, source, target, slots, at)
            records = self._records_of(slots)
            if people.is_here(target):
                self._rehome(records, move, at)
            for slot in slots:
                part.former.note(OWNER, slot, people.row_of(source), at)
                people.move_slot(slot, source, target)
            if move.merge:
                part.former.note(ABSORBED, people.row_of(source), 0, at)
                people.absorbed[people.row_of(source)] = target + 1
                people.moves += 1
            touched.append(people.row_of(source))
        elif people.is_here(target):
            made = {atom: people.slot(atom, target) for atom in move.atom}
            for slot in made.values():
                part.former.note(OWNER, slot, NONE, at)
            self.expected[move.move_id] = Arrival(
                source, target, made, reason, move.cause_print_high, move.cause_print_low,
                move.move_time_us, tuple(move.newest_attributes),
            )  # fmt: skip
        if people.is_here(target):
            row = people.row_of(target)
            if people.created_us[row] == UNBORN:
                self.walker.inbox.begin(people, np.array([row]), np.array([at]))
            if people.absorbed[row]:
                part.former.note(ABSORBED, row, int(people.absorbed[row]), at)
                people.moves += 1
            people.absorbed[row] = 0
        part.lists.came_together(source, target, move.merge)
        for row in touched:
            self._judge(row, at, MOVE_CAUSE + number)
        early = self.early.pop(move.move_id, [])
        for body in early:
            self.take(body)
        if early:
            self.arrive(at)
        return sent

    def _await_links(self, move: identity.AtomsMoved) -> None:
        """Identifiers that come with a move were named just before it, with the time of their first
        link: here they count from the move on, which judges them."""
        people = self.part.people
        if people.is_here(move.to_profile) and not people.is_here(move.from_profile):
            slots = {people.known_slot(atom, move.to_profile) for atom in move.atom}
            links = self.walker.inbox.links
            links.keep(~np.isin(links.all()[1], list(slots)))

    def _records_of(self, slots: list[int]) -> list[int]:
        """Attribute records of some slots."""
        found = []
        for slot in slots:
            record = int(self.part.people.slot_record[slot])
            while record >= 0:
                found.append(record)
                record = int(self.part.attributes.columns["previous"][record])
        return found

    def _rehome(self, records: list[int], move: identity.AtomsMoved, at: int) -> None:
        """Makes records the target's own: after a split all that moved, at a merge those of the
        source for attributes of which the target has no value at its instant, or of which the
        newest value stands. Slots move afterwards."""
        part, columns = self.part, self.part.attributes.columns
        row = part.people.row_of(move.to_profile)
        bare = dict.fromkeys(map(part.names.number_of, move.newest_attributes), True)
        for record in records:
            key = int(columns["key"][record])
            if move.merge and int(columns["home"][record]) != move.from_profile:
                continue
            if key not in bare:
                bare[key] = persons.standing_record(part, row, key, at) < 0
            if not move.merge or bare[key]:
                part.former.note(HOME, record, int(columns["home"][record]), at)
                columns["home"][record] = move.to_profile

    def _send(
        self, move_id: int, source: int, target: int, slots: list[int], at: int
    ) -> list[bytes]:
        """The past of slots that leave. What has not come to them yet is owed to the target."""
        moved = set(slots)
        awaited = [
            inbound
            for inbound, arrival in self.expected.items()
            if moved & set(arrival.slots.values())
        ]
        for inbound in awaited:
            self.owed.setdefault(inbound, []).append(Debt(move_id, source, target, slots))
        self.owing[move_id] = len(awaited)
        past = past_of(self.part, slots)
        bodies = export_history(self.part, move_id, source, target, past, not awaited)
        return self.part.lists.with_marks(bodies, slots, at)

    def take(self, body: bytes) -> list[tuple[int, bytes]]:
        """A past from another partition takes effect with the next advance, or with its move if
        that has not come.

        Answers (partition, body) of what has to go on because its atoms have moved on since.
        """
        message = identity.HistoryMoved.FromString(body)
        if message.move_id not in self.expected:
            self.early.setdefault(message.move_id, []).append(body)
            return []
        parts = self.parts.setdefault(message.move_id, [])
        parts.append(body)
        if not message.last:
            return []
        del self.parts[message.move_id]
        self.arrived.append((parts, self.expected.pop(message.move_id)))
        owed = self.owed.pop(message.move_id, [])
        return [one for debt in owed for one in self._pay(debt, self.arrive(self.part.now))]

    def _pay(self, debt: Debt, came: History) -> list[tuple[int, bytes]]:
        """What came goes on with the atoms that have left meanwhile."""
        part, moved = self.part, set(debt.slots)
        rows = came.rows[np.isin(part.events.view.slot[came.rows], debt.slots)]
        owners = part.attributes.columns["slot"]
        records = [record for record in came.records if int(owners[record]) in moved]
        self.owing[debt.move_id] -= 1
        complete = not self.owing[debt.move_id]
        if complete:
            del self.owing[debt.move_id]
        bodies = export_history(
            part, debt.move_id, debt.source, debt.target, History(rows, records), complete
        )
        bodies = part.lists.with_marks(bodies, debt.slots, part.now)
        return [(debt.target % part.people.partitions, body) for body in bodies]

    def arrive(self, at: int) -> History:
        """Pasts that came take effect at an instant nobody has walked past; what came."""
        came = History(np.zeros(0, np.int64), [])
        if not self.arrived:
            return came
        part, people = self.part, self.part.people
        self.walker.walk(at - 1)
        arrived, self.arrived = self.arrived, []
        people.moves += 1
        for parts, arrival in arrived:
            history = read_history(part, parts, arrival.slots)
            came = History(
                np.concatenate((came.rows, history.rows)), came.records + history.records
            )
            self._integrate(history, arrival, max(at, part.now))
            number = part.cause_of_move(arrival.high, arrival.low, arrival.reason)
            rows = {int(people.slot_row[slot]) for slot in arrival.slots.values()}
            for row in sorted(row for row in rows if row >= 0):
                self._judge(row, max(at, part.now), MOVE_CAUSE + number)
        return came

    def _integrate(self, history: History, arrival: Arrival, at: int) -> None:
        """Rows that took effect elsewhere join their streams; those ahead of us wait."""
        part, walker = self.part, self.walker
        self._adopt(history.records, arrival, at)
        view = part.events.view
        rows = history.rows
        walker.inbox.first = part.events.count
        ahead = (view.occur[rows] > part.now) | (view.accept[rows] > part.now)
        walker.inbox.rows = np.concatenate((walker.inbox.rows, rows[ahead]))
        rows = rows[~ahead]
        columns, records = part.attributes.columns, np.array(history.records, np.int64)
        late = (columns["occur"][records] > part.now) | (columns["accept"][records] > part.now)
        walker.inbox.records = np.concatenate((walker.inbox.records, records[late]))
        self._hear(history, arrival.moved_us)
        for number, stream in part.streams.streams.items():
            taken = persons.matching(part, rows, stream.selector)
            if not taken.size:
                continue
            taken = taken[np.lexsort((taken, view.occur[taken]))]
            counts = np.zeros(part.streams.length.shape[0], np.int64)
            counts[number] = taken.size
            part.streams.reserve(counts)
            went = insert(
                number, taken, part.streams.view(), part.events.view, part.tests.view(),
                part.people.slot_row, part.limits.shift_rows_max,
            )  # fmt: skip
            self._account(number, taken, int(went))

    def _hear(self, history: History, moved_us: int) -> None:
        """Takes the words of what took effect on the way: neither partition walked past it."""
        part, columns = self.part, self.part.attributes.columns
        view, records = part.events.view, np.array(history.records, np.int64)
        row_effects = np.maximum(view.occur[history.rows], view.accept[history.rows])
        record_effects = np.maximum(columns["occur"][records], columns["accept"][records])
        rows_due, records_due = (
            (moved_us <= effects) & (effects <= part.now)
            for effects in (row_effects, record_effects)
        )
        part.words.heard(
            history.rows[rows_due], row_effects[rows_due],
            records[records_due], record_effects[records_due],
        )  # fmt: skip

    def _adopt(self, records: list[int], arrival: Arrival, at: int) -> None:
        """Homes of records that came, as if source and target had lived together."""
        part, columns = self.part, self.part.attributes.columns
        by_row: dict[int, list[int]] = {}
        for record in records:
            row = int(part.people.slot_row[columns["slot"][record]])
            if row >= 0:
                by_row.setdefault(row, []).append(record)
        for row, found in by_row.items():
            target = part.people.number_of(row)
            if arrival.reason != MERGE:
                self._own(found, target, at)
                continue
            newest = set(map(part.names.number_of, arrival.newest))
            for key in sorted({int(columns["key"][record]) for record in found}):
                of_key = [record for record in found if columns["key"][record] == key]
                others = [r for r in of_key if columns["home"][r] == arrival.source]
                bare = persons.standing_record_but(part, row, key, at, of_key) < 0
                if bare or key in newest:
                    self._own(others, target, at)

    def _own(self, records: list[int], target: int, at: int) -> None:
        """Makes records the own ones of a profile."""
        homes = self.part.attributes.columns["home"]
        for record in records:
            self.part.former.note(HOME, record, int(homes[record]), at)
        homes[records] = target

    def _account(self, stream: int, rows: np.ndarray, late: int) -> None:
        part = self.part
        view = part.cursors.view()
        account(view, part.streams.view(), part.events.view, stream, rows, late, part.now)
        due_again(view, part.streams.view(), stream)

    def _judge(self, row: int, at: int, cause: int) -> None:
        """Flips of every leaf of a profile, from its rows as of just before `at`."""
        part, people = self.part, self.part.people
        before, move = part.now, cause - MOVE_CAUSE
        part.former.note_move(
            row, at, int(part.move_reason[move]), int(part.move_high[move]),
            int(part.move_low[move]),
        )  # fmt: skip
        stands = people.created_us[row] <= at and not people.absorbed[row]
        begins = people.created_us[row] > before
        if not begins or people.absorbed[row]:
            self._carry(at, row, ALIVE, stands, cause)
        self._refigure_all(row, before)
        part.attributes.stand_again(people, row, before)
        for spec, leaf in self.leaves.numbers.items():
            if isinstance(spec, FigureLeaf | AverageLeaf):
                holds = self._figure_holds(spec, row, before)
            else:
                holds = self._holds(spec, row, before)
            self._carry(at, row, leaf, holds, cause)

    def _carry(self, at: int, row: int, leaf: int, state: bool, cause: int) -> None:
        self.walker.carry(at, np.array([row]), leaf, np.array([state], np.uint8), cause)

    def _refigure_all(self, row: int, before: int) -> None:
        part = self.part
        rows = persons.rows_of(part, row)
        past: dict[rule.Selector, np.ndarray] = {}
        for cursor in part.cursors.cursors.values():
            selector = cursor.key[0]
            if selector not in past:
                past[selector] = persons.matching(part, rows, selector)
            _refigure(
                part.cursors.view(), part.streams.view(), part.events.view, part.tests.view(),
                cursor.number, row, past[selector], before,
            )  # fmt: skip

    def _figure_holds(self, spec: CursorLeaf, row: int, before: int) -> bool:
        part = self.part
        if isinstance(spec, FigureLeaf):
            cursor = part.cursors.cursors[part.cursors.by_key[key_of(spec)]]
            if cursor.kind == COUNT or not part.streams.exact[cursor.measure][row]:
                return spec.holds(Fraction(int(cursor.figure[row])))
        rows = persons.matching(part, persons.rows_of(part, row), spec.events)
        inside = persons.in_window(part, rows, spec.window, before)
        return holds_for(part, spec, inside.tolist())

    def _holds(self, spec: LeafSpec, row: int, before: int) -> bool:
        part, people = self.part, self.part.people
        match spec:
            case AttributeLeaf(attribute, test):
                key = part.names.number_of(attribute)
                record = persons.standing_record(part, row, key, before)
                values = part.attributes.scalars(record, part.texts)
                return any(element_satisfies(test, value) for value in values)
            case DayLeaf(attribute, _):
                one = part.days.calendars[spec]
                record = persons.standing_record(part, row, one.key, before)
                return part.days.set_record(one, row, record)
            case KindsLeaf(kinds):
                wanted = {part.names.number_of(kind) for kind in kinds}
                return any(int(people.slot_kind[s]) in wanted for s in people.slots_of(row))
            case ListLeaf():
                return part.lists.bears(spec, row)
            case PartLeaf():
                return bool(in_part(spec, np.array([people.number_of(row)]))[0])
            case WordLeaf(topic):
                return part.words.bears(topic, row)
            case PastLeaf(node, negated):
                holds, later = judge_one(part, node, row, before, negated)
                part.pasts.kept[part.leaf_numbers[spec]].wheel.set(row, later)
                return holds != negated
        raise TypeError(f"{spec!r} is not judged here")

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps, as plain values."""
        return {
            "expected": {
                str(move): [
                    one.source,
                    one.target,
                    list(one.slots.items()),
                    one.reason,
                    one.high,
                    one.low,
                    one.moved_us,
                    list(one.newest),
                ]
                for move, one in self.expected.items()
            },
            "owed": {
                str(move): [[d.move_id, d.source, d.target, d.slots] for d in debts]
                for move, debts in self.owed.items()
            },
            "owing": {str(move): count for move, count in self.owing.items()},
            "early": {str(move): [b.hex() for b in found] for move, found in self.early.items()},
            "parts": {str(move): [b.hex() for b in found] for move, found in self.parts.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.expected = {
            int(move): Arrival(one[0], one[1], dict(map(tuple, one[2])), *one[3:])
            for move, one in state["expected"].items()
        }
        self.owed = {int(m): [Debt(*one) for one in debts] for m, debts in state["owed"].items()}
        self.owing = {int(move): count for move, count in state["owing"].items()}
        for name, into in (("early", self.early), ("parts", self.parts)):
            into.update({int(m): [bytes.fromhex(b) for b in f] for m, f in state[name].items()})

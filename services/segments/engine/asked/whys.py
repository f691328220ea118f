"""Why a membership turned at an instant: what happened to the leaves that turned with it.

It is told from the log, and by the rule that the engine has for what it says as things happen: a
change of rule outranks a merge, a merge or what was done to a list an event, an event an attribute,
and anything time alone; of several events the last in the log stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain.sentences import sentence_of
from services.segments.engine.asked.outlook import Outlook
from services.segments.engine.asked.stretches import Stretch
from services.segments.engine.live.outcome import LATE_AFTER_US
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import Judged, attributes_of, judge, selectors_of
from services.segments.engine.pasts.past import Past, in_order
from services.segments.engine.store import persons
from services.segments.engine.store.events import IMPORT, PUNCTUAL
from services.segments.engine.store.former import HIGH, KIND, LOW, MARK, MOVED
from services.segments.engine.store.words import STOPPING, SUBSCRIBED, SUBSCRIPTION, UNSUBSCRIBED

EVENT, TIME, ATTRIBUTE, RULE_CHANGE = 1, 2, 3, 4
IMPORTED, LIST_CHANGE, BACKFILL, LATE = 7, 8, 9, 10
"""Numbered as in muster.types.v1.Reason."""
_BY_TIME, _BY_RECORD, _BY_BIRTH, _BY_EVENT, _BY_HAND, _BY_MOVE, _BY_BACKFILL, _BY_RULE = range(8)


@dataclass(frozen=True, slots=True)
class Why:
    """reason: muster.types.v1.Reason. event_id: empty when no event did it, or when the event lies
    in another partition. leaves: (path, sentence) of the rule's leaves that turned."""

    reason: int
    event_id: str = ""
    leaves: tuple[tuple[str, str], ...] = ()


class _Cause(NamedTuple):
    """What outranks what: by rank, then by order."""

    rank: int
    order: int
    reason: int
    event_id: str = ""


def why(before: Stretch, after: Stretch, outlook: Outlook) -> Why:
    """Why a membership turned at the instant an outlook has reached, between two stretches."""
    at = outlook.at
    former = before.outlook(at - 1)
    turned = Turned(former, outlook)
    turned.compare(before.node, after.node)
    causes = [_Cause(_BY_TIME, 0, TIME), *turned.causes]
    causes += _versions(after, turned, at)
    chosen = max(causes)
    leaves = tuple((path, sentence_of(leaf)) for path, leaf in turned.leaves)
    return Why(chosen.reason, chosen.event_id, leaves)


class Turned:
    """Leaves that answer otherwise than just before, and what happened to them."""

    def __init__(self, before: Outlook, after: Outlook) -> None:
        self.before, self.after = before, after
        self.leaves: list[tuple[str, rule.Leaf]] = []
        self.segments: set[str] = set()
        """Segments and lists looked at that turned."""
        self.moves = _moved(after.part, after)[-1:]
        """The last merge or split of the profile at the instant."""
        self.causes: list[_Cause] = self.moves if before.stands() and not after.stands() else []
        if after.stands() and not before.stands():
            self.causes = self._birth()

    def compare(self, before: rule.Node, after: rule.Node, top: bool = True) -> None:
        """Takes the leaves of a rule that turned, and of the rules it refers to."""
        former = {leaf: self._answer(self.before, leaf) for _, leaf in rule.leaves(before)}
        for path, leaf in rule.leaves(after):
            if former.get(leaf) in (None, self._answer(self.after, leaf)):
                continue
            if top:
                self.leaves.append((path, leaf))
            if isinstance(leaf, rule.MemberOf | rule.InList):
                self._below(leaf.segment_id if isinstance(leaf, rule.MemberOf) else leaf.list_id)
            else:
                self.causes = self.causes + self._of(leaf)

    @staticmethod
    def _answer(outlook: Outlook, leaf: rule.Leaf) -> bool:
        return outlook.stands() and outlook.leaf(leaf)

    def _below(self, name: str) -> None:
        """A segment or list that turned: what it rests on, and what was done to it by hand."""
        if name in self.segments:
            return
        self.segments.add(name)
        before, after = (one.part.segments[name].node for one in (self.before, self.after))
        follows = self.after.part.lists.follows.get(name)
        if follows is not None:
            self.causes = self.causes + self._by_hand(name, follows)
            if follows:
                self._below(follows)
        elif before is not None and after is not None:
            self.compare(before, after, top=False)

    def _by_hand(self, name: str, follows: str) -> list[_Cause]:
        """A change by hand at the instant. What a transition of the followed segment ends is none:
        after it no mark is left."""
        part, at = self.after.part, self.after.at
        number = part.lists.numbers.get(name, -1)
        slots = part.people.slots_of(self.after.row)
        places, before, _ = part.former.of(MARK, at - 1, at)
        mine = np.isin(places, [number << 32 | slot for slot in slots])
        if self.moves:
            return self.moves
        if not mine.any() or (follows and not bool((before[mine] == 0).any())):
            return []
        return [_Cause(_BY_HAND, 0, LIST_CHANGE)]

    def _birth(self) -> list[_Cause]:
        if self.moves:
            return self.moves
        rows = self._rows_now(persons.rows_of(self.after.part, self.after.row))
        return [self._event(min(rows))] if rows else [_Cause(_BY_BIRTH, 0, EVENT)]

    def _rows_now(self, rows: np.ndarray) -> list[int]:
        """Those of some rows that take effect at the instant."""
        view = self.after.part.events.view
        effect = np.maximum(view.occur[rows], view.accept[rows])
        return [int(row) for row in rows[effect == self.after.at]]

    def _event(self, row: int) -> _Cause:
        part, view = self.after.part, self.after.part.events.view
        flags, late = int(view.flags[row]), view.accept[row] - view.occur[row] > LATE_AFTER_US
        reason = EVENT
        if flags & int(IMPORT):
            reason = IMPORTED
        elif late and not flags & int(PUNCTUAL):
            reason = LATE
        return _Cause(_BY_EVENT, row, reason, part.events.id_of(row))

    def _of(self, leaf: rule.Leaf) -> list[_Cause]:
        """What happened to a leaf at the instant."""
        if isinstance(leaf, rule.InPart):
            return []
        if isinstance(leaf, rule.Everyone | rule.Reachable):
            said = self._said() if isinstance(leaf, rule.Reachable) else []
            return self.moves or [*said, *self._linked()]
        assert not isinstance(leaf, rule.MemberOf | rule.InList)
        rows = [
            row
            for selector in selectors_of(leaf)
            for row in self._rows_now(self.after.past.taken(selector, self.after.at).rows)
        ]
        done = [*self._set(attributes_of(leaf)), *map(self._event, sorted(set(rows)))]
        made = self._difference(leaf, done)
        if made is not None:
            return [made]
        if self.moves:
            return self.moves
        changed = isinstance(leaf, rule.Catalogue) and self._item_changed()
        return [_Cause(_BY_HAND, 0, ATTRIBUTE)] if changed else []

    def _difference(self, leaf: Judged, done: list[_Cause]) -> _Cause | None:
        """Of what was done to a leaf at the instant, in order, the last that made a difference."""
        past, made = Past(self.after.part, self.after.row), None
        former: bool | None = None
        for count in range(len(done) + 1):
            rest = done[count:]
            past.without_rows = {one.order for one in rest if one.rank == _BY_EVENT}
            past.without_records = {one.order for one in rest if one.rank == _BY_RECORD}
            holds, _ = judge(leaf, past, self.after.at)
            if former is not None and holds != former:
                made = done[count - 1]
            former = holds
        return made

    def _item_changed(self) -> bool:
        log, at = self.after.part.catalogue_log, self.after.at
        instants = log.columns["taken"][: log.count]
        low, high = np.searchsorted(instants, (at, at + 1))
        return bool(high > low)

    def _set(self, names: tuple[str, ...]) -> list[_Cause]:
        """Attributes that were set at the instant."""
        part, columns = self.after.part, self.after.part.attributes.columns
        keys = [part.names.number_of(name) for name in names]
        found = []
        for slot in part.people.slots_of(self.after.row) if keys else ():
            record = int(part.people.slot_record[slot])
            while record >= 0:
                effect = max(_said_us(columns, record))
                if effect == self.after.at and int(columns["key"][record]) in keys:
                    prints = int(columns["print_high"][record]), int(columns["print_low"][record])
                    event_id = _event_id(self.after, *prints)
                    found.append(_Cause(_BY_RECORD, record, ATTRIBUTE, event_id))
                record = int(columns["previous"][record])
        return found

    def _said(self) -> list[_Cause]:
        """What was said about being written to."""
        part = self.after.part
        view, names = part.events.view, part.names.names
        rows = self._rows_now(in_order(part, persons.rows_of(part, self.after.row)))
        words = {*STOPPING, SUBSCRIBED, UNSUBSCRIBED}
        found = [self._event(row) for row in rows if names[int(view.type[row])] in words]
        said = tuple(name for name in names if name.startswith(SUBSCRIPTION))
        return [*found, *self._set(said)]

    def _linked(self) -> list[_Cause]:
        part, at = self.after.part, self.after.at
        places, _, _ = part.former.of(KIND, at - 1, at)
        mine = np.isin(places, part.people.slots_of(self.after.row))
        return [_Cause(_BY_BIRTH, 0, EVENT)] if mine.any() else []


def _said_us(columns: dict[str, np.ndarray], record: int) -> tuple[int, int]:
    return int(columns["occur"][record]), int(columns["accept"][record])


def _versions(after: Stretch, turned: Turned, at: int) -> list[_Cause]:
    """Rules that changed at the instant."""
    found = []
    for name in {*turned.segments, after.segment_id}:
        given = after.part.versions.former.get(name, [])
        for place, (since, _) in enumerate(given):
            if since == at:
                fresh = place == 0
                rank, reason = (_BY_BACKFILL, BACKFILL) if fresh else (_BY_RULE, RULE_CHANGE)
                found.append(_Cause(rank, place, reason))
    return found


def _moved(part: Partition, outlook: Outlook) -> list[_Cause]:
    """Merges and splits of the profile at the instant."""
    at, given = outlook.at, []
    for what in (MOVED, HIGH, LOW):
        places, values, _ = part.former.of(what, at - 1, at)
        given.append(values[places == outlook.row])
    found = []
    for place, (reason, high, low) in enumerate(zip(*given, strict=True)):
        prints = np.array([high, low], np.int64).view(np.uint64).tolist()
        found.append(_Cause(_BY_MOVE, place, int(reason), _event_id(outlook, *prints)))
    return found


def _event_id(outlook: Outlook, high: int, low: int) -> str:
    """The id of the profile's event with a print; empty when there is none here."""
    part, view = outlook.part, outlook.part.events.view
    rows = persons.rows_of(part, outlook.row)
    mine = (view.print_high[rows] == np.uint64(high)) & (view.print_low[rows] == np.uint64(low))
    found = rows[mine]
    return part.events.id_of(int(found[0])) if found.size else ""

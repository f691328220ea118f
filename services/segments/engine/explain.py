"""Why a profile is in a segment or not, with the events that count, and when that changes.

Everything is read from the profile's own rows, independently of cursors. The next flip is found by
asking at every instant at which a row enters or leaves a window by time alone, in order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.domain import times
from services.segments.domain.calendars import bounds, stay
from services.segments.domain.sentences import sentence_of
from services.segments.domain.values import Op, Scalar, decimal_text, satisfies
from services.segments.domain.windows import Span, Window
from services.segments.engine import persons
from services.segments.engine.anniversaries import days_due, days_of
from services.segments.engine.arrays import Array
from services.segments.engine.boundaries import OPEN, stays
from services.segments.engine.expressions import ADDED, REMOVED, ListLeaf
from services.segments.engine.outcome import Evidence, Explanation, LeafExplanation
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import Past, judge
from services.segments.engine.patterns import element_satisfies
from services.segments.engine.rules import Segment
from services.segments.engine.walker import Walker

MIDNIGHTS_MAX = 800
"""Days an anniversary is looked ahead: two years and a leap day."""


class Witness:
    """Answers a rule for one profile at any instant from now on, if nothing more happens."""

    def __init__(self, part: Partition, walker: Walker, row: int) -> None:
        self.part, self.row = part, row
        rows = persons.rows_of(part, row) if row < part.people.rows else np.zeros(0, np.int64)
        self.rows: Array = rows
        self.past: dict[rule.Selector, Array] = {}
        self.pending = [
            int(max(part.attributes.columns["occur"][r], part.attributes.columns["accept"][r]))
            for r in walker.inbox.records
            if int(part.people.slot_row[part.attributes.columns["slot"][r]]) == row
        ]

    def stands(self, at: int) -> bool:
        people = self.part.people
        return bool(
            self.row < people.rows
            and people.created_us[self.row] <= at
            and not people.absorbed[self.row]
        )

    def taken(self, selector: rule.Selector) -> Array:
        found = self.past.get(selector)
        if found is None:
            found = self.past[selector] = persons.matching(self.part, self.rows, selector)
        return found

    def inside(self, leaf: rule.EventsAre, at: int) -> list[int]:
        rows: list[int] = persons.in_window(
            self.part, self.taken(leaf.events), leaf.window, at
        ).tolist()
        return rows

    def values(self, attribute: str, at: int) -> tuple[Scalar, ...]:
        part = self.part
        key = part.names.number_of(attribute)
        record = persons.standing_record(part, self.row, key, at)
        return part.attributes.scalars(record, part.texts)

    def kinds(self) -> set[str]:
        people, names = self.part.people, self.part.names.names
        return {
            names[int(people.slot_kind[slot])]
            for slot in people.slots_of(self.row)
            if people.slot_kind[slot] >= 0
        }

    def leaf(self, leaf: rule.Leaf, at: int) -> bool:
        """Whether a leaf holds at an instant."""
        match leaf:
            case rule.EventsAre():
                figure = persons.figure_of(self.part, self.inside(leaf, at), leaf.aggregate)
                return leaf.comparison.holds(figure)
            case rule.AttributeIs(attribute, test):
                values = self.values(attribute, at)
                if test.op is Op.ANNIVERSARY:
                    today = times.local_day(at, times.zone_of(test.zone))
                    return bool(days_due(today, test) & set(days_of(values, test.zone)))
                if test.op is Op.MATCHES:
                    return any(element_satisfies(test, value) for value in values)
                return satisfies(test, values)
            case rule.Reachable(channel):
                return rule.CHANNEL_KINDS[channel] in self.kinds()
            case rule.Everyone(known_only):
                return not known_only or bool(self.kinds() & set(rule.KNOWN_KINDS))
            case rule.MemberOf(segment_id):
                other = self.part.segments[segment_id]
                return other.node is not None and self.holds(other.node, at)
            case rule.InList(list_id):
                return self.listed(list_id, at)
        return judge(leaf, Past(self.part, self.row), at)[0]

    def listed(self, list_id: str, at: int) -> bool:
        """Whether the profile is in a list: by hand, else as the segment says that it follows."""
        lists = self.part.lists
        if list_id not in lists.follows or lists.bears(ListLeaf(list_id, ADDED), self.row):
            return list_id in lists.follows
        followed = self.part.segments.get(lists.follows[list_id])
        return (
            followed is not None
            and followed.node is not None
            and not lists.bears(ListLeaf(list_id, REMOVED), self.row)
            and self.holds(followed.node, at)
        )

    def holds(self, node: rule.Node, at: int) -> bool:
        """Whether a rule holds at an instant."""
        answers = {leaf: self.leaf(leaf, at) for _, leaf in rule.leaves(node)}
        return self.stands(at) and rule.decide(node, answers)

    def instants(self, node: rule.Node) -> Iterator[int]:
        """Instants after now at which an answer may change by time alone, unordered."""
        occur = self.part.events.view.occur
        for _, leaf in rule.leaves(node):
            match leaf:
                case rule.EventsAre(events, window, _, _):
                    for edge in stays(window, occur[self.taken(events)]):
                        yield from edge[edge != OPEN].tolist()
                case rule.MemberOf(segment_id):
                    other = self.part.segments[segment_id]
                    if other.node is not None:
                        yield from self.instants(other.node)
                case rule.InList(list_id):
                    followed = self.part.segments.get(self.part.lists.follows.get(list_id, ""))
                    if followed is not None and followed.node is not None:
                        yield from self.instants(followed.node)
                case rule.AttributeIs(attribute, test):
                    yield from self.pending
                    if test.op is Op.ANNIVERSARY and self.values(attribute, self.part.now):
                        yield from self._birthdays(attribute, test.zone, test)
                case _:
                    yield from ()

    def _birthdays(self, attribute: str, zone: str, test: rule.Test) -> Iterator[int]:
        wanted = set(days_of(self.values(attribute, self.part.now), zone))
        place = times.zone_of(zone)
        today = times.local_day(self.part.now, place)
        before = bool(days_due(today, test) & wanted)
        for ahead in range(1, MIDNIGHTS_MAX):
            day = today + dt.timedelta(days=ahead)
            holds = bool(days_due(day, test) & wanted)
            if holds != before:
                yield times.midnight_us(day, place)
            before = holds

    def next_flip(self, node: rule.Node, member: bool) -> tuple[int | None, bool]:
        """(the next instant the rule's answer differs, whether that is certain)."""
        now, limit = self.part.now, self.part.limits.explain_instants_max
        instants = sorted({at for at in self.instants(node) if at > now})
        for at in instants[:limit]:
            if self.holds(node, at) != member:
                return at, True
        return None, len(instants) <= limit


def explain(
    part: Partition, walker: Walker, segment: Segment, profile: int, member: bool
) -> Explanation:
    """The explanation of a membership at now."""
    witness = Witness(part, walker, part.people.row_of(profile))
    if segment.node is None:
        return Explanation(segment.segment_id, segment.version, profile, member, (), None)
    leaves = tuple(_explained(witness, path, leaf) for path, leaf in rule.leaves(segment.node))
    flip, known = witness.next_flip(segment.node, member)
    return Explanation(segment.segment_id, segment.version, profile, member, leaves, flip, known)


def _explained(witness: Witness, path: str, leaf: rule.Leaf) -> LeafExplanation:
    part, now = witness.part, witness.part.now
    holds = witness.leaf(leaf, now)
    sentence = sentence_of(leaf)
    match leaf:
        case rule.EventsAre(_, window, aggregate, _):
            inside = witness.inside(leaf, now)
            start, end = edges_of(window, now)
            newest = inside[::-1][: part.limits.evidence_events_max]
            return LeafExplanation(
                path, sentence, holds, _shown(persons.figure_of(part, inside, aggregate)), start,
                end, tuple(_evidence(part, row, leaf) for row in newest), len(inside),
            )  # fmt: skip
        case rule.AttributeIs(attribute, _):
            found = ", ".join(value.plain() for value in witness.values(attribute, now))
        case rule.Reachable() | rule.Everyone():
            found = ", ".join(sorted(witness.kinds()))
        case rule.InList(list_id):
            found = _by_hand(witness, list_id) or ("member" if holds else "not a member")
        case _:
            found = "member" if holds else "not a member"
    return LeafExplanation(path, sentence, holds, found)


def _by_hand(witness: Witness, list_id: str) -> str:
    """What was done by hand to a profile in a list; empty for nothing."""
    names = {ADDED: "added by hand", REMOVED: "taken out by hand"}
    bears = witness.part.lists.bears
    return next((names[m] for m in names if bears(ListLeaf(list_id, m), witness.row)), "")


def edges_of(window: Span, at: int) -> tuple[int | None, int]:
    """(from, to) at an instant, for people; None is open. A rolling start is itself outside."""
    low, high = bounds(window, at)
    if isinstance(window, Window):
        start, end = window.edges(at)
        return start, high if end is None else end
    return low, high


def _shown(figure: Fraction | Scalar | None) -> str:
    if isinstance(figure, Scalar):
        return figure.plain()
    return "" if figure is None else decimal_text(figure)


def _evidence(part: Partition, row: int, leaf: rule.EventsAre) -> Evidence:
    view, window = part.events.view, leaf.window
    occur = int(view.occur[row])
    value = "1"
    if leaf.aggregate.kind is not rule.Kind.COUNT:
        key = part.names.number_of(leaf.aggregate.property)
        value = ", ".join(one.plain() for one in persons.scalars_of(part, row, key))
    inside = stay(window, occur)
    return Evidence(
        part.events.id_of(row), part.names.names[int(view.type[row])], occur, value,
        None if inside is None else inside[1],
    )  # fmt: skip

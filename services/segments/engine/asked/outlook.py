"""The answers of one profile's leaves from now on, if nothing more happens.

Each leaf is followed on its course; what has come already and takes effect later is taken along.
So the next instant at which a rule turns is found in one pass, however many events count.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice

from services.segments.domain import conditions as rule
from services.segments.domain.shares import permille, salt_key
from services.segments.engine.language.expressions import ADDED, REMOVED, ListLeaf, stopped, taking
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import Judged, Past, attributes_of, course, selectors_of
from services.segments.engine.store.people import UNBORN

TURNS_MAX = 64
"""Turns of an attribute's test that are followed: birthdays never end."""


class Outlook:
    """A rule and everything it refers to, for one profile, at an instant that moves forward."""

    def __init__(self, part: Partition, row: int, node: rule.Node) -> None:
        self.part, self.row, self.node = part, row, node
        self.at = part.now
        self.past = Past(part, row)
        self.states: dict[rule.Leaf, bool] = {}
        self.followed: dict[str, bool] = {}
        """By list: what the segment it follows said at first."""
        self.freed: set[str] = set()
        """Lists whose followed segment has spoken since: what was done by hand is over."""
        self._ahead: list[tuple[int, int, rule.Leaf, bool]] = []
        self._courses: list[Iterator[tuple[int, bool]]] = []
        self._watch(node)
        self.member = self.holds(node)

    def _watch(self, node: rule.Node) -> None:
        for _, leaf in rule.leaves(node):
            if leaf in self.states:
                continue
            match leaf:
                case rule.MemberOf(segment_id):
                    self._watch_segment(segment_id)
                case rule.InList(list_id):
                    self.states[leaf] = False
                    self._watch_segment(self.part.lists.follows.get(list_id, ""))
                    self.followed[list_id] = self._follows(list_id)
                case rule.Everyone(known_only):
                    known = rule.KNOWN_KINDS if known_only else ()
                    self.states[leaf] = not known or bool(self.kinds() & set(known))
                case rule.InPart(salt, low, high):
                    place = permille(salt_key(salt), self.part.people.number_of(self.row))
                    self.states[leaf] = low <= place < high
                case rule.Reachable():
                    self._follow(leaf, self._reach(leaf))
                case _:
                    self._follow(leaf, self._course(leaf))

    def _follow(self, leaf: rule.Leaf, course_of: Iterator[tuple[int, bool]]) -> None:
        self.states[leaf] = False
        self._courses.append(course_of)
        self._go_on(len(self._courses) - 1, leaf)

    def _watch_segment(self, segment_id: str) -> None:
        other = self.part.segments.get(segment_id)
        if other is not None and other.node is not None:
            self._watch(other.node)

    def _reach(self, leaf: rule.Reachable) -> Iterator[tuple[int, bool]]:
        """Now, and whenever a word that came already takes effect."""
        stop, words = stopped(leaf.channel).topic, self.part.words
        on = taking(leaf.channel, leaf.platform).topic if leaf.platform else ""
        known = rule.CHANNEL_KINDS[leaf.channel] in self.kinds()
        asked = [stop, on] if on else [stop]
        says = {topic: words.bears(topic, self.row) for topic in asked}
        yield self.at, known and not says[stop] and (not on or says[on])
        for at, then in words.ahead(self.row) if known else ():
            yield at, not then.get(stop, False) and (not on or then.get(on, False))

    def _course(self, leaf: Judged) -> Iterator[tuple[int, bool]]:
        """The course of a leaf, begun anew where something that came takes effect."""
        past, start = self.past, self.at
        instants = [at for one in selectors_of(leaf) for at in past.pending(one, start)]
        instants += [at for name in attributes_of(leaf) for at in past.pending_records(name, start)]
        for bound in [*sorted(set(instants)), None]:
            found = course(leaf, past, start)
            if isinstance(leaf, rule.AttributeIs | rule.AttributeHeld):
                found = islice(found, TURNS_MAX)
            for instant, holds in found:
                if bound is not None and instant >= bound:
                    break
                yield instant, holds
            start = start if bound is None else bound

    def _go_on(self, number: int, leaf: rule.Leaf) -> None:
        for instant, holds in self._courses[number]:
            if instant > self.at:
                heapq.heappush(self._ahead, (instant, number, leaf, holds))
                return
            self.states[leaf] = holds

    def kinds(self) -> set[str]:
        """Kinds of the profile's identifiers."""
        people, names = self.part.people, self.part.names.names
        return {
            names[int(people.slot_kind[slot])]
            for slot in (people.slots_of(self.row) if self.row < people.rows else ())
            if people.slot_kind[slot] >= 0
        }

    def stands(self) -> bool:
        """Whether there is such a profile."""
        people = self.part.people
        return bool(
            self.row < people.rows
            and people.created_us[self.row] <= self.at
            and not people.absorbed[self.row]
        )

    def holds(self, node: rule.Node) -> bool:
        """Whether a rule holds at the instant reached."""
        answers = {leaf: self.leaf(leaf) for _, leaf in rule.leaves(node)}
        return self.stands() and rule.decide(node, answers)

    def leaf(self, leaf: rule.Leaf) -> bool:
        """Whether a leaf holds at the instant reached."""
        if isinstance(leaf, rule.MemberOf):
            return self._segment(leaf.segment_id)
        if isinstance(leaf, rule.InList):
            return self._listed(leaf.list_id)
        return self.states[leaf]

    def _segment(self, segment_id: str) -> bool:
        other = self.part.segments.get(segment_id)
        return other is not None and other.node is not None and self.holds(other.node)

    def _follows(self, list_id: str) -> bool:
        """What the segment says that a list follows."""
        followed = self.part.lists.follows.get(list_id, "")
        return bool(followed) and self._segment(followed)

    def _listed(self, list_id: str) -> bool:
        """Whether the profile is in a list: by hand, else as the segment says that it follows."""
        lists = self.part.lists
        if list_id not in lists.follows or not self.stands():
            return False
        follows = self._follows(list_id)
        if follows != self.followed.get(list_id, follows):
            self.freed.add(list_id)
        if list_id in self.freed:
            return follows
        if lists.bears(ListLeaf(list_id, ADDED), self.row):
            return True
        return follows and not lists.bears(ListLeaf(list_id, REMOVED), self.row)

    def next_flip(self, instants_max: int) -> tuple[int | None, bool]:
        """(the next instant at which the rule's answer is another, whether that is certain)."""
        born = int(self.part.people.created_us[self.row]) if self._is_known() else UNBORN
        for _ in range(instants_max):
            ahead = self._ahead[0][0] if self._ahead else UNBORN
            if self.at < born < UNBORN:
                ahead = min(ahead, born)
            if ahead >= UNBORN:
                return None, True
            self.at = ahead
            while self._ahead and self._ahead[0][0] == ahead:
                _, number, leaf, holds = heapq.heappop(self._ahead)
                self.states[leaf] = holds
                self._go_on(number, leaf)
            if self.holds(self.node) != self.member:
                return ahead, True
        return None, False

    def _is_known(self) -> bool:
        return self.row < self.part.people.rows

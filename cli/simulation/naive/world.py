"""Who is a member when, one profile and one instant at a time, from semantics 2 to 5 alone.

Independent of the engine on purpose: plain Python, exact fractions, its own window edges. For any
instant T it asks every row again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cli.simulation.naive import events, pasts, scores, splits, subscriptions, windows
from cli.simulation.naive.facts import (
    Assigned,
    Created,
    Defined,
    Fact,
    Item,
    Linked,
    Listed,
    Moved,
    Row,
    Transition,
)
from cli.simulation.naive.values import Value, holds
from muster.types.v1 import condition_pb2 as pb

_KNOWN = {"user_id", "email", "phone"}
_STRENGTH = ("user_id", "email", "phone", "", "mobile_push_token", "web_push_token", "cookie")
_FOREVER = 2**63 - 1
_AHEAD_US = 10 * 24 * 3_600 * 1_000_000
OWN_ZONE = "time_zone"
"""The attribute in which a profile says the zone it lives in."""


@dataclass
class Held:
    """A fact and the profiles it belongs to, each from an instant to another."""

    fact: Row | Assigned | Linked | Listed
    order: int
    stays: list[list[int]] = field(default_factory=list)
    """[profile, from_us, to_us, behind, arrived]; behind 1: the survivor's own value stands before
    it; arrived: number of the move that brought it from another partition."""

    def place(self, stay: list[int]) -> tuple[int, int, int, int]:
        """Orders what happened: by occur time, then as accepted, what arrived after the rest."""
        assert isinstance(self.fact, Row | Assigned)
        return self.fact.occur_us, self.fact.accept_us, stay[4], self.order

    def at(self, profile: int, at_us: int) -> list[int] | None:
        return next((s for s in self.stays if s[0] == profile and s[1] <= at_us < s[2]), None)


class NaiveWorld:
    """Every membership of a history, at any instant."""

    def __init__(self, history: Sequence[Fact]) -> None:
        self.rows: dict[int, list[Held]] = defaultdict(list)
        self.assignments: dict[int, list[Held]] = defaultdict(list)
        self.links: dict[int, list[Held]] = defaultdict(list)
        self.alive: dict[int, list[list[int]]] = defaultdict(list)
        self.definitions: dict[str, list[Defined]] = defaultdict(list)
        self.marks: dict[int, list[Held]] = defaultdict(list)
        self.catalogue: dict[object, list[Item]] = defaultdict(list)
        self.moves: list[Moved] = []
        self.words: list[tuple[Any, subscriptions.Topic, bool]] = []
        """(what said it, about what, whether it says no)."""
        self.passages: dict[tuple[str, int, int], set[int]] = {}
        """Of a segment, a profile and an end: what `changes.passages` found."""
        self._turns: dict[tuple[int, str], tuple[int, list[Transition]]] = {}
        self._present: dict[tuple[int, int], list[Row]] = {}
        self._matching: dict[tuple[bytes, int, str, int], bool] = {}
        for order, fact in enumerate(history):
            self._take(order, fact)

    def _take(self, order: int, fact: Fact) -> None:
        if isinstance(fact, Created):
            self.alive[fact.profile].append([fact.at_us, _FOREVER])
        elif isinstance(fact, Defined):
            self.definitions[fact.segment].append(fact)
        elif isinstance(fact, Moved):
            self._move(fact)
        elif isinstance(fact, Listed):
            self._list(order, fact)
        elif isinstance(fact, Item):
            self.catalogue[events.sameness(fact.item_id)].append(fact)
        else:
            since = fact.at_us if isinstance(fact, Linked) else fact.accept_us
            kept = (
                self.rows
                if isinstance(fact, Row)
                else self.links
                if isinstance(fact, Linked)
                else self.assignments
            )
            held = Held(fact, order, [[fact.profile, since, _FOREVER, 0, 0]])
            kept[fact.profile].append(held)
            if not isinstance(fact, Linked):
                self.words += [(held, *word) for word in subscriptions.words_of(fact)]

    def _move(self, move: Moved) -> None:
        self.moves.append(move)
        arrive_us = move.at_us if move.arrive_us is None else move.arrive_us
        winning = {
            key
            for key in {held.fact.key for held in self.assignments[move.target]}  # type: ignore[union-attr]
            if any(value != "" for value in self.attribute(move.target, key, arrive_us))
        }
        for kept, since in (
            (self.rows, arrive_us),
            (self.links, move.at_us),
            (self.assignments, arrive_us),
            (self.marks, arrive_us),
        ):
            for held in list(kept[move.source]):
                stay = held.stays[-1]
                if stay[0] != move.source or held.fact.atom not in move.atoms:
                    continue
                if stay[2] <= move.at_us:
                    continue  # A mark that was taken away.
                stay[2] = move.at_us
                behind = move.merge and isinstance(held.fact, Assigned)
                behind = behind and (held.fact.key in winning or bool(stay[3]))  # type: ignore[union-attr]
                arrived = stay[4] if move.arrive_us is None else move.move_id
                held.stays.append([move.target, since, _FOREVER, int(behind), arrived])
                if held not in kept[move.target]:
                    kept[move.target].append(held)
        if move.merge:
            self.alive[move.source][-1][1] = move.at_us
        if not self.exists(move.target, move.at_us):
            self.alive[move.target].append([move.at_us, _FOREVER])

    # What a profile is at an instant.

    def exists(self, profile: int, at_us: int) -> bool:
        return any(since <= at_us < until for since, until in self.alive[profile])

    def rows_of(self, profile: int, at_us: int) -> list[Row]:
        """Rows in effect, in order of (occur, log order)."""
        known = self._present.get((profile, at_us))
        if known is not None:
            return known
        present = [
            (held.place(stay), held.fact)
            for held in self.rows[profile]
            if (stay := held.at(profile, at_us)) and held.fact.effect_us <= at_us  # type: ignore[union-attr]
        ]
        present.sort(key=lambda one: one[0])
        rows: list[Row] = [row for _, row in present]  # type: ignore[misc]
        self._present[profile, at_us] = rows
        return rows

    def timeline(self, profile: int, key: str, at_us: int) -> pasts.Timeline:
        """The attribute's values as known at an instant, each from its own time on."""
        placed = []
        for held in self.assignments[profile]:
            fact = held.fact
            assert isinstance(fact, Assigned)
            stay = held.at(profile, at_us)
            if fact.key != key or stay is None or stay[3] or fact.effect_us > at_us:
                continue
            placed.append((held.place(stay), fact.values or ()))
        placed.sort(key=lambda one: one[0])
        # Of several at one instant the last one counts.
        return list({place[0]: values for place, values in placed}.items())

    def attribute(self, profile: int, key: str, at_us: int) -> list[Value]:
        """The attribute's values: the last assignment by (occur, log order) in effect."""
        known = self.timeline(profile, key, at_us)
        return list(known[-1][1]) if known else []

    def kinds(self, profile: int, at_us: int) -> set[str]:
        return {held.fact.kind for held in self.links[profile] if held.at(profile, at_us)}  # type: ignore[union-attr]

    def definition(self, segment: str, at_us: int) -> Defined | None:
        """The version in force; None before the first and when retired."""
        in_force = [d for d in self.definitions[segment] if d.at_us <= at_us]
        return in_force[-1] if in_force and not in_force[-1].retired else None

    # Membership.

    def member(self, segment: str, profile: int, at_us: int) -> bool:
        defined = self.definition(segment, at_us)
        if defined is None or not self.exists(profile, at_us):
            return False
        if defined.follows is not None:
            return self.listed(profile, segment, at_us)
        return self.holds(defined.condition, profile, at_us, defined.zone)

    def members(self, segment: str, at_us: int) -> list[int]:
        return [p for p in sorted(self.alive) if self.member(segment, p, at_us)]

    def holds(self, condition: pb.Condition, profile: int, at_us: int, zone: str) -> bool:
        """Whether a condition holds for an existing profile at an instant."""
        kind = condition.WhichOneof("node")
        node = getattr(condition, kind)
        if kind == "not":
            return not self.holds(node, profile, at_us, zone)
        if kind in ("all", "any", "none", "at_least"):
            count = sum(self.holds(child, profile, at_us, zone) for child in node.of)
            if kind == "at_least":
                return count >= node.n
            return {"all": count == len(node.of), "any": count > 0, "none": count == 0}[kind]
        if kind == "everyone":
            return not node.known_only or bool(self.kinds(profile, at_us) & _KNOWN)
        if kind == "channel":
            return subscriptions.reachable(self, node.channel, node.platform, profile, at_us)
        if kind == "segment":
            return self.member(node.segment_id, profile, at_us)
        if kind == "attribute":
            items = self.attribute(profile, node.attribute, at_us)
            return holds(node.test, items, at_us, zone)
        if kind == "list":
            return self.member(node.list_id, profile, at_us)
        if kind == "split":
            return node.from_permille <= splits.place(node.salt, profile) < node.to_permille
        if kind == "attribute_held":
            return pasts.held(node, self.timeline(profile, node.attribute, at_us), at_us, zone)
        return self._holds_over_rows(kind, node, profile, at_us, zone)

    def _holds_over_rows(
        self, kind: str | None, node: Any, profile: int, at_us: int, zone: str
    ) -> bool:
        """Leaves over a profile's events, and over its attributes' changes."""

        def matching(selector: pb.EventSelector) -> list[Row]:
            return self.matching(selector, profile, at_us, zone)

        def inside(selector: pb.EventSelector) -> list[Row]:
            return [row for row in matching(selector) if low <= row.occur_us <= high]

        if kind == "last_event":
            return pasts.last_has(node, matching(node.events), at_us, zone)
        if kind == "regularly":
            return pasts.regularly(node, matching(node.events), at_us)
        low, high = self.edges(node.window, profile, at_us, zone)
        if kind == "event":
            below = inside(node.aggregate.denominator)
            return events.event_holds(node, inside(node.events), below, zone)
        if kind == "attribute_changed":
            known = self.timeline(profile, node.attribute, at_us)
            return pasts.changed(node, known, low, high)
        if kind == "first_event":
            return pasts.first_lies_in(matching(node.events), low, high)
        if kind == "sequence":
            return pasts.sequence(node, [inside(step) for step in node.steps])
        if kind == "not_followed":
            return pasts.not_followed(node, inside(node.start), matching(node.by), at_us)
        if kind == "catalogue":
            count = sum(self._has_item(node, row, at_us, zone) for row in inside(node.events))
            return events.count_holds(node.count, count)
        if kind == "rfm":
            return self._scored(node, profile, at_us, zone)
        raise ValueError(f"the naive model does not speak {kind}")

    def edges(self, window: pb.Window, profile: int, at_us: int, zone: str) -> tuple[int, int]:
        """[low, high] of a window of a profile at an instant."""
        own = self.attribute(profile, OWN_ZONE, at_us)
        by = windows.zone_for(window, zone, own[0] if len(own) == 1 else None)
        return windows.edges(window, at_us, by)

    def matching(
        self, events_of: pb.EventSelector, profile: int, at_us: int, zone: str
    ) -> list[Row]:
        """Rows in effect that a selector takes, whatever the window."""
        selector = events_of.SerializeToString(deterministic=True)
        found = []
        for row in self.rows_of(profile, at_us):
            key = (selector, id(row), zone, at_us if events.moving(events_of) else 0)
            if key not in self._matching:
                self._matching[key] = events.selects(events_of, row, at_us, zone)
            if self._matching[key]:
                found.append(row)
        return found

    def _list(self, order: int, change: Listed) -> None:
        """What is done by hand hangs on the strongest identifier, so that a split parts it again.

        A negative profile is everybody.
        """
        at_us = change.at_us
        chosen = list(self.marks) if change.profile < 0 else [change.profile]
        for profile in chosen:
            for held in self.marks[profile]:
                stay = held.at(profile, at_us)
                if stay is not None and held.fact.list_id == change.list_id:  # type: ignore[union-attr]
                    stay[2] = at_us
            if change.added or self._followed(change.list_id, at_us):
                own = [h for h in self.links[profile] if h.at(profile, at_us)]
                strongest = min(own, key=lambda held: (_strength(held.fact.kind), held.fact.atom))  # type: ignore[union-attr]
                mark = replace(change, atom=strongest.fact.atom)
                self.marks[profile].append(Held(mark, order, [[profile, at_us, _FOREVER, 0, 0]]))

    def _followed(self, list_id: str, at_us: int) -> str:
        """The segment a list follows, or nothing."""
        defined = self.definition(list_id, at_us)
        return (defined.follows or "") if defined else ""

    def listed(self, profile: int, list_id: str, at_us: int) -> bool:
        """Whether a profile stands in a list: by hand, or with the segment it follows; what was
        done by hand is over with that segment's next transition of the profile."""
        followed = self._followed(list_id, at_us)
        since_us = self.turned(profile, followed, at_us) if followed else None
        marks = [
            held.fact.added  # type: ignore[union-attr]
            for held in self.marks[profile]
            if held.fact.list_id == list_id  # type: ignore[union-attr]
            and held.at(profile, at_us) is not None
            and (since_us is None or held.fact.at_us > since_us)  # type: ignore[union-attr]
        ]
        if True in marks:
            return True
        return bool(followed) and False not in marks and self.member(followed, profile, at_us)

    def turned(self, profile: int, segment: str, at_us: int) -> int | None:
        """When a profile last entered or left a segment."""
        from cli.simulation.naive import changes

        until_us, found = self._turns.get((profile, segment), (at_us - 1, []))
        if at_us > until_us:
            until_us = at_us + _AHEAD_US
            found = changes.of_profile(self, segment, profile, until_us)
            self._turns[profile, segment] = until_us, found
        return max((one.at_us for one in found if one.at_us <= at_us), default=None)

    def _has_item(self, leaf: pb.CatalogueLeaf, row: Row, at_us: int, zone: str) -> bool:
        """Whether an item that an event names has the properties in the catalogue."""
        return any(
            events.passes(leaf.item_has, self.item(name, at_us), at_us, zone)
            for name in events.items_of(row.properties, leaf.item_property)
        )

    def item(self, name: Value, at_us: int) -> events.Properties:
        """What is known of an item at an instant: of each property what was said of the latest
        time; nothing of an item that the catalogue does not know."""
        known = [one for one in self.catalogue[events.sameness(name)] if one.at_us <= at_us]
        found: events.Properties = {}
        for one in sorted(known, key=lambda change: change.occur_us):
            found = {} if one.properties is None else found | one.properties
        return found

    def _scored(self, leaf: pb.RfmLeaf, profile: int, at_us: int, zone: str) -> bool:
        by = leaf.zone or zone

        def figures(of: int) -> scores.Figures | None:
            low, high = self.edges(leaf.window, of, at_us, zone)
            orders = self.matching(leaf.orders, of, at_us, zone)
            return scores.figures(
                leaf, [row for row in orders if low <= row.occur_us <= high], at_us, by
            )

        own = figures(profile)
        if own is None:
            return False
        if scores.has_edges(leaf):
            return scores.wanted(leaf, scores.by_edges(leaf, own))
        everybody = {p: found for p in self.alive if (found := figures(p)) is not None}
        return scores.wanted(leaf, scores.by_quantile(leaf, everybody, profile))


def _strength(kind: str) -> int:
    """Kinds of identifiers, the strongest first; those a tenant adds in the middle."""
    return _STRENGTH.index(kind if kind in _STRENGTH else "")

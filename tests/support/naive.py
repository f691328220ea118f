"""Who is a member when, one profile and one instant at a time, from semantics 2 to 5 alone.

Independent of the engine on purpose: plain Python, exact fractions, its own window edges. For any
instant T it asks every row again; transitions are found by asking at every instant at which
anything could change and writing down the differences.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from muster.types.v1 import condition_pb2 as pb
from tests.support import leaves
from tests.support.facts import (
    LATE_AFTER_US,
    Assigned,
    Created,
    Defined,
    Fact,
    Linked,
    Moved,
    Row,
    Transition,
)
from tests.support.values import Value, local_day, midnight_us

_CHANNELS = {
    "email": "email",
    "sms": "phone",
    "viber": "phone",
    "web_push": "web_push_token",
    "mobile_push": "mobile_push_token",
}
_KNOWN = {"user_id", "email", "phone"}
_FOREVER = 2**63 - 1


@dataclass
class Held:
    """A fact and the profiles it belongs to, each from an instant to another."""

    fact: Row | Assigned | Linked
    order: int
    stays: list[list[int]] = field(default_factory=list)
    """[profile, from_us, to_us, behind, arrived]; behind 1: the survivor's own value stands before
    it; arrived: number of the move that brought it from another partition."""

    def place(self, stay: list[int]) -> tuple[int, int, int, int]:
        """Orders what happened: by occur time, then as accepted, what arrived after the rest."""
        assert not isinstance(self.fact, Linked)
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
        self.moves: list[Moved] = []
        self._present: dict[tuple[int, int], list[Row]] = {}
        self._matching: dict[tuple[bytes, int], bool] = {}
        for order, fact in enumerate(history):
            self._take(order, fact)

    def _take(self, order: int, fact: Fact) -> None:
        if isinstance(fact, Created):
            self.alive[fact.profile].append([fact.at_us, _FOREVER])
        elif isinstance(fact, Defined):
            self.definitions[fact.segment].append(fact)
        elif isinstance(fact, Moved):
            self._move(fact)
        else:
            since = fact.at_us if isinstance(fact, Linked) else fact.accept_us
            kept = (
                self.rows
                if isinstance(fact, Row)
                else self.links
                if isinstance(fact, Linked)
                else self.assignments
            )
            stays = [[fact.profile, since, _FOREVER, 0, 0]]
            kept[fact.profile].append(Held(fact, order, stays))

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
        ):
            for held in list(kept[move.source]):
                stay = held.stays[-1]
                if stay[0] != move.source or held.fact.atom not in move.atoms:
                    continue
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

    def attribute(self, profile: int, key: str, at_us: int) -> list[Value]:
        """The attribute's values: the last assignment by (occur, log order) in effect."""
        last: tuple[int, ...] | None = None
        values: tuple[Value, ...] | None = None
        for held in self.assignments[profile]:
            fact = held.fact
            assert isinstance(fact, Assigned)
            stay = held.at(profile, at_us)
            if fact.key != key or stay is None or stay[3] or fact.effect_us > at_us:
                continue
            if last is None or held.place(stay) >= last:
                last, values = held.place(stay), fact.values
        return list(values or ())

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
            return _CHANNELS[node.channel] in self.kinds(profile, at_us)
        if kind == "segment":
            return self.member(node.segment_id, profile, at_us)
        if kind == "attribute":
            items = self.attribute(profile, node.attribute, at_us)
            return leaves.holds(node.test, items, at_us, zone)
        if kind == "event":
            return leaves.event_holds(node, self.matching(node, profile, at_us, zone), at_us)
        raise ValueError(f"the naive model does not speak {kind}")

    def matching(self, leaf: pb.EventLeaf, profile: int, at_us: int, zone: str) -> list[Row]:
        """Rows in effect that the leaf's selector takes, whatever the window."""
        selector = leaf.events.SerializeToString(deterministic=True)
        found = []
        for row in self.rows_of(profile, at_us):
            key = (selector, id(row))
            if key not in self._matching:
                self._matching[key] = leaves.selects(leaf.events, row, at_us, zone)
            if self._matching[key]:
                found.append(row)
        return found

    # Transitions.

    def transitions(self, since_us: int, until_us: int) -> list[Transition]:
        """Every change in (since, until], in order of (instant, profile, segment)."""
        found = []
        for profile in sorted(self.alive):
            for segment in self.definitions:
                found += self._transitions_of(segment, profile, since_us, until_us)
        return sorted(found)

    def _transitions_of(
        self, segment: str, profile: int, since_us: int, until_us: int
    ) -> list[Transition]:
        found = []
        ordinal, was_member = 0, False
        version = number = 0
        for at_us in sorted(self.instants(segment, profile, until_us)):
            in_force = [d for d in self.definitions[segment] if d.at_us <= at_us]
            if in_force:
                version, number = in_force[-1].version, in_force[-1].number
            is_member = self.member(segment, profile, at_us)
            if is_member == was_member:
                continue
            was_member, ordinal = is_member, ordinal + 1
            if since_us < at_us <= until_us:
                found.append(Transition(at_us, profile, number, is_member, version, ordinal))
        return found

    def instants(self, segment: str, profile: int, until_us: int) -> set[int]:
        """Every instant up to `until_us` at which the membership could change."""
        found = {edge for stretch in self.alive[profile] for edge in stretch}
        shifts, zones, offsets = {0}, set(), set()
        for defined in self._versions_reached(segment):
            found.add(defined.at_us)
            for leaf, zone in leaves_of(defined):
                shifts |= leaves.window_shifts(leaf)
                offsets |= leaves.attribute_shifts(leaf)
                zones |= leaves.midnight_zones(leaf, zone)
        for kept in (self.rows, self.assignments, self.links):
            for held in kept[profile]:
                found.update(edge for stay in held.stays for edge in stay[1:3])
                if isinstance(held.fact, Row):
                    found.add(held.fact.effect_us)
                    found.update(held.fact.occur_us + shift for shift in shifts)
                elif isinstance(held.fact, Assigned):
                    found.add(held.fact.effect_us)
                    found |= leaves.attribute_instants(held.fact, offsets)
        begin = min((edge for edge in found), default=0)
        found |= _midnights(zones, begin, until_us)
        return {edge for edge in found if edge <= until_us}

    def _versions_reached(self, segment: str) -> list[Defined]:
        """Every version of the segment and of the segments its conditions name, at any depth."""
        reached, waiting = [], [segment]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for defined in self.definitions[name]:
                reached.append(defined)
                waiting += [
                    leaf.segment.segment_id
                    for leaf, _ in leaves_of(defined)
                    if leaf.WhichOneof("node") == "segment"
                ]
        return reached

    def causes(self, segment: str, profile: int, at_us: int) -> set[tuple[str, str]]:
        """(reason, event id or '') of everything that happens to the profile at an instant."""
        found = set()
        for held in self.rows[profile]:
            fact = held.fact
            assert isinstance(fact, Row)
            if fact.effect_us == at_us and held.at(profile, at_us):
                found.add((_reason_of(fact), fact.event_id))
            if any(fact.occur_us + shift == at_us for shift in self._shifts(segment)):
                found.add(("time", ""))
        for held in self.assignments[profile]:
            fact = held.fact
            assert isinstance(fact, Assigned)
            if fact.effect_us == at_us and held.at(profile, at_us):
                found.add(("attribute", fact.event_id))
        if self._becomes_known(profile, at_us):
            accepted = [h.fact for h in self.rows[profile] if h.fact.accept_us == at_us]  # type: ignore[union-attr]
            found |= {("event", "")} | {(_reason_of(row), row.event_id) for row in accepted}  # type: ignore[arg-type, union-attr]
        for move in self.moves:
            if profile in (move.source, move.target) and at_us in (move.at_us, move.arrive_us):
                found.add(("merge" if move.merge else "unmerge", move.cause))
        for defined in self._versions_reached(segment):
            if defined.at_us == at_us:
                first = defined is self.definitions[defined.segment][0]
                found.add(("backfill" if first else "rule_change", ""))
        return found or {("time", "")}

    def _becomes_known(self, profile: int, at_us: int) -> bool:
        """Whether the profile or an identifier of it is new at an instant."""
        created = any(since == at_us for since, _ in self.alive[profile])
        return created or any(held.fact.at_us == at_us for held in self.links[profile])  # type: ignore[union-attr]

    def _shifts(self, segment: str) -> set[int]:
        return {
            shift
            for defined in self._versions_reached(segment)
            for leaf, _ in leaves_of(defined)
            for shift in leaves.window_shifts(leaf)
        }


def _reason_of(row: Row) -> str:
    if row.imported:
        return "import"
    return "late_event" if row.accept_us - row.occur_us > LATE_AFTER_US else "event"


def leaves_of(defined: Defined) -> Iterable[tuple[pb.Condition, str]]:
    waiting = [defined.condition]
    while waiting:
        condition = waiting.pop()
        kind = condition.WhichOneof("node")
        if kind == "not":
            waiting.append(getattr(condition, "not"))
        elif kind in ("all", "any", "none", "at_least"):
            waiting += getattr(condition, kind).of
        elif kind is not None:
            yield condition, defined.zone


def _midnights(zones: set[str], since_us: int, until_us: int) -> set[int]:
    found = set()
    for zone in zones:
        day, last = local_day(since_us, zone), local_day(until_us, zone)
        while day <= last:
            day += dt.timedelta(days=1)
            found.add(midnight_us(day, zone))
    return found

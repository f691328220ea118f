"""Who is one person: the fold over evidence in canonical order (semantics, section 6).

An event says that its identifiers belong together. The fold takes events by (occur_time, event id),
each as a whole: it joins the profiles that hold any of its identifiers; if that would break a
limit, the weakest identifier is left out and it is tried again; a push token of a known person that
comes with another known person is handed on and joins nothing. Canonical, that is the same for the
same facts in any order: which identifiers stand together, and each group's origin (the event that
first made it). Not canonical, and not known here: dense numbers.

Limits count what a profile ever held, also a token it handed on. So groups only grow, and a set of
identifiers without a token says nothing new when it comes again. A forbidden pair is a limit of one
over the two. What an untrusted publisher says joins at most one known person: of what the limits
let stand, identifiers of further known people are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from services.identity.domain.kinds import Kinds

Key = tuple[int, int, int, int]
"""Canonical order: occur_time_us, the event id's first 16 bytes as two words, its print."""

LEFT_BY_LIMIT, LEFT_BY_SIZE, LEFT_BY_UNLINK, LEFT_BY_TRUST = 1, 2, 3, 4
"""Why identifiers are left out of a join; the least of several stands."""


class Sighting(NamedTuple):
    """Identifiers that came together. ids: strongest first, shared ones left out.

    evidence: number of the set. fixed: what is known to have been kept, for sets at the edge of
    what is folded; None decides.
    """

    key: Key
    evidence: int
    ids: tuple[int, ...]
    fixed: tuple[int, ...] | None = None
    trusted: bool = True


class Group:
    """A person in the making. ever: identifiers it holds or held. into: the group it joined."""

    __slots__ = ("counts", "ever", "evidence", "into", "knows", "number", "origin", "rank")

    def __init__(self, origin: Key, evidence: int) -> None:
        self.origin = origin
        self.evidence = evidence
        self.ever: set[int] = set()
        self.counts: dict[int, int] = {}
        self.rank: tuple[int, str] = (1 << 30, "")
        self.knows = False
        self.into: Group | None = None
        self.number: int | None = None

    def add(self, identifier: int, kind: int, kinds: Kinds) -> None:
        """Takes an identifier in; one that it ever held changes nothing."""
        if identifier in self.ever:
            return
        self.ever.add(identifier)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.rank = min(self.rank, kinds.rank[kind])
        self.knows = self.knows or kinds.knows[kind]

    def root(self) -> Group:
        """The group that this one is part of now."""
        group = self
        while group.into is not None:
            group = group.into
        return group


@dataclass(slots=True)
class Decision:
    """What one event does. joined: groups that become one; fresh: identifiers nobody held."""

    kept: tuple[int, ...]
    joined: list[Group]
    fresh: list[int]
    handed: list[int]
    left_by: int = 0

    @property
    def changes(self) -> bool:
        return bool(self.fresh or self.handed or len(self.joined) != 1)


@dataclass(slots=True)
class State:
    """Groups in the making. timelines: token -> who took it when, in order.

    forbidden: identifier -> those it never stands with.
    """

    kinds: Kinds
    kind_of: Mapping[int, int]
    forbidden: Mapping[int, AbstractSet[int]] = field(default_factory=dict)
    owner: dict[int, Group] = field(default_factory=dict)
    timelines: dict[int, list[tuple[Key, Group]]] = field(default_factory=dict)

    def holder(self, identifier: int) -> Group | None:
        group = self.owner.get(identifier)
        if group is not None and group.into is not None:
            group = self.owner[identifier] = group.root()
        return group


def decide(state: State, ids: Sequence[int], trusted: bool = True) -> Decision:
    """What an event with these identifiers does, leaving out the weakest until no limit breaks."""
    kept = tuple(ids)
    reasons = []
    while True:
        decision = _joined(state, kept)
        broken = _broken(state, decision) if len(kept) > 1 else 0
        if not broken:
            break
        reasons.append(broken)
        kept = kept[:-1]
    if not trusted and sum(group.knows for group in decision.joined) > 1:
        decision = _joined(state, kept, trusted)
        reasons.append(LEFT_BY_TRUST)
    decision.left_by = min(reasons, default=0)
    return decision


def evolve(state: State, sighting: Sighting, decision: Decision) -> Group:
    """Does what was decided; the group the event belongs to."""
    kinds, kind_of = state.kinds, state.kind_of
    if decision.joined:
        survivor = min(decision.joined, key=lambda group: (group.rank, group.origin))
    else:
        survivor = Group(sighting.key, sighting.evidence)
    for group in decision.joined:
        if group is not survivor:
            for identifier in group.ever:
                survivor.add(identifier, kind_of[identifier], kinds)
            group.into = survivor
    for identifier in (*decision.fresh, *decision.handed):
        survivor.add(identifier, kind_of[identifier], kinds)
        state.owner[identifier] = survivor
        if kinds.token[kind_of[identifier]]:
            state.timelines.setdefault(identifier, []).append((sighting.key, survivor))
    return survivor


def fold(state: State, sightings: Iterable[Sighting]) -> list[tuple[Sighting, Decision]]:
    """Takes sightings in canonical order; what each decided."""
    told = []
    for sighting in sorted(sightings):
        if sighting.fixed is None:
            decision = decide(state, sighting.ids, sighting.trusted)
        else:
            decision = _joined(state, sighting.fixed)
        evolve(state, sighting, decision)
        told.append((sighting, decision))
    return told


def _joined(state: State, kept: tuple[int, ...], trusted: bool = True) -> Decision:
    """Everything that keeping all of these would bring together.

    Who the event is about is said by what is no token, else by the strongest token. Not trusted:
    identifiers of known people beyond the first are left out.
    """
    token, knows, kind_of = state.kinds.token, state.kinds.knows, state.kind_of
    tokens = [i for i in kept if token[kind_of[i]]]
    anchors: Sequence[int] = [i for i in kept if not token[kind_of[i]]]
    if not anchors:
        anchors, tokens = tokens[:1], tokens[1:]
    decision = Decision(kept, [], [], [])
    known = person = False
    for identifier in anchors:
        group = state.holder(identifier)
        if group is None:
            decision.fresh.append(identifier)
            known = known or knows[kind_of[identifier]]
        elif group not in decision.joined:
            if person and group.knows and not trusted:
                decision.kept = tuple(i for i in decision.kept if i != identifier)
                continue
            decision.joined.append(group)
            person = person or group.knows
            known = known or group.knows
    for identifier in tokens:
        group = state.holder(identifier)
        if group is None:
            decision.fresh.append(identifier)
        elif group in decision.joined:
            continue
        elif known and group.knows:
            decision.handed.append(identifier)
        else:
            decision.joined.append(group)
            known = known or group.knows
    return decision


def _broken(state: State, decision: Decision) -> int:
    """LEFT_BY_LIMIT, _SIZE or _UNLINK when the group that would come about breaks one, else 0."""
    if len(decision.joined) == 1 and not decision.fresh and not decision.handed:
        return 0
    limit, kind_of = state.kinds.limit, state.kind_of
    size = len(decision.fresh)
    counts: dict[int, int] = {}
    for group in decision.joined:
        size += len(group.ever)
        for kind, count in group.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    for identifier in decision.fresh:
        kind = kind_of[identifier]
        counts[kind] = counts.get(kind, 0) + 1
    for identifier in decision.handed:
        if not any(identifier in group.ever for group in decision.joined):
            kind = kind_of[identifier]
            counts[kind] = counts.get(kind, 0) + 1
            size += 1
    overlap = _held_twice(decision.joined)
    for identifier in overlap:
        counts[kind_of[identifier]] -= 1
        size -= 1
    if any(count > limit[kind] for kind, count in counts.items()):
        return LEFT_BY_LIMIT
    if size > state.kinds.rules.profile_identifiers_max:
        return LEFT_BY_SIZE
    return LEFT_BY_UNLINK if state.forbidden and _forbids(state.forbidden, decision) else 0


def _forbids(forbidden: Mapping[int, AbstractSet[int]], decision: Decision) -> bool:
    """Whether the group that would come about holds, or held, two that never stand together."""
    together = {*decision.fresh, *decision.handed}.union(*(g.ever for g in decision.joined))
    return any(
        not together.isdisjoint(forbidden[identifier]) for identifier in together & forbidden.keys()
    )


def _held_twice(groups: Sequence[Group]) -> list[int]:
    """Identifiers counted more than once: tokens that went from one of these to another."""
    if len(groups) < 2:
        return []
    seen: set[int] = set()
    twice = []
    for group in groups:
        twice += [identifier for identifier in group.ever if identifier in seen]
        seen |= group.ever
    return twice

"""Who is one person, from a handful of events: the fold without log, numbers or arrays.

What `muster test` shows of identity, and what any order of the same events must come to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from services.identity.domain.fold import Group, Key, Sighting, State, decide, evolve
from services.identity.domain.kinds import KNOWING, Kinds, Rules
from services.identity.domain.patterns import matching

Identifier = tuple[str, str]
"""Kind and normalised value."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as far as it says who somebody is. A decision that links identifiers is one too."""

    event_id: str
    occur_us: int
    identifiers: tuple[Identifier, ...]
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Left:
    """Identifiers that an event could not bring to its person, and why: limit, size, unlinked,
    untrusted."""

    event_id: str
    identifiers: tuple[Identifier, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Person:
    """A profile: the event that first made it, what it holds now, and the events that are its."""

    made_by: str
    identifiers: frozenset[Identifier]
    events: tuple[str, ...]


@dataclass(slots=True)
class People:
    """What events come to. ignored: identifiers that too many people share, or that are blocked;
    each is a person by itself."""

    persons: list[Person] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    ignored: frozenset[Identifier] = frozenset()

    def of(self, identifier: Identifier) -> Person | None:
        """Who holds an identifier."""
        return next((p for p in self.persons if identifier in p.identifiers), None)


_WHY = {1: "limit", 2: "size", 3: "unlinked", 4: "untrusted"}


def people_of(
    events: Iterable[Seen],
    rules: Rules | None = None,
    apart: Collection[tuple[Identifier, Identifier]] = (),
    blocked: Collection[Identifier] = (),
) -> People:
    """The persons that these events make, oldest first; the same for every order and repetition.

    apart: pairs whose link was taken back. blocked: values that join nobody.
    """
    rules = rules or Rules()
    known = {event.event_id: event for event in events}
    ordered = sorted(known.values(), key=_key)
    ignored = _shared(ordered, rules) | frozenset(blocked) | _matching(ordered, rules)
    numbers: dict[Identifier, int] = {}
    for event in ordered:
        for identifier in event.identifiers:
            numbers.setdefault(identifier, len(numbers))
    kinds = Kinds(rules)
    state = State(
        kinds,
        {number: kinds.code(kind) for (kind, _), number in numbers.items()},
        _forbidden(apart, numbers),
    )
    return _told(ordered, ignored, numbers, state)


def _told(
    ordered: list[Seen],
    ignored: frozenset[Identifier],
    numbers: dict[Identifier, int],
    state: State,
) -> People:
    kinds, names = state.kinds, list(numbers)
    people = People(ignored=ignored & numbers.keys())
    group_of: dict[str, Group] = {}
    alone: dict[Identifier, list[str]] = defaultdict(list)
    for place, event in enumerate(ordered):
        strongest_first = sorted(
            set(event.identifiers), key=lambda one: (kinds.rank[kinds.code(one[0])], one[1])
        )
        ids = tuple(numbers[one] for one in strongest_first if one not in ignored)
        for one in strongest_first:
            if one in ignored:
                alone[one] += [event.event_id] if one == strongest_first[0] and not ids else []
        if ids:
            decision = decide(state, ids, event.trusted)
            sighting = Sighting(_key(event), place, ids)
            group_of[event.event_id] = evolve(state, sighting, decision)
            out = tuple(names[i] for i in ids if i not in decision.kept)
            if out:
                people.left.append(Left(event.event_id, out, _WHY[decision.left_by]))
    holds: dict[Group, set[Identifier]] = defaultdict(set)
    for identifier, number in numbers.items():
        group = state.holder(number)
        if group is not None:
            holds[group].add(identifier)
    theirs: dict[Group, list[str]] = defaultdict(list)
    for event_id, group in group_of.items():
        theirs[group.root()].append(event_id)
    for group in sorted(holds, key=lambda group: group.origin):
        made_by = ordered[group.evidence].event_id
        people.persons.append(Person(made_by, frozenset(holds[group]), tuple(theirs[group])))
    for identifier in sorted(alone):
        first = next(e.event_id for e in ordered if identifier in e.identifiers)
        mine = tuple(alone[identifier])
        people.persons.append(Person(first, frozenset({identifier}), mine))
    return people


def _key(event: Seen) -> Key:
    """Canonical order; ids that begin with the same 16 bytes go by the rest of them here."""
    raw = event.event_id.encode()
    first = raw[:16].ljust(16, b"\0")
    rest = int.from_bytes(raw[16:].ljust(112, b"\0"), "big")
    return (
        event.occur_us,
        int.from_bytes(first[:8], "big"),
        int.from_bytes(first[8:], "big"),
        rest,
    )


def _shared(events: Iterable[Seen], rules: Rules) -> frozenset[Identifier]:
    """Identifiers that came with too many of other people."""
    others: dict[Identifier, set[Identifier]] = defaultdict(set)
    for event in events:
        people = {one for one in event.identifiers if one[0] in KNOWING}
        for identifier in event.identifiers:
            if event.trusted or identifier not in people:
                others[identifier] |= people - {identifier}
    most = rules.shared_others_max
    return frozenset(identifier for identifier, came in others.items() if len(came) > most)


def _matching(events: Iterable[Seen], rules: Rules) -> frozenset[Identifier]:
    every = {identifier for event in events for identifier in event.identifiers}
    return frozenset(one for one in every if matching(rules.patterns, *one))


def _forbidden(
    apart: Collection[tuple[Identifier, Identifier]], numbers: dict[Identifier, int]
) -> dict[int, set[int]]:
    forbidden: dict[int, set[int]] = defaultdict(set)
    for first, second in apart:
        if first != second and first in numbers and second in numbers:
            forbidden[numbers[first]].add(numbers[second])
            forbidden[numbers[second]].add(numbers[first])
    return dict(forbidden)

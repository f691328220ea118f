"""Identity the slow way, written from the semantics (section 6): no arrays, no increments.

It takes every event there is in canonical order and knows nothing of batches, lateness, numbers or
atoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import permutations

from tests.unit.identity.events import Happened

Identifier = tuple[str, str]
PRIORITY = ["user_id", "email", "phone", "mobile_push_token", "web_push_token", "cookie"]
PERSONAL = {"user_id", "email", "phone"}


@dataclass(frozen=True)
class Law:
    """The tenant's settings."""

    limits: Mapping[str, int] = field(default_factory=lambda: {"user_id": 1}, hash=False)
    shared_others: int = 100
    size: int = 200
    apart: tuple[tuple[Identifier, Identifier], ...] = ()
    """Pairs that somebody took apart."""
    blocked: frozenset[Identifier] = frozenset()
    patterns: tuple[tuple[str, str], ...] = ()
    """(kind or nothing, value with ? for one character) that join nobody."""


@dataclass(eq=False)
class Person:
    """made_by: (occur_time, event id). once: identifiers it ever held. into: who absorbed it."""

    made_by: tuple[int, str]
    once: set[Identifier]
    into: Person | None = None

    def known(self) -> bool:
        return any(kind in PERSONAL for kind, _ in self.once)


@dataclass
class Answer:
    """held: maker of a person -> identifiers it holds. of_event: event id -> maker of its person.

    A shared identifier's maker is (occur_time, event id, identifier): it stands alone.
    """

    held: dict[tuple, frozenset[Identifier]]
    of_event: dict[str, tuple]
    shared: set[Identifier]


def strength(identifier: Identifier) -> tuple[int, str, str]:
    kind, value = identifier
    return (PRIORITY.index(kind) if kind in PRIORITY else len(PRIORITY), kind, value)


def is_token(identifier: Identifier) -> bool:
    return identifier[0] in ("mobile_push_token", "web_push_token")


def shared_of(events: Iterable[Happened], law: Law) -> set[Identifier]:
    """Others are what makes a person known; who may not be trusted makes nobody's id shared."""
    others: dict[Identifier, set[Identifier]] = {}
    for event in events:
        people = {i for i in event.ids if i[0] in PERSONAL}
        for identifier in event.ids:
            if event.trusted or identifier not in people:
                others.setdefault(identifier, set()).update(people - {identifier})
    shared = {identifier for identifier, came in others.items() if len(came) > law.shared_others}
    every = {identifier for event in events for identifier in event.ids}
    return shared | law.blocked | {one for one in every if looks_wrong(one, law)}


def looks_wrong(identifier: Identifier, law: Law) -> bool:
    return any(
        kind in ("", identifier[0])
        and len(text) == len(identifier[1])
        and all(want in ("?", sign) for want, sign in zip(text, identifier[1], strict=True))
        for kind, text in law.patterns
    )


def persons_of(events: Iterable[Happened], law: Law) -> Answer:
    events = sorted(
        {e.event_id: e for e in events}.values(), key=lambda e: (e.occur_us, e.event_id)
    )
    shared = shared_of(events, law)
    owner: dict[Identifier, Person] = {}
    alone: dict[Identifier, tuple] = {}
    of_event: dict[str, Person | tuple] = {}
    for event in events:
        stamp = (event.occur_us, event.event_id)
        for identifier in set(event.ids) & shared:
            alone.setdefault(identifier, (*stamp, identifier))
        ids = sorted(set(event.ids) - shared, key=strength)
        if not ids:
            of_event[event.event_id] = alone[min(event.ids, key=strength)]
            continue
        while not attempt(ids, owner, law, stamp, event.trusted):
            ids.pop()
        of_event[event.event_id] = owner[ids[0]]
    held: dict[tuple, set[Identifier]] = {}
    for identifier, person in owner.items():
        held.setdefault(person.made_by, set()).add(identifier)
    for identifier, maker in alone.items():
        held[maker] = {identifier}
    now = {}
    for event_id, who in of_event.items():
        while isinstance(who, Person) and who.into is not None:
            who = who.into
        now[event_id] = who.made_by if isinstance(who, Person) else who
    return Answer({maker: frozenset(ids) for maker, ids in held.items()}, now, shared)


def attempt(
    ids: list[Identifier],
    owner: dict[Identifier, Person],
    law: Law,
    stamp: tuple[int, str],
    trusted: bool,
) -> bool:
    """Joins whoever holds these, or says False when that would break a limit.

    Who is not trusted joins nobody known to the first known one; the limits look at all of them.
    """
    about = [i for i in ids if not is_token(i)] or ids[:1]
    persons: list[Person] = []
    taken: list[Identifier] = []
    for identifier in about + [i for i in ids if i not in about]:
        person = owner.get(identifier)
        known = any(p.known() for p in persons) or any(k in PERSONAL for k, _ in taken)
        if person is None:
            taken.append(identifier)
        elif person in persons:
            pass
        elif is_token(identifier) and identifier not in about and person.known() and known:
            taken.append(identifier)
        else:
            persons.append(person)
    together = set(taken).union(*(person.once for person in persons))
    if len(ids) > 1:
        if {*law.apart} & {*permutations(together, 2)} and (len(persons) != 1 or taken):
            return False
        if len(together) > law.size and (len(persons) != 1 or taken):
            return False
        for kind, most in law.limits.items():
            if sum(k == kind for k, _ in together) > most and (len(persons) != 1 or taken):
                return False
    further = [person for person in persons if person.known()][1:]
    if further and not trusted:
        kept = [i for i in ids if i not in about or owner.get(i) not in further]
        return attempt(kept, owner, law, stamp, True)
    if persons:
        survivor = min(persons, key=lambda p: (min(strength(i)[:2] for i in p.once), p.made_by))
    else:
        survivor = Person(stamp, set())
    for person in persons:
        if person is not survivor:
            person.into = survivor
    for identifier, person in list(owner.items()):
        if person in persons:
            owner[identifier] = survivor
    for identifier in taken:
        owner[identifier] = survivor
    survivor.once = together
    return True

"""Taking one event into the evidence: which set it shows, and whether that is news."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.identity.domain.fold import Key
from services.identity.engine import tables
from services.identity.engine.entering import set_print
from services.identity.engine.regions import Knowledge
from services.identity.engine.store import (
    BEARS,
    EVIDENCES,
    HANDED,
    NONE,
    SHARED,
    SIGHTINGS,
    SIGHTINGS_KEPT,
    UNTRUSTED,
    UNTRUSTED_SALT,
    VISIT,
)

DISPUTED_SIGHTINGS_MAX = 64
"""Sightings kept of a set with a token that was handed on; beyond it, idle ones are dropped."""

OLD, NEW, EARLIER, SIGHTED = range(4)
"""Nothing new; a set never seen; a set first seen earlier than known; once more, with a token."""


class Named(NamedTuple):
    """One identifier of a row."""

    kind: int
    high: int
    low: int
    text: bytes


class Event(NamedTuple):
    """One row, or a decision by hand, as far as identity decides on it.

    time_us: log time of acceptance. trusted: whether it may join two known people.
    """

    key: Key
    print_low: int
    named: tuple[Named, ...]
    time_us: int
    event_id: bytes
    trusted: bool = True


def identify(knowledge: Knowledge, event: Event) -> tuple[int, ...]:
    """The identifiers of an event, each once, strongest first; unknown ones are entered."""
    store, rank = knowledge.store, knowledge.kinds.rank
    found: dict[int, Named] = {}
    for named in event.named:
        identifier = store.find_identifier(named.high, named.low)
        if identifier is None:
            token = knowledge.kinds.token[named.kind]
            identifier = store.add_identifier(*named[1:3], named.kind, named.text, token)
        found[identifier] = named
    return tuple(sorted(found, key=lambda i: (rank[found[i].kind], found[i].text)))


def take(knowledge: Knowledge, event: Event, ids: tuple[int, ...]) -> tuple[int, int]:
    """(set, what is new about it); the store holds the event afterwards."""
    store = knowledge.store
    high, low = _set_print(knowledge, ids, event.trusted)
    if len(ids) == 1:
        evidence = int(store.atoms["evidence"][ids[0]])
        evidence = -1 if evidence == NONE else evidence
    else:
        evidence = int(tables.find_set(store.set_slots, store.evidence, high, low))
    if evidence < 0:
        return _entered(knowledge, event, ids, high, low), NEW
    first = knowledge.key(evidence)
    if event.key == first:
        return evidence, OLD
    has_token = int(store.evidence["sightings"][evidence]) != NONE
    if event.key < first:
        date(knowledge, evidence, event)
        if has_token:
            see(knowledge, evidence, first)
        return evidence, EARLIER
    if has_token and see(knowledge, evidence, event.key):
        return evidence, SIGHTED
    return evidence, OLD


def date(knowledge: Knowledge, evidence: int, event: Event) -> None:
    """Gives a set the place of this event in canonical order."""
    record = knowledge.store.evidence[evidence]
    record["time_us"], record["word_0"], record["word_1"], record["print_high"] = event.key
    record["print_low"] = event.print_low
    if int(record["count"]) > 1:
        knowledge.store.note_event(evidence, event.event_id)


def see(knowledge: Knowledge, evidence: int, key: Key) -> bool:
    """Keeps a sighting of a set with a token; False when it was known or is too old to keep."""
    seen = knowledge.seen.get(evidence)
    if seen is not None:
        if key in seen:
            return False
        seen[key] = True
        return True
    record = knowledge.store.evidence[evidence]
    kept = sorted({*knowledge.sightings(evidence), key})[-SIGHTINGS_KEPT:]
    knowledge.store.sightings[int(record["sightings"])][: len(kept)] = kept
    grew = len(kept) > int(record["seen"]) or key in kept
    record["seen"] = len(kept)
    return grew


def watch(knowledge: Knowledge, evidence: int) -> None:
    """From now on every event with this set is decided by itself; it has a token."""
    knowledge.store.evidence["flags"][evidence] |= VISIT
    if evidence not in knowledge.seen:
        knowledge.seen[evidence] = dict.fromkeys(knowledge.sightings(evidence), True)


def forget_idle(knowledge: Knowledge, evidence: int) -> None:
    """Drops the oldest sightings that changed nothing, when there are too many."""
    seen = knowledge.seen[evidence]
    surplus = len(seen) - DISPUTED_SIGHTINGS_MAX
    if surplus > 0:
        for key in sorted(key for key, changed in seen.items() if not changed)[:surplus]:
            del seen[key]


def dispute(knowledge: Knowledge, token: int) -> None:
    """From now on everything with this token is decided event by event."""
    store = knowledge.store
    store.atoms["flags"][token] |= HANDED
    for evidence in knowledge.bearing(token):
        if len(knowledge.ids(evidence)) > 1:
            watch(knowledge, evidence)
        else:
            store.evidence["flags"][evidence] |= VISIT


def newly_shared(knowledge: Knowledge, ids: tuple[int, ...]) -> list[int]:
    """Identifiers that have now come with too many of other people; they are marked as shared.

    Others are what makes a person known: a user id with many cookies is nobody's but its own. What
    an untrusted publisher says does not count against an identifier that makes a person known.
    """
    found = []
    for identifier in ids:
        if knowledge.flagged(identifier, SHARED):
            if knowledge.owner(identifier) < 0:
                # Blocked before it was ever seen: now it needs a profile of its own.
                found.append(identifier)
        elif is_shared(knowledge, identifier):
            knowledge.store.atoms["flags"][identifier] |= SHARED
            found.append(identifier)
    return found


def is_shared(knowledge: Knowledge, identifier: int) -> bool:
    """Whether an identifier came with too many of other people."""
    most = knowledge.kinds.rules.shared_others_max
    if int(knowledge.store.atoms["degree"][identifier]) <= most:
        return False
    return len(_others(knowledge, identifier)) > most


def _others(knowledge: Knowledge, identifier: int) -> set[int]:
    """Identifiers of people that came with one, as far as they count."""
    atoms, knows = knowledge.store.atoms, knowledge.kinds.knows
    flags = knowledge.store.evidence["flags"]
    known = knows[int(atoms["kind"][identifier])]
    kind = atoms["kind"]
    return {
        i
        for evidence in knowledge.bearing(identifier)
        if not (known and int(flags[evidence]) & UNTRUSTED)
        for i in knowledge.ids(evidence)
        if i != identifier and knows[int(kind[i])]
    }


def touch(knowledge: Knowledge, profile: int, time_us: int) -> None:
    """Evidence of this time names an identifier of the profile."""
    record = knowledge.store.profiles[profile]
    record["touched"] += 1
    if time_us > int(record["last_time_us"]):
        record["last_time_us"] = time_us


def _set_print(
    knowledge: Knowledge, ids: tuple[int, ...], trusted: bool
) -> tuple[np.uint64, np.uint64]:
    if len(ids) == 1:
        return np.uint64(0), np.uint64(0)
    atoms = knowledge.store.atoms
    words = np.empty(2 * len(ids), np.uint64)
    words[0::2] = atoms["print_high"][list(ids)]
    words[1::2] = atoms["print_low"][list(ids)]
    high, low = set_print(words, np.arange(len(ids)), len(ids))
    salt = 0 if trusted else UNTRUSTED_SALT
    return np.uint64(int(high) ^ salt), np.uint64(low)


def _entered(
    knowledge: Knowledge, event: Event, ids: tuple[int, ...], high: np.uint64, low: np.uint64
) -> int:
    """A set never seen: nothing is decided about it yet."""
    store = knowledge.store
    evidence, begin = store.count(EVIDENCES), store.count(BEARS)
    store.counts[EVIDENCES] += 1
    store.counts[BEARS] += len(ids)
    record = store.evidence[evidence]
    record["set_high"], record["set_low"] = high, low
    record["begin"], record["count"] = begin, len(ids)
    date(knowledge, evidence, event)
    record["sightings"] = NONE
    record["seen"] = record["kept"] = record["left"] = 0
    untrusted = len(ids) > 1 and not event.trusted
    record["flags"] = UNTRUSTED if untrusted else 0
    knows = knowledge.kinds.knows
    kinds = store.atoms["kind"]
    people = sum(knows[int(kinds[i])] for i in ids)
    for place, identifier in enumerate(ids, begin):
        store.bears[place] = (identifier, evidence, store.atoms["bears"][identifier])
        store.atoms["bears"][identifier] = place
        own = knows[int(kinds[identifier])]
        if not (own and untrusted):
            store.atoms["degree"][identifier] += people - own
    anchor_evidence(knowledge, evidence)
    token = knowledge.kinds.token
    if len(ids) == 1:
        store.atoms["evidence"][ids[0]] = evidence
    else:
        tables.put(store.set_slots, high, low, evidence)
        if any(token[int(kinds[i])] for i in ids):
            record["sightings"] = store.count(SIGHTINGS)
            store.counts[SIGHTINGS] += 1
    if any(knowledge.flagged(i, HANDED) for i in ids):
        if len(ids) > 1:
            watch(knowledge, evidence)
        record["flags"] |= VISIT
    return evidence


def anchor_evidence(knowledge: Knowledge, evidence: int) -> None:
    """Rows belong to the strongest identifier that is not shared, else to the strongest."""
    ids = knowledge.ids(evidence)
    effective = knowledge.effective(evidence)
    knowledge.store.evidence["anchor"][evidence] = (effective or ids)[0]

"""What other rules would make of all evidence: folded from the beginning, beside what stands."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from services.identity.domain.fold import Sighting, State, fold
from services.identity.domain.kinds import Kinds, Rules
from services.identity.engine import evidence as taking
from services.identity.engine.matching import matched
from services.identity.engine.regions import Knowledge
from services.identity.engine.store import ATOMS, EVIDENCES

EXAMPLES_MAX = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """Present profiles against those under other rules.

    joined: present profiles that would stand with another; split: present profiles that would fall
    apart. Examples: groups of numbers that would be one, numbers that would fall apart.
    """

    profiles_now: int
    profiles_then: int
    joined: int
    split: int
    joined_examples: tuple[tuple[int, ...], ...]
    split_examples: tuple[int, ...]


def simulate(knowledge: Knowledge, rules: Rules, blocked: set[int]) -> Difference:
    """Folds everything known under other rules; about 20 us a set of identifiers, in memory.

    blocked: identifiers that never join anybody, beside those that match a pattern of the rules.
    The order of strength stays as it is.
    """
    present = knowledge.kinds
    kinds = Kinds(replace(rules, priority=present.rules.priority), present.names)
    tried = replace(knowledge, kinds=kinds)
    shared = blocked | matched(tried, rules.patterns) | _shared(tried)
    store = knowledge.store
    kind = store.atoms["kind"][: store.count(ATOMS)].tolist()
    state = State(kinds, dict(enumerate(kind)), knowledge.forbidden)
    sightings = []
    for evidence in range(store.count(EVIDENCES)):
        ids = tuple(i for i in knowledge.ids(evidence) if i not in shared)
        if ids:
            trusted = knowledge.trusted(evidence)
            keys = (knowledge.key(evidence), *knowledge.sightings(evidence))
            sightings += [Sighting(key, evidence, ids, None, trusted) for key in keys]
    fold(state, sightings)
    return _difference(knowledge, state, shared)


def _shared(tried: Knowledge) -> set[int]:
    """Identifiers that are ignored as a whole under these rules."""
    atoms = tried.store.atoms[: tried.store.count(ATOMS)]
    many = (atoms["identifier"] == np.arange(len(atoms))) & (
        atoms["degree"] > tried.kinds.rules.shared_others_max
    )
    return {i for i in np.flatnonzero(many).tolist() if taking.is_shared(tried, i)}


def _difference(knowledge: Knowledge, state: State, shared: set[int]) -> Difference:
    atoms = knowledge.store.atoms
    now: dict[int, set[int]] = defaultdict(set)
    then: dict[int, set[int]] = defaultdict(set)
    for identifier in range(knowledge.store.count(ATOMS)):
        owner = knowledge.owner(identifier)
        if int(atoms["identifier"][identifier]) != identifier or owner < 0:
            continue
        group = state.holder(identifier)
        # Who stands alone, or with nobody, is a profile by itself here.
        alone = identifier in shared or group is None
        place = -1 - identifier if alone else id(group)
        now[owner].add(place)
        then[place].add(owner)
    joins = [sorted(owners) for owners in then.values() if len(owners) > 1]
    splits = sorted(owner for owner, places in now.items() if len(places) > 1)
    return Difference(
        len(now),
        len(then),
        len({owner for owners in joins for owner in owners}),
        len(splits),
        tuple(tuple(owners[:EXAMPLES_MAX]) for owners in sorted(joins)[:EXAMPLES_MAX]),
        tuple(splits[:EXAMPLES_MAX]),
    )

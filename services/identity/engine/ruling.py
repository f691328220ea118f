"""Other rules for a tenant: all that they can change is folded again, at one place of the log.

The order of strength is not among them: rows carry the strongest identifier they came with, so it
is the same for the whole log.
"""

from __future__ import annotations

import numpy as np

from services.identity.domain.kinds import Rules
from services.identity.engine import evidence as taking
from services.identity.engine.changes import Outcome
from services.identity.engine.matching import matched
from services.identity.engine.regions import Knowledge, Owner
from services.identity.engine.store import ATOMS, EVIDENCES, NONE, PROFILES, SHARED
from services.identity.engine.visits import Visits


def change_rules(visits: Visits, rules: Rules, blocked: set[int], time_us: int) -> Outcome:
    """Takes other limits; blocked: identifiers that from now on never join anybody.

    So do those that match a pattern of the rules. Priority stays as it is. time_us: log time.
    """
    knowledge = visits.knowledge
    knowledge.kinds.ruled(rules)
    alone, freed = _reflagged(knowledge, blocked | matched(knowledge, rules.patterns))
    owners = _left_something(knowledge) | _too_large(knowledge)
    for identifier in (*alone, *freed):
        owners.add(knowledge.owner(identifier))
        for evidence in knowledge.bearing(identifier):
            taking.anchor_evidence(knowledge, evidence)
            owners |= {knowledge.owner(i) for i in knowledge.effective(evidence)}
    outcome = Outcome()
    alone = [identifier for identifier in alone if knowledge.bearing(identifier)]
    visits.refold(owners, None, alone, time_us, outcome)
    return outcome


def _reflagged(knowledge: Knowledge, blocked: set[int]) -> tuple[list[int], list[int]]:
    """(identifiers ignored from now on, those no longer): flags are set."""
    store = knowledge.store
    atoms = store.atoms[: store.count(ATOMS)]
    first = atoms["identifier"] == np.arange(len(atoms))
    many = first & (atoms["degree"] > knowledge.kinds.rules.shared_others_max)
    asked = np.flatnonzero(many | (first & (atoms["flags"] & SHARED != 0))).tolist()
    alone, freed = [], []
    for identifier in sorted({*asked, *blocked}):
        ignored = identifier in blocked or taking.is_shared(knowledge, identifier)
        if ignored == knowledge.flagged(identifier, SHARED):
            continue
        if ignored:
            store.atoms["flags"][identifier] |= SHARED
            alone.append(identifier)
        else:
            store.atoms["flags"][identifier] &= ~np.uint32(SHARED)
            freed.append(identifier)
    return alone, freed


def _left_something(knowledge: Knowledge) -> set[Owner]:
    """Whoever has to do with evidence that had to leave identifiers out."""
    store = knowledge.store
    left = np.flatnonzero(store.evidence["left"][: store.count(EVIDENCES)] >> 3).tolist()
    return {knowledge.owner(i) for evidence in left for i in knowledge.effective(evidence)}


def _too_large(knowledge: Knowledge) -> set[Owner]:
    """Profiles that hold, or held, more than the rules allow now."""
    store, kinds = knowledge.store, knowledge.kinds
    numbers = store.count(PROFILES)
    atoms = store.atoms[: store.count(ATOMS)]
    here = atoms[(atoms["profile"] != NONE) & (atoms["flags"] & SHARED == 0)]
    # A token that was handed on left an atom for its rows behind.
    pairs = here["profile"].astype(np.uint64) << np.uint64(32) | here["identifier"]
    _, first = np.unique(pairs, return_index=True)
    held = here[first]
    size = np.bincount(held["profile"], minlength=numbers)
    large = size > kinds.rules.profile_identifiers_max
    for code, limit in enumerate(kinds.limit):
        of_kind = held["profile"][held["kind"] == code]
        large |= np.bincount(of_kind, minlength=numbers) > limit
    return {int(number) for number in np.flatnonzero(large)}

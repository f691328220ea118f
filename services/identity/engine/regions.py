"""Late evidence: folds again what it can change, and no more.

A region is a core of profiles, folded from all their evidence, and an edge: profiles that share
evidence with the core but not a join, because a limit kept them apart. Evidence of the edge alone
is taken as it was decided. If a decision about the core now concerns a profile of the edge, that
profile goes into the core and the fold starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from services.identity.domain.fold import Decision, Group, Key, Sighting, State, fold
from services.identity.domain.kinds import Kinds
from services.identity.engine.store import NONE, SHARED, UNTRUSTED, Store

SETS_CACHED_MAX = 50_000

Owner = int
"""A profile's number, or -1 - identifier for one that nobody holds."""


@dataclass(slots=True)
class Knowledge:
    """The store, the kinds, and what is kept apart for push tokens that were handed on.

    stints: token -> (since when, the atom that its rows get), in order. seen: set with such a token
    -> its sightings after the first, and whether each changed anything. further: token -> atoms for
    its rows beside the one next to it. stale: atom that nobody has any more -> the profile it was
    last said to belong to. forbidden: identifier -> those it never stands with.
    """

    store: Store
    kinds: Kinds
    stints: dict[int, list[tuple[Key, int]]] = field(default_factory=dict)
    seen: dict[int, dict[Key, bool]] = field(default_factory=dict)
    further: dict[int, list[int]] = field(default_factory=dict)
    stale: dict[int, int] = field(default_factory=dict)
    forbidden: dict[int, set[int]] = field(default_factory=dict)
    _ids: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def owner(self, identifier: int) -> Owner:
        number = int(self.store.atoms["profile"][identifier])
        return -1 - identifier if number == NONE else number

    def is_token(self, identifier: int) -> bool:
        return self.kinds.token[int(self.store.atoms["kind"][identifier])]

    def flagged(self, identifier: int, flag: int) -> bool:
        return bool(int(self.store.atoms["flags"][identifier]) & flag)

    def held(self, owner: Owner) -> set[int]:
        """The identifiers a profile holds or held."""
        if owner < 0:
            return {-1 - owner}
        identifier = self.store.atoms["identifier"]
        return {int(identifier[atom]) for atom in self.store.atoms_of(owner)}

    def ids(self, evidence: int) -> tuple[int, ...]:
        """The identifiers of a set, strongest first."""
        ids = self._ids.get(evidence)
        if ids is None:
            begin = int(self.store.evidence["begin"][evidence])
            end = begin + int(self.store.evidence["count"][evidence])
            if len(self._ids) >= SETS_CACHED_MAX:
                self._ids.clear()
            ids = tuple(self.store.bears["identifier"][begin:end].tolist())
            self._ids[evidence] = ids
        return ids

    def effective(self, evidence: int) -> tuple[int, ...]:
        """The identifiers of a set without the shared ones."""
        flags = self.store.atoms["flags"]
        return tuple(i for i in self.ids(evidence) if not int(flags[i]) & SHARED)

    def kept(self, evidence: int) -> tuple[int, ...]:
        """The identifiers of a set that were not left out."""
        mask = int(self.store.evidence["kept"][evidence])
        return tuple(i for place, i in enumerate(self.ids(evidence)) if mask >> place & 1)

    def bearing(self, identifier: int) -> list[int]:
        """Every set with this identifier."""
        store, found = self.store, []
        evidence, following = store.bears["evidence"], store.bears["next"]
        place = int(store.atoms["bears"][identifier])
        while place != NONE:
            found.append(int(evidence[place]))
            place = int(following[place])
        return found

    def trusted(self, evidence: int) -> bool:
        return not int(self.store.evidence["flags"][evidence]) & UNTRUSTED

    def key(self, evidence: int) -> Key:
        time_us, word_0, word_1, print_high, *_ = self.store.evidence[evidence].item()
        return time_us, word_0, word_1, print_high

    def sightings(self, evidence: int) -> list[Key]:
        """What is kept of a set's sightings after the first; only sets with a token have any."""
        seen = self.seen.get(evidence)
        if seen is not None:
            return list(seen)
        block = int(self.store.evidence["sightings"][evidence])
        if block == NONE:
            return []
        kept = self.store.sightings[block][: int(self.store.evidence["seen"][evidence])]
        return [tuple(one) for one in kept.tolist()]


@dataclass(slots=True)
class Region:
    """What was folded. core: its owners; told: every sighting with what it decided."""

    core: set[Owner]
    core_ids: set[int]
    state: State
    told: list[tuple[Sighting, Decision]]

    def groups(self) -> list[Group]:
        """The groups of the core, oldest first."""
        found = {}
        for identifier in self.core_ids:
            group = self.state.holder(identifier)
            if group is not None:
                found[id(group)] = group
        return sorted(found.values(), key=lambda group: group.origin)


def refold(
    knowledge: Knowledge,
    core: Iterable[Owner],
    fresh: int | None = None,
    without: AbstractSet[int] = frozenset(),
) -> Region:
    """Folds a core of profiles from their evidence; changes nothing.

    fresh: evidence that was never decided. without: evidence taken as if it had not been.
    """
    owners = set(core)
    while True:
        region, edge_ids = _folded(knowledge, owners, without)
        wider = _concerned(knowledge, region, edge_ids, fresh)
        if not wider:
            return region
        owners = region.core | wider


def _folded(
    knowledge: Knowledge, owners: set[Owner], without: AbstractSet[int]
) -> tuple[Region, set[int]]:
    core, core_ids, core_sets = _core(knowledge, owners)
    ids_of = {evidence: knowledge.effective(evidence) for evidence in core_sets - without}
    edge = {knowledge.owner(i) for ids in ids_of.values() for i in ids if i not in core_ids}
    edge_ids: set[int] = set().union(*(knowledge.held(owner) for owner in edge)) - core_ids
    sightings = []
    for evidence, ids in ids_of.items():
        if ids:
            trusted = knowledge.trusted(evidence)
            keys = (knowledge.key(evidence), *knowledge.sightings(evidence))
            sightings += [Sighting(key, evidence, ids, None, trusted) for key in keys]
    for evidence in _sets_of(knowledge, edge_ids) - core_sets:
        fixed = tuple(i for i in knowledge.kept(evidence) if i in edge_ids)
        if fixed:
            sightings.append(Sighting(knowledge.key(evidence), evidence, fixed, fixed))
    kind = knowledge.store.atoms["kind"]
    everyone = core_ids | edge_ids | {i for ids in ids_of.values() for i in ids}
    state = State(knowledge.kinds, {i: int(kind[i]) for i in everyone}, knowledge.forbidden)
    return Region(core, core_ids, state, fold(state, sightings)), edge_ids


def _core(knowledge: Knowledge, owners: set[Owner]) -> tuple[set[Owner], set[int], set[int]]:
    """Owners, their identifiers, and every set that names one; whole where tokens are disputed."""
    while True:
        ids = {
            i for owner in owners for i in knowledge.held(owner) if not knowledge.flagged(i, SHARED)
        }
        sets = _sets_of(knowledge, ids)
        disputed = {
            i for evidence in sets for i in knowledge.ids(evidence) if i in knowledge.stints
        }
        wider = {
            knowledge.owner(i)
            for evidence in _sets_of(knowledge, disputed)
            for i in knowledge.effective(evidence)
        }
        if wider <= owners:
            return owners, ids, sets
        owners = owners | wider


def _sets_of(knowledge: Knowledge, ids: Iterable[int]) -> set[int]:
    return {evidence for i in ids for evidence in knowledge.bearing(i)}


def _concerned(
    knowledge: Knowledge, region: Region, edge_ids: set[int], fresh: int | None
) -> set[Owner]:
    """Owners at the edge that a decision about the core concerns, other than before."""
    found: set[Owner] = set()
    for sighting, decision in region.told:
        if sighting.fixed is not None:
            continue
        kept = set(decision.kept)
        before = set() if sighting.evidence == fresh else set(knowledge.kept(sighting.evidence))
        edge = (kept | before) & edge_ids
        if edge and (kept != before or kept & region.core_ids):
            found |= {knowledge.owner(i) for i in edge}
    return found

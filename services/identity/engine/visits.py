"""Rows the kernel leaves alone: joins, limits, late evidence, shared and handed-on identifiers.

The decision is the fold's (domain/fold.py): taken on the profiles as they stand when the event is
the newest that concerns them, by folding the region again when it is late. Here it becomes moves
of atoms between dense numbers. Atoms are identifiers; a push token that was handed on has one atom
for each profile that held it, so that rows of its own stay with whoever held it then.
"""

from __future__ import annotations

from collections import defaultdict

from services.identity.domain.fold import (
    LEFT_BY_LIMIT,
    LEFT_BY_SIZE,
    LEFT_BY_TRUST,
    LEFT_BY_UNLINK,
    Decision,
    Group,
    Sighting,
    State,
    decide,
    evolve,
)
from services.identity.engine import changes, renumbering
from services.identity.engine import evidence as taking
from services.identity.engine.changes import Move, Outcome
from services.identity.engine.evidence import EARLIER, NEW, OLD, Event
from services.identity.engine.regions import Knowledge, Owner, Region, refold
from services.identity.engine.store import NONE, SHARED

LEFT_OUT = {
    LEFT_BY_LIMIT: "limit",
    LEFT_BY_SIZE: "size",
    LEFT_BY_UNLINK: "unlinked",
    LEFT_BY_TRUST: "untrusted",
}
"""Why identifiers are left out of joins: a limit of their kind, the size brake, a link taken back,
a publisher that may not join two known people."""
LEFT_MAX = 31
"""More are not counted of one set."""


class Visits:
    """Decides one event after the other on what is known.

    left_out: identifiers left out of joins by reason, as the evidence stands.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self.left_out = dict.fromkeys(LEFT_OUT.values(), 0)

    def visit(self, event: Event) -> Outcome:
        """Takes one event; room in the store is reserved by the caller."""
        knowledge = self.knowledge
        ids = taking.identify(knowledge, event)
        evidence, news = taking.take(knowledge, event, ids)
        outcome = Outcome()
        if news != OLD:
            self._decide(evidence, news, ids, event, outcome)
        anchor = int(knowledge.store.evidence["anchor"][evidence])
        outcome.atom = changes.atom_at(knowledge, anchor, event.key)
        outcome.profile = int(knowledge.store.atoms["profile"][outcome.atom])
        if outcome.profile == NONE:
            raise AssertionError(f"atom {outcome.atom} has rows but no profile")
        return outcome

    def _decide(
        self, evidence: int, news: int, ids: tuple[int, ...], event: Event, outcome: Outcome
    ) -> None:
        knowledge = self.knowledge
        shared = taking.newly_shared(knowledge, ids) if news == NEW else []
        effective = knowledge.effective(evidence)
        owners = {knowledge.owner(i) for i in (*effective, *shared)}
        if shared:
            for identifier in shared:
                for one in knowledge.bearing(identifier):
                    taking.anchor_evidence(knowledge, one)
                    owners |= {knowledge.owner(i) for i in knowledge.effective(one)}
        late = any(event.key[0] <= self._last_time(owner, evidence) for owner in owners)
        if shared or (effective and (news == EARLIER or late)):
            fresh = evidence if news == NEW else None
            self.refold(owners, fresh, shared, event.time_us, outcome)
        elif effective:
            self._append(evidence, news, effective, event, outcome)
        if news in (NEW, EARLIER):
            for identifier in set(ids) - set(shared):
                if knowledge.flagged(identifier, SHARED):
                    self._date_alone(identifier, evidence, outcome)

    def _last_time(self, owner: Owner, evidence: int) -> int:
        """No evidence but this one that concerns an owner is newer."""
        knowledge = self.knowledge
        if owner >= 0:
            return int(knowledge.store.profiles["last_time_us"][owner])
        return max(
            (
                key[0]
                for one in knowledge.bearing(-1 - owner)
                if one != evidence
                for key in (knowledge.key(one), *knowledge.sightings(one))
            ),
            default=-(1 << 63),
        )

    # -- in canonical order ------------------------------------------------------------------

    def _append(
        self, evidence: int, news: int, ids: tuple[int, ...], event: Event, outcome: Outcome
    ) -> None:
        """The newest event of everybody it names: one step of the fold on profiles as they are."""
        knowledge = self.knowledge
        kind = knowledge.store.atoms["kind"]
        kind_of = {i: int(kind[i]) for i in ids}
        state = State(knowledge.kinds, kind_of, knowledge.forbidden)
        groups: dict[Owner, Group] = {}
        for identifier in ids:
            owner = knowledge.owner(identifier)
            if owner >= 0:
                if owner not in groups:
                    groups[owner] = standing(knowledge, owner, kind_of)
                state.owner[identifier] = groups[owner]
        trusted = knowledge.trusted(evidence)
        decision = decide(state, ids, trusted)
        if news == NEW:
            self._decided(evidence, decision)
        if event.key in knowledge.seen.get(evidence, ()):
            knowledge.seen[evidence][event.key] = decision.changes
            taking.forget_idle(knowledge, evidence)
        for owner in groups:
            taking.touch(knowledge, owner, event.key[0])
        if decision.changes:
            survivor = evolve(state, Sighting(event.key, evidence, ids), decision)
            self._change(survivor, decision, event, outcome)

    def _change(self, survivor: Group, decision: Decision, event: Event, outcome: Outcome) -> None:
        knowledge = self.knowledge
        number = survivor.number
        if number is None:
            number = knowledge.store.add_profile(event.time_us)
            public_id = changes.first_public_id(knowledge, survivor.evidence)
            changes.name(knowledge, number, public_id, survivor.evidence, outcome)
            taking.touch(knowledge, number, event.key[0])
        for group in decision.joined:
            if group is not survivor and group.number is not None:
                self._absorb(group.number, number, outcome)
        for identifier in decision.fresh:
            changes.link(knowledge, identifier, number, event, outcome)
        for token in decision.handed:
            changes.hand_on(knowledge, token, number, event, outcome)

    def _absorb(self, source: int, target: int, outcome: Outcome) -> None:
        """All atoms of one number go to another, and it ends."""
        store = self.knowledge.store
        atoms = store.atoms_of(source)
        store.atoms["profile"][atoms] = target
        store.atoms["next"][atoms[-1]] = store.profiles["head"][target]
        absorbed, survivor = store.profiles[source], store.profiles[target]
        survivor["head"] = absorbed["head"]
        survivor["size"] = len(self.knowledge.held(target))
        survivor["kinds"] |= absorbed["kinds"]
        survivor["touched"] += absorbed["touched"]
        survivor["last_time_us"] = max(survivor["last_time_us"], absorbed["last_time_us"])
        absorbed["head"], absorbed["size"], absorbed["forward"] = NONE, 0, target
        atoms += changes.stale_of(self.knowledge, source, target)
        outcome.moves.append(Move(source, target, tuple(sorted(atoms)), ends=True))

    # -- late --------------------------------------------------------------------------------

    def refold(
        self,
        owners: set[Owner],
        fresh: int | None,
        alone: list[int],
        time_us: int,
        outcome: Outcome,
    ) -> None:
        """Folds these again from their evidence and moves what stands elsewhere then.

        fresh: evidence that was never decided. alone: identifiers that have just become shared.
        time_us: log time of the cause.
        """
        knowledge = self.knowledge
        region = refold(knowledge, owners, fresh)
        decided: set[int] = set()
        for sighting, decision in region.told:
            if sighting.fixed is None:
                if sighting.evidence not in decided:
                    decided.add(sighting.evidence)
                    self._decided(sighting.evidence, decision)
                elif sighting.evidence in knowledge.seen:
                    knowledge.seen[sighting.evidence][sighting.key] = decision.changes
        groups = renumbering.renumber(knowledge, region, alone, time_us, outcome)
        for evidence in decided & knowledge.seen.keys():
            taking.forget_idle(knowledge, evidence)
        self._date(region, groups)

    def _date(self, region: Region, groups: list[Group]) -> None:
        """What the profiles of a region rest on: how much evidence, and its newest time."""
        knowledge = self.knowledge
        profiles = knowledge.store.profiles
        touched: dict[int, set[int]] = defaultdict(set)
        last: dict[int, int] = {}
        for sighting, _ in region.told:
            for owner in {knowledge.owner(i) for i in sighting.ids}:
                touched[owner].add(sighting.evidence)
                last[owner] = sighting.key[0]
        for group in groups:
            number = group.number or 0
            profiles["touched"][number] = len(touched[number])
            profiles["last_time_us"][number] = last.pop(number, group.origin[0])
        for owner, time_us in last.items():
            if owner >= 0 and time_us > int(profiles["last_time_us"][owner]):
                profiles["last_time_us"][owner] = time_us

    # -- both --------------------------------------------------------------------------------

    def _decided(self, evidence: int, decision: Decision) -> None:
        """Remembers what a set kept at its first event."""
        knowledge = self.knowledge
        record = knowledge.store.evidence[evidence]
        ids, kept = knowledge.ids(evidence), decision.kept
        mask, left = (1 << len(ids)) - 1, 0
        if len(kept) < len(ids):
            mask = sum((identifier in kept) << place for place, identifier in enumerate(ids))
            left = len(knowledge.effective(evidence)) - len(kept)
        self._count(int(record["left"]), -1)
        record["kept"] = mask
        left = min(left, LEFT_MAX)
        record["left"] = left << 3 | decision.left_by
        self._count(int(record["left"]), 1)
        if left and int(record["sightings"]) != NONE:
            taking.watch(knowledge, evidence)

    def _count(self, left: int, sign: int) -> None:
        if left >> 3:
            self.left_out[LEFT_OUT[left & 7]] += sign * (left >> 3)

    def _date_alone(self, identifier: int, evidence: int, outcome: Outcome) -> None:
        """A shared identifier's profile is as old as the first event that has it."""
        knowledge = self.knowledge
        number = knowledge.owner(identifier)
        if number < 0:
            raise AssertionError(f"shared identifier {identifier} has no profile")
        origin = int(knowledge.store.profiles["origin"][number])
        if knowledge.key(evidence) <= knowledge.key(origin):
            public_id = renumbering.lone_public_id(knowledge, identifier, evidence)
            changes.name(knowledge, number, public_id, evidence, outcome)


def standing(knowledge: Knowledge, number: int, kind_of: dict[int, int]) -> Group:
    """A profile as the fold sees it. kind_of: gets the kinds of its identifiers."""
    store = knowledge.store
    origin = int(store.profiles["origin"][number])
    group = Group(knowledge.key(origin), origin)
    group.number = number
    kind = store.atoms["kind"]
    for identifier in knowledge.held(number):
        kind_of[identifier] = int(kind[identifier])
        group.add(identifier, kind_of[identifier], knowledge.kinds)
    return group

"""What people decided by hand: links taken back, links asserted, and other rules for the tenant.

Decisions are evidence beside that of events: a forbidden pair is a limit that every fold keeps, an
asserted link is a set of identifiers like that of an event. So the same decisions and events give
the same profiles, whichever came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.identity.domain.attribute_rules import AttributeRule, AttributeRules
from services.identity.domain.kinds import Rules
from services.identity.domain.patterns import Pattern
from services.identity.engine import changes
from services.identity.engine.changes import Outcome
from services.identity.engine.evidence import Event, Named
from services.identity.engine.matching import enter
from services.identity.engine.regions import Owner
from services.identity.engine.ruling import change_rules
from services.identity.engine.store import SHARED
from services.identity.engine.visits import Visits


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision. event: who stands for it as a cause; its identifiers are the asserted ones.

    rules: (version, rules, blocked values, rules of attributes).
    """

    request_id: str
    actor: str
    reason: str
    event: Event
    forbidden: tuple[tuple[Named, Named], ...] = ()
    rules: tuple[int, Rules, tuple[Named, ...], AttributeRules] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What is remembered of a decision. kind: unlink, link or rules; time_us: when it was made."""

    actor: str
    reason: str
    kind: str
    time_us: int


@dataclass(slots=True)
class Decisions:
    """Takes decisions in the order of CONTROL; taken: request id -> what was decided."""

    visits: Visits
    taken: dict[str, Taken] = field(default_factory=dict)
    rules_version: int = 1
    attribute_rules: AttributeRules = field(default_factory=AttributeRules)
    blocked: set[int] = field(default_factory=set)
    """Identifiers that never join anybody."""

    def take(self, decided: Decided) -> list[tuple[Outcome, int]]:
        """What one decision changes: (outcome, what its moves are called), in order.

        Room in the store is reserved by the caller. A request id that was taken changes nothing.
        """
        if decided.request_id in self.taken:
            return []
        if decided.rules is not None:
            version, rules, blocked, attribute_rules = decided.rules
            if version != self.rules_version + 1:
                return []
            self._note(decided, "rules")
            self.rules_version, self.attribute_rules = version, attribute_rules
            self.blocked = {self._identifier(named) for named in blocked}
            outcome = change_rules(self.visits, rules, self.blocked, decided.event.time_us)
            return [(outcome, changes.RULES)]
        if decided.forbidden:
            self._note(decided, "unlink")
            return [(self._forbid(decided), changes.UNMERGE)]
        self._note(decided, "link")
        return self._assert(decided.event)

    def _note(self, decided: Decided, kind: str) -> None:
        time_us = decided.event.key[0]
        self.taken[decided.request_id] = Taken(decided.actor, decided.reason, kind, time_us)

    def _forbid(self, decided: Decided) -> Outcome:
        forbidden = self.visits.knowledge.forbidden
        owners: set[Owner] = set()
        for pair in decided.forbidden:
            first, second = (self._identifier(named) for named in pair)
            if first != second:
                forbidden.setdefault(first, set()).add(second)
                forbidden.setdefault(second, set()).add(first)
                owners |= self._owners(first, second)
        outcome = Outcome()
        self.visits.refold(owners, None, [], decided.event.time_us, outcome)
        return outcome

    def _assert(self, event: Event) -> list[tuple[Outcome, int]]:
        forbidden = self.visits.knowledge.forbidden
        identifiers = [self._identifier(named) for named in event.named]
        lifted: set[Owner] = set()
        for first in identifiers:
            apart = forbidden.get(first, set())
            for second in apart & set(identifiers):
                lifted |= self._owners(first, second)
            apart -= set(identifiers)
            if not apart:
                forbidden.pop(first, None)
        told = []
        if lifted:
            told.append((Outcome(), changes.SPLIT))
            self.visits.refold(lifted, None, [], event.time_us, told[0][0])
        return [*told, (self.visits.visit(event), changes.SPLIT)]

    def _owners(self, *identifiers: int) -> set[Owner]:
        """Whom a decision about these concerns; one that is ignored as a whole concerns nobody."""
        knowledge = self.visits.knowledge
        return {knowledge.owner(i) for i in identifiers if not knowledge.flagged(i, SHARED)}

    def _identifier(self, named: Named) -> int:
        """The identifier of this name; an unknown one is entered, held by nobody."""
        return enter(self.visits.knowledge, named.high, named.low, named.kind, named.text)

    # -- snapshots ---------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As JSON can hold it."""
        rules = self.visits.knowledge.kinds.rules
        forbidden = self.visits.knowledge.forbidden
        return {
            "taken": {
                request_id: [taken.actor, taken.reason, taken.kind, taken.time_us]
                for request_id, taken in self.taken.items()
            },
            "version": self.rules_version,
            "attributes": [dict(self.attribute_rules.rules), self.attribute_rules.sources],
            "blocked": sorted(self.blocked),
            "forbidden": [[i, sorted(apart)] for i, apart in forbidden.items()],
            "rules": [
                list(rules.priority),
                dict(rules.limits),
                rules.shared_others_max,
                rules.profile_identifiers_max,
                [[one.kind, one.text, one.one_character] for one in rules.patterns],
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `dump` gave, but for the rules, which the kinds are made with."""
        self.taken = {request_id: Taken(*taken) for request_id, taken in state["taken"].items()}
        rules, sources = state["attributes"]
        by_name = {name: AttributeRule(rule) for name, rule in rules.items()}
        self.rules_version = state["version"]
        self.attribute_rules = AttributeRules(by_name, tuple(sources))
        self.blocked = set(state["blocked"])
        self.visits.knowledge.forbidden = {i: set(apart) for i, apart in state["forbidden"]}


def rules_of(state: Mapping[str, Any]) -> Rules:
    """The rules of a dump."""
    priority, limits, shared_others_max, profile_identifiers_max, patterns = state["rules"]
    return Rules(
        tuple(priority),
        limits,
        shared_others_max,
        profile_identifiers_max,
        tuple(Pattern(*one) for one in patterns),
    )

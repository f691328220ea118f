"""Answers about who is who, read from the core between two of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from services.chassis import prints
from services.chassis.errors import InvalidRequest, NotFound
from services.chassis.identifiers import BadIdentifier, Normaliser
from services.identity.core import IdentityCore
from services.identity.domain import public_ids
from services.identity.domain.attribute_rules import AttributeRules
from services.identity.domain.kinds import Rules
from services.identity.domain.patterns import matching
from services.identity.domain.public_ids import BadProfileId
from services.identity.engine import previews
from services.identity.engine.attributes import Given
from services.identity.engine.changes import MERGE, SPLIT
from services.identity.engine.chronicle import Change
from services.identity.engine.decisions import Taken
from services.identity.engine.previews import LinkPreview, Pair, Part, Wanted
from services.identity.engine.store import ATOMS, NONE, PROFILES, SHARED
from services.identity.engine.timeline import Pointed
from services.identity.engine.visits import LEFT_OUT
from services.identity.settings import IdentitySettings

CHANNELS = {
    "email": "email",
    "sms": "phone",
    "viber": "phone",
    "web_push": "web_push_token",
    "mobile_push": "mobile_push_token",
}
"""Channel -> the kind of identifier it reaches a person by."""


@dataclass(frozen=True, slots=True)
class Person:
    """A profile as it stands. identifiers: (kind, value), strongest first. merges: newest first,
    as (absorbed profile id, event id of the cause, time_us). reach: channel -> identifiers."""

    profile_id: str
    identifiers: list[tuple[str, str]]
    attributes: dict[str, list[Given]]
    merges: list[tuple[str, str, int]]
    create_time_us: int
    reach: dict[str, int]


@dataclass(frozen=True, slots=True)
class Link:
    """Identifiers that came together. cause: the first event or decision that said so, at time_us.

    identifiers: ((kind, value), why it was left out or nothing), strongest first.
    """

    cause: str
    time_us: int
    identifiers: list[tuple[tuple[str, str], str]]
    untrusted: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a tenant's profiles add up to. left_out: identifiers kept out of joins, by reason."""

    profiles: int
    merges: int
    splits: int
    identifiers: dict[str, int]
    left_out: dict[str, int]
    handed_tokens: int


class Answers:
    """Questions to one tenant's identity; none of them changes anything."""

    def __init__(self, core: IdentityCore, settings: IdentitySettings) -> None:
        self._core = core
        self._normaliser = Normaliser(settings.phone_country)
        self.print_key = prints.print_key(settings.print_key)

    def resolve_profile_id(self, profile_id: str) -> int:
        """The number that a present or former id stands for; NotFound, InvalidRequest."""
        try:
            public_id = public_ids.parsed(profile_id)
        except BadProfileId as refusal:
            raise InvalidRequest([("profile.profile_id", str(refusal))]) from None
        number = self._core.store.profile_of_public_id(public_id)
        if number is None:
            raise NotFound(f"no profile has, or had, the id {profile_id}")
        return self._core.store.living(number)

    def resolve_identifier(self, kind: str, value: str) -> int:
        """The number of whoever holds this identifier now; NotFound, InvalidRequest."""
        number = self.find(self.wanted(kind, value, "profile.identifier"))
        if number is None:
            raise NotFound(f"no profile holds this {kind}")
        return number

    def wanted(self, kind: str, value: str, path: str = "") -> Wanted:
        """An identifier normalised and printed; InvalidRequest at `path`."""
        try:
            normal = self._normaliser.normal(kind, value)
        except BadIdentifier as refusal:
            raise InvalidRequest([(path, str(refusal))]) from None
        return Wanted(kind, normal, *prints.print_of(kind, normal, self.print_key))

    def find(self, wanted: Wanted) -> int | None:
        """The number of whoever holds this identifier now."""
        identifier = self._core.store.find_identifier(wanted.high, wanted.low)
        return None if identifier is None else self.owner(identifier)

    def owner(self, identifier: int) -> int | None:
        number = self._core.knowledge.owner(identifier)
        return None if number < 0 else number

    def name(self, identifier: int) -> tuple[str, str]:
        """(kind, value) of an identifier."""
        knowledge = self._core.knowledge
        kind = knowledge.kinds.names[int(knowledge.store.atoms["kind"][identifier])]
        return kind, knowledge.store.text_of(identifier).decode()

    def wanted_of(self, identifier: int) -> Wanted:
        """A known identifier with its print."""
        record = self._core.store.atoms[identifier]
        return Wanted(*self.name(identifier), int(record["print_high"]), int(record["print_low"]))

    def profile_id(self, number: int) -> str:
        return self.text_of(int(self._core.store.profiles["public_id"][number]))

    def text_of(self, public_id: int) -> str:
        return public_ids.text_of(public_id)

    def person(self, number: int) -> Person:
        """Everything about a living profile."""
        core = self._core
        atoms = core.store.atoms_of(number)
        merges = [
            (public_ids.text_of(change.source_id), change.cause, change.time_us)
            for change in core.chronicle.merges_into(number)
        ]
        identifiers = [self.name(identifier) for identifier in self.identifiers_of(number)]
        kinds = Counter(kind for kind, _ in identifiers)
        return Person(
            self.profile_id(number),
            identifiers,
            core.attributes.of(atoms, number),
            merges,
            int(core.store.profiles["create_time_us"][number]),
            {channel: kinds[kind] for channel, kind in CHANNELS.items() if kinds[kind]},
        )

    def identifiers_of(self, number: int) -> list[int]:
        """The identifiers a profile holds now, strongest first."""
        identifier = self._core.store.atoms["identifier"]
        held = [i for i in self._core.store.atoms_of(number) if int(identifier[i]) == i]
        return previews.strongest_first(self._core.knowledge, held)

    def links(self, number: int) -> list[Link]:
        """Every set of identifiers that concerns a profile, in the order of the fold."""
        knowledge = self._core.knowledge
        evidence = {
            one
            for identifier in knowledge.held(number)
            for one in knowledge.bearing(identifier)
            if len(knowledge.ids(one)) > 1
        }
        return [self._link(one) for one in sorted(evidence, key=knowledge.key)]

    def _link(self, evidence: int) -> Link:
        knowledge = self._core.knowledge
        kept = knowledge.kept(evidence)
        reason = LEFT_OUT.get(int(knowledge.store.evidence["left"][evidence]) & 7, "")
        identifiers = []
        for identifier in knowledge.ids(evidence):
            shared = "shared" if knowledge.flagged(identifier, SHARED) else ""
            why = shared or ("" if identifier in kept else reason)
            identifiers.append((self.name(identifier), why))
        return Link(
            knowledge.store.event_of(evidence).decode(),
            knowledge.key(evidence)[0],
            identifiers,
            not knowledge.trusted(evidence),
        )

    # -- the past ----------------------------------------------------------------------------

    def rows(self, number: int, before: int, rows_max: int) -> tuple[list[Pointed], bool]:
        """(places of a profile's newest rows below `before`, whether there are more)."""
        core = self._core
        found = core.timeline.of(core.store.atoms_of(number), before, rows_max + 1)
        return found[:rows_max], len(found) > rows_max

    def rows_left_out(self) -> bool:
        """Whether rows of the tenant are no longer pointed at."""
        return self._core.timeline.oldest > 0

    def changes(
        self, number: int | None, kind: int, before: int, changes_max: int
    ) -> tuple[list[tuple[Change, Taken | None]], bool]:
        """(changes below `before`, newest first, with the decision behind each; whether more)."""
        core = self._core
        chronicle = core.chronicle
        if number is None:
            numbers: Iterable[int] = range(min(before, chronicle.count) - 1, -1, -1)
        else:
            absorbed = {change.source for change in chronicle.merges_into(number)}
            numbers = reversed([n for n in chronicle.of({number, *absorbed}) if n < before])
        wanted = (n for n in numbers if not kind or int(chronicle.records[n]["kind"]) == kind)
        found = [chronicle.change(n) for n in islice(wanted, changes_max + 1)]
        told = [(change, self.decided(change.cause)) for change in found[:changes_max]]
        return told, len(found) > changes_max

    def quarantine(self) -> tuple[list[tuple[int, int]], list[int]]:
        """(profiles at the size brake with their size, largest first; ignored identifiers, and see
        `why_ignored`)."""
        core, store = self._core, self._core.store
        profiles = store.profiles[: store.count(PROFILES)]
        most = core.knowledge.kinds.rules.profile_identifiers_max
        large = np.flatnonzero((profiles["size"] >= most) & (profiles["forward"] == NONE))
        sized = [(int(number), int(profiles["size"][number])) for number in large]
        atoms = store.atoms[: store.count(ATOMS)]
        first = atoms["identifier"] == np.arange(len(atoms))
        ignored = np.flatnonzero(first & (atoms["flags"] & SHARED != 0)).tolist()
        return sorted(sized, key=lambda one: (-one[1], one[0])), ignored

    def why_ignored(self, identifier: int) -> tuple[str, str]:
        """(blocked, pattern or shared; the pattern as people write it)."""
        if identifier in self._core.decisions.blocked:
            return "blocked", ""
        kinds = self._core.knowledge.kinds
        found = matching(kinds.rules.patterns, *self.name(identifier))
        return ("pattern", found.label) if found else ("shared", "")

    # -- decisions ---------------------------------------------------------------------------

    def decided(self, request_id: str) -> Taken | None:
        """What a request id decided."""
        return self._core.decisions.taken.get(request_id)

    def preview_link(self, wanted: list[Wanted], trusted: bool) -> LinkPreview:
        return previews.preview_link(self._core.knowledge, wanted, trusted)

    def pairs_by_identifier(self, number: int, wanted: Wanted) -> list[Pair] | None:
        """Pairs that take an identifier off a profile; None when it does not hold it."""
        identifier = self._core.store.find_identifier(wanted.high, wanted.low)
        if identifier is None or self.owner(identifier) != number:
            return None
        return previews.pairs_by_identifier(self._core.knowledge, number, identifier)

    def pairs_by_cause(self, number: int, cause: str) -> list[Pair] | None:
        return previews.pairs_by_cause(self._core.knowledge, number, cause.encode())

    def preview_unlink(self, number: int, pairs: list[Pair]) -> list[Part]:
        return previews.preview_unlink(self._core.knowledge, number, pairs)

    def rules_version(self) -> int:
        return self._core.decisions.rules_version

    def rules(self) -> tuple[Rules, int, list[tuple[str, str]], AttributeRules]:
        """(rules, version, blocked values, rules of attributes)."""
        decisions = self._core.decisions
        blocked = [self.name(identifier) for identifier in sorted(decisions.blocked)]
        rules = self._core.knowledge.kinds.rules
        return rules, decisions.rules_version, blocked, decisions.attribute_rules

    def report(self) -> Report:
        """Reads every identifier once: milliseconds for a million."""
        core, store = self._core, self._core.store
        numbers, count = store.count(PROFILES), store.count(ATOMS)
        atoms = store.atoms[:count]
        first = atoms["identifier"] == np.arange(count)
        held = first & (atoms["profile"] != NONE)
        by_kind = np.bincount(atoms["kind"][held], minlength=len(core.knowledge.kinds.names))
        shared = int(np.count_nonzero(atoms["flags"][first] & SHARED))
        handed = sum(
            int(store.atoms["profile"][before]) != int(store.atoms["profile"][after])
            for stints in core.knowledge.stints.values()
            for (_, before), (_, after) in pairwise(stints)
        )
        return Report(
            int(np.count_nonzero(store.profiles["forward"][:numbers] == NONE)),
            core.chronicle.counts.get(MERGE, 0),
            core.chronicle.counts.get(SPLIT, 0),
            dict(zip(core.knowledge.kinds.names, by_kind.tolist(), strict=True)),
            {**core.visits.left_out, "shared": shared},
            handed,
        )

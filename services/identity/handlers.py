"""Answers about who is who, read from the core between two of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.chassis import prints
from services.chassis.errors import InvalidRequest, NotFound
from services.chassis.identifiers import BadIdentifier, Normaliser
from services.identity.core import IdentityCore
from services.identity.domain import public_ids
from services.identity.domain.public_ids import BadProfileId
from services.identity.engine.attributes import Given
from services.identity.engine.changes import MERGE, SPLIT
from services.identity.engine.store import ATOMS, NONE, PROFILES, SHARED
from services.identity.settings import IdentitySettings


@dataclass(frozen=True, slots=True)
class Person:
    """A profile as it stands. identifiers: (kind, value), strongest first. merges: newest first,
    as (absorbed profile id, event id of the cause, time_us)."""

    profile_id: str
    identifiers: list[tuple[str, str]]
    attributes: dict[str, list[Given]]
    merges: list[tuple[str, str, int]]


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
        self._print_key = prints.print_key(settings.print_key)

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
        try:
            normal = self._normaliser.normal(kind, value)
        except BadIdentifier as refusal:
            raise InvalidRequest([("profile.identifier", str(refusal))]) from None
        high, low = prints.print_of(kind, normal, self._print_key)
        identifier = self._core.store.find_identifier(high, low)
        number = -1 if identifier is None else self._core.knowledge.owner(identifier)
        if number < 0:
            raise NotFound(f"no profile holds this {kind}")
        return number

    def profile_id(self, number: int) -> str:
        return public_ids.text_of(int(self._core.store.profiles["public_id"][number]))

    def person(self, number: int) -> Person:
        """Everything about a living profile."""
        core = self._core
        atoms = core.store.atoms_of(number)
        merges = [
            (public_ids.text_of(change.source_id), change.cause, change.time_us)
            for change in core.chronicle.merges_into(number)
        ]
        attributes = core.attributes.of(atoms, number)
        return Person(self.profile_id(number), self._identifiers(atoms), attributes, merges)

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

    def _identifiers(self, atoms: list[int]) -> list[tuple[str, str]]:
        knowledge, store = self._core.knowledge, self._core.store
        found = []
        for atom in atoms:
            if int(store.atoms["identifier"][atom]) == atom:
                kind = int(store.atoms["kind"][atom])
                found.append((knowledge.kinds.rank[kind], store.text_of(atom).decode()))
        return [(kind, value) for (_, kind), value in sorted(found)]

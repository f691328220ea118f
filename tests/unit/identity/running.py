"""Runs the core over events in batches, and reads what it knows the way a test wants it."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.core import Message
from services.identity.core import IdentityCore
from services.identity.domain import public_ids
from services.identity.domain.kinds import Rules
from services.identity.domain.patterns import Pattern
from services.identity.engine.store import ATOMS
from tests.unit.identity.events import START_US, TENANT, Happened, message_of, words_of
from tests.unit.identity.follower import Followed
from tests.unit.identity.naive import Identifier, Law

STEP_US = 1_000


def rules_of(law: Law) -> Rules:
    return Rules(
        limits=law.limits,
        shared_others_max=law.shared_others,
        profile_identifiers_max=law.size,
        patterns=tuple(Pattern(*one) for one in law.patterns),
    )


def reloaded(core: IdentityCore) -> IdentityCore:
    """A core that took over another's snapshot."""
    state = {name: memoryview(bytes(value)) for name, value in core.dump().items()}
    again = IdentityCore(TENANT, core.partitions, core.rules)
    again.load(state)
    return again


def run(
    batches: Sequence[Sequence[Happened]],
    partitions: int = 1,
    law: Law | None = None,
    reload_after: int | None = None,
) -> tuple[IdentityCore, Followed]:
    """The core after these batches, one message and one step each, and what it said."""
    core = IdentityCore(TENANT, partitions, rules_of(law or Law()))
    followed = Followed(partitions)
    for place, batch in enumerate(batches):
        if place == reload_after:
            core = reloaded(core)
        at_us = START_US + place * STEP_US
        followed.take(core.step([message_of(batch, place + 1, at_us)], at_us))
    return core, followed


def one_by_one(*events: Happened) -> list[list[Happened]]:
    return [[event] for event in events]


def name_of(core: IdentityCore, identifier: int) -> Identifier:
    kind = core.knowledge.kinds.names[int(core.store.atoms["kind"][identifier])]
    return kind, core.store.text_of(identifier).decode()


def held_of(core: IdentityCore) -> dict[int, frozenset[Identifier]]:
    """Public id -> the identifiers that profile holds now."""
    held: dict[int, set[Identifier]] = {}
    for atom in range(core.store.count(ATOMS)):
        if int(core.store.atoms["identifier"][atom]) != atom:
            continue
        owner = core.knowledge.owner(atom)
        if owner >= 0:
            public_id = int(core.store.profiles["public_id"][owner])
            held.setdefault(public_id, set()).add(name_of(core, atom))
    return {public_id: frozenset(ids) for public_id, ids in held.items()}


def people_of(core: IdentityCore) -> set[frozenset[Identifier]]:
    return set(held_of(core).values())


def public_id_of(maker: tuple) -> int:
    """The public id of a person made by (occur_time, event id), or of a shared identifier."""
    public_id = public_ids.derived(*words_of(f"event {maker[1]}"))
    if len(maker) == 3:
        kind, value = maker[2]
        salt = words_of(f"{kind} {value}")[1]
        public_id = public_ids.mixed(public_id ^ public_ids.mixed(salt))
    return public_id


def tick(sequence: int, time_us: int) -> Message:
    """An EVENTS message without rows."""
    return Message(0, "", sequence, time_us, b"")

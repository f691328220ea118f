"""Which value of an attribute stands by the tenant's rule, at every instant: as a plain model says,
for identity and for whoever follows PROFILES and knows no rule."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from muster.identity.v1 import facts_pb2
from services.identity.core import IdentityCore
from services.identity.domain.attribute_rules import AttributeRule
from tests.properties.test_identity_fold import batches_of
from tests.unit.identity.deciding import Decision, decided
from tests.unit.identity.events import START_US, TENANT, Happened, message_of
from tests.unit.identity.follower import Followed, texts
from tests.unit.identity.naive import Law, persons_of
from tests.unit.identity.running import STEP_US, public_id_of, reloaded, rules_of

KINDS = ("user_id", "email", "phone", "cookie", "card")
SOURCES = ("crm", "shop", "web", "")
STRONGEST = ("crm", "shop")
RULES = {"plan": AttributeRule.SOURCE, "since": AttributeRule.FIRST, "city": AttributeRule.NEWEST}
Value = str | int | None


def some_events(rng: random.Random) -> list[Happened]:
    """Events about few identifiers; most of them say something of few attributes."""
    pool = [(kind, str(i)) for kind in rng.sample(KINDS, 3) for i in range(rng.randint(1, 3))]
    span = rng.choice((5, 30, 1_000))
    return [
        Happened(
            f"e{place}",
            rng.randint(0, span),
            tuple(rng.sample(pool, min(len(pool), rng.choice((1, 1, 2, 2, 3))))),
            rng.choice(("profile_updated", "profile_updated", "page_viewed")),
            {
                key: rng.choice(("gold", "silver", "basic", 7, None))
                for key in rng.sample(sorted(RULES), rng.randint(1, 2))
            },
            source=rng.choice(SOURCES),
        )
        for place in range(rng.randint(2, 25))
    ]


def stands(said: Sequence[tuple[Happened, Value, int]], rule: AttributeRule) -> Value:
    """The value that stands of what was said, each with its place in the log, in words of the
    semantics: no records, no corrections."""
    in_time = sorted(said, key=lambda one: (one[0].occur_us, one[2]))
    if rule is AttributeRule.FIRST:
        return next((value for _, value, _ in in_time if value is not None), None)
    if rule is AttributeRule.SOURCE:
        for source in (*STRONGEST, None):
            own = [
                v for e, v, _ in in_time if (e.source if e.source in STRONGEST else None) == source
            ]
            if own and own[-1] is not None:
                return own[-1]
        return None
    return in_time[-1][1]


class Reader:
    """Values as a follower keeps them: by atom; the newest of a profile's atoms stands."""

    def __init__(self, followed: Followed) -> None:
        self.said: list[tuple[int, str, Value, int, int, int]] = []
        for _, body in followed.bodies:
            for entry in facts_pb2.ProfileStep.FromString(body).entries:
                if entry.WhichOneof("entry") == "attributes":
                    self._take(entry.attributes)

    def _take(self, told: facts_pb2.AttributesSet) -> None:
        names, pool = texts(told.name, told.name_end), texts(told.text, told.text_end)
        for place, atom in enumerate(told.atom):
            kind, value = told.kind[place], told.value[place]
            self.said.append(
                (
                    atom,
                    names[told.key[place]],
                    None if kind == 0 else pool[value] if kind == 1 else value,
                    told.occur_time_us[place],
                    told.accept_time_us[place],
                    len(self.said),
                )
            )

    def value(self, atoms: Iterable[int], key: str, at_us: int) -> Value:
        held = set(atoms)
        found = [one for one in self.said if one[0] in held and one[1] == key and one[3] <= at_us]
        return max(found, key=lambda one: one[3:])[2] if found else None


def ruled(version: int, law: Law, rules: dict[str, AttributeRule]) -> Decision:
    return Decision(
        f"rules {version}", 0, law=law, version=version,
        attributes=tuple((key, int(rule)) for key, rule in rules.items()), sources=STRONGEST,
    )  # fmt: skip


def run(
    rng: random.Random, batches: Sequence[Sequence[Happened]], law: Law,
    decisions: dict[int, Decision],
) -> tuple[IdentityCore, Followed]:  # fmt: skip
    """decisions: batch -> what is decided before it. The core is loaded anew somewhere."""
    partitions = rng.randint(1, 3)
    core, followed = IdentityCore(TENANT, partitions, rules_of(law)), Followed(partitions)
    reload_at = rng.randrange(len(batches))
    for place in range(len(batches) + 1):
        if place == reload_at:
            core = reloaded(core)
        at_us = START_US + place * STEP_US
        messages = [decided(decisions[place], place + 1)] if place in decisions else []
        if place < len(batches):
            messages.append(message_of(batches[place], place + 1, at_us))
        followed.take(core.step(messages, at_us))
    return core, followed


def shown(core: IdentityCore, number: int) -> dict[str, Value]:
    given = core.attributes.of(core.store.atoms_of(number), number)
    return {
        key: values[0][4].decode() if values[0][1] == 1 else values[0][2]
        for key, values in given.items()
    }


@pytest.mark.parametrize("chunk", range(8))
def test_what_stands_is_what_the_rule_says_at_every_instant(chunk: int) -> None:
    compared = corrected = 0
    for seed in range(chunk * 60, chunk * 60 + 60):
        print(f"seed {seed}")
        rng = random.Random(seed)
        events, law = some_events(rng), Law({"user_id": 1, "email": 2})
        rng.shuffle(events)
        batches = batches_of(events, rng)
        core, followed = run(rng, batches, law, {0: ruled(2, law, RULES)})
        answer = persons_of(events, law)
        reader = Reader(followed)
        place_of = {event.event_id: place for place, event in enumerate(events)}
        for maker in set(answer.of_event.values()):
            number = core.store.profile_of_public_id(public_id_of(maker))
            assert number is not None
            atoms = core.store.atoms_of(number)
            own = [e for e in events if answer.of_event[e.event_id] == maker]
            said = {
                key: [
                    (e, e.properties[key], place_of[e.event_id])
                    for e in own
                    if e.type == "profile_updated" and key in e.properties
                ]
                for key in RULES
            }
            for key, every in said.items():
                for at_us in {one[0].occur_us for one in every}:
                    known = [one for one in every if one[0].occur_us <= at_us]
                    want = stands(known, RULES[key])
                    assert reader.value(atoms, key, at_us) == want, (key, at_us)
                    compared += 1
                want = stands(every, RULES[key]) if every else None
                assert shown(core, number).get(key) == want
        corrected += core.attributes.marks
    print(f"{compared} values at an instant, {corrected} corrections")
    assert corrected > 50


@pytest.mark.parametrize("chunk", range(4))
def test_a_follower_sees_what_identity_shows_however_the_rules_change(chunk: int) -> None:
    for seed in range(chunk * 60, chunk * 60 + 60):
        print(f"seed {seed}")
        rng = random.Random(seed)
        events, law = some_events(rng), Law({"user_id": 1, "email": 2})
        rng.shuffle(events)
        batches = batches_of(events, rng)
        places = sorted(rng.sample(range(len(batches) + 1), min(len(batches) + 1, 3)))
        changing = {
            place: ruled(version, law, {key: rng.choice(list(AttributeRule)[1:]) for key in RULES})
            for version, place in enumerate([0, *(p for p in places if p)], 2)
        }
        core, followed = run(rng, batches, law, changing)
        reader = Reader(followed)
        for number in set(followed.profile_of().values()):
            atoms = core.store.atoms_of(number)
            told = {key: reader.value(atoms, key, 1 << 60) for key in RULES}
            seen = shown(core, number)
            assert {key: seen.get(key) for key in RULES} == told


@pytest.mark.parametrize("chunk", range(2))
def test_a_life_that_began_anywhere_says_the_same_bytes(chunk: int) -> None:
    """What is kept of values does not depend on when room was made or a snapshot loaded."""
    corrected = 0
    for seed in range(chunk * 40, chunk * 40 + 40):
        print(f"seed {seed}")
        rng = random.Random(seed)
        events, law = some_events(rng) + some_events(rng), Law({"user_id": 1, "email": 2})
        events = [replace(event, event_id=f"x{place}") for place, event in enumerate(events)]
        batches, partitions = batches_of(events, rng), rng.randint(1, 3)
        changing = {
            place: ruled(version, law, {key: rng.choice(list(AttributeRule)) for key in RULES})
            for version, place in enumerate(sorted({0, len(batches) // 2}), 2)
        }
        one = IdentityCore(TENANT, partitions, rules_of(law))
        other = IdentityCore(TENANT, partitions, rules_of(law))
        for place, batch in enumerate(batches):
            at_us = START_US + place * STEP_US
            messages = [decided(changing[place], place + 1)] if place in changing else []
            messages.append(message_of(batch, place + 1, at_us))
            other = reloaded(other)
            other.attributes._compact()
            said = one.step(messages, at_us).bodies
            assert said == other.step(messages, at_us).bodies
        corrected += one.attributes.marks
    assert corrected

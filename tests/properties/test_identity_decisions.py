"""Decisions by hand, publishers nobody trusts, other rules: still the naive fold, in any order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from services.identity.core import IdentityCore
from services.identity.engine import previews
from services.identity.engine.simulation import simulate
from services.identity.engine.store import NONE, PROFILES
from tests.properties.test_identity_fold import PLAIN_KINDS, TOKEN_KINDS, batches_of
from tests.unit.identity.deciding import Decision, after, decided
from tests.unit.identity.events import START_US, TENANT, Happened, message_of, words_of
from tests.unit.identity.follower import Followed
from tests.unit.identity.naive import Identifier, Law, persons_of, strength
from tests.unit.identity.running import (
    STEP_US,
    held_of,
    name_of,
    public_id_of,
    reloaded,
    rules_of,
)

WORLDS = 500
CHUNKS = 10


def pool_of(rng: random.Random, kinds: Sequence[str]) -> list[Identifier]:
    return [(kind, str(i)) for kind in kinds for i in range(rng.randint(1, 4))]


def some_events(rng: random.Random, pool: list[Identifier], most: int) -> list[Happened]:
    """Events over few identifiers; about half of the publishers are not trusted."""
    doubt = rng.choice((0.0, 0.5, 0.9))
    span = rng.choice((5, 30, 1_000))
    return [
        Happened(
            f"e{place}",
            rng.randint(0, span),
            tuple(rng.sample(pool, min(len(pool), rng.choice((1, 2, 2, 2, 3, 4))))),
            trusted=rng.random() >= doubt,
        )
        for place in range(rng.randint(2, most))
    ]


def some_law(rng: random.Random, pool: list[Identifier]) -> Law:
    limits = {"user_id": rng.choice((1, 1, 2))}
    for kind, most in (("cookie", 3), ("email", 2)):
        if rng.random() < 0.3:
            limits[kind] = rng.randint(1, most)
    blocked = frozenset(rng.sample(pool, 1)) if rng.random() < 0.3 else frozenset()
    some = [(kind, "1") for kind, _ in pool] + [("", "2"), ("cookie", "?")]
    patterns = tuple(rng.sample(some, 1)) if rng.random() < 0.3 else ()
    shared, size = rng.choice((100, 2, 3)), rng.choice((200, 3, 5))
    return Law(limits, shared, size, blocked=blocked, patterns=patterns)


def some_decisions(
    rng: random.Random, pool: list[Identifier], rules: bool = True
) -> list[Decision]:
    made, version = [], 1
    for place in range(rng.randint(0, 5)):
        request, at_us = f"r{place}", rng.randint(0, 40)
        what = rng.random()
        if what < 0.25 and rules:
            version += 1
            made.append(Decision(request, at_us, law=some_law(rng, pool), version=version))
        elif what < 0.5:
            linked = tuple(rng.sample(pool, min(len(pool), 2)))
            made.append(Decision(request, at_us, linked=linked))
        else:
            pairs = [(rng.choice(pool), rng.choice(pool)) for _ in range(rng.randint(1, 2))]
            made.append(Decision(request, at_us, apart=tuple(pairs)))
    return made


def run(
    rng: random.Random, events: Sequence[Happened], law: Law, decisions: Sequence[Decision]
) -> tuple[IdentityCore, Followed]:
    """Events in batches, decisions in their order at any place between them, repeats, a reload."""
    partitions = rng.randint(1, 3)
    core, said = IdentityCore(TENANT, partitions, rules_of(law)), Followed(partitions)
    batches = batches_of(events, rng)
    places = sorted(rng.randint(0, len(batches)) for _ in decisions)
    reload_at = rng.randint(0, len(batches))
    sequence = 0
    for place in range(len(batches) + 1):
        if place == reload_at:
            core = reloaded(core)
        at_us = START_US + place * STEP_US
        messages = []
        for which, decision in enumerate(decisions):
            if places[which] == place:
                sequence += 1
                messages += [decided(decision, sequence)] * rng.choice((1, 1, 2))
        if place < len(batches):
            messages.append(message_of(batches[place], place + 1, at_us))
        said.take(core.step(messages, at_us))
    return core, said


def expected(
    events: Sequence[Happened], law: Law, decisions: Sequence[Decision]
) -> dict[int, frozenset[Identifier]]:
    happened, law = after(events, law, decisions)
    return {public_id_of(maker): ids for maker, ids in persons_of(happened, law).held.items()}


def holds(rng: random.Random, kinds: Sequence[str], rules: bool) -> None:
    pool = pool_of(rng, kinds)
    events = some_events(rng, pool, rng.choice((8, 16, 30)))
    law = some_law(rng, pool) if rules else Law()
    law = Law(law.limits, law.shared_others, law.size, patterns=law.patterns)
    decisions = some_decisions(rng, pool, rules)
    want = expected(events, law, decisions)
    for _ in range(2):
        order = [*events, *rng.sample(events, rng.randint(0, len(events)))]
        rng.shuffle(order)
        core, said = run(rng, order, law, decisions)
        assert held_of(core) == want
        said.profile_of()
        for public_id in said.public_ids:
            found = core.store.profile_of_public_id(public_id)
            assert found is not None, "old ids keep resolving"
            assert int(core.store.profiles["forward"][core.store.living(found)]) == NONE


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_decisions_anywhere_between_events_in_any_order_give_the_naive_fold(chunk: int) -> None:
    for seed in range(chunk * WORLDS // CHUNKS, (chunk + 1) * WORLDS // CHUNKS):
        print(f"seed {seed}")
        rng = random.Random(seed)
        holds(rng, rng.sample(PLAIN_KINDS, rng.randint(2, 5)), rules=True)


@pytest.mark.parametrize("chunk", range(4))
def test_also_with_push_tokens(chunk: int) -> None:
    for seed in range(chunk * 50, chunk * 50 + 50):
        print(f"seed {seed}")
        rng = random.Random(seed)
        holds(rng, PLAIN_KINDS[:4] + TOKEN_KINDS, rules=chunk % 2 == 0)


def unlinked(core: IdentityCore, cause: str, request_id: str) -> Decision | None:
    """The decision that takes back what an event joined, as the door words it."""
    knowledge = core.knowledge
    found: list[tuple[Identifier, Identifier]] = []
    for number in range(core.store.count(PROFILES)):
        pairs = previews.pairs_by_cause(knowledge, number, cause.encode())
        found += [(name_of(core, a), name_of(core, b)) for a, b in pairs or ()]
    return Decision(request_id, 0, apart=tuple(dict.fromkeys(found))) if found else None


@pytest.mark.parametrize("chunk", range(4))
def test_a_merge_taken_back_leaves_what_was_there_without_it(chunk: int) -> None:
    restored = exact = 0
    for seed in range(chunk * 100, chunk * 100 + 100):
        print(f"seed {seed}")
        rng = random.Random(seed)
        pool = pool_of(rng, ("email", "phone", "cookie", "card"))
        events = some_events(rng, pool, 14)
        wrong = rng.choice([event for event in events if len(event.ids) > 1] or events)
        core, said = run(rng, rng.sample(events, len(events)), Law({}), [])
        took = unlinked(core, wrong.event_id, "back")
        if took is None:
            continue
        restored += 1
        before = rows_by_person(said)
        said.take(core.step([decided(took, 1)], START_US * 2))
        # Without it: the event said only what its strongest identifier says.
        others = [event for event in events if event is not wrong]
        alone = Happened(wrong.event_id, wrong.occur_us, (min(wrong.ids, key=strength),))
        answer = persons_of([*others, alone], Law({}))
        without = {public_id_of(maker): ids for maker, ids in answer.held.items()}
        kept = {public_id: ids for public_id, ids in held_of(core).items() if ids}
        if kept == without:
            want = {event: public_id_of(maker) for event, maker in answer.of_event.items()}
            assert said.row_owners() == want, "every row is with whom it was about"
            exact += 1
        else:
            # Others said the same in part: then what stands is at least the naive fold of it all.
            assert kept == expected(events, Law({}), [took])
        lift = Decision("again", 10**9, linked=tuple({i for pair in took.apart for i in pair}))
        if len(took.apart) == 1:
            said.take(core.step([decided(lift, 2)], START_US * 3))
            assert rows_by_person(said) == before, "linked again, all is as before"
    print(f"{exact} of {restored} exactly as without the event")
    assert restored > 20 and exact > restored * 3 // 4


def rows_by_person(said: Followed) -> set[frozenset[str]]:
    """Which rows stand together."""
    together: dict[int, set[str]] = {}
    for event_id, public_id in said.row_owners().items():
        together.setdefault(public_id, set()).add(event_id)
    return {frozenset(rows) for rows in together.values()}


@pytest.mark.parametrize("chunk", range(4))
def test_a_simulation_says_what_the_change_then_does(chunk: int) -> None:
    moved = 0
    for seed in range(chunk * 50, chunk * 50 + 50):
        print(f"seed {seed}")
        rng = random.Random(seed)
        pool = pool_of(rng, PLAIN_KINDS)
        events, law = some_events(rng, pool, 25), some_law(rng, pool)
        law = Law(law.limits, law.shared_others, law.size, patterns=law.patterns)
        core, _ = run(rng, rng.sample(events, len(events)), law, [])
        other = some_law(rng, pool)
        blocked = {core.store.find_identifier(*words_of(f"{k} {v}")) for k, v in other.blocked}
        said = simulate(core.knowledge, rules_of(other), {i for i in blocked if i is not None})
        now, then = held_of(core).values(), expected(events, other, []).values()
        assert said.profiles_now == len(now)
        home = {one: place for place, ids in enumerate(then) for one in ids}
        # Who is with nobody then is a profile by itself in a simulation.
        places = [{home.get(one, one) for one in ids} for ids in now]
        assert said.split == sum(len(found) > 1 for found in places)
        met = Counter(place for found in places for place in found)
        assert said.joined == sum(any(met[place] > 1 for place in found) for found in places)
        moved += bool(said.joined or said.split)
    assert moved > 5

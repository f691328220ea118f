"""The fold of a handful of events: the naive one, and the story that `muster test` tells of it."""

from __future__ import annotations

import random

import pytest

from services.identity.domain.people import Left, Seen, people_of
from tests.properties.test_identity_decisions import pool_of, some_events, some_law
from tests.properties.test_identity_fold import PLAIN_KINDS, TOKEN_KINDS
from tests.unit.identity.naive import Law, persons_of
from tests.unit.identity.running import rules_of

ADA, BOB = ("user_id", "ada"), ("user_id", "bob")
LAPTOP = ("cookie", "laptop")


@pytest.mark.parametrize("chunk", range(4))
def test_any_order_gives_the_naive_fold(chunk: int) -> None:
    for seed in range(chunk * 100, chunk * 100 + 100):
        print(f"seed {seed}")
        rng = random.Random(seed)
        pool = pool_of(rng, PLAIN_KINDS[:4] + TOKEN_KINDS)
        events, law = some_events(rng, pool, 25), some_law(rng, pool)
        pair = (rng.choice(pool), rng.choice(pool))
        law = Law(
            law.limits, law.shared_others, law.size, (pair,) if pair[0] != pair[1] else (),
            law.blocked,
        )  # fmt: skip
        want = persons_of(events, law)
        seen = [Seen(e.event_id, e.occur_us, e.ids, e.trusted) for e in events]
        rng.shuffle(seen)
        people = people_of([*seen, *seen[:3]], rules_of(law), law.apart, law.blocked)
        held = {frozenset(ids) for ids in want.held.values()}
        assert {person.identifiers for person in people.persons} == held
        makers = {maker[1] for maker in want.held}
        assert {person.made_by for person in people.persons} == makers
        owner = {event: p.identifiers for p in people.persons for event in p.events}
        assert owner == {event: want.held[maker] for event, maker in want.of_event.items()}


def test_what_was_left_out_is_said_with_its_reason() -> None:
    people = people_of(
        [
            Seen("a", 10, (ADA, LAPTOP)),
            Seen("b", 20, (BOB, LAPTOP)),
            Seen("c", 30, (("email", "bob@example.org"), BOB)),
            Seen("d", 40, (("email", "bob@example.org"), LAPTOP), trusted=False),
        ]
    )
    ada, bob = people.of(ADA), people.of(BOB)
    assert ada is not None and bob is not None and ada is people.of(LAPTOP)
    assert (ada.events, bob.events) == (("a",), ("b", "c", "d"))
    assert people.left == [Left("b", (LAPTOP,), "limit"), Left("d", (LAPTOP,), "limit")]

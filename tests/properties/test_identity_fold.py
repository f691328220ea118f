"""Whatever the order, the batches, the repeats or a restart: the core is the naive fold."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from services.chassis.core import Message
from services.identity.core import IdentityCore
from tests.unit.identity.events import START_US, TENANT, Happened, columns_of
from tests.unit.identity.follower import Followed
from tests.unit.identity.naive import Law, persons_of
from tests.unit.identity.running import held_of, public_id_of, reloaded, rules_of, run

PLAIN_KINDS = ("user_id", "email", "phone", "cookie", "card")
TOKEN_KINDS = ("mobile_push_token", "web_push_token")
SAME_SET_MAX = 8
"""Sightings of one set with a token that are always kept (store.SIGHTINGS_KEPT)."""
ORDERS = 50


def identifiers(kinds: Sequence[str]) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.sampled_from(kinds), st.sampled_from("0123"))


@st.composite
def histories(draw: st.DrawFn, kinds: Sequence[str], events_max: int) -> list[Happened]:
    """Events over few identifiers, often with the same set and often at the same time."""
    few = st.lists(identifiers(kinds), min_size=1, max_size=4, unique=True).map(tuple)
    sets = draw(st.lists(few, min_size=1, max_size=10))
    chosen = draw(st.lists(st.sampled_from(sets), min_size=1, max_size=events_max))
    left = dict.fromkeys(sets, SAME_SET_MAX)
    events = []
    for place, ids in enumerate(chosen):
        left[ids] -= 1
        if left[ids] >= 0:
            at = draw(st.integers(0, 30))
            events.append(Happened(f"e{place}", at, ids))
    return events


@st.composite
def laws(draw: st.DrawFn) -> Law:
    limits = {"user_id": 1}
    limits |= draw(
        st.dictionaries(
            st.sampled_from(("email", "cookie", "mobile_push_token")), st.integers(1, 3), max_size=2
        )
    )
    return Law(limits, draw(st.sampled_from((100, 3, 5))), draw(st.sampled_from((200, 3, 5))))


def batches_of(events: Sequence[Happened], rng: random.Random) -> list[list[Happened]]:
    batches, at = [], 0
    while at < len(events):
        size = rng.randint(1, 6)
        batches.append(list(events[at : at + size]))
        at += size
    return batches


def expected(events: Sequence[Happened], law: Law) -> dict[int, frozenset[tuple[str, str]]]:
    return {public_id_of(maker): ids for maker, ids in persons_of(events, law).held.items()}


@settings(max_examples=300, deadline=None)
@given(
    histories(PLAIN_KINDS + TOKEN_KINDS, 24),
    laws(),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_any_order_and_any_batches_give_the_naive_fold(
    events: list[Happened], law: Law, partitions: int, seed: int
) -> None:
    rng = random.Random(seed)
    note(f"seed {seed}, {law}")
    want = expected(events, law)
    for _ in range(2):
        order = [*events, *rng.sample(events, rng.randint(0, len(events)))]
        rng.shuffle(order)
        batches = batches_of(order, rng)
        core, said = run(batches, partitions, law, reload_after=rng.randrange(len(batches)))
        assert held_of(core) == want
        profile_of = said.profile_of()
        for identifier, atom in said.atom_of.items():
            holder = [public_id for public_id, ids in want.items() if identifier in ids]
            if holder:
                assert [said.public_id[profile_of[atom]]] == holder, "what was said is what is"


@settings(max_examples=150, deadline=None)
@given(histories(PLAIN_KINDS, 24), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_every_row_stands_under_the_person_it_is_about(
    events: list[Happened], partitions: int, seed: int
) -> None:
    rng = random.Random(seed)
    note(f"seed {seed}")
    law = Law({"user_id": 1, "cookie": 2})
    answer = persons_of(events, law)
    rng.shuffle(events)
    _, said = run(batches_of(events, rng), partitions, law)
    said.order(events)
    want = {event_id: public_id_of(maker) for event_id, maker in answer.of_event.items()}
    assert said.row_owners() == want


@settings(max_examples=150, deadline=None)
@given(histories(PLAIN_KINDS + TOKEN_KINDS, 24), laws(), st.integers(0, 2**32 - 1))
def test_rows_in_canonical_order_stand_under_the_person_of_their_time(
    events: list[Happened], law: Law, seed: int
) -> None:
    """Tokens too: nothing comes late, so a row of a token alone stays with its holder."""
    law = Law(law.limits, 100, law.size)
    events.sort(key=lambda event: (event.occur_us, event.event_id))
    answer = persons_of(events, law)
    _, said = run(batches_of(events, random.Random(seed)), 2, law)
    want = {event_id: public_id_of(maker) for event_id, maker in answer.of_event.items()}
    assert said.row_owners() == want


def random_world(rng: random.Random) -> tuple[list[Happened], Law]:
    """Denser than hypothesis draws: more events, few instants, few sets, tight limits."""
    kinds = rng.sample(PLAIN_KINDS + TOKEN_KINDS, rng.choice((3, 5, 7, 7)))
    pool = [(kind, str(i)) for kind in kinds for i in range(rng.randint(1, 4))]

    def some() -> tuple[tuple[str, str], ...]:
        return tuple(rng.sample(pool, min(len(pool), rng.choice((1, 1, 2, 2, 2, 3, 4)))))

    few = [some() for _ in range(rng.randint(3, 12))] if rng.random() < 0.5 else []
    left = dict.fromkeys(few, SAME_SET_MAX)
    span = rng.choice((3, 20, 1_000))
    events = []
    for place in range(rng.randint(2, rng.choice((12, 25, 45)))):
        ids = rng.choice(few) if few else some()
        left[ids] = left.get(ids, SAME_SET_MAX) - 1
        if left[ids] >= 0:
            events.append(Happened(f"e{place}", rng.randint(0, span), ids))
    limits = {"user_id": 1}
    for kind, most in (("cookie", 3), ("email", 1), ("mobile_push_token", 2)):
        if rng.random() < 0.3:
            limits[kind] = rng.randint(1, most)
    return events, Law(limits, rng.choice((100, 100, 3, 4, 6)), rng.choice((200, 200, 3, 5)))


@pytest.mark.parametrize("chunk", range(10))
def test_dense_worlds_give_the_naive_fold_in_any_order(chunk: int) -> None:
    for seed in range(chunk * 100, chunk * 100 + 100):
        rng = random.Random(seed)
        print(f"seed {seed}")
        events, law = random_world(rng)
        want = expected(events, law)
        for _ in range(2):
            rng.shuffle(events)
            batches = batches_of(events, rng)
            core, said = run(batches, rng.randint(1, 3), law, rng.randrange(len(batches)))
            assert held_of(core) == want
            said.order(events)
            said.profile_of()


@pytest.mark.parametrize("seed", range(6))
def test_fifty_orders_have_one_result(seed: int) -> None:
    rng = random.Random(seed)
    print(f"seed {seed}")
    kinds = PLAIN_KINDS + TOKEN_KINDS
    pool = [(kind, str(i)) for kind in kinds for i in range(3)]
    events = [
        Happened(f"e{i}", rng.randint(0, 40), tuple(rng.sample(pool, rng.randint(1, 4))))
        for i in range(25)
    ]
    law = Law({"user_id": 1, "cookie": 2}, shared_others=8, size=6)
    want = expected(events, law)
    for _ in range(ORDERS):
        rng.shuffle(events)
        core, _ = run(batches_of(events, rng), rng.randint(1, 3), law)
        assert held_of(core) == want


@settings(max_examples=150, deadline=None)
@given(histories(("email", "phone", "cookie", "card"), 40), st.integers(0, 2**32 - 1))
def test_without_limits_it_is_union_find(events: list[Happened], seed: int) -> None:
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(one: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(one, one) != one:
            one = parent[one]
        return one

    for event in events:
        for identifier in event.ids:
            parent[root(identifier)] = root(event.ids[0])
    groups: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for identifier in list(parent):
        groups.setdefault(root(identifier), set()).add(identifier)
    random.Random(seed).shuffle(events)
    core, _ = run(batches_of(events, random.Random(seed)), 1, Law({}))
    assert set(held_of(core).values()) == {frozenset(ids) for ids in groups.values()}


@settings(max_examples=150, deadline=None)
@given(histories(PLAIN_KINDS + TOKEN_KINDS, 20), laws(), st.integers(0, 2**32 - 1))
def test_the_same_cuts_give_the_same_bytes_also_after_a_snapshot(
    events: list[Happened], law: Law, seed: int
) -> None:
    rng = random.Random(seed)
    note(f"seed {seed}")
    rng.shuffle(events)
    batches = batches_of(events, rng)
    _, straight = run(batches, 2, law)
    _, restarted = run(batches, 2, law, reload_after=rng.randrange(len(batches)))
    assert straight.bodies == restarted.bodies


@pytest.mark.parametrize("seed", range(12))
def test_many_joins_in_one_message_are_said_in_their_order(seed: int) -> None:
    """People come home in crowds: the kernel joins them, rows of several instants in a message."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    kinds = rng.sample(("user_id", "email", "cookie", "card"), rng.choice((3, 4)))
    pool = [(kind, str(i)) for kind in kinds for i in range(rng.choice((30, 80)))]
    span, late = rng.choice((60, 10_000)), rng.choice((0.0, 0.02, 0.1))
    events = [
        Happened(
            f"e{i}",
            rng.randint(0, span) if rng.random() < late else i * span // 300,
            tuple(rng.sample(pool, rng.choice((1, 1, 2, 2, 3)))),
            "profile_updated" if rng.random() < 0.3 else "page_viewed",
            {"city": f"city {i}"},
            trusted=rng.random() < 0.9,
        )
        for i in range(300)
    ]
    law = Law({"user_id": 1, "email": rng.choice((1, 30))}, 100, rng.choice((8, 30)))
    core, said = IdentityCore(TENANT, 3, rules_of(law)), Followed(3)
    at, sequence, accept_us, again = 0, 0, START_US, None
    while at < len(events):
        batch = events[at : (at := at + rng.randint(20, 90))]
        message = columns_of(batch, 0)
        for place in range(len(batch)):
            accept_us += rng.choice((0, 0, 0, 0, 1_000))
            message.accept_time_us[place] = accept_us
        sequence += 1
        one = Message(0, "", sequence, accept_us, message.SerializeToString())
        if again is not None:
            assert again.step([one], accept_us) == (facts := core.step([one], accept_us))
        else:
            facts = core.step([one], accept_us)
        said.take(facts)
        if rng.random() < 0.3:
            again = reloaded(core)
    answer = persons_of(events, law)
    assert held_of(core) == {public_id_of(m): ids for m, ids in answer.held.items()}
    said.order(events)
    assert said.row_owners() == {e: public_id_of(m) for e, m in answer.of_event.items()}
    joined = core.chronicle.counts.get(1, 0)
    print(f"{joined} merges, {core.visit_count} of {core.row_count} rows decided one by one")
    assert joined > 10

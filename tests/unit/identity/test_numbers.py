"""Public ids, numbers that stay, and the index from one to the other."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.identity.domain.public_ids import derived, parsed, text_of
from services.identity.domain.settle import Carried, settle
from services.identity.engine import tables
from services.identity.engine.store import Store

WORDS = st.integers(0, 2**64 - 1)


@settings(deadline=None)
@given(WORDS)
def test_an_id_as_text_is_read_back(public_id: int) -> None:
    text = text_of(public_id)
    assert len(text) == 15 and text.startswith("p_")
    assert parsed(text) == public_id


@settings(deadline=None)
@given(WORDS, WORDS)
def test_the_kernel_derives_the_same_id(high: int, low: int) -> None:
    assert int(tables.public_id(np.uint64(high), np.uint64(low))) == derived(high, low)


def carried(public_id: int, *ids: int) -> Carried:
    return Carried(public_id, frozenset(ids))


def test_a_join_keeps_the_number_with_the_public_id() -> None:
    settled = settle([carried(7, 1, 2, 3, 4)], {4: carried(9, 1, 2, 3), 5: carried(7, 4)})
    assert settled.numbers == [5]
    assert settled.ended == {4: 0}


def test_a_split_leaves_the_number_to_its_public_id_and_else_to_the_most() -> None:
    settled = settle([carried(7, 1), carried(8, 2, 3)], {4: carried(7, 1, 2, 3)})
    assert settled.numbers == [4, None]
    settled = settle([carried(6, 1), carried(8, 2, 3)], {4: carried(7, 1, 2, 3)})
    assert settled.numbers == [None, 4]
    assert settled.ended == {}


def test_crossing_parts_each_keep_one() -> None:
    settled = settle(
        [carried(1, 1, 2, 9), carried(2, 3, 4)], {4: carried(1, 1, 3), 5: carried(5, 2, 4, 9)}
    )
    assert settled.numbers == [4, 5]
    assert settled.ended == {}


def test_settling_does_not_depend_on_the_order_of_what_it_is_given() -> None:
    rng = random.Random(11)
    for _ in range(200):
        ids = list(range(12))
        groups: list[list[int]] = [[] for _ in range(4)]
        standing: list[list[int]] = [[] for _ in range(4)]
        for one in ids:
            rng.choice(groups).append(one)
            rng.choice(standing).append(one)
        given_groups = [carried(100 + i, *g) for i, g in enumerate(groups) if g]
        given_standing = {i: carried(102 + i, *s) for i, s in enumerate(standing) if s}
        one = settle(given_groups, given_standing)
        again = settle(given_groups, dict(reversed(given_standing.items())))
        assert one == again
        kept = [number for number in one.numbers if number is not None]
        assert len(kept) == len(set(kept))
        assert set(kept) | one.ended.keys() == given_standing.keys()
        assert not set(kept) & one.ended.keys()


def test_ids_are_found_through_growth_renaming_and_merges() -> None:
    rng = random.Random(5)
    store = Store()
    now: dict[int, int] = {}
    ever: dict[int, int] = {}
    for _ in range(6_000):
        if now and rng.random() < 0.3:
            number = rng.choice(list(now))
            former = now[number]
            now[number] = public_id = rng.getrandbits(64)
            store.profiles["public_id"][number] = public_id
            store.renamed(number, former)
        else:
            number, public_id = store.add_profile(0), rng.getrandbits(64)
            store.profiles["public_id"][number] = now[number] = public_id
        ever[now[number]] = number
        if rng.random() < 0.05:
            asked = rng.choice(list(ever))
            assert store.profile_of_public_id(asked) == ever[asked]
    for public_id, number in ever.items():
        assert store.profile_of_public_id(public_id) == number
    assert store.profile_of_public_id(1) is None


def test_an_id_that_lives_again_names_the_living() -> None:
    store = Store()
    for _ in range(3):
        store.add_profile(0)
    store.profiles["public_id"][:3] = 77, 5, 77
    store.profiles["forward"][0] = 1
    assert store.profile_of_public_id(77) == 2
    assert store.living(0) == 1

"""Who is one person: the rules of the semantics, one story each, through the core's bytes."""

from __future__ import annotations

from services.identity.domain.public_ids import text_of
from tests.unit.identity.events import Happened
from tests.unit.identity.naive import Law
from tests.unit.identity.running import held_of, one_by_one, people_of, public_id_of, run

ADA = ("user_id", "ada")
BOB = ("user_id", "bob")
ADA_MAIL = ("email", "ada@example.com")
BOB_MAIL = ("email", "bob@example.com")
LAPTOP = ("cookie", "laptop")
PHONE = ("cookie", "phone")
TOKEN = ("mobile_push_token", "t-1")


def seen(event_id: str, at: int, *ids: tuple[str, str], **more: object) -> Happened:
    return Happened(event_id, at, ids, **more)  # type: ignore[arg-type]


def test_two_devices_become_one_person_and_keep_their_rows() -> None:
    core, said = run(
        one_by_one(
            seen("a", 10, LAPTOP),
            seen("b", 20, PHONE),
            seen("c", 30, ADA, LAPTOP),
            seen("d", 40, ADA, PHONE),
        ),
        partitions=2,
    )
    assert people_of(core) == {frozenset({ADA, LAPTOP, PHONE})}
    assert set(said.row_owners().values()) == {public_id_of((10, "a"))}
    (move,) = said.moves.values()
    assert (move.merge, move.across_partitions, move.cause_event_id) == (True, True, b"d")
    assert move.from_profile == 1 and move.to_profile == 0


def test_the_stronger_identifier_survives_though_the_other_is_older() -> None:
    core, _ = run(one_by_one(seen("a", 10, LAPTOP), seen("b", 20, ADA), seen("c", 30, ADA, LAPTOP)))
    assert held_of(core) == {public_id_of((20, "b")): frozenset({ADA, LAPTOP})}


def test_of_equals_the_older_survives() -> None:
    core, _ = run(
        one_by_one(seen("a", 10, LAPTOP), seen("b", 20, PHONE), seen("c", 30, PHONE, LAPTOP))
    )
    assert held_of(core) == {public_id_of((10, "a")): frozenset({PHONE, LAPTOP})}


def test_a_cookie_never_joins_two_people_with_different_user_ids() -> None:
    core, said = run(one_by_one(seen("a", 10, ADA, LAPTOP), seen("b", 20, BOB, LAPTOP)))
    assert people_of(core) == {frozenset({ADA, LAPTOP}), frozenset({BOB})}
    assert said.row_owners()["b"] == public_id_of((20, "b"))
    assert core.visits.left_out["limit"] == 1


def test_only_the_weakest_is_left_out() -> None:
    core, _ = run(
        one_by_one(
            seen("a", 10, ADA, ADA_MAIL),
            seen("b", 20, BOB, LAPTOP),
            seen("c", 30, ADA_MAIL, LAPTOP, ("phone", "+441")),
        )
    )
    assert people_of(core) == {
        frozenset({ADA, ADA_MAIL, ("phone", "+441")}),
        frozenset({BOB, LAPTOP}),
    }


def test_a_limit_of_two_takes_two() -> None:
    law = Law({"cookie": 2})
    core, _ = run(
        one_by_one(*(seen(f"e{i}", i, ADA, ("cookie", f"c{i}")) for i in range(3))), 1, law
    )
    assert people_of(core) == {frozenset({ADA, ("cookie", "c0"), ("cookie", "c1")})}


def test_a_token_is_handed_on_to_another_known_person_and_its_past_stays() -> None:
    core, said = run(
        one_by_one(
            seen("a", 10, ADA, TOKEN),
            seen("b", 20, TOKEN),
            seen("c", 30, BOB, TOKEN),
            seen("d", 40, TOKEN),
        ),
        partitions=2,
    )
    ada, bob = public_id_of((10, "a")), public_id_of((30, "c"))
    assert held_of(core) == {ada: frozenset({ADA}), bob: frozenset({BOB, TOKEN})}
    assert said.row_owners() == {"a": ada, "b": ada, "c": bob, "d": bob}
    assert not any(move.merge for move in said.moves.values())


def test_a_token_that_comes_back_is_handed_back() -> None:
    core, said = run(
        one_by_one(
            seen("a", 10, ADA, TOKEN),
            seen("b", 20, BOB, TOKEN),
            seen("c", 30, ADA, TOKEN),
            seen("d", 25, TOKEN),
        )
    )
    ada, bob = public_id_of((10, "a")), public_id_of((20, "b"))
    assert held_of(core) == {ada: frozenset({ADA, TOKEN}), bob: frozenset({BOB})}
    assert said.row_owners()["d"] == bob, "a late row goes to who held the token then"


def test_what_comes_with_a_token_after_it_was_handed_on_belongs_to_the_new_holder() -> None:
    core, said = run(
        one_by_one(
            seen("a", 10, ADA, TOKEN),
            seen("alone", 15, TOKEN),
            seen("b", 20, BOB, TOKEN),
            seen("c", 30, TOKEN, LAPTOP),
            seen("d", 40, TOKEN, LAPTOP),
        )
    )
    ada, bob = public_id_of((10, "a")), public_id_of((20, "b"))
    assert held_of(core) == {ada: frozenset({ADA}), bob: frozenset({BOB, TOKEN, LAPTOP})}
    assert said.row_owners() == {"a": ada, "alone": ada, "b": bob, "c": bob, "d": bob}


def test_a_refold_keeps_the_rows_of_a_disputed_token_where_they_were() -> None:
    core, said = run(
        one_by_one(
            seen("a", 10, ADA, TOKEN),
            seen("row", 15, TOKEN),
            seen("b", 20, BOB, TOKEN),
            seen("c", 30, ADA, BOB_MAIL),
            seen("back", 25, ADA, TOKEN),
            seen("mine", 17, TOKEN),
        )
    )
    ada = public_id_of((10, "a"))
    assert held_of(core)[ada] == frozenset({ADA, BOB_MAIL, TOKEN})
    assert said.row_owners()["row"] == said.row_owners()["mine"] == ada


def test_late_evidence_about_one_holder_leaves_the_rows_of_the_others() -> None:
    carol = ("user_id", "carol")
    _, said = run(
        one_by_one(
            seen("a", 10, ADA, TOKEN),
            seen("b", 20, BOB, TOKEN),
            seen("row", 25, TOKEN),
            seen("c", 30, carol, TOKEN),
            seen("late", 5, ADA, LAPTOP),
        ),
        partitions=3,
    )
    assert said.row_owners() == {
        "a": public_id_of((5, "late")),
        "b": public_id_of((20, "b")),
        "row": public_id_of((20, "b")),
        "c": public_id_of((30, "c")),
        "late": public_id_of((5, "late")),
    }


def test_a_token_kept_back_by_a_limit_is_handed_on_once_its_holder_is_known() -> None:
    core, _ = run(
        one_by_one(
            seen("a", 10, ADA, LAPTOP),
            seen("b", 20, TOKEN, PHONE),
            seen("c", 30, ADA, TOKEN),
            seen("d", 40, BOB_MAIL, TOKEN),
            seen("e", 50, ADA, TOKEN),
        ),
        1,
        Law({"user_id": 1, "cookie": 1}),
    )
    assert people_of(core) == {frozenset({ADA, LAPTOP, TOKEN}), frozenset({BOB_MAIL, PHONE})}


def test_an_anonymous_owner_of_a_token_is_joined() -> None:
    core, _ = run(one_by_one(seen("a", 10, TOKEN, LAPTOP), seen("b", 20, ADA, TOKEN)))
    assert people_of(core) == {frozenset({ADA, TOKEN, LAPTOP})}


def test_an_identifier_shared_by_too_many_is_ignored_as_a_whole() -> None:
    kiosk = ("cookie", "kiosk")
    visits = [seen(f"e{i}", i, ("email", f"m{i}@example.com"), kiosk) for i in range(5)]
    joined, _ = run(one_by_one(*visits), 1, Law(shared_others=5))
    apart, said = run(one_by_one(*visits, seen("alone", 9, kiosk)), 1, Law(shared_others=4))
    assert len(people_of(joined)) == 1
    assert len(people_of(apart)) == 6
    assert frozenset({kiosk}) in people_of(apart)
    owners = said.row_owners()
    assert len(set(owners.values())) == 6, "the rows of five people and those of the kiosk"


def test_a_profile_at_its_brake_takes_no_more() -> None:
    law = Law(size=3)
    core, said = run(
        one_by_one(*(seen(f"e{i}", i, ADA, ("cookie", f"c{i}")) for i in range(5))), 1, law
    )
    assert people_of(core) == {frozenset({ADA, ("cookie", "c0"), ("cookie", "c1")})}
    assert core.visits.left_out["size"] == 3
    assert set(said.row_owners().values()) == {public_id_of((0, "e0"))}


def test_late_evidence_splits_what_stood_joined() -> None:
    core, said = run(
        one_by_one(
            seen("a", 20, ADA, LAPTOP),
            seen("b", 40, LAPTOP, ("phone", "+441")),
            seen("c", 10, BOB, LAPTOP),
        ),
        partitions=2,
    )
    assert people_of(core) == {frozenset({ADA}), frozenset({BOB, LAPTOP, ("phone", "+441")})}
    owners = said.row_owners()
    assert owners["b"] == owners["c"] == public_id_of((10, "c"))
    assert owners["a"] == public_id_of((20, "a"))
    assert [move.merge for move in said.moves.values()] == [False]


def test_an_earlier_first_event_renames_the_profile_and_the_old_id_resolves() -> None:
    core, said = run(one_by_one(seen("a", 20, LAPTOP), seen("b", 10, LAPTOP)))
    assert said.public_id == {0: public_id_of((10, "b"))}
    for maker in ((20, "a"), (10, "b")):
        assert core.store.profile_of_public_id(public_id_of(maker)) == 0, text_of(0)


def test_a_repeat_says_nothing_new() -> None:
    event = seen("a", 10, ADA, LAPTOP)
    core, said = run([[event], [event], [event, event]])
    assert len(said.public_id) == 1 and not said.moves
    assert len(said.rows[0]) == 4
    assert core.visit_count == 0


def test_ties_of_time_are_broken_by_the_event_id() -> None:
    first, second = seen("a", 10, BOB, LAPTOP), seen("b", 10, ADA, LAPTOP)
    for order in ([first, second], [second, first]):
        core, _ = run(one_by_one(*order))
        assert people_of(core) == {frozenset({BOB, LAPTOP}), frozenset({ADA})}


def test_kinds_a_tenant_adds_are_weaker_and_ordered_by_name() -> None:
    law = Law({"user_id": 1, "card": 1})
    core, _ = run(
        one_by_one(
            seen("a", 10, ("zone", "z"), ("card", "1")),
            seen("b", 20, ADA, ("zone", "z"), ("card", "2")),
        ),
        1,
        law,
    )
    assert people_of(core) == {
        frozenset({("zone", "z"), ("card", "1")}),
        frozenset({ADA, ("card", "2")}),
    }

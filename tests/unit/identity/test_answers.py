"""Questions: by identifier, by present and former ids, attributes, merges and the report."""

from __future__ import annotations

import pytest

from muster.types.v1 import event_pb2
from services.chassis import prints
from services.chassis.core import Message
from services.chassis.errors import InvalidRequest, NotFound
from services.identity.adapters.values import value_of
from services.identity.core import IdentityCore
from services.identity.domain import public_ids
from services.identity.engine.changes import HAND_OVER, MERGE
from services.identity.handlers import Answers
from services.identity.settings import IdentitySettings
from tests.unit.identity.events import START_US, TENANT, Happened, columns_of
from tests.unit.identity.running import reloaded

SETTINGS = IdentitySettings(tenant=TENANT, phone_country="GB")
KEY = prints.print_key(SETTINGS.print_key)
ADA = ("user_id", "ada")
MAIL = ("email", "ada@example.com")
LAPTOP = ("cookie", "laptop")
TOKEN = ("web_push_token", "t-1")


def printed(events: list[Happened]) -> Message:
    """As ingest prints them."""
    columns = columns_of(events, START_US)
    ids = [prints.print_of(kind, value, KEY) for event in events for kind, value in event.ids]
    columns.id_print[:] = [word for pair in ids for word in pair]
    return Message(0, "", 1, START_US, columns.SerializeToString())


def asked(*events: Happened) -> tuple[Answers, IdentityCore]:
    core = IdentityCore(TENANT, 1)
    core.step([printed(list(events))], START_US)
    core = reloaded(core)
    return Answers(core, SETTINGS), core


def updated(event_id: str, at: int, who: tuple[str, str], **properties: str | int) -> Happened:
    return Happened(event_id, at, (who,), "profile_updated", properties)


STORY = (
    Happened("a", 10, (LAPTOP,)),
    Happened("b", 20, (ADA,)),
    Happened("c", 30, (ADA, LAPTOP)),
    Happened("d", 40, (("user_id", "bob"), LAPTOP)),
    Happened("e", 50, (ADA, TOKEN)),
    Happened("f", 60, (("user_id", "bob"), TOKEN)),
    Happened("g", 70, (MAIL, ADA, ("phone", "+442079460000"))),
)


def test_an_identifier_resolves_after_normalisation() -> None:
    answers, _ = asked(*STORY)
    ada = answers.resolve_identifier("user_id", "ada")
    assert answers.resolve_identifier("email", "  Ada@Example.COM ") == ada
    assert answers.resolve_identifier("phone", "020 7946 0000") == ada
    assert answers.resolve_identifier("cookie", "laptop") == ada
    assert answers.resolve_identifier("web_push_token", "t-1") != ada, "handed on to bob"


def test_unknown_and_impossible_names_are_refused() -> None:
    answers, _ = asked(*STORY)
    with pytest.raises(NotFound):
        answers.resolve_identifier("user_id", "carol")
    with pytest.raises(InvalidRequest):
        answers.resolve_identifier("user_id", "null")
    with pytest.raises(NotFound):
        answers.resolve_profile_id(public_ids.text_of(12345))
    for wrong in ("", "p_", "p_0000000000000u", "x_0000000000000", "p_zzzzzzzzzzzzz"):
        with pytest.raises(InvalidRequest):
            answers.resolve_profile_id(wrong)


def test_the_id_of_an_absorbed_profile_resolves_to_the_survivor() -> None:
    answers, core = asked(*STORY)
    ada = answers.resolve_identifier("user_id", "ada")
    person = answers.person(ada)
    ((absorbed, cause, time_us),) = person.merges
    assert (cause, time_us) == ("c", START_US)
    assert absorbed != person.profile_id
    assert answers.resolve_profile_id(absorbed) == ada
    assert answers.resolve_profile_id(person.profile_id) == ada
    assert core.chronicle.counts == {MERGE: 1, HAND_OVER: 1}


def test_a_person_shows_what_is_held_strongest_first() -> None:
    answers, _ = asked(*STORY)
    person = answers.person(answers.resolve_identifier("user_id", "ada"))
    assert person.identifiers == [ADA, MAIL, ("phone", "+442079460000"), LAPTOP]


def test_the_report_adds_up() -> None:
    answers, _ = asked(*STORY)
    report = answers.report()
    assert (report.profiles, report.merges, report.splits, report.handed_tokens) == (2, 1, 0, 1)
    assert report.identifiers == {
        "user_id": 2,
        "email": 1,
        "phone": 1,
        "cookie": 1,
        "web_push_token": 1,
    }
    nobody = {"size": 0, "unlinked": 0, "untrusted": 0, "shared": 0}
    assert report.left_out == {"limit": 1, **nobody}


def test_at_a_merge_the_survivors_value_wins_else_the_newest() -> None:
    answers, core = asked(
        updated("a", 40, LAPTOP, city="Köln", plan="gold", nick="Lady"),
        updated("b", 20, LAPTOP, city="Bonn", age=41),
        updated("c", 30, ADA, city="Ulm", nick=""),
        Happened("d", 50, (ADA, LAPTOP)),
    )
    person = answers.person(answers.resolve_identifier(*ADA))
    shown = {key: value_of(given) for key, given in person.attributes.items()}
    assert (shown["city"].text, shown["plan"].text, shown["age"].whole) == ("Ulm", "gold", 41)
    assert shown["nick"].text == "Lady", "an empty text is no value of the survivor"
    assert len(shown) == 4 and core.chronicle.counts == {MERGE: 1}


def test_a_newer_value_of_the_absorbed_persons_device_counts_after_the_merge() -> None:
    answers, _ = asked(
        updated("a", 20, LAPTOP, city="Köln"),
        updated("b", 30, ADA, city="Ulm"),
        Happened("c", 40, (ADA, LAPTOP)),
        updated("d", 50, LAPTOP, city="Bonn"),
    )
    person = answers.person(answers.resolve_identifier(*ADA))
    assert value_of(person.attributes["city"]).text == "Bonn"


def test_a_list_is_replaced_as_a_whole() -> None:
    core = IdentityCore(TENANT, 1)
    for event_id, at, items in (("a", 10, ["x", "y", "z"]), ("b", 20, ["v", "w"])):
        columns = columns_of([updated(event_id, at, ADA, tag0="", tag1="", tag2="")], START_US)
        for place in range(3):
            columns.prop_key[place] = columns.prop_key[0]
        del columns.prop_key[len(items) :], columns.prop_value[len(items) :]
        columns.prop_kind = columns.prop_kind[: len(items)]
        columns.prop_exponent = columns.prop_exponent[: len(items)]
        columns.prop_end[0] = len(items)
        columns.prop_item.extend(range(len(items)))
        columns.prop_value[:] = range(len(items))
        columns.text = "".join(items).encode()
        columns.text_end[:] = range(1, len(items) + 1)
        core.step([Message(0, "", 1, START_US, columns.SerializeToString())], START_US)
    person = Answers(core, SETTINGS).person(0)
    assert [one.text for one in value_of(person.attributes["tag0"]).list.values] == ["v", "w"]


def test_attributes_that_were_replaced_are_forgotten_in_time() -> None:
    core = IdentityCore(TENANT, 1)
    for round_ in range(60):
        events = [
            updated(f"{round_}-{i}", round_, ("cookie", f"c{i}"), city=f"city {round_}", n=round_)
            for i in range(20)
        ]
        core.step([printed(events)], START_US)
    assert core.attributes.count < 60 * 20, "of 2,400 values 40 are current"
    assert len(core.attributes.text) < 60 * 20 * 7
    answers = Answers(core, SETTINGS)
    for i in range(20):
        person = answers.person(answers.resolve_identifier("cookie", f"c{i}"))
        assert value_of(person.attributes["city"]).text == "city 59"
        assert value_of(person.attributes["n"]).whole == 59


def test_values_of_every_kind() -> None:
    assert value_of([(0, 1, 0, 0, "ü".encode())]).text == "ü"
    assert value_of([(0, 2, -(2**53) - 1, 0, b"")]).whole == -(2**53) - 1
    decimal = value_of([(0, 3, 1999, 2, b"")]).decimal
    assert (decimal.units, decimal.exponent) == (1999, 2)
    assert value_of([(0, 4, 1, 0, b"")]).flag
    assert value_of([(0, 5, START_US, 0, b"")]).time.ToMicroseconds() == START_US
    assert event_pb2.Decimal(units=1999, exponent=2) == decimal

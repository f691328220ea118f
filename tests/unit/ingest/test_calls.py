"""What a call of Segment's API says, in our words: names, people, times, exact values."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from services.ingest.adapters.encoding import event_of
from services.ingest.domain import vocabulary
from services.ingest.domain.calls import Received, draft_of
from services.ingest.domain.drafts import DraftFault, flat, value_of
from services.ingest.domain.vocabulary import spoken, type_of

NOW = 1_790_000_000_000_000
MINUTE = 60_000_000
numbers = count()


def iso(us: int) -> str:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (epoch + dt.timedelta(microseconds=us)).isoformat()


def draft(kind: str = "track", received: Received | None = None, **call: Any) -> Any:
    given = {"event": "x", "userId": "u", "messageId": "m", "timestamp": iso(NOW)} | call
    return draft_of(kind, given, received or Received(NOW), lambda: f"new-{next(numbers)}")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Product Viewed", "product_viewed"),
        ("product_viewed", "product_viewed"),
        ("productViewed", "product_viewed"),
        ("view_item", "product_viewed"),
        ("purchase", "order_completed"),
        ("Order Refunded", "order_refunded"),
        ("refund", "order_refunded"),
        ("Song Played", "song_played"),
        ("SongPlayed!", "song_played"),
        ("Größe gewählt", "gr_e_gew_hlt"),
        ("a:b.c", "a:b.c"),
    ],
)
def test_names_of_other_vocabularies_become_ours(name: str, ours: str) -> None:
    assert spoken(name, {}).type == ours


def test_every_name_of_the_tables_is_an_event_type_and_stands_for_itself() -> None:
    for ours in {*vocabulary.SEGMENT_EVENTS.values(), *vocabulary.GA4_EVENTS.values()}:
        assert type_of(ours) == ours
        assert spoken(ours, {}) == vocabulary.Spoken(ours, {}, True)
    for name, ours in {**vocabulary.SEGMENT_EVENTS, **vocabulary.GA4_EVENTS}.items():
        assert spoken(name, {}).type == ours, name


def test_properties_of_known_events_are_renamed_and_ours_win() -> None:
    said = spoken(
        "purchase",
        {"transaction_id": "o", "value": 5, "items": [{"item_id": "p"}], "name": 1, "item_name": 2},
    )
    assert said.properties == {
        "order_id": "o",
        "value": 5,
        "total": 5,
        "lines": [{"product_id": "p"}],
        "name": 1,
    }
    assert spoken("My Own", {"value": 5, "items": [1]}).properties == {
        "value": 5,
        "items": [1],
        "event_name": "My Own",
    }
    assert spoken("Email Opened", {}).properties == {"channel": "email"}


def test_people_are_named_by_ids_traits_and_tokens() -> None:
    made = draft(
        "identify",
        anonymousId="c",
        traits={"email": "e@x.org", "phone": "+4930123456", "birthday": "1990-01-02"},
        context={"device": {"type": "Android", "token": "t"}, "timezone": "Europe/Berlin"},
    )
    assert made.identifiers == [
        ("user_id", "u"),
        ("cookie", "c"),
        ("email", "e@x.org"),
        ("phone", "+4930123456"),
        ("mobile_push_token", "t"),
    ]
    said = {key: value for key, _, value in made.properties}
    assert said["birth_date"] == "1990-01-02"
    assert said["platform"] == "android"
    assert said["time_zone"] == "Europe/Berlin"
    web = draft(context={"device": {"type": "web", "token": "t"}})
    assert ("web_push_token", "t") in web.identifiers
    assert draft(userId=7).identifiers == [("user_id", "7")]


def test_a_wrong_zone_is_set_right_and_a_retry_has_the_same_time() -> None:
    made = NOW + 120 * MINUTE
    for late in (1, 4 * MINUTE, 90 * MINUTE):
        received = Received(NOW + late, made + late + 5 * MINUTE)
        one = draft(timestamp=iso(made), received=received)
        assert (one.occur_us, one.send_us) == (NOW, NOW)
    near = draft(timestamp=iso(NOW - 1), received=Received(NOW, NOW + 9 * MINUTE))
    assert near.occur_us == NOW - 1
    with pytest.raises(DraftFault) as refused:
        draft(received=Received(NOW, NOW + 15 * MINUTE))
    assert refused.value.code == "device_clock_wrong"
    old = draft(timestamp=iso(NOW), received=Received(NOW, NOW + 15 * MINUTE, is_history=True))
    assert old.occur_us == NOW


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"userId": None}, "no_identifier"),
        ({"userId": True}, "bad_identifier"),
        ({"event": " "}, "missing_type"),
        ({"event": "!!"}, "bad_type"),
        ({"timestamp": "yesterday"}, "bad_time"),
        ({"timestamp": 5}, "bad_time"),
        ({"timestamp": None}, "missing_timestamp"),
        ({"properties": [1]}, "bad_call"),
        ({"messageId": 5}, "bad_event_id"),
        ({"properties": {"a": Decimal("1e9999")}}, "not_a_number"),
    ],
)
def test_what_is_no_event_is_named(change: dict[str, Any], code: str) -> None:
    with pytest.raises(DraftFault) as refused:
        draft(**change)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "0.1",
        "-19.99",
        "1e3",
        "0",
        "-0.0",
        "123456789012345678901234567890.5",
        "9007199254740993",
        "1.000000000000000000",
        "0.1234567890123456789",
        "9223372036854775807.5",
        "1E-400",
    ],
)
def test_numbers_keep_their_exact_value_on_the_wire(text: str) -> None:
    event = event_of(draft(properties={"n": Decimal(text)}))
    made = event.properties[0]
    which = made.WhichOneof("value")
    if which == "decimal":
        units, exponent = made.decimal.units, made.decimal.exponent
        shown = Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -exponent))
    else:
        shown = Decimal(made.whole if which == "whole" else made.text)
    assert shown == Decimal(text)


def test_trees_become_dotted_keys_and_items() -> None:
    tree = {
        "a": {"b": {"c": 1}},
        "lines": [{"sku": "x", "tags": ["p", "q"]}, None, {"sku": "y"}],
        "none": None,
        "grid": [[1, 2], [3]],
    }
    assert list(flat(tree)) == [
        ("a.b.c", 0, 1),
        ("lines.sku", 0, "x"),
        ("lines.tags", 0, "p"),
        ("lines.tags", 0, "q"),
        ("lines.sku", 2, "y"),
        ("grid", 0, "[1, 2]"),
        ("grid", 1, "[3]"),
    ]
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"d": deep}
    with pytest.raises(DraftFault):
        list(flat({"x": deep | {"v": 1}}))
    assert value_of("x", 2**63) == "9223372036854775808"

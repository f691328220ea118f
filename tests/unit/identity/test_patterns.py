"""Values that never join anybody by what they look like."""

from __future__ import annotations

import pytest

from services.identity.domain.kinds import Rules
from services.identity.domain.patterns import Pattern
from services.identity.domain.people import Seen, people_of


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        (Pattern("email", "test@*"), "test@example.com", True),
        (Pattern("email", "test@*"), "latest@example.com", False),
        (Pattern("email", "noreply@*"), "NoReply@example.com", True),
        (Pattern("email", "*@example.?om"), "a@example.com", True),
        (Pattern("email", "a.b@c"), "aXb@c", False),
        (Pattern("phone", "", one_character=True), "+111111111", True),
        (Pattern("phone", "", one_character=True), "+380441111111", False),
        (Pattern("user_id", "", one_character=True), "777", False),
        (Pattern("user_id", "", one_character=True), "77-77", True),
    ],
)
def test_a_pattern_is_about_the_whole_value(pattern: Pattern, value: str, matches: bool) -> None:
    assert pattern.matches(value) == matches


@pytest.mark.parametrize(
    "pattern",
    [
        Pattern("email", ""),
        Pattern("email", "*"),
        Pattern("email", "?*"),
        Pattern("email", "a" * 65),
        Pattern("email", "*a*b*c*d*"),
        Pattern("phone", "1*", one_character=True),
    ],
)
def test_a_pattern_that_cannot_be_meant_says_what_to_do(pattern: Pattern) -> None:
    assert pattern.fault()


def test_two_people_of_one_blocked_address_stay_two() -> None:
    mail = ("email", "test@example.com")
    events = [
        Seen("e1", 1, (("user_id", "ada"), mail)),
        Seen("e2", 2, (("user_id", "bob"), mail, ("cookie", "c1"))),
        Seen("e3", 3, (mail,)),
    ]
    rules = Rules(limits={}, patterns=(Pattern("email", "test@*"),))
    people = people_of(events, rules)
    assert people.ignored == {mail}
    assert people.of(mail) is not people.of(("user_id", "ada"))
    assert people.of(("cookie", "c1")) is people.of(("user_id", "bob"))
    assert len(people_of(events, Rules(limits={})).persons) == 1

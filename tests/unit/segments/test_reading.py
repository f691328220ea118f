"""Groups, depth and size of a rule."""

from __future__ import annotations

import pytest

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language import speaking
from services.segments.engine.language.reading import read_condition
from tests.unit.segments.reading import assert_faults, known, read, read_message

EVERYONE = "everyone {}"
WRONG = {
    "": [": an empty condition"],
    "all {}": ["all: an empty group is refused"],
    "any { of {} }": ["any[0]: an empty condition"],
    "none { of { any {} } of { all {} } }": [
        "none[0].any: an empty group", "none[1].all: an empty group",
    ],
    "not {}": ["not: an empty condition"],
    "at_least { n: 1 }": ["at_least.of: an empty group"],
    f"at_least {{ n: 0 of {{ {EVERYONE} }} }}": ["at_least.n: must be between 1 and 1"],
    f"at_least {{ n: 3 of {{ {EVERYONE} }} of {{}} }}": [
        "at_least.of[1]: an empty condition", "at_least.n: must be between 1 and 2",
    ],
    'not { any { of { channel { channel: "pigeon" } } } }': [
        "not.any[0].channel.channel: must be one of email, sms",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_group_that_means_nothing_is_refused_with_its_place(text: str) -> None:
    assert_faults(text, WRONG[text])


def nested(depth: int) -> pb.Condition:
    made = pb.Condition(everyone=pb.Everyone())
    for _ in range(depth - 1):
        outer = pb.Condition()
        getattr(outer, "not").CopyFrom(made)
        made = outer
    return made


def test_sixteen_levels_are_read_and_one_more_is_refused() -> None:
    assert read_message(nested(16))[1] == []
    (fault,) = read_message(nested(17))[1]
    assert fault[1].startswith("deeper than 16 levels")


def test_256_leaves_are_read_and_one_more_is_one_fault() -> None:
    leaf = pb.Condition(everyone=pb.Everyone())
    assert read_message(pb.Condition(any=pb.Group(of=[leaf] * 256)))[1] == []
    (fault,) = read_message(pb.Condition(any=pb.Group(of=[leaf] * 300)))[1]
    assert fault == ("any[256]", "more than 256 leaves: split the rule into segments")


def test_groups_stay_as_they_are_written() -> None:
    node, faults = read(f"all {{ of {{ not {{ not {{ {EVERYONE} }} }} }} }}")
    assert faults == []
    assert node == rule.All((rule.Not(rule.Not(rule.Everyone())),))


def test_what_the_engine_does_not_judge_is_refused_with_its_place_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speaking, "ENGINE_SPEAKS", {"Everyone"})
    leaf = pb.Condition(channel=pb.ChannelLeaf(channel="web_push", platform="ios"))
    condition = pb.Condition(all=pb.Group(of=[pb.Condition(everyone=pb.Everyone()), leaf]))
    with pytest.raises(ConditionFaults) as refused:
        read_condition(condition, "", known, EngineLimits())
    assert refused.value.faults == [
        ("all[1]", "Reachable is not evaluated yet: leave it out"),
        ("all[1]", "platform is not evaluated yet: leave it out"),
    ]


def test_lists_are_asked_for_apart_from_segments() -> None:
    condition = pb.Condition(list=pb.ListLeaf(list_id="vip"))
    limits = EngineLimits()
    refuse, accept = (lambda _: "no such segment"), (lambda _: None)
    assert read_condition(condition, "", refuse, limits, accept) == rule.MemberOf("vip")
    with pytest.raises(ConditionFaults, match=r"list\.list_id: no such segment"):
        read_condition(condition, "", refuse, limits)

"""What becomes of a wish to define or retire: a version, an old answer, or every fault at once."""

from __future__ import annotations

import random
from typing import cast

import pytest
from google.protobuf.duration_pb2 import Duration
from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import condition_pb2 as pb
from services.chassis.errors import Conflict, InvalidRequest, NotFound, Precondition
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.door import (
    decide_definition,
    decide_description,
    decide_retirement,
    retirement_order,
)
from services.segments.adapters.validation import FAULTS_MAX, Fault
from services.segments.settings import SegmentsSettings

SETTINGS = SegmentsSettings()


class Control:
    """CONTROL as a list: what a door decided is written and read back."""

    def __init__(self) -> None:
        self.known = Definitions(cast("Client", None), SETTINGS)
        self.records: list[bytes] = []

    def define(self, segment_id: str, condition: pb.Condition, **more: object) -> Defined:
        request = api.DefineSegmentRequest(segment_id=segment_id, condition=condition, **more)
        return self.written(decide_definition(self.known, request, SETTINGS, no_faults))

    def retire(self, segment_id: str, request_id: str = "") -> Defined:
        request = api.RetireSegmentRequest(segment_id=segment_id, request_id=request_id)
        return self.written(decide_retirement(self.known, request))

    def written(self, decided: segments.SegmentDefined | Defined) -> Defined:
        if isinstance(decided, Defined):
            return decided
        self.records.append(decided.SerializeToString())
        self.known.learn(len(self.records), self.records[-1])
        return self.known.by_id[decided.segment_id]


def no_faults(condition: pb.Condition, zone: str) -> list[Fault]:
    return []


def everyone() -> pb.Condition:
    return pb.Condition(everyone=pb.Everyone())


def member_of(*segment_ids: str) -> pb.Condition:
    leaves = [pb.Condition(segment=pb.SegmentLeaf(segment_id=one)) for one in segment_ids]
    return pb.Condition(all=pb.Group(of=leaves))


def test_versions_and_numbers_are_dense() -> None:
    control = Control()
    a1 = control.define("a", everyone())
    b1 = control.define("b", member_of("a"))
    a2 = control.define("a", everyone(), name="Anew")
    assert [(d.definition.segment_number, d.definition.version) for d in (a1, b1, a2)] == [
        (1, 1),
        (2, 1),
        (1, 2),
    ]
    assert a1.definition.name == "a"


def test_the_same_wish_twice_gives_one_version() -> None:
    control = Control()
    first = control.define("a", everyone(), request_id="r1")
    assert control.define("a", everyone(), request_id="r1") is first
    assert control.define("a", everyone(), request_id="r2", author="somebody else") is first
    changed = control.define("a", everyone(), request_id="r3", tags=["new"])
    assert changed.definition.version == 2
    # A late repeat of the first wish is answered as it was, not done again.
    assert control.define("a", everyone(), request_id="r1").definition.version == 1
    assert len(control.records) == 2


def test_a_request_id_stands_for_one_wish() -> None:
    control = Control()
    control.define("a", everyone(), request_id="r1")
    for segment_id, condition in (("b", everyone()), ("a", member_of("c"))):
        with pytest.raises(InvalidRequest, match="request_id") as refused:
            control.define(segment_id, condition, request_id="r1")
        assert refused.value.faults[0][0] == "request_id"
    with pytest.raises(InvalidRequest, match="request_id"):
        control.retire("a", "r1")


def test_an_old_expected_version_is_a_conflict() -> None:
    control = Control()
    control.define("a", everyone(), expected_version=0)
    control.define("a", member_of("b"), expected_version=1)
    with pytest.raises(Conflict, match="version 2, not 1"):
        control.define("a", everyone(), expected_version=1)
    with pytest.raises(Conflict, match="version 0, not 3"):
        control.define("new", everyone(), expected_version=3)


def test_a_circle_is_refused_wherever_it_closes() -> None:
    control = Control()
    control.define("a", everyone())
    control.define("b", member_of("a"))
    control.define("c", member_of("x", "b"))
    with pytest.raises(InvalidRequest) as refused:
        control.define("a", member_of("y", "c"))
    assert [path for path, _ in refused.value.faults] == ["condition.all[1].segment"]
    with pytest.raises(InvalidRequest, match="circle"):
        control.define("d", member_of("d"))
    control.retire("c")
    control.define("a", member_of("y", "c"))


def test_a_segment_others_depend_on_is_not_retired() -> None:
    control = Control()
    control.define("a", everyone())
    control.define("b", member_of("a"))
    with pytest.raises(Precondition, match="part of b"):
        control.retire("a")
    control.retire("b")
    gone = control.retire("a", "r9")
    assert gone.definition.retired
    assert gone.definition.version == 2
    assert control.retire("a") is control.known.by_id["a"]
    assert control.retire("a", "r9") is gone
    with pytest.raises(NotFound):
        control.retire("never")
    back = control.define("a", everyone())
    assert (back.definition.version, back.definition.retired) == (3, False)


def test_every_fault_is_named_at_once_with_its_path() -> None:
    request = api.DefineSegmentRequest(
        segment_id="Bad Id",
        name="n" * 201,
        author="a\0b",
        tags=["ok", "line\nbreak"],
        zone="Europe/Atlantis",
        triggers=segments.TriggerPolicy(reasons=[1, 0, 99], cool_down=Duration(seconds=-1)),
        condition=everyone(),
    )
    with pytest.raises(InvalidRequest) as refused:
        decide_definition(Control().known, request, SETTINGS, no_faults)
    assert [path for path, _ in refused.value.faults] == [
        "segment_id",
        "name",
        "author",
        "tags[1]",
        "zone",
        "triggers.reasons[1]",
        "triggers.reasons[2]",
        "triggers.cool_down",
    ]


def test_faults_of_the_rule_carry_the_whole_path() -> None:
    def faulty(condition: pb.Condition, zone: str) -> list[Fault]:
        return [("all[0].event.window", "wrong"), ("", "wrong as a whole")]

    request = api.DefineSegmentRequest(segment_id="a", condition=everyone())
    with pytest.raises(InvalidRequest) as refused:
        decide_definition(Control().known, request, SETTINGS, faulty)
    assert [p for p, _ in refused.value.faults] == ["condition.all[0].event.window", "condition"]


def test_an_answer_never_grows_with_the_number_of_faults() -> None:
    def faulty(condition: pb.Condition, zone: str) -> list[Fault]:
        return [(f"all[{n}]", "wrong") for n in range(500)]

    request = api.DefineSegmentRequest(segment_id="a", condition=everyone())
    with pytest.raises(InvalidRequest) as refused:
        decide_definition(Control().known, request, SETTINGS, faulty)
    assert len(refused.value.faults) == FAULTS_MAX + 1
    assert refused.value.faults[-1] == ("", f"and {500 - FAULTS_MAX} more faults")


def test_no_rule_and_too_large_a_rule_are_refused() -> None:
    for condition in (
        pb.Condition(),
        pb.Condition(all=pb.Group(of=[member_of("a" * 60)] * 3_000)),
    ):
        with pytest.raises(InvalidRequest) as refused:
            Control().define("a", condition)
        assert refused.value.faults[0][0] == "condition"


def test_a_broken_record_on_control_is_passed_over() -> None:
    control = Control()
    control.define("a", everyone())
    control.known.learn(2, b"\xff\xff")
    assert control.known.sequence == 2
    assert list(control.known.by_id) == ["a"]


def test_an_id_that_was_a_shadows_may_be_a_live_segments() -> None:
    control = Control()
    control.define("a", everyone())
    control.define("b", everyone(), shadow_of="a")
    assert control.known.shadows == {"b": 2}
    with pytest.raises(Precondition, match="part of b"):
        control.retire("a")
    control.retire("b")
    assert control.define("b", member_of("a")).definition.version == 3
    assert not control.known.shadows


def test_a_description_is_a_revision_and_settles() -> None:
    control = Control()
    control.define("a", everyone(), request_id="r1")

    def describe(**more: object) -> Defined:
        request = api.DescribeSegmentRequest(segment_id="a", **more)
        return control.written(decide_description(control.known, request))

    first = describe(name="A", request_id="r2")
    assert (first.definition.version, first.definition.revision) == (1, 1)
    assert describe(name="A", request_id="r2") is first
    assert describe(name="A", request_id="r3") is first
    with pytest.raises(InvalidRequest, match="used for"):
        describe(name="B", request_id="r2")
    assert describe(name="B", tags=["x"]).definition.revision == 2
    second = control.define("a", member_of("b")).definition
    assert (second.version, second.revision) == (2, 0)
    assert [one.definition.revision for one in control.known.history["a"]] == [0, 1, 2, 0]
    found = control.known.version("a", 1)
    assert found is not None
    assert found.definition.name == "B"
    with pytest.raises(Conflict):
        describe(name="C", expected_version=1)


def test_what_rests_on_a_segment_is_retired_before_it() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(50):
        control, names = Control(), [f"s{n}" for n in range(10)]
        for place, name in enumerate(names):
            below = rng.sample(names[:place], rng.randrange(min(place, 3) + 1))
            control.define(name, member_of(*below) if below else everyone())
        for name in retirement_order(control.known, "s0"):
            control.retire(name)
        assert control.known.by_id["s0"].definition.retired


def test_a_policy_names_what_there_is() -> None:
    control = Control()
    for policy, path in (
        (segments.TriggerPolicy(variant_set="none"), "triggers.variant_set"),
        (segments.TriggerPolicy(migrates_from="none"), "triggers.migrates_from"),
        (segments.TriggerPolicy(migrates_from="a"), "triggers.migrates_from"),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            control.define("a", everyone(), triggers=policy)
        assert [one for one, _ in refusal.value.faults] == [path]

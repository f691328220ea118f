"""What rules use, and what one rule says otherwise than another."""

from __future__ import annotations

from google.protobuf.json_format import ParseDict

from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import condition_pb2 as pb
from services.segments.adapters.uses import Resting, resting_on, uses, uses_of
from services.segments.adapters.wording import condition_differences, definition_differences
from tools.golden_rules import EVERY_LEAF


def rule(tree: dict) -> pb.Condition:
    return ParseDict(tree, pb.Condition())


def event(kind: str, **more: object) -> dict:
    return {"event": {"events": {"types": [kind], **more}}}


def attribute(name: str, value: str) -> dict:
    test = {"op": "OPERATOR_EQ", "values": [{"text": value}]}
    return {"attribute": {"attribute": name, "test": test}}


def group(kind: str, *of: dict) -> dict:
    return {kind: {"of": list(of)}}


def differ(before: dict, after: dict) -> list[tuple[str, str, str]]:
    found = condition_differences(rule(before), "", rule(after), "")
    return [(one.path, one.before, one.after) for one in found]


def test_every_leaf_of_the_contract_says_what_it_uses() -> None:
    found = uses_of(rule(EVERY_LEAF))
    kinds = {kind for kind, _ in found}
    assert kinds == {
        "attribute", "event_type", "segment_id", "list_id", "channel", "property", "item_property",
    }  # fmt: skip
    assert len(found) == len(set(found))


def test_a_use_is_found_by_path_and_by_prefix() -> None:
    tree = group(
        "any",
        attribute("address.city", "Kyiv"),
        {"event": {"events": {"typePrefix": "order_"}}},
        event("paid", where={"test": {"property": "lines.sku", "test": {"op": "OPERATOR_EXISTS"}}}),
    )
    found = uses_of(rule(tree))
    for wanted in (
        ("attribute", "address"), ("attribute", "address.city"), ("event_type", "order_made"),
        ("event_type", "paid"), ("property", "lines"),
    ):  # fmt: skip
        assert uses(found, wanted), wanted
    for wanted in (
        ("attribute", "addr"), ("attribute", "city"), ("event_type", "paid_late"),
        ("property", "sku"), ("attribute", "lines"),
    ):  # fmt: skip
        assert not uses(found, wanted), wanted
    anything = uses_of(rule({"event": {"events": {}}}))
    assert uses(anything, ("event_type", "whatever"))


def test_what_rests_on_something_is_named_with_its_way() -> None:
    def defined(tree: dict, shadow_of: str = "") -> segments.SegmentDefined:
        return segments.SegmentDefined(condition=rule(tree), shadow_of=shadow_of)

    known = {
        "a": defined(event("bought")),
        "b": defined({"segment": {"segmentId": "a"}}),
        "c": defined({"segment": {"segmentId": "b"}}),
        "d": defined(event("viewed")),
        "e": defined(event("viewed"), shadow_of="c"),
    }
    assert resting_on(("event_type", "bought"), known) == [
        Resting("a", 1, ""),
        Resting("b", 2, "a"),
        Resting("c", 3, "b"),
        Resting("e", 4, "c"),
    ]
    assert resting_on(("segment_id", "d"), known) == []


def test_parts_about_one_thing_changed_others_came_and_went() -> None:
    kyiv, lviv = attribute("city", "Kyiv"), attribute("city", "Lviv")
    vip = {"segment": {"segmentId": "vip"}}
    assert differ(kyiv, kyiv) == []
    assert differ(group("all", kyiv, vip), group("all", vip, kyiv)) == []
    assert differ(group("any", kyiv), {"not": group("none", group("all", kyiv))}) == []
    assert differ(group("all", kyiv, vip), group("all", vip, lviv)) == [
        ("condition.all[1]", "city is “Kyiv”", "city is “Lviv”")
    ]
    assert differ(kyiv, group("all", lviv, vip)) == [
        ("condition.all[0]", "city is “Kyiv”", "city is “Lviv”"),
        ("condition.all[1]", "", "in segment vip"),
    ]
    assert differ(group("any", kyiv, vip), group("any", kyiv, event("bought"))) == [
        ("condition.any[1]", "", "did bought"),
        ("condition.any[1]", "in segment vip", ""),
    ]
    inner = group("all", kyiv, group("any", lviv, vip))
    outer = group("all", kyiv, group("any", lviv, {"not": vip}))
    assert [path for path, _, _ in differ(inner, outer)] == [
        "condition.all[1].any[1]",
        "condition.all[1].any[1]",
    ]
    ((path, before, after),) = differ(group("all", kyiv, vip), group("any", kyiv, vip))
    assert (path, before != after) == ("condition", True)


def test_fields_differ_in_words() -> None:
    before = segments.SegmentDefined(segment_id="a", condition=rule(event("bought")))
    after = segments.SegmentDefined()
    after.CopyFrom(before)
    after.triggers.reentry = False
    after.triggers.cool_down.FromSeconds(3600)
    after.triggers.variant_set = "spring"
    after.retired = True
    said = {one.path: (one.before, one.after) for one in definition_differences(before, after)}
    assert said == {
        "triggers": (
            "on the usual reasons",
            "on the usual reasons; at most one entry per profile in 1 hour; first entry only; "
            "with the variant of spring",
        ),
        "retired": ("in service", "out of service"),
    }

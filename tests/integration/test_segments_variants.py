"""Variant sets on a real server: defined, previewed, asked in bulk, carried by triggers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.segments.v1 import variants_pb2
from muster.segments.v1 import variants_pb2_grpc as variants_rpc
from muster.types.v1 import common_pb2
from muster.types.v1.event_pb2 import Identifier
from services.chassis import subjects
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    SECOND,
    Stack,
    bought,
    by_email,
    details_of,
    public_id,
    refused,
    stack_of,
    wish,
)

RULES = [("vip", "concierge"), ("buyers", "thanks")]


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def variants_door(stack: Stack) -> Any:
    address = f"127.0.0.1:{stack.processes.ports['engine-0']}"
    channel = grpc.aio.insecure_channel(address)
    stack.processes.channels.append(channel)
    return variants_rpc.VariantsServiceStub(channel)


def rules(pairs: list[tuple[str, str]]) -> list[segments.VariantRule]:
    return [segments.VariantRule(segment_id=one, variant=variant) for one, variant in pairs]


def spring(pairs: list[tuple[str, str]] = RULES, **more: Any) -> Any:
    more.setdefault("default_variant", "hello")
    return variants_pb2.DefineVariantsRequest(variant_set_id="spring", rules=rules(pairs), **more)


async def test_the_first_rule_whose_segment_holds_decides_for_thousands_at_once(
    two: Stack,
) -> None:
    await two.log.say(two.log.people(range(100)))
    await two.door.DefineSegment(wish("buyers", bought(1)))
    await two.door.DefineSegment(wish("vip", bought(3)))
    door = variants_door(two)
    made = await door.DefineVariants(spring(author="ada", request_id="v1"))
    assert (made.variants.version, made.variants.author) == (1, "ada")
    assert (await door.DefineVariants(spring(request_id="v1"))).variants == made.variants
    rows = [(n, "bought", 1) for n in range(30)] + [(n, "bought", 1) for n in range(10)] * 2
    token = await two.events(rows)
    preview = await door.PreviewVariants(
        variants_pb2.PreviewVariantsRequest(variant_set_id="spring", at_least=token)
    )
    assert [(c.segment_id, c.variant, c.profiles, c.members) for c in preview.counts] == [
        ("vip", "concierge", 10, 10),
        ("buyers", "thanks", 20, 30),
        ("", "hello", 70, 100),
    ]
    turned = await door.PreviewVariants(
        variants_pb2.PreviewVariantsRequest(rules=rules(RULES[::-1]), default_variant="x")
    )
    assert [c.profiles for c in turned.counts] == [30, 0, 70]
    nobody = common_pb2.ProfileRef(identifier=Identifier(kind="email", value="no@example.com"))
    asked = [by_email(n) for n in range(99, -1, -1)] * 20 + [nobody]
    by_id = common_pb2.ProfileRef(profile_id=profile_id_text(public_id(5)))
    answer = await door.BatchGetVariants(
        variants_pb2.BatchGetVariantsRequest(variant_set_id="spring", profiles=[*asked, by_id])
    )
    wanted = {n: "concierge" if n < 10 else "thanks" if n < 30 else "hello" for n in range(100)}
    assert [v.variant for v in answer.variants[:100]] == [wanted[n] for n in range(99, -1, -1)]
    assert len(answer.variants) == 2002
    assert answer.variants[0].profile_id == profile_id_text(public_id(99))
    assert (answer.variants[2000].profile_id, answer.variants[2000].variant) == ("", "hello")
    assert (answer.variants[2001].variant, answer.variants[2001].segment_id) == (
        "concierge",
        "vip",
    )
    assert (answer.version, answer.position.time.ToMicroseconds()) == (1, two.log.time_us)


async def test_variant_sets_have_versions_and_refusals(one: Stack) -> None:
    await one.log.say(one.log.people(range(3)))
    await one.door.DefineSegment(wish("buyers", bought(1)))
    await one.door.DefineSegment(wish("vip", bought(3)))
    door = variants_door(one)
    await door.DefineVariants(spring())
    second = await door.DefineVariants(spring(default_variant="hi", expected_version=1))
    assert second.variants.version == 2
    got = await door.GetVariants(variants_pb2.GetVariantsRequest(variant_set_id="spring"))
    assert (got.variants, [v.version for v in got.earlier]) == (second.variants, [1])
    await refused(door.DefineVariants(spring(expected_version=1)), grpc.StatusCode.ABORTED)
    wrong = spring([("nowhere", "a"), ("buyers", ""), ("buyers", "b")])
    error = await refused(door.DefineVariants(wrong), grpc.StatusCode.INVALID_ARGUMENT)
    assert [path for path, _ in details_of(error)] == [
        "rules[0].segment_id",
        "rules[1].variant",
        "rules[2].segment_id",
    ]
    long_name = spring([("buyers", "x" * 65)])
    error = await refused(door.DefineVariants(long_name), grpc.StatusCode.INVALID_ARGUMENT)
    assert [path for path, _ in details_of(error)] == ["rules[0].variant"]
    long_ref = common_pb2.ProfileRef(identifier=Identifier(kind="email", value="x" * 300))
    for bad in (
        variants_pb2.BatchGetVariantsRequest(variant_set_id="spring"),
        variants_pb2.BatchGetVariantsRequest(
            variant_set_id="spring", profiles=[by_email(1)] * 5_001
        ),
        variants_pb2.BatchGetVariantsRequest(variant_set_id="spring", profiles=[long_ref] * 4_000),
        variants_pb2.BatchGetVariantsRequest(
            variant_set_id="spring", profiles=[common_pb2.ProfileRef(profile_id="@1")]
        ),
        variants_pb2.BatchGetVariantsRequest(
            variant_set_id="spring", profiles=[common_pb2.ProfileRef(profile_id="me")]
        ),
    ):
        await refused(door.BatchGetVariants(bad), grpc.StatusCode.INVALID_ARGUMENT)
    policy = segments.TriggerPolicy(variant_set="nowhere")
    error = await refused(
        one.door.DefineSegment(wish("t", bought(1), triggers=policy)),
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert details_of(error)[0][0] == "triggers.variant_set"
    # A segment with a rule in a set stays; forced, the set loses the rule.
    error = await refused(
        one.door.RetireSegment(api.RetireSegmentRequest(segment_id="vip")),
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    assert "variant set spring" in (error.details() or "")
    gone = await one.door.RetireSegment(api.RetireSegmentRequest(segment_id="vip", force=True))
    assert list(gone.changed_variant_set_ids) == ["spring"]
    got = await door.GetVariants(variants_pb2.GetVariantsRequest(variant_set_id="spring"))
    assert [rule.segment_id for rule in got.variants.rules] == ["buyers"]
    # A set named by a trigger policy stays until the policy changes.
    policy.variant_set = "spring"
    await one.door.DefineSegment(wish("t", bought(1), triggers=policy))
    retire = variants_pb2.RetireVariantsRequest(variant_set_id="spring")
    await refused(door.RetireVariants(retire), grpc.StatusCode.FAILED_PRECONDITION)
    await one.door.DefineSegment(wish("t", bought(1)))
    await door.RetireVariants(retire)
    assert not (await door.ListVariants(variants_pb2.ListVariantsRequest())).variants


async def triggers_of(stack: Stack, count: int) -> list[segments.SegmentTriggered]:
    """All triggers in the log, once there are `count`."""
    jetstream = stack.client.jetstream()
    async with asyncio.timeout(20):
        while True:
            found = []
            last = (await jetstream.stream_info(subjects.TRIGGERS)).state.last_seq
            for sequence in range(1, last + 1):
                message = await jetstream.get_msg(subjects.TRIGGERS, sequence)
                if message.subject.startswith("muster.triggers."):
                    found.append(segments.SegmentTriggered.FromString(message.data))
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_a_trigger_carries_the_variant_of_its_own_instant(one: Stack) -> None:
    await one.log.say(one.log.people(range(6)))
    await one.door.DefineSegment(wish("buyers", bought(1)))
    await one.door.DefineSegment(wish("vip", bought(3)))
    door = variants_door(one)
    await door.DefineVariants(spring())
    policy = segments.TriggerPolicy(variant_set="spring")
    await one.door.DefineSegment(wish("viewers", bought(1, kind="viewed"), triggers=policy))
    await one.door.DefineSegment(wish("plain", bought(1, kind="viewed")))
    await one.events([(1, "bought", 1)] * 3 + [(2, "bought", 1)])
    # One step: 1 and 2 view; the purchases pass out of their windows by 20 s after the step before,
    # when everybody is back at the default, and the views pass out at 25 s.
    await one.events([(1, "viewed", 1), (2, "viewed", 1), (3, "viewed", 1)], 5)
    token = await one.log.tick(40)
    await one.door.CountMembers(api.CountMembersRequest(at_least=token))
    one.processes.start("relay")
    found = await triggers_of(one, 3 + 1 + 3 * 2 * 2)
    said = {
        (t.segment_id, t.profile_number, t.direction): t.variant
        for t in found
        if t.segment_id in ("viewers", "plain")
    }
    entered, left = common_pb2.DIRECTION_ENTERED, common_pb2.DIRECTION_LEFT
    assert {key: v for key, v in said.items() if key[0] == "plain"} == {
        ("plain", n, way): "" for n in (1, 2, 3) for way in (entered, left)
    }
    assert [said["viewers", n, entered] for n in (1, 2, 3)] == ["concierge", "thanks", "hello"]
    assert [said["viewers", n, left] for n in (1, 2, 3)] == ["hello"] * 3


async def test_who_became_another_in_another_partition_gets_its_variant(two: Stack) -> None:
    await two.log.say(two.log.people(range(4)))
    await two.door.DefineSegment(wish("buyers", bought(1)))
    await two.door.DefineSegment(wish("vip", bought(3)))
    door = variants_door(two)
    await door.DefineVariants(spring())
    await two.events([(0, "bought", 1), (1, "bought", 1), (1, "bought", 1)])
    move = identity.AtomsMoved(
        move_id=1,
        from_profile=1,
        to_profile=0,
        atom=[1],
        merge=True,
        move_time_us=two.log.time_us + SECOND,
        across_partitions=True,
    )
    entry = identity.ProfileEntry(moved=move)
    await two.log.say({0: [entry], 1: [entry]}, move.move_time_us)
    token = await two.log.tick(1)
    refs = [by_email(1), by_email(0)]
    refs += [common_pb2.ProfileRef(profile_id=profile_id_text(public_id(n))) for n in (1, 0, 2)]
    request = variants_pb2.BatchGetVariantsRequest(
        variant_set_id="spring", profiles=refs, at_least=token
    )
    async with asyncio.timeout(10):
        while True:
            answer = await door.BatchGetVariants(request)
            if answer.variants[0].variant == "concierge":
                break
    survivor = profile_id_text(public_id(0))
    assert [(v.profile_id, v.variant) for v in answer.variants] == [
        *[(survivor, "concierge")] * 4,
        (profile_id_text(public_id(2)), "hello"),
    ]

"""A person on three devices, anonymous first, then known: the whole chain on real processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from muster.identity.v1 import facts_pb2 as facts
from muster.identity.v1 import service_pb2 as identity
from muster.identity.v1.service_pb2_grpc import IdentityServiceStub
from muster.segments.v1 import service_pb2 as segments
from muster.segments.v1.service_pb2_grpc import SegmentsServiceStub
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.chassis import clock
from tests.integration.test_identity_service import TENANT, Running, by_identifier
from tests.support.servers import Stack
from tests.unit.identity.events import Happened

ADA = ("user_id", "ada")
LAPTOP, PHONE, TABLET = (("cookie", name) for name in ("laptop", "phone", "tablet"))
ENTERED, LEFT = common_pb2.DIRECTION_ENTERED, common_pb2.DIRECTION_LEFT
EVENT, MERGE, UNMERGE = (
    common_pb2.REASON_EVENT,
    common_pb2.REASON_MERGE,
    common_pb2.REASON_UNMERGE,
)
Said = tuple[int, int]


def viewed_at_least(times: int) -> pb.Condition:
    comparison = pb.Comparison(op=pb.OPERATOR_GTE, values=[common_pb2.Value(whole=times)])
    return pb.Condition(
        event=pb.EventLeaf(
            events=pb.EventSelector(types=["product_viewed"]),
            aggregate=pb.Aggregate(kind=pb.AGGREGATE_KIND_COUNT),
            comparison=comparison,
        )
    )


class Chain:
    """Everything from INTAKE to TRANSITIONS, and what the segment said."""

    def __init__(self, running: Running, resolver: Any, door: Any) -> None:
        self.running = running
        self.resolver = resolver
        self.door = door
        self.said: list[segments.Transition] = []
        self.happened = 0

    async def do(self, *identifiers: tuple[str, str], kind: str = "product_viewed") -> None:
        """One event now, worked off by identity before the next."""
        self.happened += 1
        event = Happened(f"e{self.happened}", clock.wall_us(), identifiers, kind)
        await self.running.publish([event])
        await self.profile(identifiers[0])

    async def profile(self, identifier: tuple[str, str]) -> Any:
        request = identity.ResolveProfileRequest(
            tenant=TENANT, profile=by_identifier(*identifier), at_least=self.running.token
        )
        return await self.resolver.ResolveProfile(request)

    async def watch(self) -> None:
        request = segments.WatchTransitionsRequest(tenant=TENANT, segment_ids=["keen"])
        async for answer in self.door.WatchTransitions(request):
            self.said.extend(answer.transitions)

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(200):
            if holds():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not within 10 s: {self.said}")

    def of(self, profile_id: str) -> list[Said]:
        return [(one.direction, one.reason) for one in self.said if one.profile_id == profile_id]


@pytest.fixture
async def chain(stack: Stack) -> Any:
    stack.partitions = 2
    processes = [
        stack.start("ingest", "worker"),
        stack.start("identity"),
        stack.start("segments", "engine", 0),
        stack.start("segments", "engine", 1),
    ]
    await asyncio.gather(*(one.ready() for one in processes))
    async with (
        grpc.aio.insecure_channel(processes[1].address) as who,
        grpc.aio.insecure_channel(processes[2].address) as door,
    ):
        chain = Chain(
            Running(stack, processes[1]), IdentityServiceStub(who), SegmentsServiceStub(door)
        )
        await chain.door.DefineSegment(
            segments.DefineSegmentRequest(
                tenant=TENANT, segment_id="keen", name="Keen", condition=viewed_at_least(4)
            )
        )
        watching = asyncio.create_task(chain.watch())
        await asyncio.sleep(0.5)
        yield chain
        watching.cancel()


async def test_one_person_with_all_history_and_every_transition_with_its_reason(
    chain: Chain,
) -> None:
    # Three devices, each a stranger; the phone's is keen by itself.
    for device, views in ((LAPTOP, 2), (PHONE, 4), (TABLET, 1)):
        for _ in range(views):
            await chain.do(device)
    strangers = [await chain.profile(device) for device in (LAPTOP, PHONE, TABLET)]
    assert len({one.profile_id for one in strangers}) == 3
    assert {one.partition for one in strangers} == {0, 1}, "their pasts lie apart"
    laptop, phone, tablet = (one.profile_id for one in strangers)
    await chain.until(lambda: chain.of(phone) == [(ENTERED, EVENT)])

    # She logs in on the laptop: two views are not keen. Then on the tablet: three are not.
    await chain.do(ADA, LAPTOP, kind="logged_in")
    await chain.do(ADA, TABLET, kind="logged_in")
    assert (await chain.profile(TABLET)).profile_id == laptop
    # One more view, on the tablet, and she is: her history is that of both.
    await chain.do(TABLET)
    await chain.until(lambda: chain.of(laptop) == [(ENTERED, EVENT)])

    # On the phone: its stranger leaves everything, she stays in.
    await chain.do(ADA, PHONE, kind="logged_in")
    cause = f"e{chain.happened}"
    await chain.until(lambda: chain.of(phone) == [(ENTERED, EVENT), (LEFT, MERGE)])
    assert chain.of(laptop) == [(ENTERED, EVENT)] and not chain.of(tablet)
    merged = await chain.resolver.GetProfile(
        identity.GetProfileRequest(tenant=TENANT, profile=by_identifier(*ADA))
    )
    assert len(merged.identifiers) == 4 and len(merged.merges) == 2
    past = await chain.resolver.ListProfileEvents(
        identity.ListProfileEventsRequest(tenant=TENANT, profile=by_identifier(*ADA))
    )
    assert len(past.events) == chain.happened, "all she ever did, on any device"

    # It was not her phone: its stranger is back, with its own past, and keen again.
    answer = await chain.resolver.UnlinkIdentifiers(
        identity.UnlinkIdentifiersRequest(
            tenant=TENANT,
            profile=by_identifier(*ADA),
            cause_id=cause,
            actor="support@example.org",
            reason="her brother's phone",
        )
    )
    assert [len(one.identifiers) for one in answer.profiles] == [3, 1]
    back = (await chain.profile(PHONE)).profile_id
    assert back == phone, "under its first name"
    await chain.until(lambda: chain.of(phone)[2:] == [(ENTERED, UNMERGE)])
    # And she still has her four views.
    explained = await chain.door.CheckMemberships(
        segments.CheckMembershipsRequest(
            tenant=TENANT,
            profile=by_identifier(*ADA),
            segment_ids=["keen"],
            at_least=answer.position.token,
        )
    )
    assert [one.member for one in explained.memberships] == [True]
    assert chain.of(laptop) == [(ENTERED, EVENT)]


async def city(
    chain: Chain, identifier: tuple[str, str], name: str, publisher: str = "shop"
) -> None:
    chain.happened += 1
    event = Happened(
        f"e{chain.happened}", clock.wall_us(), (identifier,), "profile_updated", {"city": name}
    )
    await chain.running.publish([event], publisher)
    await chain.profile(identifier)


async def ruled(chain: Chain, rule: facts.AttributeRule, *sources: str) -> None:
    """Another rule for whose city stands, from now on."""
    rules = (
        await chain.resolver.GetIdentityRules(identity.GetIdentityRulesRequest(tenant=TENANT))
    ).rules
    rules.attributes["city"] = rule
    rules.sources[:] = sources
    tried = await chain.resolver.SimulateIdentityRules(
        identity.SimulateIdentityRulesRequest(tenant=TENANT, rules=rules)
    )
    wish = identity.ChangeIdentityRulesRequest(
        tenant=TENANT,
        rules=rules,
        simulation_id=tried.simulation_id,
        actor="owner@example.org",
        reason="people move",
    )
    for _ in range(300):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await chain.resolver.ChangeIdentityRules(wish)
            return
        await asyncio.sleep(0.1)


async def cities(chain: Chain) -> tuple[str, bool]:
    """Ada's city, and whether segments judge by Bonn, which must be the same."""
    shown = await chain.resolver.GetProfile(
        identity.GetProfileRequest(tenant=TENANT, profile=by_identifier(*ADA))
    )
    here = shown.attributes["city"].text
    for _ in range(100):
        answer = await chain.door.CheckMemberships(
            segments.CheckMembershipsRequest(
                tenant=TENANT,
                profile=by_identifier(*ADA),
                segment_ids=["bonn"],
                at_least=chain.running.token,
            )
        )
        if answer.memberships[0].member == (here == "Bonn"):
            break
        await asyncio.sleep(0.05)
    return here, answer.memberships[0].member


@pytest.mark.parametrize("first", [False, True])
async def test_a_stronger_or_an_older_value_stands_over_both_partitions(
    chain: Chain, first: bool
) -> None:
    if first:
        await ruled(chain, facts.ATTRIBUTE_RULE_FIRST)
    else:
        await ruled(chain, facts.ATTRIBUTE_RULE_SOURCE, "crm")
    test = pb.Test(op=pb.OPERATOR_EQ, values=[common_pb2.Value(text="Bonn")])
    in_bonn = pb.Condition(attribute=pb.AttributeLeaf(attribute="city", test=test))
    await chain.door.DefineSegment(
        segments.DefineSegmentRequest(tenant=TENANT, segment_id="bonn", condition=in_bonn)
    )
    # The laptop's city is older, and said by the stronger source; Ada lives in another partition.
    await city(chain, LAPTOP, "Bonn", "crm")
    await city(chain, ADA, "Ulm")
    assert {(await chain.profile(one)).partition for one in (LAPTOP, ADA)} == {0, 1}
    assert await cities(chain) == ("Ulm", False)
    await chain.do(ADA, LAPTOP, kind="logged_in")
    assert await cities(chain) == ("Bonn", True)
    await city(chain, ADA, "Kyiv")
    assert await cities(chain) == ("Bonn", True)
    await city(chain, ADA, "Odesa", "crm")
    assert await cities(chain) == (("Bonn", True) if first else ("Odesa", False))


@pytest.mark.parametrize("newest", [False, True])
async def test_whose_city_stands_after_a_merge_is_the_tenants_rule(
    chain: Chain, newest: bool
) -> None:
    if newest:
        await ruled(chain, facts.ATTRIBUTE_RULE_NEWEST)
    test = pb.Test(op=pb.OPERATOR_EQ, values=[common_pb2.Value(text="Bonn")])
    in_bonn = pb.Condition(attribute=pb.AttributeLeaf(attribute="city", test=test))
    await chain.door.DefineSegment(
        segments.DefineSegmentRequest(tenant=TENANT, segment_id="bonn", condition=in_bonn)
    )
    # Ada wins as the stronger; the devices lie in both partitions, each with a newer city.
    await city(chain, ADA, "Ulm")
    for device in (LAPTOP, PHONE):
        await city(chain, device, "Bonn")
    assert {(await chain.profile(one)).partition for one in (LAPTOP, PHONE)} == {0, 1}
    for device in (LAPTOP, PHONE):
        await chain.do(ADA, device, kind="logged_in")
        shown = await chain.resolver.GetProfile(
            identity.GetProfileRequest(tenant=TENANT, profile=by_identifier(*ADA))
        )
        assert shown.attributes["city"].text == ("Bonn" if newest else "Ulm")
        for _ in range(100):
            answer = await chain.door.CheckMemberships(
                segments.CheckMembershipsRequest(
                    tenant=TENANT,
                    profile=by_identifier(*ADA),
                    segment_ids=["bonn"],
                    at_least=chain.running.token,
                )
            )
            if answer.memberships[0].member == newest:
                break
            await asyncio.sleep(0.05)
        assert answer.memberships[0].member == newest, "segments judge as identity shows"
        if device == LAPTOP:
            await city(chain, ADA, "Ulm")
            await city(chain, PHONE, "Bonn")

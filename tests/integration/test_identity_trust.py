"""A publisher nobody trusts, such as a website with a public key, joins no two people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from muster.identity.v1 import service_pb2 as api
from muster.identity.v1.service_pb2_grpc import IdentityServiceStub
from muster.ingest.v1 import registry_pb2 as wire
from muster.ingest.v1.registry_pb2_grpc import RegistryServiceStub
from muster.ingest.v1.service_pb2 import SubmitEventsRequest
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from muster.types.v1.event_pb2 import Event
from services.chassis import clock
from tests.integration.test_identity_service import TENANT, by_identifier
from tests.support.servers import Stack

ADA, BOB = ("email", "ada@example.org"), ("phone", "+442079460000")
LAPTOP, TABLET = ("cookie", "laptop"), ("cookie", "tablet")


class Shop:
    """The doors of ingest and identity, with the keys of two publishers."""

    def __init__(self, ingest: Any, identity: Any, keys: dict[str, str]) -> None:
        self.ingest, self.identity, self.keys = ingest, identity, keys
        self.happened = 0

    async def say(self, publisher: str, *identifiers: tuple[str, str]) -> str:
        """One accepted event; the position after it."""
        self.happened += 1
        now = clock.wall_us()
        event = Event(
            event_id=f"e{self.happened}", type="visited", occur_time_us=now, send_time_us=now
        )
        for kind, value in identifiers:
            event.identifiers.add(kind=kind, value=value)
        request = SubmitEventsRequest(tenant=TENANT, publisher=publisher, events=[event])
        request.verdict_deadline.FromSeconds(10)
        metadata = [("authorization", f"Bearer {self.keys[publisher]}")]
        answer = await self.ingest.SubmitEvents(request, metadata=metadata)
        return str(answer.position.token)

    async def who(self, identifier: tuple[str, str], at_least: str) -> str:
        request = api.ResolveProfileRequest(
            tenant=TENANT, profile=by_identifier(*identifier), at_least=at_least
        )
        return str((await self.identity.ResolveProfile(request)).profile_id)


@pytest.fixture
async def shop(stack: Stack) -> AsyncIterator[Shop]:
    doors, worker = stack.start("ingest", "doors"), stack.start("ingest", "worker")
    identity = stack.start("identity")
    await asyncio.gather(doors.ready(), worker.ready(), identity.ready())
    async with (
        grpc.aio.insecure_channel(doors.address) as door,
        grpc.aio.insecure_channel(identity.address) as who,
    ):
        registry, keys = RegistryServiceStub(door), {}
        for name, untrusted in (("website", True), ("cashier", False)):
            publisher = wire.Publisher(name=name, untrusted=untrusted, scopes=[wire.SCOPE_EVENTS])
            wish = wire.SetPublisherRequest(tenant=TENANT, publisher=publisher, new_key=True)
            keys[name] = (await registry.SetPublisher(wish)).key
        yield Shop(IngestServiceStub(door), IdentityServiceStub(who), keys)


async def test_a_website_may_say_who_visits_but_not_that_two_people_are_one(shop: Shop) -> None:
    await shop.say("cashier", ADA)
    await shop.say("cashier", BOB)
    # It may tell strangers apart and together, and whose device it is.
    await shop.say("website", LAPTOP, TABLET)
    at = await shop.say("website", ADA, LAPTOP)
    ada, bob = await shop.who(ADA, at), await shop.who(BOB, at)
    assert ada != bob and await shop.who(TABLET, at) == ada

    at = await shop.say("website", ADA, BOB)
    assert (await shop.who(ADA, at), await shop.who(BOB, at)) == (ada, bob)
    at = await shop.say("website", BOB, LAPTOP)
    assert await shop.who(LAPTOP, at) == ada, "nor take a device from one known person to another"
    report = await shop.identity.GetIdentityReport(api.GetIdentityReportRequest(tenant=TENANT))
    assert report.refused_joins["untrusted"] == 2
    graph = await shop.identity.GetProfileGraph(
        api.GetProfileGraphRequest(tenant=TENANT, profile=by_identifier(*ADA))
    )
    assert [link.untrusted for link in graph.links] == [True] * 4
    assert graph.links[2].identifiers[1].left_out == "untrusted"

    # The same words of somebody who is trusted join them.
    at = await shop.say("cashier", ADA, BOB)
    assert await shop.who(BOB, at) == await shop.who(ADA, at) == ada

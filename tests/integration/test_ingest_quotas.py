"""One quota, however many doors: two real processes, and in steps of time many more."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import grpc
import pytest

from muster.ingest.v1 import registry_pb2 as wire
from muster.ingest.v1.registry_pb2_grpc import RegistryServiceStub
from muster.ingest.v1.service_pb2 import SubmitEventsRequest
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from services.chassis import clock
from services.chassis.errors import Overloaded
from services.ingest.adapters.gate import Gate
from services.ingest.adapters.quota_exchange import EVERY_S, QuotaExchange
from services.ingest.domain.publishers import BURST_S, Publisher
from services.ingest.domain.registry import Registry, evolve
from services.ingest.settings import IngestSettings
from tests.integration.test_ingest_registry import event
from tests.support.servers import Stack

RATE = 400
BATCH = 20


@pytest.fixture
async def channels(stack: Stack) -> AsyncIterator[list[grpc.aio.Channel]]:
    doors = [stack.start("ingest", "doors"), stack.start("ingest", "doors")]
    await asyncio.gather(*(door.ready() for door in doors))
    async with contextlib.AsyncExitStack() as stack_of:
        yield [
            await stack_of.enter_async_context(grpc.aio.insecure_channel(door.address))
            for door in doors
        ]


async def let_in(channels: list[grpc.aio.Channel], seconds: float, name: str) -> int:
    """Events that a publisher got stored in that time, asking at every door as fast as it can."""
    stored = 0
    until = clock.monotonic() + seconds

    async def ask(door: int, stub: IngestServiceStub) -> None:
        nonlocal stored
        number = 0
        while clock.monotonic() < until:
            number += 1
            events = [event(f"{name}-{door}-{number}-{n}") for n in range(BATCH)]
            request = SubmitEventsRequest(tenant="demo", publisher="shop", events=events)
            try:
                await stub.SubmitEvents(request, timeout=10)
                stored += BATCH
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.01)

    await asyncio.gather(
        *(ask(door, IngestServiceStub(channel)) for door, channel in enumerate(channels))
    )
    return stored


async def test_two_doors_give_a_publisher_one_quota(channels: list[grpc.aio.Channel]) -> None:
    await RegistryServiceStub(channels[0]).SetPublisher(
        wire.SetPublisherRequest(
            tenant="demo", publisher=wire.Publisher(name="shop", events_per_second=RATE)
        )
    )
    await asyncio.sleep(0.5)
    # The bursts of both doors, and what they let in before they hear each other, come first.
    burst = await let_in(channels, 2.0, "burst")
    steady = await let_in(channels, 4.0, "steady")
    print(f"{burst} in 2 s, {steady} in 4 s, of {RATE} a second")
    assert burst + steady <= RATE * (BURST_S + 6.0) * 1.15, "two doors give more than one quota"
    assert steady >= RATE * 4.0 * 0.6, "the quota itself is not let in"


@pytest.mark.parametrize("seed", range(20261122, 20261130))
def test_over_time_all_doors_together_let_in_what_one_would(seed: int) -> None:
    """Doors that come and go, announcements that are lost; the sum stays one quota and bursts."""
    print("seed", seed)
    chance = random.Random(seed)
    now = [0.0]
    registry = Registry()
    evolve(registry, Publisher("shop", events_per_s=RATE))
    doors: list[tuple[Gate, QuotaExchange]] = []

    def open_door() -> None:
        gate = Gate(IngestSettings(), registry, lambda: now[0])
        doors.append((gate, QuotaExchange("demo", gate, lambda: now[0])))

    begun = 3
    for _ in range(begun):
        open_door()
    stored = 0
    seconds = 60
    for step in range(round(seconds / EVERY_S)):
        now[0] += EVERY_S
        if step == 200:
            doors.pop(0)
            open_door()
            begun += 1
        for gate, _ in doors:
            for _ in range(chance.randrange(8)):
                with contextlib.suppress(Overloaded):
                    gate.pay("shop", BATCH, 100)
                    stored += BATCH
        for speaker, (_, exchange) in enumerate(doors):
            body = exchange.say(complete=step % 20 == speaker)
            for _, listener in doors:
                if body and chance.random() < 0.9:
                    listener.hear(body)
                    listener.hear(body)  # hearing it twice changes nothing
    assert [exchange.others for _, exchange in doors] == [3, 3, 2], (
        "the one that ended is kept 60 s"
    )
    most = RATE * (seconds + BURST_S * begun) + begun * BATCH
    assert 0.9 * RATE * seconds <= stored <= most

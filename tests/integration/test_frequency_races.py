"""No window ever holds more confirms than its cap: many callers, retries, kills, expiry."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field

import asyncpg
import grpc

from muster.frequency.v1 import facts_pb2, service_pb2, service_pb2_grpc
from services.chassis import clock
from services.frequency.domain.reservation import State
from tests.integration.followers import TENANT, Followers, database_url, followers
from tests.support.servers import Service

__all__ = ["database_url", "followers"]
CLIENTS = 40
PROFILES = 8
CAP, WINDOW_S = 3, 1.0
MAIL_CAP = 2
DURATION_S, DURATION_S_MAX = 8.0, 60.0
DEATHS = 4
UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass
class Tally:
    """What the clients saw."""

    confirmed: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    decisions: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    retries: int = 0
    deaths: int = 0
    begun: float = field(default_factory=clock.monotonic)

    def over(self) -> bool:
        """Whether it went on long enough for the test to mean something: places were contested,
        reservations expired, answers were lost, processes killed."""
        took = clock.monotonic() - self.begun
        enough = (
            self.deaths >= DEATHS
            and self.refused
            and self.retries
            and len(self.confirmed) > PROFILES * CAP
            and self.decisions[facts_pb2.DECISION_DEFERRED] > 100
        )
        return took > DURATION_S_MAX or bool(took > DURATION_S and enough)


def strategy() -> service_pb2.Strategy:
    made = service_pb2.Strategy(strategy_id="hot", defer_on_limit=True)
    made.limits.add(max=CAP).rolling.FromMilliseconds(int(WINDOW_S * 1_000))
    mails = made.limits.add(max=MAIL_CAP, channels=["email"])
    mails.rolling.FromMilliseconds(int(WINDOW_S * 1_000))
    made.reservation_ttl.FromMilliseconds(300)
    return made


class Client:
    """Asks, then confirms, releases or forgets; repeats with the same key what was not answered."""

    def __init__(self, address: str, seed: int, tally: Tally) -> None:
        self.chance = random.Random(seed)
        self.tally = tally
        self.channel = grpc.aio.insecure_channel(
            address, options=[("grpc.max_reconnect_backoff_ms", 100)]
        )
        self.stub = service_pb2_grpc.FrequencyServiceStub(self.channel)
        self.name = f"c{seed}"

    async def repeat(self, call: object, request: object) -> object | None:
        """The answer, however often it takes; None when it was refused."""
        while True:
            timeout = self.chance.choice([0.005, 0.05, 1.0, 1.0, 1.0])
            try:
                return await call(request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    return None
                if error.code() not in UNKNOWN:
                    raise
                self.tally.retries += 1
                await asyncio.sleep(0.05)

    async def run(self) -> None:
        number = 0
        while not self.tally.over():
            number += 1
            request = service_pb2.ReserveMessagesRequest(tenant=TENANT, strategy_id="hot")
            for place in range(self.chance.choice([1, 1, 2, 5])):
                request.wishes.add(
                    message_key=f"{self.name}-{number}-{place}",
                    profile_id=f"p{self.chance.randrange(PROFILES)}",
                    message_type="promo",
                    channel=self.chance.choice(["email", "sms"]),
                )
            answer = await self.repeat(self.stub.ReserveMessages, request)
            if answer is None:
                continue
            for receipt in answer.receipts:
                self.tally.decisions[receipt.decision] += 1
                if receipt.decision == facts_pb2.DECISION_ALLOWED:
                    await self.settle(receipt.message_key)
        await self.channel.close()

    async def settle(self, key: str) -> None:
        what = self.chance.choice(["confirm", "confirm", "confirm", "late", "release", "forget"])
        if what == "forget":
            return
        if what == "release":
            request = service_pb2.ReleaseMessageRequest(tenant=TENANT, message_key=key)
            await self.repeat(self.stub.ReleaseMessage, request)
            return
        if what == "late":
            await asyncio.sleep(self.chance.uniform(0.2, 0.4))
        request = service_pb2.ConfirmMessageRequest(tenant=TENANT, message_key=key)
        answer = await self.repeat(self.stub.ConfirmMessage, request)
        if answer is None:
            self.tally.refused.add(key)
        else:
            self.tally.confirmed[key] = answer.confirm_time.ToMicroseconds()


async def disturb(
    followers: Followers, service: Service, url: str, chance: random.Random, tally: Tally
) -> None:
    """Kills the service, or backends of the database, until the test is over."""
    admin = await asyncpg.connect(url)
    while not tally.over():
        await asyncio.sleep(chance.uniform(0.5, 1.2))
        tally.deaths += 1
        if chance.random() < 0.4:
            await admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where"
                " application_name = 'muster frequency' and random() < 0.5"
            )
            await asyncio.sleep(0.2)
        else:
            service.kill9()
        if service.process.poll() is not None:
            service = await followers.restart(service).ready()
    await admin.close()


def most_in_a_window(instants: list[int], window_us: int) -> int:
    """The most instants in any (t - window, t]."""
    ordered, begin, most = sorted(instants), 0, 0
    for end, at_us in enumerate(ordered):
        while ordered[begin] <= at_us - window_us:
            begin += 1
        most = max(most, end - begin + 1)
    return most


async def test_no_window_is_ever_above_its_cap(followers: Followers, database_url: str) -> None:
    seed = random.SystemRandom().randrange(1 << 20)
    print("seed", seed)
    service = await followers.start("frequency").ready()
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub = service_pb2_grpc.FrequencyServiceStub(channel)
        await stub.DefineStrategy(
            service_pb2.DefineStrategyRequest(tenant=TENANT, strategy=strategy())
        )
    tally = Tally()
    clients = [Client(service.address, seed + n, tally) for n in range(CLIENTS)]
    chance = random.Random(seed)
    await asyncio.gather(
        disturb(followers, service, database_url, chance, tally),
        *(client.run() for client in clients),
    )
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "select r.*, k.channel from frequency.reservation r"
        " join frequency.kind k on k.number = r.kind where state = $1",
        State.CONFIRMED,
    )
    await connection.close()
    window_us = int(WINDOW_S * 1_000_000)
    by_profile: dict[str, list[int]] = defaultdict(list)
    mails: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_profile[row["profile_id"]].append(row["stand_us"])
        if row["channel"] == "email":
            mails[row["profile_id"]].append(row["stand_us"])
        assert row["decided_us"] <= row["stand_us"] < row["deadline_us"]
    fullest = max(most_in_a_window(instants, window_us) for instants in by_profile.values())
    print("deaths", tally.deaths, "confirms", len(rows), dict(tally.decisions), tally.retries)
    assert fullest <= CAP
    assert max(most_in_a_window(instants, window_us) for instants in mails.values()) <= MAIL_CAP
    stored = {row["message_key"]: row["stand_us"] for row in rows}
    assert {key: stored.get(key) for key in tally.confirmed} == tally.confirmed
    assert fullest == CAP
    assert clock.monotonic() - tally.begun < DURATION_S_MAX, "too little happened to mean anything"

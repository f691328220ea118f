"""The frequency service as a process: calls, asks on triggers, deferrals, faults."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nats.aio.client import Client

from muster.frequency.v1 import facts_pb2, service_pb2, service_pb2_grpc
from muster.types.v1.common_pb2 import DIRECTION_ENTERED, DIRECTION_LEFT, Parked
from services.chassis import clock, subjects
from services.chassis.database import Database
from services.frequency.adapters.report import Report
from services.frequency.adapters.strategies import Strategies
from tests.integration.followers import TENANT, database_url, followers, publish_trigger
from tests.support.servers import Stack

__all__ = ["database_url", "followers"]
ALLOWED, DEFERRED, DENIED = (
    facts_pb2.DECISION_ALLOWED,
    facts_pb2.DECISION_DEFERRED,
    facts_pb2.DECISION_DENIED,
)


class Caller:
    """FrequencyService as a platform calls it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.stub = service_pb2_grpc.FrequencyServiceStub(self.channel)

    async def define(
        self, strategy: service_pb2.Strategy, request_id: str = ""
    ) -> service_pb2.Strategy:
        request = service_pb2.DefineStrategyRequest(
            tenant=TENANT, strategy=strategy, request_id=request_id
        )
        return (await self.stub.DefineStrategy(request)).strategy

    async def reserve(
        self, strategy_id: str, *wishes: tuple[str, str], channel: str = "email"
    ) -> list[facts_pb2.Receipt]:
        request = service_pb2.ReserveMessagesRequest(tenant=TENANT, strategy_id=strategy_id)
        for key, profile in wishes:
            request.wishes.add(
                message_key=key, profile_id=profile, message_type="promo", channel=channel
            )
        return list((await self.stub.ReserveMessages(request)).receipts)

    async def confirm(self, key: str) -> service_pb2.ConfirmMessageResponse:
        request = service_pb2.ConfirmMessageRequest(tenant=TENANT, message_key=key)
        return await self.stub.ConfirmMessage(request)

    async def release(self, key: str) -> bool:
        request = service_pb2.ReleaseMessageRequest(tenant=TENANT, message_key=key)
        return (await self.stub.ReleaseMessage(request)).released

    async def report(self, strategy_id: str) -> service_pb2.GetFrequencyReportResponse:
        request = service_pb2.GetFrequencyReportRequest(tenant=TENANT, strategy_id=strategy_id)
        return await self.stub.GetFrequencyReport(request)


def rolling(strategy_id: str, most: int, seconds: float, **fields: object) -> service_pb2.Strategy:
    strategy = service_pb2.Strategy(strategy_id=strategy_id, **fields)
    strategy.limits.add(max=most).rolling.FromMilliseconds(int(seconds * 1_000))
    return strategy


@pytest.fixture
async def caller(followers: Stack) -> Caller:
    service = await followers.start("frequency").ready()
    caller = Caller(service.address)
    yield caller
    await caller.channel.close()


async def refused(call: object) -> tuple[grpc.StatusCode, dict[str, str]]:
    """The code and, by path, the faults of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    faults = {}
    for detail in rpc_status.from_call(caught.value).details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            faults |= {v.field: v.description for v in bad.field_violations}
    return caught.value.code(), faults


async def test_a_place_is_reserved_confirmed_and_counted(caller: Caller) -> None:
    defined = await caller.define(rolling("one", 2, 3_600, defer_on_limit=True), "r1")
    assert defined.version == 1
    assert await caller.define(rolling("one", 2, 3_600, defer_on_limit=True), "r1") == defined
    first, second, third, other = await caller.reserve(
        "one", ("a", "p1"), ("b", "p1"), ("c", "p1"), ("d", "p2")
    )
    assert [r.decision for r in (first, second, third, other)] == [
        ALLOWED,
        ALLOWED,
        DEFERRED,
        ALLOWED,
    ]
    assert (third.rule, third.max, set(third.counted_keys)) == ("limit:0", 2, {"a", "b"})
    freed = third.next_allowed_time.ToNanoseconds() - first.deadline_time.ToNanoseconds()
    assert freed == 3_600 * 10**9
    confirmed = await caller.confirm("a")
    assert not confirmed.already_confirmed
    again = await caller.confirm("a")
    assert again.already_confirmed
    assert again.confirm_time == confirmed.confirm_time
    assert await caller.release("b")
    assert not await caller.release("b")
    assert not await caller.release("a")
    (sixth,) = await caller.reserve("one", ("f", "p1"))
    assert sixth.decision == ALLOWED
    # A retry gets the first answer.
    assert await caller.reserve("one", ("a", "p1"), ("c", "p1")) == [first, third]
    report = await caller.report("one")
    assert (report.asked, report.allowed, report.deferred, report.confirmed) == (5, 4, 1, 1)
    assert dict(report.by_rule) == {"limit:0": 1}


async def test_a_reservation_expires_and_may_be_asked_for_again(caller: Caller) -> None:
    strategy = rolling("short", 1, 3_600)
    strategy.reservation_ttl.FromMilliseconds(200)
    await caller.define(strategy)
    (first,) = await caller.reserve("short", ("a", "p1"))
    (blocked,) = await caller.reserve("short", ("b", "p1"))
    assert (first.decision, blocked.decision) == (ALLOWED, DENIED)
    await asyncio.sleep(0.25)
    code, _ = await refused(caller.confirm("a"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    (after,) = await caller.reserve("short", ("c", "p1"))
    assert after.decision == ALLOWED
    await asyncio.sleep(0.25)
    (anew,) = await caller.reserve("short", ("a", "p1"))
    assert anew.decision == ALLOWED
    assert anew.deadline_time.ToNanoseconds() > first.deadline_time.ToNanoseconds()
    await caller.confirm("a")


async def test_what_is_wrong_is_refused_with_its_path_and_the_rest_goes_on(
    caller: Caller,
) -> None:
    bad = rolling("Bad", 1, 0, zone="Nowhere")
    bad.hours.to = "25:00"
    code, faults = await refused(caller.define(bad))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(faults) == {
        "strategy.strategy_id",
        "strategy.limits[0].rolling",
        "strategy.hours.from",
        "strategy.hours.to",
        "strategy.zone",
    }
    await caller.define(rolling("one", 1, 60))
    code, faults = await refused(caller.reserve("one", ("a", "p1"), ("", "p" * 65), ("n\0", "p")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(faults) == {
        "wishes[1].message_key",
        "wishes[1].profile_id",
        "wishes[2].message_key",
    }
    assert (await caller.reserve("one", ("a", "p1")))[0].decision == ALLOWED
    code, faults = await refused(caller.reserve("one", ("z", "p3"), ("a", "p2")))
    assert (code, set(faults)) == (grpc.StatusCode.INVALID_ARGUMENT, {"wishes[1].message_key"})
    missing = [caller.reserve("none", ("a", "p")), caller.confirm("none"), caller.report("none")]
    for call in missing:
        assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND
    many = [(f"k{n}", "p") for n in range(1_001)]
    assert (await refused(caller.reserve("one", *many)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    code, _ = await refused(caller.define(rolling("one", 3, 60), "r" * 200))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def decided(client: Client, count: int) -> list[tuple[facts_pb2.MessageDecided, dict]]:
    """The first facts on MESSAGES with their headers, within ten seconds."""
    jetstream = client.jetstream()
    deadline = clock.monotonic() + 10
    while (await jetstream.stream_info(subjects.MESSAGES)).state.last_seq < count:
        assert clock.monotonic() < deadline, "no fact came"
        await asyncio.sleep(0.02)
    found = []
    for sequence in range(1, count + 1):
        message = await jetstream.get_msg(subjects.MESSAGES, sequence)
        found.append((facts_pb2.MessageDecided.FromString(message.data), message.headers or {}))
    return found


def asking(strategy: service_pb2.Strategy) -> service_pb2.Strategy:
    ask = strategy.asks.add(segment_id="vip", direction=DIRECTION_ENTERED)
    ask.message.message_type, ask.message.channel = "welcome", "sms"
    ask.message.content[""] = "Hello"
    return strategy


async def test_a_trigger_asks_for_a_message_and_the_deferred_is_judged_again(
    caller: Caller, log: Client
) -> None:
    before = asking(rolling("welcome", 1, 1.0, defer_on_limit=True))
    await publish_trigger(log, "too-early", "p1")
    await asyncio.sleep(0.3)
    await caller.define(before)
    await publish_trigger(log, "t1", "p1")
    await publish_trigger(log, "other", "p1", segment_id="all")
    (fact, headers), *_ = await decided(log, 1)
    assert (fact.trigger_id, fact.profile_id, fact.segment_id) == ("t1", "p1", "vip")
    assert (fact.receipt.decision, fact.receipt.message_key) == (ALLOWED, "t1")
    assert (fact.message.channel, fact.message.content[""]) == ("sms", "Hello")
    assert (fact.number, headers["ce-type"]) == (1, "muster.frequency.v1.MessageDecided")
    await caller.confirm("t1")
    await publish_trigger(log, "t2", "p1")
    _, (deferred, _), (final, _) = await decided(log, 3)
    assert (deferred.trigger_id, deferred.receipt.decision) == ("t2", DEFERRED)
    assert (final.trigger_id, final.receipt.decision, final.number) == ("t2", ALLOWED, 3)
    due = deferred.receipt.next_allowed_time.ToNanoseconds()
    waited = final.receipt.decision_time.ToNanoseconds() - due
    assert 0 <= waited < 2 * 10**9


async def test_a_trigger_asks_for_one_message_only(caller: Caller) -> None:
    await caller.define(asking(rolling("welcome", 1, 60)))
    code, _ = await refused(caller.define(asking(rolling("again", 1, 60))))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    leaving = asking(rolling("again", 1, 60))
    leaving.asks[0].direction = DIRECTION_LEFT
    await caller.define(leaving)


async def test_a_trigger_that_cannot_be_read_is_parked_and_the_next_goes_on(
    caller: Caller, log: Client
) -> None:
    await caller.define(asking(rolling("welcome", 1, 60)))
    await log.jetstream().publish(subjects.triggers(TENANT, "vip"), b"\xff\xff")
    await publish_trigger(log, "t1", "p1")
    ((fact, _),) = await decided(log, 1)
    assert fact.trigger_id == "t1"
    parked = await log.jetstream().get_msg(subjects.PARKED, 1)
    record = Parked.FromString(parked.data)
    assert (record.code, record.body) == ("malformed_trigger", b"\xff\xff")


async def test_what_was_decided_survives_the_death_of_the_service(
    followers: Stack, log: Client, database_url: str
) -> None:
    service = await followers.start("frequency").ready()
    caller = Caller(service.address)
    await caller.define(asking(rolling("welcome", 1_000, 60)))
    for number in range(200):
        await publish_trigger(log, f"t{number}", f"p{number}")
        if number % 50 == 20:
            service.kill9()
            service = followers.start("frequency")
    await service.ready()
    facts = [fact for fact, _ in await decided(log, 200)]
    assert [fact.trigger_id for fact in facts] == [f"t{n}" for n in range(200)]
    assert [fact.number for fact in facts] == list(range(1, 201))
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("select count(*) from frequency.reservation") == 200
    await connection.close()
    await caller.channel.close()


async def test_a_second_process_serves_and_takes_over(followers: Stack, log: Client) -> None:
    first = await followers.start("frequency").ready()
    second = await followers.start("frequency", partition=0).ready()
    one, other = Caller(first.address), Caller(second.address)
    await one.define(asking(rolling("welcome", 2, 3_600)))
    (receipt,) = await other.reserve("welcome", ("a", "p1"), channel="sms")
    assert receipt.decision == ALLOWED
    assert (await one.reserve("welcome", ("a", "p1"), channel="sms")) == [receipt]
    first.kill9()
    await publish_trigger(log, "t1", "p1")
    ((fact, _),) = await decided(log, 1)
    assert fact.receipt.decision == ALLOWED
    for caller in (one, other):
        await caller.channel.close()


async def test_it_is_not_ready_over_a_schema_it_was_not_written_for(
    followers: Stack, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update frequency.alembic_version set version_num = 'older'")
    service = followers.start("frequency")
    from services.chassis.supervisor import serves

    deadline = clock.monotonic() + 20
    while not await serves(service.address, "liveness"):
        assert clock.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    assert not await serves(service.address)
    await connection.execute("update frequency.alembic_version set version_num = 'frequency_0002'")
    deadline = clock.monotonic() + 10
    while not await serves(service.address):
        assert clock.monotonic() < deadline
        await asyncio.sleep(0.05)
    await connection.close()


async def test_what_no_window_can_count_is_forgotten_and_the_report_stays(
    caller: Caller, database_url: str
) -> None:
    await caller.define(rolling("one", 2, 3_600))
    await caller.reserve("one", ("old", "p1"), ("new", "p1"), ("no", "p1"))
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "update frequency.reservation set decided_us = decided_us - 3600000000 * 24 * 40"
        " where message_key = 'old'"
    )
    await connection.execute("update frequency.tally set at_us = at_us - 180000000")
    before = await caller.report("one")
    database = Database(database_url, "frequency", 2)
    await database.open()
    strategies = Strategies(database, TENANT, 10)
    await strategies.refresh()
    report = Report(database, strategies)
    sweeping = asyncio.create_task(report.sweep(memory_days_min=35, every_s=0.05))
    deadline = clock.monotonic() + 10
    while await connection.fetchval("select count(*) from frequency.reservation") != 2:
        assert clock.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    sweeping.cancel()
    keys = await connection.fetch("select message_key from frequency.reservation order by 1")
    assert [row["message_key"] for row in keys] == ["new", "no"]
    assert await connection.fetchval("select bool_and(at_us % 60000000 = 0) from frequency.tally")
    after = await caller.report("one")
    assert (after.asked, after.allowed, after.denied) == (3, 2, 1)
    assert dict(after.by_rule) == dict(before.by_rule) == {"limit:0": 1}
    await connection.close()
    await database.close()

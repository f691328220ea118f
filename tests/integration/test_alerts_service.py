"""The alerts service as a process: points close with the log, notices go out once."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nats.aio.client import Client

from muster.alerts.v1 import facts_pb2, service_pb2, service_pb2_grpc
from muster.types.v1.common_pb2 import Parked
from services.chassis import clock, subjects
from tests.integration.followers import (
    TENANT,
    Followers,
    Segments,
    database_url,
    followers,
    moves,
)

__all__ = ["database_url", "followers"]
SECOND = 1_000_000
STEP_S = 10
VIP = 7


class Caller:
    """AlertsService as a platform calls it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.stub = service_pb2_grpc.AlertsServiceStub(self.channel)

    async def define(self, watch: service_pb2.Watch, request_id: str = "") -> service_pb2.Watch:
        request = service_pb2.DefineWatchRequest(tenant=TENANT, watch=watch, request_id=request_id)
        return (await self.stub.DefineWatch(request)).watch

    async def points(self, watch_id: str, size: int = 0, token: str = "") -> object:
        request = service_pb2.ListPointsRequest(
            tenant=TENANT, watch_id=watch_id, page_size=size, page_token=token
        )
        return await self.stub.ListPoints(request)

    async def states(self) -> dict[str, int]:
        request = service_pb2.ListWatchesRequest(tenant=TENANT)
        answer = await self.stub.ListWatches(request)
        return {state.watch.watch_id: state.status for state in answer.watches}


def watch(series: int, watch_id: str = "w", **fields: object) -> service_pb2.Watch:
    """A watch over the segment vip with points of ten seconds."""
    made = service_pb2.Watch(watch_id=watch_id, segment_id="vip", series=series)
    made.step.seconds = STEP_S
    for name in ("above", "below"):
        if name in fields:
            getattr(made, name).units = fields.pop(name)
    made.MergeFrom(service_pb2.Watch(**fields))
    return made


@pytest.fixture
async def caller(followers: Followers) -> Caller:
    service = await followers.start("alerts").ready()
    made = Caller(service.address)
    yield made
    await made.channel.close()


async def base_us() -> int:
    """A start of a point in the near future, so that everything below comes after definitions."""
    return (clock.wall_us() // SECOND // STEP_S + 3) * STEP_S * SECOND


async def notices(client: Client, count: int) -> list[facts_pb2.AlertNotice]:
    jetstream = client.jetstream()
    deadline = clock.monotonic() + 10
    while (await jetstream.stream_info(subjects.ALERTS)).state.last_seq < count:
        assert clock.monotonic() < deadline, "no notice came"
        await asyncio.sleep(0.02)
    found = []
    for sequence in range(1, count + 1):
        message = await jetstream.get_msg(subjects.ALERTS, sequence)
        found.append(facts_pb2.AlertNotice.FromString(message.data))
    return found


async def values_between(caller: Caller, watch_id: str, begin: int, end: int) -> list[int]:
    """Values from `begin` on, oldest first, once the point that ends at `end` has closed."""
    deadline = clock.monotonic() + 20
    while clock.monotonic() < deadline:
        page = (await caller.points(watch_id, 1_000)).points
        if page and page[0].to_time.ToMicroseconds() == end:
            return [int(p.value) for p in reversed(page) if p.from_time.ToMicroseconds() >= begin]
        await asyncio.sleep(0.02)
    raise AssertionError(f"the points of {watch_id} did not close")


async def test_a_flow_above_its_bound_raises_and_resolves(caller: Caller, log: Client) -> None:
    segments = Segments(log)
    await segments.step(clock.wall_us())
    defined = await caller.define(watch(service_pb2.SERIES_ENTERED, above=2), "r1")
    assert await caller.define(watch(service_pb2.SERIES_ENTERED, above=2), "r1") == defined
    begin = await base_us()
    await segments.step(begin - 20 * SECOND, moves(VIP, "vip", [begin - 21 * SECOND], members=1))
    await segments.step(begin + 1, moves(VIP, "vip", [begin, begin + 1], members=3))
    step = STEP_S * SECOND
    within = [begin + step + n for n in range(3)]
    await segments.step(begin + step + 5, moves(VIP, "vip", within, [begin + step], members=5))
    await segments.step(begin + 3 * step)
    raised, resolved = await notices(log, 2)
    assert raised.raised.value == "3"
    assert (raised.raised.bound, raised.raised.breach) == ("2", facts_pb2.BREACH_ABOVE)
    assert raised.raised.raise_time.ToMicroseconds() == begin + 2 * step
    assert raised.raised.point_from_time.ToMicroseconds() == begin + step
    assert resolved.resolved.alert_id == raised.raised.alert_id
    assert resolved.resolved.resolve_time.ToMicroseconds() == begin + 3 * step
    assert [raised.raised.number, resolved.resolved.number] == [1, 2]
    listed = await caller.stub.ListAlerts(service_pb2.ListAlertsRequest(tenant=TENANT))
    assert list(listed.notices) == [resolved, raised]
    points = list((await caller.points("w")).points)
    assert [int(p.value) for p in points][:3] == [0, 3, 2]
    assert (await caller.states()) == {"w": service_pb2.WATCH_STATUS_QUIET}
    page = await caller.points("w", 1)
    rest = await caller.points("w", 2, page.next_page_token)
    assert [*page.points, *rest.points] == points[:3]


async def test_every_series_is_added_up_over_all_partitions(
    followers: Followers, log: Client
) -> None:
    followers.partitions = 2
    service = await followers.start("alerts").ready()
    caller = Caller(service.address)
    zero, one = Segments(log, 0), Segments(log, 1)
    for series in ("SIZE", "ENTERED", "LEFT", "ACTIVITY"):
        name = series.lower()
        made = watch(service_pb2.Series.Value(f"SERIES_{series}"), name, above=10**9)
        if series == "ACTIVITY":
            made.event_type = "opened"
            made.step.seconds = 60
        await caller.define(made)
    minute = 60 * SECOND
    begin = (clock.wall_us() // minute + 2) * minute
    step = STEP_S * SECOND
    await zero.step(begin - 1, moves(VIP, "vip", [], members=100))
    await one.step(begin - 1, moves(VIP, "vip", [], members=50))
    opened = {("opened", begin): 4, ("clicked", begin): 9}
    await zero.step(begin + 1, moves(VIP, "vip", [begin], members=101, activity=opened))
    # The other partition lags: nothing closes, and what it says later still belongs.
    late = moves(VIP, "vip", [begin + 2], members=99, activity={("opened", begin + minute): 5})
    late.transitions.at_us.extend([begin + step, begin + step + 1, begin + step + 2])
    late.transitions.segment.extend([VIP] * 3)
    late.transitions.entered += b"\0\0\0"
    late.transitions.row_flags += b"\0\0\1"
    await zero.step(begin + 2 * minute, late)
    await asyncio.sleep(0.3)
    # The points before `begin` may have closed, no other.
    newest = (await caller.points("size", 1)).points
    assert not newest or newest[0].to_time.ToMicroseconds() <= begin
    gone = moves(VIP, "vip", [], [begin + 3], members=49, activity={("opened", begin): 2})
    await one.step(begin + 4, gone)
    await one.step(begin + 2 * minute)

    end = begin + 2 * minute
    assert (await values_between(caller, "entered", begin, end))[:2] == [2, 0]
    # The silent one is not a flow, but it is a change of size.
    assert (await values_between(caller, "left", begin, end))[:2] == [1, 2]
    assert (await values_between(caller, "size", begin, end))[:2] == [151, 148]
    assert (await values_between(caller, "activity", begin, end))[:2] == [6, 5]
    await caller.channel.close()


async def test_activity_of_points_shorter_than_a_minute_goes_by_the_log(
    caller: Caller, log: Client
) -> None:
    segments = Segments(log)
    await segments.step(clock.wall_us())
    await caller.define(watch(service_pb2.SERIES_ACTIVITY, below=0))
    begin, step = await base_us(), STEP_S * SECOND
    minute = begin // (60 * SECOND) * 60 * SECOND
    await segments.step(begin - step, moves(VIP, "vip", [], members=1))
    for place, count in ((1, 3), (step, 4), (step + 1, 5)):
        counted = {("opened", minute): count}
        await segments.step(begin + place, moves(VIP, "vip", [], activity=counted))
    await segments.step(begin + 2 * step)
    deadline = clock.monotonic() + 10
    while clock.monotonic() < deadline:
        points = (await caller.points("w", 2)).points
        if points and points[0].to_time.ToMicroseconds() == begin + 2 * step:
            break
        await asyncio.sleep(0.02)
    # A step's events lie before its log time: the second belongs to the first point.
    assert [int(point.value) for point in points] == [5, 7]


async def test_nothing_is_judged_for_time_before_the_watch(caller: Caller, log: Client) -> None:
    segments = Segments(log)
    begin = await base_us()
    old = begin - 3_600 * SECOND
    await segments.step(old, moves(VIP, "vip", [old - 1], members=1))
    await caller.define(watch(service_pb2.SERIES_ENTERED, below=1))
    await segments.step(old + 1_000 * SECOND, moves(VIP, "vip", [old + 5], members=2))
    await segments.step(begin + STEP_S * SECOND)
    first = (await notices(log, 1))[0].raised
    assert first.point_from_time.ToMicroseconds() >= begin - 3 * STEP_S * SECOND


async def test_a_watch_that_ends_or_changes_resolves_its_alert(caller: Caller, log: Client) -> None:
    segments = Segments(log)
    await caller.define(watch(service_pb2.SERIES_SIZE, above=5))
    begin = await base_us()
    await segments.step(begin, moves(VIP, "vip", [], members=9))
    await segments.step(begin + 2 * STEP_S * SECOND)
    await notices(log, 1)
    assert await caller.states() == {"w": service_pb2.WATCH_STATUS_RAISED}
    changed = await caller.define(watch(service_pb2.SERIES_SIZE, above=8))
    assert changed.version == 2
    await segments.step(begin + 9 * STEP_S * SECOND)
    first, over, again = await notices(log, 3)
    assert over.resolved.alert_id == first.raised.alert_id
    assert (again.raised.watch_version, again.raised.bound) == (2, "8")
    await caller.stub.RetireWatch(service_pb2.RetireWatchRequest(tenant=TENANT, watch_id="w"))
    last = (await notices(log, 4))[3]
    assert last.resolved.alert_id == again.raised.alert_id
    assert await caller.states() == {}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.stub.RetireWatch(service_pb2.RetireWatchRequest(tenant=TENANT, watch_id="w"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_wrong_watch_is_refused_with_every_fault(caller: Caller) -> None:
    bad = service_pb2.Watch(watch_id="W", segment_id="vip", event_type="x" * 65)
    bad.above.exponent = 19
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.define(bad)
    faults = set()
    for detail in rpc_status.from_call(caught.value).details:
        found = error_details_pb2.BadRequest()
        if detail.Unpack(found):
            faults |= {violation.field for violation in found.field_violations}
    assert {"watch.watch_id", "watch.series", "watch.event_type", "watch.above.exponent"} <= faults


async def test_a_step_that_cannot_be_read_is_parked(caller: Caller, log: Client) -> None:
    segments = Segments(log)
    await caller.define(watch(service_pb2.SERIES_ENTERED, above=0))
    begin = await base_us()
    await segments.step(begin, moves(VIP, "vip", [], members=0))
    await segments.step(begin + 1, b"\xff\xff")
    await segments.step(begin + 2, moves(VIP, "vip", [begin + 1], members=1))
    await segments.step(begin + STEP_S * SECOND)
    assert (await notices(log, 1))[0].raised.value == "1"
    record = Parked.FromString((await log.jetstream().get_msg(subjects.PARKED, 1)).data)
    assert (record.code, record.body) == ("malformed_step", b"\xff\xff")


async def test_points_and_notices_are_the_same_though_the_service_dies(
    followers: Followers, log: Client, database_url: str
) -> None:
    service = await followers.start("alerts").ready()
    caller = Caller(service.address)
    segments = Segments(log)
    await caller.define(watch(service_pb2.SERIES_ENTERED, above=5, for_points=2))
    await caller.define(watch(service_pb2.SERIES_SIZE, "size", above=10**9))
    begin, step = await base_us(), STEP_S * SECOND
    # Two full points of nothing, so that the first point of the watch is behind us.
    await segments.step(begin - step, moves(VIP, "vip", [], members=0))
    entered, sizes, members = [], [], 0
    for point in range(60):
        count = [0, 7, 9, 3][point // 2 % 4]
        at_us = begin + point * step
        for part in range(4):
            instants = [at_us + part * 100 + n for n in range(count)][part::4]
            members += len(instants)
            await segments.step(at_us + 1_000 * part, moves(VIP, "vip", instants, members=members))
        entered.append(count)
        sizes.append(members)
        if point % 15 == 7:
            service.kill9()
            service = followers.restart(service)
    await segments.step(begin + 60 * step)
    await service.ready()

    end = begin + 60 * step
    assert await values_between(caller, "w", begin, end) == entered
    assert await values_between(caller, "size", begin, end) == sizes
    said = await notices(log, 15)
    # Points 2 to 5 of every eight are above: raised on the second, resolved on the seventh.
    found = [
        (
            (n.raised.raise_time if n.HasField("raised") else n.resolved.resolve_time)
            .ToMicroseconds(),
            n.HasField("raised"),
        )
        for n in said
    ]  # fmt: skip
    expected = []
    for cycle in range(8):
        expected.append((begin + (8 * cycle + 4) * step, True))
        expected.append((begin + (8 * cycle + 7) * step, False))
    assert found == [e for e in expected if e[0] <= begin + 60 * step]
    assert [(n.raised.number or n.resolved.number) for n in said] == list(range(1, 16))
    state = (await log.jetstream().stream_info(subjects.ALERTS)).state
    assert state.last_seq == 15
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("select count(*) from alerts.notice") == 15
    await connection.close()
    await caller.channel.close()

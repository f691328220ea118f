"""Much at once: the stream, Arrow, the catalogue; and ten times what the doors can hold."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
import psutil
import pyarrow as arrow
import pyarrow.ipc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from muster.ingest.v1.catalogue_pb2 import CatalogueItem, CatalogueItemsSet
from muster.ingest.v1.facts_pb2 import Verdict
from muster.ingest.v1.service_pb2 import (
    PutCatalogueItemsRequest,
    SubmitEventsRequest,
    SubmitStreamRequest,
    SubmitStreamResponse,
)
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from muster.types.v1.event_pb2 import Event
from services.chassis import clock, subjects
from services.chassis.children import free_port
from services.chassis.pull import Pull
from tests.integration.test_ingest_http import Http
from tests.integration.test_ingest_registry import event, refused
from tests.support.servers import Service, Stack


@dataclass
class Bulk:
    stack: Stack
    doors: Service
    ingest: IngestServiceStub
    log: Http

    async def stream(self, batches: Iterator[SubmitStreamRequest]) -> list[SubmitStreamResponse]:
        return [answer async for answer in self.ingest.SubmitStream(batches, timeout=60)]


async def running(stack: Stack) -> AsyncIterator[Bulk]:
    doors, worker = stack.start("ingest", "doors"), stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    async with grpc.aio.insecure_channel(doors.address) as channel:
        yield Bulk(stack, doors, IngestServiceStub(channel), Http("", stack.client))


@pytest.fixture
async def bulk(stack: Stack) -> AsyncIterator[Bulk]:
    async for made in running(stack):
        yield made


def batch(number: int, events: list[Event], **fields: Any) -> SubmitStreamRequest:
    given = {"tenant": "demo", "publisher": "bulk"} | fields
    return SubmitStreamRequest(batch_number=number, events=events, **given)


async def test_a_stream_answers_each_batch_in_order(bulk: Bulk) -> None:
    def batches() -> Iterator[SubmitStreamRequest]:
        for number in range(40):
            events = [event(f"{number}-{n}") for n in range(250)]
            events[7].ClearField("identifiers")
            yield batch(number, events)

    answers = await bulk.stream(batches())
    assert [answer.batch_number for answer in answers] == list(range(40))
    assert all((answer.events, answer.stored) == (250, 249) for answer in answers)
    assert {(i.index, i.code) for a in answers for i in a.refused} == {(7, "no_identifier")}
    rows = await bulk.log.rows(40 * 249)
    assert len({row["id"] for row in rows}) == 40 * 249


async def test_a_stream_that_cannot_be_answered_ends_with_its_reason(bulk: Bulk) -> None:
    error = await refused(bulk.stream(iter([batch(1, [event("a")], tenant="other")])))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "tenant" in (error.details() or "")
    error = await refused(bulk.stream(iter([batch(1, [], arrow=b"nonsense")])))
    assert "Arrow" in (error.details() or "")


async def test_rows_of_arrow_are_events(bulk: Bulk) -> None:
    now = dt.datetime.now(dt.UTC)
    rows: list[dict[str, Any]] = [
        {
            "event_id": f"e{n}",
            "type": "order_completed",
            "occur_time": now,
            "user_id": f"u{n}",
            "id:loyalty_card": f"card-{n}",
            "total": Decimal("19.90"),
            "lines": [{"product_id": "p1", "quantity": 2}],
        }
        for n in range(2_500)
    ]
    rows[3]["event_id"] = None
    table = arrow.Table.from_pylist(rows)
    sink = arrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (answer,) = await bulk.stream(iter([batch(9, [], arrow=sink.getvalue().to_pybytes())]))
    assert (answer.batch_number, answer.events, answer.stored) == (9, 2_500, 2_499)
    assert [(i.index, i.code) for i in answer.refused] == [(3, "missing_event_id")]
    found = await bulk.log.rows(2_499)
    assert found[0]["who"] == {"user_id": "u0", "loyalty_card": "card-0"}
    assert found[0]["said"]["total"] == ["199e-1"]
    assert found[0]["said"]["lines.quantity"] == [2]
    assert [row["id"] for row in found] == [f"e{n}" for n in range(2_500) if n != 3]


async def test_the_catalogue_takes_items_and_names_those_it_does_not(bulk: Bulk) -> None:
    good = CatalogueItem(item_id="p1")
    good.properties.add(key="price", number=19.9)
    good.properties.add(key="stock", whole=3)
    late = CatalogueItem(item_id="p2")
    late.occur_time.FromMicroseconds(clock.wall_us() + 3_600_000_000)
    request = PutCatalogueItemsRequest(
        tenant="demo", publisher="erp", items=[good, CatalogueItem(), late]
    )
    answer = await bulk.ingest.PutCatalogueItems(request)
    assert answer.stored == 1
    assert [(i.index, i.code) for i in answer.refused] == [
        (1, "bad_item_id"),
        (2, "event_time_in_future"),
    ]
    pull = Pull(bulk.stack.client, subjects.CONTROL, [subjects.control("demo", "catalogue")])
    (fact,) = await pull.take(1 << 20, 5)
    await pull.close()
    (item,) = CatalogueItemsSet.FromString(fact.body).items
    assert item.item_id == "p1"
    assert item.HasField("occur_time")
    assert (item.properties[0].decimal.units, item.properties[0].decimal.exponent) == (199, 1)
    assert answer.position.token == f"i0.c{fact.sequence}"
    error = await refused(bulk.ingest.PutCatalogueItems(PutCatalogueItemsRequest(tenant="demo")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_ten_times_too_much_is_refused_and_what_was_taken_is_counted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door holds 1 MiB; callers bring 10 MiB at once. Another publisher is still served."""
    monkeypatch.setenv("MUSTER_WAITING_BYTES_MAX", str(1 << 20))
    async for bulk in running(stack):
        process = psutil.Process(bulk.doors.process.pid)
        before = process.memory_info().rss
        text = "x" * 2_000
        requests = [
            SubmitEventsRequest(
                tenant="demo",
                publisher="flood",
                events=[event(f"{call}-{n}", note=text) for n in range(50)],
            )
            for call in range(100)
        ]
        small = SubmitEventsRequest(tenant="demo", publisher="shop", events=[event("shop")])
        calls = [_outcome(bulk, request) for request in requests]
        flood = asyncio.gather(*calls)
        await asyncio.sleep(0.02)
        assert await _outcome(bulk, small) == ("taken", ["shop"])
        outcomes = await flood
        taken = [name for kind, names in outcomes if kind == "taken" for name in names]
        shed = [names for kind, names in outcomes if kind == "shed"]
        assert taken and shed, (len(taken), len(shed))
        assert all(float(names[0]) > 0 for names in shed)
        rows = await bulk.log.rows(len(taken) + 1)
        assert sorted(row["id"] for row in rows) == sorted([*taken, "shop"])
        grown = process.memory_info().rss - before
        assert grown < 128 << 20, f"{grown >> 20} MiB"


@pytest.mark.parametrize("door", ["http", "streams"])
async def test_the_other_doors_bear_ten_times_too_much_as_well(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """40 MiB come over HTTP, or over twenty streams, to doors that hold one. Nobody is told
    `stored` of what is not processed, and everybody else the time to wait."""
    port = free_port()
    monkeypatch.setenv("MUSTER_WAITING_BYTES_MAX", str(1 << 20))
    monkeypatch.setenv("MUSTER_HTTP_BYTES_MAX", str(4 << 20))
    monkeypatch.setenv("MUSTER_HTTP_PORT", str(port))
    async for bulk in running(stack):
        monkeypatch.delenv("MUSTER_HTTP_PORT", raising=False)
        process = psutil.Process(bulk.doors.process.pid)
        before = process.memory_info().rss
        most = [before]
        watching = asyncio.create_task(_watch(process, most))
        flood = _flood_http(port) if door == "http" else _flood_streams(bulk)
        taken, shed = await flood
        watching.cancel()
        print(f"{door}: {len(taken)} taken, {shed} shed; RSS +{(most[0] - before) >> 20} MiB")
        assert taken and shed
        rows = await bulk.log.rows(len(taken))
        assert sorted(row["id"] for row in rows) == sorted(taken)
        assert most[0] - before < 128 << 20, f"{(most[0] - before) >> 20} MiB"


async def _watch(process: psutil.Process, most: list[int]) -> None:
    while True:
        most[0] = max(most[0], process.memory_info().rss)
        await asyncio.sleep(0.02)


async def _flood_http(port: int) -> tuple[list[str], int]:
    """(ids that were stored, requests refused with the time to wait) of 100 batches at once."""
    stamp = dt.datetime.now(dt.UTC).isoformat()

    def body(call: int) -> bytes:
        one = {"type": "track", "event": "x", "userId": "u", "timestamp": stamp}
        calls = [
            one | {"messageId": f"{call}-{n}", "properties": {"note": "x" * 4_000}}
            for n in range(100)
        ]
        return json.dumps({"batch": calls}).encode()

    taken: list[str] = []
    shed = 0
    limits = asyncio.Semaphore(100)

    async def post(call: int) -> None:
        nonlocal shed
        async with limits:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            content = body(call)
            head = "POST /v1/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer flood\r\n"
            head += f"connection: close\r\ncontent-length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            said = b""
            with contextlib.suppress(ConnectionError):  # told before it had sent everything
                await writer.drain()
            with contextlib.suppress(ConnectionError):
                said = await reader.read()
            writer.close()
        status = said.split(b" ", 2)[1] if said else b""
        if status == b"200":
            taken.extend(f"{call}-{n}" for n in range(100))
        else:
            assert status == b"429", said[:300]
            assert b"retry-after: " in said
            shed += 1

    await asyncio.gather(*(post(call) for call in range(100)))
    return taken, shed


async def _flood_streams(bulk: Bulk) -> tuple[list[str], int]:
    """The same over twenty streams that send as fast as they can."""
    taken: list[str] = []
    shed = 0

    async def stream(number: int) -> None:
        nonlocal shed

        def batches() -> Iterator[SubmitStreamRequest]:
            for place in range(10):
                events = [event(f"{number}-{place}-{n}", note="x" * 2_000) for n in range(100)]
                yield batch(place, events, publisher="flood")

        for answer in await bulk.stream(batches()):
            if answer.HasField("retry_after"):
                assert answer.retry_after.ToMilliseconds() > 0
                assert answer.stored == 0
                shed += 1
            else:
                assert answer.stored == 100
                taken.extend(f"{number}-{answer.batch_number}-{n}" for n in range(100))

    await asyncio.gather(*(stream(number) for number in range(20)))
    return taken, shed


async def _outcome(bulk: Bulk, request: SubmitEventsRequest) -> tuple[str, list[str]]:
    """(taken, ids) or (shed, [seconds to wait])."""
    try:
        answer = await bulk.ingest.SubmitEvents(request, timeout=30)
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)
        details = status.details if status is not None else ()
        for detail in details if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else ():
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(retry):
                return "shed", [str(retry.retry_delay.ToMilliseconds() / 1_000)]
        raise
    assert all(item.verdict == Verdict.VERDICT_STORED for item in answer.items)
    return "taken", [item.event_id for item in answer.items]

"""What nobody should send: every door answers it with a reason per item, and goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import nats.errors
import psutil
import pyarrow as arrow
import pyarrow.ipc
import pytest

from muster.ingest.v1.catalogue_pb2 import CatalogueItem
from muster.ingest.v1.facts_pb2 import ReceiptBatch
from muster.ingest.v1.service_pb2 import (
    PutCatalogueItemsRequest,
    SubmitEventsRequest,
    SubmitEventsResponse,
    SubmitStreamRequest,
)
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from muster.types.v1.event_pb2 import EventBatch
from services.chassis import clock, subjects
from services.chassis.children import free_port
from services.chassis.pull import Pull
from tests.integration.test_ingest_http import Http, iso
from tests.integration.test_ingest_registry import event, refused
from tests.support.servers import Service, Stack

CODES = grpc.StatusCode


@dataclass
class Doors:
    """Doors and worker as processes."""

    stack: Stack
    http: Http
    port: int
    ingest: IngestServiceStub
    doors: Service
    worker: Service

    async def goes_on(self) -> None:
        """Both processes are those that were started, and a good event is accepted."""
        good = event(f"good-{clock.performance_us()}")
        request = SubmitEventsRequest(tenant="demo", publisher="shop", events=[good])
        request.verdict_deadline.FromSeconds(10)
        answer = await self.ingest.SubmitEvents(request, timeout=20)
        assert [item.verdict for item in answer.items] == [2]
        for process in (self.doors, self.worker):
            assert process.process.poll() is None, process.log.read_text()[-2_000:]
            log = process.log.read_text()
            assert "Traceback" not in log, log[-3_000:]

    async def raw(self, request: bytes) -> bytes:
        """The answer to bytes on the HTTP port, until the door closes or is silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        found = b""
        try:
            async with asyncio.timeout(2):
                await writer.drain()
                while chunk := await reader.read(65_536):
                    found += chunk
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        return found


@pytest.fixture
async def doors(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    port = free_port()
    monkeypatch.setenv("MUSTER_HTTP_PORT", str(port))
    process = stack.start("ingest", "doors")
    monkeypatch.delenv("MUSTER_HTTP_PORT")
    worker = stack.start("ingest", "worker")
    await asyncio.gather(process.ready(), worker.ready())
    http = Http(f"http://127.0.0.1:{port}", stack.client)
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(process.address, options) as channel:
        yield Doors(stack, http, port, IngestServiceStub(channel), process, worker)


def call(number: int, properties: str = "{}", **fields: Any) -> str:
    """A track call as JSON text; properties as they stand."""
    tree = {"type": "track", "event": "x", "messageId": f"m{number}", "userId": "u"}
    tree |= {"timestamp": iso(clock.wall_us())} | fields
    return json.dumps(tree)[:-1] + f', "properties": {properties}' + "}"


HOSTILE_CALLS: list[tuple[str, str]] = [
    ('{"a": 1e400}', ""),
    ('{"a": 1e401}', "not_a_number"),
    ('{"a": -1e99999999}', "not_a_number"),
    ('{"a": 1e99999999999999999999}', "not_a_number"),
    ('{"a": 1' + "0" * 350 + "}", ""),
    ('{"a": 1' + "0" * 5_000 + "}", "not_a_number"),
    ('{"a": 0.' + "0" * 5_000 + "1}", "not_a_number"),
    ('{"a": NaN}', "not_a_number"),
    ('{"a": [1, -Infinity]}', "not_a_number"),
    ('{"a": "\\ud800"}', "bad_text"),
    ('{"\\udfff": 1}', "bad_text"),
    ('{"a": "\\u0000"}', "bad_text"),
    ('{"": 1}', "missing_property_key"),
    ('{"' + "k" * 200 + '": 1}', "property_key_too_long"),
    ('{"a": ' + '{"a": ' * 40 + "1" + "}" * 41, "too_deep"),
    ('{"a": ' + "[" * 300 + "]" * 300 + "}", "too_deep"),
    ('{"a": [' + "{}," * 2_000 + "{}]}", ""),
    ('{"a": [' + "1," * 300 + "1]}", "too_many_properties"),
    ('{"products": [1, "x", null, {"product_id": {"b": []}}]}', ""),
    ('{"products": "p1", "order_id": {"x": 1}, "revenue": "lots"}', ""),
    ('{"order_id": "o", "total": "' + "9" * 8_000 + '"}', ""),
    ("[]", "bad_call"),
    ('"x"', "bad_call"),
    ("7", "bad_call"),
]


async def test_calls_nobody_should_send_are_refused_one_by_one(doors: Doors) -> None:
    """All in one request, a good call after each: those are stored, whatever stands beside them."""
    texts, wanted = [], {}
    for number, (properties, code) in enumerate(HOSTILE_CALLS):
        texts += [call(2 * number, properties), call(2 * number + 1)]
        if code:
            wanted[2 * number] = code
    odd: list[tuple[dict[str, Any], str]] = [
        ({"messageId": "\ud83d"}, "bad_text"),
        ({"messageId": 7}, "bad_event_id"),
        ({"messageId": "m" * 200}, "event_id_too_long"),
        ({"userId": {"a": 1}}, "bad_identifier"),
        ({"userId": True}, "bad_identifier"),
        ({"userId": "\ud800"}, "bad_text"),
        ({"userId": "u" * 3_000}, "only_blocked_identifiers"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "missing_occur_time"),
        ({"timestamp": "9999-12-31T23:59:59-23:59"}, "event_time_in_future"),
        ({"timestamp": 12}, "bad_time"),
        ({"timestamp": ["x"]}, "bad_time"),
        ({"event": {"a": 1}}, "missing_type"),
        ({"event": "\ud800"}, "bad_type"),
        ({"event": "x" * 500}, ""),
        ({"type": "tracking"}, "bad_call"),
        ({"type": ["track"]}, "bad_call"),
        ({"context": []}, "bad_call"),
        ({"context": {"traits": 7}}, "bad_call"),
        ({"context": {"device": {"type": {"a": 1}, "token": []}}}, "bad_identifier"),
        ({"context": {"locale": {"a": [[1]]}}}, ""),
    ]
    for fields, code in odd:
        if code:
            wanted[len(texts)] = code
        texts.append(call(len(texts), "{}", **fields))
    body = ('{"batch": [' + ",".join(texts) + "]}").encode()
    status, answer, _ = await doors.http.post("batch", body)
    found = {item["index"]: item["code"] for item in answer.get("items", [])}
    assert status == 400
    assert set(found.items()) ^ set(wanted.items()) == set()
    assert answer["stored"] == len(texts) - len(wanted)
    rows = await doors.http.rows(answer["stored"])
    assert len({row["id"] for row in rows}) == len(rows)
    await doors.goes_on()


async def test_requests_nobody_should_send_are_refused_as_a_whole(doors: Doors) -> None:
    good = call(1).encode()
    refusals = [
        (b"", 400),
        (b"\xff\xfe{", 400),
        (b"null", 400),
        (b'"text"', 400),
        (good[:-9], 400),
        (b"[" * 400_000, 400),
        (b'{"batch": ' + b"[" * 100_000, 400),
        (b'{"batch": ' * 40_000, 400),
        (b'{"batch": {"a": 1}}', 400),
        (b'{"batch": [], "sentAt": 7}', 400),
        (b'{"batch": [1], "sentAt": 7}', 400),
        (b'{"writeKey": "\\ud800", "batch": [1]}', 401),
        (b'{"writeKey": {"a": 1}, "batch": [1]}', 401),
    ]
    for body, wanted in refusals:
        key = "" if b"writeKey" in body else "shop"
        status, answer, _ = await doors.http.post("batch", body, key=key)
        assert (status, answer["success"]) == (wanted, False), (body[:60], answer)
        assert answer["message"], body[:60]
    bomb = gzip.compress(b'{"batch": [' + b" " * (400 << 20))
    assert len(bomb) < 500 << 10
    before = psutil.Process(doors.doors.process.pid).memory_info().rss
    for packed, wanted in (
        (bomb, 413),
        (gzip.compress(gzip.compress(good)), 400),
        (gzip.compress(good)[:-4], 400),
        (zlib.compress(good), 400),
        (gzip.compress(good) + b"more", 400),
    ):
        status, answer, _ = await doors.http.post("batch", packed, **{"content-encoding": "gzip"})
        assert status == wanted, answer
    assert psutil.Process(doors.doors.process.pid).memory_info().rss - before < 32 << 20
    status, answer, _ = await doors.http.post("track", good, **{"content-encoding": "br"})
    assert (status, answer["code"]) == (400, "invalid_request")
    for kind in ("text/html", "multipart/form-data; boundary=x", ""):
        assert (await doors.http.post("track", good, **{"content-type": kind}))[0] == 200
    for words in ("Basic", "Basic !!!", "Basic gICA", "Bearer", "Digest x", "Basic " + "A" * 5_000):
        status, answer, _ = await doors.http.post("track", good, key="", authorization=words)
        assert status == 401, words
    await doors.goes_on()


async def test_bodies_in_pieces_and_cut_off_lose_nothing(doors: Doors) -> None:
    head = b"POST /v1/track HTTP/1.1\r\nhost: x\r\nauthorization: Bearer shop\r\n"
    chunked = head + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    good = call(1).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (1, good[n : n + 1]) for n in range(len(good)))
    assert b" 200 " in await doors.raw(chunked + pieces + b"0\r\n\r\n")
    assert b" 200 " not in await doors.raw(chunked + pieces)  # it never ends
    assert b" 400 " in await doors.raw(chunked + b"zz\r\nx\r\n0\r\n\r\n")
    endless = b"".join(b"1000\r\n" + b" " * 4_096 + b"\r\n" for _ in range(20))
    assert b" 413 " in await doors.raw(chunked + endless + b"0\r\n\r\n")
    assert b" 200 " not in await doors.raw(head + b"content-length: 900\r\n\r\n" + good)
    assert b" 400 " in await doors.raw(head + b"content-length: -1\r\n\r\n" + good)
    assert b" 400 " in await doors.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9)
    assert b" 4" in await doors.raw(
        b"GET /v1/track HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    chance = random.Random(20261122)
    for _ in range(50):
        await asyncio.wait_for(doors.raw(chance.randbytes(200) + b"\r\n\r\n"), 5)
    await doors.goes_on()
    rows = await doors.http.rows(2)
    assert [row["id"][:4] for row in rows] == ["m1", "good"]


async def test_bytes_that_are_no_columns_end_their_batch_only(doors: Doors) -> None:
    def table(**columns: Any) -> bytes:
        made = arrow.table(columns)
        sink = arrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, made.schema) as writer:
            writer.write_table(made)
        return sink.getvalue().to_pybytes()

    ids, kinds, users = ["a", "b"], ["x", "x"], ["u", "u"]
    good = table(event_id=ids, type=kinds, user_id=users)
    chance = random.Random(7)
    broken = [b"", b"ARROW1", good[:40], good[:-60], good[100:]]
    for _ in range(60):
        bytes_ = bytearray(good)
        for _ in range(chance.randint(1, 12)):
            bytes_[chance.randrange(len(bytes_))] = chance.randrange(256)
        broken.append(
            bytes(bytes_[: chance.randrange(len(bytes_))] if chance.random() < 0.3 else bytes_)
        )

    async def answers(body: bytes) -> Any:
        def batches() -> Iterator[SubmitStreamRequest]:
            yield SubmitStreamRequest(
                tenant="demo", publisher="bulk", batch_number=1, arrow=body, import_id="odd"
            )

        return [one async for one in doors.ingest.SubmitStream(batches(), timeout=30)]

    codes = set()
    for body in broken:
        try:
            await answers(body)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
    assert codes == {CODES.INVALID_ARGUMENT}
    odd = table(
        event_id=["c", "d", "e", None, "\0", "f"],
        type=["x", "x", "x", "x", "x", None],
        user_id=arrow.array([1, 2, 3, 4, 5, 6]),
        number=arrow.array([float("nan"), float("inf"), 1e300, 0.1, 1.0, 1.0]),
        deep=arrow.array([[[1]], [[2]], [], None, [[]], [[3]]]),
        raw=arrow.array([b"\xff"] * 6),
    )
    (answer,) = await answers(odd)
    assert (answer.events, answer.stored) == (6, 0)
    assert {(one.index, one.code) for one in answer.refused} == {
        (0, "not_a_number"), (1, "not_a_number"), (2, "bad_value"),
        (3, "missing_event_id"), (4, "bad_value"), (5, "missing_type"),
    }  # fmt: skip
    await doors.goes_on()


async def test_calls_that_are_no_calls_are_refused(doors: Doors) -> None:
    chance = random.Random(11)
    good = SubmitEventsRequest(
        tenant="demo", publisher="shop", events=[event(f"g{n}") for n in range(5)]
    )
    raw = good.SerializeToString()
    async with grpc.aio.insecure_channel(doors.doors.address) as channel:
        submit = channel.unary_unary("/muster.ingest.v1.IngestService/SubmitEvents")
        codes = set()
        for _ in range(200):
            body = bytearray(raw)
            for _ in range(chance.randint(1, 8)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            try:
                SubmitEventsResponse.FromString(await submit(bytes(body), timeout=20))
            except grpc.aio.AioRpcError as error:
                codes.add(error.code())
        assert codes <= {CODES.INVALID_ARGUMENT, CODES.UNAUTHENTICATED}
        for seconds in (-(2**62), 2**62, -1):
            request = SubmitEventsRequest(tenant="demo", publisher="shop", events=[event("w")])
            request.verdict_deadline.seconds = seconds
            answer = await doors.ingest.SubmitEvents(request, timeout=40)
            assert len(answer.items) == 1
    too_much = SubmitEventsRequest(tenant="demo", publisher="shop")
    too_much.events.extend([event("x" * 100, note="y" * 8_000)] * 90)
    error = await refused(doors.ingest.SubmitEvents(too_much, timeout=20))
    assert error.code() in (CODES.INVALID_ARGUMENT, CODES.RESOURCE_EXHAUSTED)
    await doors.goes_on()


async def test_messages_that_are_no_batches_are_parked_and_told(doors: Doors) -> None:
    client, chance = doors.stack.client, random.Random(3)
    jetstream = client.jetstream(timeout=5)
    subject = subjects.intake("demo", "shop")
    raw = EventBatch(events=[event(f"n{n}") for n in range(4)]).SerializeToString()
    bodies = [b"\0", b"\xff" * 100, raw[:-1], raw[1:], raw * 200, b"\x0a\xff\xff\xff\xff\x0f"]
    for _ in range(100):
        body = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        bodies.append(bytes(body))
    bodies.append(b"\x0a" + bytes(600_000))
    for body in bodies:
        await jetstream.publish(subject, body)
    with pytest.raises(nats.errors.Error):
        await jetstream.publish(subject, bytes(2 << 20))
    await doors.goes_on()
    pull = Pull(client, subjects.RECEIPTS, [subjects.receipts("demo")], 0, {})
    told = set()
    async with asyncio.timeout(20):
        while len(told) < 6:
            for pulled in await pull.take(1 << 20, 0.5):
                told |= {
                    one.intake_sequence for one in ReceiptBatch.FromString(pulled.body).receipts
                }
    await pull.close()
    for body in (b"\xff", raw[:-1], b"x" * 900_000):
        answer = await client.request(subjects.submit("demo", "shop"), body, timeout=10)
        assert (answer.headers or {}).get("Nats-Service-Error-Code") == "400" or answer.data
    await doors.goes_on()


async def test_items_nobody_should_have_are_refused_one_by_one(doors: Doors) -> None:
    def item(**fields: Any) -> CatalogueItem:
        return CatalogueItem(item_id="p1", **fields)

    odd: list[tuple[CatalogueItem, str]] = []
    for seconds, nanos in ((-(2**62), 0), (2**62, 0), (-(10**12), 0), (5, -7), (5, 2**31 - 1)):
        one = item()
        one.occur_time.seconds, one.occur_time.nanos = seconds, nanos
        odd.append((one, "bad_time"))
    for number in (float("nan"), float("-inf")):
        one = item()
        one.properties.add(key="price", number=number)
        odd.append((one, "not_a_number"))
    one = item()
    one.properties.add(key="price").decimal.exponent = 2**32 - 1
    odd.append((one, "bad_decimal"))
    one = item()
    one.properties.add(key="\0", text="x")
    odd.append((one, "bad_text"))
    odd.append((CatalogueItem(item_id="a\0b"), "bad_text"))
    odd.append((CatalogueItem(item_id="x" * 300), "bad_item_id"))
    one = item()
    one.properties.add(key="price")
    one.properties.add(key="price", number=1e300)
    good = [one, item()]
    request = PutCatalogueItemsRequest(
        tenant="demo", publisher="erp", items=[*(one for one, _ in odd), *good]
    )
    answer = await doors.ingest.PutCatalogueItems(request, timeout=20)
    assert [(i.index, i.code) for i in answer.refused] == [
        (place, code) for place, (_, code) in enumerate(odd)
    ]
    assert answer.stored == len(good)
    await doors.goes_on()

"""Ingest as publishers meet it: real processes, a real log, every door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nats.aio.client import Client

from muster.ingest.v1.facts_pb2 import ReceiptBatch, Verdict
from muster.ingest.v1.service_pb2 import SubmitEventsRequest, SubmitEventsResponse
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.common_pb2 import Parked
from muster.types.v1.event_pb2 import Event, EventBatch, Identifier
from services.chassis import clock, subjects
from services.chassis.checkpoint import HEADER, Checkpoint
from services.chassis.columns import pool_texts
from services.chassis.pull import Pull
from services.ingest.adapters.nats_door import CODE_HEADER, ERROR_HEADER
from tests.support.servers import Service, Stack

TENANT = "demo"
STORED, ACCEPTED, DUPLICATE, REJECTED = (
    Verdict.VERDICT_STORED,
    Verdict.VERDICT_ACCEPTED,
    Verdict.VERDICT_DUPLICATE,
    Verdict.VERDICT_REJECTED,
)


@dataclass
class Ingest:
    """The doors and the worker as processes, a channel and a connection to the log."""

    stack: Stack
    doors: Service
    worker: Service
    stub: IngestServiceStub
    client: Client

    async def submit(
        self, *events: Event, wait_s: float = 0, **fields: str
    ) -> SubmitEventsResponse:
        request = SubmitEventsRequest(
            **{"tenant": TENANT, "publisher": "shop", **fields}, events=events
        )
        if wait_s:
            request.verdict_deadline.FromMilliseconds(int(wait_s * 1_000))
        answer: SubmitEventsResponse = await self.stub.SubmitEvents(request, timeout=20)
        return answer

    async def publish(self, body: bytes, publisher: str = "direct") -> int:
        jetstream = self.client.jetstream()
        return (await jetstream.publish(subjects.intake(TENANT, publisher), body)).seq

    async def counted(self, count: int) -> list[str]:
        """The ids of EVENTS in order, once there are at least `count`."""
        pull = Pull(self.client, subjects.EVENTS, [subjects.events(TENANT)], 0, {})
        ids: list[str] = []
        deadline = clock.monotonic() + 20
        while len(ids) < count and clock.monotonic() < deadline:
            for pulled in await pull.take(1 << 20, 0.2):
                columns = EventColumns.FromString(pulled.body)
                raw = np.frombuffer(columns.event_id, np.uint8)
                ids += pool_texts(raw, np.array(columns.event_id_end, np.uint32))
        await pull.close()
        assert len(ids) >= count, f"{len(ids)} of {count} events counted"
        return ids

    async def said(self, stream: str, subject: str, count: int) -> list[bytes]:
        """The first `count` non-empty bodies of a subject."""
        pull = Pull(self.client, stream, [subject], 0, {})
        bodies: list[bytes] = []
        deadline = clock.monotonic() + 20
        while len(bodies) < count and clock.monotonic() < deadline:
            bodies += [p.body for p in await pull.take(1 << 20, 0.2) if p.body]
        await pull.close()
        assert len(bodies) >= count
        return bodies


@pytest.fixture
async def ingest(stack: Stack) -> AsyncIterator[Ingest]:
    doors = stack.start("ingest", "doors")
    worker = stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    async with grpc.aio.insecure_channel(doors.address) as channel:
        yield Ingest(stack, doors, worker, IngestServiceStub(channel), stack.client)


def event(name: str, **changes: object) -> Event:
    now = clock.wall_us()
    fields = {
        "event_id": name,
        "type": "page_viewed",
        "occur_time_us": now,
        "send_time_us": now,
        "identifiers": [Identifier(kind="user_id", value=f"u-{name}")],
    }
    return Event(**{**fields, **changes})


def verdicts(answer: SubmitEventsResponse) -> list[int]:
    return [item.verdict for item in answer.items]


async def test_a_call_is_stored_and_on_request_accepted_once(ingest: Ingest) -> None:
    first = event("a")
    stored = await ingest.submit(first)
    assert verdicts(stored) == [STORED]
    assert stored.position.token.startswith("i")
    again = await ingest.submit(first, event("b"), wait_s=10)
    assert verdicts(again) == [DUPLICATE, ACCEPTED]
    assert [item.event_id for item in again.items] == ["a", "b"]
    assert await ingest.counted(2) == ["a", "b"]


async def test_bad_items_are_refused_at_the_door_and_the_rest_is_counted(ingest: Ingest) -> None:
    nobody = [Identifier(kind="user_id", value="NULL")]
    answer = await ingest.submit(
        event("good"),
        event(""),
        event("future", occur_time_us=clock.wall_us() + 3_600_000_000),
        event("nobody", identifiers=nobody),
        event("half", identifiers=[*nobody, Identifier(kind="cookie", value="c1")]),
        wait_s=10,
    )
    assert verdicts(answer) == [ACCEPTED, REJECTED, REJECTED, REJECTED, ACCEPTED]
    assert [item.code for item in answer.items] == [
        "",
        "missing_event_id",
        "event_time_in_future",
        "only_blocked_identifiers",
        "identifiers_left_out",
    ]
    assert [item.index for item in answer.items] == [0, 1, 2, 3, 4]
    assert await ingest.counted(2) == ["good", "half"]


async def test_one_event_with_a_bad_text_spoils_no_other(ingest: Ingest) -> None:
    request = SubmitEventsRequest(tenant=TENANT, publisher="shop", events=[event("x?"), event("y")])
    raw = request.SerializeToString().replace(b"x?", b"x\xff")
    async with grpc.aio.insecure_channel(ingest.doors.address) as channel:
        submit = channel.unary_unary(
            "/muster.ingest.v1.IngestService/SubmitEvents",
            request_serializer=bytes,
            response_deserializer=SubmitEventsResponse.FromString,
        )
        answer = await submit(raw, timeout=20)
    assert verdicts(answer) == [REJECTED, STORED]
    assert answer.items[0].code == "bad_text"
    assert await ingest.counted(1) == ["y"]


async def test_a_call_that_cannot_be_answered_per_item_is_refused(ingest: Ingest) -> None:
    many = [event(str(k)) for k in range(1_001)]
    for events, fields, path in (
        ([event("a")], {"tenant": "other"}, "tenant"),
        ([event("a")], {"publisher": "Shop!"}, "publisher"),
        ([event("a")], {"publisher": "tick"}, "publisher"),
        ([event("a")], {"import_id": "x" * 129}, "import_id"),
        ([], {}, "events"),
        (many, {}, "events"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await ingest.submit(*events, **fields)
        assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        status = rpc_status.from_call(refusal.value)
        wrong = error_details_pb2.BadRequest()
        assert any(detail.Unpack(wrong) for detail in status.details)
        assert [violation.field for violation in wrong.field_violations] == [path]


async def test_the_nats_door_answers_like_the_other(ingest: Ingest) -> None:
    subject = subjects.submit(TENANT, "till")
    batch = EventBatch(events=[event("n1"), event("n2", type="")])
    reply = await ingest.client.request(subject, batch.SerializeToString(), timeout=10)
    answer = SubmitEventsResponse.FromString(reply.data)
    assert verdicts(answer) == [STORED, REJECTED]
    assert answer.items[1].code == "missing_type"
    wrong = await ingest.client.request(subject, b"\xff\xff\xff", timeout=10)
    assert wrong.headers is not None
    assert wrong.headers[CODE_HEADER] == "400"
    assert "EventBatch" in wrong.headers[ERROR_HEADER]
    assert await ingest.counted(1) == ["n1"]


async def test_what_was_published_directly_is_answered_by_receipts_and_parked(
    ingest: Ingest,
) -> None:
    garbage = b"\xff" * 700_000
    small = await ingest.publish(b"\x0a\xff\xff")
    large = await ingest.publish(garbage)
    body = EventBatch(events=[event("d1"), event("d2", type="a b"), event("d1")])
    mixed = await ingest.publish(body.SerializeToString())
    assert await ingest.counted(1) == ["d1"]

    said = await ingest.said(subjects.RECEIPTS, subjects.receipts(TENANT), 1)
    receipts = {}
    while {small, large, mixed} - set(receipts):
        for one in said:
            receipts |= {r.intake_sequence: r for r in ReceiptBatch.FromString(one).receipts}
        said = await ingest.said(subjects.RECEIPTS, subjects.receipts(TENANT), len(said))
    assert [i.code for i in receipts[small].exceptions] == ["malformed_batch"]
    assert [i.code for i in receipts[large].exceptions] == ["batch_too_large"]
    assert receipts[mixed].accepted == 1
    assert [(i.index, i.verdict, i.code) for i in receipts[mixed].exceptions] == [
        (1, REJECTED, "bad_type"),
        (2, DUPLICATE, "duplicate"),
    ]

    parked = [
        Parked.FromString(body)
        for body in await ingest.said(subjects.PARKED, subjects.parked(TENANT, "ingest"), 4)
    ]
    assert b"".join(p.body for p in parked if p.source_sequence == large) == garbage
    (refused,) = [p for p in parked if p.source_sequence == mixed]
    assert refused.code == "bad_type"
    assert [e.event_id for e in EventBatch.FromString(refused.body).events] == ["d2"]


async def test_nothing_is_lost_or_doubled_when_the_worker_is_killed(ingest: Ingest) -> None:
    """The doors stay up; a verdict that waits across the restart still comes."""
    sent: list[str] = []

    async def send(batch: int) -> None:
        events = [event(f"k{batch}-{k}") for k in range(20)]
        sent.extend(e.event_id for e in events)
        for _ in range(2):  # every batch is repeated, as after a lost answer
            assert set(verdicts(await ingest.submit(*events))) == {STORED}

    for batch in range(10):
        await send(batch)
    ingest.worker.kill9()
    await asyncio.gather(*(send(batch) for batch in range(10, 20)))
    waiting = asyncio.create_task(ingest.submit(event("last"), wait_s=25))
    again = ingest.stack.start("ingest", "worker")
    await again.ready()
    assert verdicts(await waiting) == [ACCEPTED]
    counted = await ingest.counted(len(sent) + 1)
    assert len(counted) == len(set(counted))
    assert set(counted) == {*sent, "last"}


async def test_the_log_moves_its_time_while_nothing_flows(ingest: Ingest) -> None:
    await ingest.submit(event("only"), wait_s=10)
    jetstream = ingest.client.jetstream()

    async def log_time_us() -> int:
        found = await jetstream.get_last_msg(subjects.EVENTS, subjects.events(TENANT))
        assert found.headers is not None
        return Checkpoint.decode(found.headers[HEADER]).time_us

    before = await log_time_us()
    await asyncio.sleep(2.5)
    moved_us = await log_time_us() - before
    assert 1_000_000 <= moved_us <= 4_000_000


async def test_a_silent_broker_is_an_unknown_outcome(ingest: Ingest) -> None:
    """SIGSTOP: the caller hears UNAVAILABLE with advice, never OK."""
    ingest.stack.nats.pause()
    try:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await ingest.submit(event("maybe"))
        assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    finally:
        ingest.stack.nats.resume()


async def test_many_callers_share_messages(ingest: Ingest) -> None:
    answers = await asyncio.gather(*(ingest.submit(event(f"m{k}"), wait_s=10) for k in range(200)))
    assert all(verdicts(answer) == [ACCEPTED] for answer in answers)
    info = await ingest.client.jetstream().stream_info(
        subjects.INTAKE, subjects_filter=subjects.intake(TENANT, "shop")
    )
    messages = info.state.subjects[subjects.intake(TENANT, "shop")]
    assert messages < 100, "200 calls at once took as many messages"
    assert sorted(await ingest.counted(200)) == sorted(f"m{k}" for k in range(200))

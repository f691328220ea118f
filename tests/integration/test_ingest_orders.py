"""Orders through kill -9: what was said of them is read from the columns on the disk, once."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from muster.ingest.v1.service_pb2 import SubmitEventsRequest
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from services.chassis import clock
from tests.integration.test_ingest_http import Http
from tests.integration.test_ingest_registry import event
from tests.support.servers import Stack

ORDERS = 200


async def test_a_refund_after_a_kill_takes_back_what_counted_before(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_SNAPSHOT_STEPS", "1")
    monkeypatch.setenv("MUSTER_SNAPSHOT_INTERVAL_MS", "200")
    doors, worker = stack.start("ingest", "doors"), stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    columns = stack.folder / "state" / "workers" / "demo" / "ingest" / "columns"
    async with grpc.aio.insecure_channel(doors.address) as channel:
        stub = IngestServiceStub(channel)

        async def say(kind: str, **more: Any) -> None:
            events = [
                event(f"{kind}-{n}", f"order_{kind}", order_id=f"o{n}", **more)
                for n in range(ORDERS)
            ]
            request = SubmitEventsRequest(tenant="demo", publisher="shop", events=events)
            request.verdict_deadline.FromSeconds(20)
            answer = await stub.SubmitEvents(request, timeout=30)
            assert {item.verdict for item in answer.items} == {2}

        lives = 0
        for kind, more in (
            ("created", {"total": 10, "currency": "EUR"}),
            ("paid", {}),
            ("refunded", {"total": 4, "currency": "EUR"}),
            ("cancelled", {}),
        ):
            await say(kind, **more)
            deadline = clock.monotonic() + 20
            while not list(columns.glob("orders.said*")) and clock.monotonic() < deadline:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            worker.kill9()
            worker = stack.start("ingest", "worker")
            await worker.ready()
            lives += 1
    assert list(columns.glob("orders.said*")), "no snapshot kept what was said"
    rows = await Http("", stack.client).rows(ORDERS * 7)
    counted = [row for row in rows if row["type"] == "purchase_counted"]
    assert len({row["id"] for row in counted}) == len(counted) == 3 * ORDERS
    for n in range(ORDERS):
        mine = [row["said"] for row in counted if row["said"]["order_id"] == [f"o{n}"]]
        assert [(s["orders"][0], s["value"][0]) for s in mine] == [(1, 10), (0, -4), (-1, -6)]
    assert lives == 4

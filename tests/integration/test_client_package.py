"""The publisher's client against real servers: counted once, through kills of server and doors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import nats
import pytest

from muster.types.v1.event_pb2 import EventBatch
from muster_client import AsyncClient, BufferFull, Client, Refused, events
from services.chassis import clock, subjects, topology
from services.chassis.embedded import EmbeddedNats
from services.chassis.pull import Pull
from tests.integration.test_ingest_http import Http
from tests.support.servers import LOG_BYTES_MAX, ROOT, Service, Stack


async def started(stack: Stack) -> tuple[Service, Service, Http]:
    doors, worker = stack.start("ingest", "doors"), stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    return doors, worker, Http("", stack.client)


def views(count: int, prefix: str = "v") -> list[events.Event]:
    return [
        events.page_viewed(url="/", event_id=f"{prefix}{n}", user_id=f"u{n}") for n in range(count)
    ]


async def test_both_ways_batch_and_say_what_was_refused(stack: Stack) -> None:
    doors, _, log = await started(stack)
    refused: list[tuple[str, str]] = []
    async with AsyncClient.over_grpc(
        doors.address,
        tenant="demo",
        publisher="shop",
        on_rejected=lambda event, code, _: refused.append((event.event_id, code)),
    ) as client:
        for event in views(1_200):
            await client.publish(event)
        await client.publish(events.event("x", user_id="null", event_id="nobody"))
        await client.flush(20)
        assert (client.stored, client.rejected, client.unacknowledged) == (1_200, 1, 0)
    assert refused == [("nobody", "only_blocked_identifiers")]
    nats_url = stack.nats.url
    with await asyncio.to_thread(
        lambda: Client.over_nats(nats_url, tenant="demo", publisher="app")
    ) as blocking:
        await asyncio.to_thread(lambda: [blocking.publish(e) for e in views(700, "n")])
        await asyncio.to_thread(blocking.flush, 20)
        assert blocking.stored == 700
    rows = await log.rows(1_900)
    assert len({row["id"] for row in rows}) == 1_900


def restarted(stack: Stack, former: Service) -> Service:
    """The doors again, on the port that publishers know."""
    with former.log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.ingest", "doors"],
            env=stack.environment(former.grpc_port),
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack.services.append(Service(former.name, process, former.grpc_port, former.log))
    return stack.services[-1]


async def test_what_is_refused_behind_the_log_is_heard_too(stack: Stack) -> None:
    await started(stack)
    told: list[tuple[str, str]] = []
    async with AsyncClient.over_nats(
        stack.nats.url,
        tenant="demo",
        publisher="app",
        on_rejected=lambda event, code, _: told.append((event.event_id, code)),
    ) as client:
        await client.publish(events.event("x", user_id="null", event_id="nobody"))
        for event in views(20):
            await client.publish(event)
        await client.publish(views(1)[0])  # a repeat is no refusal
        await client.flush(20)
        assert client.stored == 22
        deadline = clock.monotonic() + 10
        while not told and clock.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
    assert told == [("nobody", "only_blocked_identifiers")]
    assert client.rejected == 1


async def test_nothing_is_lost_or_double_when_the_doors_are_killed(stack: Stack) -> None:
    doors, _, log = await started(stack)
    async with AsyncClient.over_grpc(
        doors.address, tenant="demo", publisher="shop", batch_events_max=50
    ) as client:
        for place, event in enumerate(views(5_000)):
            await client.publish(event)
            if place == 2_000:
                doors.kill9()
                again = restarted(stack, doors)
        await client.flush(60)
        assert client.stored == 5_000
        assert client.retries
    await again.ready()
    rows = await log.rows(5_000)
    assert len({row["id"] for row in rows}) == 5_000


async def test_nothing_is_lost_or_double_when_the_server_is_killed(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "nats").start()
    connection = await nats.connect(server.url, allow_reconnect=False)
    await topology.apply(connection, LOG_BYTES_MAX)
    await connection.close()
    client = AsyncClient.over_nats(
        server.url, tenant="demo", publisher="app", batch_events_max=20, events_max=200
    )
    published = 0

    async def publish() -> None:
        nonlocal published
        for event in views(3_000):
            await client.publish(event)
            published += 1

    publishing = asyncio.create_task(publish())
    while published < 1_000:
        await asyncio.sleep(0.001)
    server.kill9()
    await asyncio.sleep(0.3)
    assert client.unacknowledged <= 200
    server.start()
    await publishing
    await client.close(60)
    assert client.stored == 3_000
    connection = await nats.connect(server.url, allow_reconnect=False)
    found = await _ids_in_intake(connection)
    assert set(found) == {f"v{n}" for n in range(3_000)}
    await connection.close()
    server.stop()


async def _ids_in_intake(connection: Any) -> list[str]:
    pull = Pull(connection, subjects.INTAKE, [subjects.intake("demo", "app")])
    ids: list[str] = []
    while pulled := await pull.take(8 << 20, 1.0):
        ids += [e.event_id for one in pulled for e in EventBatch.FromString(one.body).events]
    await pull.close()
    return ids


async def test_a_full_buffer_says_so_and_a_wrong_publisher_is_told(stack: Stack) -> None:
    client = AsyncClient.over_grpc(
        "127.0.0.1:1", tenant="demo", publisher="shop", events_max=10, full_timeout_s=0.2
    )
    for event in views(10):
        await client.publish(event)
    with pytest.raises(BufferFull):
        await client.publish(views(1)[0])
    with pytest.raises(TimeoutError):
        await client.close(0.2)
    doors, _, _ = await started(stack)
    told: list[str] = []
    wrong = AsyncClient.over_grpc(
        doors.address,
        tenant="another",
        publisher="shop",
        on_rejected=lambda event, code, _: told.append(f"{event.event_id} {code}"),
    )
    await wrong.publish(views(1)[0])
    with pytest.raises(Refused, match="tenant"):
        await wrong.flush(10)
    assert told == ["v0 refused"]


async def test_the_example_of_a_shop_works_as_it_stands(stack: Stack) -> None:
    doors, _, log = await started(stack)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(ROOT / "examples" / "publishers" / "shop.py"), "eve"],
        env={"PYTHONPATH": str(ROOT / "clients" / "python"), "MUSTER_INGEST": doors.address},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "7 events stored, 0 rejected\n", done.stderr
    rows = await log.rows(9)
    counted = [row["said"] for row in rows if row["type"] == "purchase_counted"]
    assert [(one["orders"], one["value"]) for one in counted] == [([1], [98]), ([0], [-9])]


async def test_the_end_of_the_interpreter_flushes(stack: Stack) -> None:
    doors, _, log = await started(stack)
    program = textwrap.dedent(
        f"""
        from muster_client import Client, events
        muster = Client.over_grpc({doors.address!r}, tenant="demo", publisher="shop")
        for n in range(20):
            muster.publish(events.page_viewed(url="/", user_id="ada", event_id=f"e{{n}}"))
        """
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "clients" / "python")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(await log.rows(20)) == 20

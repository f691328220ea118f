"""How ingest meets a log that is full, missing or slow, and clocks that disagree."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StreamConfig

from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis import clock, subjects
from services.chassis.embedded import EmbeddedNats
from services.chassis.errors import ExitCode, NotReady, Overloaded, Stop
from services.chassis.worker import FencedWorker
from services.ingest.adapters.store import NatsIntakeStore
from services.ingest.adapters.ticks import Ticker, broker_time_us
from services.ingest.core import IngestCore
from services.ingest.settings import IngestSettings

TENANT = "demo"


def settings_of(folder: Path, **fields: int) -> IngestSettings:
    return IngestSettings.model_validate({"state_dir": folder, **fields})


def raws(count: int, size: int = 20) -> list[bytes]:
    return [Event(event_id=f"{k}".ljust(size, "x")).SerializeToString() for k in range(count)]


async def test_calls_within_the_linger_share_a_message(log: Client, tmp_path: Path) -> None:
    store = NatsIntakeStore(settings_of(tmp_path, linger_ms=20), log.jetstream)
    stored = await asyncio.gather(
        store.put("shop", "", raws(3)),
        store.put("till", "", raws(1)),
        store.put("shop", "", raws(2)),
        store.put("shop", "history", raws(1)),
    )
    assert stored[0].sequence == stored[2].sequence
    assert (stored[0].first, stored[2].first) == (0, 3)
    assert len({one.sequence for one in stored}) == 3
    found = await log.jetstream().get_msg(subjects.INTAKE, seq=stored[0].sequence)
    assert found.data is not None
    assert [e.SerializeToString() for e in EventBatch.FromString(found.data).events] == [
        *raws(3),
        *raws(2),
    ]
    imported = await log.jetstream().get_msg(subjects.INTAKE, seq=stored[3].sequence)
    assert imported.data is not None
    assert EventBatch.FromString(imported.data).import_id == "history"
    assert store.bytes_waiting == 0


async def test_a_caller_that_goes_away_takes_nothing_from_the_others(
    log: Client, tmp_path: Path
) -> None:
    store = NatsIntakeStore(settings_of(tmp_path, linger_ms=30), log.jetstream)
    leaving = asyncio.create_task(store.put("shop", "", raws(1)))
    staying = asyncio.create_task(store.put("shop", "", raws(1)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).first == 1
    assert store.bytes_waiting == 0


async def test_no_message_is_larger_than_a_batch(log: Client, tmp_path: Path) -> None:
    store = NatsIntakeStore(settings_of(tmp_path, linger_ms=50), log.jetstream)
    calls = [store.put("shop", "", raws(400)) for _ in range(3)]
    calls += [store.put("web", "", raws(30, size=12_000)) for _ in range(3)]
    stored = await asyncio.gather(*calls)
    for one in stored:
        found = await log.jetstream().get_msg(subjects.INTAKE, seq=one.sequence)
        assert found.data is not None
        assert len(found.data) <= 512 << 10
        assert len(EventBatch.FromString(found.data).events) <= 1_000


async def test_a_full_log_is_said_and_stores_nothing(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(
        StreamConfig(
            name=subjects.INTAKE,
            subjects=[subjects.intake_of(TENANT)],
            max_bytes=8_192,
            discard=DiscardPolicy.NEW,
        )
    )
    store = NatsIntakeStore(settings_of(tmp_path), client.jetstream)
    stored = 0

    async def fill() -> None:
        nonlocal stored
        while stored < 100:
            await store.put("shop", "", raws(1, size=1_000))
            stored += 1

    with pytest.raises(Overloaded, match="nothing of this was stored"):
        await fill()
    info = await client.jetstream().stream_info(subjects.INTAKE)
    assert 0 < stored == info.state.messages
    assert store.is_answering()
    await client.close()


async def test_too_much_waiting_is_refused_before_it_is_sent(log: Client, tmp_path: Path) -> None:
    limited = settings_of(tmp_path, waiting_bytes_max=1 << 20, linger_ms=50)
    store = NatsIntakeStore(limited, log.jetstream)
    first = [asyncio.create_task(store.put("shop", "", raws(500, size=900))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await store.put("shop", "", raws(500, size=900))
    await asyncio.gather(*first)
    assert (await store.put("shop", "", raws(1))).first == 0


async def test_no_answer_is_an_unknown_outcome_and_soon_not_ready(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    client = await nats.connect(nats_server.url)
    store = NatsIntakeStore(settings_of(tmp_path, store_timeout_ms=200), client.jetstream)
    for _ in range(3):
        assert store.is_answering()
        with pytest.raises(NotReady, match="send the same ids again"):
            await store.put("shop", "", raws(1))
    assert not store.is_answering()
    await client.close()


def worker_at(client: Client, folder: Path) -> FencedWorker:
    settings = settings_of(folder)
    worker = FencedWorker(client, IngestCore(settings), settings)
    worker.live = True
    return worker


@pytest.mark.parametrize("apart_us", [-8_000_000, 8_000_000])
async def test_clocks_apart_stop_ingest(log: Client, tmp_path: Path, apart_us: int) -> None:
    ticker = Ticker(
        settings_of(tmp_path), worker_at(log, tmp_path), lambda: clock.wall_us() + apart_us
    )
    with pytest.raises(Stop, match="apart") as stop:
        async with asyncio.timeout(10):
            await ticker.run()
    assert stop.value.code is ExitCode.CLOCK


async def test_a_step_from_the_future_is_stopped_before_it_is_committed(
    log: Client, tmp_path: Path
) -> None:
    worker = worker_at(log, tmp_path)
    ticker = Ticker(settings_of(tmp_path), worker)
    worker.time_us = clock.wall_us() + 4_000_000
    ticker.refuse_jump_ahead()
    worker.time_us = clock.wall_us() + 6_000_000
    with pytest.raises(Stop):
        ticker.refuse_jump_ahead()
    worker.live = False  # what the log holds already is replayed as it is
    ticker.refuse_jump_ahead()


async def test_silence_is_filled_with_ticks_and_their_time_is_the_brokers(
    log: Client, tmp_path: Path
) -> None:
    ticker = Ticker(settings_of(tmp_path), worker_at(log, tmp_path))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await ticker.run()
    state = (await log.jetstream().stream_info(subjects.INTAKE)).state
    assert 8 <= state.messages <= 16
    before = clock.wall_us()
    answer = await log.jetstream().publish(subjects.intake(TENANT, "tick"), b"")
    broker_us = await broker_time_us(log, subjects.INTAKE, answer.seq)
    assert before - 1_000 <= broker_us <= clock.wall_us() + 1_000

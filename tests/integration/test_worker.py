"""The fenced worker on a real server: commits, parts, replay, refusal, poison, one lost hour."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from muster.types.v1.common_pb2 import Parked
from services.chassis import subjects, topology
from services.chassis.checkpoint import HEADER, Checkpoint
from services.chassis.embedded import EmbeddedNats
from services.chassis.errors import ExitCode, Stop
from services.chassis.settings import Settings
from services.chassis.worker import FencedWorker
from tests.chaos.toy import PARTITIONS, TENANT, Sorter, Window

LOG_BYTES = 256 << 20


@pytest.fixture
async def client(tmp_path: Path):
    server = EmbeddedNats(tmp_path / "nats").start()
    connection = await nats.connect(server.url, allow_reconnect=False)
    await topology.apply(connection, LOG_BYTES)
    yield connection
    await connection.close()
    server.stop()


def settings_in(folder: Path, **more: object) -> Settings:
    return Settings(
        tenant=TENANT, state_dir=folder, idle_commit_ms=200, standby_quiet_ms=600, **more
    )


async def publish(client: Client, rows: list[list[object]]) -> int:
    subject = subjects.intake(TENANT, "test")
    ack = await client.jetstream().publish(subject, json.dumps(rows).encode())
    return ack.seq


async def work_until(worker: FencedWorker, sequence: int) -> None:
    """Runs until the worker has committed everything up to an input sequence, then stops."""
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(20):
            while worker.sequences[0] < sequence or not worker.live:
                await asyncio.sleep(0.01)
                if task.done():
                    task.result()
        await worker.drain()
    finally:
        task.cancel()


async def said(client: Client, stream: str, subject: str) -> list[tuple[Checkpoint, bytes]]:
    """Every message of a subject with its checkpoint, in order."""
    jetstream = client.jetstream()
    found = []
    for sequence in range(1, (await jetstream.stream_info(stream)).state.last_seq + 1):
        message = await jetstream.get_msg(stream, sequence)
        if message.subject == subject and message.headers:
            found.append((Checkpoint.decode(message.headers[HEADER]), message.data or b""))
    return found


async def test_facts_and_position_are_one_write(client: Client, tmp_path: Path) -> None:
    last = await publish(client, [["a", "k1", 3], ["b", "k2", 3], ["a", "k1", 3]])
    worker = FencedWorker(client, Sorter(), settings_in(tmp_path))
    await work_until(worker, last)
    messages = [
        one
        for p in range(PARTITIONS)
        for one in await said(client, subjects.PROFILES, subjects.profiles(TENANT, p))
    ]
    rows = [row for _, body in messages for row in json.loads(body or b"[]")]
    assert sorted(row[0] for row in rows) == ["a", "b"]
    assert all(checkpoint.to == (last,) for checkpoint, _ in messages)


async def test_a_large_step_goes_in_parts_and_time_moves_with_the_last(
    client: Client, tmp_path: Path
) -> None:
    rows: list[list[object]] = [[f"r{i}", "same-key", 1] for i in range(2_000)]
    last = await publish(client, rows)
    await work_until(FencedWorker(client, Sorter(), settings_in(tmp_path)), last)
    messages = [
        one
        for p in range(PARTITIONS)
        for one in await said(client, subjects.PROFILES, subjects.profiles(TENANT, p))
    ]
    parts = [c for c, _ in messages if c.parts > 1]
    assert parts and [c.part for c in parts] == list(range(1, parts[0].parts + 1))
    assert sum(len(json.loads(body)) for _, body in messages) == 2_000


async def test_a_new_life_without_snapshots_replays_to_the_same_hash(
    client: Client, tmp_path: Path
) -> None:
    for i in range(30):
        last = await publish(client, [[f"{i}-{j}", f"k{j % 7}", 5] for j in range(20)])
    first = FencedWorker(client, Sorter(), settings_in(tmp_path / "one", step_bytes_max=900))
    await work_until(first, last)
    again = FencedWorker(client, Sorter(), settings_in(tmp_path / "two"))
    await work_until(again, last)
    assert again.step_number >= first.step_number > 10
    messages = await said(client, subjects.PROFILES, subjects.profiles(TENANT, 0))
    assert [c.number for c, _ in messages] == list(range(1, len(messages) + 1))
    assert sum(c.part == 1 for c, _ in messages) == again.step_number


async def test_snapshot_and_replay_give_what_replay_from_zero_gives(
    client: Client, tmp_path: Path
) -> None:
    options = {"step_bytes_max": 500, "snapshot_steps": 10}
    sorter = FencedWorker(client, Sorter(), settings_in(tmp_path / "a", **options))
    for i in range(60):
        last = await publish(client, [[f"{i}-{j}", f"k{j % 5}", 9] for j in range(12)])
    await work_until(sorter, last)
    assert list(sorter.folder.glob("*.snapshot"))
    snapshot = FencedWorker(client, Sorter(), settings_in(tmp_path / "a", **options))
    zero = FencedWorker(client, Sorter(), settings_in(tmp_path / "b", **options))
    await work_until(snapshot, last)
    await work_until(zero, last)
    chains = {tuple(h.chain for h in w.heads) for w in (snapshot, zero)}
    assert len(chains) == 1
    assert snapshot.core.seen == zero.core.seen  # type: ignore[attr-defined]


async def test_a_second_owner_is_refused_and_returns_as_a_standby(
    client: Client, tmp_path: Path
) -> None:
    last = await publish(client, [["1", "k", 1]])
    one = FencedWorker(client, Sorter(), settings_in(tmp_path / "one"))
    two = FencedWorker(client, Sorter(), settings_in(tmp_path / "two"))
    running = [asyncio.create_task(one.run()), asyncio.create_task(two.run())]
    done: set[asyncio.Task[None]] = set()
    async with asyncio.timeout(20):
        while not done:
            last = await publish(client, [[f"x{last}", "k", 1]])
            done, _ = await asyncio.wait(running, timeout=0.02)
    refused = done.pop()
    with pytest.raises(Stop) as stop:
        refused.result()
    assert stop.value.code is ExitCode.FENCED
    loser, owner = (one, two) if refused is running[0] else (two, one)
    assert (loser.folder / "standby").exists()
    heir = FencedWorker(client, Sorter(), loser.settings)
    standby = asyncio.create_task(heir.run())
    for i in range(20):
        last = await publish(client, [[f"y{i}", "k", 1]])
        await asyncio.sleep(0.02)
    assert not heir.live and owner.live
    running[0 if owner is one else 1].cancel()
    async with asyncio.timeout(20):
        while not heir.live:
            await asyncio.sleep(0.02)
    last = await publish(client, [["z", "k", 1]])
    await heir.reflects(f"i{last}.c0", 5)
    standby.cancel()


async def test_an_hour_of_downtime_changes_nothing_but_the_cuts(
    client: Client, tmp_path: Path
) -> None:
    """A follower that was down while log time went on says what one that was not says."""
    sorter = FencedWorker(client, Sorter(), settings_in(tmp_path / "a"))
    window = FencedWorker(client, Window(0), settings_in(tmp_path / "b"))
    tasks = [asyncio.create_task(w.run()) for w in (sorter, window)]
    for i in range(30):
        last = await publish(client, [[f"{i}-{j}", f"k{j}", 2] for j in range(9)])
        await asyncio.sleep(0.02)
    await asyncio.sleep(2.5)
    last = await publish(client, [])
    async with asyncio.timeout(10):
        while sorter.sequences[0] < last or window.time_us < sorter.time_us:
            await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    log = await said(client, subjects.TRANSITIONS, subjects.transitions(TENANT, 0))
    spoken = [row for _, body in log for row in json.loads(body or b"[]")]
    late = Window(0)
    profiles = await said(client, subjects.PROFILES, subjects.profiles(TENANT, 0))
    from services.chassis.core import Message

    batch = [Message(0, "", n, c.time_us, body) for n, (c, body) in enumerate(profiles, 1)]
    facts = late.step(batch, window.time_us)
    down = [row for body in facts.bodies.get(0, []) for row in json.loads(body)]
    assert spoken == down and any(row[0] == "left" for row in down)


async def test_a_message_that_kills_three_times_is_parked_and_the_rest_goes_on(
    client: Client, tmp_path: Path
) -> None:
    await publish(client, [["before", "k", 1]])
    poison = await publish(client, [["poison", "k", 1]])
    last = await publish(client, [["after", "k", 1]])
    deaths = 0
    for _ in range(20):
        worker = FencedWorker(client, Sorter(), settings_in(tmp_path))
        try:
            await work_until(worker, last)
            break
        except RuntimeError:
            deaths += 1
    parked = await said(client, subjects.PARKED, subjects.parked(TENANT, "sorter"))
    assert 3 <= deaths <= 8
    assert [Parked.FromString(body).source_sequence for _, body in parked] == [poison]
    rows = [
        row[0]
        for p in range(PARTITIONS)
        for _, body in await said(client, subjects.PROFILES, subjects.profiles(TENANT, p))
        for row in json.loads(body or b"[]")
    ]
    assert sorted(rows) == ["after", "before"]
    again = FencedWorker(client, Sorter(), settings_in(tmp_path / "elsewhere"))
    await work_until(again, last)
    assert again.core.seen == {"before", "after"}  # type: ignore[attr-defined]


async def test_topology_is_applied_once_and_verified(client: Client) -> None:
    assert await topology.plan(client, LOG_BYTES) == []
    assert await topology.apply(client, LOG_BYTES) == []
    await topology.verify(client, {subjects.EVENTS}, LOG_BYTES)
    with pytest.raises(topology.TopologyError, match="muster topology apply"):
        await topology.verify(client, {subjects.EVENTS}, 2 * LOG_BYTES)


async def test_a_trace_goes_from_an_input_to_everything_it_causes(
    client: Client, tmp_path: Path
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    subject = subjects.intake(TENANT, "test")
    ack = await client.jetstream().publish(
        subject, b'[["t", "k", 1]]', headers={"traceparent": trace}
    )
    await work_until(FencedWorker(client, Sorter(), settings_in(tmp_path)), ack.seq)
    last = await client.jetstream().get_last_msg(subjects.PROFILES, subjects.profiles(TENANT, 0))
    assert (last.headers or {})["traceparent"] == trace

"""examples/triggers/points.py: killed in the middle, it acts once on every trigger."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import common_pb2
from services.chassis import subjects
from services.chassis.embedded import EmbeddedNats, EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "triggers" / "points.py"
PARTITIONS = 2


@pytest.fixture
async def database(postgres_server: EmbeddedPostgres) -> Any:
    """(connection, url) of an empty database."""
    admin = await asyncpg.connect(postgres_server.url)
    name = f"points_{random.Random().randrange(1 << 40)}"
    await admin.execute(f"create database {name}")
    url = postgres_server.url.rsplit("/", 1)[0] + f"/{name}"
    connection = await asyncpg.connect(url)
    yield connection, url
    await connection.close()
    await admin.close()


class Relay:
    """Triggers as the relay writes them: dense numbers for each partition."""

    def __init__(self, log: Client) -> None:
        self.log = log
        self.dense = [0] * PARTITIONS
        self.owed: Counter[str] = Counter()

    async def say(self, profile: int, *, entered: bool = True) -> None:
        partition = profile % PARTITIONS
        self.dense[partition] += 1
        way = common_pb2.DIRECTION_ENTERED if entered else common_pb2.DIRECTION_LEFT
        trigger = segments.SegmentTriggered(
            trigger_id=f"{partition}-{self.dense[partition]}",
            segment_id="vip",
            profile_id=f"p_{profile}",
            partition=partition,
            direction=way,
            dense_number=self.dense[partition],
        )
        subject = subjects.triggers("demo", "vip")
        await self.log.jetstream().publish(subject, trigger.SerializeToString())
        self.owed[f"p_{profile}"] += 10 * entered


async def started(nats_url: str, database_url: str) -> asyncio.subprocess.Process:
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "MUSTER_NATS_URL": nats_url,
        "POINTS_POSTGRES_URL": database_url,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), "vip", env=env, stderr=asyncio.subprocess.PIPE
    )


async def until(holds: Callable[[], Any], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await holds():
            await asyncio.sleep(0.005)


async def place(connection: Any) -> int:
    """How far the consumer came; 0 before its first run has made the tables."""
    try:
        return await connection.fetchval("select sequence from place") or 0
    except asyncpg.UndefinedTableError:
        return 0


async def test_killed_in_the_middle_it_acts_once_on_every_trigger(
    log: Client, nats_server: EmbeddedNats, database: Any
) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    connection, url = database
    relay = Relay(log)
    for _ in range(600):
        await relay.say(rng.randrange(40), entered=rng.random() < 0.7)
    kills = 0
    while await place(connection) < 600:
        consumer = await started(nats_server.url, url)
        goal = min(600, await place(connection) + rng.randrange(1, 150))

        async def there(goal: int = goal) -> bool:
            return await place(connection) >= goal

        await until(there)
        consumer.send_signal(signal.SIGKILL)
        await consumer.wait()
        kills += 1
    assert kills >= 4
    rows = await connection.fetch("select profile_id, points from points")
    assert dict(rows) == {who: points for who, points in relay.owed.items() if points}
    counted = await connection.fetch("select partition, dense_number from counted")
    assert dict(counted) == dict(enumerate(relay.dense))


async def test_of_two_copies_one_ends_and_a_gap_is_never_passed_over(
    log: Client, nats_server: EmbeddedNats, database: Any
) -> None:
    connection, url = database
    relay = Relay(log)
    await relay.say(0)
    first, second = await started(nats_server.url, url), await started(nats_server.url, url)

    async def one_ended() -> bool:
        await relay.say(0)
        await asyncio.sleep(0.1)
        return first.returncode is not None or second.returncode is not None

    await until(one_ended)
    ended, lives = (first, second) if first.returncode is not None else (second, first)
    _, said = await ended.communicate()
    assert b"another copy of this program" in said
    head = (await log.jetstream().stream_info(subjects.TRIGGERS)).state.last_seq

    async def caught_up() -> bool:
        return await place(connection) >= head

    await until(caught_up)
    assert await connection.fetchval("select points from points") == relay.owed["p_0"]
    relay.dense[0] += 2
    await relay.say(0)
    _, said = await asyncio.wait_for(lives.communicate(), 20)
    assert b"are no longer kept" in said
    assert await place(connection) == head

"""Effects and facts of a follower, each exactly once, whatever dies when."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import asyncpg
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from services.chassis import clock, follower, outbox, subjects
from services.chassis.checkpoint import Checkpoint, Origin
from services.chassis.database import (
    Database,
    DatabaseGone,
    head_of,
    lock,
    migrate,
    version_of,
)
from services.chassis.embedded import EmbeddedNats, EmbeddedNatsCluster
from services.chassis.errors import ExitCode, Overloaded, Stop
from services.chassis.follower import Place
from services.chassis.outbox import Draft, Publisher, Staged, last_message, publish, stage
from services.chassis.pull import Pulled
from services.frequency.service import MIGRATIONS
from tests.integration import follower_toy
from tests.integration.followers import TENANT, database_url
from tests.support.servers import ROOT

__all__ = ["database_url"]
MESSAGES = 400


@pytest.fixture
async def toy_tables(database_url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"create schema {follower_toy.SCHEMA}")
    await connection.execute(f"set search_path to {follower_toy.SCHEMA}")
    await connection.execute(follower_toy.TABLES + follower.TABLE + outbox.TABLE)
    yield connection
    await connection.close()


def start_toy(nats_url: str, url: str, seed: int, percent: float, mode: str, log: Path) -> object:
    argv = [sys.executable, "-m", "tests.integration.follower_toy", nats_url, url]
    with log.open("ab") as out:
        return subprocess.Popen(
            [*argv, str(seed), str(percent), mode],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
            stdout=out,
            stderr=out,
        )


async def numbers_sent(client: Client) -> list[bytes]:
    """Bodies of everything on MESSAGES, in order."""
    jetstream = client.jetstream()
    found = []
    state = (await jetstream.stream_info(subjects.MESSAGES)).state
    for sequence in range(1, state.last_seq + 1):
        message = await jetstream.get_msg(subjects.MESSAGES, sequence)
        found.append(message.data)
    return found


@pytest.mark.parametrize("mode", ["alone", "lead"])
async def test_effects_and_facts_happen_once_though_owners_die(
    nats_server: EmbeddedNats,
    log: Client,
    database_url: str,
    toy_tables: asyncpg.Connection,
    tmp_path: Path,
    mode: str,
) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    chance, sent, starts = random.Random(seed), 0, 0
    processes: list[subprocess.Popen[bytes]] = []
    output = tmp_path / "toy.log"
    deadline = clock.monotonic() + 100
    ends: Counter[int] = Counter()

    def enough() -> bool:
        """Whether what the test is about has happened."""
        met = mode == "lead" or ends[ExitCode.FENCED] >= 1
        return sent >= MESSAGES and ends[-9] >= 3 and met

    while clock.monotonic() < deadline:
        if not enough():
            for _ in range(10):
                sent += 1
                await log.jetstream().publish(subjects.triggers(TENANT, "vip"), b"m%d" % sent)
        for process in list(processes):
            code = process.poll()
            if code is not None:
                processes.remove(process)
                ends[code] += 1
        while len(processes) < 2:
            starts += 1
            percent = 0.0 if enough() else 20.0
            arguments = (nats_server.url, database_url, chance.randrange(1 << 30), percent, mode)
            processes.append(start_toy(*arguments, output))
        if enough():
            staged, acked = await toy_tables.fetchrow("select staged, sent from outbox_head")
            if staged == acked == sent:
                break
        await asyncio.sleep(0.15)
    for process in processes:
        process.kill()
        process.wait()
    print("starts", starts, "messages", sent, "exit codes", dict(ends))
    assert enough(), output.read_text()[-3000:]
    effects = await toy_tables.fetch("select body from effect order by place")
    assert [row["body"] for row in effects] == [f"m{n}" for n in range(1, sent + 1)]
    assert await numbers_sent(log) == [b"%d m%d" % (n, n) for n in range(1, sent + 1)]
    assert set(ends) <= {-9, ExitCode.FENCED, ExitCode.UNKNOWN}, output.read_text()[-3000:]


async def test_two_publishers_cannot_both_go_on(log: Client) -> None:
    everything = subjects.messages(TENANT, "x").removesuffix("x") + "*"

    def facts(first: int, count: int) -> list[Staged]:
        return [
            Staged(n, subjects.messages(TENANT, f"s{n % 3}"), {}, b"x")
            for n in range(first, first + count)
        ]

    assert await publish(log, facts(1, 1), everything, 0) == 1
    assert await publish(log, facts(2, 5), everything, 1) == 6
    for stale in (1, 5, 0):
        for count in (1, 3):
            with pytest.raises(Stop) as stopped:
                await publish(log, facts(7, count), everything, stale)
            assert stopped.value.code is ExitCode.FENCED
    assert await last_message(log, subjects.MESSAGES, everything) == (6, 6)


async def test_the_fence_holds_on_three_nodes(tmp_path: Path) -> None:
    with EmbeddedNatsCluster(tmp_path / "cluster") as cluster:
        clients = [await nats.connect(url) for url in cluster.urls]
        await (
            clients[0]
            .jetstream(timeout=10)
            .add_stream(StreamConfig(name="M", subjects=["m.>"], num_replicas=3, allow_atomic=True))
        )
        seed = random.SystemRandom().randrange(1 << 30)
        print("seed", seed)
        chance, acked, codes = random.Random(seed), [], []

        async def write(client: Client) -> None:
            for _ in range(40):
                found = await last_message(client, "M", "m.t.*")
                number, after = found or (0, 0)
                count = chance.choice([1, 1, 4])
                batch = [
                    Staged(number + 1 + place, f"m.t.s{chance.randrange(4)}", {}, b"x")
                    for place in range(count)
                ]
                try:
                    acked.append((number, count, await publish(client, batch, "m.t.*", after)))
                except Stop as stop:
                    codes.append(stop.code)

        await asyncio.gather(*(write(client) for client in clients))
        acked.sort()
        reached = 0
        for number, count, sequence in acked:
            assert (number, sequence) == (reached, reached + count)
            reached += count
        assert len(acked) > 20
        assert set(codes) == {ExitCode.FENCED}
        for client in clients:
            await client.close()


async def test_a_publisher_over_a_restored_database_stops(
    log: Client, database_url: str, toy_tables: asyncpg.Connection
) -> None:
    everything = subjects.messages(TENANT, "x").removesuffix("x") + "*"
    await publish(log, [Staged(1, subjects.messages(TENANT, "s"), {}, b"x")], everything, 0)
    database = Database(database_url, follower_toy.SCHEMA, 2)
    await database.open()
    with pytest.raises(Stop) as stopped:
        await Publisher(database, log, subjects.MESSAGES, everything).run()
    assert stopped.value.code is ExitCode.LOST
    await database.close()


async def test_numbers_of_a_transaction_that_fails_are_given_again(
    database_url: str, toy_tables: asyncpg.Connection
) -> None:
    database = Database(database_url, follower_toy.SCHEMA, 2)
    await database.open()
    draft = Draft("s", lambda number: b"%d" % number, {"a": "b"})

    async def fail() -> None:
        async with database.transaction() as connection:
            assert await stage(connection, [draft, draft]) == [1, 2]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.transaction() as connection:
        assert await stage(connection, [draft]) == [1]
    row = await toy_tables.fetchrow("select * from outbox")
    assert (row["number"], json.loads(row["headers"]), row["body"]) == (1, {"a": "b"}, b"1")
    await database.close()


def fenced(subject: str, number: int, time_us: int, part: int = 1, parts: int = 1) -> Pulled:
    checkpoint = Checkpoint(
        1, ((1,),), {}, time_us, (0,), part, parts, number, 0, "", 1, Origin(number, 2)
    )
    return Pulled(number, 0, subject, b"", checkpoint, 0)


def test_a_place_refuses_a_gap_and_moves_time_with_the_last_part() -> None:
    place = Place().after([fenced("a", 7, 100), fenced("b", 1, 90), fenced("a", 8, 200, 1, 2)])
    assert (place.heads["a"].time_us, place.time_us) == (100, 100)
    assert place.origin() == Origin(1, 2)
    place = place.after([fenced("a", 9, 200, 2, 2)])
    assert (place.heads["a"].time_us, place.time_us) == (200, 200)
    assert Place.decoded(place.sequence, place.time_us, place.encoded()) == place
    with pytest.raises(Stop) as stopped:
        place.after([fenced("a", 11, 300)])
    assert stopped.value.code is ExitCode.GAP


async def test_migrations_run_twice_and_at_once_without_harm(database_url: str) -> None:
    database = Database(database_url, "frequency", 2)
    await database.open()
    assert await version_of(database) is None
    await asyncio.gather(*(migrate(database_url, "frequency", MIGRATIONS) for _ in range(4)))
    await migrate(database_url, "frequency", MIGRATIONS)
    assert await version_of(database) == head_of(MIGRATIONS)
    await database.close()


async def test_a_database_that_is_busy_or_gone_is_said_so(database_url: str) -> None:
    database = Database(database_url, "public", 2)
    await database.open()
    with pytest.raises(DatabaseGone):
        async with database.transaction() as connection:
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")

    async def meet() -> None:
        async with database.transaction() as one, database.transaction() as other:
            await lock(one, [5])
            await other.execute("set local lock_timeout = '50ms'")
            await lock(other, [5])

    with pytest.raises(Overloaded):
        await meet()
    async with database.transaction() as connection:
        with pytest.raises(ValueError, match="locks"):
            await lock(connection, range(1_000))
    await database.close()
    with pytest.raises(DatabaseGone):
        await Database("postgresql://x@127.0.0.1:1/x", "public", 1).open()

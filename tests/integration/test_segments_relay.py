"""The relay on a real server: each trigger goes out once, through kill -9 and from nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import nats
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from services.chassis import subjects, topology
from services.chassis.checkpoint import HEADER, Checkpoint, Head, Origin
from services.chassis.commits import publish_fenced
from services.chassis.core import Message
from services.chassis.embedded import EmbeddedNats
from services.chassis.pull import Pull
from services.segments.adapters import wire
from services.segments.relay_core import TRIGGERS_PER_PART, RelayCore
from tests.integration.segments_stack import LOG_BYTES, SECOND, START_US, TENANT, Processes


@pytest.fixture
async def nats_server(tmp_path: Path):
    server = EmbeddedNats(tmp_path / "nats").start()
    yield server
    server.stop()


@pytest.fixture
async def client(nats_server: EmbeddedNats):
    connection = await nats.connect(nats_server.url, allow_reconnect=False)
    await topology.apply(connection, LOG_BYTES)
    yield connection
    await connection.close()


@pytest.fixture
async def processes(nats_server: EmbeddedNats, client: Client, tmp_path: Path):
    made = Processes(tmp_path, nats_server.url, 1)
    yield made
    await made.stop()


class TransitionsLog:
    """The engine's place: the one writer of TRANSITIONS; every body is kept for the oracle."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.head = Head()
        self.messages: list[Message] = []
        self.ordinals: dict[tuple[int, int], int] = {}

    async def say(self, rows: list[tuple[int, int, int]], time_us: int) -> None:
        """One step of transitions (segment, profile, reason), entered and left by turns."""
        ordinals = []
        for segment, profile, _ in rows:
            ordinals.append(self.ordinals.get((segment, profile), 0) + 1)
            self.ordinals[segment, profile] = ordinals[-1]
        columns = {
            "at_us": np.full(len(rows), time_us),
            "profile": [profile for _, profile, _ in rows],
            "segment": [segment for segment, _, _ in rows],
            "version": np.ones(len(rows)),
            "entered": np.array([ordinal % 2 for ordinal in ordinals], np.uint8),
            "reason": np.array([reason for _, _, reason in rows], np.uint8),
            "ordinal": ordinals,
            "cause_print": np.zeros(2 * len(rows)),
            "public_id": np.array([profile + 1 for _, profile, _ in rows], np.uint64),
            "row_flags": np.zeros(len(rows), np.uint8),
        }
        (body,) = wire.step_bodies(columns, {}, [])
        subject = subjects.transitions(TENANT, 0)
        number = self.head.number + 1
        checkpoint = Checkpoint(
            step=number,
            cuts=((number,),),
            numbers={},
            time_us=time_us,
            touched=(0,),
            part=1,
            parts=1,
            number=number,
            previous=self.head.sequence,
            chain="",
            version=1,
            origin=Origin(intake=number),
        )
        headers = {HEADER: checkpoint.encode()}
        sequence = await publish_fenced(self.client, subject, body, headers, self.head.sequence, 5)
        self.head = Head(sequence, number, "")
        self.messages.append(Message(0, subject, sequence, time_us, body))


async def define(client: Client, number: int, policy: segments.TriggerPolicy) -> Message:
    body = segments.SegmentDefined(
        segment_id=f"segment-{number}", segment_number=number, version=1, triggers=policy
    ).SerializeToString()
    subject = subjects.control(TENANT, "segment")
    ack = await client.jetstream().publish(subject, body)
    return Message(1, subject, ack.seq, 0, body)


async def triggers(client: Client, count: int, within_s: float = 30) -> list[tuple]:
    """All triggers in the log, in order, once there are `count`: (subject, body, headers)."""
    stream = (await client.jetstream().stream_info(subjects.TRIGGERS)).state
    found: list[tuple] = []
    async with asyncio.timeout(within_s):
        while True:
            found = []
            for sequence in range(1, stream.last_seq + 1):
                message = await client.jetstream().get_msg(subjects.TRIGGERS, sequence)
                if message.subject.startswith("muster.triggers."):
                    found.append((message.subject, message.data, dict(message.headers or {})))
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)
            stream = (await client.jetstream().stream_info(subjects.TRIGGERS)).state


POLICIES = [
    segments.TriggerPolicy(cool_down=Duration(seconds=4)),
    segments.TriggerPolicy(reentry=False),
    segments.TriggerPolicy(),
]


async def test_each_trigger_goes_out_once_through_kills(
    client: Client, processes: Processes
) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    log = TransitionsLog(client)
    control = [await define(client, n, policy) for n, policy in enumerate(POLICIES, 1)]
    name = processes.start("relay", snapshot_steps=5, snapshot_interval_ms=0)
    for step in range(60):
        rows = [
            (rng.randrange(1, 4), rng.randrange(30), rng.choice([1, 2, 2, 5]))
            for _ in range(rng.randrange(1, 8))
        ]
        await log.say(list(dict.fromkeys(rows)), START_US + step * SECOND)
        if step % 12 == 11:
            await processes.ready(name)
            processes.children[name].kill9()
            processes.start("relay", snapshot_steps=5, snapshot_interval_ms=0)
        await asyncio.sleep(0.01)
    oracle = RelayCore(TENANT, 0)
    expected = oracle.step([*control, *log.messages], log.messages[-1].time_us).batch
    assert len(expected) > 50
    found = await triggers(client, len(expected))
    await asyncio.sleep(0.3)
    assert await triggers(client, len(expected)) == found
    assert [(subject, body) for subject, body, _ in found] == [(s, b) for s, b, _ in expected]
    for (_, body, headers), (_, _, wanted) in zip(found, expected, strict=True):
        assert wanted.items() <= headers.items()
        assert headers["ce-id"] == segments.SegmentTriggered.FromString(body).trigger_id


async def test_a_step_of_more_triggers_than_one_batch_holds_goes_out_whole(
    client: Client, processes: Processes
) -> None:
    log = TransitionsLog(client)
    await define(client, 1, segments.TriggerPolicy())
    count = 2 * TRIGGERS_PER_PART + 7
    await log.say([(1, profile, 1) for profile in range(count)], START_US)
    processes.start("relay")
    found = await triggers(client, count)
    said = [segments.SegmentTriggered.FromString(body) for _, body, _ in found]
    assert [one.dense_number for one in said] == list(range(1, count + 1))
    assert [one.profile_number for one in said] == list(range(count))


async def test_a_row_before_its_definition_waits_for_it(
    client: Client, processes: Processes
) -> None:
    log = TransitionsLog(client)
    await log.say([(7, 1, 1)], START_US)
    name = processes.start("relay")
    await processes.ready(name)
    await log.say([(7, 2, 1)], START_US + SECOND)
    await asyncio.sleep(0.3)
    assert not await triggers(client, 0)
    await define(client, 7, segments.TriggerPolicy())
    await log.say([(7, 3, 1)], START_US + 2 * SECOND)
    found = await triggers(client, 3)
    said = [segments.SegmentTriggered.FromString(body) for _, body, _ in found]
    assert [(one.profile_number, one.dense_number) for one in said] == [(1, 1), (2, 2), (3, 3)]


async def test_the_relays_own_messages_can_be_read_by_a_follower(
    client: Client, processes: Processes
) -> None:
    """A follower of TRIGGERS sees triggers and leads in one order, each lead after its triggers."""
    log = TransitionsLog(client)
    await define(client, 1, segments.TriggerPolicy())
    await log.say([(1, 1, 1), (1, 2, 1)], START_US)
    processes.start("relay")
    await triggers(client, 2)
    pull = Pull(client, subjects.TRIGGERS, [subjects.triggers_of(TENANT)])
    taken = []
    async with asyncio.timeout(5):
        while len(taken) < 2:
            taken += await pull.take(1 << 20, 1)
    assert [one.subject for one in taken] == ["muster.triggers.v1.demo.segment-1"] * 2

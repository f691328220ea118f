"""Real servers and a database of its own for tests of what follows the log into PostgreSQL."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from nats.aio.client import Client

from muster.segments.v1.facts_pb2 import SegmentStep, SegmentTriggered
from muster.types.v1.common_pb2 import DIRECTION_ENTERED, REASON_EVENT
from services.chassis import clock, subjects
from services.chassis.checkpoint import EXPECTED, HEADER, Checkpoint, Origin
from services.chassis.database import migrate
from services.chassis.embedded import EmbeddedNats, EmbeddedPostgres
from tests.support.servers import ROOT, Service, Stack

TENANT = "demo"


@dataclass
class OneDatabase:
    """A database on the shared server, as a Stack takes it."""

    url: str


class Followers(Stack):
    """A stack whose services come back on the port they had."""

    def restart(self, dead: Service) -> Service:
        """A new life of a killed service."""
        with dead.log.open("ab") as out:
            process = subprocess.Popen(
                dead.process.args,
                env=self.environment(dead.grpc_port),
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.services.remove(dead)
        alive = Service(dead.name, process, dead.grpc_port, dead.log)
        self.services.append(alive)
        return alive


@pytest.fixture
async def database_url(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """An empty database."""
    name = f"t{clock.new_id()[:12]}"
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute(f"create database {name}")
    yield postgres_server.url.rsplit("/", 1)[0] + f"/{name}"
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.fixture
async def followers(
    tmp_path: Path, nats_server: EmbeddedNats, log: Client, database_url: str
) -> AsyncIterator[Followers]:
    """Servers with their streams, and both services' schemas in a database of their own."""
    from services.alerts import service as alerts
    from services.frequency import service as frequency

    await migrate(database_url, frequency.SCHEMA, frequency.MIGRATIONS)
    await migrate(database_url, alerts.SCHEMA, alerts.MIGRATIONS)
    made = Followers(tmp_path, nats_server, OneDatabase(database_url), log)  # type: ignore[arg-type]
    yield made
    for service in reversed(made.services):
        if service.process.poll() is None:
            service.kill9()


async def publish_trigger(
    client: Client, trigger_id: str, profile_id: str, segment_id: str = "vip"
) -> None:
    """What the relay would write."""
    fact = SegmentTriggered(
        trigger_id=trigger_id,
        tenant=TENANT,
        segment_id=segment_id,
        profile_id=profile_id,
        direction=DIRECTION_ENTERED,
        reason=REASON_EVENT,
    )
    subject = subjects.triggers(TENANT, segment_id)
    await client.jetstream().publish(subject, fact.SerializeToString())


class Segments:
    """Writes TRANSITIONS of one partition as segments would: fenced, dense, with log time."""

    def __init__(self, client: Client, partition: int = 0) -> None:
        self.client = client
        self.subject = subjects.transitions(TENANT, partition)
        self.number = 0
        self.last = 0

    async def step(self, time_us: int, step: SegmentStep | bytes | None = None) -> None:
        """One step of one part at that log time; without facts it only carries the time."""
        self.number += 1
        checkpoint = Checkpoint(
            step=self.number,
            cuts=((self.number,),),
            numbers={},
            time_us=time_us,
            touched=(0,),
            part=1,
            parts=1,
            number=self.number,
            previous=self.last,
            chain="",
            version=1,
            origin=Origin(self.number, 1),
        )
        body = step if isinstance(step, bytes) else step.SerializeToString() if step else b""
        headers = {HEADER: checkpoint.encode(), EXPECTED: str(self.last)}
        answer = await self.client.jetstream().publish(self.subject, body, headers=headers)
        self.last = answer.seq


def moves(
    segment: int,
    segment_id: str,
    entered: list[int],
    left: list[int] | None = None,
    members: int | None = None,
    activity: dict[tuple[str, int], int] | None = None,
) -> SegmentStep:
    """A step in which profiles entered and left at these instants. activity: (type, minute)."""
    step = SegmentStep()
    gone = left or []
    for at_us, sign in sorted([(at, 1) for at in entered] + [(at, 0) for at in gone]):
        step.transitions.at_us.append(at_us)
        step.transitions.segment.append(segment)
        step.transitions.entered += bytes([sign])
        step.transitions.row_flags += b"\0"
    if members is not None:
        step.sizes.add(segment_number=segment, segment_id=segment_id, version=1, members=members)
    for (name, minute_us), count in (activity or {}).items():
        step.activity.segment.append(segment)
        step.activity.type.append(len(step.activity.name_end))
        step.activity.minute_us.append(minute_us)
        step.activity.count.append(count)
        step.activity.name += name.encode()
        step.activity.name_end.append(len(step.activity.name))
    return step

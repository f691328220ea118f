"""identity as its neighbours meet it: real processes on a real log, killed on the way."""

from __future__ import annotations

import asyncio
import random
import shutil
from dataclasses import dataclass

import grpc
import pytest

from muster.identity.v1 import service_pb2 as api
from muster.identity.v1.service_pb2_grpc import IdentityServiceStub
from muster.types.v1.common_pb2 import ProfileRef
from muster.types.v1.event_pb2 import Event, EventBatch, Identifier, Property
from services.chassis import clock, prints, subjects
from services.chassis.checkpoint import Origin
from services.chassis.core import Facts
from services.chassis.pull import Pull
from services.chassis.settings import Settings
from services.identity.domain import public_ids
from tests.support.servers import Service, Stack
from tests.unit.identity.events import Happened
from tests.unit.identity.follower import Followed
from tests.unit.identity.naive import Law, persons_of

TENANT = "demo"
PARTITIONS = 2
KEY = prints.print_key(Settings().print_key)


@dataclass
class Running:
    """ingest's worker and identity as processes, and the log they work on."""

    stack: Stack
    identity: Service
    sent: int = 0

    async def publish(self, events: list[Happened], publisher: str = "shop") -> None:
        """One message of INTAKE, as a publisher writes it."""
        batch = EventBatch(events=[as_published(event) for event in events])
        jetstream = self.stack.client.jetstream()
        subject = subjects.intake(TENANT, publisher)
        ack = await jetstream.publish(subject, batch.SerializeToString())
        self.sent = ack.seq

    @property
    def token(self) -> str:
        """Everything published so far."""
        return Origin(intake=self.sent).token()

    async def restart(self) -> None:
        self.identity.kill9()
        self.identity = self.stack.start("identity")

    async def followed(self, rows: int) -> Followed:
        """PROFILES from its beginning, once it holds so many rows."""
        found = Followed(PARTITIONS, lambda kind, value: prints.print_of(kind, value, KEY))
        pulls = [
            Pull(
                self.stack.client, subjects.PROFILES, [subjects.profiles(TENANT, partition)], 0, {}
            )
            for partition in range(PARTITIONS)
        ]
        deadline = clock.monotonic() + 30
        while sum(map(len, found.rows)) < rows and clock.monotonic() < deadline:
            for partition, pull in enumerate(pulls):
                for pulled in await pull.take(1 << 20, 0.2):
                    found.take(Facts({partition: [pulled.body]}))
        for pull in pulls:
            await pull.close()
        return found


def as_published(event: Happened) -> Event:
    return Event(
        event_id=event.event_id,
        type=event.type,
        occur_time_us=event.occur_us,
        send_time_us=clock.wall_us(),
        identifiers=[Identifier(kind=kind, value=value) for kind, value in event.ids],
        properties=[
            Property(key=key, text=value)
            if isinstance(value, str)
            else Property(key=key, whole=value)
            for key, value in event.properties.items()
        ],
    )


@pytest.fixture
async def running(stack: Stack) -> Running:
    stack.partitions = PARTITIONS
    worker, identity = stack.start("ingest", "worker"), stack.start("identity")
    await asyncio.gather(worker.ready(), identity.ready())
    return Running(stack, identity)


def by_identifier(kind: str, value: str) -> ProfileRef:
    return ProfileRef(identifier=Identifier(kind=kind, value=value))


async def test_a_person_is_found_under_every_name_right_after_the_event(running: Running) -> None:
    now = clock.wall_us()
    await running.publish(
        [
            Happened("a", now - 30, (("cookie", "laptop"),)),
            Happened("b", now - 20, (("cookie", "phone"),)),
            Happened("c", now - 10, (("user_id", "ada"), ("cookie", "laptop"))),
            Happened(
                "d",
                now,
                (("user_id", "ada"), ("cookie", "phone")),
                "profile_updated",
                {"city": "Köln", "age": 41},
            ),
        ]
    )
    async with grpc.aio.insecure_channel(running.identity.address) as channel:
        stub = IdentityServiceStub(channel)
        answers = [
            await stub.ResolveProfile(
                api.ResolveProfileRequest(tenant=TENANT, profile=ref, at_least=running.token)
            )
            for ref in (
                by_identifier("cookie", "laptop"),
                by_identifier("cookie", "phone"),
                by_identifier("user_id", " ada "),
            )
        ]
        assert len({(a.profile_id, a.profile_number, a.partition) for a in answers}) == 1
        person = await stub.GetProfile(
            api.GetProfileRequest(
                tenant=TENANT, profile=ProfileRef(profile_id=answers[0].profile_id)
            )
        )
        assert [(i.kind, i.value) for i in person.identifiers] == [
            ("user_id", "ada"),
            ("cookie", "laptop"),
            ("cookie", "phone"),
        ]
        assert person.attributes["city"].text == "Köln"
        assert person.attributes["age"].whole == 41
        (merge,) = person.merges
        assert merge.cause_event_id == "d"
        old = ProfileRef(profile_id=merge.absorbed_profile_id)
        again = await stub.ResolveProfile(api.ResolveProfileRequest(tenant=TENANT, profile=old))
        assert again.profile_id == person.profile_id
        report = await stub.GetIdentityReport(api.GetIdentityReportRequest(tenant=TENANT))
        assert (report.profiles, report.merges, report.splits) == (1, 1, 0)
        assert dict(report.identifiers) == {"cookie": 2, "user_id": 1}
        for wrong, code in (
            (by_identifier("user_id", "nobody-yet"), grpc.StatusCode.NOT_FOUND),
            (by_identifier("email", "no address"), grpc.StatusCode.INVALID_ARGUMENT),
            (ProfileRef(), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await stub.ResolveProfile(api.ResolveProfileRequest(tenant=TENANT, profile=wrong))
            assert refusal.value.code() == code


async def test_killed_at_any_moment_every_row_stands_once_under_the_right_person(
    running: Running,
) -> None:
    seed = 20
    print(f"seed {seed}")
    rng = random.Random(seed)
    now = clock.wall_us()
    kinds = ("user_id", "email", "cookie")
    pool = [(kind, f"{kind}-{i}@x.org") for kind in kinds for i in range(60)]
    events = [
        Happened(
            f"e{i}", now - rng.randrange(10_000_000), tuple(rng.sample(pool, rng.randint(1, 2)))
        )
        for i in range(900)
    ]
    for start in range(0, len(events), 300):
        await running.identity.ready()
        for at in range(start, start + 300, 10):
            await running.publish(events[at : at + 10])
            if at == start + 200:
                await running.restart()
    await running.identity.ready()
    said = await running.followed(len(events))
    said.order(events)
    want = {event_id: owner_of(maker) for event_id, maker in persons(events).items()}
    assert said.row_owners() == want
    await replays_alike(running, want)


async def replays_alike(running: Running, want: dict[str, int]) -> None:
    """Without its snapshots it comes back from zero: the worker compares every hash on the way."""
    running.identity.kill9()
    shutil.rmtree(running.stack.folder / "state" / "workers" / TENANT / "identity")
    running.identity = await running.stack.start("identity").ready()
    said = await running.followed(len(want))
    assert said.row_owners() == want


def persons(events: list[Happened]) -> dict[str, tuple]:
    return persons_of(events, Law()).of_event


def owner_of(maker: tuple) -> int:
    return public_ids.derived(*prints.event_print(maker[1], KEY))

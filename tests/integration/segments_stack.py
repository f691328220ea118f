"""Processes of segments on a real server; the test stands in for identity and tells the time."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import nats
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nats.aio.client import Client

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import service_pb2 as api
from muster.segments.v1 import service_pb2_grpc as rpc
from muster.types.v1 import columns_pb2, common_pb2
from muster.types.v1 import condition_pb2 as pb
from muster.types.v1.event_pb2 import Identifier
from services.chassis import clock, prints, subjects, topology
from services.chassis.checkpoint import HEADER, Checkpoint, Head, Origin
from services.chassis.children import Child, free_port
from services.chassis.columns import ColumnCodec, pool_of
from services.chassis.commits import publish_fenced
from services.chassis.embedded import EmbeddedNats
from services.chassis.parking import timestamp
from services.chassis.pull import Pull
from services.chassis.settings import Settings
from services.chassis.supervisor import serves

TENANT = "demo"
ROOT = Path(__file__).resolve().parents[2]
LOG_BYTES = 256 << 20
SECOND = 1_000_000
START_US = 1_790_000_000 * SECOND
KEY = prints.print_key(Settings().print_key)

_EVENTS = ColumnCodec(columns_pb2.EventColumns)
_CREATED = ColumnCodec(identity.ProfilesCreated)
_LINKED = ColumnCodec(identity.IdentifiersLinked)


class Processes:
    """Processes of segments that the test starts, kills and asks."""

    def __init__(self, folder: Path, nats_url: str, partitions: int) -> None:
        self.folder = folder
        self.nats_url = nats_url
        self.partitions = partitions
        self.children: dict[str, Child] = {}
        self.ports: dict[str, int] = {}
        self.channels: list[grpc.aio.Channel] = []

    def start(self, role: str, partition: int = 0, **more: object) -> str:
        """Starts a process (or starts it again); returns its name. Without a role: both roles."""
        name = f"{role}-{partition}"
        port = self.ports.setdefault(name, free_port())
        env = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_NATS_URL": self.nats_url,
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
            "MUSTER_STATE_DIR": str(self.folder / "state"),
            "MUSTER_PARTITIONS": str(self.partitions),
            "MUSTER_PARTITION": str(partition),
            "MUSTER_GRPC_PORT": str(port),
            "MUSTER_STANDBY_QUIET_MS": "600",
            **{f"MUSTER_{key.upper()}": str(value) for key, value in more.items()},
        }
        argv = (sys.executable, "-m", "services.segments", *([role] if role else []))
        log = self.folder / f"{name}.log"
        self.children[name] = Child(name, argv, log=log, env=env, cwd=ROOT)
        self.children[name].start()
        return name

    async def ready(self, name: str, within_s: float = 100.0) -> None:
        """Returns when a process says it is ready."""
        child = self.children[name]
        end = clock.monotonic() + within_s
        while not await serves(f"127.0.0.1:{self.ports[name]}"):
            assert child.is_alive(), child.failed("ended")
            assert clock.monotonic() < end, child.failed("was not ready in time")
            await asyncio.sleep(0.05)

    def door(self, partition: int = 0) -> Any:
        """A stub of the engine process of a partition."""
        address = f"127.0.0.1:{self.ports[f'engine-{partition}']}"
        channel = grpc.aio.insecure_channel(address)
        self.channels.append(channel)
        return rpc.SegmentsServiceStub(channel)

    async def stop(self) -> None:
        for channel in self.channels:
            await channel.close()
        for child in self.children.values():
            child.kill9()


class ProfilesLog:
    """Identity's place: the one writer of PROFILES. Copies CONTROL; time is what the test says."""

    def __init__(self, client: Client, partitions: int) -> None:
        self.client = client
        self.partitions = partitions
        self.time_us = START_US
        self.step = 0
        self.control = 0
        self.heads = [Head() for _ in range(partitions)]
        self._writing = asyncio.Lock()

    @property
    def token(self) -> str:
        """The position after everything said so far."""
        return Origin(self.step, self.control).token()

    async def say(
        self, entries: dict[int, Sequence[identity.ProfileEntry]], time_us: int | None = None
    ) -> str:
        """One step: entries by partition (others get a tick); returns its token."""
        async with self._writing:
            self.time_us = max(self.time_us, time_us or 0)
            self.step += 1
            for partition, head in enumerate(self.heads):
                said = entries.get(partition, ())
                body = identity.ProfileStep(entries=said).SerializeToString()
                checkpoint = Checkpoint(
                    step=self.step,
                    cuts=((self.step,),),
                    numbers={},
                    time_us=self.time_us,
                    touched=tuple(range(self.partitions)),
                    part=1,
                    parts=1,
                    number=head.number + 1,
                    previous=head.sequence,
                    chain="",
                    version=1,
                    origin=Origin(self.step, self.control),
                )
                subject = subjects.profiles(TENANT, partition)
                headers = {HEADER: checkpoint.encode()}
                sequence = await publish_fenced(
                    self.client, subject, body, headers, head.sequence, 5
                )
                self.heads[partition] = Head(sequence, head.number + 1, "")
            return self.token

    async def tick(self, seconds: float) -> str:
        """Log time goes on and nothing else happens."""
        return await self.say({}, self.time_us + round(seconds * SECOND))

    async def copy_control(self) -> None:
        """For ever: what is written to CONTROL goes into every partition, in order."""
        pull = Pull(self.client, subjects.CONTROL, [subjects.control_of(TENANT)])
        while True:
            for pulled in await pull.take(1 << 20, 1.0):
                self.control = pulled.sequence
                record = identity.ControlRecord(
                    control_sequence=pulled.sequence,
                    subject=pulled.subject,
                    body=pulled.body,
                    take_time=timestamp(self.time_us),
                )
                entry = identity.ProfileEntry(control=record)
                await self.say({p: [entry] for p in range(self.partitions)})

    def people(self, numbers: Sequence[int]) -> dict[int, list[identity.ProfileEntry]]:
        """New profiles with an e-mail each (p<number>@example.com), by partition."""
        found: dict[int, list[identity.ProfileEntry]] = {}
        for partition in range(self.partitions):
            ours = np.array([n for n in numbers if n % self.partitions == partition], np.uint32)
            if not len(ours):
                continue
            texts = [f"p{number}@example.com" for number in ours]
            kind, kind_end = pool_of(["email"] * len(texts))
            text, text_end = pool_of(texts)
            words = [word for one in texts for word in prints.print_of("email", one, KEY)]
            created = _CREATED.encode(
                {
                    "profile": ours,
                    "public_id": [public_id(int(number)) for number in ours],
                    "atom": ours,
                    "create_time_us": [self.time_us] * len(ours),
                }
            )
            linked = _LINKED.encode(
                {
                    "atom": ours,
                    "profile": ours,
                    "id_print": np.array(words, np.uint64),
                    "kind": kind,
                    "kind_end": kind_end,
                    "text": text,
                    "text_end": text_end,
                    "link_time_us": [self.time_us] * len(ours),
                }
            )
            found[partition] = [
                identity.ProfileEntry(created=identity.ProfilesCreated.FromString(created)),
                identity.ProfileEntry(linked=identity.IdentifiersLinked.FromString(linked)),
            ]
        return found

    def events(
        self, rows: Sequence[tuple[int, str, int]], at_us: int
    ) -> dict[int, list[identity.ProfileEntry]]:
        """Events (profile, type, whole number `amount`) accepted and occurred at `at_us`."""
        found: dict[int, list[identity.ProfileEntry]] = {}
        for partition in range(self.partitions):
            ours = [row for row in rows if row[0] % self.partitions == partition]
            if ours:
                body = event_columns(ours, at_us)
                columns = columns_pb2.EventColumns.FromString(body)
                found[partition] = [identity.ProfileEntry(events=columns)]
        return found


def public_id(number: int) -> int:
    """The public id these tests give a profile: not in order of the numbers."""
    return (number + 1) * 0x9E3779B97F4A7C15 % (1 << 64)


def event_columns(rows: Sequence[tuple[int, str, int]], at_us: int) -> bytes:
    """EventColumns of (profile, type, amount) rows; event ids name profile and time."""
    ids = [f"{profile}-{kind}-{at_us}" for profile, kind, _ in rows]
    words = [word for one in ids for word in prints.event_print(one, KEY)]
    kinds = list(dict.fromkeys(kind for _, kind, _ in rows))
    name, name_end = pool_of([*kinds, "amount"])
    event_id, event_id_end = pool_of(ids)
    count = len(rows)
    return _EVENTS.encode(
        {
            "rows": count,
            "name": name,
            "name_end": name_end,
            "event_print": np.array(words, np.uint64),
            "type": [kinds.index(kind) for _, kind, _ in rows],
            "occur_time_us": [at_us] * count,
            "send_time_us": [at_us] * count,
            "accept_time_us": [at_us] * count,
            "id_end": [0] * count,
            "prop_end": np.arange(1, count + 1),
            "prop_key": [len(kinds)] * count,
            "prop_kind": np.full(count, 2, np.uint8),
            "prop_value": [amount for _, _, amount in rows],
            "prop_exponent": np.zeros(count, np.uint8),
            "event_id": event_id,
            "event_id_end": event_id_end,
            "row_flags": np.zeros(count, np.uint8),
            "profile": [profile for profile, _, _ in rows],
            "atom": [profile for profile, _, _ in rows],
        }
    )


def bought(count: int = 1, within_s: int = 20, kind: str = "bought") -> pb.Condition:
    """At least `count` events of a type within the last seconds."""
    leaf = pb.EventLeaf()
    leaf.events.types.append(kind)
    leaf.window.last.FromSeconds(within_s)
    leaf.aggregate.kind = pb.AGGREGATE_KIND_COUNT
    leaf.comparison.op = pb.OPERATOR_GTE
    leaf.comparison.values.append(common_pb2.Value(whole=count))
    return pb.Condition(event=leaf)


def wish(segment_id: str, condition: pb.Condition | None = None, **more: Any) -> Any:
    """A DefineSegmentRequest."""
    return api.DefineSegmentRequest(
        tenant=TENANT, segment_id=segment_id, condition=condition or bought(), **more
    )


def by_email(number: int) -> common_pb2.ProfileRef:
    identifier = Identifier(kind="email", value=f" P{number}@Example.com ")
    return common_pb2.ProfileRef(identifier=identifier)


class Stack:
    """A server, identity's stand-in, and engines of all partitions."""

    def __init__(self, client: Client, processes: Processes, log: ProfilesLog) -> None:
        self.client = client
        self.processes = processes
        self.log = log
        self.door = processes.door()

    async def events(self, rows: list[tuple[int, str, int]], seconds: float = 1) -> str:
        """Events after so much log time; returns the position after them."""
        at_us = self.log.time_us + round(seconds * SECOND)
        return await self.log.say(self.log.events(rows, at_us), at_us)


async def stack_of(folder: Path, partitions: int) -> AsyncIterator[Stack]:
    server = EmbeddedNats(folder / "nats").start()
    client = await nats.connect(server.url, allow_reconnect=False)
    await topology.apply(client, LOG_BYTES)
    processes = Processes(folder, server.url, partitions)
    log = ProfilesLog(client, partitions)
    names = [processes.start("engine", partition) for partition in range(partitions)]
    copying = asyncio.create_task(log.copy_control())
    try:
        await asyncio.gather(*(processes.ready(name) for name in names))
        yield Stack(client, processes, log)
    finally:
        copying.cancel()
        await processes.stop()
        await client.close()
        server.stop()


def details_of(error: grpc.aio.AioRpcError) -> list[tuple[str, str]]:
    """Field violations of an INVALID_ARGUMENT."""
    found = error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(error).details:  # type: ignore[union-attr]
        if detail.Unpack(found):
            return [(one.field, one.description) for one in found.field_violations]
    return []


async def refused(call: Any, code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert error.value.code() is code, error.value.details()
    return error.value


async def read(watch: Any, count: int) -> tuple[list[api.Transition], str]:
    """So many transitions of a watch and the last resume token."""
    found: list[api.Transition] = []
    token = ""
    async with asyncio.timeout(10):
        while len(found) < count:
            response = await watch.read()
            found += response.transitions
            token = response.resume_token
    return found, token

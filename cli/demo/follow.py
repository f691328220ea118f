"""Follows what the services say: transitions over gRPC, facts on the log; through kills and all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from muster.alerts.v1.facts_pb2 import AlertNotice
from muster.frequency.v1.facts_pb2 import MessageDecided
from muster.identity.v1.service_pb2 import GetProfileRequest
from muster.segments.v1.service_pb2 import WatchTransitionsRequest
from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.common_pb2 import ProfileRef
from services.chassis import subjects
from services.chassis.columns import ColumnCodec, pool_texts
from services.chassis.errors import Stop
from services.chassis.pull import Pull, Pulled

if TYPE_CHECKING:
    from nats.aio.client import Client

    from cli.demo.calls import Calls

TAKE_BYTES = 1 << 20
WAIT_S = 0.5
RETRY_S = 0.2
LOOKUPS_AT_ONCE = 4
NAMES_KEPT = 20_000

_EVENTS = ColumnCodec(EventColumns)


async def follow_transitions(calls: Calls, token: str, heard: Callable[[Any], None]) -> None:
    """Every transition after a resume token, once; comes back by itself after a kill."""
    import grpc

    while True:
        request = WatchTransitionsRequest(tenant=calls.tenant, resume_token=token)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for answer in calls.segments.WatchTransitions(request):
                for change in answer.transitions:
                    heard(change)
                token = answer.resume_token or token
        await asyncio.sleep(RETRY_S)


async def first_token(calls: Calls) -> str:
    """Where a watch that begins now begins."""
    request = WatchTransitionsRequest(tenant=calls.tenant)
    async for answer in calls.segments.WatchTransitions(request, timeout=30):
        return str(answer.resume_token)
    return ""


async def last_sequence(client: Client, stream: str) -> int:
    return int((await client.jetstream().stream_info(stream)).state.last_seq)


async def follow_stream(
    client: Client, stream: str, subject: str, after: int, heard: Callable[[Pulled], None]
) -> None:
    """Every message of a subject after a sequence, in order; waits where the broker is away."""
    import nats.errors

    while True:
        pull = Pull(client, stream, [subject], after)
        with contextlib.suppress(Stop, nats.errors.Error):
            while True:
                for pulled in await pull.take(TAKE_BYTES, WAIT_S):
                    heard(pulled)
                    after = pulled.sequence
        await asyncio.sleep(RETRY_S)


async def follow_counted(
    client: Client, tenant: str, after: int, heard: Callable[[str], None]
) -> None:
    """The id of every row of EVENTS."""

    def on_message(pulled: Pulled) -> None:
        if pulled.body:
            columns = _EVENTS.decode(pulled.body)
            for event_id in pool_texts(columns["event_id"], columns["event_id_end"]):
                heard(event_id)

    await follow_stream(client, subjects.EVENTS, subjects.events(tenant), after, on_message)


async def follow_messages(
    client: Client, tenant: str, after: int, heard: Callable[[MessageDecided], None]
) -> None:
    """Every decision about a message that a trigger asked for."""

    def on_message(pulled: Pulled) -> None:
        heard(MessageDecided.FromString(pulled.body))

    subject = subjects.messages(tenant, "x").removesuffix("x") + "*"
    await follow_stream(client, subjects.MESSAGES, subject, after, on_message)


async def follow_alerts(
    client: Client, tenant: str, after: int, heard: Callable[[AlertNotice], None]
) -> None:
    """Every alert raised or resolved."""

    def on_message(pulled: Pulled) -> None:
        heard(AlertNotice.FromString(pulled.body))

    subject = subjects.alerts(tenant, "x").removesuffix("x") + "*"
    await follow_stream(client, subjects.ALERTS, subject, after, on_message)


class NameBook:
    """Names of profiles, looked up through their identifiers and kept."""

    def __init__(self, calls: Calls, name_of: Callable[[str], str]) -> None:
        self._calls = calls
        self._name_of = name_of
        self._known: dict[str, str] = {}
        self._lookups = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def name(self, profile_id: str) -> str:
        """A name; the profile's own id while identity does not answer."""
        import grpc

        if profile_id in self._known:
            return self._known[profile_id]
        request = GetProfileRequest(
            tenant=self._calls.tenant, profile=ProfileRef(profile_id=profile_id)
        )
        async with self._lookups:
            try:
                profile = await self._calls.identity.GetProfile(request, timeout=2)
            except grpc.aio.AioRpcError:
                return profile_id
        users = [i.value for i in profile.identifiers if i.kind == "user_id"]
        others = [i.value for i in profile.identifiers]
        name = self._name_of(users[0]) if users else (others[0] if others else profile_id)
        if users and len(self._known) < NAMES_KEPT:
            self._known[profile_id] = name
        return name

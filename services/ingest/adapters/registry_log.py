"""The doors' registry, followed from CONTROL, and the one way to add to it.

Every door follows the subject and may write to it; a write names the last record its writer had
read, so of two doors one is first and the other reads again. Definitions of segments are followed
too: they say which rules a change of schema would break.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client

from muster.ingest.v1.registry_pb2 import RegistryChanged
from muster.segments.v1.facts_pb2 import SegmentDefined
from services.chassis import subjects
from services.chassis.commits import publish_fenced
from services.chassis.errors import Conflict, ExitCode, NotReady, Stop
from services.chassis.pull import Pull
from services.ingest.adapters.lineage import uses_of
from services.ingest.adapters.registry_wire import change_in
from services.ingest.domain.registry import Registry, Use, evolve
from services.ingest.settings import IngestSettings

READ_BYTES = 1 << 20
READ_WAIT_S = 5.0
WRITE_TIMEOUT_S = 3.0
ATTEMPTS_MAX = 20
REQUESTS_REMEMBERED_MAX = 1_000

Decide = Callable[[], RegistryChanged]


class RegistryLog:
    """The registry of one tenant as this door knows it."""

    def __init__(self, settings: IngestSettings, registry: Registry) -> None:
        self.registry = registry
        self._registry_subject = subjects.control(settings.tenant, "registry")
        self._segment_subject = subjects.control(settings.tenant, "segment")
        self._uses: dict[str, list[Use]] = {}
        self._by_request: OrderedDict[str, tuple[RegistryChanged, int]] = OrderedDict()
        self._writing = asyncio.Lock()
        self._grown = asyncio.Condition()
        self._client: Client | None = None
        self._pull: Pull | None = None
        self._sequence = 0
        """Of the last record of the registry that was read."""

    @property
    def caught_up(self) -> bool:
        return self._pull is not None and self._pull.caught_up

    def uses(self) -> list[Use]:
        """Every look of a live rule at events."""
        return [use for uses in self._uses.values() for use in uses]

    async def open(self, client: Client) -> None:
        self._client = client
        followed = [self._registry_subject, self._segment_subject]
        self._pull = Pull(client, subjects.CONTROL, followed)
        await self._pull.open()

    async def follow(self) -> None:
        """Reads CONTROL until cancelled; Stop when it cannot."""
        assert self._pull is not None
        while True:
            for pulled in await self._pull.take(READ_BYTES, READ_WAIT_S):
                if pulled.subject == self._registry_subject:
                    self._learn(pulled.sequence, pulled.body)
                else:
                    self._note_segment(pulled.body)
            async with self._grown:
                self._grown.notify_all()

    async def write(self, request_id: str, decide: Decide) -> tuple[RegistryChanged, int]:
        """Adds what `decide` says, as the registry stood when it looked: record and sequence.

        decide: reads the registry, raises a refusal, or returns the record; asked again whenever
        another door was first. A repeated request id is answered with what it brought about.
        NotReady when it is not known whether the record was stored.
        """
        async with self._writing:
            for _ in range(ATTEMPTS_MAX):
                await self._refresh()
                if request_id and request_id in self._by_request:
                    return self._by_request[request_id]
                wanted = decide()
                sequence = await self._try(wanted)
                if sequence:
                    return wanted, sequence
        raise Conflict("other doors were first each time; repeat with the same request_id")

    async def _refresh(self) -> None:
        assert self._client is not None
        try:
            message = await self._client.jetstream(timeout=WRITE_TIMEOUT_S).get_last_msg(
                subjects.CONTROL, self._registry_subject
            )
        except nats.js.errors.NotFoundError:
            return
        except nats.errors.Error as error:
            raise NotReady(f"CONTROL cannot be read ({type(error).__name__}); ask again") from error
        await self._read_up_to(message.seq or 0)

    async def _read_up_to(self, sequence: int) -> None:
        try:
            async with asyncio.timeout(READ_WAIT_S), self._grown:
                await self._grown.wait_for(lambda: self._sequence >= sequence)
        except TimeoutError:
            raise NotReady(f"CONTROL was not read up to {sequence} in time; ask again") from None

    async def _try(self, wanted: RegistryChanged) -> int:
        """The sequence of the record; 0 when another door was first."""
        assert self._client is not None
        body = wanted.SerializeToString(deterministic=True)
        try:
            sequence = await publish_fenced(
                self._client, self._registry_subject, body, {}, self._sequence, WRITE_TIMEOUT_S
            )
        except Stop as stop:
            if stop.code is ExitCode.FENCED:
                return 0
            raise NotReady(
                f"it is not known whether this was stored ({stop}); repeat with the same request_id"
            ) from stop
        await self._read_up_to(sequence)
        return sequence

    def _learn(self, sequence: int, body: bytes) -> None:
        self._sequence = sequence
        try:
            record = RegistryChanged.FromString(body)
        except DecodeError:
            return
        change = change_in(record)
        if change is not None:
            evolve(self.registry, change)
        if record.request_id:
            self._by_request[record.request_id] = record, sequence
            while len(self._by_request) > REQUESTS_REMEMBERED_MAX:
                self._by_request.popitem(last=False)

    def _note_segment(self, body: bytes) -> None:
        try:
            definition = SegmentDefined.FromString(body)
        except DecodeError:
            return
        self._uses[definition.segment_id] = uses_of(definition)

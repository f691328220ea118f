"""The door's knowledge of rules, followed from CONTROL, and the one way to add to it.

Every process follows the subject and may write to it; a write names the last record its writer had
read, so of two doors one is first and the other reads again. Version and segment number are thus
dense without a lock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from services.chassis import subjects
from services.chassis.checkpoint import Origin
from services.chassis.commits import publish_fenced
from services.chassis.errors import Conflict, ExitCode, NotReady, Stop
from services.chassis.pull import Pull
from services.segments.settings import SegmentsSettings

READ_BYTES = 1 << 20
READ_WAIT_S = 5.0
WRITE_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition and its sequence on CONTROL."""

    definition: segments.SegmentDefined
    sequence: int

    @property
    def token(self) -> str:
        """The position from which every engine lives by it."""
        return Origin(control=self.sequence).token()


class Definitions:
    """The latest version of every segment, in the order of CONTROL.

    Broken records are passed over: the engine's worker parks them.
    """

    def __init__(self, client: Client, settings: SegmentsSettings) -> None:
        self._client = client
        self._subject = subjects.control(settings.tenant, "segment")
        self._requests_max = settings.requests_remembered_max
        self._attempts_max = settings.define_attempts_max
        self._writing = asyncio.Lock()
        self._grown = asyncio.Condition()
        self.pull = Pull(client, subjects.CONTROL, [self._subject])
        self.sequence = 0
        self.by_id: dict[str, Defined] = {}
        self.id_of: dict[int, str] = {}
        self._by_request: OrderedDict[str, Defined] = OrderedDict()

    # -- following ----------------------------------------------------------------------------

    @property
    def caught_up(self) -> bool:
        """Nothing more was waiting when we last heard."""
        return self.pull.caught_up

    async def follow(self) -> None:
        """Reads CONTROL for ever; Stop when it cannot."""
        while True:
            for pulled in await self.pull.take(READ_BYTES, READ_WAIT_S):
                self.learn(pulled.sequence, pulled.body)
            async with self._grown:
                self._grown.notify_all()

    async def refresh(self) -> None:
        """Returns once everything written so far has been read; NotReady when that takes long."""
        try:
            message = await self._client.jetstream(timeout=WRITE_TIMEOUT_S).get_last_msg(
                subjects.CONTROL, self._subject
            )
        except nats.js.errors.NotFoundError:
            return
        except nats.errors.Error as error:
            raise NotReady(f"CONTROL cannot be read ({type(error).__name__}); ask again") from error
        await self._read_up_to(message.seq or 0)

    async def _read_up_to(self, sequence: int) -> None:
        try:
            async with asyncio.timeout(READ_WAIT_S), self._grown:
                await self._grown.wait_for(lambda: self.sequence >= sequence)
        except TimeoutError:
            raise NotReady(f"CONTROL was not read up to {sequence} in time; ask again") from None

    def learn(self, sequence: int, body: bytes) -> None:
        """Takes the next record of the subject."""
        self.sequence = sequence
        try:
            definition = segments.SegmentDefined.FromString(body)
        except DecodeError:
            return
        defined = Defined(definition, sequence)
        self.by_id[definition.segment_id] = defined
        self.id_of[definition.segment_number] = definition.segment_id
        if definition.request_id:
            self._by_request[definition.request_id] = defined
            while len(self._by_request) > self._requests_max:
                self._by_request.popitem(last=False)

    # -- writing ------------------------------------------------------------------------------

    def requested(self, request_id: str) -> Defined | None:
        """What a request id has brought about, if it is remembered."""
        return self._by_request.get(request_id) if request_id else None

    def present(self) -> dict[str, segments.SegmentDefined]:
        """The latest definition of every segment."""
        return {name: one.definition for name, one in self.by_id.items()}

    async def write(
        self, decide: Callable[[], Awaitable[segments.SegmentDefined | Defined]]
    ) -> Defined:
        """Adds what `decide` says to CONTROL, as it stood when `decide` looked.

        decide: reads `by_id` and `requested`, raises a refusal, returns a Defined that stands
        already, or a definition to write (number and version filled in); asked again whenever
        another door was first. NotReady when it is not known whether the record was stored.
        """
        async with self._writing:
            for _ in range(self._attempts_max):
                await self.refresh()
                after = self.sequence
                wanted = await decide()
                if isinstance(wanted, Defined):
                    return wanted
                if self.sequence != after:
                    continue
                written = await self._try(wanted, after)
                if written is not None:
                    return written
        raise Conflict("other doors were first each time; repeat with the same request_id")

    async def _try(self, wanted: segments.SegmentDefined, after: int) -> Defined | None:
        """The record as written, or None when another door was first."""
        body = wanted.SerializeToString(deterministic=True)
        try:
            sequence = await publish_fenced(
                self._client, self._subject, body, {}, after, WRITE_TIMEOUT_S
            )
        except Stop as stop:
            if stop.code is ExitCode.FENCED:
                return None
            raise NotReady(
                f"it is not known whether the definition was stored ({stop}); "
                "repeat with the same request_id",
            ) from stop
        await self._read_up_to(sequence)
        return Defined(wanted, sequence)

    def next_number(self) -> int:
        """The dense number of a new segment; numbers begin at 1."""
        return max(self.id_of, default=0) + 1

"""One subject of CONTROL as a door knows it: followed from its beginning, and the one way to add.

Every process follows the subject and may write to it; a write names the last record its writer had
read, so of two doors one is first and the other reads again. What doors decide is thus in one
order without a lock.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client

from services.chassis import subjects
from services.chassis.checkpoint import Origin
from services.chassis.commits import publish_fenced
from services.chassis.errors import Conflict, ExitCode, NotReady, Stop
from services.chassis.pull import Pull

READ_BYTES = 1 << 20
READ_WAIT_S = 5.0
WRITE_TIMEOUT_S = 3.0


class Standing(Protocol):
    """A record that is on the log."""

    @property
    def sequence(self) -> int:
        """Its place on CONTROL."""


R = TypeVar("R", bound=Message)
S = TypeVar("S", bound=Standing)


class ControlLog(ABC, Generic[R, S]):
    """Records of one subject, in order. Broken ones are passed over: the worker parks them.

    record: their type. standing: what a door keeps of one, made from (record, sequence).
    """

    def __init__(
        self,
        client: Client,
        subject: str,
        record: type[R],
        standing: Callable[[R, int], S],
        attempts_max: int,
    ) -> None:
        self._client = client
        self._subject = subject
        self._record = record
        self._standing = standing
        self._attempts_max = attempts_max
        self._writing = asyncio.Lock()
        self._grown = asyncio.Condition()
        self.pull = Pull(client, subjects.CONTROL, [subject])
        self.sequence = 0

    @property
    def token(self) -> str:
        """The position from which every engine lives by what has been read."""
        return Origin(control=self.sequence).token()

    @property
    def caught_up(self) -> bool:
        """Nothing more was waiting when we last heard."""
        return self.pull.caught_up

    # -- following ----------------------------------------------------------------------------

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
            record = self._record.FromString(body)
        except DecodeError:
            return
        self.take(self._standing(record, sequence))

    @abstractmethod
    def take(self, standing: S) -> None:
        """Keeps a record; each log knows how."""

    # -- writing ------------------------------------------------------------------------------

    async def write(self, decide: Callable[[], Awaitable[R | S]]) -> S:
        """Adds what `decide` says to CONTROL, as it stood when `decide` looked.

        decide: reads what is known, raises a refusal, returns what stands already, or a record to
        write; asked again whenever another door was first. NotReady when it is not known whether
        the record was stored.
        """
        async with self._writing:
            for _ in range(self._attempts_max):
                await self.refresh()
                after = self.sequence
                wanted = await decide()
                if not isinstance(wanted, self._record):
                    return wanted  # type: ignore[return-value]
                if self.sequence != after:
                    continue
                written = await self._try(wanted, after)
                if written is not None:
                    return written
        raise Conflict("other doors were first each time; repeat with the same request_id")

    async def _try(self, wanted: R, after: int) -> S | None:
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
                f"it is not known whether this was stored ({stop}); repeat with the same request_id"
            ) from stop
        await self._read_up_to(sequence)
        return self._standing(wanted, sequence)

"""Reads a stream in order from a position, through an own short pull loop.

The consumer is ephemeral, in memory and without acks: progress lives in the reader. A gap in dense
numbers stops the reader; a consumer that has gone silent or astray is made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from services.chassis import clock
from services.chassis.checkpoint import HEADER, TRACE, Checkpoint
from services.chassis.errors import ExitCode, Stop

REQUEST_MESSAGES = 256
REQUEST_BYTES = 8 << 20
REQUEST_EXPIRES_S = 1.0
SILENCE_S = 3.0
INACTIVE_S = 15.0


@dataclass(frozen=True, slots=True)
class Pulled:
    """One message: stream sequence, broker's time in microseconds, checkpoint when fenced."""

    sequence: int
    time_us: int
    subject: str
    body: bytes
    checkpoint: Checkpoint | None
    pending: int
    """Messages of the stream still to come after it, as the broker saw it."""
    trace: str = ""
    """Its traceparent header."""


class Pull:
    """An ordered reader of some subjects of one stream.

    numbers: dense number reached per subject, when the subjects are fenced; None accepts the
    stream's own order. arrived: set when something has
    come; may be shared by several readers.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        subjects: Sequence[str],
        after: int = 0,
        numbers: dict[str, int] | None = None,
        *,
        headers_only: bool = False,
        arrived: asyncio.Event | None = None,
    ) -> None:
        self.client = client
        self.stream = stream
        self.subjects = list(subjects)
        self.sequence = after
        self.numbers = dict(numbers) if numbers is not None else None
        self.caught_up = False
        self.arrived = arrived or asyncio.Event()
        self._headers_only = headers_only
        self._queue: deque[Msg] = deque()
        self._outstanding = 0
        self._delivered = 0
        self._heard = 0.0
        self._name = ""
        self._inbox = ""
        self._life = 0
        self._astray = False
        self._ended_empty = False
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Makes the consumer after the present position.

        Stop(UNKNOWN) when the broker does not answer, Stop(LOST) when the stream no longer holds
        what follows the position.
        """
        await self.close()
        config = ConsumerConfig(
            filter_subjects=self.subjects,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.sequence + 1,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=INACTIVE_S,
            headers_only=self._headers_only or None,
        )
        try:
            jetstream = self.client.jetstream(timeout=5)
            made = await jetstream.add_consumer(self.stream, config)
            state = (await jetstream.stream_info(self.stream)).state
        except (nats.errors.Error, nats.js.errors.Error) as error:
            raise Stop(ExitCode.UNKNOWN, f"no consumer on {self.stream}: {error}") from error
        if self.numbers is None and 0 < self.sequence < state.first_seq - 1:
            raise Stop(
                ExitCode.LOST,
                f"{self.stream} begins at {state.first_seq}, but we stand at {self.sequence}: "
                "what lies between has expired. Restore the stream or start from an archive.",
            )
        self._name = made.name
        self._inbox = self.client.new_inbox()
        self._heard = clock.monotonic()
        self._queue.clear()
        self._outstanding = self._delivered = 0
        self._astray = False
        self.caught_up = made.num_pending == 0

        self._life += 1
        life = self._life

        async def on_message(message: Msg) -> None:
            if life != self._life:
                return
            self._heard = clock.monotonic()
            if message.headers and "Status" in message.headers:
                # 404, 408 and 409 all end the request; whoever waits asks again at once.
                self._outstanding = 0
                self._ended_empty = not self._queue
            else:
                self._outstanding -= 1
                self._queue.append(message)
            self.arrived.set()

        try:
            self._subscription = await self.client.subscribe(self._inbox, cb=on_message)
        except nats.errors.Error as error:
            raise Stop(ExitCode.DISCONNECTED, f"{self.stream}: {error}") from error

    async def close(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
            self._subscription = None
            with contextlib.suppress(nats.errors.Error):
                await self.client.publish(
                    f"$JS.API.CONSUMER.DELETE.{self.stream}.{self._name}", b""
                )

    async def take(self, bytes_max: int, wait_s: float) -> list[Pulled]:
        """What has arrived, at most `bytes_max` (at least one message); [] after `wait_s`."""
        end = clock.monotonic() + wait_s
        while True:
            self.arrived.clear()
            await self.tend()
            if taken := self.drain(bytes_max):
                return taken
            left = end - clock.monotonic()
            if left <= 0:
                return []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, REQUEST_EXPIRES_S)):
                    await self.arrived.wait()

    async def tend(self) -> None:
        """Keeps a request open, and the consumer alive: made anew after silence."""
        silent = clock.monotonic() - self._heard > SILENCE_S
        if self._subscription is None or silent or self._astray:
            await self.open()
        if self._outstanding <= 0:
            if self._ended_empty:
                self._ended_empty = False
                self.caught_up = True
            await self._request()

    def drain(self, bytes_max: int) -> list[Pulled]:
        """What has arrived by now, at most `bytes_max` (at least one message if there is one)."""
        taken: list[Pulled] = []
        size = 0
        while self._queue:
            if taken and size + len(self._queue[0].data) > bytes_max:
                break
            pulled = self._accept(self._queue.popleft())
            if pulled is not None:
                taken.append(pulled)
                size += len(pulled.body)
        return taken

    async def _request(self) -> None:
        expires_ns = int(REQUEST_EXPIRES_S * 1e9)
        body = {"batch": REQUEST_MESSAGES, "max_bytes": REQUEST_BYTES, "expires": expires_ns}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self._name}"
        try:
            await self.client.publish(subject, json.dumps(body).encode(), reply=self._inbox)
        except nats.errors.Error as error:
            raise Stop(ExitCode.DISCONNECTED, f"{self.stream}: {error}") from error
        self._outstanding = REQUEST_MESSAGES

    def _accept(self, message: Msg) -> Pulled | None:
        headers = message.headers
        if not message.reply.startswith("$JS.ACK."):
            return None
        place = message.reply.split(".")
        # $JS.ACK.stream.consumer.count.sequence.delivered.time.pending, with two more in front
        # and one behind when the server names a domain and an account.
        at = 5 if len(place) == 9 else 7
        sequence, delivered = int(place[at]), int(place[at + 1])
        time_us, pending = int(place[at + 2]) // 1_000, int(place[at + 3])
        if self._astray or delivered != self._delivered + 1 or sequence <= self.sequence:
            # A delivery was lost, or the consumer's server came back and began again: what is
            # missing still lies in the stream, and a new consumer brings it.
            self._astray = True
            self.arrived.set()
            return None
        checkpoint = None
        if headers and HEADER in headers:
            checkpoint = Checkpoint.decode(headers[HEADER])
        self._refuse_gap(message.subject, sequence, checkpoint)
        self._delivered = delivered
        self.sequence = sequence
        self.caught_up = pending == 0
        trace = headers.get(TRACE, "") if headers else ""
        return Pulled(sequence, time_us, message.subject, message.data, checkpoint, pending, trace)

    def _refuse_gap(self, subject: str, sequence: int, checkpoint: Checkpoint | None) -> None:
        if self.numbers is None:
            return
        if checkpoint is None:
            raise Stop(ExitCode.GAP, f"{subject} at {sequence}: a message without a checkpoint")
        expected = self.numbers.get(subject, 0) + 1
        if checkpoint.number != expected:
            raise Stop(
                ExitCode.GAP,
                f"{subject} at {sequence}: expected dense number {expected}, "
                f"got {checkpoint.number}; the stream has lost messages",
            )
        self.numbers[subject] = checkpoint.number

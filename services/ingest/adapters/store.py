"""Makes events durable: one message of INTAKE for what several calls bring within the linger.

A call returns after the PubAck. A refusal (the log is full) stored nothing; silence is unknown, and
the caller sends the same ids again: deduplication makes that safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from services.chassis import subjects
from services.chassis.errors import NotReady, Overloaded
from services.ingest.adapters.intake import batch_of
from services.ingest.domain.faults import BATCH_BYTES_MAX, EVENTS_MAX
from services.ingest.handlers import Stored
from services.ingest.settings import IngestSettings

FULL_CODES = frozenset({10023, 10047, 10077, 10167, 10211})
"""The broker's codes for no room: insufficient resources, bytes or messages at their maximum."""
FRAME_BYTES = 8
"""Around each event in a batch, at most."""
ENVELOPE_BYTES = 256
UNKNOWN_MAX = 3
"""Unanswered stores in a row after which the door says that it is not ready."""
FULL_RETRY_S = 2.0
UNKNOWN_RETRY_S = 0.5


@dataclass(slots=True)
class _Waiting:
    """Events of one publisher and import that will share a message."""

    raws: list[bytes] = field(default_factory=list)
    bytes: int = ENVELOPE_BYTES
    stored: asyncio.Future[int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    timer: asyncio.TimerHandle | None = None


class NatsIntakeStore:
    """The stream INTAKE. jetstream: gives the context of the running connection."""

    def __init__(self, settings: IngestSettings, jetstream: Callable[[], JetStreamContext]) -> None:
        self._settings = settings
        self._jetstream = jetstream
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._unknown = 0
        self._bytes_of: dict[str, int] = {}
        self.bytes_waiting = 0
        self.messages = 0
        self.events = 0

    def is_answering(self) -> bool:
        """False after several stores without an answer."""
        return self._unknown < UNKNOWN_MAX

    async def put(self, publisher: str, import_id: str, raws: Sequence[bytes]) -> Stored:
        """Stores events of at most one batch; returns after the PubAck."""
        size = sum(map(len, raws)) + FRAME_BYTES * len(raws)
        self._refuse_beyond_share(publisher, size)
        key = publisher, import_id
        waiting = self._waiting.get(key)
        if waiting is not None and (
            len(waiting.raws) + len(raws) > EVENTS_MAX or waiting.bytes + size > BATCH_BYTES_MAX
        ):
            self._send(key)
            waiting = None
        if waiting is None:
            waiting = self._waiting[key] = _Waiting()
            waiting.timer = asyncio.get_running_loop().call_later(
                self._settings.linger_ms / 1_000, self._send, key
            )
        first = len(waiting.raws)
        waiting.raws += raws
        waiting.bytes += size
        if len(waiting.raws) >= self._settings.linger_events_max:
            self._send(key)
        self.bytes_waiting += size
        self._bytes_of[publisher] = self._bytes_of.get(publisher, 0) + size
        try:
            # Shielded: one caller that goes away takes nothing from the others.
            return Stored(await asyncio.shield(waiting.stored), first)
        finally:
            self.bytes_waiting -= size
            self._bytes_of[publisher] -= size
            if not self._bytes_of[publisher]:
                del self._bytes_of[publisher]

    def _refuse_beyond_share(self, publisher: str, size: int) -> None:
        """Overloaded when all is full, or when half is and this publisher has more than its part:
        whoever floods the door is shed first, the others go on."""
        bytes_max = self._settings.waiting_bytes_max
        waiting = self.bytes_waiting + size
        if waiting <= bytes_max // 2:
            return
        own = self._bytes_of.get(publisher, 0)
        parts = len(self._bytes_of) + (publisher not in self._bytes_of)
        if waiting > bytes_max or (parts > 1 and own + size > bytes_max // parts // 2):
            raise Overloaded("too much waits for the log; nothing of this was stored", 1.0)

    async def drain(self) -> None:
        """Sends what waits and returns when everything was answered."""
        for key in list(self._waiting):
            self._send(key)
        if self._sending:
            await asyncio.wait(self._sending)

    def _send(self, key: tuple[str, str]) -> None:
        waiting = self._waiting.pop(key)
        if waiting.timer is not None:
            waiting.timer.cancel()
        task = asyncio.create_task(self._store(key, waiting))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _store(self, key: tuple[str, str], waiting: _Waiting) -> None:
        publisher, import_id = key
        subject = subjects.intake(self._settings.tenant, publisher)
        try:
            sequence = await self._published(subject, batch_of(waiting.raws, import_id))
        except NotReady as refusal:
            waiting.stored.set_exception(refusal)
            waiting.stored.exception()  # seen, even when every caller went away
        else:
            self.messages += 1
            self.events += len(waiting.raws)
            waiting.stored.set_result(sequence)

    async def _published(self, subject: str, body: bytes) -> int:
        timeout_s = self._settings.store_timeout_ms / 1_000
        try:
            answer = await self._jetstream().publish(subject, body, timeout=timeout_s)
        except nats.js.errors.APIError as error:
            if error.err_code in FULL_CODES:
                self._unknown = 0
                raise Overloaded("the log is full; nothing of this was stored", FULL_RETRY_S) from (
                    error
                )
            raise self._unclear(f"the log answered {error.err_code}: {error.description}") from (
                error
            )
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            raise self._unclear(f"the log did not answer ({type(error).__name__})") from error
        self._unknown = 0
        return answer.seq

    def _unclear(self, why: str) -> NotReady:
        self._unknown += 1
        return NotReady(
            f"{why}; it is unknown whether these events were stored: send the same ids again",
            UNKNOWN_RETRY_S,
        )

"""The client for asyncio: a buffer, batches out in the background, retries with the same ids."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from muster_client.buffer import Buffer, BufferFull, Held
from muster_client.events import Event
from muster_client.transport import (
    Closed,
    GrpcTransport,
    NatsTransport,
    Refused,
    Transport,
    Unavailable,
)
from muster_client.wire import event_bytes

OnRejected = Callable[[Event, str, str], None]
EVENT_BYTES_MAX = 32 << 10
RECENT_MAX = 10_000
"""Events remembered after they were acknowledged over NATS, to name those refused later."""


class AsyncClient:
    """Publishes events of one publisher.

    on_rejected(event, code, detail): of each event that will never be counted; it must not raise.
    full_timeout_s: how long `publish` waits for room. batches_at_once: batches out together.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        on_rejected: OnRejected | None = None,
        linger_s: float = 0.02,
        full_timeout_s: float = 30.0,
        batches_at_once: int = 4,
        retry_s_min: float = 0.05,
        retry_s_max: float = 2.0,
        events_max: int = 10_000,
        bytes_max: int = 16 << 20,
        batch_events_max: int = 500,
        batch_bytes_max: int = 480 << 10,
    ) -> None:
        self._transport = transport
        self._on_rejected = on_rejected
        self._linger_s = linger_s
        self._full_timeout_s = full_timeout_s
        self._retry_s = retry_s_min, retry_s_max
        self._buffer = Buffer(events_max, bytes_max, batch_events_max, batch_bytes_max)
        self._grown = asyncio.Event()
        self._changed = asyncio.Condition()
        self._flushing = 0
        self._out = asyncio.Semaphore(batches_at_once)
        self._sending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._closed = False
        self._failed: Refused | None = None
        self._recent: OrderedDict[str, Event] = OrderedDict()
        self._remembers = isinstance(transport, NatsTransport)
        if isinstance(transport, NatsTransport):
            transport.on_refused = self._refused_behind
        self.stored = 0
        """Events that were acknowledged."""
        self.rejected = 0
        self.retries = 0

    @classmethod
    def over_grpc(
        cls, address: str, *, tenant: str, publisher: str, key: str = "", **options: object
    ) -> Self:
        """Through the doors of ingest, host:port."""
        return cls(GrpcTransport(address, tenant, publisher, key), **options)  # type: ignore[arg-type]

    @classmethod
    def over_nats(cls, url: str, *, tenant: str, publisher: str, **options: object) -> Self:
        """Straight onto the log."""
        return cls(NatsTransport(url, tenant, publisher), **options)  # type: ignore[arg-type]

    async def publish(self, event: Event) -> None:
        """Takes an event into the buffer; waits while it is full. BufferFull, Closed, Refused (the
        doors will take nothing of this publisher), ValueError for what is no event."""
        raw = event_bytes(event)
        if len(raw) > EVENT_BYTES_MAX:
            raise ValueError(f"the event has {len(raw)} bytes; at most {EVENT_BYTES_MAX} are taken")
        self._begin()
        if not self._buffer.has_room(len(raw)):
            await self._wait_for(lambda: self._buffer.has_room(len(raw)), self._full_timeout_s)
        self._buffer.add(Held(event, raw))
        if self._remembers:
            self._recent[event.event_id] = event
            while len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)
        self._grown.set()

    async def flush(self, timeout_s: float | None = None) -> None:
        """Returns once everything taken so far is acknowledged or refused; TimeoutError."""
        if self._closed:
            return
        self._begin()
        self._flushing += 1
        self._grown.set()
        try:
            await asyncio.wait_for(self._wait_for(lambda: not self._buffer.events, None), timeout_s)
        finally:
            self._flushing -= 1

    async def close(self, timeout_s: float | None = None) -> None:
        """Flushes, then lets go of the connection. TimeoutError when events are left."""
        try:
            if self._loop is not None:
                await self.flush(timeout_s)
        finally:
            self._closed = True
            tasks = [*self._sending, *([self._loop] if self._loop else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def unacknowledged(self) -> int:
        """Events in the buffer or on their way."""
        return self._buffer.events

    # -- in the background -----------------------------------------------------------------------

    def _begin(self) -> None:
        if self._closed:
            raise Closed("the client was closed")
        if self._failed is not None:
            raise self._failed
        if self._loop is None:
            self._loop = asyncio.create_task(self._run())

    async def _wait_for(self, holds: Callable[[], bool], timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: holds() or self._failed is not None)
        except TimeoutError:
            raise BufferFull(
                f"{self._buffer.events} events wait for the way in, as many as are held"
            ) from None
        if self._failed is not None:
            raise self._failed

    async def _run(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            if not self._buffer.has_full_batch and not self._flushing:
                await asyncio.sleep(self._linger_s)
            while self._buffer.waiting:
                await self._out.acquire()
                task = asyncio.create_task(self._deliver(self._buffer.cut()))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _deliver(self, batch: list[Held]) -> None:
        """Sends a batch until it is acknowledged; the same bytes each time."""
        raws = [held.raw for held in batch]
        wait_s, longest_s = self._retry_s
        try:
            while True:
                try:
                    refused = await self._transport.send(raws)
                    break
                except Unavailable as error:
                    self.retries += 1
                    pause_s = max(error.retry_s, wait_s * random.uniform(0.5, 1.0))
                    await asyncio.sleep(pause_s)
                    wait_s = min(longest_s, wait_s * 2)
            for item in refused:
                self._tell(batch[item.index].event, item.code, item.detail)
            self.stored += len(batch) - len(refused)
        except Refused as error:
            self._failed = error
            for held in batch:
                self._tell(held.event, "refused", str(error))
        finally:
            self._out.release()
            self._buffer.settle(batch)
            async with self._changed:
                self._changed.notify_all()

    def _refused_behind(self, event_id: str, code: str, detail: str) -> None:
        """A refusal after the acknowledgement, of an event that is still remembered."""
        event = self._recent.pop(event_id, None)
        if event is not None:
            self._tell(event, code, detail)

    def _tell(self, event: Event, code: str, detail: str) -> None:
        self.rejected += 1
        if self._on_rejected is not None:
            self._on_rejected(event, code, detail)

"""The client for everybody else: the asyncio client on a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from muster_client.asynchronous import AsyncClient
from muster_client.events import Event

EXIT_FLUSH_S = 10.0
"""How long the end of the interpreter waits for what is not yet acknowledged."""
Answer = TypeVar("Answer")


class Client:
    """Publishes events of one publisher; safe for threads. Options as AsyncClient has them."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="muster")
        self._thread.start()
        self._inner = self._call(_made(make))
        self._closed = False
        atexit.register(self._at_exit)

    @classmethod
    def over_grpc(
        cls, address: str, *, tenant: str, publisher: str, key: str = "", **options: Any
    ) -> Self:
        """Through the doors of ingest, host:port."""
        named = {"tenant": tenant, "publisher": publisher, "key": key}
        return cls(lambda: AsyncClient.over_grpc(address, **named, **options))

    @classmethod
    def over_nats(cls, url: str, *, tenant: str, publisher: str, **options: Any) -> Self:
        """Straight onto the log."""
        named = {"tenant": tenant, "publisher": publisher}
        return cls(lambda: AsyncClient.over_nats(url, **named, **options))

    def publish(self, event: Event) -> None:
        """As AsyncClient.publish; blocks while the buffer is full."""
        self._call(self._inner.publish(event))

    def flush(self, timeout_s: float | None = None) -> None:
        """Returns once everything taken so far is acknowledged or refused; TimeoutError."""
        self._call(self._inner.flush(timeout_s))

    def close(self, timeout_s: float | None = None) -> None:
        """Flushes, then ends the thread. TimeoutError when events are left."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        try:
            self._call(self._inner.close(timeout_s))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def stored(self) -> int:
        """Events that were acknowledged."""
        return self._inner.stored

    @property
    def rejected(self) -> int:
        """Events that will never be counted."""
        return self._inner.rejected

    @property
    def unacknowledged(self) -> int:
        """Events in the buffer or on their way."""
        return self._inner.unacknowledged

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _at_exit(self) -> None:
        self.close(EXIT_FLUSH_S)


async def _made(make: Callable[[], AsyncClient]) -> AsyncClient:
    """Made on its own loop: its locks belong to it."""
    return make()

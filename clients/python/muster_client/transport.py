"""The ways in: a batch of encoded events goes to a door (gRPC) or onto the log (NATS)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from muster_client.wire import REJECTED, Item, batch_bytes, exceptions_of, items_of, request_bytes

CALL_TIMEOUT_S = 10.0
OnRefused = Callable[[str, str, str], None]
"""Hears (event id, code, detail) of an event that was refused after it was acknowledged."""
_SUBMIT = "/muster.ingest.v1.IngestService/SubmitEvents"
_FULL = {10023, 10047, 10077, 10167, 10211}


class Unavailable(Exception):
    """Not now, or the outcome is unknown: the same events are sent again after retry_s."""

    def __init__(self, why: str, retry_s: float = 0.0) -> None:
        self.retry_s = retry_s
        super().__init__(why)


class Refused(Exception):
    """The batch will never be taken: a wrong key, tenant or publisher. Nothing of it was stored."""


class Closed(Exception):
    """The client was closed."""


class Transport(Protocol):
    """Sends batches; safe to call several times at once."""

    async def send(self, events: list[bytes]) -> list[Item]:
        """Returns once durable, with the items that were refused; Unavailable or Refused."""

    async def close(self) -> None: ...


class GrpcTransport:
    """Through the doors of ingest. key: the publisher's, where publishers are registered."""

    def __init__(self, address: str, tenant: str, publisher: str, key: str = "") -> None:
        self._address, self._tenant, self._publisher = address, tenant, publisher
        self._metadata = [("authorization", f"Bearer {key}")] if key else []
        self._channel: Any = None

    async def send(self, events: list[bytes]) -> list[Item]:
        import grpc

        if self._channel is None:
            options = [("grpc.max_reconnect_backoff_ms", 1_000)]
            self._channel = grpc.aio.insecure_channel(self._address, options=options)
        call = self._channel.unary_unary(_SUBMIT)
        request = request_bytes(self._tenant, self._publisher, events)
        try:
            answer = await call(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            code = grpc.StatusCode
            if error.code() in (
                code.INVALID_ARGUMENT,
                code.UNAUTHENTICATED,
                code.PERMISSION_DENIED,
                code.FAILED_PRECONDITION,
                code.UNIMPLEMENTED,
            ):
                raise Refused(f"{error.code().name}: {error.details()}") from error
            retry_s = 1.0 if error.code() is code.RESOURCE_EXHAUSTED else 0.0
            raise Unavailable(f"{error.code().name}: {error.details()}", retry_s) from error
        return [item for item in items_of(answer) if item.verdict == REJECTED]

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


class NatsTransport:
    """Straight onto the log; url may hold a token or user and password.

    What is refused behind the log is heard on the tenant's receipts, from connecting on.
    """

    def __init__(self, url: str, tenant: str, publisher: str) -> None:
        self._url = url
        self._subject = f"muster.intake.v1.{tenant}.{publisher}"
        self._receipts = f"muster.receipts.v1.{tenant}"
        self.on_refused: OnRefused | None = None
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def send(self, events: list[bytes]) -> list[Item]:
        import nats.errors
        import nats.js.errors

        client = await self._connected()
        try:
            await client.jetstream(timeout=CALL_TIMEOUT_S).publish(
                self._subject, batch_bytes(events)
            )
        except nats.js.errors.APIError as error:
            retry_s = 1.0 if error.err_code in _FULL else 0.0
            raise Unavailable(f"the log answered {error.err_code}", retry_s) from error
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            raise Unavailable(f"the log did not answer ({type(error).__name__})") from error
        return []

    async def _connected(self) -> Any:
        """The connection, made anew when it closed: a silent reconnect would hide an outage."""
        import nats
        import nats.errors

        async def quiet(_: Exception) -> None: ...

        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                await self.close()
                try:
                    self._client = await nats.connect(
                        self._url, allow_reconnect=False, connect_timeout=2, error_cb=quiet
                    )
                    await self._client.subscribe(self._receipts, cb=self._hear)
                except (nats.errors.Error, OSError, TimeoutError) as error:
                    raise Unavailable(f"no connection ({type(error).__name__})") from error
            return self._client

    async def _hear(self, message: Any) -> None:
        for one in exceptions_of(message.data):
            ours = one.subject == self._subject and one.verdict == REJECTED
            if ours and self.on_refused is not None:
                self.on_refused(one.event_id, one.code, one.detail)

    async def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                await self._client.close()
            self._client = None

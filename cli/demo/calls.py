"""The demo as a client of all five services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.running import SERVICES, address_of, stub_class

if TYPE_CHECKING:
    from cli.running import Running

OPTIONS = [
    # A killed service is back within seconds; the default would wait up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class Calls:
    """One asynchronous client per service: calls.segments.CountMembers(request, timeout=5) ..."""

    ingest: Any
    identity: Any
    segments: Any
    frequency: Any
    alerts: Any

    def __init__(self, running: Running) -> None:
        import grpc

        self.tenant = running.tenant
        self._channels = []
        for service in SERVICES:
            channel = grpc.aio.insecure_channel(address_of(running, service), options=OPTIONS)
            self._channels.append(channel)
            setattr(self, service, stub_class(service)(channel))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(0)

"""Publishes events to Muster: batched, retried with the same ids, counted once."""

from muster_client import events
from muster_client.asynchronous import AsyncClient
from muster_client.blocking import Client
from muster_client.buffer import BufferFull
from muster_client.events import Event
from muster_client.transport import Closed, Refused, Unavailable

__all__ = [
    "AsyncClient",
    "BufferFull",
    "Client",
    "Closed",
    "Event",
    "Refused",
    "Unavailable",
    "events",
]

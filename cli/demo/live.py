"""Publishes while the demo plays: the crowd through NATS, the cast through the gRPC door."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cli.demo.checks import Latencies, Ledger
from cli.problems import Problem
from muster.ingest.v1.facts_pb2 import VERDICT_REJECTED
from muster.ingest.v1.service_pb2 import SubmitEventsRequest
from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis import clock, prints, subjects

if TYPE_CHECKING:
    from nats.aio.client import Client

    from cli.demo.calls import Calls
    from cli.demo.data import Crowd
    from cli.running import Running

BEAT_S = 0.05
TRIES_MAX = 100
RETRY_S = 0.2
ACK_TIMEOUT_S = 2.0


class Publisher:
    """Sends events until the log has acknowledged them: the same ids again when in doubt.

    per_second: the crowd's rate. Every id goes into the ledger once it is acknowledged; a repeat
    that was counted twice would show there.
    """

    def __init__(
        self,
        running: Running,
        client: Client,
        calls: Calls,
        ledger: Ledger,
        latencies: Latencies,
    ) -> None:
        self._tenant = running.tenant
        self._client = client
        self._calls = calls
        self._ledger = ledger
        self._latencies = latencies
        self._key = prints.print_key(running.print_key)
        self.published = 0
        self.repeated = 0
        self.stopped = asyncio.Event()

    def _note(self, events: list[Event]) -> None:
        """Remembers when each is sent for the first time, under the print that transitions name."""
        now = clock.monotonic()
        for event in events:
            high, low = prints.event_print(event.event_id, self._key)
            self._latencies.on_sent(f"{high:016x}{low:016x}", now)

    def _acknowledge(self, events: list[Event]) -> None:
        now = clock.monotonic()
        self.published += len(events)
        for event in events:
            self._ledger.on_acknowledged(event.event_id, now)

    async def say(self, *events: Event) -> None:
        """Events of the cast, one call; returns once they are stored."""
        import grpc

        self._note(list(events))
        request = SubmitEventsRequest(tenant=self._tenant, publisher="cast", events=events)
        for _ in range(TRIES_MAX):
            try:
                answer = await self._calls.ingest.SubmitEvents(request, timeout=ACK_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                self.repeated += 1
                await asyncio.sleep(RETRY_S)
                continue
            refused = [i for i in answer.items if i.verdict == VERDICT_REJECTED]
            if refused:
                raise Problem(f"the door refused {refused[0].event_id}: {refused[0].detail}")
            self._acknowledge(list(events))
            return
        raise Problem("the door of ingest did not come back")

    async def play_crowd(self, crowd: Crowd, per_second: int, run: str) -> None:
        """The crowd at a steady rate until `stopped`; catches up after an outage."""
        began = clock.monotonic()
        due = 0.0
        while not self.stopped.is_set():
            due += BEAT_S
            wanted = round(per_second * BEAT_S)
            await self._publish(crowd.events(wanted, clock.wall_us(), run))
            await asyncio.sleep(max(0.0, began + due - clock.monotonic()))
            if clock.monotonic() - began - due > 1.0:
                # After an outage the rate goes on; the events of the gap were never made.
                due = clock.monotonic() - began

    async def _publish(self, events: list[Event]) -> None:
        import nats.errors

        self._note(events)
        body = EventBatch(events=events).SerializeToString()
        subject = subjects.intake(self._tenant, "crowd")
        while not self.stopped.is_set():
            try:
                await self._client.jetstream(timeout=ACK_TIMEOUT_S).publish(subject, body)
            except (nats.errors.Error, OSError, TimeoutError):
                self.repeated += len(events)
                await asyncio.sleep(RETRY_S)
                continue
            self._acknowledge(events)
            return

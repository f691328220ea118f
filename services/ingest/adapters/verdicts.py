"""Follows what the worker commits, to tell a waiting caller what became of its message.

EVENTS is read by its headers alone: the checkpoint says how far INTAKE is decided, and whether the
step had exceptions, which are then awaited on RECEIPTS.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from itertools import count

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from muster.ingest.v1.facts_pb2 import Receipt, ReceiptBatch
from services.chassis import subjects
from services.chassis.checkpoint import HEADER, Checkpoint
from services.chassis.pull import Pull, Pulled
from services.ingest.core import RECEIPTS
from services.ingest.settings import IngestSettings

READ_BYTES = 1 << 20
WAIT_S = 1.0
RECEIPTS_KEPT_MAX = 10_000
"""Receipts kept for callers whose PubAck comes after the verdict."""


class NatsVerdicts:
    """The verdicts of one tenant, from the moment it was opened."""

    def __init__(self, settings: IngestSettings) -> None:
        self._tenant = settings.tenant
        self._pulls: list[Pull] = []
        self._arrived = asyncio.Event()
        self._decided = 0
        self._floor = 0
        self._steps: deque[tuple[int, int]] = deque()
        self._receipts_step = 0
        self._receipts: dict[int, Receipt] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    async def open(self, client: Client) -> None:
        """Begins behind the newest messages; earlier ones are answered as unknown."""
        jetstream = client.jetstream(timeout=5)
        events, receipts = subjects.events(self._tenant), subjects.receipts(self._tenant)
        # RECEIPTS first: of every step read below, all its receipts are then read too.
        after_receipts, _ = await _last(jetstream, subjects.RECEIPTS, receipts)
        after, self._floor = await _last(jetstream, subjects.EVENTS, events)
        self._decided = self._floor
        arrived = self._arrived
        self._pulls = [
            Pull(client, subjects.EVENTS, [events], after, headers_only=True, arrived=arrived),
            Pull(client, subjects.RECEIPTS, [receipts], after_receipts, arrived=arrived),
        ]
        for pull in self._pulls:
            await pull.open()

    async def follow(self) -> None:
        """Reads until cancelled; raises Stop when the log cannot be read."""
        lead, receipts = self._pulls
        while True:
            self._arrived.clear()
            await lead.tend()
            await receipts.tend()
            for pulled in lead.drain(READ_BYTES):
                self._note_step(pulled)
            for pulled in receipts.drain(READ_BYTES):
                self._note_receipts(pulled)
            self._settle()
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    async def verdict(self, sequence: int, timeout_s: float) -> Receipt | None:
        """The receipt of a message, empty when all was accepted; None when it is not known."""
        if sequence > self._decided:
            decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiters, (sequence, next(self._order), decided))
            try:
                async with asyncio.timeout(timeout_s):
                    await decided
            except TimeoutError:
                return None
        if sequence <= self._floor:
            return None
        return self._receipts.get(sequence) or Receipt(intake_sequence=sequence)

    def _note_step(self, pulled: Pulled) -> None:
        checkpoint = pulled.checkpoint
        if checkpoint is None or checkpoint.part != 1:
            return
        awaited = checkpoint.step if RECEIPTS in checkpoint.touched else 0
        self._steps.append((awaited, checkpoint.to[0]))

    def _note_receipts(self, pulled: Pulled) -> None:
        for receipt in ReceiptBatch.FromString(pulled.body).receipts:
            self._receipts[receipt.intake_sequence] = receipt
        checkpoint = pulled.checkpoint
        if checkpoint is not None and checkpoint.last:
            self._receipts_step = checkpoint.step

    def _settle(self) -> None:
        while self._steps and self._steps[0][0] <= self._receipts_step:
            self._decided = max(self._decided, self._steps.popleft()[1])
        while self._waiters and self._waiters[0][0] <= self._decided:
            decided = heapq.heappop(self._waiters)[2]
            if not decided.done():
                decided.set_result(None)
        while len(self._receipts) > RECEIPTS_KEPT_MAX:
            oldest = next(iter(self._receipts))
            del self._receipts[oldest]
            self._floor = max(self._floor, oldest)


async def _last(jetstream: JetStreamContext, stream: str, subject: str) -> tuple[int, int]:
    """(stream sequence, sequence of INTAKE reached) of a subject's last message; zeroes without."""
    try:
        found = await jetstream.get_last_msg(stream, subject)
    except nats.js.errors.NotFoundError:
        return 0, 0
    return found.seq or 0, Checkpoint.decode((found.headers or {})[HEADER]).to[0]

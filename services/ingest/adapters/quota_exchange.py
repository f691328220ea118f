"""Tells the other doors what publishers have spent here, and charges what they spent there.

So a publisher has one quota however many doors there are: each door lets in while its own copy of
the quota has something left, and pays for the others within EVERY_S. What was let in meanwhile
is paid back before more is let in, so over time the quota holds exactly; at one instant it may be
passed by a burst for each further door. Doors that cannot hear each other each give the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg

from muster.ingest.v1.doors_pb2 import DoorSpent
from services.chassis import clock, subjects
from services.ingest.adapters.gate import Gate

EVERY_S = 0.1
COMPLETE_EVERY_S = 2.0
FORGOTTEN_AFTER_S = 60.0


@dataclass(slots=True)
class _Other:
    """Another door. complete: everything it had let in before us is known and not charged."""

    complete: bool
    heard_s: float
    spent: dict[str, tuple[int, int]] = field(default_factory=dict)


class QuotaExchange:
    """One door among those of its tenant."""

    def __init__(
        self, tenant: str, gate: Gate, now_s: Callable[[], float] = clock.monotonic
    ) -> None:
        self._subject = subjects.doors(tenant)
        self._gate = gate
        self._now_s = now_s
        self._began_s = now_s()
        self._door_id = clock.new_id()
        self._others: dict[str, _Other] = {}

    @property
    def others(self) -> int:
        """Doors heard lately, ourselves left out."""
        return len(self._others)

    async def run(self, client: Client) -> None:
        """Speaks and listens until cancelled."""

        async def heard(message: Msg) -> None:
            self.hear(message.data)

        await client.subscribe(self._subject, cb=heard)
        complete_s = self._now_s()
        while True:
            complete = self._now_s() >= complete_s
            body = self.say(complete)
            if complete:
                complete_s = self._now_s() + COMPLETE_EVERY_S
            try:
                if body:
                    await client.publish(self._subject, body)
            except (nats.errors.Error, OSError):
                complete_s = self._now_s()  # sums are said again: nothing is lost by it
            await asyncio.sleep(EVERY_S)

    def say(self, complete: bool) -> bytes:
        """What the others should hear; nothing when there is no news."""
        self._forget()
        news = self._gate.spent if complete else self._gate.take_news()
        if complete:
            self._gate.take_news()
        elif not news:
            return b""
        said = DoorSpent(
            door_id=self._door_id,
            age_seconds=int(self._now_s() - self._began_s),
            complete=complete,
        )
        for publisher, (events, size) in news.items():
            said.publishers.add(publisher=publisher, events=events, bytes=size)
        return said.SerializeToString()

    def hear(self, body: bytes) -> None:
        """Charges what another door has let in since it was last heard."""
        try:
            said = DoorSpent.FromString(body)
        except DecodeError:
            return  # not from a door: nobody can be charged for it
        if said.door_id == self._door_id:
            return
        other = self._others.get(said.door_id)
        if other is None:
            # What a door no older than us has let in, it has let in while we were here.
            younger = said.age_seconds <= int(self._now_s() - self._began_s)
            other = self._others[said.door_id] = _Other(younger, self._now_s())
        other.heard_s = self._now_s()
        for one in said.publishers:
            before = other.spent.get(one.publisher)
            other.spent[one.publisher] = one.events, one.bytes
            if before is None:
                if not other.complete:
                    continue
                before = 0, 0
            self._gate.charge(one.publisher, one.events - before[0], one.bytes - before[1])
        other.complete = other.complete or said.complete

    def _forget(self) -> None:
        silent_s = self._now_s() - FORGOTTEN_AFTER_S
        for door_id in [name for name, one in self._others.items() if one.heard_s < silent_s]:
            del self._others[door_id]

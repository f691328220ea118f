"""Gives the log its time while nothing flows, and stops ingest when the broker's clock jumps.

Log time is the broker's, so a jump of its clock would move every window. It is compared with ours
before a step is committed (a jump ahead) and once a second (either way).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from services.chassis import clock, subjects
from services.chassis.errors import ExitCode, Stop
from services.chassis.worker import FencedWorker
from services.ingest.settings import IngestSettings

COMPARE_EVERY_S = 1.0
LOOKS_PER_SILENCE = 4
PUBLISHER = "tick"
TIME_HEADER = "Nats-Time-Stamp"


class Ticker:
    """Watches one worker. wall_us: our clock, UTC microseconds."""

    def __init__(
        self,
        settings: IngestSettings,
        worker: FencedWorker,
        wall_us: Callable[[], int] = clock.wall_us,
    ) -> None:
        self._worker = worker
        self._wall_us = wall_us
        self._silence_s = settings.silence_ms / 1_000
        self._jump_us = settings.clock_jump_max_ms * 1_000
        self._subject = subjects.intake(settings.tenant, PUBLISHER)
        self.ticks = 0

    def refuse_jump_ahead(self) -> None:
        """Stop(CLOCK) when a step about to be committed lies ahead of our clock."""
        if self._worker.live:
            self._refuse(self._worker.time_us - self._wall_us())

    async def run(self) -> None:
        """Ticks until cancelled; raises Stop when the clocks differ or the broker is silent."""
        reached, since, compared = -1, clock.monotonic(), 0.0
        while True:
            await asyncio.sleep(self._silence_s / LOOKS_PER_SILENCE)
            now = clock.monotonic()
            if self._worker.sequences[0] != reached:
                reached, since = self._worker.sequences[0], now
            if not self._worker.live:
                continue
            if now - compared >= COMPARE_EVERY_S:
                compared = now
                await self._compare()
            elif now - since >= self._silence_s:
                since = now
                await self._tick()

    async def _tick(self) -> int:
        """Publishes an empty message; its stream sequence."""
        self.ticks += 1
        try:
            answer = await self._worker.client.jetstream(timeout=5).publish(self._subject, b"")
        except (nats.errors.Error, nats.js.errors.Error) as error:
            raise Stop(ExitCode.UNKNOWN, f"INTAKE took no tick: {error}") from error
        return answer.seq

    async def _compare(self) -> None:
        """Stop(CLOCK) unless the broker's time of a tick lies between ours before and after."""
        before = self._wall_us()
        sequence = await self._tick()
        after = self._wall_us()
        broker_us = await broker_time_us(self._worker.client, subjects.INTAKE, sequence)
        self._refuse(broker_us - after)
        self._refuse(before - broker_us)

    def _refuse(self, apart_us: int) -> None:
        if apart_us > self._jump_us:
            raise Stop(
                ExitCode.CLOCK,
                f"the broker's clock and ours are {apart_us / 1e6:.1f} s apart (at most "
                f"{self._jump_us / 1e6:g} s). Mend the clocks; if the log already holds messages "
                "from the future, wait until our clock has passed them, or set "
                "MUSTER_CLOCK_JUMP_MAX_MS for one run to accept their time.",
            )


async def broker_time_us(client: Client, stream: str, sequence: int) -> int:
    """The broker's time of a message, UTC microseconds; Stop(UNKNOWN) without an answer."""
    try:
        answer = await client.request(
            f"$JS.API.DIRECT.GET.{stream}", json.dumps({"seq": sequence}).encode(), timeout=5
        )
        text = (answer.headers or {})[TIME_HEADER]
    except (nats.errors.Error, KeyError) as error:
        raise Stop(ExitCode.UNKNOWN, f"{stream} cannot be read: {error}") from error
    # Nanoseconds are cut: datetime reads microseconds.
    whole, _, rest = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(f"{whole}+00:00")
    return int(moment.timestamp()) * 1_000_000 + int(rest.ljust(6, "0")[:6] or 0)

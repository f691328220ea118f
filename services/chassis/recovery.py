"""Brings a new life of a worker to where the log stands: snapshot, recorded cuts, last step.

Nothing is believed that the log does not confirm: dense numbers and `previous` must chain, every
replayed step must have the recorded time, subjects and hashes. Only the last step can be
incomplete; what it lacks is published, fenced as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import nats.errors
import nats.js.errors

from services.chassis import clock
from services.chassis.checkpoint import HEADER, Checkpoint, Head, Origin
from services.chassis.core import Facts
from services.chassis.errors import ExitCode, Stop
from services.chassis.inputs import Input, Unit
from services.chassis.pull import Pull
from services.chassis.snapshots import Snapshot

if TYPE_CHECKING:
    from services.chassis.worker import FencedWorker

HEADERS_BYTES = 8 << 20
HEADERS_SILENCE_S = 6.0
FOLLOW_EVERY_S = 0.1


@dataclass(slots=True)
class Recorded:
    """One step as the log holds it: own subject -> part -> (checkpoint, stream sequence)."""

    present: dict[int, dict[int, tuple[Checkpoint, int]]] = field(default_factory=dict)

    @property
    def lead(self) -> Checkpoint:
        return self.present[0][1][0]

    @property
    def has_lead(self) -> bool:
        return 0 in self.present

    @property
    def complete(self) -> bool:
        """Whether all parts of all touched subjects are there."""
        if not self.has_lead:
            return False
        for place in self.lead.touched:
            parts = self.present.get(place)
            if not parts or len(parts) < next(iter(parts.values()))[0].parts:
                return False
        return True


class Recovery:
    """Replays what the log holds beyond the worker's state."""

    def __init__(self, worker: FencedWorker) -> None:
        self.worker = worker
        self._read: list[Head] = []
        self._steps: dict[int, Recorded] = {}
        self._loaded = False
        self.replayed = 0

    async def catch_up(self) -> None:
        """From the newest snapshot to the last complete step in the log."""
        last = await self._last_messages()
        if not self._loaded:
            await self._load(last)
            self._loaded = True
        await self._read_headers(last)
        for number in sorted(self._steps):
            if not self._steps[number].complete:
                break
            await self._replay(number, self._steps.pop(number))

    async def follow_until_quiet(self, quiet_ms: int) -> None:
        """Keeps up with another owner until it has committed nothing for `quiet_ms`."""
        head, since = self.worker.heads[0].sequence, clock.monotonic()
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            await self.catch_up()
            if self.worker.heads[0].sequence != head:
                head, since = self.worker.heads[0].sequence, clock.monotonic()
            elif (clock.monotonic() - since) * 1_000 >= quiet_ms:
                return

    async def complete_last_step(self) -> None:
        """Publishes what an incomplete last step lacks; from here on this worker is the owner."""
        await self.catch_up()
        while not all(step.has_lead for step in self._steps.values()):
            # Another owner is at work: its step was seen on a subject read after the lead.
            await self.catch_up()
        for number in sorted(self._steps):
            if number != max(self._steps):
                raise Stop(ExitCode.GAP, f"step {number} is incomplete, but not the last")
            await self._replay(number, self._steps.pop(number))

    # -- reading the log ---------------------------------------------------------------------

    async def _last_messages(self) -> dict[int, tuple[Checkpoint, int]]:
        """The last message of every own subject, asked of the stream's leader."""
        jetstream = self.worker.client.jetstream(timeout=5)
        last: dict[int, tuple[Checkpoint, int]] = {}
        for place, own in enumerate(self.worker.core.own):
            try:
                found = await jetstream.get_last_msg(own.stream, own.subject)
            except nats.js.errors.NotFoundError:
                continue
            except (nats.errors.Error, nats.js.errors.Error) as error:
                raise Stop(ExitCode.UNKNOWN, f"{own.subject}: {error}") from error
            headers = found.headers or {}
            if HEADER not in headers or found.seq is None:
                raise Stop(ExitCode.GAP, f"{own.subject}: a message without a checkpoint")
            last[place] = (Checkpoint.decode(headers[HEADER]), found.seq)
        return last

    async def _load(self, last: dict[int, tuple[Checkpoint, int]]) -> None:
        worker = self.worker
        snapshot = await asyncio.to_thread(worker.snapshots.newest, worker.core.version)
        if snapshot is not None:
            await self._refuse_ahead(snapshot, last)
            head = snapshot.head
            worker.core.load(snapshot.buffers)
            worker.verify(snapshot)
            worker.step_number = head["step"]
            worker.plan.saved(head["step"], head["time_us"])
            worker.sequences = list(head["sequences"])
            worker.numbers = dict(head["numbers"])
            worker.time_us = worker.committed_time_us = head["time_us"]
            worker.origin = Origin(*head["origin"])
            worker.heads = [Head(*h) for h in head["heads"]]
        await self._mend_expired_heads(last, fresh=snapshot is None)
        self._read = [Head(h.sequence, h.number, h.chain) for h in worker.heads]
        worker.inputs = [
            Input(
                worker.client,
                place,
                source,
                worker.sequences[place],
                worker.numbers,
                worker.time_us,
                worker.arrived,
            )
            for place, source in enumerate(worker.core.sources)
        ]

    async def _refuse_ahead(
        self, snapshot: Snapshot, last: dict[int, tuple[Checkpoint, int]]
    ) -> None:
        """A snapshot ahead of the log may be a stale read: look again before giving up."""
        deadline = clock.monotonic() + self.worker.settings.snapshot_ahead_retry_ms / 1_000
        while 0 in last and last[0][0].step < snapshot.head["step"]:
            if clock.monotonic() > deadline:
                raise Stop(
                    ExitCode.LOST,
                    f"the snapshot stands at step {snapshot.head['step']}, the log at "
                    f"{last[0][0].step}: the log has lost acknowledged steps. Restore the stream; "
                    "remove the snapshot only if the loss is accepted.",
                )
            await asyncio.sleep(0.5)
            last.clear()
            last.update(await self._last_messages())

    async def _mend_expired_heads(
        self, last: dict[int, tuple[Checkpoint, int]], *, fresh: bool
    ) -> None:
        """A subject whose last message has expired goes on from the snapshot with expected 0."""
        worker = self.worker
        jetstream = worker.client.jetstream(timeout=5)
        for place, own in enumerate(worker.core.own):
            if place in last:
                continue
            state = (await jetstream.stream_info(own.stream)).state
            head = worker.heads[place]
            if fresh and place == 0 and state.first_seq > 1 and not worker.settings.fresh_start:
                raise Stop(
                    ExitCode.LOST,
                    f"{own.subject} is empty, {own.stream} begins at {state.first_seq} and there "
                    "is no snapshot: what we said may have expired. Restore the snapshot, or set "
                    "MUSTER_FRESH_START=true for a worker that never ran.",
                )
            if head.sequence and head.sequence >= state.first_seq:
                raise Stop(ExitCode.LOST, f"{own.subject}: the log lost its message {head}")
            head.sequence = 0

    async def _read_headers(self, last: dict[int, tuple[Checkpoint, int]]) -> None:
        """Checkpoints beyond what was read, chained by dense number and previous sequence."""
        streams = {own.stream for own in self.worker.core.own}
        for stream in sorted(streams):
            places = [p for p, own in enumerate(self.worker.core.own) if own.stream == stream]
            end = max((last[p][1] for p in places if p in last), default=0)
            begin = min(self._read[p].sequence for p in places)
            if end > begin:
                await self._read_stream(stream, places, begin, end)

    async def _read_stream(self, stream: str, places: list[int], begin: int, end: int) -> None:
        own = self.worker.core.own
        by_subject = {own[place].subject: place for place in places}
        pull = Pull(self.worker.client, stream, list(by_subject), begin, headers_only=True)
        await pull.open()
        silent_since = clock.monotonic()
        try:
            while pull.sequence < end:
                got = await pull.take(HEADERS_BYTES, 1.0)
                if not got and clock.monotonic() - silent_since > HEADERS_SILENCE_S:
                    raise Stop(ExitCode.UNKNOWN, f"our own {stream} cannot be read")
                if got:
                    silent_since = clock.monotonic()
                # What lies beyond `end` came after the other subjects were looked at.
                for pulled in got:
                    if pulled.sequence > end:
                        break
                    self._note(by_subject[pulled.subject], pulled.checkpoint, pulled.sequence)
        finally:
            await pull.close()

    def _note(self, place: int, checkpoint: Checkpoint | None, sequence: int) -> None:
        read = self._read[place]
        if sequence <= read.sequence:
            return
        subject = self.worker.core.own[place].subject
        if checkpoint is None:
            raise Stop(ExitCode.GAP, f"{subject} at {sequence}: a message without a checkpoint")
        if checkpoint.number != read.number + 1 or checkpoint.previous != read.sequence:
            raise Stop(
                ExitCode.GAP,
                f"{subject} at {sequence}: number {checkpoint.number} after {read.number}, "
                f"previous {checkpoint.previous} after {read.sequence}",
            )
        self._read[place] = Head(sequence, checkpoint.number, checkpoint.chain)
        step = self._steps.setdefault(checkpoint.step, Recorded())
        step.present.setdefault(place, {})[checkpoint.part] = (checkpoint, sequence)

    # -- replay ------------------------------------------------------------------------------

    async def _replay(self, number: int, recorded: Recorded) -> None:
        worker = self.worker
        if number != worker.step_number + 1 or 0 not in recorded.present:
            raise Stop(ExitCode.GAP, f"step {number} follows step {worker.step_number}")
        lead = recorded.lead
        facts = Facts()
        for cut in lead.cuts:
            units = await self._units(cut)
            parked = [u for u in units if (u.messages[0].source, u.sequence) in lead.parked]
            if facts:
                raise Stop(ExitCode.DIVERGED, f"step {number}: facts before its last cut")
            facts = worker.apply(units, parked)
            await asyncio.sleep(0)
        step = worker.record(number, lead, facts)
        touched = tuple(sorted({0, *(p for p, bodies in facts.bodies.items() if bodies)}))
        if worker.time_us != lead.time_us or touched != lead.touched:
            raise Stop(
                ExitCode.DIVERGED,
                f"step {number}: time {worker.time_us} and subjects {touched}, "
                f"the log says {lead.time_us} and {lead.touched}",
            )
        await worker.commit(step, recorded.present)
        self.replayed += 1

    async def _units(self, cut: Iterable[int]) -> list[Unit]:
        """The units of one recorded cut, later sources first."""
        worker = self.worker
        taken: list[Unit] = []
        for place, sequence in reversed(list(enumerate(cut))):
            if sequence > worker.sequences[place]:
                taken += await worker.inputs[place].up_to(sequence)
        return taken

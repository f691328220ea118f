"""The fenced worker: drives a pure core over the log; facts and progress are one write.

Take a cut of the inputs, step the core, commit what it says as one message on the worker's own
subject with the expected last sequence; the message's header is the checkpoint. With several own
subjects the first is the lead: it is touched in every step, committed first, and decides the cut
for all. The next step is computed while a commit is out and published after its answer.

Every doubt ends the process (errors.ExitCode); recovery.py brings the next life to where the log
stands. Verified with two owners on purpose under tests/chaos.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from services.chassis import clock
from services.chassis.checkpoint import HEADER, TRACE, Checkpoint, Head, Origin, chained
from services.chassis.commits import BATCH_MESSAGES_MAX, Public, publish_batch
from services.chassis.core import PART_BYTES_MAX, Buffers, Core, Facts
from services.chassis.deaths import DeathLedger
from services.chassis.errors import ExitCode, NotReady, Stop
from services.chassis.inputs import Input, Unit
from services.chassis.parking import parked_body
from services.chassis.settings import Settings
from services.chassis.snapshots import Snapshot, SnapshotFolder, SnapshotPlan

WAIT_S = 0.25


@dataclass(slots=True)
class Step:
    """One computed step on its way into the log. snapshot: the core's state after it, if due."""

    number: int
    cuts: list[tuple[int, ...]]
    time_us: int
    origin: Origin
    facts: Facts
    parked: list[tuple[int, int]]
    numbers: dict[str, int]
    trace: str = ""
    snapshot: Buffers | None = None


@dataclass(slots=True)
class Gathering:
    """What was stepped since the last commit without saying anything yet."""

    cuts: list[tuple[int, ...]] = field(default_factory=list)
    parked: list[tuple[int, int]] = field(default_factory=list)
    trace: str = ""


@dataclass(slots=True)
class Counters:
    """What the metrics show."""

    steps: int = 0
    inputs: int = 0
    commit_us: int = 0
    step_us: int = 0
    bytes_out: int = 0
    snapshot_bytes: int = 0


class FencedWorker:
    """One core on its inputs and own subjects. `await run()` only ends by raising Stop."""

    def __init__(self, client: Client, core: Core, settings: Settings) -> None:
        self.client = client
        self.core = core
        self.settings = settings
        self.folder = Path(settings.state_dir) / "workers" / settings.tenant / core.name
        self.snapshots = SnapshotFolder(self.folder)
        self.plan = SnapshotPlan(settings)
        self.deaths = DeathLedger(self.folder, settings.deaths_max)
        self.heads = [Head() for _ in core.own]
        self.inputs: list[Input] = []
        self.sequences = [0] * len(core.sources)
        self.numbers: dict[str, int] = {}
        self.step_number = self.time_us = self.committed_time_us = 0
        self.origin = Origin()
        self.live = False
        self.counters = Counters()
        self.arrived = asyncio.Event()
        self.owner = clock.new_id()[:8]
        self.on_step: list[Callable[[], None]] = []
        self._gathering = Gathering()
        self._flying: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._verifying: asyncio.Task[None] | None = None
        self._waiters: deque[tuple[Origin, asyncio.Future[None]]] = deque()
        self._standby = self.folder / "standby"

    # -- questions ---------------------------------------------------------------------------

    @property
    def caught_up(self) -> bool:
        """Live, and nothing waits at the broker."""
        return self.live and all(one.caught_up for one in self.inputs)

    async def reflects(self, token: str, timeout_s: float = 5.0) -> None:
        """Returns once the core's state is at least as new as the position in `token`.

        ValueError when it is not a token; NotReady when the time is up.
        """
        wanted = Origin.parse(token)
        if self.origin.covers(wanted):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((wanted, future))
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise NotReady(
                f"not yet as new as {token}: at {self.origin.token()}; ask again", retry_s=0.5
            ) from None

    # -- life --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Recovers, waits as a standby if the last life was refused, then works until a Stop."""
        from services.chassis.recovery import Recovery

        recovery = Recovery(self)
        try:
            await recovery.catch_up()
            if self._standby.exists():
                await recovery.follow_until_quiet(self.settings.standby_quiet_ms)
            await recovery.complete_last_step()
            self._standby.unlink(missing_ok=True)
            self.deaths.started_at(list(self.sequences))
            self.live = True
            await self._work()
        except Stop as stop:
            if stop.code is ExitCode.FENCED:
                self._standby.touch()
            raise
        finally:
            self.live = False

    async def drain(self) -> None:
        """Waits for the commit that is out, so that a planned stop leaves nothing unknown."""
        if self._flying is not None:
            await self._flying
        if self._saving is not None:
            await self._saving

    async def _work(self) -> None:
        while True:
            self._raise_failed()
            self.arrived.clear()
            for one in self.inputs:
                await one.tend()
            units = self._take()
            if not units:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_S):
                        await self.arrived.wait()
                continue
            step = self.compute(units)
            if step is None:
                await asyncio.sleep(0)
                continue
            if self._flying is not None:
                await self._flying
            self._flying = asyncio.create_task(self.commit(step))
            self._flying.add_done_callback(lambda _: self.arrived.set())
            # Twice, so that the commit's bytes are on their way before the next step is computed.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _raise_failed(self) -> None:
        for task in (self._flying, self._saving, self._verifying):
            if task is not None and task.done():
                task.result()

    def _take(self) -> list[Unit]:
        """The next cut: what has arrived, later sources first, at most step_bytes_max."""
        if self.deaths.careful:
            return self._take_one()
        left = self.settings.step_bytes_max
        taken: list[Unit] = []
        for one in reversed(self.inputs):
            while left > 0 and (unit := one.next(left if taken else 1 << 62)):
                taken.append(unit)
                left -= max(unit.bytes, 1)
        return taken

    def _take_one(self) -> list[Unit]:
        for one in reversed(self.inputs):
            if unit := one.next(1 << 62):
                return [unit]
        return []

    # -- one step ----------------------------------------------------------------------------

    def compute(self, units: list[Unit]) -> Step | None:
        """Steps the core over a live cut. None while there is nothing to commit yet."""
        parked = [u for u in units if self._condemned(u)] if self.deaths.careful else []
        if self.deaths.careful and not parked:
            unit = units[0]
            self.deaths.enter(unit.messages[0].source, unit.sequence)
        began = clock.performance_us()
        facts = self.apply(units, parked)
        self.counters.step_us += clock.performance_us() - began
        if self.deaths.careful:
            self.deaths.survived()
        gathering = self._gathering
        gathering.cuts.append(tuple(self.sequences))
        gathering.trace = gathering.trace or next((u.trace for u in units if u.trace), "")
        gathering.parked += [(u.messages[0].source, u.sequence) for u in parked]
        idle_us = self.settings.idle_commit_ms * 1_000
        if not facts and self.time_us - self.committed_time_us < idle_us:
            return None
        self._gathering = Gathering()
        return self._step_of(facts, gathering)

    def _step_of(self, facts: Facts, gathering: Gathering) -> Step:
        self.step_number += 1
        self.committed_time_us = self.time_us
        step = Step(
            self.step_number,
            gathering.cuts,
            self.time_us,
            self.origin,
            facts,
            gathering.parked,
            dict(self.numbers),
            gathering.trace,
        )
        idle = self._saving is None or self._saving.done()
        if idle and self.plan.due(step.number, step.time_us):
            self.plan.saved(step.number, step.time_us)
            step.snapshot = self.core.dump()
        return step

    def record(self, number: int, lead: Checkpoint, facts: Facts) -> Step:
        """A replayed step, with what its lead recorded."""
        self.step_number = number
        self.committed_time_us = self.time_us
        return Step(
            number,
            list(lead.cuts),
            self.time_us,
            self.origin,
            facts,
            list(lead.parked),
            dict(self.numbers),
        )

    def _condemned(self, unit: Unit) -> bool:
        return self.deaths.condemned(unit.messages[0].source, unit.sequence)

    def apply(self, units: list[Unit], parked: list[Unit]) -> Facts:
        """Gives one cut to the core and moves the position. Pure but for the core's own state."""
        messages = [m for unit in units if unit not in parked for m in unit.messages]
        for unit in units:
            source = unit.messages[0].source
            self.plan.took(unit.bytes)
            self.sequences[source] = unit.sequence
            self.numbers.update(unit.numbers)
            self.origin = self.origin.merged(unit.origin)
            if source == 0:
                self.time_us = max(self.time_us, unit.time_us)
        facts = self.core.step(messages, self.time_us)
        if parked:
            place = len(self.core.own) - 1
            bodies = [parked_body(self.core, m, self.time_us) for u in parked for m in u.messages]
            facts.bodies.setdefault(place, []).extend(bodies)
        self.counters.inputs += len(messages)
        self._wake()
        return facts

    def _wake(self) -> None:
        for _ in range(len(self._waiters)):
            wanted, future = self._waiters.popleft()
            if future.done():
                continue
            if self.origin.covers(wanted):
                future.set_result(None)
            else:
                self._waiters.append((wanted, future))
        for listener in self.on_step:
            listener()

    async def commit(self, step: Step, present: dict[int, dict[int, Any]] | None = None) -> None:
        """Writes a step: the lead first, part by part, then the other touched subjects.

        present: messages of the step that the log already holds (own subject -> part -> its
        checkpoint and sequence); they are compared, not written.
        """
        began = clock.performance_us()
        bodies = {place: parts for place, parts in step.facts.bodies.items() if parts}
        bodies.setdefault(0, [b""])
        touched = tuple(sorted(bodies))
        for place in touched:
            await self._commit_subject(step, place, bodies[place], touched, (present or {}))
        self.counters.steps += 1
        self.counters.commit_us += clock.performance_us() - began
        if step.snapshot is not None:
            head = self._snapshot_head(step)
            self._saving = asyncio.create_task(
                asyncio.to_thread(self._save, step.number, head, step.snapshot)
            )

    async def _commit_subject(
        self,
        step: Step,
        place: int,
        bodies: list[bytes],
        touched: tuple[int, ...],
        present: dict[int, dict[int, Any]],
    ) -> None:
        own, head = self.core.own[place], self.heads[place]
        batches = _batches(step.facts.batch, step.trace) if place == 0 else []
        if len(batches) > len(bodies):
            bodies = bodies + [b""] * (len(batches) - len(bodies))
        for part, body in enumerate(bodies, 1):
            if len(body) > PART_BYTES_MAX + 1024:
                raise ValueError(f"{own.subject}: a part of {len(body)} B; cut facts into parts")
            batch = batches[part - 1] if part <= len(batches) else []
            chain = chained(head.chain, body, batch)
            held = present.get(place, {}).get(part)
            if held is not None:
                checkpoint, sequence = held
                if checkpoint.chain != chain or checkpoint.parts != len(bodies):
                    raise Stop(
                        ExitCode.DIVERGED,
                        f"{own.subject} step {step.number} part {part}: replay gives other facts",
                    )
                self.heads[place] = head = Head(sequence, head.number + 1, chain)
                continue
            checkpoint = Checkpoint(
                step=step.number,
                cuts=tuple(step.cuts),
                numbers=step.numbers,
                time_us=step.time_us,
                touched=touched,
                part=part,
                parts=len(bodies),
                number=head.number + 1,
                previous=head.sequence,
                chain=chain,
                version=self.core.version,
                origin=step.origin,
                owner=self.owner,
                parked=tuple(step.parked),
            )
            sequence = await publish_batch(
                self.client,
                batch,
                own.subject,
                body,
                headers_of(checkpoint, step.trace),
                head.sequence,
                self.settings.commit_timeout_ms / 1_000,
            )
            self.counters.bytes_out += len(body)
            self.heads[place] = head = Head(sequence, head.number + 1, chain)

    def _snapshot_head(self, step: Step) -> dict[str, Any]:
        return {
            "version": self.core.version,
            "step": step.number,
            "sequences": list(step.cuts[-1]),
            "numbers": step.numbers,
            "time_us": step.time_us,
            "origin": [step.origin.intake, step.origin.control],
            "heads": [[h.sequence, h.number, h.chain] for h in self.heads],
        }

    def verify(self, snapshot: Snapshot) -> None:
        """Has what was loaded read once more in the background; a difference ends the process."""
        self._verifying = asyncio.create_task(asyncio.to_thread(self.snapshots.verify, snapshot))

    def _save(self, number: int, head: dict[str, Any], buffers: Buffers) -> None:
        self.counters.snapshot_bytes = self.snapshots.write(number, head, buffers)


def headers_of(checkpoint: Checkpoint, trace: str) -> dict[str, str]:
    """The headers of a fenced message."""
    headers = {HEADER: checkpoint.encode()}
    return {**headers, TRACE: trace} if trace else headers


def _batches(batch: list[Public], trace: str) -> list[list[Public]]:
    """Public messages cut into what one atomic batch takes, with the step's trace."""
    if trace:
        batch = [(subject, body, {**headers, TRACE: trace}) for subject, body, headers in batch]
    return [batch[i : i + BATCH_MESSAGES_MAX] for i in range(0, len(batch), BATCH_MESSAGES_MAX)]

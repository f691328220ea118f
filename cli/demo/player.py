"""Plays the demo: starts the stack, imports, defines, publishes, follows, draws, and adds up."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import deque
from collections.abc import Coroutine
from itertools import cycle
from typing import TYPE_CHECKING, Any

from cli.demo import follow
from cli.demo.calls import Calls
from cli.demo.checks import Checks, Latencies, Ledger, Turns
from cli.demo.data import CAST, Crowd, Past, load_past, name_of
from cli.demo.expect import Judge, expect_all
from cli.demo.live import Publisher
from cli.demo.play import LENGTH_S, Script
from cli.demo.screen import Picture, Screen
from cli.demo.segments import define_all, define_watch, from_scratch, sizes
from cli.importing import send_history
from cli.output import word
from muster.frequency.v1.facts_pb2 import DECISION_ALLOWED, DECISION_DEFERRED, MessageDecided
from muster.types.v1 import common_pb2
from services.chassis import clock, subjects

if TYPE_CHECKING:
    from nats.aio.client import Client

    from cli.stack import Stack

CROWD_PER_S = 300
DRAW_EVERY_S = 0.25
LOOK_EVERY_S = 0.5
FLOW_S = 10.0
FIRST_WITHIN_S = 20.0
SETTLE_S = 10.0
KILL_AT_S = 15.0
BACK_WITHIN_S = 30.0
VICTIMS = ("segments", "identity", "ingest-worker", "relay", "frequency", "alerts", "nats")


class Player:
    """One performance over a stack that is not started yet.

    seed: draws the crowd. kills: without a keyboard one kill is part of the play.
    """

    def __init__(self, stack: Stack, screen: Screen, seed: int, *, kills: bool) -> None:
        self.stack = stack
        self.screen = screen
        self.seed = seed
        self._kills = kills
        self.checks = Checks()
        expect_all(self.checks)
        if kills:
            self.checks.expect("kill", "a service killed with -9 came back")
        self.ledger, self.turns, self.latencies = Ledger(), Turns(), Latencies()
        self.began = clock.monotonic()
        self.live_began = 0.0
        self.run = f"live-{clock.wall_us() // 1_000_000:x}"
        self._victims = cycle(VICTIMS)
        self._tasks: list[asyncio.Task[Any]] = []
        self._flow: deque[tuple[float, str, bool]] = deque()
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=12)
        self._killing = False

    # -- before the curtain --------------------------------------------------------------------

    async def prepare(self) -> None:
        """Starts the servers, defines the segments and imports the histories."""
        say = self._line
        say("starting nats-server, PostgreSQL and the five services ...")
        starting = asyncio.create_task(self.stack.start(lambda name: say(f"{name} is ready")))
        self._tasks.append(starting)
        await asyncio.sleep(0)
        self.past: Past = await asyncio.to_thread(load_past, clock.wall_us())
        await starting
        self.calls = Calls(self.stack.running)
        say(f"everything is ready after {self._elapsed():.1f} s; defining segments ...")
        self.conditions = await define_all(self.calls)
        events = self.past.events
        say(f"importing {len(events):,} events of two real histories, without triggers ...")
        began = clock.monotonic()
        done = await send_history(self.stack.running, events, "demo-history")
        self.sizes = await sizes(self.calls, done.token)
        took = clock.monotonic() - began
        say(f"{done.sent:,} events counted in {took:.1f} s, {len(done.rejected)} rejected")
        expected = {
            "customers": len(self.past.customers),
            "big-spenders": len(self.past.big_spenders),
        }
        found = {name: self.sizes[name] for name in expected}
        right = found == expected and not done.rejected
        self.checks.settle("history", right, f"{found}" + f" not {expected}" * (not right))

    def _line(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def _elapsed(self) -> float:
        return clock.monotonic() - self.began

    # -- the play ------------------------------------------------------------------------------

    async def perform(self, duration_s: float | None) -> None:
        """Plays until duration_s after the start of the servers (for ever when None).

        Never less than the script needs.
        """
        import nats

        self.client: Client = await nats.connect(
            self.stack.nats.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_quiet
        )
        tenant = self.stack.running.tenant
        self.picture = Picture(
            tenant,
            str(self.stack.folder),
            self.past.almost,
            self.checks,
            self.ledger,
            self.turns,
            self.latencies,
        )
        self.names = follow.NameBook(self.calls, name_of)
        self.publisher = Publisher(
            self.stack.running, self.client, self.calls, self.ledger, self.latencies
        )
        self.script = Script(
            self.calls,
            self.publisher,
            self.checks,
            self._tell,
            self.run,
            self.past.almost,
            self.past.almost_spent,
        )
        self.judge = Judge(self.checks, self.script)
        await define_watch(self.calls)
        await self._follow_everything(tenant)
        self.screen.open()
        self.live_began = clock.monotonic()
        crowd = Crowd(self.past.people, {self.past.almost}, self.seed)
        self._spawn(self.publisher.play_crowd(crowd, CROWD_PER_S, self.run))
        self._spawn(self.script.play())
        if self._kills:
            self._spawn(self._kill_once())
        end = self.live_began + LENGTH_S
        if duration_s is not None:
            end = max(end, self.began + duration_s)
        while duration_s is None or clock.monotonic() < end:
            self._look_at_tasks()
            await self._look()
            for _ in range(round(LOOK_EVERY_S / DRAW_EVERY_S)):
                self.picture.seconds = self._elapsed()
                self.screen.draw(self.picture)
                await asyncio.sleep(DRAW_EVERY_S)

    async def _follow_everything(self, tenant: str) -> None:
        token = await follow.first_token(self.calls)
        last = {
            stream: await follow.last_sequence(self.client, stream)
            for stream in (subjects.EVENTS, subjects.MESSAGES, subjects.ALERTS)
        }
        client, heard = self.client, self.ledger.on_counted
        self._spawn(follow.follow_transitions(self.calls, token, self._on_transition))
        self._spawn(follow.follow_counted(client, tenant, last[subjects.EVENTS], heard))
        self._spawn(
            follow.follow_messages(client, tenant, last[subjects.MESSAGES], self._on_message)
        )
        self._spawn(follow.follow_alerts(client, tenant, last[subjects.ALERTS], self._on_alert))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _look_at_tasks(self) -> None:
        """Raises what a task of ours failed with."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    async def _look(self) -> None:
        """Sizes and rates; what a killed service does not answer stays as it was."""
        import grpc

        now = clock.monotonic()
        with contextlib.suppress(grpc.aio.AioRpcError):
            self.picture.sizes = await sizes(self.calls)
        self.judge.look_again()
        self._marks.append((now, len(self.ledger.counted), self.turns.seen))
        then, counted, seen = self._marks[0]
        if now > then:
            self.picture.counted_per_s = (len(self.ledger.counted) - counted) / (now - then)
            self.picture.transitions_per_s = (self.turns.seen - seen) / (now - then)
        while self._flow and self._flow[0][0] < now - FLOW_S:
            self._flow.popleft()
        flow: dict[str, tuple[int, int]] = {}
        for _, segment, entered in self._flow:
            came, went = flow.get(segment, (0, 0))
            flow[segment] = (came + entered, went + (not entered))
        self.picture.flow = flow

    # -- what is heard -------------------------------------------------------------------------

    def _on_transition(self, change: Any) -> None:
        now = clock.monotonic()
        self.turns.on_transition(change)
        self.latencies.on_transition(change.cause, now)
        if self.checks.of["first"].ok is None:
            took = now - self.began
            slow = f", more than {FIRST_WITHIN_S:g} s: is the machine busy?"
            self.checks.settle("first", True, f"{took:.1f} s" + slow * (took > FIRST_WITHIN_S))
        self._flow.append((now, change.segment_id, change.direction == 1))
        self.judge.on_transition(change)
        self._spawn(self._show(change))

    async def _show(self, change: Any) -> None:
        name = await self.names.name(change.profile_id)
        why = word(common_pb2.Reason, change.reason)
        entered = change.direction == common_pb2.DIRECTION_ENTERED
        shown = (_clock(change.at_time.seconds), name, entered, change.segment_id, why)
        self.picture.transitions.append(shown)
        self.screen.transition(*shown)

    def _on_message(self, decided: MessageDecided) -> None:
        self.judge.on_message(decided)
        decision = decided.receipt.decision
        self.picture.allowed += decision == DECISION_ALLOWED
        self.picture.deferred += decision == DECISION_DEFERRED
        self._spawn(self._tell_message(decided))

    async def _tell_message(self, decided: MessageDecided) -> None:
        from muster.frequency.v1 import facts_pb2

        name = await self.names.name(decided.profile_id)
        receipt = decided.receipt
        answer = word(facts_pb2.Decision, receipt.decision)
        what = f"{decided.message.message_type} for {name}: {answer}"
        if receipt.decision == DECISION_DEFERRED:
            until = _clock(receipt.next_allowed_time.seconds)
            what += f" by {receipt.rule} ({receipt.counted} of {receipt.max}), until {until}"
        self._tell("message", what)

    def _on_alert(self, notice: Any) -> None:
        self.judge.on_alert(notice)
        if notice.WhichOneof("notice") == "raised":
            told = notice.raised
            self.picture.alerts = f"raised: {told.value} browsing, more than {told.bound}"
        else:
            self.picture.alerts = f"resolved: {notice.resolved.value} browsing"
        self._tell("alert", self.picture.alerts)

    def _tell(self, kind: str, text: str) -> None:
        at = _clock(clock.wall_us() // 1_000_000)
        self.picture.stories.append((at, kind, text))
        self.screen.story(at, kind, text)

    # -- kills ---------------------------------------------------------------------------------

    async def _kill_once(self) -> None:
        await asyncio.sleep(KILL_AT_S)
        await self.kill_next()

    def on_key(self, key: str) -> None:
        """k kills the next service."""
        if key == "k" and not self._killing and self.live_began:
            self._spawn(self.kill_next())

    async def kill_next(self) -> None:
        """kill -9, then waits until it is back and everything it missed was counted."""
        self._killing = self.latencies.outage = True
        name = next(self._victims)
        before = self.stack.supervisor.everyone()[name].child.pid
        began = clock.monotonic()
        self.stack.supervisor.kill9(name)
        self.picture.kill = f"kill -9 {name} (pid {before}) ..."
        self._tell("kill", self.picture.kill)
        back = await self._until_back(name, before, began + BACK_WITHIN_S)
        took = clock.monotonic() - began
        await self._until_counted(clock.monotonic() + SETTLE_S)
        lost = self.ledger.overdue(clock.monotonic(), SETTLE_S) + self.turns.missing
        twice = self.ledger.twice + self.turns.repeated
        self.picture.kill = f"kill -9 {name}: back after {took:.1f} s, {lost} lost, {twice} twice"
        self._tell("kill", self.picture.kill)
        if "kill" in self.checks.of:
            self.checks.settle("kill", back and not lost and not twice, self.picture.kill)
        self._killing = self.latencies.outage = False

    async def _until_back(self, name: str, before: int, end: float) -> bool:
        supervisor = self.stack.supervisor
        while clock.monotonic() < end:
            if supervisor.everyone()[name].child.pid != before and await supervisor.is_ready(name):
                return True
            await asyncio.sleep(0.05)
        return False

    async def _until_counted(self, end: float) -> None:
        """Until nothing acknowledged before now waits for its row of EVENTS."""
        asked = clock.monotonic()
        while clock.monotonic() < end:
            if all(at > asked for at in self.ledger.waiting.values()):
                return
            await asyncio.sleep(0.05)

    # -- after the curtain ---------------------------------------------------------------------

    async def add_up(self) -> None:
        """Stops publishing, waits until everything was counted, and settles the books."""
        self.publisher.stopped.set()
        await self._until_counted(clock.monotonic() + SETTLE_S)
        await asyncio.sleep(0.5)
        waiting, twice = len(self.ledger.waiting), self.ledger.twice
        said = f"{self.ledger.acknowledged:,} acknowledged, {waiting} lost, {twice} twice"
        self.checks.settle("lost", waiting == 0 and twice == 0, said)
        turns = self.turns
        said = f"{turns.seen:,} transitions, {turns.missing} missing, {turns.repeated} twice"
        self.checks.settle("turns", not turns.missing and not turns.repeated, said)
        different = await from_scratch(self.calls, self.conditions)
        said = f"{len(self.conditions)} segments" + f", not {different}" * bool(different)
        self.checks.settle("scratch", not different, said)

    def add_up_so_far(self) -> None:
        """The books as they stand when the play is ended by hand; what is under way is not lost."""
        if not self.live_began:
            return
        lost, twice = self.ledger.overdue(clock.monotonic(), SETTLE_S), self.ledger.twice
        said = f"{self.ledger.acknowledged:,} acknowledged, {lost} lost, {twice} twice"
        if self.checks.of["lost"].ok is None:
            self.checks.settle("lost", not lost and not twice, said)
        turns = self.turns
        said = f"{turns.seen:,} transitions, {turns.missing} missing, {turns.repeated} twice"
        if self.checks.of["turns"].ok is None:
            self.checks.settle("turns", not turns.missing and not turns.repeated, said)

    async def close(self) -> None:
        """Ends every task and process of ours, within two seconds."""
        self.screen.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "calls"):
            await self.calls.close()
        if hasattr(self, "client"):
            with contextlib.suppress(Exception):
                await self.client.close()
        await self.stack.stop()


async def _quiet(_: Exception) -> None:
    """The connection comes back by itself; the ledger says whether anything was lost."""


def _clock(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")


NAMED = set(CAST.values())

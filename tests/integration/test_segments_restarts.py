"""An engine killed with kill -9 among snapshots of sealed streams says every instant exactly."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from muster.segments.v1 import service_pb2 as api
from services.chassis import clock
from services.segments.engine.base.limits import EngineLimits
from tests.integration.segments_stack import SECOND, Stack, bought, read, stack_of, wish

PEOPLE = 8
EACH = 125
"""Events of a person in a step of a second."""
STEPS = 80
OFTEN, WITHIN_S = 2_000, 40


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


def start(one: Stack) -> None:
    """An engine that writes a snapshot every few steps."""
    one.processes.start("engine", snapshot_steps=4, snapshot_interval_ms=1_000)


async def test_figures_of_mapped_streams_turn_at_the_exact_instant(one: Stack) -> None:
    limits = EngineLimits()
    assert limits.sealed_rows + limits.shift_rows_max < PEOPLE * EACH * STEPS
    await one.log.say(one.log.people(range(PEOPLE)))
    await one.door.DefineSegment(wish("often", bought(OFTEN, within_s=WITHIN_S)))
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest())
    token = (await watch.read()).resume_token
    rows = [(number, "bought", 1) for number in range(PEOPLE)] * EACH
    entered_us = last_us = 0
    for step in range(1, STEPS + 1):
        await one.events(rows)
        last_us = one.log.time_us
        entered_us = last_us if step * EACH == OFTEN else entered_us
        if step in (20, STEPS - 6, STEPS - 2):
            one.processes.children["engine-0"].kill9()
            start(one)
    await one.processes.ready("engine-0")
    found = await read(one.processes.door().WatchTransitions(_after(token)), PEOPLE)
    assert {t.at_time.ToMicroseconds() for t in found[0]} == {entered_us}
    end = clock.monotonic() + 30
    while not has_sealed_stream(one.processes.folder):
        assert clock.monotonic() < end, "no snapshot has a sealed stream"
        await one.log.tick(0.1)
        await asyncio.sleep(0.1)
    one.processes.children["engine-0"].kill9()
    start(one)
    await one.processes.ready("engine-0")
    await one.log.tick(WITHIN_S)
    told, _ = await read(one.processes.door().WatchTransitions(_after(token)), 2 * PEOPLE)
    left = [t for t in told if t.direction == 2]
    kept_s = OFTEN // EACH - 1
    assert {t.at_time.ToMicroseconds() for t in left} == {last_us + (WITHIN_S - kept_s) * SECOND}
    assert sorted(t.ordinal for t in told) == [1] * PEOPLE + [2] * PEOPLE


def has_sealed_stream(folder: Path) -> bool:
    """Whether the newest complete snapshot names a block of a stream."""
    newest = sorted(folder.rglob("*.snapshot"))[-1:]
    return any(re.search(rb"streams\.\d+\.\w+\.occur", path.read_bytes()) for path in newest)


def _after(token: str) -> api.WatchTransitionsRequest:
    return api.WatchTransitionsRequest(resume_token=token)

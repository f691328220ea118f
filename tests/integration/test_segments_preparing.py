"""What a definition needs begins before it is in the log; the log does not tell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import condition_pb2 as pb
from tests.integration.segments_stack import Stack, bought, stack_of, wish

PEOPLE = 40


@pytest.fixture
async def two(tmp_path: Path):
    async for stack in stack_of(tmp_path, 2):
        yield stack


def bought_then_viewed() -> pb.Condition:
    """A rule that is judged from whole pasts."""
    leaf = pb.SequenceLeaf()
    for kind in ("bought", "viewed"):
        leaf.steps.add().types.append(kind)
    leaf.within.FromSeconds(600)
    return pb.Condition(sequence=leaf)


async def sizes(stack: Stack) -> dict[str, int]:
    answer = await stack.door.CountMembers(api.CountMembersRequest(at_least=stack.log.token))
    return {size.segment_id: size.members for size in answer.sizes}


async def test_a_life_that_never_heard_of_the_preparing_says_the_same(two: Stack) -> None:
    await two.log.say(two.log.people(range(PEOPLE)))
    await two.events([(n, "bought", n) for n in range(0, PEOPLE, 2)])
    await two.events([(n, "viewed", 1) for n in range(0, PEOPLE, 3)])
    rules = {"buyers": bought(), "again": bought(2, 600), "looked-after": bought_then_viewed()}
    defined = await asyncio.gather(
        *(two.door.DefineSegment(wish(name, rule)) for name, rule in rules.items())
    )
    members = {one.segment.definition.segment_id: one.segment.members for one in defined}
    assert members == {"buyers": PEOPLE // 2, "again": 0, "looked-after": (PEOPLE + 5) // 6}
    # More than the definitions said follows from what they began.
    await two.events([(n, "bought", 1) for n in range(0, PEOPLE, 4)])
    await two.events([(n, "viewed", 1) for n in range(PEOPLE)])
    before = await sizes(two)
    assert before["again"] == PEOPLE // 4 and before["looked-after"] == PEOPLE // 2
    # The next life reads the log from its beginning, and compares the hash of all it says again.
    for partition in range(2):
        two.processes.children[f"engine-{partition}"].kill9()
    names = [two.processes.start("engine", partition) for partition in range(2)]
    await asyncio.gather(*(two.processes.ready(name) for name in names))
    assert await sizes(two) == before

"""Scores by quantile on real servers: cuts after a local midnight, the same in every partition."""

from __future__ import annotations

import asyncio
from pathlib import Path

from muster.segments.v1 import cuts_pb2
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import condition_pb2 as pb
from services.chassis import subjects
from services.chassis.pull import Pull
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import TENANT, Stack, public_id, stack_of, wish


def best() -> pb.Condition:
    """The fifth that spent most within thirty days."""
    leaf = pb.RfmLeaf(amount_property="amount", money_min=5)
    leaf.orders.types.append("bought")
    leaf.window.last.FromSeconds(30 * 86_400)
    return pb.Condition(rfm=leaf)


async def cuts_on_the_log(stack: Stack, count: int) -> list[cuts_pb2.RfmCutsSet]:
    pull = Pull(stack.client, subjects.CONTROL, [subjects.control(TENANT, "cuts")])
    found: list[cuts_pb2.RfmCutsSet] = []
    async with asyncio.timeout(90):
        while len(found) < count:
            bodies = [pulled.body for pulled in await pull.take(1 << 20, 0.5)]
            found += map(cuts_pb2.RfmCutsSet.FromString, bodies)
    return found


async def members(stack: Stack) -> list[str]:
    answer = await stack.door.ListMembers(
        api.ListMembersRequest(segment_id="best", at_least=stack.log.token)
    )
    return sorted(answer.profile_ids)


async def test_cuts_come_once_after_a_midnight_over_all_partitions(tmp_path: Path) -> None:
    async for stack in stack_of(tmp_path, 2):
        await stack.log.say(stack.log.people(range(10)))
        await stack.door.DefineSegment(wish("best", best()))
        await stack.events([(number, "bought", number + 1) for number in range(10)])
        await stack.log.tick(24 * 3_600)
        first, *_ = await cuts_on_the_log(stack, 1)
        while first.profiles == 0:  # Cuts of the midnight before anybody had bought.
            *_, first = await cuts_on_the_log(stack, 2)
        assert first.profiles == 10
        assert [one.figure for one in first.money] == ["2", "4", "6", "8"]
        best_two = sorted(profile_id_text(public_id(number)) for number in (8, 9))
        async with asyncio.timeout(60):
            while (found := await members(stack)) != best_two:  # One partition may be ahead.
                assert set(found) <= set(best_two)
                await asyncio.sleep(0.1)
        # The same midnight has no second cuts; the next one has its own.
        seen = await cuts_on_the_log(stack, 1)
        await stack.log.tick(24 * 3_600)
        later = await cuts_on_the_log(stack, len(seen) + 1)
        midnights = [one.midnight_us for one in later]
        assert midnights == sorted(set(midnights))

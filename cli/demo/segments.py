"""What the demo defines before it plays: the mission's segments, a strategy, a watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cli.definitions import read_definitions
from cli.documents import read_message
from cli.running import ROOT
from muster.alerts.v1 import service_pb2 as alerts_api
from muster.frequency.v1 import service_pb2 as frequency_api
from muster.segments.v1 import service_pb2 as segments_api
from services.chassis import clock

if TYPE_CHECKING:
    from cli.demo.calls import Calls

EXAMPLES = ROOT / "examples"
MISSION = EXAMPLES / "segments" / "mission.yaml"
CARE = EXAMPLES / "strategies" / "care.yaml"
RUSH = EXAMPLES / "watches" / "rush.yaml"
SETTLE_TRIES = 40


async def define_all(calls: Calls) -> dict[str, Any]:
    """Defines everything; segment id -> its condition."""
    conditions = {}
    for request in read_definitions(MISSION, calls.tenant):
        request.request_id = clock.new_id()
        await calls.segments.DefineSegment(request, timeout=30)
        conditions[request.segment_id] = request.condition
    strategy = read_message(CARE, frequency_api.Strategy())
    await calls.frequency.DefineStrategy(
        frequency_api.DefineStrategyRequest(
            tenant=calls.tenant, strategy=strategy, request_id=clock.new_id()
        ),
        timeout=30,
    )
    return conditions


async def define_watch(calls: Calls) -> None:
    """The watch over browsing-now, judged from now on."""
    watch = read_message(RUSH, alerts_api.Watch())
    request = alerts_api.DefineWatchRequest(
        tenant=calls.tenant, watch=watch, request_id=clock.new_id()
    )
    await calls.alerts.DefineWatch(request, timeout=30)


async def sizes(calls: Calls, at_least: str = "") -> dict[str, int]:
    """Members of every segment at one position, at least as new as a token."""
    request = segments_api.CountMembersRequest(tenant=calls.tenant, at_least=at_least)
    answer = await calls.segments.CountMembers(request, timeout=30)
    return {size.segment_id: size.members for size in answer.sizes}


async def from_scratch(calls: Calls, conditions: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Segments whose kept size is not that of a count from scratch: (kept, counted).

    Memberships also move between two calls, so a segment is named only when it never agreed.
    """
    different: dict[str, tuple[int, int]] = {}
    for name, condition in conditions.items():
        request = segments_api.PreviewSegmentRequest(tenant=calls.tenant, condition=condition)
        for _ in range(SETTLE_TRIES):
            before = (await sizes(calls))[name]
            counted = (await calls.segments.PreviewSegment(request, timeout=30)).members
            after = (await sizes(calls))[name]
            if before == counted == after:
                different.pop(name, None)
                break
            different[name] = (after, counted)
            await asyncio.sleep(0.1)
    return different

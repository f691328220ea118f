"""Watches: they begin now, resume to the row, filter, and say what they cannot serve."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis import subjects
from services.segments.adapters.names import profile_id_text
from tests.integration.segments_stack import (
    Stack,
    bought,
    public_id,
    read,
    refused,
    stack_of,
    wish,
)


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


async def test_a_watch_resumes_where_it_was_and_filters(one: Stack) -> None:
    await one.log.say(one.log.people(range(6)))
    await one.door.DefineSegment(wish("a", bought(1, kind="bought")))
    await one.door.DefineSegment(wish("b", bought(1, kind="viewed")))
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest())
    begins = (await watch.read()).resume_token
    await one.events([(1, "bought", 1), (2, "viewed", 1)])
    at_us = one.log.time_us
    first, token = await read(watch, 2)
    watch.cancel()
    assert {(t.segment_id, t.profile_id) for t in first} == {
        ("a", profile_id_text(public_id(1))),
        ("b", profile_id_text(public_id(2))),
    }
    assert {t.at_time.ToMicroseconds() for t in first} == {at_us}
    assert {t.reason for t in first} == {common_pb2.REASON_EVENT}
    assert all(len(t.cause) == 32 for t in first)
    await one.events([(3, "bought", 1)], 5)
    await one.log.tick(15)
    rest, _ = await read(
        one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token=token)), 3
    )
    assert [(t.profile_id == profile_id_text(public_id(3)), t.reason) for t in rest] == [
        (True, common_pb2.REASON_EVENT),
        (False, common_pb2.REASON_TIME),
        (False, common_pb2.REASON_TIME),
    ]
    everything, _ = await read(
        one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token=begins)), 5
    )
    assert everything == [*first, *rest]
    only_b, _ = await read(
        one.door.WatchTransitions(
            api.WatchTransitionsRequest(resume_token=begins, segment_ids=["b"])
        ),
        2,
    )
    assert only_b == [t for t in everything if t.segment_id == "b"]


async def test_a_large_step_is_watched_in_pieces_that_resume_to_the_row(one: Stack) -> None:
    await one.log.say(one.log.people(range(1_000)))
    await one.door.DefineSegment(wish("a"))
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest())
    token = (await watch.read()).resume_token
    await one.events([(n, "bought", 1) for n in range(1_000)])
    found: list[str] = []
    while len(found) < 1_000:
        request = api.WatchTransitionsRequest(resume_token=token)
        piece, token = await read(one.door.WatchTransitions(request), 1)
        found += [t.transition_id for t in piece]
    assert len(found) == len(set(found)) == 1_000
    everything, _ = await read(watch, 1_000)
    assert [t.transition_id for t in everything] == found


async def test_a_watch_refuses_tokens_it_cannot_serve(one: Stack) -> None:
    await one.log.say(one.log.people(range(3)))
    await one.door.DefineSegment(wish("a"))
    for token in ("t999999.0", "yesterday", "t-1.0"):
        watch = one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token=token))
        await refused(watch.read(), grpc.StatusCode.INVALID_ARGUMENT)
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest(segment_ids=["nowhere"]))
    await refused(watch.read(), grpc.StatusCode.NOT_FOUND)
    await one.events([(1, "bought", 1)])
    await one.log.tick(1)
    await one.log.tick(30)
    await one.door.CountMembers(api.CountMembersRequest(at_least=one.log.token))
    jetstream = one.client.jetstream()
    config = (await jetstream.stream_info(subjects.TRANSITIONS)).config
    config.max_age = 0.1
    await jetstream.update_stream(config)
    async with asyncio.timeout(10):
        while (await jetstream.stream_info(subjects.TRANSITIONS)).state.first_seq < 3:
            await asyncio.sleep(0.1)
    watch = one.door.WatchTransitions(api.WatchTransitionsRequest(resume_token="t1.0"))
    await refused(watch.read(), grpc.StatusCode.OUT_OF_RANGE)

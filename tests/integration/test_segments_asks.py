"""What one partition's process asks another's, over a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nats
import pytest
from faststream import AckPolicy
from faststream.nats import NatsBroker
from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from services.chassis import subjects
from services.chassis.embedded import EmbeddedNats
from services.chassis.errors import NotFound, NotReady
from services.segments.adapters.asks import QUESTIONS, OtherPartition, OwnPartition, answer_others
from services.segments.settings import SegmentsSettings

SETTINGS = SegmentsSettings(partitions=2, partition=1, ask_timeout_ms=300, at_least_wait_ms=0)


class Answers:
    """Answers that show what was asked; digits and JSON in a body must stay what they are."""

    async def nothing(self, request: Any, profile: int) -> Any:
        raise AssertionError

    def __getattr__(self, question: str) -> Any:
        assert question in QUESTIONS
        return self.nothing

    async def count(self, request: Any, profile: int) -> api.CountMembersResponse:
        if "nowhere" in request.segment_ids:
            raise NotFound("no segment nowhere")
        if "slow" in request.segment_ids:
            await asyncio.sleep(0.2)
        if "dead" in request.segment_ids:
            await asyncio.sleep(5)
        size = segments.SegmentSize(segment_id=",".join(request.segment_ids), members=profile + 1)
        return api.CountMembersResponse(sizes=[size])


@pytest.fixture
async def client(tmp_path: Path):
    server = EmbeddedNats(tmp_path / "nats").start()
    broker = NatsBroker(server.url, apply_types=False, ack_policy=AckPolicy.MANUAL, logger=None)
    answer_others(broker, SETTINGS, OwnPartition(Answers()))
    await broker.start()
    connection = await nats.connect(server.url, allow_reconnect=False)
    yield connection
    await connection.close()
    await broker.stop()
    server.stop()


async def test_questions_and_answers_arrive_as_they_are(client: Client) -> None:
    other = OtherPartition(client, SETTINGS, 1)
    for ids in ([], ["123"], ["{}"], ["a", "b"]):
        answer = await other.ask("count", api.CountMembersRequest(segment_ids=ids), 41)
        assert (answer.sizes[0].segment_id, answer.sizes[0].members) == (",".join(ids), 42)


async def test_a_refusal_there_is_a_refusal_here(client: Client) -> None:
    other = OtherPartition(client, SETTINGS, 1)
    with pytest.raises(NotFound, match="no segment nowhere"):
        await other.ask("count", api.CountMembersRequest(segment_ids=["nowhere"]))


async def test_what_is_not_a_question_is_refused(client: Client) -> None:
    reply = await client.request(
        subjects.ask("demo", 1, "segments", "count"), b"\xff\xff", timeout=2
    )
    assert "InvalidRequest" in (reply.headers or {})["Muster-Refusal"]


async def test_slow_questions_do_not_wait_for_each_other(client: Client) -> None:
    other = OtherPartition(client, SETTINGS.model_copy(update={"ask_timeout_ms": 2_000}), 1)
    slow = api.CountMembersRequest(segment_ids=["slow"])
    async with asyncio.timeout(1):
        await asyncio.gather(*(other.ask("count", slow) for _ in range(10)))


async def test_a_silent_and_an_absent_partition_are_named(client: Client) -> None:
    with pytest.raises(NotReady, match="partition 1 does not answer"):
        await OtherPartition(client, SETTINGS, 1).ask(
            "count", api.CountMembersRequest(segment_ids=["dead"])
        )
    with pytest.raises(NotReady, match="partition 0 does not answer"):
        await OtherPartition(client, SETTINGS, 0).ask("count", api.CountMembersRequest())

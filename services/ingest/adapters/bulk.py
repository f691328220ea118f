"""Much at once: batches of a stream, as events or as Arrow, each answered for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import DecodeError

from muster.ingest.v1.facts_pb2 import ItemReceipt, Verdict
from muster.ingest.v1.service_pb2 import SubmitStreamRequest, SubmitStreamResponse
from services.chassis.columns import shadow_of
from services.chassis.errors import InvalidRequest, NotReady
from services.ingest.adapters.arrow_rows import events_in
from services.ingest.domain.faults import BATCH_BYTES_MAX, EVENTS_MAX
from services.ingest.handlers import Door, Submission

BATCHES_AT_ONCE_MAX = 64
_RAW_REQUEST = shadow_of(SubmitStreamRequest)
"""SubmitStreamRequest whose events are bytes."""
Answering = asyncio.Task[SubmitStreamResponse]


@dataclass(frozen=True, slots=True)
class Placed:
    """An event on the wire, and its place in what the caller sent."""

    place: int
    raw: bytes


@dataclass(slots=True)
class Stored:
    """What became of pieces: how many are durable, what was refused, the newest position."""

    stored: int = 0
    refused: list[ItemReceipt] | None = None
    position: Any = None


async def submit_pieces(door: Door, like: Submission, placed: list[Placed]) -> Stored:
    """Submits any number of events in as few submissions as hold them; refusals by place."""
    done = Stored(refused=[])
    assert done.refused is not None
    for piece in pieces(placed):
        response = await door.submit(replace(like, raws=[one.raw for one in piece]))
        for one, item in zip(piece, response.items, strict=True):
            if item.verdict == Verdict.VERDICT_REJECTED:
                item.index = one.place
                done.refused.append(item)
            else:
                done.stored += 1
        if response.position.token:
            done.position = response.position
    return done


def pieces(placed: list[Placed]) -> Iterator[list[Placed]]:
    """Cut so that each fits one submission."""
    piece: list[Placed] = []
    size = 0
    for one in placed:
        if piece and (len(piece) == EVENTS_MAX or size + len(one.raw) + 8 > BATCH_BYTES_MAX):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += len(one.raw) + 8
    if piece:
        yield piece


async def answer_stream(
    door: Door, key: str, requests: AsyncIterator[bytes], now_us: Callable[[], int]
) -> AsyncGenerator[SubmitStreamResponse, None]:
    """Answers in the order of the batches, at most BATCHES_AT_ONCE_MAX of them at once: the next
    request is read when there is room, so a slow log slows the caller down."""
    answers: asyncio.Queue[Answering | None] = asyncio.Queue()
    room = asyncio.Semaphore(BATCHES_AT_ONCE_MAX)

    async def read() -> None:
        like: Submission | None = None
        try:
            async for body in requests:
                asked = _opened(body)
                if like is None:
                    like = Submission(asked.tenant, asked.publisher, [], asked.import_id, key=key)
                await room.acquire()
                answers.put_nowait(asyncio.create_task(_answer(door, like, asked, now_us())))
        finally:
            answers.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (answering := await answers.get()) is not None:
            answer = await answering
            room.release()
            yield answer
        await reader
    finally:
        reader.cancel()
        while not answers.empty():
            left = answers.get_nowait()
            if left is not None:
                left.cancel()


async def _answer(door: Door, like: Submission, request: Any, now_us: int) -> SubmitStreamResponse:
    """One batch: what is not ready now is said with the time to wait, and the stream goes on."""
    placed = [Placed(place, raw) for place, raw in enumerate(request.events)]
    refused: list[ItemReceipt] = []
    events = len(placed)
    if request.arrow:
        if placed:
            raise InvalidRequest([("arrow", "a batch holds events or Arrow, not both")])
        events, found, refused = events_in(request.arrow, now_us)
        placed = [Placed(place, raw) for place, raw in found]
    answer = SubmitStreamResponse(batch_number=request.batch_number, events=events)
    try:
        done = await submit_pieces(door, like, placed)
    except NotReady as refusal:
        answer.retry_after.FromMilliseconds(int(refusal.retry_s * 1_000))
        answer.detail = str(refusal)
        return answer
    answer.stored = done.stored
    answer.refused.extend(sorted([*refused, *(done.refused or [])], key=lambda item: item.index))
    if done.position is not None:
        answer.position.CopyFrom(done.position)
    return answer


def _opened(body: bytes) -> Any:
    try:
        return _RAW_REQUEST.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(
            [("", "not a muster.ingest.v1.SubmitStreamRequest; check the encoder")]
        ) from error

"""The gRPC door. Requests arrive as bytes: one event with a bad text must not spoil the others."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from muster.ingest.v1.service_pb2 import (
    PutCatalogueItemsRequest,
    PutCatalogueItemsResponse,
    SubmitEventsRequest,
    SubmitEventsResponse,
    SubmitStreamResponse,
)
from services.chassis import clock
from services.chassis.columns import shadow_of
from services.chassis.errors import InvalidRequest
from services.ingest.adapters.bulk import answer_stream
from services.ingest.adapters.catalogue import CatalogueDoor
from services.ingest.handlers import Door, Submission

SERVICE = "muster.ingest.v1.IngestService"
_RAW_REQUEST = shadow_of(SubmitEventsRequest)
"""SubmitEventsRequest whose events are bytes."""


class IngestServicer:
    """muster.ingest.v1.IngestService."""

    def __init__(self, door: Door, catalogue: CatalogueDoor) -> None:
        self._door = door
        self._catalogue = catalogue

    async def SubmitEvents(self, request: bytes, context: Any) -> SubmitEventsResponse:
        return await self._door.submit(submission_of(request, key_of(context)))

    async def SubmitStream(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[SubmitStreamResponse]:
        answers = answer_stream(self._door, key_of(context), requests, clock.wall_us)
        async with contextlib.aclosing(answers):
            async for answer in answers:
                yield answer

    async def PutCatalogueItems(
        self, request: PutCatalogueItemsRequest, context: Any
    ) -> PutCatalogueItemsResponse:
        return await self._catalogue.put(request, key_of(context))


def key_of(context: Any) -> str:
    """The key in the call's metadata; "" without one."""
    for name, value in context.invocation_metadata() or ():
        scheme, _, key = str(value).partition(" ")
        if name == "authorization" and scheme.lower() == "bearer":
            return key.strip()
    return ""


def submission_of(request: bytes, key: str = "") -> Submission:
    """A SubmitEventsRequest taken apart; InvalidRequest when it is none."""
    try:
        raw = _RAW_REQUEST.FromString(request)
        deadline = Duration.FromString(raw.verdict_deadline)
    except DecodeError as error:
        raise InvalidRequest(
            [("", "the request is not a muster.ingest.v1.SubmitEventsRequest; check the encoder")]
        ) from error
    wait_s = deadline.seconds + deadline.nanos / 1e9
    return Submission(
        raw.tenant,
        raw.publisher,
        list(raw.events),
        raw.import_id,
        wait_s if wait_s > 0 else None,
        key,
    )


def add_to_server(servicer: IngestServicer, server: grpc.aio.Server) -> None:
    """As the generated function does, but hands over the request's bytes."""
    submit = grpc.unary_unary_rpc_method_handler(
        servicer.SubmitEvents,
        request_deserializer=bytes,
        response_serializer=SubmitEventsResponse.SerializeToString,
    )
    stream = grpc.stream_stream_rpc_method_handler(
        servicer.SubmitStream,
        request_deserializer=bytes,
        response_serializer=SubmitStreamResponse.SerializeToString,
    )
    put = grpc.unary_unary_rpc_method_handler(
        servicer.PutCatalogueItems,
        request_deserializer=PutCatalogueItemsRequest.FromString,
        response_serializer=PutCatalogueItemsResponse.SerializeToString,
    )
    methods = {"SubmitEvents": submit, "SubmitStream": stream, "PutCatalogueItems": put}
    handler = grpc.method_handlers_generic_handler(SERVICE, methods)
    server.add_generic_rpc_handlers((handler,))

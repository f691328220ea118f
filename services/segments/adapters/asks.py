"""How the process of one partition asks those of the others: NATS request and reply.

The messages are those of the API; a refusal travels in a header and is raised again where it was
asked. Facts never travel this way: only questions of people and platforms.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import nats.errors
from faststream.nats import NatsBroker, NatsMessage, NatsResponse
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import Int64Value
from nats.aio.client import Client

from muster.segments.v1 import cuts_pb2, explore_pb2, joins_pb2, lists_pb2, variants_pb2
from muster.segments.v1 import service_pb2 as api
from services.chassis import errors, subjects
from services.segments.settings import SegmentsSettings

PROFILE_HEADER = "Muster-Profile"
REFUSAL_HEADER = "Muster-Refusal"
ASKS_AT_ONCE_MAX = 16
NOBODY = -1

Answer = TypeVar("Answer", bound=Message)
Answering = Callable[[Any, int], Awaitable[Message]]

QUESTIONS: dict[str, tuple[type[Message], type[Message]]] = {
    "locate": (api.CheckMembershipsRequest, Int64Value),
    "count": (api.CountMembersRequest, api.CountMembersResponse),
    "check": (api.CheckMembershipsRequest, api.CheckMembershipsResponse),
    "explain": (api.ExplainMembershipRequest, api.ExplainMembershipResponse),
    "preview": (api.PreviewSegmentRequest, api.PreviewSegmentResponse),
    "list": (api.ListMembersRequest, api.ListMembersResponse),
    "members": (api.ReadListingRequest, api.ReadListingResponse),
    "prepare": (api.PreviewChangeRequest, Int64Value),
    "change": (api.PreviewChangeRequest, api.PreviewChangeResponse),
    "divided": (variants_pb2.PreviewVariantsRequest, variants_pb2.PreviewVariantsResponse),
    "figures": (cuts_pb2.CollectFiguresRequest, cuts_pb2.CollectFiguresResponse),
    "located": (lists_pb2.LocateProfilesRequest, lists_pb2.LocateProfilesResponse),
    "then": (explore_pb2.ListMembersAsOfRequest, explore_pb2.ListMembersAsOfResponse),
    "backtest": (explore_pb2.BacktestRuleRequest, explore_pb2.BacktestPoints),
    "overlap": (explore_pb2.GetOverlapRequest, explore_pb2.GetOverlapResponse),
    "turns": (explore_pb2.GetMembershipHistoryRequest, explore_pb2.GetMembershipHistoryResponse),
    "soon": (explore_pb2.ListNextFlipsRequest, explore_pb2.ListNextFlipsResponse),
    "past": (joins_pb2.ExportPastRequest, joins_pb2.ProfilePast),
    "variants": (variants_pb2.BatchGetVariantsRequest, variants_pb2.BatchGetVariantsResponse),
}
"""Question -> what is asked, what is answered. The answers are in handlers.PartitionAnswers."""

_REFUSALS: dict[str, type[errors.Refusal]] = {
    kind.__name__: kind
    for kind in (
        errors.NotFound,
        errors.Conflict,
        errors.Precondition,
        errors.OutOfRange,
        errors.NotReady,
        errors.Overloaded,
        errors.InvalidRequest,
    )
}


class Partition(Protocol):
    """Answers of one partition, here or elsewhere."""

    async def ask(self, question: str, request: Message, profile: int = NOBODY) -> Any:
        """The response of QUESTIONS; raises the refusal the partition answered with."""


class OwnPartition:
    """The partition this process works on."""

    def __init__(self, answers: object) -> None:
        self._answers: dict[str, Answering] = {name: getattr(answers, name) for name in QUESTIONS}

    async def ask(self, question: str, request: Message, profile: int = NOBODY) -> Any:
        return await self._answers[question](request, profile)


class OtherPartition:
    """A partition another process works on."""

    def __init__(self, client: Client, settings: SegmentsSettings, partition: int) -> None:
        self._client = client
        self._tenant = settings.tenant
        self._partition = partition
        self._timeout_s = (settings.ask_timeout_ms + settings.at_least_wait_ms) / 1_000

    async def ask(self, question: str, request: Message, profile: int = NOBODY) -> Any:
        subject = subjects.ask(self._tenant, self._partition, "segments", question)
        try:
            reply = await self._client.request(
                subject,
                request.SerializeToString(),
                timeout=self._timeout_s,
                headers={PROFILE_HEADER: str(profile)},
            )
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError, TimeoutError):
            raise errors.NotReady(
                f"the segments process of partition {self._partition} does not answer; ask again"
            ) from None
        refusal = (reply.headers or {}).get(REFUSAL_HEADER)
        if refusal:
            raise refusal_of(refusal)
        return QUESTIONS[question][1].FromString(reply.data)


def answer_others(broker: NatsBroker, settings: SegmentsSettings, own: OwnPartition) -> None:
    """Subscribes to what other partitions ask ours; several owners share one queue."""
    for question, (asked, _) in QUESTIONS.items():
        subject = subjects.ask(settings.tenant, settings.partition, "segments", question)
        subscriber = broker.subscriber(
            subject,
            queue=f"segments-{settings.partition}",
            decoder=_undecoded,
            max_workers=ASKS_AT_ONCE_MAX,
        )
        subscriber(_answering(own, question, asked))


def _answering(
    own: OwnPartition, question: str, asked: type[Message]
) -> Callable[[NatsMessage], Awaitable[NatsResponse]]:
    async def answer(message: NatsMessage) -> NatsResponse:
        try:
            request = asked.FromString(message.body)
            profile = int(message.headers.get(PROFILE_HEADER, NOBODY))
            response = await own.ask(question, request, profile)
        except errors.Refusal as refusal:
            return NatsResponse(b"", headers={REFUSAL_HEADER: refusal_text(refusal)})
        except (ValueError, DecodeError) as error:
            wrong = errors.InvalidRequest([("", str(error))])
            return NatsResponse(b"", headers={REFUSAL_HEADER: refusal_text(wrong)})
        return NatsResponse(response.SerializeToString())

    return answer


async def _undecoded(message: NatsMessage) -> NatsMessage:
    """FastStream would try every body as JSON; ours are protobuf."""
    return message


def refusal_text(refusal: errors.Refusal) -> str:
    """A refusal as one header value (ASCII JSON)."""
    said: dict[str, Any] = {"kind": type(refusal).__name__, "why": str(refusal)}
    if isinstance(refusal, errors.InvalidRequest):
        said["faults"] = refusal.faults
    if isinstance(refusal, errors.NotReady):
        said["retry_s"] = refusal.retry_s
    return json.dumps(said)


def refusal_of(text: str) -> errors.Refusal:
    """The refusal in a header value; one of an unknown kind is NotReady."""
    said = json.loads(text)
    kind = _REFUSALS.get(said["kind"], errors.NotReady)
    if issubclass(kind, errors.InvalidRequest):
        return kind([(path, why) for path, why in said["faults"]])
    if issubclass(kind, errors.NotReady):
        return kind(said["why"], said.get("retry_s", 1.0))
    return kind(said["why"])


async def ask_all(
    partitions: list[Partition], question: str, request: Message, profile: int = NOBODY
) -> list[Any]:
    """The answers of all partitions, in their order; the first refusal is raised."""
    if len(partitions) == 1:
        return [await partitions[0].ask(question, request, profile)]
    asked = [asyncio.ensure_future(one.ask(question, request, profile)) for one in partitions]
    try:
        return await asyncio.gather(*asked)
    finally:
        for one in asked:
            one.cancel()

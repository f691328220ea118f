"""The NATS door: an EventBatch asked on `muster.submit.v1.<tenant>.<publisher>`.

The reply is a SubmitEventsResponse (STORED or REJECTED per item). A batch that cannot be answered
per item is answered with the headers of NATS services: `Nats-Service-Error-Code` (400 wrong, 429
full, 503 unknown: send the same ids again) and `Nats-Service-Error`, which says what to do.
"""

from __future__ import annotations

from typing import Any

from faststream.nats import NatsBroker, NatsMessage
from faststream.nats.response import NatsResponse
from google.protobuf.message import DecodeError

from services.chassis import subjects
from services.chassis.errors import InvalidRequest, NotReady, Overloaded, Refusal
from services.ingest.adapters.reference import RAW_BATCH
from services.ingest.domain.faults import Fault
from services.ingest.handlers import Door, Submission
from services.ingest.settings import IngestSettings

QUEUE = "ingest-doors"
BATCHES_AT_ONCE_MAX = 64
CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"
RETRY_HEADER = "Retry-After-Ms"


def answer_batches(broker: NatsBroker, settings: IngestSettings, door: Door) -> None:
    """Subscribes the door; several processes share one queue."""

    async def answer(message: NatsMessage) -> NatsResponse:
        try:
            publisher = subjects.publisher_of(message.raw_message.subject)
            batch = _opened(message.body)
            submission = Submission(settings.tenant, publisher, list(batch.events), batch.import_id)
            response = await door.submit(submission)
        except Refusal as refusal:
            return NatsResponse(b"", headers=_headers(refusal))
        return NatsResponse(response.SerializeToString())

    subscriber = broker.subscriber(
        subjects.submit_of(settings.tenant),
        queue=QUEUE,
        decoder=_undecoded,
        max_workers=BATCHES_AT_ONCE_MAX,
    )
    subscriber(answer)


async def _undecoded(message: NatsMessage) -> NatsMessage:
    """FastStream would try every body as JSON; ours are protobuf."""
    return message


def _opened(body: bytes) -> Any:
    try:
        return RAW_BATCH.FromString(body)
    except DecodeError as error:
        raise InvalidRequest([("", Fault.MALFORMED_BATCH.detail)]) from error


def _headers(refusal: Refusal) -> dict[str, str]:
    code = 400
    headers = {}
    if isinstance(refusal, NotReady):
        code = 429 if isinstance(refusal, Overloaded) else 503
        headers[RETRY_HEADER] = str(int(refusal.retry_s * 1_000))
    text = str(refusal).encode("ascii", "replace").decode()
    return {CODE_HEADER: str(code), ERROR_HEADER: text, **headers}

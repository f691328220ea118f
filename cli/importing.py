"""Sends a history through the gRPC door as an import: counted once, no triggers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from cli.events import batches
from cli.problems import Problem

if TYPE_CHECKING:
    from cli.running import Running
    from muster.ingest.v1.facts_pb2 import ItemReceipt
    from muster.ingest.v1.service_pb2 import SubmitEventsResponse
    from muster.types.v1.event_pb2 import Event, EventBatch

CALLS_AT_ONCE = 4
TRIES_MAX = 8
CALL_TIMEOUT_S = 30.0
PUBLISHER = "import"


@dataclass
class Imported:
    """What became of a history. token: the position from which all of it is visible."""

    sent: int = 0
    rejected: list[ItemReceipt] = field(default_factory=list)
    token: str = ""


async def send_history(
    running: Running,
    events: Iterable[Event],
    import_id: str,
    progress: Callable[[int], None] = lambda _sent: None,
) -> Imported:
    """Sends all events in full batches, a few calls at once; repeats a call that got no answer.

    Raises Problem when the door stays away.
    """
    import grpc

    from cli.running import address_of, stub_class
    from muster.ingest.v1.facts_pb2 import VERDICT_REJECTED

    done = Imported()
    pending = batches(events, import_id)
    async with grpc.aio.insecure_channel(address_of(running, "ingest")) as channel:
        stub = stub_class("ingest")(channel)
        while round_of := list(islice(pending, CALLS_AT_ONCE)):
            calls = [_send(stub, running.tenant, batch) for batch in round_of]
            for batch, answer in zip(round_of, await asyncio.gather(*calls), strict=True):
                done.sent += len(batch.events)
                # A stored item may carry a code too: identifiers of it that were left out.
                done.rejected += [i for i in answer.items if i.verdict == VERDICT_REJECTED]
                done.token = answer.position.token or done.token
            progress(done.sent)
    return done


async def _send(stub: Any, tenant: str, batch: EventBatch) -> SubmitEventsResponse:
    import grpc

    from muster.ingest.v1.service_pb2 import SubmitEventsRequest

    request = SubmitEventsRequest(
        tenant=tenant, publisher=PUBLISHER, events=batch.events, import_id=batch.import_id
    )
    for attempt in range(TRIES_MAX):
        try:
            answer: SubmitEventsResponse = await stub.SubmitEvents(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            again = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
            if error.code() not in again or attempt == TRIES_MAX - 1:
                raise
            await asyncio.sleep(0.2 * 2**attempt)
        else:
            return answer
    raise Problem("the door of ingest does not answer; run the import again: it counts rows once")

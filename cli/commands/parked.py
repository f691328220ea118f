"""`muster parked`: what could not be processed, untouched, with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="What could not be processed, and why.")

PULL = 100
REDRIVE_IMPORT = "parked"
HORIZON_US = 24 * 60 * 60 * 1_000_000
"""Within this a repeat is recognised; ingest refuses what was first sent earlier."""


async def _parked(first: int) -> AsyncIterator[tuple[int, Any]]:
    """(sequence, Parked) from a sequence on."""
    import nats
    from nats.js.api import ConsumerConfig, DeliverPolicy

    from cli.running import stack
    from muster.types.v1.common_pb2 import Parked
    from services.chassis import subjects

    running = stack()
    client = await nats.connect(running.nats_url, allow_reconnect=False)
    jetstream = client.jetstream()
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
    consumer = await jetstream.pull_subscribe(
        subjects.parked_of(running.tenant), stream=subjects.PARKED, config=config
    )
    left = (await consumer.consumer_info()).num_pending or 0
    while left > 0:
        for message in await consumer.fetch(min(PULL, left), timeout=5):
            left -= 1
            parked = Parked.FromString(message.data)
            if parked.code:
                yield message.metadata.sequence.stream, parked
    await client.close()


@app.command("list")
def list_parked(first: Annotated[int, typer.Option("--from", min=1)] = 1) -> None:
    """One line for each parked item, oldest first."""
    asyncio.run(_list(first))


async def _list(first: int) -> None:
    from cli.output import moment

    shown = 0
    async for sequence, parked in _parked(first):
        shown += 1
        source = f"{parked.source_stream} {parked.source_sequence}"
        print(
            f"{sequence:>6}  {moment(parked.park_time)}  {parked.service:<10} {source:<16} ", end=""
        )
        print(f"{parked.code}: {parked.detail}")
    print(f"{shown} parked; `./muster parked show N` shows one" if shown else "nothing is parked")


@app.command()
def show(
    sequence: Annotated[int, typer.Argument(help="The number in `parked list`.", min=1)],
    raw: Annotated[bool, typer.Option(help="Only the body's bytes, for a pipe.")] = False,
) -> None:
    """One parked item with its body, as text where it is an event batch."""
    asyncio.run(_show(sequence, raw))


async def _show(sequence: int, raw: bool) -> None:
    import sys

    from cli.output import print_json
    from cli.problems import Problem

    async for found, parked in _parked(sequence):
        if found != sequence:
            break
        if raw:
            sys.stdout.buffer.write(parked.body)
            return
        body, parked.body = parked.body, b""
        print_json(parked)
        print_body(body)
        return
    raise Problem(f"nothing is parked as {sequence}; see ./muster parked list")


@app.command()
def redrive(
    sequence: Annotated[
        int | None, typer.Argument(help="The number in `parked list`; every one if left out.")
    ] = None,
    code: Annotated[
        str, typer.Option(help="Only those, such as event_type_not_described.")
    ] = "event_type_not_described",
    history: Annotated[
        bool, typer.Option(help="As history, without triggers: events of any age.")
    ] = False,
) -> None:
    """Sends events that ingest refused once more, when what was wrong is mended.

    Sending twice counts once, as long as it is done the same way: as they were, or with --history.
    """
    asyncio.run(_redrive(sequence, code, history))


async def _redrive(wanted: int | None, code: str, history: bool) -> None:
    import nats

    from cli.running import stack
    from services.chassis import clock, subjects

    running = stack()
    client = await nats.connect(running.nats_url, allow_reconnect=False)
    events = left = 0
    async for sequence, parked in _parked(wanted or 1):
        if wanted is not None and sequence != wanted:
            break
        ours = parked.source_subject.startswith(subjects.intake(running.tenant, "x")[:-1])
        if not ours or (wanted is None and parked.code != code):
            continue
        batch, old = _sendable(parked.body, history, clock.wall_us())
        left += old
        if batch.events:
            await client.jetstream().publish(parked.source_subject, batch.SerializeToString())
            events += len(batch.events)
    await client.close()
    print(f"{events} events sent again; verdicts come on RECEIPTS")
    if left:
        print(f"{left} are older than a repeat is recognised; --history sends them as history")


def _sendable(body: bytes, history: bool, now_us: int) -> tuple[Any, int]:
    """(the batch to send, how many events are too old for it)."""
    from muster.types.v1.event_pb2 import EventBatch

    batch = EventBatch.FromString(body)
    if batch.import_id:
        return batch, 0
    if history:
        batch.import_id = REDRIVE_IMPORT
        return batch, 0
    young = [e for e in batch.events if now_us - (e.send_time_us or e.occur_time_us) < HORIZON_US]
    return EventBatch(events=young), len(batch.events) - len(young)


def print_body(body: bytes) -> None:
    """A batch of events as JSON; anything else as hexadecimal."""
    from google.protobuf.message import DecodeError

    from cli.output import print_json
    from muster.types.v1.event_pb2 import EventBatch

    try:
        batch = EventBatch.FromString(body)
    except DecodeError:
        batch = EventBatch()
    if batch.events:
        print_json(batch)
    else:
        print(f"{len(body)} bytes that are no batch of events:\n{body[:512].hex(' ')}")

"""`muster publish`: events from flags, a file or standard input, through gRPC or NATS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.running import Running
    from muster.types.v1.event_pb2 import Event

PUBLISHER = "cli"
WAIT_MS = 5_000


def command(
    event_type: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Such as page_viewed.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="The user_id.")] = None,
    identifier: Annotated[
        list[str] | None, typer.Option("--id", help="kind=value, such as email=ada@example.org.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="A property: key=value, as often as needed.")
    ] = None,
    occur_time: Annotated[
        str | None, typer.Option("--at", help="ISO 8601; now if left out.")
    ] = None,
    event_id: Annotated[str | None, typer.Option(help="A random one if left out.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="NDJSON, one event per line; - reads standard input.")
    ] = None,
    through: Annotated[str, typer.Option(help="grpc or nats.")] = "grpc",
    wait: Annotated[bool, typer.Option(help="Wait until each was counted.")] = True,
) -> None:
    """Publishes one event, or a file of them: ./muster publish page_viewed --user ada."""
    from cli.events import event_of, read_ndjson, spoken_value
    from cli.problems import Problem
    from cli.running import stack
    from services.chassis import clock

    running = stack()
    now_us = clock.wall_us()
    if file is not None:
        lines = sys.stdin if str(file) == "-" else _lines(file)
        events = list(read_ndjson(lines, now_us, clock.new_id))
    elif event_type is None:
        raise Problem("name a type (muster publish page_viewed --user ada) or give --file")
    else:
        identifiers = dict(_pair(text) for text in identifier or [])
        if user is not None:
            identifiers["user_id"] = user
        properties = {k: spoken_value(v) for k, v in map(_pair, values or [])}
        tree = {"type": event_type, "identifiers": identifiers, "properties": properties}
        tree |= {"occur_time": occur_time} if occur_time else {}
        try:
            events = [event_of(tree, now_us, event_id or clock.new_id())]
        except ValueError as wrong:
            raise Problem(str(wrong)) from None
    if through == "nats":
        asyncio.run(_through_nats(running, events))
    elif through == "grpc":
        _through_grpc(running, events, wait)
    else:
        raise Problem(f"--through {through}: use grpc or nats")


def _lines(file: Path) -> Iterable[str]:
    from cli.problems import Problem

    try:
        return file.read_text().splitlines()
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from None


def _pair(text: str) -> tuple[str, str]:
    from cli.problems import Problem

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Problem(f"{text!r}: write key=value")
    return key, value


def _through_grpc(running: Running, events: list[Event], wait: bool) -> None:
    """One verdict per event; exits with 1 when one was rejected."""
    from cli.events import batches
    from cli.output import word
    from cli.running import CALL_TIMEOUT_S, calls, key_metadata, publisher_or
    from muster.ingest.v1 import facts_pb2, service_pb2

    rejected = 0
    with calls(running, "ingest") as ingest:
        for batch in batches(events):
            request = service_pb2.SubmitEventsRequest(
                tenant=running.tenant, publisher=publisher_or(PUBLISHER), events=batch.events
            )
            if wait:
                request.verdict_deadline.FromMilliseconds(WAIT_MS)
            answer = ingest.SubmitEvents(request, timeout=CALL_TIMEOUT_S, metadata=key_metadata())
            for item in answer.items:
                verdict = word(facts_pb2.Verdict, item.verdict)
                rejected += item.verdict == facts_pb2.VERDICT_REJECTED
                detail = f"  {item.code}: {item.detail}" if item.code else ""
                print(f"{verdict:<10} {item.event_id}{detail}")
    if rejected:
        raise typer.Exit(1)


async def _through_nats(running: Running, events: list[Event]) -> None:
    """Straight onto INTAKE: durable once acknowledged; verdicts come on RECEIPTS."""
    import nats

    from cli.events import batches
    from services.chassis import subjects

    client = await nats.connect(running.nats_url, allow_reconnect=False)
    subject = subjects.intake(running.tenant, PUBLISHER)
    for batch in batches(events):
        body = batch.SerializeToString()
        ack = await client.jetstream().publish(subject, body)
        print(f"stored     {len(batch.events)} events as {ack.stream} {ack.seq}")
    await client.close()

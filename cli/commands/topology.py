"""`muster topology`: the streams of the log, as declared and as they are."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.chassis.topology import Change

app = typer.Typer(no_args_is_help=True, help="Streams of the log: plan, apply, verify.")

Replicas = Annotated[int, typer.Option(min=1, max=5, help="Copies of each stream.")]
LogBytes = Annotated[
    int | None, typer.Option(help="Disk given to the whole log; as it was set up if left out.")
]


def _log_bytes(given: int | None) -> int:
    """The flag, MUSTER_LOG_BYTES_MAX, or what the running stack was made with."""
    from cli.running import log_bytes_of, stack

    if given is not None:
        return given
    if named := os.environ.get("MUSTER_LOG_BYTES_MAX"):
        return int(named)
    return log_bytes_of(stack())


async def _changes(make: bool, replicas: int, log_bytes: int) -> list[Change]:
    import nats

    from cli.running import stack
    from services.chassis import topology

    client = await nats.connect(stack().nats_url, allow_reconnect=False)
    work = topology.apply if make else topology.plan
    changes = await work(client, log_bytes, replicas)
    await client.close()
    return changes


@app.command()
def plan(replicas: Replicas = 1, log_bytes: LogBytes = None) -> None:
    """What apply would change."""
    changes = asyncio.run(_changes(False, replicas, _log_bytes(log_bytes)))
    for change in changes:
        print(change)
    print(f"{len(changes)} changes" if changes else "every stream is as declared")


@app.command()
def apply(replicas: Replicas = 1, log_bytes: LogBytes = None) -> None:
    """Makes the streams as declared. Safe to repeat."""
    changes = asyncio.run(_changes(True, replicas, _log_bytes(log_bytes)))
    for change in changes:
        print(f"changed {change}")
    print(f"{len(changes)} changes made" if changes else "every stream is as declared")


@app.command()
def verify(replicas: Replicas = 1, log_bytes: LogBytes = None) -> None:
    """Exits with 1 unless every stream is as declared."""
    changes = asyncio.run(_changes(False, replicas, _log_bytes(log_bytes)))
    for change in changes:
        print(change)
    if changes:
        print("run `./muster topology apply`")
        raise typer.Exit(1)
    print("every stream is as declared")

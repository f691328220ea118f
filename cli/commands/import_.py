"""`muster import`: a history from a file, as history: no triggers, each row counted once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.importing import Imported
    from cli.running import Running
    from muster.types.v1.event_pb2 import Event

REJECTED_SHOWN = 20


def command(
    files: Annotated[list[Path], typer.Argument(help="CSV, NDJSON, or files of examples/data.")],
    kind: Annotated[
        str | None, typer.Option("--as", help="cdnow, clickstream, csv or ndjson.")
    ] = None,
    import_id: Annotated[
        str | None,
        typer.Option(help="Rows are counted once per import; else the file's name."),
    ] = None,
) -> None:
    """Imports histories with a progress bar; repeating an import changes nothing."""
    from cli.history import READERS, kind_of
    from cli.problems import Problem
    from cli.running import stack
    from services.chassis import clock

    if kind is not None and kind not in READERS:
        raise Problem(f"--as {kind}: use {', '.join(READERS)}")
    running = stack()
    for file in files:
        events = list(READERS[kind or kind_of(file)](file, clock.wall_us()))
        began = clock.monotonic()
        done = _with_bar(running, file, events, import_id or file.name)
        took = clock.monotonic() - began
        for item in done.rejected[:REJECTED_SHOWN]:
            print(f"  rejected {item.event_id}: {item.code}: {item.detail}")
        print(f"{file.name}: {done.sent:,} events, {len(done.rejected):,} rejected, {took:.1f} s")
        if done.rejected:
            raise typer.Exit(1)


def _with_bar(running: Running, file: Path, events: list[Event], import_id: str) -> Imported:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from cli.importing import send_history

    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task(file.name, total=len(events))
        sending = send_history(running, events, import_id, lambda n: bar.update(task, completed=n))
        return asyncio.run(sending)

"""`muster import`: a history from a file, as history: no triggers, each row counted once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.file_import import FileImport, Progress

REJECTED_SHOWN = 20


def command(
    files: Annotated[
        list[Path], typer.Argument(help="CSV, NDJSON (also gzipped), Parquet, Arrow.")
    ],
    kind: Annotated[
        str | None, typer.Option("--as", help="csv, ndjson, parquet, arrow, cdnow or clickstream.")
    ] = None,
    import_id: Annotated[
        str | None,
        typer.Option(help="Rows are counted once per import; else the file's name."),
    ] = None,
    event_type: Annotated[
        str, typer.Option("--type", help="Of rows that name none, such as profile_updated.")
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="A column by another name: Customer=user_id."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--receipts", help="Where receipts and progress are kept.")
    ] = None,
) -> None:
    """Imports histories with a progress bar and a receipt; goes on after an end without warning."""
    from cli.commands.publish import _pair
    from cli.file_import import FileImport
    from cli.file_rows import FileRows, Layout
    from cli.running import STATE, stack
    from services.chassis import clock

    running = stack()
    renamed = dict(_pair(text) for text in columns or [])
    rejected = False
    for file in files:
        layout = Layout(import_id or file.name, clock.wall_us(), event_type, renamed)
        importing = FileImport(running, FileRows(file, kind, layout), folder or STATE / "imports")
        began = clock.monotonic()
        done = _with_bar(file, importing)
        _tell(file, importing, done, clock.monotonic() - began)
        rejected = rejected or bool(done.rejected)
    if rejected:
        raise typer.Exit(1)


def _tell(file: Path, importing: FileImport, done: Progress, took_s: float) -> None:
    if importing.resumed:
        print(f"  went on after row {importing.resumed:,}")
    if done.rejected:
        shown = 0
        for text in importing.receipt.read_text(errors="replace").splitlines():
            line = json.loads(text)
            if line.get("verdict") == "rejected":
                print(f"  row {line['row']} rejected: {line['code']}: {line['detail']}")
                shown += 1
            if shown == REJECTED_SHOWN:
                break
        if done.rejected > shown:
            print(f"  … {done.rejected - shown:,} more in the receipt")
    print(
        f"{file.name}: {done.accepted + done.already_in:,} events, {done.rejected:,} rejected, "
        f"{took_s:.1f} s ({done.read:,} rows read, {done.already_in:,} were in already)"
    )
    print(f"  receipt: {importing.receipt}")


def _with_bar(file: Path, importing: FileImport) -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task(file.name, total=1.0)
        return asyncio.run(importing.run(lambda share: bar.update(task, completed=share)))

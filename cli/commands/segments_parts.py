"""The part of `muster segments` that takes members out: freeze, split, export."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.segments_life import Author, SegmentId, line_of

app = typer.Typer()


@app.command()
def freeze(
    segment: SegmentId,
    new: Annotated[str, typer.Argument(metavar="LIST", help="The id of the list to make.")],
    name: Annotated[str, typer.Option()] = "",
    author: Author = "",
) -> None:
    """Puts the present members into a new list, which stays as it is."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import FreezeSegmentRequest
    from services.chassis import clock

    running = stack()
    request = FreezeSegmentRequest(
        tenant=running.tenant, segment_id=segment, list_id=new, name=name, author=author,
        request_id=clock.new_id(),
    )  # fmt: skip
    with calls(running, "segments") as segments:
        made = segments.FreezeSegment(request, timeout=CALL_TIMEOUT_S).list
    print(line_of(made))


@app.command()
def split(
    segment: SegmentId,
    parts: Annotated[
        list[str], typer.Argument(metavar="LIST[=PERCENT]…", help="Such as a b, or a=90 b=10.")
    ],
    salt: Annotated[str, typer.Option(help="The same salt divides the same people alike.")] = "",
    live: Annotated[bool, typer.Option(help="Segments: who comes later falls into a part too.")] = (
        False
    ),
    author: Author = "",
) -> None:
    """Divides the present members into new lists, exactly: evenly, or by percentages; or live."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import SplitSegmentRequest
    from services.chassis import clock

    running = stack()
    request = SplitSegmentRequest(
        tenant=running.tenant, segment_id=segment, salt=salt, author=author,
        request_id=clock.new_id(), live=live,
    )  # fmt: skip
    for part in parts:
        list_id, _, percent = part.partition("=")
        request.parts.add(list_id=list_id, share_permille=_permille(percent))
    with calls(running, "segments") as segments:
        answer = segments.SplitSegment(request, timeout=CALL_TIMEOUT_S)
    for one in answer.lists:
        print(line_of(one))
    for warning in answer.warnings:
        print(f"note: {warning}")


@app.command()
def export(
    segment: SegmentId,
    column: Annotated[
        list[str] | None,
        typer.Option(help="profile_id, attribute.<path>, channel.<name>, segment.<id>; repeat it."),
    ] = None,
    author: Author = "",
) -> None:
    """Members as CSV, with the columns asked for; who did it is written down."""
    import csv
    import sys

    from cli.running import calls, export_metadata, stack
    from muster.segments.v1.service_pb2 import ExportSegmentRequest

    running = stack()
    request = ExportSegmentRequest(
        tenant=running.tenant, segment_id=segment, columns=column or [], author=author
    )
    into = csv.writer(sys.stdout, lineterminator="\n")
    with calls(running, "segments") as segments:
        for answer in segments.ExportSegment(request, metadata=export_metadata()):
            if answer.columns:
                into.writerow(answer.columns)
            into.writerows(row.values for row in answer.rows)


def _permille(percent: str) -> int:
    """Thousandths of a percentage with at most one decimal; 0 when none is said."""
    from decimal import Decimal, InvalidOperation

    from cli.problems import Problem

    try:
        permille = Decimal(percent or 0) * 10
    except InvalidOperation:
        raise Problem(f"write a percentage such as 12.5, not {percent!r}") from None
    if permille != int(permille) or permille < 0:
        raise Problem(f"a percentage has at most one decimal, not {percent!r}")
    return int(permille)

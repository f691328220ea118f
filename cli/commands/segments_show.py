"""The part of `muster segments` that gives rules back as the files they came from."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.segments_life import SegmentId

app = typer.Typer()
VERSIONS_PAGE = 1_000


@app.command()
def show(
    segment: SegmentId,
    version: Annotated[int, typer.Option(min=0, help="0 is the present one.")] = 0,
) -> None:
    """A segment as the YAML that `muster segments apply -f` takes; recipes as what they became."""
    from cli.problems import Problem
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from cli.writing import document_of, write_definition
    from muster.segments.v1.service_pb2 import GetSegmentRequest, ListVersionsRequest

    running = stack()
    with calls(running, "segments") as segments:
        wanted = GetSegmentRequest(tenant=running.tenant, segment_id=segment)
        definition = segments.GetSegment(wanted, timeout=CALL_TIMEOUT_S).segment.definition
        if version and version != definition.version:
            listed = ListVersionsRequest(
                tenant=running.tenant, segment_id=segment, page_size=VERSIONS_PAGE
            )
            answer = segments.ListVersions(listed, timeout=CALL_TIMEOUT_S)
            found = [one.definition for one in answer.versions]
            found = [one for one in found if one.version == version and not one.retired]
            if not found:
                raise Problem(f"{segment} has no version {version}: see `muster segments versions`")
            definition = found[0]
    try:
        print(document_of(write_definition(definition)), end="")
    except ValueError as error:
        raise Problem(str(error)) from None

"""`muster alerts`: watches over segments, their points and notices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Watches: too much, too little.")

WatchId = Annotated[str, typer.Argument(help="Such as rush.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000)]


@app.command()
def define(
    file: Annotated[Path, typer.Argument(help="YAML; see examples/watches.")],
) -> None:
    """Creates a watch, or a new version of it."""
    from cli.documents import read_message
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.alerts.v1.service_pb2 import DefineWatchRequest, Watch
    from services.chassis import clock

    running = stack()
    request = DefineWatchRequest(
        tenant=running.tenant, watch=read_message(file, Watch()), request_id=clock.new_id()
    )
    with calls(running, "alerts") as alerts:
        made = alerts.DefineWatch(request, timeout=CALL_TIMEOUT_S).watch
    print(f"{made.watch_id} v{made.version} watches {made.segment_id}")


@app.command("list")
def list_watches() -> None:
    """All watches with their state."""
    from cli.output import moment, print_table, word
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.alerts.v1 import service_pb2

    running = stack()
    with calls(running, "alerts") as alerts:
        request = service_pb2.ListWatchesRequest(tenant=running.tenant)
        answer = alerts.ListWatches(request, timeout=CALL_TIMEOUT_S)
    rows = [
        [
            state.watch.watch_id,
            word(service_pb2.WatchStatus, state.status),
            moment(state.status_time),
            f"{word(service_pb2.Series, state.watch.series)} of {state.watch.segment_id}",
        ]
        for state in answer.watches
    ]
    hint = "no watches yet: ./muster alerts define examples/watches/rush.yaml"
    print_table(["watch", "state", "since", "series"], rows, empty=hint)


@app.command()
def points(watch: WatchId, limit: Limit = 20) -> None:
    """Closed points of a watch's series, newest first."""
    from cli.output import moment, print_table
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.alerts.v1.service_pb2 import ListPointsRequest

    running = stack()
    with calls(running, "alerts") as alerts:
        request = ListPointsRequest(tenant=running.tenant, watch_id=watch, page_size=limit)
        answer = alerts.ListPoints(request, timeout=CALL_TIMEOUT_S)
    rows = [[moment(p.from_time), moment(p.to_time), p.value] for p in answer.points]
    print_table(["from", "to", "value"], rows, empty="no point has closed yet")


@app.command()
def history(
    watch: Annotated[str, typer.Argument(help="All watches when left out.")] = "",
    limit: Limit = 20,
) -> None:
    """Raised and resolved, newest first."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.alerts.v1.service_pb2 import ListAlertsRequest

    running = stack()
    with calls(running, "alerts") as alerts:
        request = ListAlertsRequest(tenant=running.tenant, watch_id=watch, page_size=limit)
        answer = alerts.ListAlerts(request, timeout=CALL_TIMEOUT_S)
    for notice in answer.notices:
        print(describe_notice(notice))
    if not answer.notices:
        print("no alert yet")


def describe_notice(notice: Any) -> str:
    """An AlertNotice in one line."""
    from cli.output import moment, word
    from muster.alerts.v1 import facts_pb2

    if notice.WhichOneof("notice") == "raised":
        told = notice.raised
        return (
            f"{moment(told.raise_time)}  raised    {told.watch_id}: {told.value} is "
            f"{word(facts_pb2.Breach, told.breach)} {told.bound} ({told.segment_id})"
        )
    calm = notice.resolved
    return (
        f"{moment(calm.resolve_time)}  resolved  {calm.watch_id}: {calm.value} ({calm.segment_id})"
    )

"""`muster lists`: sets of people kept by hand, by import, or beside a segment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cli.running import Running
    from muster.segments.v1.lists_pb2 import ImportListResponse

app = typer.Typer(no_args_is_help=True, help="Lists of people, kept by hand or beside a segment.")

ListId = Annotated[str, typer.Argument(help="Such as vip.")]
People = Annotated[list[str], typer.Argument(help="p_… or kind=value, such as user_id=ada.")]
Actor = Annotated[str, typer.Option("--by", help="Who asks for it, for the log.")]
IMPORT_TIMEOUT_S = 3_600.0


@contextmanager
def _lists() -> Iterator[tuple[Running, Any]]:
    """The stack and a client of its lists."""
    import grpc

    from cli.running import address_of, stack
    from muster.segments.v1.lists_pb2_grpc import ListsServiceStub

    running = stack()
    with grpc.insecure_channel(address_of(running, "segments")) as channel:
        yield running, ListsServiceStub(channel)


@app.command()
def create(
    list_id: ListId,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    follows: Annotated[
        str, typer.Option(help="A segment whose members are in it too, but for your changes.")
    ] = "",
    tag: Annotated[list[str] | None, typer.Option(help="May be said several times.")] = None,
) -> None:
    """Creates a list, or changes its name, tags or what it follows."""
    from cli.output import number
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.lists_pb2 import DefineListRequest
    from services.chassis import clock

    with _lists() as (running, lists):
        request = DefineListRequest(
            tenant=running.tenant, list_id=list_id, name=name, follows_segment_id=follows,
            tags=tag or (), request_id=clock.new_id(),
        )  # fmt: skip
        made = lists.DefineList(request, timeout=CALL_TIMEOUT_S)
    print(f"{list_id} v{made.definition.version}: {number(made.members)} members")


@app.command()
def add(list_id: ListId, people: People, by: Actor = "") -> None:
    """Puts people into a list."""
    _change(list_id, people, [], by)


@app.command()
def remove(list_id: ListId, people: People, by: Actor = "") -> None:
    """Takes people out of a list."""
    _change(list_id, [], people, by)


def _change(list_id: str, add: list[str], remove: list[str], by: str) -> None:
    from cli.commands.segments import profile_ref
    from cli.output import word
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.lists_pb2 import LIST_VERDICT_REJECTED, ChangeListRequest, ListVerdict
    from services.chassis import clock

    with _lists() as (running, lists):
        request = ChangeListRequest(
            tenant=running.tenant, list_id=list_id, add=map(profile_ref, add),
            remove=map(profile_ref, remove), actor=by, request_id=clock.new_id(),
        )  # fmt: skip
        answer = lists.ChangeList(request, timeout=CALL_TIMEOUT_S)
    results = [*answer.added, *answer.removed]
    for named, result in zip([*add, *remove], results, strict=True):
        said = f"{named}: {word(ListVerdict, result.verdict)}"
        print(f"{said}: {result.reason}" if result.reason else said)
    if any(result.verdict == LIST_VERDICT_REJECTED for result in results):
        raise typer.Exit(1)


@app.command("import")
def import_people(
    list_id: ListId,
    file: Annotated[Path, typer.Argument(help="CSV with a heading (email, …), or NDJSON.")],
    by: Actor = "",
    request_id: Annotated[
        str, typer.Option(help="Any unique text: an import of that name is made once.")
    ] = "",
) -> None:
    """Adds everybody in a file; the receipt accounts for every row."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    from cli.list_files import import_requests, people_of
    from services.chassis import clock

    people = list(people_of(file))
    name = request_id or clock.new_id()
    with (
        _lists() as (running, lists),
        Progress("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(),
                 transient=True) as bar,
    ):  # fmt: skip
        task = bar.add_task(file.name, total=len(people))

        def sent() -> Iterator[Any]:
            for request in import_requests(running.tenant, list_id, name, by, iter(people)):
                yield request
                bar.advance(task, len(request.rows.rows))

        receipt = lists.ImportList(sent(), timeout=IMPORT_TIMEOUT_S)
    _print_receipt(receipt)
    if receipt.rejected:
        raise typer.Exit(1)


def _print_receipt(receipt: ImportListResponse) -> None:
    from cli.output import number

    for one in receipt.rejected_rows:
        print(f"  row {number(one.row)}: {one.reason}")
    more = receipt.rejected - len(receipt.rejected_rows)
    if more:
        print(f"  and {number(more)} more")
    names = ("read", "matched", "added", "already_in", "repeated", "rejected")
    counts = (f"{number(getattr(receipt, one))} {one.replace('_', ' ')}" for one in names)
    print(", ".join(counts))


@app.command()
def export(list_id: ListId, by: Actor = "") -> None:
    """Prints the profile ids of everybody in a list, one a line; who did it is written down."""
    from cli.running import CALL_TIMEOUT_S, export_metadata
    from muster.segments.v1.lists_pb2 import ExportListRequest

    with _lists() as (running, lists):
        request = ExportListRequest(tenant=running.tenant, list_id=list_id, author=by)
        metadata = export_metadata()
        for part in lists.ExportList(request, timeout=CALL_TIMEOUT_S, metadata=metadata):
            for profile_id in part.profile_ids:
                print(profile_id)


@app.command()
def empty(list_id: ListId, by: Actor = "") -> None:
    """Takes everybody out of a list; people stay."""
    from cli.output import number
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.lists_pb2 import EmptyListRequest
    from services.chassis import clock

    with _lists() as (running, lists):
        request = EmptyListRequest(
            tenant=running.tenant, list_id=list_id, actor=by, request_id=clock.new_id()
        )
        answer = lists.EmptyList(request, timeout=CALL_TIMEOUT_S)
    print(f"{number(answer.removed)} taken out; nobody was deleted")


@app.command()
def delete(
    list_id: ListId,
    with_people: Annotated[
        bool, typer.Option("--with-people", help="The people in it too, for ever.")
    ] = False,
) -> None:
    """Takes a list out of service; people stay."""
    from cli.output import number
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.lists_pb2 import DeleteListRequest
    from services.chassis import clock

    with _lists() as (running, lists):
        request = DeleteListRequest(
            tenant=running.tenant, list_id=list_id, with_people=with_people,
            request_id=clock.new_id(),
        )  # fmt: skip
        answer = lists.DeleteList(request, timeout=CALL_TIMEOUT_S)
    print(f"{list_id} is gone; {number(answer.members)} were in it, and nobody was deleted")


@app.command()
def show(
    list_id: ListId, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """A list: its size, its tags, what it follows."""
    from cli.output import number, print_json
    from cli.problems import Problem
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import GetSegmentRequest

    running = stack()
    with calls(running, "segments") as segments:
        request = GetSegmentRequest(tenant=running.tenant, segment_id=list_id)
        found = segments.GetSegment(request, timeout=CALL_TIMEOUT_S).segment
    if not found.definition.HasField("list"):
        raise Problem(f"{list_id} is a segment with a rule; `muster segments` shows it")
    if as_json:
        print_json(found)
        return
    defined = found.definition
    state = ", out of service" if defined.retired else ""
    print(f"{list_id} v{defined.version} ({defined.name}): {number(found.members)} members{state}")
    if defined.list.follows_segment_id:
        print(f"  follows {defined.list.follows_segment_id}")
    if defined.tags:
        print(f"  tags: {', '.join(defined.tags)}")

"""`muster publishers`: who may publish, with which key, what and how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from muster.ingest.v1.registry_pb2 import SetPublisherRequest

app = typer.Typer(no_args_is_help=True, help="Who may publish: keys, scopes, trust, quotas.")

SCOPES = ("events", "import", "catalogue")
Name = Annotated[str, typer.Argument(help="[a-z0-9-], as in its subject on the log.")]


@app.command("set")
def set_publisher(
    name: Name,
    key: Annotated[bool, typer.Option("--key", help="Make a new key; it is shown once.")] = False,
    revoke: Annotated[bool, typer.Option(help="Former keys are no longer good.")] = False,
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="events, import, catalogue; all if none.")
    ] = None,
    untrusted: Annotated[
        bool, typer.Option(help="May not say that two known people are one.")
    ] = False,
    events_per_s: Annotated[int, typer.Option(min=0, help="0 is no limit.")] = 0,
    bytes_per_s: Annotated[int, typer.Option(min=0, help="0 is no limit.")] = 0,
) -> None:
    """Adds or changes a publisher."""
    from cli.problems import Problem
    from muster.ingest.v1.registry_pb2 import Publisher, SetPublisherRequest

    if unknown := set(scopes or ()) - set(SCOPES):
        raise Problem(f"--scope {', '.join(sorted(unknown))}: use {', '.join(SCOPES)}")
    publisher = Publisher(
        name=name,
        scopes=[f"SCOPE_{scope.upper()}" for scope in scopes or ()],
        untrusted=untrusted,
        events_per_second=events_per_s,
        bytes_per_second=bytes_per_s,
    )
    _set(SetPublisherRequest(publisher=publisher, new_key=key, revoke_keys=revoke))


@app.command()
def retire(name: Name) -> None:
    """Refuses everything this publisher sends from now on."""
    from muster.ingest.v1.registry_pb2 import Publisher, SetPublisherRequest

    publisher = Publisher(name=name, retired=True)
    _set(SetPublisherRequest(publisher=publisher, revoke_keys=True))


@app.command("list")
def list_publishers() -> None:
    """Every registered publisher."""
    from cli.output import print_table, word
    from cli.running import CALL_TIMEOUT_S
    from muster.ingest.v1.registry_pb2 import ListPublishersRequest, Scope

    with registry() as (tenant, stub):
        request = ListPublishersRequest(tenant=tenant)
        answer = stub.ListPublishers(request, timeout=CALL_TIMEOUT_S)
    rows = [
        [
            one.name,
            ", ".join(word(Scope, scope) for scope in one.scopes),
            "untrusted" if one.untrusted else "trusted",
            str(one.events_per_second or "any"),
            str(one.bytes_per_second or "any"),
            "retired" if one.retired else "",
        ]
        for one in answer.publishers
    ]
    print_table(["publisher", "may", "trust", "events/s", "bytes/s", ""], rows)


def _set(request: SetPublisherRequest) -> None:
    from cli.running import CALL_TIMEOUT_S

    with registry() as (tenant, stub):
        request.tenant = tenant
        answer = stub.SetPublisher(request, timeout=CALL_TIMEOUT_S)
    print(f"{answer.publisher.name} {'is retired' if answer.publisher.retired else 'is set'}")
    if answer.key:
        print(f"key, shown this once: {answer.key}")


def registry() -> Any:
    """(tenant, stub of RegistryService) as a context."""
    import contextlib

    import grpc

    from cli.running import address_of, stack
    from muster.ingest.v1.registry_pb2_grpc import RegistryServiceStub

    @contextlib.contextmanager
    def opened() -> Any:
        running = stack()
        with grpc.insecure_channel(address_of(running, "ingest")) as channel:
            yield running.tenant, RegistryServiceStub(channel)

    return opened()

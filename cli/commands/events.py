"""`muster events`: what events may look like, and who uses them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from muster.ingest.v1.registry_pb2 import EventType

app = typer.Typer(no_args_is_help=True, help="Event types: schemas, quarantine, lineage.")

KINDS = ("any", "text", "number", "flag", "time")


@app.command("list")
def list_types(
    standard: Annotated[bool, typer.Option(help="Muster's own vocabulary too.")] = False,
) -> None:
    """Described event types and the segments that use them."""
    from cli.commands.publishers import registry
    from cli.output import print_table, word
    from cli.running import CALL_TIMEOUT_S
    from muster.ingest.v1.registry_pb2 import ListEventTypesRequest, Undescribed

    with registry() as (tenant, stub):
        request = ListEventTypesRequest(tenant=tenant, standard=standard)
        answer = stub.ListEventTypes(request, timeout=CALL_TIMEOUT_S)
    rows = [
        [
            one.event_type.type,
            ", ".join(_spoken(rule) for rule in one.event_type.properties),
            ", ".join(_looking(one, segment) for segment in one.segments),
        ]
        for one in answer.event_types
    ]
    print_table(["type", "properties", "used by"], rows)
    print(f"undescribed types: {word(Undescribed, answer.vocabulary.undescribed)}")


@app.command()
def describe(
    file: Annotated[
        Path, typer.Argument(help="YAML: event, properties (name: type, ! if required), closed.")
    ],
    force: Annotated[bool, typer.Option(help="Though live rules would break.")] = False,
) -> None:
    """Describes event types; one that would break a live rule is refused and names it."""
    from cli.commands.publishers import registry
    from cli.running import CALL_TIMEOUT_S
    from muster.ingest.v1.registry_pb2 import SetEventTypeRequest

    wanted = list(_read(file))
    with registry() as (tenant, stub):
        for one in wanted:
            request = SetEventTypeRequest(tenant=tenant, event_type=one, force=force)
            answer = stub.SetEventType(request, timeout=CALL_TIMEOUT_S)
            print(f"{one.type} is described")
            for broken in answer.broken:
                print(f"  breaks: {broken}")


@app.command()
def retire(event_type: str) -> None:
    """Describes an event type no longer."""
    from cli.commands.publishers import registry
    from cli.running import CALL_TIMEOUT_S
    from muster.ingest.v1.registry_pb2 import EventType, SetEventTypeRequest

    with registry() as (tenant, stub):
        retired = EventType(type=event_type, retired=True)
        stub.SetEventType(
            SetEventTypeRequest(tenant=tenant, event_type=retired), timeout=CALL_TIMEOUT_S
        )
    print(f"{event_type} is no longer described")


@app.command()
def policy(
    undescribed: Annotated[str, typer.Argument(help="accept or quarantine.")],
    check_standard: Annotated[
        bool, typer.Option(help="Hold Muster's own vocabulary to its schemas too.")
    ] = False,
) -> None:
    """Decides what becomes of events that nobody described."""
    from cli.commands.publishers import registry
    from cli.problems import Problem
    from cli.running import CALL_TIMEOUT_S
    from muster.ingest.v1.registry_pb2 import SetVocabularyRequest, Vocabulary

    if undescribed not in ("accept", "quarantine"):
        raise Problem(f"{undescribed}: use accept or quarantine")
    vocabulary = Vocabulary(
        undescribed=f"UNDESCRIBED_{undescribed.upper()}",
        check_standard=check_standard,
    )
    with registry() as (tenant, stub):
        request = SetVocabularyRequest(tenant=tenant, vocabulary=vocabulary)
        stub.SetVocabulary(request, timeout=CALL_TIMEOUT_S)
    print(f"undescribed types: {undescribed}")


def _read(file: Path) -> Any:
    import yaml

    from cli.problems import Problem
    from cli.reading import Node

    try:
        trees = list(yaml.safe_load_all(file.read_text()))
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as wrong:
        raise Problem(f"{file} is not YAML: {wrong}") from None
    for tree in trees:
        node = Node(tree)
        made = _event_type(node)
        if node.faults:
            lines = [f"{path or '(top)'}: {text}" for path, text in node.faults]
            raise Problem(f"{file}:\n" + "\n".join(lines))
        yield made


def _event_type(node: Any) -> EventType:
    from muster.ingest.v1.registry_pb2 import EventType, PropertyRule

    node.keys({"event", "description", "properties", "closed"}, "an event type")
    made = EventType(
        type=node.at("event").text(),
        description=node.at("description").text(needed=False),
        closed=node.has("closed") and node.at("closed").tree is True,
    )
    given = node.at("properties").tree if node.has("properties") else {}
    if not isinstance(given, dict):
        node.at("properties").fault("must be a mapping of names to types")
        return made
    for key, word in given.items():
        kind = str(word).rstrip("!")
        if kind not in KINDS:
            node.at("properties").at(str(key)).fault(f"must be one of {', '.join(KINDS)}")
            continue
        made.properties.append(
            PropertyRule(
                key=str(key),
                type=f"PROPERTY_TYPE_{kind.upper()}",
                required=str(word).endswith("!"),
            )
        )
    return made


def _looking(one: Any, segment: str) -> str:
    """A segment, with the properties its rule looks at."""
    seen = [use.property for use in one.properties if segment in use.segments]
    return f"{segment} ({', '.join(seen)})" if seen else segment


def _spoken(rule: Any) -> str:
    from cli.output import word
    from muster.ingest.v1.registry_pb2 import PropertyType

    return f"{rule.key} ({word(PropertyType, rule.type)}{', required' if rule.required else ''})"

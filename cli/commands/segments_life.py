"""The part of `muster segments` about a life: apply, versions, search, lineage, the end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

SegmentId = Annotated[str, typer.Argument(help="Such as big-spenders.")]
Author = Annotated[str, typer.Option(envvar="MUSTER_AUTHOR", help="Who does it, for the history.")]
Note = Annotated[str, typer.Option(help="Why, for the history.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
PAGE = 1_000

app = typer.Typer()


@app.command()
def apply(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="A YAML file, or a folder of them, at any depth.")
    ],
    dry_run: Annotated[
        bool, typer.Option(help="Says what would be done, and does nothing.")
    ] = False,
    prune: Annotated[
        bool, typer.Option(help="Retires rules and variant sets that no file names; never lists.")
    ] = False,
    author: Author = "",
    note: Note = "",
) -> None:
    """Makes what lives as the files say: shows what differs first; done twice, it does nothing."""
    import grpc

    from cli.applying import Plan, read_files, summary
    from cli.running import address_of, stack
    from muster.segments.v1.lists_pb2_grpc import ListsServiceStub
    from muster.segments.v1.service_pb2_grpc import SegmentsServiceStub
    from muster.segments.v1.variants_pb2_grpc import VariantsServiceStub
    from services.chassis import clock

    running = stack()
    files = read_files(file, running.tenant)
    with grpc.insecure_channel(address_of(running, "segments")) as channel:
        stubs = SegmentsServiceStub(channel), VariantsServiceStub(channel)
        plan = Plan(files, running.tenant, *stubs, ListsServiceStub(channel))
        items = plan.items(prune)
        for item in items:
            print(item)
        print(f"{file}: {summary(items)}")
        if dry_run:
            return
        for item in items:
            if done := plan.carry_out(item, author, note, clock.new_id()):
                print(done)


@app.command()
def versions(segment: SegmentId, limit: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """Who changed what, when and why; newest first."""
    from cli.applying import difference_lines
    from cli.output import moment
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import ListVersionsRequest

    running = stack()
    request = ListVersionsRequest(tenant=running.tenant, segment_id=segment, page_size=limit)
    with calls(running, "segments") as segments:
        answer = segments.ListVersions(request, timeout=CALL_TIMEOUT_S)
    for one in answer.versions:
        said = one.definition
        number = f"v{said.version}" + (f".{said.revision}" if said.revision else "")
        who = f" by {said.author}" if said.author else ""
        why = f": {said.note}" if said.note else ""
        print(f"{number}  {moment(said.define_time)}{who}{why}")
        lines = list(difference_lines(one.differences)) or [one.sentence]
        print("\n".join(f"    {line}" for line in lines))


@app.command()
def diff(
    segment: SegmentId,
    before: Annotated[int, typer.Option("--from", help="0 is the one before.")] = 0,
    after: Annotated[int, typer.Option("--to", help="0 is the present one.")] = 0,
) -> None:
    """What one version says otherwise than another, as sentences."""
    from cli.applying import difference_lines
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import DiffVersionsRequest

    running = stack()
    request = DiffVersionsRequest(
        tenant=running.tenant, segment_id=segment, from_version=before, to_version=after
    )
    with calls(running, "segments") as segments:
        answer = segments.DiffVersions(request, timeout=CALL_TIMEOUT_S)
    print(f"{segment} v{answer.from_version} -> v{answer.to_version}")
    print("\n".join(f"    {one}" for one in difference_lines(answer.differences)) or "    the same")


@app.command()
def copy(
    segment: SegmentId,
    new: Annotated[str, typer.Argument(help="The id of the new one.")],
    name: Annotated[str, typer.Option()] = "",
    author: Author = "",
) -> None:
    """A new segment with the rule of another."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import CopySegmentRequest
    from services.chassis import clock

    running = stack()
    request = CopySegmentRequest(
        tenant=running.tenant, segment_id=segment, new_segment_id=new, new_name=name,
        author=author, request_id=clock.new_id(),
    )  # fmt: skip
    with calls(running, "segments") as segments:
        made = segments.CopySegment(request, timeout=CALL_TIMEOUT_S).segment
    print(line_of(made))


@app.command()
def promote(segment: SegmentId, author: Author = "", note: Note = "") -> None:
    """Makes the rule of a shadow that of the segment it stands beside."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import PromoteShadowRequest

    running = stack()
    request = PromoteShadowRequest(
        tenant=running.tenant, segment_id=segment, author=author, note=note
    )
    with calls(running, "segments") as segments:
        made = segments.PromoteShadow(request, timeout=CALL_TIMEOUT_S).segment
    print(line_of(made))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Part of id or name.")] = "",
    kind: Annotated[str, typer.Option(help="dynamic, list or shadow.")] = "",
    tag: Annotated[list[str] | None, typer.Option()] = None,
    author: Annotated[str, typer.Option(help="Of any version.")] = "",
    uses: Annotated[
        str, typer.Option(help="attribute=…, event_type=…, segment_id=…, channel=…, property=…")
    ] = "",
    retired: Annotated[bool, typer.Option(help="Those out of service too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Segments by name, id, kind, tag, author, and by what their rules use."""
    from cli.output import number, print_json, print_table
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1 import service_pb2 as api

    running = stack()
    request = api.FindSegmentsRequest(
        tenant=running.tenant, text=text, kind=_kind(kind), tags=tag or [], author=author,
        include_retired=retired, page_size=PAGE,
    )  # fmt: skip
    if uses:
        request.uses.CopyFrom(_use(uses))
    rows = []
    with calls(running, "segments") as segments:
        while True:
            answer = segments.FindSegments(request, timeout=CALL_TIMEOUT_S)
            if as_json:
                print_json(answer)
            rows += [
                [one.definition.segment_id, number(one.members), one.definition.name, one.sentence]
                for one in answer.segments
            ]
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
    if not as_json:
        print_table(["segment", "members", "name", "rule"], rows, empty="none found")


@app.command()
def lineage(
    of: Annotated[str, typer.Argument(help="A segment, or attribute=…, event_type=…, property=…")],
    as_json: AsJson = False,
) -> None:
    """What a segment rests on and what rests on it; or the rules that use an attribute, a type."""
    from cli.output import print_json
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import GetLineageRequest

    running = stack()
    use = _use(of if "=" in of else f"segment_id={of}")
    with calls(running, "segments") as segments:
        request = GetLineageRequest(tenant=running.tenant, of=use)
        answer = segments.GetLineage(request, timeout=CALL_TIMEOUT_S)
    if as_json:
        print_json(answer)
        return
    for one in answer.uses:
        kind = one.WhichOneof("use")
        print(f"uses {kind.replace('_', ' ')} {getattr(one, kind)}")
    for one in answer.dependents:
        via = f" through {one.via_segment_id}" if one.via_segment_id else ""
        print(f"used by {one.segment_id}{via}: {one.sentence}")
    for name in answer.variant_set_ids:
        print(f"used by variants {name}")
    if not answer.dependents and not answer.variant_set_ids:
        print("nothing rests on it")


@app.command()
def retire(
    segment: SegmentId,
    force: Annotated[bool, typer.Option(help="What rests on it goes with it.")] = False,
    author: Author = "",
    note: Note = "",
) -> None:
    """Takes a segment out of service; its members leave. Refused while others rest on it."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import RetireSegmentRequest
    from services.chassis import clock

    running = stack()
    request = RetireSegmentRequest(
        tenant=running.tenant, segment_id=segment, request_id=clock.new_id(), force=force,
        author=author, note=note,
    )  # fmt: skip
    with calls(running, "segments") as segments:
        answer = segments.RetireSegment(request, timeout=CALL_TIMEOUT_S)
    for name in answer.retired_segment_ids:
        print(f"{name} is retired")
    for name in answer.changed_variant_set_ids:
        print(f"variants {name} lost a rule")


@app.command()
def variants(
    variant_set: Annotated[str, typer.Argument(help="All sets when left out.")] = "",
    profile: Annotated[
        list[str] | None, typer.Option(help="p_… or kind=value: which variant they get.")
    ] = None,
) -> None:
    """Variant sets: how they divide everybody, or what some people get. Define them with apply."""
    import grpc

    from cli.running import CALL_TIMEOUT_S, address_of, stack
    from muster.segments.v1 import variants_pb2 as api
    from muster.segments.v1.variants_pb2_grpc import VariantsServiceStub

    running = stack()
    with grpc.insecure_channel(address_of(running, "segments")) as channel:
        door = VariantsServiceStub(channel)
        if profile and variant_set:
            _print_variants_of(door, running.tenant, variant_set, profile)
            return
        names = [variant_set]
        if not variant_set:
            listed = api.ListVariantsRequest(tenant=running.tenant, page_size=PAGE)
            sets = door.ListVariants(listed, timeout=CALL_TIMEOUT_S).variants
            names = [one.variant_set_id for one in sets]
        for name in names:
            _print_division(door, running.tenant, name)
    if not names:
        print("no variant sets yet: ./muster segments apply -f examples/variants/spring.yaml")


def _print_variants_of(door: Any, tenant: str, name: str, profiles: Iterable[str]) -> None:
    from cli.commands.segments import profile_ref
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.variants_pb2 import BatchGetVariantsRequest

    refs = [profile_ref(one) for one in profiles]
    request = BatchGetVariantsRequest(tenant=tenant, variant_set_id=name, profiles=refs)
    answer = door.BatchGetVariants(request, timeout=CALL_TIMEOUT_S)
    for asked, said in zip(profiles, answer.variants, strict=True):
        why = f"in {said.segment_id}" if said.segment_id else "no rule holds"
        print(f"{asked}: {said.variant or 'none'} ({why if said.profile_id else 'nobody known'})")


def _print_division(door: Any, tenant: str, name: str) -> None:
    from cli.output import number, print_table
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.variants_pb2 import PreviewVariantsRequest

    request = PreviewVariantsRequest(tenant=tenant, variant_set_id=name)
    answer = door.PreviewVariants(request, timeout=CALL_TIMEOUT_S)
    print(f"{name}: {number(answer.profiles)} profiles")
    rows = [
        [one.variant or "none", number(one.profiles), one.segment_id or "(otherwise)"]
        for one in answer.counts
    ]
    print_table(["variant", "profiles", "segment"], rows)


def _use(text: str) -> Any:
    from cli.problems import Problem
    from muster.segments.v1.service_pb2 import SegmentUse

    kind, equals, value = text.partition("=")
    known = [one.name for one in SegmentUse.DESCRIPTOR.fields]
    if not equals or kind not in known or not value:
        raise Problem(f"write one of {', '.join(f'{one}=…' for one in known)}, not {text!r}")
    return SegmentUse(**{kind: value})


def _kind(text: str) -> Any:
    from cli.problems import Problem
    from muster.segments.v1.service_pb2 import SegmentKind

    if not text:
        return None
    kinds = {name.removeprefix("SEGMENT_KIND_").lower(): n for name, n in SegmentKind.items() if n}
    if text not in kinds:
        raise Problem(f"a kind is one of {', '.join(kinds)}, not {text!r}")
    return kinds[text]


def line_of(made: Any) -> str:
    """Id, version, size and rule of a segment."""
    from cli.output import number

    said = made.definition
    return f"{said.segment_id} v{said.version}: {number(made.members)} members\n  {made.sentence}"

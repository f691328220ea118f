"""`muster segments`: define, preview, list, watch, members, check, explain; and their life."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands import segments_explore, segments_life, segments_parts, segments_show

if TYPE_CHECKING:
    from muster.types.v1.common_pb2 import ProfileRef

app = typer.Typer(no_args_is_help=True, help="Rules, their members, and why.")
app.add_typer(segments_life.app)
app.add_typer(segments_explore.app)
app.add_typer(segments_parts.app)
app.add_typer(segments_show.app)

SegmentFile = Annotated[Path, typer.Argument(help="A YAML file; examples/segments has some.")]
SegmentId = Annotated[str, typer.Argument(help="Such as big-spenders.")]
Profile = Annotated[str, typer.Argument(help="p_… or kind=value, such as user_id=ada.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]

PAGE = 1_000


def profile_ref(text: str) -> ProfileRef:
    """p_1c7q…, or kind=value of an identifier."""
    from muster.types.v1.common_pb2 import ProfileRef

    made = ProfileRef()
    kind, equals, value = text.partition("=")
    if equals:
        made.identifier.kind, made.identifier.value = kind, value
    else:
        made.profile_id = text
    return made


@app.command()
def define(file: SegmentFile) -> None:
    """Creates the segments of a file, or new versions of them; live when it returns."""
    from cli.definitions import read_definitions
    from cli.output import number
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from services.chassis import clock

    running = stack()
    requests = list(read_definitions(file, running.tenant))
    with calls(running, "segments") as segments:
        for request in requests:
            request.request_id = clock.new_id()
            answer = segments.DefineSegment(request, timeout=CALL_TIMEOUT_S)
            made = answer.segment
            print(
                f"{made.definition.segment_id} v{made.definition.version}: "
                f"{number(made.members)} members\n  {made.sentence}"
            )


@app.command()
def preview(file: SegmentFile, sample: Annotated[int, typer.Option(min=0, max=100)] = 5) -> None:
    """Counts the rules of a file without saving them: exact, with a sample."""
    from cli.definitions import read_definitions
    from cli.output import number
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import PreviewSegmentRequest

    running = stack()
    with calls(running, "segments") as segments:
        for request in read_definitions(file, running.tenant):
            wish = PreviewSegmentRequest(
                tenant=running.tenant,
                condition=request.condition,
                zone=request.zone,
                sample_size=sample,
            )
            answer = segments.PreviewSegment(wish, timeout=CALL_TIMEOUT_S)
            print(
                f"{request.segment_id}: {number(answer.members)} of {number(answer.profiles)} "
                f"profiles ({answer.share:.1%}), in {answer.cost_us / 1000:.1f} ms\n"
                f"  {answer.sentence}"
            )
            reach = [
                f"{one.channel} {number(one.profiles)}" for one in answer.reach if one.profiles
            ]
            print(f"  reach: {', '.join(reach) or 'none'}")
            for profile in answer.sample_profile_ids:
                print(f"  {profile}")


@app.command("list")
def list_segments(as_json: AsJson = False) -> None:
    """All segments with their sizes."""
    from cli.output import number, print_json, print_table
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import ListSegmentsRequest

    running = stack()
    rows: list[list[str]] = []
    with calls(running, "segments") as segments:
        request = ListSegmentsRequest(tenant=running.tenant, page_size=PAGE)
        while True:
            answer = segments.ListSegments(request, timeout=CALL_TIMEOUT_S)
            if as_json:
                print_json(answer)
            rows += [
                [
                    s.definition.segment_id,
                    f"v{s.definition.version}",
                    number(s.members),
                    s.definition.name or s.sentence,
                ]
                for s in answer.segments
            ]
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
    if not as_json:
        hint = "no segments yet: ./muster segments define examples/segments/mission.yaml"
        print_table(["segment", "version", "members", "name"], rows, empty=hint)


@app.command()
def watch(
    segment: Annotated[list[str] | None, typer.Argument(help="All when none is named.")] = None,
    resume: Annotated[str, typer.Option(help="A resume token of an earlier watch.")] = "",
    seconds: Annotated[float | None, typer.Option(help="End after this long.")] = None,
    as_json: AsJson = False,
) -> None:
    """Transitions as they happen, until Ctrl-C; prints where to resume."""
    import grpc

    from cli.output import print_json
    from cli.running import calls, stack
    from muster.segments.v1.service_pb2 import WatchTransitionsRequest

    running = stack()
    token = resume
    with calls(running, "segments") as segments:
        request = WatchTransitionsRequest(
            tenant=running.tenant, segment_ids=segment or [], resume_token=resume
        )
        try:
            for answer in segments.WatchTransitions(request, timeout=seconds):
                token = answer.resume_token or token
                if as_json:
                    print_json(answer)
                    continue
                for change in answer.transitions:
                    print(describe_transition(change), flush=True)
        except KeyboardInterrupt:
            pass
        except grpc.RpcError as error:
            if seconds is None or error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
    if token:
        print(f"resume with: ./muster segments watch --resume {token}")


def describe_transition(change: Any) -> str:
    """One line: when, who, which way, which segment, why."""
    from cli.output import moment, word
    from muster.types.v1 import common_pb2

    sign = "+" if change.direction == common_pb2.DIRECTION_ENTERED else "-"
    reason = word(common_pb2.Reason, change.reason)
    return (
        f"{moment(change.at_time)}  {change.profile_id}  {sign}{change.segment_id:<24} "
        f"{reason} (#{change.ordinal})"
    )


@app.command()
def members(
    segment: SegmentId,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
) -> None:
    """Profile ids of a segment."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import ListMembersRequest

    running = stack()
    shown = 0
    with calls(running, "segments") as segments:
        request = ListMembersRequest(
            tenant=running.tenant, segment_id=segment, page_size=min(limit, 10_000)
        )
        while shown < limit:
            answer = segments.ListMembers(request, timeout=CALL_TIMEOUT_S)
            for profile in answer.profile_ids[: limit - shown]:
                print(profile)
            shown += len(answer.profile_ids)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break


@app.command()
def check(
    profile: Profile,
    segment: Annotated[list[str] | None, typer.Argument(help="All when none is named.")] = None,
) -> None:
    """One profile against many segments."""
    from cli.output import print_table
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import CheckMembershipsRequest

    running = stack()
    request = CheckMembershipsRequest(
        tenant=running.tenant, profile=profile_ref(profile), segment_ids=segment or []
    )
    with calls(running, "segments") as segments:
        answer = segments.CheckMemberships(request, timeout=CALL_TIMEOUT_S)
    print(answer.profile_id)
    rows = [["in" if m.member else "out", m.segment_id] for m in answer.memberships]
    print_table(["", "segment"], rows, empty="no segments yet")


@app.command()
def explain(segment: SegmentId, profile: Profile, as_json: AsJson = False) -> None:
    """Why a profile is in or out, with the events that count, and when that flips."""
    from cli.output import print_json
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.segments.v1.service_pb2 import ExplainMembershipRequest

    running = stack()
    request = ExplainMembershipRequest(
        tenant=running.tenant, segment_id=segment, profile=profile_ref(profile)
    )
    with calls(running, "segments") as segments:
        answer = segments.ExplainMembership(request, timeout=CALL_TIMEOUT_S)
    if as_json:
        print_json(answer)
    else:
        print("\n".join(explain_lines(segment, answer)))


def explain_lines(segment: str, answer: Any, events_max: int = 5) -> list[str]:
    """An ExplainMembershipResponse in plain lines."""
    from cli.output import moment, number

    verdict = "is in" if answer.member else "is not in"
    lines = [f"{answer.profile_id} {verdict} {segment} v{answer.segment_version}"]
    for leaf in answer.leaves:
        mark = "yes" if leaf.holds else "no "
        found = f": found {leaf.found}" if leaf.found else ""
        missing = f", {leaf.missing} would turn it" if leaf.missing else ""
        lines.append(f"  {mark} {leaf.sentence or leaf.path}{found}{missing}")
        for event in leaf.events[:events_max]:
            leaves = moment(event.leave_time)
            value = f" {event.value}" if event.value else ""
            until = f", counts until {leaves}" if leaves else ""
            what = f"{event.type} {event.event_id}{value}"
            lines.append(f"        {moment(event.occur_time)}  {what}{until}")
        if leaf.events_total > events_max:
            lines.append(f"        and {number(leaf.events_total - events_max)} more")
    flips = moment(answer.flip_time)
    if flips:
        lines.append(f"  flips at {flips} if nothing more happens")
    elif answer.flip_unknown:
        lines.append("  may flip by time alone: too many instants lie ahead to look at each")
    else:
        lines.append("  does not flip by time alone")
    return lines

"""The part of `muster segments` that asks about the past, the next hours, and several segments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.segments_life import SegmentId

if TYPE_CHECKING:
    from cli.running import Running
    from muster.segments.v1.explore_pb2 import RuleRef

app = typer.Typer()

Rule = Annotated[
    str, typer.Argument(metavar="SEGMENT|FILE", help="A segment, or a YAML file with a rule.")
]
At = Annotated[str, typer.Argument(metavar="INSTANT", help="Such as 2026-05-01T10:00:00Z.")]
Known = Annotated[
    bool, typer.Option("--known-now", help="With all that is known today, not what was then.")
]
Present = Annotated[
    bool, typer.Option("--present", help="By the present rule, not the version of the time.")
]
SUFFIXES = {".yaml", ".yml", ".json"}
BAR_WIDTH = 40
BACKTEST_TIMEOUT_S = 3_600.0


@contextmanager
def _explore() -> Iterator[tuple[Running, Any]]:
    """The stack and a client of its questions."""
    import grpc

    from cli.running import address_of, stack
    from muster.segments.v1.explore_pb2_grpc import ExploreServiceStub

    running = stack()
    with grpc.insecure_channel(address_of(running, "segments")) as channel:
        yield running, ExploreServiceStub(channel)


def _rule_of(named: str, tenant: str, present: bool = False) -> RuleRef:
    """A segment by its id, or the only rule of a file."""
    from cli.definitions import read_definitions
    from cli.problems import Problem
    from muster.segments.v1.explore_pb2 import RuleRef

    if Path(named).suffix not in SUFFIXES:
        return RuleRef(segment_id=named, present=present)
    found = list(read_definitions(Path(named), tenant))
    if len(found) != 1:
        raise Problem(f"{named} has {len(found)} rules; ask about one at a time")
    return RuleRef(condition=found[0].condition, zone=found[0].zone)


def _us(text: str) -> int:
    from cli.problems import Problem
    from cli.reading import instant_us_of

    try:
        return instant_us_of(text)
    except ValueError as wrong:
        raise Problem(str(wrong)) from None


def _duration_us(text: str) -> int:
    from cli.problems import Problem
    from cli.reading import Node

    faults: list[tuple[str, str]] = []
    found = Node(text, "", faults).duration_us()
    if faults:
        raise Problem(faults[0][1])
    return found


@app.command("as-of")
def as_of(
    rule: Rule,
    at: At,
    known_now: Known = False,
    present: Present = False,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="Ids to print.")] = 20,
) -> None:
    """Who was in a segment, or would have been in a new one, at an instant of the past."""
    from cli.output import number
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.explore_pb2 import ListMembersAsOfRequest
    from services.chassis import clock
    from services.chassis.parking import timestamp

    with _explore() as (running, explore):
        request = ListMembersAsOfRequest(
            tenant=running.tenant, rule=_rule_of(rule, running.tenant, present),
            at_time=timestamp(_us(at)), page_size=limit,
        )  # fmt: skip
        if known_now:
            request.known_time.CopyFrom(timestamp(clock.wall_us()))
        answer = explore.ListMembersAsOf(request, timeout=CALL_TIMEOUT_S)
    by = f" by version {answer.segment_version}" if answer.segment_version else ""
    print(f"{number(answer.members)} of {number(answer.profiles)} profiles{by}")
    for profile in answer.profile_ids:
        print(f"  {profile}")


@app.command()
def backtest(
    rule: Rule,
    begin: Annotated[str, typer.Argument(metavar="FROM", help="The first instant.")],
    end: Annotated[str, typer.Argument(metavar="TO", help="No instant after this one.")],
    every: Annotated[str, typer.Option(help="Such as 1 hour.")] = "1 day",
    known_now: Known = False,
    present: Present = False,
) -> None:
    """Sizes of a segment or a new rule at past instants, and who came and went in between."""
    from cli.output import moment, number
    from cli.problems import Problem
    from muster.segments.v1.explore_pb2 import BacktestRuleRequest
    from services.chassis import clock
    from services.chassis.parking import timestamp

    first, last, step = _us(begin), _us(end), _duration_us(every)
    if last < first:
        raise Problem("FROM comes before TO")
    with _explore() as (running, explore):
        request = BacktestRuleRequest(
            tenant=running.tenant,
            rule=_rule_of(rule, running.tenant, present),
            at_times=[timestamp(at) for at in range(first, last + 1, step)],
        )
        if known_now:
            request.known_time.CopyFrom(timestamp(clock.wall_us()))
        points = list(explore.BacktestRule(request, timeout=BACKTEST_TIMEOUT_S))
    most = max((point.members for point in points), default=0) or 1
    version = 0
    for point in points:
        flow = f"+{number(point.entered)} -{number(point.left)}"
        bar = "█" * round(BAR_WIDTH * point.members / most)
        if point.segment_version != version:
            version = point.segment_version
            bar += f"  version {version}" if version else "  out of service"
        print(f"{moment(point.at_time)}  {number(point.members):>11}  {flow:>17}  {bar}".rstrip())


@app.command()
def overlap(
    segment: Annotated[list[str], typer.Argument(help="Up to 50 segments.")],
) -> None:
    """How many members segments share, two by two."""
    from cli.output import number, print_table
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.explore_pb2 import GetOverlapRequest

    with _explore() as (running, explore):
        request = GetOverlapRequest(tenant=running.tenant, segment_ids=segment)
        answer = explore.GetOverlap(request, timeout=CALL_TIMEOUT_S)
    names, count = list(answer.segment_ids), len(answer.segment_ids)
    rows = [
        [name, *(number(n) for n in answer.shared[place * count : (place + 1) * count])]
        for place, name in enumerate(names)
    ]
    print_table(["", *names], rows)
    print(f"{number(answer.any)} in any of them, {number(answer.none)} in none")


@app.command()
def history(
    rule: Rule,
    profile: Annotated[str, typer.Argument(help="p_… or kind=value, such as user_id=ada.")],
    begin: Annotated[str, typer.Option("--from", help="Its beginning when left out.")] = "",
    end: Annotated[str, typer.Option("--to", help="Now when left out.")] = "",
    present: Present = False,
) -> None:
    """When a profile entered and left a segment, to the microsecond, and why."""
    from cli.commands.segments import profile_ref
    from cli.output import moment, word
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.explore_pb2 import GetMembershipHistoryRequest
    from muster.types.v1.common_pb2 import Direction, Reason
    from services.chassis.parking import timestamp

    with _explore() as (running, explore):
        request = GetMembershipHistoryRequest(
            tenant=running.tenant,
            rule=_rule_of(rule, running.tenant, present),
            profile=profile_ref(profile),
        )
        for text, field in ((begin, request.from_time), (end, request.to_time)):
            if text:
                field.CopyFrom(timestamp(_us(text)))
        answer = explore.GetMembershipHistory(request, timeout=CALL_TIMEOUT_S)
    print(f"{moment(answer.from_time)}  {'in' if answer.member_at_start else 'out'}")
    for turn in answer.turns:
        version = f"  v{turn.segment_version}" if turn.segment_version else ""
        why = " ".join(filter(None, (word(Reason, turn.reason), turn.event_id)))
        print(f"{moment(turn.at_time)}  {word(Direction, turn.direction):<7}{version}  {why}")
        for leaf in turn.leaves:
            print(f"    {leaf.sentence}")
    if answer.truncated:
        print(f"there is more: ask again with --from {answer.turns[-1].at_time.ToJsonString()}")


@app.command()
def flips(
    segment: SegmentId,
    within: Annotated[str, typer.Option(help="Such as 1 hour, at most 31 days.")] = "1 hour",
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 20,
) -> None:
    """Who will enter or leave a segment soon if nothing more happens, soonest first."""
    from cli.output import moment, number, word
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1.explore_pb2 import ListNextFlipsRequest
    from muster.types.v1.common_pb2 import Direction

    with _explore() as (running, explore):
        request = ListNextFlipsRequest(tenant=running.tenant, segment_id=segment, limit=limit)
        request.within.FromMicroseconds(_duration_us(within))
        answer = explore.ListNextFlips(request, timeout=CALL_TIMEOUT_S)
    print(f"{number(answer.entering)} will enter, {number(answer.leaving)} will leave")
    for flip in answer.flips:
        print(f"  {moment(flip.flip_time)}  {word(Direction, flip.direction)}  {flip.profile_id}")

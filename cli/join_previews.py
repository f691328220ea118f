"""What a merge or an unlink would change: identity, segments and frequency asked, one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Asked = Callable[..., Any]
"""Calls IdentityService: (method, **fields of the request)."""
YES, NO = "member", "-"


@contextmanager
def _joins() -> Iterator[tuple[Any, Any]]:
    """The stack and a client of segments' previews."""
    import grpc

    from cli.running import address_of, stack
    from muster.segments.v1.joins_pb2_grpc import JoinsServiceStub

    running = stack()
    with grpc.insecure_channel(address_of(running, "segments")) as channel:
        yield running, JoinsServiceStub(channel)


def show_merge(asked: Asked, profile_ids: Sequence[str]) -> None:
    """Memberships and caps that would change if these were one. profile_ids: the survivor first."""
    from muster.identity.v1.facts_pb2 import ATTRIBUTE_RULE_SURVIVOR

    rules = asked("GetIdentityRules").rules
    newest = [name for name, rule in rules.attributes.items() if rule > ATTRIBUTE_RULE_SURVIVOR]
    _asking("segments", lambda: _show_memberships(profile_ids, newest))
    _asking("frequency", lambda: _show_caps(profile_ids))


def _asking(service: str, show: Callable[[], None]) -> None:
    """What one of them cannot say does not keep the others from it."""
    import grpc

    from cli.problems import Problem

    try:
        show()
    except grpc.RpcError as refusal:
        why = refusal.details() if isinstance(refusal, grpc.Call) else str(refusal)
        print(f"{service} says nothing: {why}")
    except Problem as problem:
        print(f"{service} says nothing: {problem}")


def _show_memberships(profile_ids: Sequence[str], newest: Sequence[str]) -> None:
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1 import joins_pb2 as api
    from muster.types.v1.common_pb2 import ProfileRef

    with _joins() as (running, joins):
        request = api.PreviewMergeRequest(tenant=running.tenant, newest_attributes=newest)
        request.profiles.extend(ProfileRef(profile_id=one) for one in profile_ids)
        found = joins.PreviewMerge(request, timeout=CALL_TIMEOUT_S)
    changed = [one for one in found.memberships if one.member[0] != one.then_member[0]]
    rows = [
        [one.segment_id, *(YES if m else NO for m in one.member), YES if then else NO]
        for one in (*changed, *(one for one in found.memberships if one not in changed))
        for then in one.then_member
    ]
    heads = ["segment", *(f"{one} now" for one in profile_ids), "as one"]
    _table(heads, rows, "nobody is in a segment, nor would be")
    print(f"the survivor would enter or leave {len(changed)} of them")
    _show_unknown(found)


def _show_caps(profile_ids: Sequence[str]) -> None:
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1 import service_pb2 as api

    running = stack()
    with calls(running, "frequency") as frequency:
        request = api.PreviewMergeRequest(tenant=running.tenant, profile_ids=profile_ids)
        found = frequency.PreviewMerge(request, timeout=CALL_TIMEOUT_S)
    heads = ["cap", *(f"{one} now" for one in profile_ids), "as one", "", "free again"]
    _caps_table(heads, found.caps)


def _show_split_caps(profile_id: str, leaving: Sequence[str]) -> None:
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1 import service_pb2 as api

    running = stack()
    with calls(running, "frequency") as frequency:
        request = api.PreviewSplitRequest(
            tenant=running.tenant, profile_id=profile_id, leaving_profile_ids=leaving
        )
        found = frequency.PreviewSplit(request, timeout=CALL_TIMEOUT_S)
    heads = ["cap", *(f"{one} then" for one in (profile_id, *leaving)), "now", "", "free again"]
    _caps_table(heads, found.caps)


def _caps_table(heads: list[str], caps: Sequence[Any]) -> None:
    from cli.output import moment

    rows = []
    for cap in caps:
        if not cap.joined_counted and cap.max:
            continue
        state = "reached" if cap.joined_reached else "free"
        if cap.joined_reached and not any(cap.reached):
            state = "reached only as one"
        until = moment(cap.joined_free_time) if cap.HasField("joined_free_time") else ""
        counts = [f"{counted} of {cap.max}" for counted in (*cap.counted, cap.joined_counted)]
        rows.append([f"{cap.strategy_id} {cap.rule}", *counts, state, until])
    _table(heads, rows, "no message of theirs counts against a cap now")


def show_split(profile_id: str, parts: Sequence[Any]) -> None:
    """Memberships of a profile and of what it would become. parts: identity's UnlinkedProfile."""
    leaving = [part for part in parts if part.profile_id != profile_id]
    if leaving:
        ids = [part.profile_id for part in leaving]
        _asking("segments", lambda: _show_parts(profile_id, leaving))
        _asking("frequency", lambda: _show_split_caps(profile_id, ids))


def _show_parts(profile_id: str, leaving: Sequence[Any]) -> None:
    from cli.running import CALL_TIMEOUT_S
    from muster.segments.v1 import joins_pb2 as api
    from muster.types.v1.common_pb2 import ProfileRef

    with _joins() as (running, joins):
        request = api.PreviewSplitRequest(
            tenant=running.tenant, profile=ProfileRef(profile_id=profile_id)
        )
        for part in leaving:
            request.parts.add(identifiers=part.identifiers)
        found = joins.PreviewSplit(request, timeout=CALL_TIMEOUT_S)
    rows = [
        [one.segment_id, YES if one.member[0] else NO, *(YES if m else NO for m in one.then_member)]
        for one in found.memberships
    ]
    names = [profile_id, *(part.profile_id for part in leaving)]
    heads = ["segment", "now", *(f"{one} then" for one in names)]
    _table(heads, rows, "it is in no segment, nor would any part be")
    _show_unknown(found)


def _show_unknown(found: Any) -> None:
    for one in found.unknown:
        print(f"not judged: {one.segment_id}: {one.reason}")


def _table(heads: list[str], rows: list[list[str]], empty: str) -> None:
    from cli.output import print_table

    print_table(heads, rows, empty=empty)

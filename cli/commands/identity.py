"""`muster identity`: who is who."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Profiles: identifiers, attributes, merges.")

Profile = Annotated[str, typer.Argument(help="p_… or kind=value, such as email=ada@example.org.")]


@app.command()
def resolve(profile: Profile) -> None:
    """The profile an identifier or an old id stands for now."""
    from cli.commands.segments import profile_ref
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.identity.v1.service_pb2 import ResolveProfileRequest

    running = stack()
    with calls(running, "identity") as identity:
        request = ResolveProfileRequest(tenant=running.tenant, profile=profile_ref(profile))
        print(identity.ResolveProfile(request, timeout=CALL_TIMEOUT_S).profile_id)


@app.command()
def show(
    profile: Profile, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Identifiers, attributes and merges of one profile."""
    from cli.commands.segments import profile_ref
    from cli.output import moment, print_json, value_text
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.identity.v1.service_pb2 import GetProfileRequest

    running = stack()
    with calls(running, "identity") as identity:
        request = GetProfileRequest(tenant=running.tenant, profile=profile_ref(profile))
        answer = identity.GetProfile(request, timeout=CALL_TIMEOUT_S)
    if as_json:
        print_json(answer)
        return
    print(answer.profile_id)
    for identifier in answer.identifiers:
        print(f"  {identifier.kind} = {identifier.value}")
    for name, value in sorted(answer.attributes.items()):
        print(f"  {name}: {value_text(value)}")
    for merge in answer.merges:
        print(
            f"  absorbed {merge.absorbed_profile_id} at {moment(merge.merge_time)} "
            f"because of {merge.cause_event_id}"
        )


@app.command()
def report() -> None:
    """Profiles, identifiers by kind, merges, joins not made."""
    from cli.output import number, print_table
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.identity.v1.service_pb2 import GetIdentityReportRequest

    running = stack()
    with calls(running, "identity") as identity:
        request = GetIdentityReportRequest(tenant=running.tenant)
        answer = identity.GetIdentityReport(request, timeout=CALL_TIMEOUT_S)
    rows = [[name, number(getattr(answer, name))] for name in ("profiles", "merges", "splits")]
    rows += [[f"identifiers: {kind}", number(n)] for kind, n in sorted(answer.identifiers.items())]
    rows += [
        [f"joins not made: {why}", number(n)] for why, n in sorted(answer.refused_joins.items())
    ]
    print_table(["", "number"], rows)

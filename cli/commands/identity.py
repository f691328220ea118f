"""`muster identity`: who is who, why, and what a person decides about it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from muster.types.v1.event_pb2 import Identifier

app = typer.Typer(no_args_is_help=True, help="Profiles: identifiers, links, merges, rules.")
rules_app = typer.Typer(no_args_is_help=True, help="The rules profiles are folded by.")
app.add_typer(rules_app, name="rules")

Profile = Annotated[str, typer.Argument(help="p_… or kind=value, such as email=ada@example.org.")]
Profiles = Annotated[list[str], typer.Argument(help="p_… or kind=value, two or more.")]
Identifiers = Annotated[list[str], typer.Argument(help="kind=value, such as user_id=ada.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Most = Annotated[int, typer.Option("--most", min=1, help="How many lines at most.")]
By = Annotated[str, typer.Option("--by", help="Who decides.")]
Why = Annotated[str, typer.Option("--why", help="Why; the profile's history shows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only what would happen.")]
RulesFile = Annotated[Path, typer.Argument(help="YAML, as `muster identity rules show` writes it.")]


def asked(method: str, **fields: Any) -> Any:
    """The answer of IdentityService of the running stack; **fields of the request."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.identity.v1 import service_pb2 as api

    running = stack()
    with calls(running, "identity") as identity:
        request = getattr(api, f"{method}Request")(tenant=running.tenant, **fields)
        return getattr(identity, method)(request, timeout=CALL_TIMEOUT_S)


def identifier_of(text: str) -> Identifier:
    """kind=value; a Problem otherwise."""
    from cli.problems import Problem
    from muster.types.v1.event_pb2 import Identifier

    kind, equals, value = text.partition("=")
    if not equals:
        raise Problem(f"{text!r} is no identifier: write kind=value, such as user_id=ada")
    return Identifier(kind=kind, value=value)


def written(identifiers: Any) -> str:
    return ", ".join(f"{one.kind}={one.value}" for one in identifiers)


@app.command()
def resolve(profile: Profile) -> None:
    """The profile an identifier or an old id stands for now."""
    from cli.commands.segments import profile_ref

    print(asked("ResolveProfile", profile=profile_ref(profile)).profile_id)


@app.command()
def show(profile: Profile, as_json: AsJson = False) -> None:
    """Identifiers, attributes and merges of one profile."""
    from cli.commands.segments import profile_ref
    from cli.output import moment, print_json, value_text

    answer = asked("GetProfile", profile=profile_ref(profile))
    if as_json:
        print_json(answer)
        return
    print(f"{answer.profile_id}  since {moment(answer.create_time)}")
    for identifier in answer.identifiers:
        print(f"  {identifier.kind} = {identifier.value}")
    for name, value in sorted(answer.attributes.items()):
        print(f"  {name}: {value_text(value)}")
    if answer.reach:
        print("  reached by " + ", ".join(sorted(answer.reach)))
    for merge in answer.merges:
        print(
            f"  absorbed {merge.absorbed_profile_id} at {moment(merge.merge_time)} "
            f"because of {merge.cause_event_id}"
        )


@app.command()
def graph(profile: Profile, as_json: AsJson = False, most: Most = 100) -> None:
    """Which identifiers of a profile came together, and the fact behind every link."""
    from cli.commands.segments import profile_ref
    from cli.output import moment, print_json

    answer = asked("GetProfileGraph", profile=profile_ref(profile), page_size=most)
    if as_json:
        print_json(answer)
        return
    print(answer.profile_id)
    for link in answer.links:
        doubt = ", not trusted" if link.untrusted else ""
        print(f"  {moment(link.occur_time)}  {link.cause_id}{doubt}")
        for one in link.identifiers:
            why = f"  left out: {one.left_out}" if one.left_out else ""
            print(f"    {written([one.identifier])}{why}")
    if answer.next_page_token:
        print(f"  and more: --most above {most}")


@app.command()
def timeline(profile: Profile, as_json: AsJson = False, most: Most = 20) -> None:
    """What a profile did, newest first."""
    from cli.commands.segments import profile_ref
    from cli.output import moment, print_json, value_text

    answer = asked("ListProfileEvents", profile=profile_ref(profile), page_size=most)
    if as_json:
        print_json(answer)
        return
    for event in answer.events:
        print(f"{moment(event.occur_time)}  {event.type}  {event.event_id}")
        for name, value in sorted(event.properties.items()):
            print(f"    {name}: {value_text(value)}")
    if answer.next_page_token:
        print(f"and more: --most above {most}")
    elif answer.older_left_out:
        print("older events may lie in the log only")


@app.command()
def changes(
    profile: Annotated[str, typer.Argument(help="p_… or kind=value; none: everybody.")] = "",
    as_json: AsJson = False,
    most: Most = 50,
) -> None:
    """Merges, splits, tokens handed on and links taken back, newest first."""
    from cli.commands.segments import profile_ref
    from cli.output import moment, print_json, print_table, word
    from muster.identity.v1.facts_pb2 import MoveCause

    fields = {"profile": profile_ref(profile)} if profile else {}
    answer = asked("ListProfileChanges", page_size=most, **fields)
    if as_json:
        print_json(answer)
        return
    rows = [
        [
            moment(one.change_time),
            word(MoveCause, one.cause),
            one.from_profile_id,
            one.to_profile_id,
            one.cause_id,
            f"{one.actor}: {one.reason}" if one.actor else "",
        ]
        for one in answer.changes
    ]
    print_table(["when", "what", "from", "to", "because of", "decided"], rows)


@app.command()
def aftermath(
    profile: Profile,
    cause: Annotated[str, typer.Option(help="The event that merged, by its id.")],
) -> None:
    """What went out about two people since they were merged: look at it before an unlink."""
    import asyncio

    from cli.aftermath import sent_since
    from cli.commands.segments import profile_ref
    from cli.output import moment, print_table
    from cli.problems import Problem
    from cli.running import stack
    from muster.identity.v1.facts_pb2 import MOVE_CAUSE_MERGE

    answer = asked(
        "ListProfileChanges",
        profile=profile_ref(profile),
        cause=MOVE_CAUSE_MERGE,
        page_size=1_000,
    )
    merged = [one for one in answer.changes if one.cause_id == cause]
    if not merged:
        raise Problem(
            f"{cause} merged nobody into this profile; `muster identity changes` says who"
        )
    ids = {one for change in merged for one in (change.from_profile_id, change.to_profile_id)}
    ids.add(asked("ResolveProfile", profile=profile_ref(profile)).profile_id)
    since = min(one.change_time.ToDatetime(tzinfo=dt.UTC) for one in merged)
    rows = [
        [moment(one.at), one.what, one.about, one.text]
        for one in asyncio.run(sent_since(stack(), ids, since))
    ]
    print_table(["when", "what", "of", ""], rows, empty="nothing went out since")


@app.command()
def quarantine(as_json: AsJson = False, most: Most = 50) -> None:
    """Profiles that the size brake keeps from growing, and identifiers that are ignored."""
    from cli.output import number, print_json, print_table

    answer = asked("ListQuarantine", page_size=most)
    if as_json:
        print_json(answer)
        return
    rows = [[one.profile_id, number(one.identifiers)] for one in answer.profiles]
    rows += [
        [written([one.identifier]), f"ignored: {one.reason} {one.pattern}".rstrip()]
        for one in answer.ignored
    ]
    print_table(["", "identifiers"], rows)


@app.command()
def link(identifiers: Identifiers, by: By = "", why: Why = "", yes: Yes = False) -> None:
    """What would come of identifiers being one person's; with --yes, says that they are."""
    wanted = [identifier_of(text) for text in identifiers]
    if not yes:
        _show_link(asked("PreviewLink", identifiers=wanted))
        return
    answer = asked("LinkIdentifiers", identifiers=wanted, actor=by, reason=why)
    print("\n".join(answer.profile_ids))


def _show_link(preview: Any) -> None:

    print(f"stands: {preview.survivor_profile_id or 'a new profile'}")
    for one in preview.absorbed:
        print(f"  takes in {one.profile_id}, which holds {written(one.holds)}")
    for one in preview.identifiers:
        if one.left_out:
            print(f"  leaves out {written([one.identifier])}: {one.left_out}")
    if preview.handed_over:
        print(f"  hands over {written(preview.handed_over)}")
    ids = [one.profile_id for one in preview.absorbed]
    if preview.survivor_profile_id and ids:
        from cli.join_previews import show_merge

        show_merge(asked, [preview.survivor_profile_id, *ids])


@app.command("preview-merge")
def preview_merge(profiles: Profiles) -> None:
    """Who would stand if these were one person, and which segments and caps would change."""
    identifiers = []
    for profile in profiles:
        if profile.startswith("p_"):
            from cli.commands.segments import profile_ref

            held = asked("GetProfile", profile=profile_ref(profile)).identifiers
            identifiers += list(held[:1])
        else:
            identifiers.append(identifier_of(profile))
    _show_link(asked("PreviewLink", identifiers=identifiers))


@app.command()
def unlink(
    profile: Profile,
    identifier: Annotated[str, typer.Option(help="kind=value that does not belong.")] = "",
    cause: Annotated[str, typer.Option(help="The event that joined, by its id.")] = "",
    by: By = "",
    why: Why = "",
    yes: Yes = False,
) -> None:
    """What a profile would become without a link; with --yes, takes the link back for good."""
    from cli.commands.segments import profile_ref
    from cli.problems import Problem

    if bool(identifier) == bool(cause):
        raise Problem("name the link: --identifier kind=value, or --cause and an event's id")
    named = {"identifier": identifier_of(identifier)} if identifier else {"cause_id": cause}
    fields: dict[str, Any] = {"profile": profile_ref(profile), **named}
    if yes:
        answer = asked("UnlinkIdentifiers", **fields, actor=by, reason=why)
    else:
        answer = asked("PreviewUnlink", **fields)
    for one in answer.profiles:
        print(f"{one.profile_id}: {written(one.identifiers)}")
    if not yes:
        from cli.join_previews import show_split

        for pair in answer.forbids:
            print(f"never again together: {written([pair.first])} and {written([pair.second])}")
        present = asked("ResolveProfile", profile=profile_ref(profile)).profile_id
        show_split(present, answer.profiles)


@app.command()
def report() -> None:
    """Profiles, identifiers by kind, merges, joins not made."""
    from cli.output import number, print_table

    answer = asked("GetIdentityReport")
    names = ("profiles", "merges", "splits", "handed_tokens")
    rows = [[name.replace("_", " "), number(getattr(answer, name))] for name in names]
    rows += [[f"identifiers: {kind}", number(n)] for kind, n in sorted(answer.identifiers.items())]
    rows += [
        [f"joins not made: {why}", number(n)] for why, n in sorted(answer.refused_joins.items())
    ]
    print_table(["", "number"], rows)


@rules_app.command("show")
def show_rules() -> None:
    """The rules as YAML: change the file, simulate it, apply it."""
    import yaml

    from cli.identity_rules import rules_document

    document = rules_document(asked("GetIdentityRules").rules)
    print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")


@rules_app.command()
def simulate(file: RulesFile) -> str:
    """What these rules would make of everybody; changes nothing."""
    from cli.identity_rules import read_rules, simulated

    name, found = simulated(asked, read_rules(file))
    print(
        f"{found.profiles_now:,} profiles would be {found.profiles_then:,}: {found.joined:,} would "
        f"join others, {found.split:,} would fall apart"
    )
    for group in found.joined_examples:
        print("  one: " + ", ".join(group.profile_ids))
    for one in found.split_examples:
        print(f"  apart: {one}")
    return name


@rules_app.command("apply")
def apply_rules(file: RulesFile, by: By, why: Why) -> None:
    """Simulates these rules, shows the difference, and takes them from the next event on."""
    from cli.identity_rules import read_rules

    name = simulate(file)
    answer = asked(
        "ChangeIdentityRules", rules=read_rules(file), simulation_id=name, actor=by, reason=why
    )
    print(f"rules are at version {answer.rules.version}")

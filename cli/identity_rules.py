"""Identity's rules as a YAML file, and the wait for a simulation of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.problems import Problem

SIMULATION_WAIT_S = 600.0
FIELDS = {
    "version": int,
    "limits": dict,
    "shared_others_max": int,
    "profile_identifiers_max": int,
    "blocked": list,
    "patterns": list,
    "attributes": dict,
    "sources": list,
    "newest_attributes": list,
}
ONE_CHARACTER = "one character"


def read_rules(file: Path) -> Any:
    """IdentityRules of a file; a Problem names what is wrong and what to write."""
    import yaml

    from muster.identity.v1 import facts_pb2 as identity

    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Problem(f"{file}: {error}") from None
    if not isinstance(document, dict):
        raise Problem(f"{file}: write what `muster identity rules show` prints")
    unknown = sorted(set(document) - set(FIELDS))
    if unknown:
        raise Problem(f"{file}: {', '.join(unknown)}: known are {', '.join(FIELDS)}")
    for name, shape in FIELDS.items():
        if name in document and not isinstance(document[name], shape):
            raise Problem(f"{file}: {name}: write a {shape.__name__}")
    rules = identity.IdentityRules(
        version=document.get("version", 1),
        shared_others_max=document.get("shared_others_max", 100),
        profile_identifiers_max=document.get("profile_identifiers_max", 200),
    )
    for kind, limit in document.get("limits", {}).items():
        if not isinstance(limit, int) or limit < 1:
            raise Problem(f"{file}: limits: {kind}: write a whole number from 1")
        rules.limits[str(kind)] = limit
    for text in document.get("blocked", []):
        kind, equals, value = str(text).partition("=")
        if not equals:
            raise Problem(f"{file}: blocked: {text!r}: write kind=value")
        rules.blocked.add(kind=kind, value=value)
    _read_attributes(file, document, rules)
    for text in document.get("patterns", []):
        kind, equals, pattern = str(text).partition("=")
        if not equals:
            raise Problem(f"{file}: patterns: {text!r}: write email=test@*, phone={ONE_CHARACTER}")
        if pattern == ONE_CHARACTER:
            rules.patterns.add(kind=kind, one_character=True)
        else:
            rules.patterns.add(kind=kind, pattern=pattern)
    return rules


def _read_attributes(file: Path, document: dict[str, Any], rules: Any) -> None:
    from muster.identity.v1.facts_pb2 import AttributeRule

    rules.sources.extend(str(source) for source in document.get("sources", []))
    newest = dict.fromkeys(document.get("newest_attributes", []), "newest")
    for name, rule in (newest | document.get("attributes", {})).items():
        number = dict(AttributeRule.items()).get(f"ATTRIBUTE_RULE_{str(rule).upper()}", 0)
        if not number:
            raise Problem(f"{file}: attributes: {name}: write survivor, newest, source or first")
        rules.attributes[str(name)] = number


def rules_document(rules: Any) -> dict[str, Any]:
    """IdentityRules as `read_rules` takes them."""
    from cli.output import word
    from muster.identity.v1.facts_pb2 import AttributeRule

    return {
        "version": rules.version,
        "limits": dict(sorted(rules.limits.items())),
        "shared_others_max": rules.shared_others_max,
        "profile_identifiers_max": rules.profile_identifiers_max,
        "blocked": [f"{one.kind}={one.value}" for one in rules.blocked],
        "patterns": [
            f"{one.kind}={ONE_CHARACTER if one.one_character else one.pattern}"
            for one in rules.patterns
        ],
        "attributes": {
            name: word(AttributeRule, rule) for name, rule in sorted(rules.attributes.items())
        },
        "sources": list(rules.sources),
    }


def simulated(asked: Callable[..., Any], rules: Any) -> tuple[str, Any]:
    """(id of the simulation, what it found); asked: calls IdentityService by method and fields."""
    from muster.identity.v1 import service_pb2 as api
    from services.chassis import clock

    name: str = asked("SimulateIdentityRules", rules=rules).simulation_id
    deadline = clock.monotonic() + SIMULATION_WAIT_S
    while clock.monotonic() < deadline:
        found = asked("GetIdentitySimulation", simulation_id=name)
        if found.state == api.SIMULATION_STATE_DONE:
            return name, found
        if found.state == api.SIMULATION_STATE_GONE:
            # identity was started again meanwhile: so is the simulation.
            name = asked("SimulateIdentityRules", rules=rules).simulation_id
        if found.state == api.SIMULATION_STATE_FAILED:
            raise Problem(f"the simulation failed: {found.error}")
        clock.pause(0.2)
    raise Problem(f"simulation {name} still runs after {SIMULATION_WAIT_S:g} s: ask again later")

"""Decisions made by hand, as records of CONTROL and as the naive fold takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from muster.identity.v1 import facts_pb2 as identity
from services.chassis import subjects
from services.chassis.core import Message
from tests.unit.identity.events import TENANT, Happened, words_of
from tests.unit.identity.naive import Identifier, Law

Pair = tuple[Identifier, Identifier]


@dataclass(frozen=True)
class Decision:
    """One of: pairs taken apart, identifiers linked, or another law (the version-th)."""

    request_id: str
    at_us: int
    apart: tuple[Pair, ...] = ()
    linked: tuple[Identifier, ...] = ()
    law: Law | None = None
    version: int = 0
    newest: tuple[str, ...] = ()
    attributes: tuple[tuple[str, int], ...] = ()
    """(attribute, AttributeRule)."""
    sources: tuple[str, ...] = ()


def printed(identifier: Identifier) -> identity.PrintedIdentifier:
    kind, value = identifier
    high, low = words_of(f"{kind} {value}")
    return identity.PrintedIdentifier(kind=kind, value=value, print_high=high, print_low=low)


def record_of(decision: Decision) -> identity.IdentityDecided:
    high, low = words_of(f"event {decision.request_id}")
    record = identity.IdentityDecided(
        request_id=decision.request_id,
        actor="support@example.com",
        reason="asked by phone",
        decide_time_us=decision.at_us,
        print_high=high,
        print_low=low,
    )
    if decision.law is not None:
        rules = record.rules
        rules.version = decision.version
        rules.limits.update(decision.law.limits)
        rules.shared_others_max = decision.law.shared_others
        rules.profile_identifiers_max = decision.law.size
        rules.blocked.extend(printed(one) for one in sorted(decision.law.blocked))
        for kind, text in decision.law.patterns:
            rules.patterns.add(kind=kind, pattern=text)
        for name in decision.newest:
            rules.attributes[name] = identity.ATTRIBUTE_RULE_NEWEST
        for name, rule in decision.attributes:
            rules.attributes[name] = rule  # type: ignore[assignment]
        rules.sources.extend(decision.sources)
    elif decision.linked:
        record.asserted.identifiers.extend(printed(one) for one in decision.linked)
    else:
        for first, second in decision.apart:
            record.forbidden.pairs.add(first=printed(first), second=printed(second))
    return record


def decided(decision: Decision, sequence: int) -> Message:
    subject = subjects.control(TENANT, "identity")
    return Message(1, subject, sequence, decision.at_us, record_of(decision).SerializeToString())


def after(
    events: Sequence[Happened], law: Law, decisions: Sequence[Decision]
) -> tuple[list[Happened], Law]:
    """The events and the law that come to the same as these with the decisions."""
    happened = list(events)
    apart: set[frozenset[Identifier]] = set()
    for decision in decisions:
        if decision.law is not None:
            law = decision.law
        elif decision.linked:
            apart = {pair for pair in apart if not pair <= set(decision.linked)}
            happened.append(Happened(decision.request_id, decision.at_us, decision.linked))
        else:
            apart |= {frozenset(pair) for pair in decision.apart if pair[0] != pair[1]}
    pairs = tuple((min(pair), max(pair)) for pair in sorted(apart, key=sorted))
    return happened, replace(law, apart=pairs)

"""What would come of a link, or of taking one back: the fold asked, nothing changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from services.identity.domain.fold import Decision, Group, State, decide
from services.identity.domain.kinds import Kinds
from services.identity.domain.patterns import matching
from services.identity.engine import changes
from services.identity.engine.regions import Knowledge, Region, refold
from services.identity.engine.store import SHARED
from services.identity.engine.visits import LEFT_OUT, standing

Pair = tuple[int, int]
"""Two identifiers that shall never stand in one profile."""


class Wanted(NamedTuple):
    """An identifier as asked for: name of its kind, normalised value, print."""

    kind: str
    value: str
    high: int
    low: int


@dataclass(slots=True)
class LinkPreview:
    """What an event with these identifiers would do now.

    survivor: number, None for a new profile. absorbed: number -> which of the identifiers it holds.
    left_out: identifier -> why. handed: push tokens that would be handed on.
    """

    survivor: int | None = None
    absorbed: dict[int, list[Wanted]] = field(default_factory=dict)
    left_out: dict[Wanted, str] = field(default_factory=dict)
    handed: list[Wanted] = field(default_factory=list)


def preview_link(knowledge: Knowledge, wanted: Iterable[Wanted], trusted: bool) -> LinkPreview:
    """As if the event were the newest of everybody it names."""
    kinds = Kinds(knowledge.kinds.rules, knowledge.kinds.names)
    kind_of: dict[int, int] = {}
    named: dict[int, Wanted] = {}
    preview = LinkPreview()
    for place, one in enumerate(dict.fromkeys(wanted)):
        found = knowledge.store.find_identifier(one.high, one.low)
        identifier = -1 - place if found is None else found
        kind_of[identifier] = kinds.code(one.kind)
        if found is not None and knowledge.flagged(found, SHARED):
            preview.left_out[one] = "shared"
        elif found is None and matching(kinds.rules.patterns, one.kind, one.value):
            preview.left_out[one] = "blocked"
        else:
            named[identifier] = one
    ids = sorted(named, key=lambda i: (kinds.rank[kind_of[i]], named[i].value.encode()))
    state = State(kinds, kind_of, knowledge.forbidden)
    groups: dict[int, Group] = {}
    for identifier in ids:
        owner = knowledge.owner(identifier) if identifier >= 0 else -1
        if owner >= 0:
            if owner not in groups:
                groups[owner] = standing(knowledge, owner, kind_of)
            state.owner[identifier] = groups[owner]
    if ids:
        _tell(preview, decide(state, ids, trusted), state, named)
    return preview


def _tell(preview: LinkPreview, decision: Decision, state: State, named: dict[int, Wanted]) -> None:
    for identifier in named.keys() - set(decision.kept):
        preview.left_out[named[identifier]] = LEFT_OUT[decision.left_by]
    preview.handed = [named[token] for token in decision.handed]
    if not decision.joined:
        return
    survivor = min(decision.joined, key=lambda group: (group.rank, group.origin))
    preview.survivor = survivor.number
    for group in decision.joined:
        if group is not survivor and group.number is not None:
            preview.absorbed[group.number] = [
                one for identifier, one in named.items() if state.owner.get(identifier) is group
            ]


def pairs_by_identifier(knowledge: Knowledge, number: int, identifier: int) -> list[Pair]:
    """What keeps an identifier from a profile: it never stands with the strongest other one."""
    others = [i for i in strongest_first(knowledge, knowledge.held(number)) if i != identifier]
    return [(others[0], identifier)] if others else []


def pairs_by_cause(knowledge: Knowledge, number: int, cause: bytes) -> list[Pair] | None:
    """What takes back the link that an event asserted; None when it asserted none here.

    The strongest identifier of the event never again stands with those that nothing else joins to
    it: [] when other evidence joins them all.
    """
    evidence = {
        one
        for identifier in knowledge.held(number)
        for one in knowledge.bearing(identifier)
        if len(knowledge.ids(one)) > 1 and knowledge.store.event_of(one) == cause
    }
    if not evidence:
        return None
    state = refold(knowledge, {number}, without=evidence).state
    pairs = []
    for one in sorted(evidence):
        kept = [i for i in knowledge.kept(one) if not knowledge.flagged(i, SHARED)]
        for identifier in kept[1:]:
            holder = state.holder(identifier)
            if holder is None or holder is not state.holder(kept[0]):
                pairs.append((kept[0], identifier))
    return pairs


class Part(NamedTuple):
    """A profile as it would be: its public id and identifiers, strongest first."""

    public_id: int
    identifiers: list[int]


def preview_unlink(knowledge: Knowledge, number: int, pairs: Sequence[Pair]) -> list[Part]:
    """What would become of a profile, strongest part first."""
    forbidden = {identifier: set(apart) for identifier, apart in knowledge.forbidden.items()}
    for first, second in pairs:
        forbidden.setdefault(first, set()).add(second)
        forbidden.setdefault(second, set()).add(first)
    trial = replace(knowledge, forbidden=forbidden)
    region = refold(trial, {knowledge.owner(i) for pair in pairs for i in pair} | {number})
    held = knowledge.held(number)
    groups = [group for group in region.groups() if group.ever & held]
    parts = [_part(knowledge, region, group) for group in groups]
    rank = knowledge.kinds.rank
    kind = knowledge.store.atoms["kind"]
    return sorted(parts, key=lambda part: min(rank[int(kind[i])] for i in part.identifiers))


def _part(knowledge: Knowledge, region: Region, group: Group) -> Part:
    holds = [i for i in group.ever if region.state.holder(i) is group]
    public_id = changes.first_public_id(knowledge, group.evidence)
    return Part(public_id, strongest_first(knowledge, holds or group.ever))


def strongest_first(knowledge: Knowledge, identifiers: Iterable[int]) -> list[int]:
    """Identifiers by kind, then by value."""
    rank, kind = knowledge.kinds.rank, knowledge.store.atoms["kind"]
    text = knowledge.store.text_of
    return sorted(identifiers, key=lambda i: (rank[int(kind[i])], text(i)))

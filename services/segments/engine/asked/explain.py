"""Why a profile is in a segment or not, with the events that count, and when that changes.

Everything is read from the profile's own past, independently of cursors, by the judges of
`engine.pasts`.
"""

from __future__ import annotations

from services.segments.domain import conditions as rule
from services.segments.domain.sentences import sentence_of
from services.segments.domain.shares import permille, salt_key
from services.segments.engine.asked.outlook import Outlook
from services.segments.engine.language.expressions import ADDED, REMOVED, ListLeaf
from services.segments.engine.live.outcome import Evidence, Explanation, LeafExplanation
from services.segments.engine.live.rules import Segment
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import Judged, evidence
from services.segments.engine.store import persons


def explain(part: Partition, segment: Segment, profile: int, member: bool) -> Explanation:
    """The explanation of a membership at now."""
    given = segment.segment_id, segment.version, profile, member
    if segment.node is None:
        return Explanation(*given, (), None)
    outlook = Outlook(part, part.people.row_of(profile), segment.node)
    leaves = tuple(_explained(outlook, path, leaf) for path, leaf in rule.leaves(segment.node))
    flip, known = outlook.next_flip(part.limits.explain_instants_max)
    return Explanation(*given, leaves, flip, known)


def _explained(outlook: Outlook, path: str, leaf: rule.Leaf) -> LeafExplanation:
    holds, sentence = outlook.leaf(leaf), sentence_of(leaf)
    match leaf:
        case rule.Reachable() | rule.Everyone():
            return LeafExplanation(path, sentence, holds, ", ".join(sorted(outlook.kinds())))
        case rule.InPart(salt):
            place = permille(salt_key(salt), outlook.part.people.number_of(outlook.row))
            return LeafExplanation(path, sentence, holds, f"{place}‰")
        case rule.MemberOf() | rule.InList():
            by_hand = _by_hand(outlook, leaf.list_id) if isinstance(leaf, rule.InList) else ""
            said = by_hand or ("member" if holds else "not a member")
            return LeafExplanation(path, sentence, holds, said)
    found = evidence.evidence(leaf, outlook.past, outlook.at)
    newest = found.rows[::-1][: outlook.part.limits.evidence_events_max].tolist()
    events = tuple(_event(outlook, leaf, found, row) for row in newest)
    return LeafExplanation(
        path, sentence, holds, found.found, found.start, found.end, events, len(found.rows),
        found.missing,
    )  # fmt: skip


def _by_hand(outlook: Outlook, list_id: str) -> str:
    """What was done by hand to a profile in a list; empty for nothing."""
    names = {ADDED: "added by hand", REMOVED: "taken out by hand"}
    bears = outlook.part.lists.bears
    return next((names[m] for m in names if bears(ListLeaf(list_id, m), outlook.row)), "")


def _event(outlook: Outlook, leaf: Judged, found: evidence.Evidence, row: int) -> Evidence:
    part, view, value = outlook.part, outlook.part.events.view, "1"
    if isinstance(leaf, rule.EventsAre) and leaf.aggregate.property:
        key = part.names.number_of(leaf.aggregate.property)
        value = ", ".join(one.plain() for one in persons.scalars_of(part, row, key))
    return Evidence(
        part.events.id_of(row), part.names.names[int(view.type[row])], int(view.occur[row]), value,
        evidence.leave_us(found.window, outlook.past, row, outlook.at),
    )  # fmt: skip

"""What one rule says otherwise than another, part by part.

Groups of one kind are compared by their parts, in any order; parts about the same thing (an
attribute, a type of event, a segment) are one part that changed, others came or went.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.segments.domain import conditions as rule
from services.segments.domain import normal
from services.segments.domain.sentences import sentence_of


@dataclass(frozen=True, slots=True)
class Difference:
    """One part: its place, and what it says before and after; None where it does not stand.

    path: such as all[0].any[1], as in explanations; of a removed part its place before.
    """

    path: str
    before: rule.Node | None
    after: rule.Node | None

    @property
    def sentence_before(self) -> str:
        """In plain English; empty when the part was added."""
        return "" if self.before is None else sentence_of(self.before)

    @property
    def sentence_after(self) -> str:
        """In plain English; empty when the part was removed."""
        return "" if self.after is None else sentence_of(self.after)


def differences(before: rule.Node, after: rule.Node, path: str = "") -> list[Difference]:
    """The parts that differ, in the order of `after`, what was removed last; [] for rules that are
    equal in one shape (`domain.normal`)."""
    if normal.node(before) == normal.node(after):
        return []
    if isinstance(before, rule.Not) and isinstance(after, rule.Not):
        return differences(before.of, after.of, _below(path, "not"))
    if isinstance(after, rule.All) != isinstance(before, rule.All):
        # What became one of several conditions, or was, is compared with that one.
        if isinstance(after, rule.All) and _about(before) in map(_about, after.of):
            before = rule.All((before,))
        elif isinstance(before, rule.All) and _about(after) in map(_about, before.of):
            after = rule.All((after,))
    if not _comparable(before, after):
        return [Difference(path, before, after)]
    return _of_parts(before, after, path)


def _comparable(before: rule.Node, after: rule.Node) -> bool:
    if isinstance(before, rule.AtLeast) and isinstance(after, rule.AtLeast):
        return before.n == after.n
    kinds = rule.All | rule.Any | rule.Neither
    return isinstance(before, kinds) and type(before) is type(after)


def _of_parts(before: rule.Node, after: rule.Node, path: str) -> list[Difference]:
    old = list(enumerate(rule.children(before)))
    new = list(enumerate(rule.children(after)))
    for place, part in list(new):
        same = next((one for one in old if one[1] == part), None)
        if same is not None:
            old.remove(same)
            new.remove((place, part))
    found: list[Difference] = []
    for place, part in new:
        where = _below(path, _step(after, place))
        mate = next((one for one in old if _about(one[1]) == _about(part)), None)
        if mate is None:
            found.append(Difference(where, None, part))
        else:
            old.remove(mate)
            found += differences(mate[1], part, where)
    return found + [
        Difference(_below(path, _step(before, place)), part, None) for place, part in old
    ]


def _about(node: rule.Node) -> object:
    """What a part speaks of: parts about one thing are that thing, changed."""
    match node:
        case rule.AttributeIs() | rule.AttributeHeld() | rule.AttributeChanged():
            return type(node), node.attribute
        case rule.EventsAre() | rule.FirstEvent() | rule.LastEvent() | rule.Regularly():
            return type(node), node.events.types, node.events.prefix
        case rule.InPart():
            return type(node), node.salt
        case rule.MemberOf() | rule.InList() | rule.Reachable():
            return node
    return type(node)


def _step(group: rule.Node, place: int) -> str:
    name = rule.group_name(group)
    return f"{name}.of[{place}]" if isinstance(group, rule.AtLeast) else f"{name}[{place}]"


def _below(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step

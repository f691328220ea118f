"""Case files: a story as YAML or JSON, read into steps in order of time, every fault with its path.

`docs/testing.md` shows the format. A case has people (names for identifiers), segments defined at
its start, and steps: what happens and what must hold then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cli import condition_parts
from cli.conditions import condition_at
from cli.reading import EPOCH, MICROSECOND, Node, TreeFaults, describe, read_document
from muster.types.v1 import condition_pb2, event_pb2

PARTITIONS_MAX = 64
_ACTIONS = ("event", "attributes", "again", "define", "retire", "refused", "members", "transitions")
_WITH_ACTION = {
    "event": {"by", "happened", "with", "id", "import", "verdict"},
    "attributes": {"by", "happened", "id", "import", "verdict"},
    "again": {"verdict"},
    "define": set[str](),
    "retire": set[str](),
    "refused": {"because"},
    "members": {"transitions"},
    "transitions": set[str](),
}


@dataclass(frozen=True)
class Rule:
    """A segment as a case defines it."""

    segment_id: str
    condition: condition_pb2.Condition
    name: str = ""
    zone: str = ""


@dataclass(frozen=True)
class Happens:
    """An event arrives. verdict: accepted, duplicate, or the code of a refusal."""

    at_us: int
    event: event_pb2.Event
    import_id: str = ""
    verdict: str = "accepted"
    path: str = ""


@dataclass(frozen=True)
class Defines:
    """A segment is defined anew, edited or taken out of service (rule None)."""

    at_us: int
    segment_id: str
    rule: Rule | None


@dataclass(frozen=True)
class Refuses:
    """A rule that must be refused: `because` parts must stand in what is said."""

    at_us: int
    path: str
    tree: Any
    because: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """An expected transition."""

    at_us: int
    who: str
    entered: bool
    reason: str


@dataclass(frozen=True)
class Checks:
    """What must hold: members now, and every transition up to now."""

    at_us: int
    path: str
    members: dict[str, tuple[str, ...]]
    transitions: dict[str, tuple[Told, ...]]


Step = Happens | Defines | Refuses | Checks


@dataclass
class Case:
    """One story."""

    story: str
    start_us: int
    partitions: int = 1
    people: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def read_case(text: str) -> Case:
    """The case of a document. TreeFaults lists everything that is wrong with it."""
    node = Node(read_document(text))
    case = _Reader(node).case()
    if node.faults:
        raise TreeFaults(node.faults)
    return case


class _Reader:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.now_us = 0
        self.people: dict[str, list[tuple[str, str]]] = {}
        self.sent: dict[str, Happens] = {}

    def case(self) -> Case:
        node = self.node
        node.keys({"story", "partitions", "start", "people", "segments", "steps"}, "a case")
        self.now_us = node.at("start").instant_us()
        case = Case(
            node.at("story").text(),
            self.now_us,
            node.at("partitions").whole(1, PARTITIONS_MAX, default=1),
        )
        for label in node.at("people").tree or {}:
            self.people[str(label)] = self._identifiers(node.at("people").at(str(label)))
        case.people = self.people
        if node.has("segments"):
            case.steps += self._rules(node.at("segments"))
        for step in node.at("steps").items():
            case.steps += self._step(step)
        return case

    def _identifiers(self, node: Node) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if not isinstance(node.tree, dict) or not node.tree:
            node.fault("must be a mapping of kind to value, such as {email: anna@example.com}")
            return found
        for kind in node.tree:
            value = node.at(str(kind))
            values = list(value.items()) if isinstance(value.tree, list) else [value]
            found += [(str(kind), str(one.tree)) for one in values]
        return found

    def _rules(self, node: Node) -> Iterator[Defines]:
        if not isinstance(node.tree, dict):
            node.fault(f"must be a mapping of segment id to rule, not {describe(node.tree)}")
            return
        for segment_id in node.tree:
            rule = read_rule(str(segment_id), node.at(str(segment_id)))
            yield Defines(self.now_us, str(segment_id), rule)

    def _step(self, node: Node) -> Iterator[Step]:
        found = [action for action in _ACTIONS if node.has(action)]
        if not found:
            node.fault(f"must have one of {', '.join(_ACTIONS)}")
            return
        action = found[0]
        node.keys({"at", action} | _WITH_ACTION[action], f"a step with {action!r}")
        self._move_time(node.at("at"))
        if action in ("event", "attributes"):
            yield self._event(node, action)
        elif action == "again":
            yield self._again(node)
        elif action == "define":
            yield from self._rules(node.at("define"))
        elif action == "retire":
            yield Defines(self.now_us, node.at("retire").text(), None)
        elif action == "refused":
            refused = node.at("refused")
            because = node.at("because")
            parts = list(because.items()) if isinstance(because.tree, list) else [because]
            yield Refuses(
                self.now_us, refused.path, refused.tree, tuple(part.text() for part in parts)
            )
        else:
            yield self._checks(node)

    def _move_time(self, node: Node) -> None:
        """`at`: an instant, or +90 days after the step before; absent is the same instant."""
        if node.tree is None:
            return
        before = self.now_us
        if isinstance(node.tree, str) and node.tree.startswith("+"):
            self.now_us += node.aside(node.tree[1:]).duration_us()
        else:
            self.now_us = node.instant_us()
        if self.now_us < before:
            node.fault("lies before the step above; steps stand in order of time")

    def _event(self, node: Node, action: str) -> Happens:
        event = event_pb2.Event()
        event.type = node.at("event").text() if action == "event" else "profile_updated"
        event.event_id = node.at("id").text(needed=False) or f"event-{len(self.sent) + 1}"
        event.occur_time_us = self._happened(node.at("happened"))
        event.send_time_us = self.now_us
        for kind, value in self._who(node.at("by")):
            event.identifiers.add(kind=kind, value=value)
        _add_properties(event, node.at("with" if action == "event" else "attributes"))
        import_id = node.at("import").text(needed=False)
        verdict = node.at("verdict").text(needed=False) or "accepted"
        made = Happens(self.now_us, event, import_id, verdict, node.path)
        if event.event_id in self.sent:
            node.at("id").fault(f"{event.event_id!r} was sent before; repeat it with `again`")
        self.sent[event.event_id] = made
        return made

    def _happened(self, node: Node) -> int:
        """An instant, or `5 minutes earlier` / `5 minutes later` than the arrival."""
        if node.tree is None:
            return self.now_us
        words = str(node.tree)
        for word, sign in ((" earlier", -1), (" later", 1)):
            if words.endswith(word):
                return self.now_us + sign * node.aside(words.removesuffix(word)).duration_us()
        return node.instant_us()

    def _who(self, node: Node) -> list[tuple[str, str]]:
        if isinstance(node.tree, dict):
            return self._identifiers(node)
        labels = list(node.items()) if isinstance(node.tree, list) else [node]
        found: list[tuple[str, str]] = []
        for label in labels:
            if label.tree not in self.people:
                label.fault(f"{label.tree!r} is not among the people: {', '.join(self.people)}")
            found += self.people.get(str(label.tree), [])
        return found

    def _again(self, node: Node) -> Happens:
        named = node.at("again")
        first = self.sent.get(named.text())
        verdict = node.at("verdict").text(needed=False) or "duplicate"
        if first is None:
            named.fault(f"no event {named.tree!r} was sent before; has it an id of its own?")
            return Happens(self.now_us, event_pb2.Event())
        return Happens(self.now_us, first.event, first.import_id, verdict, node.path)

    def _checks(self, node: Node) -> Checks:
        members = {
            segment: tuple(self._label(label) for label in node.at("members").at(segment).items())
            for segment in node.at("members").tree or {}
        }
        transitions = {
            segment: tuple(self._told(told) for told in node.at("transitions").at(segment).items())
            for segment in node.at("transitions").tree or {}
        }
        return Checks(self.now_us, node.path, members, transitions)

    def _label(self, node: Node) -> str:
        if node.tree not in self.people:
            node.fault(f"{node.tree!r} is not among the people: {', '.join(self.people)}")
        return str(node.tree)

    def _told(self, node: Node) -> Told:
        node.keys({"at", "who", "entered", "left"}, "a transition")
        entered = node.has("entered")
        if entered == node.has("left"):
            node.fault("must have either entered or left, with its reason")
        reason = node.at("entered" if entered else "left").text()
        return Told(node.at("at").instant_us(), self._label(node.at("who")), entered, reason)


def read_rule(segment_id: str, node: Node) -> Rule:
    """A rule: a condition, or {rule: condition, name: ..., zone: ...}."""
    if not node.has("rule"):
        return Rule(segment_id, condition_at(node))
    node.keys({"rule", "name", "zone"}, "a segment")
    zone = condition_parts.zone(node.at("zone"))
    name = node.at("name").text(needed=False)
    return Rule(segment_id, condition_at(node.at("rule")), name, zone)


def _add_properties(event: event_pb2.Event, node: Node) -> None:
    """Nested mappings become dotted keys, lists become items."""
    if node.tree is None:
        return
    if not isinstance(node.tree, dict):
        node.fault(f"must be a mapping of property to value, not {describe(node.tree)}")
        return
    for key, tree in node.tree.items():
        _add_property(event, node.at(str(key)).aside(tree), str(key), 0)


def _add_property(event: event_pb2.Event, node: Node, key: str, item: int) -> None:
    tree = node.tree
    if isinstance(tree, dict):
        for name, inner in tree.items():
            _add_property(event, node.aside(inner), f"{key}.{name}", item)
    elif isinstance(tree, list):
        for place, inner in enumerate(tree):
            _add_property(event, node.aside(inner), key, place)
    elif isinstance(tree, bool):
        event.properties.add(key=key, item=item, flag=tree)
    elif isinstance(tree, int):
        event.properties.add(key=key, item=item, whole=tree)
    elif isinstance(tree, float):
        event.properties.add(key=key, item=item, number=tree)
    elif isinstance(tree, Decimal):
        event.properties.add(key=key, item=item, decimal=condition_parts.decimal(node))
    elif isinstance(tree, str):
        event.properties.add(key=key, item=item, text=tree)
    elif isinstance(tree, dt.datetime):
        time_us = (tree - EPOCH) // MICROSECOND if tree.tzinfo else node.instant_us()
        event.properties.add(key=key, item=item, time_us=time_us)
    elif isinstance(tree, dt.date):
        event.properties.add(key=key, item=item, text=tree.isoformat())
    elif tree is not None:  # null is missing: nothing to send
        node.fault(f"must be a value, not {describe(tree)}")

"""Case files: a story as YAML or JSON, read into steps in order of time, every fault with its path.

`docs/testing.md` shows the format. A case has people (names for identifiers), segments defined at
its start, and steps: what happens and what must hold then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cli import condition_parts
from cli.conditions import condition_at
from cli.reading import Node, TreeFaults, describe, read_document
from cli.simulation.properties import add_properties
from muster.ingest.v1 import catalogue_pb2
from muster.types.v1 import condition_pb2, event_pb2

PARTITIONS_MAX = 64
ORDERS_MAX = 1_000
_ACTIONS = (
    *("event", "attributes", "again", "define", "retire", "refused", "lists", "add", "remove"),
    *("empty", "catalogue", "link", "unlink", "profiles", "members", "transitions"),
)
_CHECKS = ("profiles", "members", "transitions")
_GONE = "gone"
_WITH_ACTION: dict[str, set[str]] = {
    "event": {"by", "happened", "with", "id", "import", "verdict"},
    "attributes": {"by", "happened", "id", "import", "verdict"},
    "again": {"verdict"},
    "refused": {"because"},
    "add": {"remove"},
    "catalogue": {"happened"},
    "profiles": {"members", "transitions"},
    "members": {"transitions", "as_of"},
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
class Listing:
    """A list begins, or follows another segment (follows) from now on."""

    at_us: int
    list_id: str
    follows: str


@dataclass(frozen=True)
class Lists:
    """People are put into a list, or taken out; emptied: everybody is taken out first."""

    at_us: int
    path: str
    list_id: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    emptied: bool = False


@dataclass(frozen=True)
class Stocks:
    """Items of the catalogue change."""

    at_us: int
    items: catalogue_pb2.CatalogueItemsSet


@dataclass(frozen=True)
class Decides:
    """Somebody says that these identifiers are one person's, or that the first's are never the
    others' (apart)."""

    at_us: int
    identifiers: tuple[tuple[tuple[str, str], ...], ...]
    apart: bool


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
    """What must hold: members now or as of an instant before, every transition up to now, and who
    is one profile."""

    at_us: int
    path: str
    members: dict[str, tuple[str, ...]]
    transitions: dict[str, tuple[Told, ...]]
    profiles: tuple[tuple[str, ...], ...] = ()
    as_of_us: int | None = None


Step = Happens | Defines | Listing | Lists | Stocks | Decides | Refuses | Checks


@dataclass
class Case:
    """One story."""

    story: str
    start_us: int
    partitions: int = 1
    orders: int = 1
    """In how many orders the events come that say when they happened: the first as written."""
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
        known = {"story", "partitions", "orders", "start", "people", "segments", "lists", "steps"}
        node.keys(known, "a case")
        self.now_us = node.at("start").instant_us()
        case = Case(
            node.at("story").text(),
            self.now_us,
            node.at("partitions").whole(1, PARTITIONS_MAX, default=1),
            node.at("orders").whole(1, ORDERS_MAX, default=1),
        )
        for label in node.at("people").names("people"):
            self.people[label] = self._identifiers(node.at("people").at(label))
        case.people = self.people
        if node.has("segments"):
            case.steps += self._rules(node.at("segments"))
        if node.has("lists"):
            case.steps += self._listings(node.at("lists"))
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

    def _listings(self, node: Node) -> Iterator[Listing]:
        for list_id in node.names("lists"):
            one = node.at(list_id)
            if one.tree is not None:
                one.keys({"follows"}, "a list")
            yield Listing(self.now_us, list_id, one.at("follows").text(needed=False))

    def _step(self, node: Node) -> Iterator[Step]:
        found = [action for action in _ACTIONS if node.has(action)]
        if not found:
            node.fault(f"must have one of {', '.join(_ACTIONS)}")
            return
        action = found[0]
        known = {"at", action} | _WITH_ACTION.get(action, set())
        node.keys(known, f"a step with {action!r}")
        self._move_time(node.at("at"))
        if action in ("event", "attributes"):
            yield self._event(node, action)
        elif action == "again":
            yield self._again(node)
        elif action == "define":
            yield from self._rules(node.at("define"))
        elif action == "retire":
            yield Defines(self.now_us, node.at("retire").text(), None)
        elif action == "lists":
            yield from self._listings(node.at("lists"))
        elif action in ("add", "remove", "empty"):
            yield from self._lists(node)
        elif action == "catalogue":
            yield self._stocks(node)
        elif action in ("link", "unlink"):
            named = tuple(tuple(self._who(one)) for one in node.at(action).items())
            if len(named) < 2:
                node.at(action).fault("must be a list of two names or more")
            yield Decides(self.now_us, named, action == "unlink")
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
        add_properties(event.properties, node.at("with" if action == "event" else "attributes"))
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
            if str(label.tree) not in self.people:
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

    def _lists(self, node: Node) -> Iterator[Lists]:
        if node.has("empty"):
            yield Lists(self.now_us, node.path, node.at("empty").text(), emptied=True)
        changed: dict[str, dict[str, tuple[str, ...]]] = {}
        for side in ("add", "remove"):
            for list_id in node.at(side).names(side):
                labels = node.at(side).at(list_id).items()
                named = tuple(self._label(label) for label in labels)
                changed.setdefault(list_id, {})[side] = named
        for list_id, sides in changed.items():
            added, removed = sides.get("add", ()), sides.get("remove", ())
            yield Lists(self.now_us, node.path, list_id, added, removed)

    def _stocks(self, node: Node) -> Stocks:
        made = catalogue_pb2.CatalogueItemsSet()
        items = node.at("catalogue")
        for item_id in items.names("catalogue"):
            item = made.items.add(item_id=item_id)
            item.occur_time.FromMicroseconds(self._happened(node.at("happened")))
            if items.at(item_id).tree == _GONE:
                item.removed = True
            else:
                add_properties(item.properties, items.at(item_id))
        return Stocks(self.now_us, made)

    def _checks(self, node: Node) -> Checks:
        members = {
            segment: tuple(self._label(label) for label in node.at("members").at(segment).items())
            for segment in node.at("members").names("members")
        }
        transitions = {
            segment: tuple(self._told(told) for told in node.at("transitions").at(segment).items())
            for segment in node.at("transitions").names("transitions")
        }
        groups = node.at("profiles").items() if node.has("profiles") else ()
        profiles = tuple(tuple(self._label(one) for one in group.items()) for group in groups)
        as_of = node.at("as_of").instant_us() if node.has("as_of") else None
        if as_of is not None and as_of > self.now_us:
            node.at("as_of").fault("lies ahead: it asks about the past")
        return Checks(self.now_us, node.path, members, transitions, profiles, as_of)

    def _label(self, node: Node) -> str:
        if str(node.tree) not in self.people:
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

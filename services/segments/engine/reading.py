"""Reads a protobuf Condition into the domain's normal form; every fault with its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.domain import windows
from services.segments.domain.faults import ConditionFaults
from services.segments.domain.values import ORDERS, TEXT, Op, Scalar, Test
from services.segments.engine.limits import EngineLimits
from services.segments.engine.reading_values import duration_us, read_test, time_us

_NOT_YET = {
    "attribute_held": "held-for conditions",
    "attribute_changed": "attribute changes",
    "first_event": "first events",
    "last_event": "last events",
    "sequence": "sequences",
    "not_followed": "abandonment",
    "regularly": "regularity",
    "list": "lists",
    "rfm": "RFM scores",
    "catalogue": "catalogue joins",
}
_AGGREGATES = {
    rule.Kind.COUNT,
    rule.Kind.SUM,
    rule.Kind.AVG,
    rule.Kind.MIN,
    rule.Kind.MAX,
    rule.Kind.DISTINCT,
    rule.Kind.FIRST,
    rule.Kind.LAST,
}
_KINDS = {int(kind) for kind in rule.Kind}
_COMPARISONS = {int(op) for op in (Op.EQ, Op.NE, *ORDERS)}
_GROUPS: dict[str, Callable[[tuple[rule.Node, ...]], rule.Node]] = {
    "all": rule.All,
    "any": rule.Any,
    "none": rule.Neither,
}
_FILTERS: dict[str, Callable[[tuple[rule.Filter, ...]], rule.Filter]] = {
    "all": rule.FilterAll,
    "any": rule.FilterAny,
    "none": rule.FilterNone,
}
AT_LEAST_ONE = rule.Comparison(Op.GTE, Fraction(1))


class Reader:
    """Walks one tree, collecting faults. knows_segment: whether a segment id may be referred to."""

    def __init__(
        self, zone: str, knows_segment: Callable[[str], str | None], limits: EngineLimits
    ) -> None:
        self.zone = zone
        self.knows_segment = knows_segment
        self.limits = limits
        self.faults: list[tuple[str, str]] = []
        self.path: list[str] = []
        self.leaves = 0

    @contextmanager
    def at(self, *steps: str) -> Iterator[None]:
        """Paths of faults inside go one step deeper."""
        self.path.extend(steps)
        try:
            yield
        finally:
            del self.path[len(self.path) - len(steps) :]

    def fault(self, message: str, field: str = "") -> None:
        steps = [*self.path, field] if field else self.path
        self.faults.append((".".join(steps), message))

    def node(self, condition: pb.Condition, depth: int = 1) -> rule.Node:
        """The node; a stand-in where there was a fault."""
        kind = condition.WhichOneof("node")
        if depth > self.limits.depth_max:
            self.fault(f"deeper than {self.limits.depth_max} levels: split the rule into segments")
            return rule.Everyone()
        if kind is None:
            self.fault("an empty condition: choose a group or a leaf")
            return rule.Everyone()
        if kind in ("all", "any", "none"):
            return _GROUPS[kind](self.group(getattr(condition, kind).of, kind, depth))
        if kind == "not":
            with self.at("not"):
                return rule.Not(self.node(getattr(condition, "not"), depth + 1))
        if kind == "at_least":
            of = self.group(condition.at_least.of, "at_least.of", depth)
            n = condition.at_least.n
            if of and not 1 <= n <= len(of):
                self.fault(
                    f"must be between 1 and {len(of)}, the number of conditions", "at_least.n"
                )
            return rule.AtLeast(n, of)
        self.leaves += 1
        if self.leaves == self.limits.leaves_max + 1:
            self.fault(f"more than {self.limits.leaves_max} leaves: split the rule into segments")
        with self.at(kind):
            return self.leaf(condition, kind)

    def group(self, of: object, name: str, depth: int) -> tuple[rule.Node, ...]:
        nodes = []
        for index, child in enumerate(of):  # type: ignore[arg-type,var-annotated]
            with self.at(f"{name}[{index}]"):
                nodes.append(self.node(child, depth + 1))
        if not nodes:
            self.fault("an empty group is refused: put at least one condition into it", name)
        return tuple(nodes)

    def leaf(self, condition: pb.Condition, kind: str) -> rule.Node:
        match kind:
            case "everyone":
                return rule.Everyone(condition.everyone.known_only)
            case "attribute":
                if not condition.attribute.attribute:
                    self.fault("name the attribute", "attribute")
                with self.at("test"):
                    test = read_test(self, condition.attribute.test, of_attribute=True)
                return rule.AttributeIs(condition.attribute.attribute, test)
            case "channel":
                return self.channel(condition.channel)
            case "segment":
                name = condition.segment.segment_id
                fault = self.knows_segment(name) if name else "name the segment"
                if fault:
                    self.fault(fault, "segment_id")
                return rule.MemberOf(name)
            case "event":
                return self.event(condition.event)
        self.fault(f"{_NOT_YET[kind]} are not evaluated yet; leave this leaf out")
        return rule.Everyone()

    def channel(self, leaf: pb.ChannelLeaf) -> rule.Reachable:
        if leaf.channel not in rule.CHANNEL_KINDS:
            self.fault(f"must be one of {', '.join(rule.CHANNEL_KINDS)}", "channel")
        if leaf.platform:
            self.fault("the token's platform is not evaluated yet; leave it out", "platform")
        return rule.Reachable(leaf.channel)

    def event(self, leaf: pb.EventLeaf) -> rule.EventsAre:
        with self.at("events"):
            selector = self.selector(leaf.events)
        with self.at("window"):
            window = self.window(leaf.window)
        aggregate = self.aggregate(leaf.aggregate)
        comparison = self.comparison(leaf, aggregate)
        if aggregate.currency:
            paid = rule.Property("currency", currency_test(aggregate.currency))
            where = paid if selector.where is None else rule.FilterAll((selector.where, paid))
            selector = rule.Selector(selector.types, selector.prefix, where)
        return rule.EventsAre(selector, window, aggregate, comparison)

    def selector(self, events: pb.EventSelector) -> rule.Selector:
        types = tuple(sorted(set(events.types)))
        if "" in types:
            self.fault("an event type is empty", "types")
        where = None
        if events.HasField("where"):
            with self.at("where"):
                where = self.filter(events.where, "", 1)
        return rule.Selector(types, events.type_prefix, where)

    def filter(self, given: pb.PropertyFilter, within: str, depth: int) -> rule.Filter | None:
        """within: the path of the any_item around, whose keys are relative to it."""
        kind = given.WhichOneof("node")
        if kind is None or depth > self.limits.depth_max:
            self.fault("an empty filter: choose a test or a group" if kind is None else "too deep")
            return None
        if kind == "test":
            with self.at("test"):
                key = given.test.property
                if not key and not within:
                    self.fault("name the property", "property")
                with self.at("test"):
                    test = read_test(self, given.test.test, of_attribute=False)
            return rule.Property(".".join(filter(None, (within, key))), test)
        if kind == "any_item":
            return self.any_item(given.any_item, within, depth)
        of = []
        for index, child in enumerate(getattr(given, kind).of):
            with self.at(f"{kind}[{index}]"):
                of.append(self.filter(child, within, depth + 1))
        if not of:
            self.fault("an empty group is refused: put at least one filter into it", kind)
        return _FILTERS[kind](tuple(one for one in of if one is not None))

    def any_item(self, given: pb.AnyItem, within: str, depth: int) -> rule.Filter | None:
        with self.at("any_item"):
            if within:
                self.fault("a list inside a list's element is not evaluated yet")
            if not given.path:
                self.fault("name the list", "path")
            if not given.where:
                self.fault("put at least one filter into it", "where")
            of = []
            for index, child in enumerate(given.where):
                with self.at(f"where[{index}]"):
                    of.append(self.filter(child, given.path, depth + 1))
        kept = tuple(one for one in of if one is not None)
        return rule.AnyItem(given.path, rule.FilterAll(kept)) if kept else None

    def window(self, window: pb.Window) -> windows.Window:
        match window.WhichOneof("kind"):
            case None | "ever":
                return windows.Window()
            case "last":
                length = duration_us(window.last)
                if length <= 0:
                    self.fault("must be longer than nothing", "last")
                return windows.Window(oldest_us=length)
            case "slice":
                start = duration_us(getattr(window.slice, "from"))
                end = duration_us(window.slice.to)
                if not start > end >= 0:
                    self.fault("`from` must be longer ago than `to`, and `to` not ahead", "slice")
                return windows.Window(oldest_us=start, newest_us=end)
            case "absolute":
                return self.absolute(window.absolute)
            case other:
                self.fault("calendar windows are not evaluated yet; use `last`", str(other))
                return windows.Window()

    def absolute(self, absolute: pb.Absolute) -> windows.Window:
        since = time_us(getattr(absolute, "from")) if absolute.HasField("from") else None
        until = time_us(absolute.to) if absolute.HasField("to") else None
        if since is None and until is None:
            self.fault("give `from`, `to` or both; for no bound use `ever`", "absolute")
        elif since is not None and until is not None and since >= until:
            self.fault("`from` must be before `to`", "absolute")
        return windows.Window(since_us=since, until_us=until)

    def aggregate(self, given: pb.Aggregate) -> rule.Aggregate:
        with self.at("aggregate"):
            kind = rule.Kind(given.kind) if int(given.kind) in _KINDS else rule.Kind.COUNT
            if given.kind and kind not in _AGGREGATES:
                self.fault("this aggregate is not evaluated yet; use count or sum", "kind")
            if given.property and kind is rule.Kind.COUNT:
                self.fault("count counts events: name a property only for other kinds", "property")
            if not given.property and kind is not rule.Kind.COUNT:
                self.fault("name the property to sum up", "property")
            if given.currency and kind is not rule.Kind.SUM:
                self.fault("only a sum has a currency", "currency")
        return rule.Aggregate(kind, given.property, given.currency)

    def comparison(self, leaf: pb.EventLeaf, aggregate: rule.Aggregate) -> rule.Comparison:
        given = leaf.comparison
        with self.at("comparison"):
            if not given.op and not given.values:
                if aggregate.kind is not rule.Kind.COUNT:
                    self.fault("say what the figure is compared with")
                return AT_LEAST_ONE
            if int(given.op) not in _COMPARISONS:
                self.fault("must be eq, ne, gt, gte, lt, lte or between", "op")
                return AT_LEAST_ONE
            op = Op(given.op)
            with self.at("test"):
                test = read_test(
                    self, pb.Test(op=given.op, values=given.values), of_attribute=False
                )
            if aggregate.kind in (rule.Kind.FIRST, rule.Kind.LAST):
                return rule.Comparison(op, Fraction(0), test=test)
            numbers = [value.number() for value in test.values]
            if any(number is None for number in numbers):
                self.fault("compare with a number", "values")
            if None in numbers or len(numbers) != (2 if op is Op.BETWEEN else 1):
                return AT_LEAST_ONE
            return rule.Comparison(op, *numbers)  # type: ignore[arg-type]


def currency_test(currency: str) -> Test:
    """A sum of money takes only events whose `currency` says so."""
    return Test(Op.EQ, (Scalar(TEXT, currency),))


def read_condition(
    condition: pb.Condition,
    zone: str,
    knows_segment: Callable[[str], str | None],
    limits: EngineLimits,
) -> rule.Node:
    """The rule's normal form. knows_segment answers None, or why an id is refused.

    Raises ConditionFaults with one entry per fault.
    """
    reader = Reader(zone, knows_segment, limits)
    node = reader.node(condition)
    if reader.faults:
        raise ConditionFaults(reader.faults)
    return node

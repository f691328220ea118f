"""Friendly YAML to a protobuf Condition: the whole vocabulary of rules, every fault with its path.

A condition is a mapping with one key, the name of the node:

    all | any | none: [condition, ...]          not: condition
    at_least: {n: 2, of: [condition, ...]}      everyone: {} or {known_only: true}
    attribute: {name: city, eq: Kyiv}           several operators must all hold
    attribute_held: {name: plan, eq: pro, at_least: 30 days}     or less_than, or both
    attribute_changed: {name: city, from: Kyiv, to: Lviv, window: last 7 days}
    channel: email                              or {name: web_push, platform: ios}
    event: order_completed                      at least one, ever; in full:
    event: {type: [a, b], type_prefix: app_, where: {...}, window: last 90 days,
            sum: {of: amount, gte: 1000}}
    first_event: {type: ..., where: {...}, window: ...}
    last_event: {type: ..., where: {...}, has: {...}}
    sequence: {steps: [{type: ...}, ...], within: 1 hour, window: ..., same: cart_id}
    not_followed: {start: {type: ...}, by: {type: ...}, within: 1 hour, window: ..., same: cart_id}
    regularly: {type: ..., at_least_periods: 3, of_periods: 4, period: 7 days, min_count: 1}
    segment: big-spenders                       list: vip
    rfm: {type: ..., amount: total, window: ..., recency: [4, 5], frequency: {min: 3}, money: 5}
    catalogue: {type: ..., item: product_id, has: {stock: {gt: 0}}, window: ..., count: {gte: 1}}

Instead of `type` and `type_prefix`, `any_type: true` takes every event. Recipes, written so and
stored as what they expand to, are in `cli.macros`; `cli.writing` is the way back to YAML.

`where` and `has` are a mapping of property to a value (eq), a list (in) or operators, groups
all/any/none (lists), `any_item: {path: lines, where: {...}}`, and `property: {name: all, eq: 1}`
for a property whose name is a keyword, without `name` in any_item for the element itself; several
keys must all hold. Aggregates, one per event leaf,
are count, sum, avg, min, max, distinct, distinct_days, first, last, most_frequent, ratio: {of:
property, <operator>: value, currency: USD, zone: ...}; ratio has `over: {type: ...}`, and so may
most_frequent, each with `once: message_id` and `over_at_least: 5`; `over_of` is what a ratio sums
there, when it is another property. Values and operators are in
`cli.condition_parts`, windows in `cli.windows`; `docs/conditions.md` shows everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from cli import condition_parts as parts
from cli import macros, windows
from cli.reading import Node, TreeFaults
from muster.types.v1 import condition_pb2 as pb

DEPTH_MAX = 16
LEAVES_MAX = 256

_SCORES = ("recency", "frequency", "money")
_AGGREGATES: dict[str, pb.AggregateKind] = {
    name.removeprefix("AGGREGATE_KIND_").lower(): cast("pb.AggregateKind", number)
    for name, number in pb.AggregateKind.items()
    if number
}
_WITHOUT_PROPERTY = {"count", "distinct_days"}
_PROPERTY_OR_NOT = {"ratio"}
_OF_A_VALUE = {"first", "last", "most_frequent"}
_OVER = {"ratio", "most_frequent"}


def read_condition(tree: Any, path: str = "") -> pb.Condition:
    """The Condition a friendly tree stands for. TreeFaults lists everything that is wrong."""
    node = Node(tree, path)
    condition = condition_at(node)
    if not node.faults and (leaves := count_leaves(condition)) > LEAVES_MAX:
        node.fault(f"has {leaves} leaves; at most {LEAVES_MAX}")
    if node.faults:
        raise TreeFaults(node.faults)
    return condition


def condition_at(node: Node, depth: int = 1) -> pb.Condition:
    """The Condition at a place of a larger document; faults go to the node's list."""
    made = pb.Condition()
    if not isinstance(node.tree, dict) or len(node.tree) != 1:
        node.fault(
            f"must be one of {', '.join(_NODES)}: a mapping with one key; "
            "put several conditions under 'all' or 'any'"
        )
        return made
    name = str(next(iter(node.tree)))
    if name not in _NODES:
        node.fault(f"there is no {name!r}; it must be one of {', '.join(_NODES)}")
    elif depth > DEPTH_MAX:
        node.fault(f"is nested deeper than {DEPTH_MAX}; flatten it or name a part as a segment")
    else:
        _NODES[name](node.at(name), made, depth)
    return made


def count_leaves(condition: pb.Condition) -> int:
    """Leaves of a tree; groups and `not` are none."""
    kind = condition.WhichOneof("node")
    if kind == "not":
        return count_leaves(getattr(condition, "not"))
    if kind in {"all", "any", "none", "at_least"}:
        return sum(count_leaves(child) for child in getattr(condition, kind).of)
    return 1


def _children(node: Node, depth: int) -> list[pb.Condition]:
    children = [condition_at(child, depth + 1) for child in node.items()]
    if node.tree == []:
        node.fault("an empty group is refused: name at least one condition")
    return children


def _group(name: str) -> Callable[[Node, pb.Condition, int], None]:
    def read(node: Node, made: pb.Condition, depth: int) -> None:
        getattr(made, name).of.extend(_children(node, depth))

    return read


def _not(node: Node, made: pb.Condition, depth: int) -> None:
    getattr(made, "not").CopyFrom(condition_at(node, depth + 1))


def _at_least(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"n", "of"}, "at_least")
    made.at_least.of.extend(_children(node.at("of"), depth))
    made.at_least.n = node.at("n").whole(least=1, most=max(1, len(made.at_least.of)))


def _everyone(node: Node, made: pb.Condition, depth: int) -> None:
    made.everyone.SetInParent()
    if node.tree not in (None, True):
        node.keys({"known_only"}, "everyone")
        made.everyone.known_only = parts.flag(node.at("known_only"))


def _attribute(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"name"} | parts.TEST_KEYS, "attribute")
    name = node.at("name").text()
    tests = parts.tests_at(node)
    if not tests:
        node.fault_at_last(f"must have an operator: one of {', '.join(sorted(parts.OPERATORS))}")
    leaves = [pb.AttributeLeaf(attribute=name, test=test) for test in tests]
    if len(leaves) == 1:
        made.attribute.CopyFrom(leaves[0])
    else:
        made.all.of.extend(pb.Condition(attribute=leaf) for leaf in leaves)


def _attribute_held(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"name", "at_least", "less_than"} | parts.TEST_KEYS, "attribute_held")
    leaf = made.attribute_held
    leaf.attribute = node.at("name").text()
    leaf.test.CopyFrom(parts.one_test(node))
    if not node.has("at_least") and not node.has("less_than"):
        node.fault("must have at_least or less_than, a duration, or both")
    for name in ("at_least", "less_than"):
        if node.has(name):
            getattr(leaf, name).FromMicroseconds(node.at(name).duration_us())


def _attribute_changed(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"name", "from", "to", "window"}, "attribute_changed")
    leaf = made.attribute_changed
    leaf.attribute = node.at("name").text()
    for name in ("from", "to"):
        if node.has(name):
            getattr(leaf, name).CopyFrom(parts.value(node.at(name)))
    _window(node, leaf)


def _channel(node: Node, made: pb.Condition, depth: int) -> None:
    if isinstance(node.tree, str):
        made.channel.channel = node.text()
        return
    node.keys({"name", "platform"}, "channel")
    made.channel.channel = node.at("name").text()
    made.channel.platform = node.at("platform").text(needed=False)


def _split(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"salt", "from", "to"}, "split")
    made.split.salt = node.at("salt").text()
    made.split.from_permille = node.at("from").whole(0, 999, default=0)
    made.split.to_permille = node.at("to").whole(1, 1_000, default=1_000)


def _window(node: Node, leaf: Any) -> None:
    if node.has("window"):
        leaf.window.CopyFrom(windows.window(node.at("window")))


def _event(node: Node, made: pb.Condition, depth: int) -> None:
    leaf = made.event
    leaf.events.CopyFrom(parts.selected(node, {"window", *_AGGREGATES}, "event"))
    _window(node, leaf)
    named = [name for name in _AGGREGATES if node.has(name)]
    if len(named) > 1:
        node.fault(f"has {' and '.join(named)}; an event leaf has one aggregate")
    elif named:
        _aggregate(node.at(named[0]), named[0], leaf)


def _aggregate(node: Node, name: str, leaf: pb.EventLeaf) -> None:
    operators = parts.VALUE_COMPARISONS if name in _OF_A_VALUE else parts.COMPARISONS
    known = {"currency", "zone"} | operators
    known |= set() if name in _WITHOUT_PROPERTY else {"of"}
    known |= {"over", "once", "over_at_least"} if name in _OVER else set()
    known |= {"over_of"} if name == "ratio" else set()
    node.keys(known, name)
    made = leaf.aggregate
    made.kind = _AGGREGATES[name]
    if name not in _WITHOUT_PROPERTY:
        made.property = node.at("of").text(needed=name not in _PROPERTY_OR_NOT)
    made.currency = node.at("currency").text(needed=False)
    made.zone = parts.zone(node.at("zone"))
    if node.has("over") or name == "ratio":
        made.denominator.CopyFrom(parts.selected(node.at("over"), set(), "over"))
    made.denominator_property = node.at("over_of").text(needed=False)
    made.once = node.at("once").text(needed=False)
    made.denominator_min = node.at("over_at_least").whole(least=1, default=0)
    leaf.comparison.CopyFrom(parts.comparison(node, operators))


def _first_event(node: Node, made: pb.Condition, depth: int) -> None:
    made.first_event.events.CopyFrom(parts.selected(node, {"window"}, "first_event"))
    _window(node, made.first_event)


def _last_event(node: Node, made: pb.Condition, depth: int) -> None:
    made.last_event.events.CopyFrom(parts.selected(node, {"has"}, "last_event"))
    made.last_event.has.CopyFrom(parts.property_filter(node.at("has")))


def _sequence(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"steps", "within", "window", "same"}, "sequence")
    leaf = made.sequence
    leaf.steps.extend(parts.selected(step, set(), "step") for step in node.at("steps").items())
    if len(leaf.steps) < 2:
        node.at("steps").fault("must have at least two steps")
    if node.has("within"):
        leaf.within.FromMicroseconds(node.at("within").duration_us())
    _window(node, leaf)
    leaf.same = node.at("same").text(needed=False)


def _not_followed(node: Node, made: pb.Condition, depth: int) -> None:
    node.keys({"start", "by", "within", "window", "same"}, "not_followed")
    leaf = made.not_followed
    leaf.start.CopyFrom(parts.selected(node.at("start"), set(), "start"))
    leaf.by.CopyFrom(parts.selected(node.at("by"), set(), "by"))
    leaf.within.FromMicroseconds(node.at("within").duration_us())
    _window(node, leaf)
    leaf.same = node.at("same").text(needed=False)


def _regularly(node: Node, made: pb.Condition, depth: int) -> None:
    more = {"at_least_periods", "of_periods", "period", "min_count"}
    leaf = made.regularly
    leaf.events.CopyFrom(parts.selected(node, more, "regularly"))
    leaf.of_periods = node.at("of_periods").whole(least=1)
    leaf.at_least_periods = node.at("at_least_periods").whole(least=1, most=leaf.of_periods or 1)
    leaf.period.FromMicroseconds(node.at("period").duration_us())
    leaf.min_count = node.at("min_count").whole(least=1, default=1)


def _named(name: str, field_name: str) -> Callable[[Node, pb.Condition, int], None]:
    def read(node: Node, made: pb.Condition, depth: int) -> None:
        setattr(getattr(made, name), field_name, node.text())

    return read


def _rfm(node: Node, made: pb.Condition, depth: int) -> None:
    more = {"amount", "window", *_SCORES, "edges", "zone", "ties"}
    leaf = made.rfm
    leaf.orders.CopyFrom(parts.selected(node, more, "rfm"))
    leaf.amount_property = node.at("amount").text()
    _window(node, leaf)
    if not any(node.has(score) for score in _SCORES):
        node.fault("must name a range of at least one of recency, frequency, money")
    for score in _SCORES:
        if node.has(score):
            least, most = parts.score_range(node.at(score))
            setattr(leaf, f"{score}_min", least)
            setattr(leaf, f"{score}_max", most)
    if node.has("edges"):
        _rfm_edges(node.at("edges"), leaf)
    leaf.zone = parts.zone(node.at("zone"))
    if node.has("ties"):
        if node.at("ties").tree not in ("shared", "by_id"):
            node.at("ties").fault("must be shared or by_id")
        leaf.ties_by_id = node.at("ties").tree == "by_id"


def _rfm_edges(node: Node, leaf: pb.RfmLeaf) -> None:
    for name in node.keys({"recency_days", "frequency", "money"}, "edges"):
        edges = list(node.at(name).items())
        if len(edges) != 4:
            node.at(name).fault("must be four edges: they make five cells")
        if name == "money":
            leaf.money_edges.extend(parts.decimal(edge) for edge in edges)
        else:
            getattr(leaf, f"{name}_edges" if name == "frequency" else "recency_edges_days").extend(
                edge.whole() for edge in edges
            )


def _catalogue(node: Node, made: pb.Condition, depth: int) -> None:
    leaf = made.catalogue
    leaf.events.CopyFrom(parts.selected(node, {"item", "has", "window", "count"}, "catalogue"))
    leaf.item_property = node.at("item").text()
    leaf.item_has.CopyFrom(parts.property_filter(node.at("has")))
    _window(node, leaf)
    if node.has("count"):
        node.at("count").keys(parts.COMPARISONS, "count")
        leaf.count.CopyFrom(parts.comparison(node.at("count")))


_NODES: dict[str, Callable[[Node, pb.Condition, int], None]] = {
    "all": _group("all"),
    "any": _group("any"),
    "none": _group("none"),
    "not": _not,
    "at_least": _at_least,
    "everyone": _everyone,
    "attribute": _attribute,
    "attribute_held": _attribute_held,
    "attribute_changed": _attribute_changed,
    "channel": _channel,
    "event": _event,
    "first_event": _first_event,
    "last_event": _last_event,
    "sequence": _sequence,
    "not_followed": _not_followed,
    "regularly": _regularly,
    "segment": _named("segment", "segment_id"),
    "list": _named("list", "list_id"),
    "split": _split,
    "rfm": _rfm,
    "catalogue": _catalogue,
    **macros.MACROS,
}

"""Recipes: what people ask for by name, stored as the conditions it expands to (semantics 4).

    performed_first_time: {type: order_completed, window: last 7 days}
    stopped: {type: app_opened, for: 30 days, at_least: 3}     did it (3 times), not any more
    restarted: {type: app_opened, within: 7 days, after: 30 days}
    has_not_done: {type: order_completed, window: last 90 days}     or only the type
    bought: {product: iphone-17, window: last 90 days, times: {gte: 2}}     or category, or both
    average_order_value: {gte: 50, currency: EUR, window: last 365 days}
    revenue: {gte: 1000, currency: EUR, window: last 90 days}
    click_rate: {gte: 0.1, window: last 90 days, where: {channel: email}}
    preferred_type: {eq: promo, window: last 180 days}

They speak Muster's vocabulary of events (docs/events.md). Orders are taken as ingest counts them,
in purchase_counted: at the instant they were placed, when paid or delivered, less what was taken
back. With `type` they are taken as that event reports them; so is what was bought by category, as
only reports say it. Messages have message_id, message_type and machine.
"""

from __future__ import annotations

from collections.abc import Callable

from cli import condition_parts as parts
from cli import windows
from cli.reading import DURATION_US_MAX, Node
from muster.types.v1 import condition_pb2 as pb

COUNTED = "purchase_counted"
VALUE, ORDERS = "value", "orders"
REPORTED = "order_completed"
AMOUNT = "total"
MESSAGE = "message_id"
DELIVERED, OPENED, CLICKED = "message_delivered", "message_opened", "message_clicked"
SHARE_OF_AT_LEAST = 5
"""Delivered messages of a type before it can be the preferred one."""

Macro = Callable[[Node, pb.Condition, int], None]


def _window(node: Node, leaf: pb.EventLeaf | pb.FirstEventLeaf) -> None:
    if node.has("window"):
        leaf.window.CopyFrom(windows.window(node.at("window")))


def _first_time(node: Node, made: pb.Condition, depth: int) -> None:
    made.first_event.events.CopyFrom(parts.selected(node, {"window"}, "performed_first_time"))
    _window(node, made.first_event)


def _has_not_done(node: Node, made: pb.Condition, depth: int) -> None:
    leaf = getattr(made, "not").event
    leaf.events.CopyFrom(parts.selected(node, {"window"}, "has_not_done"))
    _window(node, leaf)


def _stopped(node: Node, made: pb.Condition, depth: int) -> None:
    """At least so often ever, and not once in the last `for`."""
    events = parts.selected(node, {"for", "at_least"}, "stopped")
    count = node.at("at_least").whole(least=1, default=1)
    did, since = pb.EventLeaf(events=events), pb.EventLeaf(events=events)
    if count > 1:
        did.aggregate.kind = pb.AGGREGATE_KIND_COUNT
        _at_least(did, count)
    since.window.last.FromMicroseconds(node.at("for").duration_us())
    made.all.of.append(pb.Condition(event=did))
    made.all.of.add()
    getattr(made.all.of[1], "not").event.CopyFrom(since)


def _restarted(node: Node, made: pb.Condition, depth: int) -> None:
    """In the last `within`, not in the `after` before that, and once before."""
    events = parts.selected(node, {"within", "after"}, "restarted")
    within, silent = node.at("within").duration_us(), node.at("after").duration_us()
    if within + silent >= DURATION_US_MAX:
        node.fault("within and after make more than 100 years")
        return
    again, before = pb.EventLeaf(events=events), pb.EventLeaf(events=events)
    again.window.last.FromMicroseconds(within)
    _slice(before, DURATION_US_MAX, within + silent)
    quiet = pb.EventLeaf(events=events)
    _slice(quiet, within + silent, within)
    made.all.of.extend([pb.Condition(event=again), pb.Condition(), pb.Condition(event=before)])
    getattr(made.all.of[1], "not").event.CopyFrom(quiet)


def _slice(leaf: pb.EventLeaf, from_us: int, to_us: int) -> None:
    getattr(leaf.window.slice, "from").FromMicroseconds(from_us)
    leaf.window.slice.to.FromMicroseconds(to_us)


def _at_least(leaf: pb.EventLeaf, least: int) -> None:
    leaf.comparison.op = pb.OPERATOR_GTE
    leaf.comparison.values.add().whole = least


def _bought(node: Node, made: pb.Condition, depth: int) -> None:
    """Orders one line of which is of the product and of the category."""
    node.keys({"product", "category", "window", "times", "type"}, "bought")
    leaf = made.event
    named = [name for name in ("product", "category") if node.has(name)]
    if not named:
        node.fault_at_last("must name a product, a category, or both")
    counted = not node.has("type") and not node.has("category")
    _orders(node, leaf, counted)
    filters = [
        parts.property_tests("product_id" if name == "product" else name, node.at(name))
        for name in named
    ]
    leaf.events.where.any_item.path = "lines"
    leaf.events.where.any_item.where.extend(one for found in filters for one in found)
    _window(node, leaf)
    if node.has("times"):
        node.at("times").keys(parts.COMPARISONS, "times")
        leaf.comparison.CopyFrom(parts.comparison(node.at("times")))
    elif counted:
        _at_least(leaf, 1)
    if counted:
        leaf.aggregate.kind, leaf.aggregate.property = pb.AGGREGATE_KIND_SUM, ORDERS
    elif node.has("times"):
        leaf.aggregate.kind = pb.AGGREGATE_KIND_COUNT


def _orders(node: Node, leaf: pb.EventLeaf, counted: bool) -> None:
    reported = node.at("type").text(needed=False) or REPORTED
    leaf.events.types.append(COUNTED if counted else reported)


def _money(node: Node, made: pb.Condition, name: str, kind: pb.AggregateKind) -> bool:
    """A figure of money over orders; whether they are taken as counted."""
    node.keys({"window", "currency", "type", "of", "where"} | parts.COMPARISONS, name)
    leaf, counted = made.event, not node.has("type")
    _orders(node, leaf, counted)
    if node.has("where"):
        leaf.events.where.CopyFrom(parts.property_filter(node.at("where")))
    leaf.aggregate.kind = kind
    leaf.aggregate.property = node.at("of").text(needed=False) or (VALUE if counted else AMOUNT)
    leaf.aggregate.currency = node.at("currency").text(needed=False)
    _window(node, leaf)
    leaf.comparison.CopyFrom(parts.comparison(node))
    return counted


def _revenue(node: Node, made: pb.Condition, depth: int) -> None:
    _money(node, made, "revenue", pb.AGGREGATE_KIND_SUM)


def _average_order_value(node: Node, made: pb.Condition, depth: int) -> None:
    """Value per order: what was taken back of an order lowers it, and adds no order."""
    if _money(node, made, "average_order_value", pb.AGGREGATE_KIND_AVG):
        aggregate = made.event.aggregate
        aggregate.kind = pb.AGGREGATE_KIND_RATIO
        aggregate.denominator.CopyFrom(made.event.events)
        aggregate.denominator_property = ORDERS


def _messages(node: Node, made: pb.Condition, event_type: str) -> None:
    """Of each delivered message, whether a person did something with it; machines are left out."""
    leaf = made.event
    where = pb.PropertyFilter()
    if node.has("where"):
        where.CopyFrom(parts.property_filter(node.at("where")))
        leaf.aggregate.denominator.where.CopyFrom(where)
    leaf.aggregate.denominator.types.append(DELIVERED)
    leaf.aggregate.once = MESSAGE
    leaf.events.types.append(event_type)
    by_people = pb.PropertyFilter()
    by_people.test.property = "machine"
    by_people.test.test.op = pb.OPERATOR_NE
    by_people.test.test.values.add().flag = True
    if node.has("where"):
        leaf.events.where.all.of.extend([where, by_people])
    else:
        leaf.events.where.CopyFrom(by_people)
    _window(node, leaf)


def _rate(event_type: str, name: str) -> Macro:
    def read(node: Node, made: pb.Condition, depth: int) -> None:
        node.keys({"window", "where"} | parts.COMPARISONS, name)
        _messages(node, made, event_type)
        made.event.aggregate.kind = pb.AGGREGATE_KIND_RATIO
        made.event.comparison.CopyFrom(parts.comparison(node))

    return read


def _preferred_type(node: Node, made: pb.Condition, depth: int) -> None:
    known = {"window", "where", "at_least"} | parts.VALUE_COMPARISONS
    node.keys(known, "preferred_type")
    _messages(node, made, OPENED)
    aggregate = made.event.aggregate
    aggregate.kind = pb.AGGREGATE_KIND_MOST_FREQUENT
    aggregate.property = "message_type"
    aggregate.denominator_min = node.at("at_least").whole(least=1, default=SHARE_OF_AT_LEAST)
    made.event.comparison.CopyFrom(parts.comparison(node, parts.VALUE_COMPARISONS))


MACROS: dict[str, Macro] = {
    "performed_first_time": _first_time,
    "stopped": _stopped,
    "restarted": _restarted,
    "has_not_done": _has_not_done,
    "bought": _bought,
    "average_order_value": _average_order_value,
    "revenue": _revenue,
    "open_rate": _rate(OPENED, "open_rate"),
    "click_rate": _rate(CLICKED, "click_rate"),
    "preferred_type": _preferred_type,
}
"""Name -> reader of what stands under it."""

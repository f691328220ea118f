"""Reads the leaves of a rule, one function each; a stand-in where there was a fault."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.domain.shares import PERMILLE
from services.segments.domain.values import Op, Scalar
from services.segments.engine.language import reading_events as events
from services.segments.engine.language.reading_state import Reading
from services.segments.engine.language.reading_values import read_decimal, read_test, read_value
from services.segments.engine.language.reading_windows import (
    needed_duration,
    read_duration,
    read_window,
)

SCORES = ("recency", "frequency", "money")
SCORE_MAX = 5
EDGES = 4
SALT_BYTES_MAX = 200
PUSH_CHANNELS = ("web_push", "mobile_push")


def read_leaf(reading: Reading, condition: pb.Condition, kind: str) -> rule.Leaf:
    """The leaf, in its normal form."""
    return _LEAVES[kind](reading, getattr(condition, kind))


def _needed(reading: Reading, given: str, field: str, what: str) -> str:
    if not given:
        reading.fault(what, field)
    return given


def _everyone(_: Reading, leaf: pb.Everyone) -> rule.Leaf:
    return rule.Everyone(leaf.known_only)


def _attribute(reading: Reading, leaf: pb.AttributeLeaf) -> rule.Leaf:
    name = _needed(reading, leaf.attribute, "attribute", "name the attribute")
    with reading.at("test"):
        return rule.AttributeIs(name, read_test(reading, leaf.test, of_attribute=True))


def _attribute_held(reading: Reading, leaf: pb.AttributeHeldLeaf) -> rule.Leaf:
    name = _needed(reading, leaf.attribute, "attribute", "name the attribute")
    with reading.at("test"):
        test = read_test(reading, leaf.test, of_attribute=True)
        if test.op is Op.ANNIVERSARY:
            reading.fault("a day that comes round is not held: use the attribute leaf", "op")
    before = len(reading.faults)
    least = read_duration(reading, leaf, "at_least")
    most = read_duration(reading, leaf, "less_than")
    if least is None and most is None:
        reading.fault("say how long: at_least, less_than or both", "at_least")
    elif len(reading.faults) == before and least is not None and most is not None and least >= most:
        reading.fault("must be longer than at_least: nothing lies between", "less_than")
    return rule.AttributeHeld(name, test, least, most)


def _attribute_changed(reading: Reading, leaf: pb.AttributeChangedLeaf) -> rule.Leaf:
    name = _needed(reading, leaf.attribute, "attribute", "name the attribute")
    found: dict[str, Scalar | None] = {"from": None, "to": None}
    for field in found:
        if leaf.HasField(field):
            found[field] = read_value(reading, getattr(leaf, field), field)
    if found["from"] is not None and found["from"] == found["to"]:
        reading.fault("a change is to another value than `from`", "to")
    window = read_window(reading, leaf.window)
    return rule.AttributeChanged(name, found["from"], found["to"], window)


def _channel(reading: Reading, leaf: pb.ChannelLeaf) -> rule.Leaf:
    if leaf.channel not in rule.CHANNEL_KINDS:
        reading.fault(f"must be one of {', '.join(rule.CHANNEL_KINDS)}", "channel")
    elif leaf.platform and leaf.channel not in PUSH_CHANNELS:
        reading.fault(f"only {' and '.join(PUSH_CHANNELS)} have a platform", "platform")
    return rule.Reachable(leaf.channel, leaf.platform)


def _event(reading: Reading, leaf: pb.EventLeaf) -> rule.Leaf:
    selector = events.read_selector(reading, leaf.events, "events")
    window = read_window(reading, leaf.window)
    aggregate = events.read_aggregate(reading, leaf.aggregate)
    comparison = events.read_comparison(reading, leaf, aggregate.kind)
    return events.figure(selector, window, aggregate, comparison)


def _first_event(reading: Reading, leaf: pb.FirstEventLeaf) -> rule.Leaf:
    selector = events.read_selector(reading, leaf.events, "events")
    return rule.FirstEvent(selector, read_window(reading, leaf.window))


def _last_event(reading: Reading, leaf: pb.LastEventLeaf) -> rule.Leaf:
    selector = events.read_selector(reading, leaf.events, "events")
    return rule.LastEvent(selector, _has(reading, leaf, "has"))


def _has(reading: Reading, leaf: Any, field: str) -> rule.Filter:
    if not leaf.HasField(field):
        reading.fault("say which properties", field)
        return events.EMPTY
    return events.read_filter(reading, getattr(leaf, field), field)


def _sequence(reading: Reading, leaf: pb.SequenceLeaf) -> rule.Leaf:
    if not 2 <= len(leaf.steps) <= reading.limits.steps_max:
        reading.fault(f"must be from 2 to {reading.limits.steps_max} steps", "steps")
    steps = tuple(
        events.read_selector(reading, step, f"steps[{place}]")
        for place, step in enumerate(leaf.steps[: reading.limits.steps_max])
    )
    within = read_duration(reading, leaf, "within")
    return rule.Sequence(steps, within, read_window(reading, leaf.window), leaf.same)


def _not_followed(reading: Reading, leaf: pb.NotFollowedLeaf) -> rule.Leaf:
    for field in ("start", "by"):
        if not leaf.HasField(field):
            reading.fault("say which events: types or type_prefix", field)
    start = events.read_selector(reading, leaf.start, "start")
    by = events.read_selector(reading, leaf.by, "by")
    within = needed_duration(reading, leaf, "within", "say within how long, such as 1 hour")
    return rule.NotFollowed(start, by, within, read_window(reading, leaf.window), leaf.same)


def _regularly(reading: Reading, leaf: pb.RegularlyLeaf) -> rule.Leaf:
    most, periods = reading.limits.periods_max, leaf.of_periods
    if not 1 <= periods <= most:
        reading.fault(f"must be from 1 to {most} periods", "of_periods")
    elif not 1 <= leaf.at_least_periods <= periods:
        reading.fault(f"must be from 1 to {periods}, the periods looked at", "at_least_periods")
    period = needed_duration(reading, leaf, "period", "say how long a period is, such as 7 days")
    selector = events.read_selector(reading, leaf.events, "events")
    return rule.Regularly(selector, leaf.at_least_periods, periods, period, leaf.min_count or 1)


def _segment(reading: Reading, leaf: pb.SegmentLeaf) -> rule.Leaf:
    name = _needed(reading, leaf.segment_id, "segment_id", "name the segment")
    if name and (fault := reading.knows_segment(name)):
        reading.fault(fault, "segment_id")
    return rule.MemberOf(name)


def _list(reading: Reading, leaf: pb.ListLeaf) -> rule.Leaf:
    """A list is a segment whose rule is InList; so this is membership of it."""
    name = _needed(reading, leaf.list_id, "list_id", "name the list")
    if name and (fault := reading.knows_list(name)):
        reading.fault(fault, "list_id")
    return rule.MemberOf(name, listed=True)


def _split(reading: Reading, leaf: pb.SplitLeaf) -> rule.Leaf:
    salt = _needed(reading, leaf.salt, "salt", "name the split: the same salt divides alike")
    if len(salt.encode()) > SALT_BYTES_MAX:
        reading.fault(f"at most {SALT_BYTES_MAX} bytes", "salt")
    if not 0 < leaf.to_permille <= PERMILLE:
        reading.fault(f"thousandths, 1 to {PERMILLE}", "to_permille")
    elif leaf.from_permille >= leaf.to_permille:
        reading.fault("must be less than to_permille: nobody lies between", "from_permille")
    return rule.InPart(salt, leaf.from_permille, leaf.to_permille)


def _rfm(reading: Reading, leaf: pb.RfmLeaf) -> rule.Leaf:
    amount = _needed(
        reading, leaf.amount_property, "amount_property", "name the property that holds the amount"
    )
    recency, frequency, money = (_score_range(reading, leaf, score) for score in SCORES)
    if not any(getattr(leaf, f"{score}_{end}") for score in SCORES for end in ("min", "max")):
        reading.fault("give a range of at least one of recency, frequency and money")
    return rule.Rfm(
        events.read_selector(reading, leaf.orders, "orders"),
        amount,
        read_window(reading, leaf.window),
        recency,
        frequency,
        money,
        _rfm_edges(reading, leaf),
        reading.zone_of(leaf.zone),
        leaf.ties_by_id,
    )


def _score_range(reading: Reading, leaf: pb.RfmLeaf, score: str) -> tuple[int, int]:
    """0 leaves a bound open."""
    low: int = getattr(leaf, f"{score}_min") or 1
    high: int = getattr(leaf, f"{score}_max") or SCORE_MAX
    for value, end in ((low, "min"), (high, "max")):
        if value > SCORE_MAX:
            reading.fault("scores are from 1 to 5, 5 is best", f"{score}_{end}")
            return 1, SCORE_MAX
    if low > high:
        reading.fault(f"must be at least {score}_min", f"{score}_max")
    return low, high


def _rfm_edges(
    reading: Reading, leaf: pb.RfmLeaf
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...]] | None:
    """Four ascending edges of each figure, or None for quantiles."""
    money = [
        read_decimal(reading, one, f"money_edges[{place}]").number() or Fraction(0)
        for place, one in enumerate(leaf.money_edges)
    ]
    given = {
        "recency_edges_days": tuple(map(Fraction, leaf.recency_edges_days)),
        "frequency_edges": tuple(map(Fraction, leaf.frequency_edges)),
        "money_edges": tuple(money),
    }
    if not any(given.values()):
        return None
    for field, edges in given.items():
        if len(edges) != EDGES:
            reading.fault("give four edges of each figure, or none at all for quantiles", field)
        elif any(low >= high for low, high in pairwise(edges)):
            reading.fault("edges ascend", field)
    recency, frequency, amounts = given.values()
    return recency, frequency, amounts


def _catalogue(reading: Reading, leaf: pb.CatalogueLeaf) -> rule.Leaf:
    selector = events.read_selector(reading, leaf.events, "events")
    item = _needed(
        reading, leaf.item_property, "item_property", "name the property that names the item"
    )
    has = _has(reading, leaf, "item_has")
    comparison = events.AT_LEAST_ONE
    if leaf.HasField("count"):
        comparison = events.read_number_comparison(reading, leaf.count, "count")
    return rule.Catalogue(selector, read_window(reading, leaf.window), item, has, comparison)


_LEAVES: dict[str, Callable[[Reading, Any], rule.Leaf]] = {
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
    "segment": _segment,
    "list": _list,
    "split": _split,
    "rfm": _rfm,
    "catalogue": _catalogue,
}

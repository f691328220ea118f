"""Rules in plain English: one sentence for every tree."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from services.segments.domain import conditions as rule
from services.segments.domain.phrases import (
    comparison_text,
    duration_text,
    filter_text,
    listed,
    selector_text,
    test_text,
    value_text,
    window_text,
)
from services.segments.domain.values import Op, decimal_text

_FIGURES = {
    rule.Kind.SUM: "sum", rule.Kind.AVG: "average", rule.Kind.MIN: "smallest",
    rule.Kind.MAX: "largest", rule.Kind.DISTINCT: "number of different",
    rule.Kind.FIRST: "first", rule.Kind.LAST: "last", rule.Kind.MOST_FREQUENT: "most frequent",
}  # fmt: skip
_SCORES = ("recency", "frequency", "money")
_AT_LEAST_ONE = rule.Comparison(Op.GTE, Fraction(1))


def sentence_of(node: rule.Node) -> str:
    """The rule as a sentence without its full stop."""
    match node:
        case rule.All(of):
            return " and ".join(_bracketed(child) for child in of)
        case rule.Any(of):
            return " or ".join(_bracketed(child) for child in of)
        case rule.Neither(of):
            if len(of) == 1:
                return _not(of[0])
            return "neither " + " nor ".join(_bracketed(child) for child in of)
        case rule.Not(of):
            return _not(of)
        case rule.AtLeast(n, of):
            return f"at least {n} of: " + "; ".join(_bracketed(child) for child in of)
    return _leaf_text(node)


def _not(of: rule.Node) -> str:
    """What was not done is said so: did no order."""
    text = _bracketed(of)
    if isinstance(of, rule.EventsAre | rule.Catalogue) and text.startswith("did "):
        return f"did no {text.removeprefix('did ').removeprefix('any ')}"
    return f"not {text}"


def _bracketed(node: rule.Node) -> str:
    text = sentence_of(node)
    return text if not rule.children(node) or isinstance(node, rule.Not) else f"({text})"


def _leaf_text(leaf: rule.Leaf) -> str:
    match leaf:
        case rule.Everyone(known_only):
            return "everyone who is known" if known_only else "everyone"
        case rule.AttributeIs(attribute, test):
            return f"{attribute} {test_text(test)}"
        case rule.AttributeHeld():
            return _held_text(leaf)
        case rule.AttributeChanged():
            return _changed_text(leaf)
        case rule.Reachable(channel, platform):
            return _words("reachable by", channel.replace("_", " "), platform and f"on {platform}")
        case rule.MemberOf(segment_id, listed):
            return f"in {'list' if listed else 'segment'} {segment_id}"
        case rule.InList(list_id):
            return f"in list {list_id}"
        case rule.InPart(salt, low, high):
            return f"in the part from {low}‰ to {high}‰ of the split “{salt}”"
        case rule.EventsAre():
            return _events_text(leaf)
        case rule.FirstEvent(events, window):
            when = window_text(window)
            what = selector_text(events)
            return f"the first {what} ever was {when}" if when else f"did {what}"
        case rule.LastEvent(events, has):
            return f"the last {selector_text(events)} had {filter_text(has)}"
        case rule.Sequence():
            return _sequence_text(leaf)
        case rule.NotFollowed():
            return _not_followed_text(leaf)
        case rule.Regularly():
            return _regularly_text(leaf)
        case rule.Rfm():
            return _rfm_text(leaf)
        case rule.Catalogue():
            return _catalogue_text(leaf)


def _words(*parts: str) -> str:
    return " ".join(filter(None, parts))


def _events_text(leaf: rule.EventsAre) -> str:
    aggregate, comparison = leaf.aggregate, leaf.comparison
    what, when = selector_text(leaf.events), window_text(leaf.window)
    compared = comparison_text(comparison)
    match aggregate.kind:
        case rule.Kind.COUNT:
            if comparison == _AT_LEAST_ONE:
                return _words("did", what, when)
            return _words("number of", what, when, compared)
        case rule.Kind.DISTINCT_DAYS:
            zone = "" if aggregate.zone in ("", "UTC") else f"of {aggregate.zone}"
            return _words("number of days", zone, "with", what, when, compared)
        case rule.Kind.RATIO | rule.Kind.MOST_FREQUENT if aggregate.denominator is not None:
            return _over_text(leaf, aggregate.denominator)
    figure = f"{_FIGURES[aggregate.kind]} {aggregate.property} of"
    return _words(figure, what, when, compared)


def _over_text(leaf: rule.EventsAre, denominator: rule.Selector) -> str:
    """Figures over a denominator: rates, and the value of the highest rate."""
    aggregate = leaf.aggregate
    what, over = selector_text(leaf.events), selector_text(denominator)
    limits = [f"each {aggregate.once} once"] if aggregate.once else []
    if aggregate.denominator_min > 1:
        limits.append(f"from {aggregate.denominator_min} {over} on")
    ending = f"({', '.join(limits)})" if limits else ""
    if aggregate.kind is rule.Kind.MOST_FREQUENT:
        start = f"{aggregate.property} with the highest share of {what} in {over}"
    else:
        of, per = (
            f"sum of {side.property} of" if side.property else "number of"
            for side in (aggregate, aggregate.below())
        )
        start = f"{of} {what} per {per} {over}"
    return _words(start, window_text(leaf.window), ending, comparison_text(leaf.comparison))


def _held_text(leaf: rule.AttributeHeld) -> str:
    least = "" if leaf.at_least_us is None else f"at least {duration_text(leaf.at_least_us)}"
    most = "" if leaf.less_than_us is None else f"less than {duration_text(leaf.less_than_us)}"
    limits = " and ".join(filter(None, (least, most)))
    return f"{leaf.attribute} {test_text(leaf.test)} without a break for {limits}"


def _changed_text(leaf: rule.AttributeChanged) -> str:
    before = "" if leaf.before is None else f"from {value_text(leaf.before)}"
    after = "" if leaf.after is None else f"to {value_text(leaf.after)}"
    return _words(leaf.attribute, "changed", before, after, window_text(leaf.window))


def _sequence_text(leaf: rule.Sequence) -> str:
    steps = ", then ".join(map(selector_text, leaf.steps))
    within = "" if leaf.within_us is None else f"within {duration_text(leaf.within_us)}"
    same = leaf.same and f"with the same {leaf.same}"
    return "did " + ", ".join(filter(None, (steps, within, same, window_text(leaf.window))))


def _not_followed_text(leaf: rule.NotFollowed) -> str:
    start = _words("did", selector_text(leaf.start), window_text(leaf.window))
    same = leaf.same and f"with the same {leaf.same}"
    within = f"within {duration_text(leaf.within_us)} after it"
    return _words(start, "and no", selector_text(leaf.by), same, within)


def _regularly_text(leaf: rule.Regularly) -> str:
    periods = f"{leaf.periods_min} of the last {leaf.periods} periods"
    times_each = "" if leaf.count_min == 1 else f"at least {leaf.count_min} times"
    each = f"in at least {periods} of {duration_text(leaf.period_us)}"
    return _words("did", selector_text(leaf.events), times_each, each)


def _rfm_text(leaf: rule.Rfm) -> str:
    ranges = zip(_SCORES, (leaf.recency, leaf.frequency, leaf.money), strict=True)
    scores = [f"{name} {_range_text(*of)}" for name, of in ranges if of != (1, 5)]
    orders = _words(selector_text(leaf.orders), window_text(leaf.window))
    by = "quantiles" if leaf.edges is None else _edges_text(leaf.edges)
    if leaf.edges is None and leaf.ties_by_id:
        by += ", ties by id"
    what = f"the {listed(scores)} score" if scores else "any score"
    return f"has {what} by {leaf.amount} of {orders}, by {by}"


def _range_text(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _edges_text(edges: Sequence[Sequence[Fraction]]) -> str:
    return "edges " + " and ".join("/".join(map(decimal_text, one)) for one in edges)


def _catalogue_text(leaf: rule.Catalogue) -> str:
    items = f"whose {leaf.item_property} now has ({filter_text(leaf.has)})"
    what = _words(selector_text(leaf.events), items, window_text(leaf.window))
    if leaf.comparison == _AT_LEAST_ONE:
        return f"did {what}"
    return f"number of {what} {comparison_text(leaf.comparison)}"

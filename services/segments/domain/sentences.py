"""Rules in plain English."""

from __future__ import annotations

from fractions import Fraction

from services.segments.domain import conditions as rule
from services.segments.domain import times, windows
from services.segments.domain.values import TEXT, Op, Test, decimal_text

_OPERATORS = {
    Op.EQ: "is",
    Op.NE: "is not",
    Op.EQ_CI: "is (in any case)",
    Op.GT: "is more than",
    Op.GTE: "is at least",
    Op.LT: "is less than",
    Op.LTE: "is at most",
    Op.IN: "is one of",
    Op.NOT_IN: "is none of",
    Op.ALL: "has all of",
    Op.CONTAINS: "contains",
    Op.NOT_CONTAINS: "does not contain",
    Op.STARTS_WITH: "starts with",
    Op.ENDS_WITH: "ends with",
    Op.MATCHES: "matches",
    Op.EXISTS: "is known",
    Op.NOT_EXISTS: "is not known",
    Op.BEFORE: "is before",
    Op.AFTER: "is after",
}
_UNITS = (
    (7 * times.DAY_US, "week"), (times.DAY_US, "day"), (times.HOUR_US, "hour"),
    (times.MINUTE_US, "minute"), (times.SECOND_US, "second"), (1_000, "millisecond"),
    (1, "microsecond"),
)  # fmt: skip


def duration_text(length_us: int) -> str:
    """Such as 90 days, 1 hour, 36 hours."""
    for size, name in _UNITS:
        if length_us % size == 0 and not (name == "week" and length_us > 8 * size):
            count = length_us // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{length_us} microseconds"


def test_text(test: Test) -> str:
    """An operator with its values."""
    values = [f"“{v.plain()}”" if v.kind == TEXT else v.plain() for v in test.values]
    if test.op is Op.BETWEEN:
        return f"is from {values[0]} to {values[1]}"
    if test.op is Op.ANNIVERSARY:
        return _anniversary_text(test)
    return " ".join([_OPERATORS[test.op], *([", ".join(values)] if values else [])])


def _anniversary_text(test: Test) -> str:
    names = {0: "today", 1: "tomorrow", -1: "yesterday"}
    first = names.get(test.offset_days, f"{test.offset_days} days from today")
    if test.span_days == 1:
        return f"comes round {first}"
    return f"comes round within {test.span_days} days from {first}"


def filter_text(where: rule.Filter) -> str:
    """The properties an event must have."""
    match where:
        case rule.Property(key, test):
            return f"{key} {test_text(test)}"
        case rule.AnyItem(path, inner):
            return f"one of {path} has ({filter_text(inner)})"
        case rule.FilterAll(of):
            return " and ".join(_wrapped(part) for part in of)
        case rule.FilterAny(of):
            return " or ".join(_wrapped(part) for part in of)
        case rule.FilterNone(of):
            return "neither " + " nor ".join(_wrapped(part) for part in of)


def _wrapped(part: rule.Filter) -> str:
    text = filter_text(part)
    return text if isinstance(part, rule.Property | rule.AnyItem) else f"({text})"


def window_text(window: windows.Window) -> str:
    """When the events happened, as a phrase; empty for ever."""
    if window.oldest_us is not None and window.newest_us:
        newest = duration_text(window.newest_us)
        return f"from {duration_text(window.oldest_us)} to {newest} ago"
    if window.oldest_us is not None:
        return f"in the last {duration_text(window.oldest_us)}"
    since = "" if window.since_us is None else f"since {_instant(window.since_us)}"
    until = "" if window.until_us is None else f"before {_instant(window.until_us)}"
    return " and ".join(filter(None, (since, until)))


def _instant(time_us: int) -> str:
    try:
        return times.datetime_of(time_us).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{time_us} µs"


def comparison_text(comparison: rule.Comparison) -> str:
    """What a figure is compared with."""
    if comparison.test is not None:
        return test_text(comparison.test)
    low = decimal_text(comparison.low)
    if comparison.op is Op.BETWEEN:
        return f"is from {low} to {decimal_text(comparison.high)}"
    return f"{_OPERATORS[comparison.op]} {low}"


def _events_text(leaf: rule.EventsAre) -> str:
    chosen = leaf.events
    names = list(chosen.types) + ([f"{chosen.prefix}…"] if chosen.prefix else [])
    what = " or ".join(names) if names else "any event"
    if chosen.where is not None:
        what += f" with {filter_text(chosen.where)}"
    tail = " ".join(filter(None, (what, window_text(leaf.window))))
    kind, comparison = leaf.aggregate.kind, leaf.comparison
    if kind is rule.Kind.COUNT:
        if comparison == rule.Comparison(Op.GTE, Fraction(1)):
            return f"did {tail}"
        return f"number of {tail} {comparison_text(comparison)}"
    names_of = {
        rule.Kind.SUM: "sum", rule.Kind.AVG: "average", rule.Kind.MIN: "smallest",
        rule.Kind.MAX: "largest", rule.Kind.DISTINCT: "number of different",
        rule.Kind.FIRST: "first", rule.Kind.LAST: "last",
    }  # fmt: skip
    figure = f"{names_of[kind]} {leaf.aggregate.property}"
    return f"{figure} of {tail} {comparison_text(comparison)}"


def sentence_of(node: rule.Node) -> str:
    """The rule as a sentence without its full stop."""
    match node:
        case rule.All(of):
            return " and ".join(_bracketed(child) for child in of)
        case rule.Any(of):
            return " or ".join(_bracketed(child) for child in of)
        case rule.Neither(of):
            return "neither " + " nor ".join(_bracketed(child) for child in of)
        case rule.Not(of):
            return f"not {_bracketed(of)}"
        case rule.AtLeast(n, of):
            return f"at least {n} of: " + "; ".join(_bracketed(child) for child in of)
        case rule.Everyone(known_only):
            return "everyone who is known" if known_only else "everyone"
        case rule.AttributeIs(attribute, test):
            return f"{attribute} {test_text(test)}"
        case rule.Reachable(channel):
            return f"reachable by {channel.replace('_', ' ')}"
        case rule.MemberOf(segment_id):
            return f"in segment {segment_id}"
        case rule.EventsAre():
            return _events_text(node)


def _bracketed(node: rule.Node) -> str:
    text = sentence_of(node)
    return text if not rule.children(node) or isinstance(node, rule.Not) else f"({text})"

"""Parts of rules in plain English: tests, filters, windows, durations, selections of events."""

from __future__ import annotations

from services.segments.domain import conditions as rule
from services.segments.domain import times, windows
from services.segments.domain.values import TEXT, LeapDay, Op, Scalar, Test, decimal_text
from services.segments.domain.windows import Unit

OPERATORS = {
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
    Op.IN_LAST: "lies in the last",
    Op.IN_NEXT: "lies in the next",
}
_UNITS = (
    (7 * times.DAY_US, "week"), (times.DAY_US, "day"), (times.HOUR_US, "hour"),
    (times.MINUTE_US, "minute"), (times.SECOND_US, "second"), (1_000, "millisecond"),
    (1, "microsecond"),
)  # fmt: skip
_AGES_US = 100 * 365 * times.DAY_US
"""Nobody means an end that lies so long ago."""
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LEAP_DAYS = {
    LeapDay.MARCH_1: " (29 February is 1 March in common years)",
    LeapDay.LEAP_YEARS_ONLY: " (29 February in leap years only)",
}


def counted(count: int, name: str) -> str:
    """Such as 1 day, 3 days."""
    return f"{count} {name}{'' if count == 1 else 's'}"


def listed(parts: list[str]) -> str:
    """Such as: a, b and c."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def duration_text(length_us: int) -> str:
    """Such as 90 days, 1 hour, 36 hours."""
    for size, name in _UNITS:
        if length_us % size == 0 and (name != "week" or 1 < length_us // size <= 8):
            return counted(length_us // size, name)
    return f"{length_us} microseconds"


def value_text(value: Scalar) -> str:
    """A value as people write it; texts in quotes."""
    return f"“{value.plain()}”" if value.kind == TEXT else value.plain()


def test_text(test: Test) -> str:
    """An operator with its values."""
    values = [value_text(value) for value in test.values]
    if test.op is Op.BETWEEN:
        return f"is from {values[0]} to {values[1]}"
    if test.op is Op.ANNIVERSARY:
        return _anniversary_text(test)
    if test.op is Op.OLDER_THAN:
        return f"is at least {duration_text(test.duration_us)} ago"
    if test.moves:
        return f"{OPERATORS[test.op]} {duration_text(test.duration_us)}"
    return " ".join([OPERATORS[test.op], *([", ".join(values)] if values else [])])


def _anniversary_text(test: Test) -> str:
    names = {0: "today", 1: "tomorrow", -1: "yesterday"}
    count = abs(test.offset_days)
    away = f"{counted(count, 'day')} {'from today' if test.offset_days > 0 else 'ago'}"
    first = names.get(test.offset_days, away)
    ending = _LEAP_DAYS.get(test.leap_day, "") + clock_text(windows.Clock(test.zone))
    if test.span_days == 1:
        return f"comes round {first}{ending}"
    return f"comes round within {test.span_days} days from {first}{ending}"


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
            start = "not " if len(of) == 1 else "neither "
            return start + " nor ".join(_wrapped(part) for part in of)


def _wrapped(part: rule.Filter) -> str:
    text = filter_text(part)
    return text if isinstance(part, rule.Property | rule.AnyItem) else f"({text})"


def selector_text(chosen: rule.Selector) -> str:
    """Which events: their types, and what they have."""
    names = list(chosen.types) + ([f"{chosen.prefix}…"] if chosen.prefix else [])
    what = " or ".join(names) if names else "any event"
    if chosen.where is None:
        return what
    return f"{what} with {_wrapped(chosen.where)}"


def clock_text(clock: windows.Clock) -> str:
    """Whose wall clock, beginning with a comma; nothing for UTC."""
    if clock.by_profile:
        other = f", else {clock.zone}" if clock.zone not in ("", "UTC") else ""
        return f", by the person's own clock{other}"
    return f", by the clock of {clock.zone}" if clock.zone not in ("", "UTC") else ""


def window_text(window: windows.Span) -> str:
    """When the events happened, as a phrase; empty for ever."""
    match window:
        case windows.CalendarSteps(n, unit, clock):
            return f"in the last {counted(n, unit.name.lower())}{clock_text(clock)}"
        case windows.CalendarPeriods():
            return _periods_text(window)
    if window.oldest_us is not None and window.newest_us:
        newest = duration_text(window.newest_us)
        if window.oldest_us >= _AGES_US:
            return f"{newest} ago or earlier"
        return f"from {duration_text(window.oldest_us)} to {newest} ago"
    if window.oldest_us is not None:
        return f"in the last {duration_text(window.oldest_us)}"
    since = "" if window.since_us is None else f"since {_instant(window.since_us)}"
    until = "" if window.until_us is None else f"before {_instant(window.until_us)}"
    return " and ".join(filter(None, (since, until)))


def _periods_text(window: windows.CalendarPeriods) -> str:
    unit, back, length = window.unit, window.back, window.length
    name = unit.name.lower()
    present = "today" if unit is Unit.DAY else f"this {name}"
    if back == 0:
        text = present
    elif length == back + 1:
        text = f"{present} and the {counted(back, name)} before"
    elif back == 1:
        text = "yesterday" if unit is Unit.DAY else f"last {name}"
    elif length == 1:
        text = f"in the {name} {counted(back, name)} before {present}"
    else:
        text = f"in the {counted(length, name)} from {counted(back, name)} before {present} on"
    if window.week_start != windows.MONDAY:
        text += f", weeks from {_DAYS[window.week_start - 1]}"
    return text + clock_text(window.clock)


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
    return f"{OPERATORS[comparison.op]} {low}"

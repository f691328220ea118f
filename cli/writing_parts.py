"""Values, tests, filters and windows back as friendly YAML: what `condition_parts` and `windows`
read."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as Exact
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from cli import condition_parts as parts
from cli.reading import DURATION_US_MAX, EPOCH, UNIT_US
from muster.types.v1 import common_pb2, event_pb2
from muster.types.v1 import condition_pb2 as pb

_NAMES = {number: name for name, number in parts.OPERATORS.items()}
_LEAP_DAYS = {number: name for name, number in parts.LEAP_DAYS.items()}
_UNITS = {
    pb.CALENDAR_UNIT_DAY: "day",
    pb.CALENDAR_UNIT_WEEK: "week",
    pb.CALENDAR_UNIT_MONTH: "month",
    pb.CALENDAR_UNIT_YEAR: "year",
}
_ZONE_SOURCES = {
    pb.ZONE_SOURCE_RULE: "rule",
    pb.ZONE_SOURCE_PROFILE: "profile",
    pb.ZONE_SOURCE_TENANT: "tenant",
}
_UNITS_OF_TIME = sorted(
    ((size, unit) for unit, size in UNIT_US.items() if unit != "week"), reverse=True
)
_PLAIN_KEYS = parts.GROUPS | {"any_item", "property"}


def duration(given: Duration) -> str:
    """Such as 90 days, or 1 hour 30 minutes."""
    left = given.ToMicroseconds()
    for size, unit in _UNITS_OF_TIME:
        if left and left % size == 0:
            return _counted(left // size, unit)
    spelled = []
    for size, unit in _UNITS_OF_TIME:
        count, left = divmod(left, size)
        if count:
            spelled.append(_counted(count, unit))
    return " ".join(spelled) or "0 seconds"


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"


def instant(given: Timestamp) -> dt.datetime:
    """An aware moment; YAML writes it as a timestamp."""
    return EPOCH + dt.timedelta(microseconds=given.ToMicroseconds())


def decimal(given: event_pb2.Decimal) -> Exact:
    return Exact(given.units).scaleb(-given.exponent)


def value(given: common_pb2.Value) -> Any:
    """A value as YAML says it best; null for none."""
    match given.WhichOneof("kind"):
        case "text":
            return given.text
        case "whole":
            return given.whole
        case "flag":
            return given.flag
        case "decimal":
            return (
                decimal(given.decimal)
                if given.decimal.exponent
                else {"decimal": given.decimal.units}
            )
        case "time":
            return instant(given.time)
        case "date":
            return dt.date.fromisoformat(given.date)
        case "list":
            return [value(one) for one in given.list.values]
    return None


def operators(test: pb.Test) -> dict[str, Any]:
    """The operator and what stands beside it."""
    name = _NAMES[test.op]
    made: dict[str, Any] = {name: _operand(name, test)}
    if test.zone:
        made["zone"] = test.zone
    if test.leap_day:
        made["leap_day"] = _LEAP_DAYS[test.leap_day]
    return made


def _operand(name: str, test: pb.Test) -> Any:
    if name in ("exists", "not_exists"):
        return True
    if name in parts.DURATIONS:
        return duration(test.duration)
    if name == "anniversary":
        if test.span_days or test.offset_days not in (0, 1):
            made = {"offset_days": test.offset_days, "span_days": test.span_days}
            return {key: count for key, count in made.items() if count}
        return "tomorrow" if test.offset_days else "today"
    values = [value(one) for one in test.values]
    return values if name == "between" or name in parts.LISTS else values[0]


def comparison(given: pb.Comparison) -> dict[str, Any]:
    return operators(pb.Test(op=given.op, values=given.values))


def score_range(low: int, high: int) -> Any:
    """One score, [least, most], or a mapping where a side is open."""
    if low and high:
        return low if low == high else [low, high]
    return {name: score for name, score in (("min", low), ("max", high)) if score}


def property_filter(given: pb.PropertyFilter) -> dict[str, Any]:
    """A mapping of properties where it can be, else groups."""
    kind = given.WhichOneof("node")
    if kind == "test":
        return _property(given.test)
    if kind == "any_item":
        return {"any_item": {"path": given.any_item.path, "where": _together(given.any_item.where)}}
    of = getattr(given, str(kind)).of
    if kind == "all" and len(of) > 1:
        together = _together(of)
        if isinstance(together, dict):
            return together
    return {str(kind): [property_filter(one) for one in of]}


def _together(filters: Any) -> Any:
    """Filters that must all hold: one mapping when their keys differ, else a list."""
    trees = [property_filter(one) for one in filters]
    keys = [key for tree in trees for key in tree]
    single = all(len(tree) == 1 for tree in trees)
    return {k: v for tree in trees for k, v in tree.items()} if _apart(keys, single) else trees


def _apart(keys: list[str], single: bool) -> bool:
    return single and len(keys) == len(set(keys))


def _property(given: pb.PropertyTest) -> dict[str, Any]:
    made = operators(given.test)
    if given.property in _PLAIN_KEYS:
        return {"property": {"name": given.property, **made}}
    if not given.property:
        return {"property": made}
    if list(made) == ["eq"] and not isinstance(made["eq"], (list, type(None))):
        return {given.property: made["eq"]}
    if list(made) == ["in"] and made["in"]:
        return {given.property: made["in"]}
    return {given.property: made}


def window(given: pb.Window) -> Any:
    """A phrase where there is one, else a mapping."""
    match given.WhichOneof("kind"):
        case "last":
            return f"last {duration(given.last)}"
        case "slice":
            return _slice(given.slice)
        case "absolute":
            return _absolute(given.absolute)
        case "last_calendar_units":
            return _steps(given.last_calendar_units)
        case "this_period":
            return _period(given.this_period)
    return "ever"


def _slice(given: pb.Slice) -> Any:
    begin, end = duration(getattr(given, "from")), duration(given.to)
    if getattr(given, "from").ToMicroseconds() == DURATION_US_MAX:
        return f"before {end} ago"
    count, _, unit = begin.partition(" ")
    other, _, same = end.partition(" ")
    if unit == same and " " not in unit:
        return f"from {count} to {other} {unit} ago"
    return {"from": begin, "to": end}


def _absolute(given: pb.Absolute) -> dict[str, Any]:
    begin = instant(getattr(given, "from")) if given.HasField("from") else None
    end = instant(given.to) if given.HasField("to") else None
    if end is None:
        return {"since": begin}
    return {"before": end} if begin is None else {"from": begin, "to": end}


def _steps(given: pb.CalendarSpan) -> Any:
    """Days and weeks are elapsed time, which has no clock."""
    spelled = _counted(given.n, _UNITS[given.unit])
    elapsed = given.unit in (pb.CALENDAR_UNIT_DAY, pb.CALENDAR_UNIT_WEEK)
    clock = {} if elapsed else _clock(given)
    return {"last": spelled, **clock} if clock else f"last {spelled}"


def _clock(given: pb.CalendarSpan | pb.CalendarPeriod) -> dict[str, Any]:
    clock: dict[str, Any] = {"zone": given.zone} if given.zone else {}
    if given.zone_source:
        clock["zone_source"] = _ZONE_SOURCES[given.zone_source]
    return clock


def _period(given: pb.CalendarPeriod) -> Any:
    unit, back, length = _UNITS[given.unit], given.back, given.length or 1
    clock = _clock(given)
    if given.week_start:
        clock["week_start"] = given.week_start
    if not clock and length == 1 and back <= 1:
        if unit == "day":
            return "yesterday" if back else "today"
        return f"{'last' if back else 'this'} {unit}"
    if not clock and length == back + 1:
        return f"calendar_last {_counted(back, unit)}"
    return {"this": unit, "back": back, "length": length, **clock}

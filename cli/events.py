"""Events from flags, NDJSON and mappings: the publisher's side of the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal as Exact
from decimal import InvalidOperation
from typing import Any

from cli.problems import Problem
from cli.reading import instant_us_of
from muster.types.v1.event_pb2 import Event, EventBatch, Identifier, Property

BATCH_EVENTS = 500
BATCH_BYTES = 480 << 10
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
EXPONENT_MAX = 18
DIGITS_MAX = 400
DEPTH_MAX = 16
KNOWN_KINDS = ("user_id", "email", "phone", "cookie", "web_push_token", "mobile_push_token")


def property_of(key: str, value: Any, item: int = 0) -> Property:
    """One property; a number becomes a whole, an exact decimal, or (where neither holds it) its
    digits as text. ValueError for other types."""
    made = Property(key=key, item=item)
    if isinstance(value, bool):
        made.flag = value
    elif isinstance(value, (int, Exact)):
        _number_into(made, Exact(value))
    elif isinstance(value, str):
        made.text = value
    else:
        raise ValueError(f"{key}: {value!r} is neither text, number, true nor false")
    return made


def _number_into(made: Property, value: Exact) -> None:
    if not value.is_finite() or abs(value.adjusted()) > DIGITS_MAX:
        raise ValueError(f"{made.key}: is no number of at most {DIGITS_MAX} digits")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    units = int("".join(map(str, digits))) * 10 ** max(exponent, 0) * (-1 if sign else 1)
    if not -(2**63) <= units < 2**63 or exponent < -EXPONENT_MAX:
        made.text = format(value, "f")
    elif exponent >= 0:
        made.whole = units
    else:
        made.decimal.units, made.decimal.exponent = units, -exponent


def properties_of(tree: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[Property]:
    """Flattens objects to dotted keys and lists to items, as the contract has them."""
    if not isinstance(tree, Mapping):
        raise ValueError("properties: must be an object")
    if depth > DEPTH_MAX:
        raise ValueError(f"{prefix.rstrip('.')[:100]}: objects lie at most {DEPTH_MAX} deep")
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from properties_of(value, f"{name}.", depth + 1)
        elif isinstance(value, list):
            for item, element in enumerate(value):
                if isinstance(element, Mapping):
                    for inner in properties_of(element, f"{name}.", depth + 1):
                        inner.item = item
                        yield inner
                else:
                    yield property_of(name, element, item)
        elif value is not None:
            yield property_of(name, value)


def spoken_value(text: str) -> Any:
    """The value of a flag: true, false, a number, `@instant`, else text."""
    if text in ("true", "false"):
        return text == "true"
    if NUMBER.fullmatch(text):
        try:
            return Exact(text)
        except InvalidOperation:
            return text
    return text


def event_of(tree: Mapping[str, Any], now_us: int, new_id: str) -> Event:
    """An event from a mapping. ValueError says which field is wrong.

    Keys: event_id, type, occur_time (ISO 8601; now when absent), identifiers (mapping of kind to
    value, or a list of {kind, value}), properties (mapping); also an identifier's kind by itself,
    such as user_id. send_time is now unless given.
    """
    known = {"event_id", "type", "occur_time", "send_time", "identifiers", "properties"}
    unknown = set(tree) - known - set(KNOWN_KINDS)
    if unknown:
        raise ValueError(
            f"{', '.join(sorted(unknown))}: not a field of an event; put it under properties"
        )
    if not isinstance(tree.get("type"), str):
        raise ValueError("type: an event needs a type, such as page_viewed")
    event = Event(
        event_id=_id_of(tree.get("event_id"), new_id),
        type=tree["type"],
        occur_time_us=_instant(tree, "occur_time", now_us),
        send_time_us=_instant(tree, "send_time", now_us),
    )
    given = tree.get("identifiers", {})
    if not isinstance(given, (Mapping, list)):
        raise ValueError("identifiers: must be an object, or a list of {kind, value}")
    pairs = (
        given.items() if isinstance(given, Mapping) else [(i["kind"], i["value"]) for i in given]
    )
    named = [(kind, tree[kind]) for kind in KNOWN_KINDS if kind in tree]
    for kind, value in [*pairs, *named]:
        if isinstance(value, (Mapping, list)):
            raise ValueError(f"{kind}: must be a text or a number")
        if value is not None:
            event.identifiers.append(Identifier(kind=kind, value=str(value)))
    if not event.identifiers:
        raise ValueError("identifiers: an event needs at least one, such as user_id")
    event.properties.extend(properties_of(tree.get("properties") or {}))
    return event


def _id_of(given: Any, new_id: str) -> str:
    """The id of an event: what it brings, else the one made for it."""
    if isinstance(given, (Mapping, list, bool)):
        raise ValueError("event_id: must be a text or a number")
    return new_id if given is None or given == "" else str(given)


def _instant(tree: Mapping[str, Any], key: str, default_us: int) -> int:
    if tree.get(key) is None:
        return default_us
    try:
        return instant_us_of(tree[key])
    except ValueError as wrong:
        raise ValueError(f"{key}: {wrong}") from None


def read_ndjson(lines: Iterable[str], now_us: int, new_id: Any) -> Iterator[Event]:
    """Events from lines of JSON. Raises Problem with the number of the first bad line."""
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield event_of(json.loads(line, parse_float=Exact), now_us, new_id())
        except (ValueError, KeyError, TypeError) as wrong:
            raise Problem(f"line {place} is not an event: {wrong}") from None


def batches(events: Iterable[Event], import_id: str = "") -> Iterator[EventBatch]:
    """Full batches: BATCH_EVENTS events or BATCH_BYTES, whichever comes first."""
    batch, size = EventBatch(import_id=import_id), 0
    for event in events:
        bytes_more = event.ByteSize() + 4
        if batch.events and (len(batch.events) >= BATCH_EVENTS or size + bytes_more > BATCH_BYTES):
            yield batch
            batch, size = EventBatch(import_id=import_id), 0
        batch.events.append(event)
        size += bytes_more
    if batch.events:
        yield batch

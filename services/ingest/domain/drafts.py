"""Decides how values from JSON and tables become properties: exact, flat, with named limits.

A draft is an event before it is bytes: any door that takes text makes one, so every door flattens
objects, lists and numbers alike.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Value = str | int | Decimal | bool
DEPTH_MAX = 16
DIGITS_MAX = 400
"""A number with more digits before or after its point is refused."""
DECIMAL_EXPONENT_MAX = 18
INT64_MAX = 2**63 - 1
KINDS = ("user_id", "email", "phone", "cookie", "web_push_token", "mobile_push_token")
"""Identifier kinds that every tenant has."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class DraftFault(ValueError):
    """Why an item is no event. path: the field; code for programs, detail says what to do."""

    def __init__(self, path: str, code: str, detail: str) -> None:
        self.path, self.code, self.detail = path, code, detail
        super().__init__(f"{path}: {detail}" if path else detail)


@dataclass(slots=True)
class Draft:
    """An event before it is bytes. Times: UTC microseconds.

    identifiers: (kind, value); properties: (key, place in a list, value).
    """

    event_id: str
    type: str
    occur_us: int
    send_us: int
    identifiers: list[tuple[str, str]] = field(default_factory=list)
    properties: list[tuple[str, int, Value]] = field(default_factory=list)

    def identify(self, kind: str, value: object, path: str = "") -> None:
        """Adds an identifier once; null and empty ones are none."""
        if value is None or value == "":
            return
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise DraftFault(path or kind, "bad_identifier", "must be a text or a whole number")
        pair = kind, str(value)
        if pair not in self.identifiers:
            self.identifiers.append(pair)


def flat(
    tree: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, int, Value]]:
    """(key, item, value) of every value: objects give dotted keys, lists items 0, 1, 2 ...

    Null and empty ones are missing and left out. A list inside a list stays together, as JSON text.
    """
    if depth > DEPTH_MAX:
        raise DraftFault(prefix.rstrip("."), "too_deep", f"objects lie at most {DEPTH_MAX} deep")
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.", depth + 1)
        elif isinstance(value, list):
            for item, element in enumerate(value):
                if isinstance(element, Mapping):
                    for inner, _, one in flat(element, f"{name}.", depth + 1):
                        yield inner, item, one
                elif element is not None:
                    yield name, item, value_of(name, element)
        elif value is not None:
            yield name, 0, value_of(name, value)


def exact(text: str) -> Decimal:
    """A number of JSON by its digits; what Decimal cannot hold is infinite, which `value_of`
    refuses."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("Infinity")


def exact_whole(text: str) -> int | Decimal:
    """The same for whole numbers; int() refuses thousands of digits, in its own way."""
    return int(text) if len(text) <= DIGITS_MAX else exact(text)


def value_of(path: str, value: object) -> Value:
    """A value as a property holds it; a number that fits no decimal becomes exact decimal text."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if -INT64_MAX - 1 <= value <= INT64_MAX else _digits(path, Decimal(value))
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        return _number(path, value)
    if isinstance(value, list):
        _refuse_deep(path, value)
        return json.dumps(value, default=str)
    raise DraftFault(
        path, "bad_value", "must be a text, a number, true, false, a list or an object"
    )


def _refuse_deep(path: str, value: object, depth: int = 1) -> None:
    if depth > DEPTH_MAX:
        raise DraftFault(path, "too_deep", f"lists lie at most {DEPTH_MAX} deep")
    inner: Iterable[object] = ()
    if isinstance(value, list):
        inner = value
    elif isinstance(value, Mapping):
        inner = value.values()
    for one in inner:
        _refuse_deep(path, one, depth + 1)


def _number(path: str, value: Decimal) -> Value:
    """Exactly, by its digits: Decimal's own arithmetic would round to its context."""
    if not value.is_finite():
        raise DraftFault(path, "not_a_number", "is NaN or infinite; leave it out or send a number")
    if abs(value.adjusted()) > DIGITS_MAX:
        return _digits(path, value)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    units = int("".join(map(str, digits)))
    while exponent < 0 and units % 10 == 0:
        units, exponent = units // 10, exponent + 1
    if exponent >= 0:
        units, exponent = units * 10**exponent, 0
    if units > INT64_MAX or exponent < -DECIMAL_EXPONENT_MAX:
        return _digits(path, value)
    if not exponent:
        return -units if sign else units
    return Decimal((sign, tuple(map(int, str(units))), exponent))


def _digits(path: str, value: Decimal) -> str:
    if abs(value.adjusted()) > DIGITS_MAX:
        raise DraftFault(path, "not_a_number", f"has more than {DIGITS_MAX} digits")
    return format(value, "f")


def instant_us(path: str, text: object) -> int:
    """UTC microseconds of ISO 8601 text; without a zone it is UTC, finer digits are cut."""
    if not isinstance(text, str):
        raise DraftFault(path, "bad_time", "must be ISO 8601 text such as 2026-11-21T09:30:00Z")
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise DraftFault(
            path, "bad_time", "is not ISO 8601, such as 2026-11-21T09:30:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // _MICROSECOND

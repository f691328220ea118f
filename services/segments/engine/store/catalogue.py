"""The catalogue: what is known of each item now, and whose events name it.

A change of an item concerns the profiles with an event that names it, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from muster.ingest.v1 import catalogue_pb2 as facts
from muster.types.v1 import event_pb2 as event
from services.segments.domain import conditions as rule
from services.segments.domain.values import (
    DECIMAL,
    FLAG,
    TEXT,
    TIME,
    WHOLE,
    Op,
    Scalar,
    normal_text,
    number_of_text,
    satisfies,
)
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.patterns import element_satisfies
from services.segments.engine.store.naming import Naming, prints_of

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

ItemKey = object
"""What two names of one item have in common: a number, or a text in NFC."""
Elements = Mapping[int, Scalar]
"""The values of a property by their place in its list."""
BEFORE_ALL = -(1 << 62)
ANSWERS_MAX = 1_000_000
"""Answers of one filter that are remembered."""


def key_of(name: Scalar) -> ItemKey:
    """What an item's name means: "10" and 10 are one item."""
    number = name.number()
    if number is not None:
        return number
    return normal_text(name.text) if name.kind == TEXT else (name.kind, name.units)


@dataclass(slots=True)
class Item:
    """An item. cleared_us: everything said of an instant before this is gone."""

    item_id: str
    cleared_us: int = BEFORE_ALL
    properties: dict[str, dict[int, Scalar]] = field(default_factory=dict)
    set_us: dict[str, int] = field(default_factory=dict)
    """The instant of each property, of those taken away too."""

    def clear(self, occur_us: int) -> None:
        """Takes away what was said of an instant up to this one."""
        self.cleared_us = max(self.cleared_us, occur_us)
        for name in [name for name, at in self.set_us.items() if at <= occur_us]:
            del self.set_us[name]
            self.properties.pop(name, None)

    def set(self, name: str, values: dict[int, Scalar], occur_us: int) -> None:
        """Of two values of one property the one of the later instant stands."""
        if occur_us < self.cleared_us or occur_us < self.set_us.get(name, occur_us):
            return
        self.set_us[name] = occur_us
        if values:
            self.properties[name] = values
        else:
            self.properties.pop(name, None)

    def take(self, one: facts.CatalogueItem) -> None:
        """Takes what is said of the item."""
        occur_us = one.occur_time.ToMicroseconds()
        if one.removed or one.whole:
            self.clear(occur_us)
        if one.removed:
            return
        named: dict[str, dict[int, Scalar]] = {}
        for given in one.properties:
            values = named.setdefault(given.key, {})
            value = _scalar_of(given)
            if value is not None and not value.missing:
                values[given.item] = value
        for name, values in named.items():
            self.set(name, values, occur_us)


def passes(
    where: rule.Filter, properties: Mapping[str, Elements], at_us: int | None = None
) -> bool:
    """Whether the properties of an item satisfy a filter, as those of an event would.

    at_us: the instant asked about, for tests that move.
    """
    match where:
        case rule.Property(key, test):
            values = list(properties.get(key, {}).values())
            if test.op is Op.MATCHES:
                return any(element_satisfies(test, value) for value in values)
            return satisfies(test, values, at_us)
        case rule.FilterAll(of):
            return all(passes(one, properties, at_us) for one in of)
        case rule.FilterAny(of):
            return any(passes(one, properties, at_us) for one in of)
        case rule.FilterNone(of):
            return not any(passes(one, properties, at_us) for one in of)
        case rule.AnyItem(path, inner):
            below = {
                key: elements
                for key, elements in properties.items()
                if key == path or key.startswith(path + ".")
            }
            places = {place for elements in below.values() for place in elements}
            return any(passes(inner, _element(below, place), at_us) for place in places)


def _element(properties: Mapping[str, Elements], place: int) -> dict[str, Elements]:
    return {
        key: {place: elements[place]} for key, elements in properties.items() if place in elements
    }


class Catalogue:
    """Items, and who is concerned when one changes."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.items: dict[ItemKey, Item] = {}
        self.namings: dict[str, Naming] = {}
        self._answers: dict[rule.Filter, dict[ItemKey, bool]] = {}

    def item(self, key: ItemKey) -> Item | None:
        """What is known of an item; None for one the catalogue does not know."""
        return self.items.get(key)

    def holds(self, has: rule.Filter, name: Scalar) -> bool:
        """Whether the item of that name has these properties now; an unknown one has none."""
        key = key_of(name)
        known = self._answers.setdefault(has, {})
        answer = known.get(key)
        if answer is None:
            if len(known) >= ANSWERS_MAX:
                known.clear()
            item = self.item(key)
            answer = known[key] = passes(has, {} if item is None else item.properties)
        return answer

    def take(self, given: facts.CatalogueItemsSet) -> list[str]:
        """Takes items as they are said to stand; ids of those of which something changed."""
        changed = []
        for one in given.items:
            key = key_of(Scalar(TEXT, one.item_id))
            item = self.items.get(key)
            if item is None:
                item = self.items[key] = Item(one.item_id)
            before = dict(item.properties)
            item.take(one)
            if item.properties != before:
                changed.append(one.item_id)
                for answers in self._answers.values():
                    answers.pop(key, None)
        return changed

    def concerned(self, by: Iterable[str], item_ids: Iterable[str]) -> dict[str, Array]:
        """Rows of the profiles with an event that names one of some items, for each property of
        events that a rule joins by."""
        part, names = self.part, prints_of(self.part, list(item_ids))
        wanted = list(dict.fromkeys(by))
        self.namings = {name: self._naming(name) for name in wanted}
        found = {}
        for name, naming in self.namings.items():
            naming.catch_up()
            owners = part.people.slot_row[part.events.view.slot[naming.events(names)]]
            found[name] = np.unique(owners[owners >= 0]).astype(np.int64)
        return found

    def _naming(self, name: str) -> Naming:
        return self.namings.get(name) or Naming(self.part, name)

    def dump(self) -> bytes:
        """Every item as one CatalogueItemsSet for each instant its properties were set at."""
        made = facts.CatalogueItemsSet()
        for item in self.items.values():
            if item.cleared_us > BEFORE_ALL:
                gone = made.items.add(item_id=item.item_id, removed=True)
                gone.occur_time.FromMicroseconds(item.cleared_us)
            for name, at in item.set_us.items():
                one = made.items.add(item_id=item.item_id)
                one.occur_time.FromMicroseconds(at)
                values = item.properties.get(name, {})
                one.properties.extend(_property_of(name, place, v) for place, v in values.items())
                if not values:
                    one.properties.add(key=name)
        return made.SerializeToString(deterministic=True)

    def load(self, body: bytes) -> None:
        """Takes over a dump into a fresh catalogue."""
        self.take(facts.CatalogueItemsSet.FromString(body))


def _scalar_of(given: event.Property) -> Scalar | None:
    """The value of a types.v1.Property; None for none."""
    kind = given.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(given, kind)
    match kind:
        case "text":
            return Scalar(TEXT, value)
        case "whole":
            return Scalar(WHOLE, units=value)
        case "decimal":
            return Scalar(DECIMAL, units=value.units, exponent=value.exponent)
        case "flag":
            return Scalar(FLAG, units=int(value))
        case "time_us":
            return Scalar(TIME, units=value)
    return _decimal_of(repr(value))


def _decimal_of(text: str) -> Scalar:
    """A double as its shortest decimal form; what is none (NaN) is kept as text."""
    number = number_of_text(text)
    if number is None:
        return Scalar(TEXT, text)
    for exponent in range(19):
        units = number * 10**exponent
        if units.denominator == 1:
            return Scalar(DECIMAL, units=units.numerator, exponent=exponent)
    return Scalar(TEXT, text)


def _property_of(name: str, place: int, value: Scalar) -> event.Property:
    made = event.Property(key=name, item=place)
    match value.kind:
        case 1:
            made.text = value.text
        case 2:
            made.whole = value.units
        case 3:
            made.decimal.units, made.decimal.exponent = value.units, value.exponent
        case 4:
            made.flag = bool(value.units)
        case _:
            made.time_us = value.units
    return made

"""What the logs of a world say, as plain facts for the naive model: PROFILES and HISTORY, decoded
row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from cli.simulation.naive.facts import (
    Assigned,
    Created,
    Defined,
    Fact,
    Item,
    Linked,
    Listed,
    Moved,
    Row,
)
from cli.simulation.naive.values import Instant, Value
from cli.simulation.streams import Streams
from muster.identity.v1 import facts_pb2 as identity_pb
from muster.ingest.v1 import catalogue_pb2
from muster.segments.v1 import facts_pb2 as segments_pb
from muster.segments.v1 import lists_pb2
from muster.types.v1 import columns_pb2, event_pb2
from services.chassis import subjects

_TEXT, _WHOLE, _DECIMAL, _FLAG, _TIME = 1, 2, 3, 4, 5
_IMPORTED = 1


class LogFacts:
    """Reads the facts of every partition, in order of the instants they took effect."""

    def __init__(self, tenant: str, streams: Streams) -> None:
        self.tenant = tenant
        self.streams = streams
        self.linked: set[int] = set()
        self.moved: set[int] = set()
        self.living: set[int] = set()
        self.defined: set[tuple[str, int]] = set()
        self.changed: set[int] = set()
        self.arrivals = self._arrivals()

    def facts(self) -> list[Fact]:
        """Every fact; of one instant in the order of the log."""
        found: list[tuple[int, int, Fact]] = []
        reached: dict[str, int] = {}
        for unit in self.streams.units[subjects.PROFILES]:
            # A record takes effect where the partition stood before its message.
            before_us = reached.get(unit.subject, unit.time_us)
            reached[unit.subject] = unit.time_us
            for body in unit.bodies:
                for entry in identity_pb.ProfileStep.FromString(body).entries:
                    for fact in self._of_entry(entry, before_us):
                        found.append((_log_us(fact), len(found), fact))
        found.sort(key=lambda one: one[:2])
        return [fact for _, _, fact in found]

    def _arrivals(self) -> dict[int, int]:
        """move -> when the past that it brought from another partition had come."""
        found: dict[int, int] = {}
        for unit in self.streams.units[subjects.HISTORY]:
            for body in unit.bodies:
                if body:
                    move = identity_pb.HistoryMoved.FromString(body)
                    found[move.move_id] = max(unit.time_us, found.get(move.move_id, 0))
        return found

    def _of_entry(self, entry: identity_pb.ProfileEntry, before_us: int) -> Iterator[Fact]:
        kind = entry.WhichOneof("entry")
        if kind == "created":
            made = entry.created
            rows = zip(made.profile, made.public_id, made.atom, made.create_time_us, strict=True)
            for profile, public_id, atom, at_us in rows:
                if profile not in self.living:  # Else it has another public id.
                    self.living.add(profile)
                    yield Created(profile, public_id, atom, at_us)
        elif kind == "linked":
            yield from self._links(entry.linked)
        elif kind == "events":
            yield from _rows(entry.events)
        elif kind == "attributes":
            yield from _assignments(entry.attributes)
        elif kind == "moved" and entry.moved.move_id not in self.moved:
            self.moved.add(entry.moved.move_id)
            yield self._move(entry.moved)
        elif kind == "control" and entry.control.control_sequence not in self.changed:
            self.changed.add(entry.control.control_sequence)
            yield from self._control(entry.control, before_us)

    def _links(self, linked: identity_pb.IdentifiersLinked) -> Iterator[Fact]:
        kinds, texts = _pool(linked.kind, linked.kind_end), _pool(linked.text, linked.text_end)
        for place, atom in enumerate(linked.atom):
            if atom not in self.linked:  # Said again where the atom comes into a partition.
                self.linked.add(atom)
                at_us = linked.link_time_us[place]
                yield Linked(atom, linked.profile[place], kinds[place], texts[place], at_us)

    def _move(self, moved: identity_pb.AtomsMoved) -> Moved:
        self.living.add(moved.to_profile)
        if moved.merge:
            self.living.discard(moved.from_profile)
        return Moved(
            moved.move_id,
            moved.from_profile,
            moved.to_profile,
            tuple(moved.atom),
            moved.merge,
            moved.cause_event_id.decode(),
            moved.move_time_us,
            self.arrivals.get(moved.move_id) if moved.across_partitions else None,
        )

    def _control(self, record: identity_pb.ControlRecord, before_us: int) -> Iterator[Fact]:
        if record.subject == subjects.control(self.tenant, "segment"):
            made = segments_pb.SegmentDefined.FromString(record.body)
            yield Defined(
                made.segment_id,
                made.segment_number,
                made.version,
                made.condition,
                before_us,
                made.zone,
                made.retired,
                made.list.follows_segment_id if made.HasField("list") else None,
            )
        elif record.subject == subjects.control(self.tenant, "list"):
            change = lists_pb2.ListChanged.FromString(record.body)
            if change.emptied:
                yield Listed(change.list_id, -1, False, before_us)
            for added, profiles in ((False, change.removed), (True, change.added)):
                for profile in profiles:
                    yield Listed(change.list_id, profile, added, before_us)
        elif record.subject == subjects.control(self.tenant, "catalogue"):
            for item in catalogue_pb2.CatalogueItemsSet.FromString(record.body).items:
                occur_us = item.occur_time.ToMicroseconds()
                properties = None if item.removed else _said(item.properties)
                yield Item(item.item_id, properties, occur_us, before_us)


def _log_us(fact: Fact) -> int:
    return fact.accept_us if isinstance(fact, Row | Assigned) else fact.at_us


def _pool(raw: bytes, ends: Sequence[int]) -> list[str]:
    return [raw[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]


def _value(kind: int, value: int, exponent: int, texts: list[str]) -> Value:
    if kind == _TEXT:
        return texts[value]
    if kind == _FLAG:
        return bool(value)
    return Instant(value) if kind == _TIME else Fraction(value, 10**exponent)


def _rows(columns: columns_pb2.EventColumns) -> Iterator[Row]:
    names = _pool(columns.name, columns.name_end)
    texts = _pool(columns.text, columns.text_end)
    begin = id_begin = 0
    for place, profile in enumerate(columns.profile):
        properties: dict[str, dict[int, Value]] = {}
        end = columns.prop_end[place]
        for at in range(begin, end):
            of = properties.setdefault(names[columns.prop_key[at]], {})
            given = columns.prop_kind[at], columns.prop_value[at], columns.prop_exponent[at]
            item = columns.prop_item[at] if columns.prop_item else 0
            of[item] = _value(*given, texts)
        begin, id_end = end, columns.event_id_end[place]
        yield Row(
            profile,
            columns.atom[place],
            columns.event_id[id_begin:id_end].decode(),
            names[columns.type[place]],
            columns.occur_time_us[place],
            columns.accept_time_us[place],
            properties,
            bool(columns.row_flags[place] & _IMPORTED) if columns.row_flags else False,
        )
        id_begin = id_end


def _assignments(columns: identity_pb.AttributesSet) -> Iterator[Assigned]:
    """Rows of one value stand behind one another, an element each."""
    names = _pool(columns.name, columns.name_end)
    texts = _pool(columns.text, columns.text_end)
    place = 0
    while place < len(columns.profile):
        values: list[Value] = []
        first = place
        while place == first or (place < len(columns.profile) and columns.item[place] > 0):
            kind = columns.kind[place]
            if kind:
                values.append(_value(kind, columns.value[place], columns.exponent[place], texts))
            place += 1
        yield Assigned(
            columns.profile[first],
            columns.atom[first],
            "",
            names[columns.key[first]],
            tuple(values) or None,
            columns.occur_time_us[first],
            columns.accept_time_us[first],
        )


def _said(properties: Sequence[event_pb2.Property]) -> dict[str, dict[int, Value]]:
    found: dict[str, dict[int, Value]] = {}
    for one in properties:
        of = found.setdefault(one.key, {})
        kind = one.WhichOneof("value")
        if kind == "decimal":
            of[one.item] = Fraction(one.decimal.units, 10**one.decimal.exponent)
        elif kind == "time_us":
            of[one.item] = Instant(one.time_us)
        elif kind == "flag":
            of[one.item] = one.flag
        elif kind == "text":
            of[one.item] = one.text
        elif kind is not None:
            of[one.item] = Fraction(str(getattr(one, kind)))
    return found

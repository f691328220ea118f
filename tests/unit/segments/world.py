"""A small world around one engine: friendly rules, rows in seconds, transitions as tuples."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from cli.conditions import read_condition
from cli.simulation.naive.facts import Assigned, Created, Linked, Row
from cli.simulation.naive.values import Value
from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as facts
from muster.types.v1 import common_pb2
from services.segments.engine.engine import Engine, EngineLimits, StepOutcome
from tests.support import encoding

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
Said = tuple[float, int, str, str, str]
"""(second, profile, segment, in or out, reason)."""


class World:
    """Times are seconds from `begin_us`; profiles exist from second 0."""

    def __init__(
        self,
        profiles: int = 1,
        begin_us: int = 1_000 * DAY,
        limits: EngineLimits | None = None,
        partition: int = 0,
        partitions: int = 1,
    ) -> None:
        self.engine = Engine(partition, partitions, limits or EngineLimits())
        self.begin_us = begin_us
        self.segments: list[str] = []
        self.versions: dict[str, int] = {}
        self.events = 0
        self.outcome: StepOutcome | None = None
        numbers = [p for p in range(profiles * partitions) if p % partitions == partition]
        born = [Created(p, 1_000 + p, p, begin_us) for p in numbers]
        self.engine.create_profiles(encoding.created_columns(born))

    def us(self, second: float) -> int:
        return self.begin_us + round(second * SECOND)

    def definition(self, segment: str, rule: Any, zone: str = "") -> facts.SegmentDefined:
        if segment not in self.segments:
            self.segments.append(segment)
        self.versions[segment] = self.versions.get(segment, 0) + 1
        made = facts.SegmentDefined(
            segment_id=segment,
            segment_number=self.segments.index(segment) + 1,
            version=self.versions[segment],
            zone=zone,
            retired=rule is None,
        )
        if rule is not None:
            made.condition.CopyFrom(read_condition(rule))
        return made

    def define(self, segment: str, rule: Any, at: float = 0, zone: str = "") -> None:
        self.engine.define(self.definition(segment, rule, zone), self.us(at))

    def event(
        self,
        at: float,
        kind: str = "order",
        profile: int = 0,
        accept: float | None = None,
        atom: int | None = None,
        imported: bool = False,
        **properties: Value | list[Value],
    ) -> None:
        self.events += 1
        values = {
            key.replace("__", "."): dict(enumerate(given if isinstance(given, list) else [given]))
            for key, given in properties.items()
        }
        row = Row(
            profile, profile if atom is None else atom, f"e{self.events}", kind, self.us(at),
            self.us(at if accept is None else accept), values, imported,
        )  # fmt: skip
        self.engine.add_events(encoding.event_columns([row]))

    def attribute(
        self, at: float, key: str, *values: Value, profile: int = 0, atom: int | None = None
    ) -> None:
        self.events += 1
        given = Assigned(
            profile, profile if atom is None else atom, f"a{self.events}", key, values or None,
            self.us(at), self.us(at),
        )  # fmt: skip
        self.engine.set_attributes(encoding.attribute_columns([given]))

    def link(self, at: float, kind: str, profile: int = 0, atom: int | None = None) -> None:
        number = profile if atom is None else atom
        one = Linked(number, profile, kind, f"{kind}-{number}", self.us(at))
        self.engine.link_identifiers(encoding.linked_columns([one]))

    def merge(
        self, at: float, source: int, target: int, atoms: list[int], merge: bool = True,
        move_id: int = 1,
    ) -> list[bytes]:  # fmt: skip
        return self.engine.move_atoms(
            identity.AtomsMoved(
                move_id=move_id, from_profile=source, to_profile=target, atom=atoms, merge=merge,
                move_time_us=self.us(at), cause_print_high=7, cause_print_low=8,
            )
        )  # fmt: skip

    def until(self, second: float) -> list[Said]:
        """Advances; what changed."""
        self.outcome = self.engine.advance(self.us(second))
        columns = self.outcome.transitions
        names = dict(enumerate(self.segments, 1))
        return [
            (
                (int(columns["at_us"][i]) - self.begin_us) / SECOND,
                int(columns["profile"][i]),
                names[int(columns["segment"][i])],
                "in" if columns["entered"][i] else "out",
                common_pb2.Reason.Name(int(columns["reason"][i])).removeprefix("REASON_").lower(),
            )
            for i in range(len(columns.get("at_us", ())))
        ]

    def members(self, segment: str) -> list[int]:
        """Members by cursor, which must be those from scratch."""
        found: list[int] = self.engine.members(segment).tolist()
        segment_state = self.engine.part.segments[segment]
        if segment_state.node is not None:
            definition = facts.SegmentDefined.FromString(segment_state.definition)
            plan = self.engine.compile(definition.condition, definition.zone)
            assert self.engine.select(plan).tolist() == found
        return found


def dec(text: str) -> Fraction:
    """An exact decimal."""
    return Fraction(text)

"""What is known of a world at one instant, by everyone who can say it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from cli.reading import EPOCH, MICROSECOND
from cli.simulation.witnesses import Witnesses
from muster.segments.v1 import facts_pb2 as segments_pb
from muster.types.v1 import common_pb2, condition_pb2
from services.segments.engine.asked.asof import PastUnknown, as_of, rules_at
from services.segments.engine.asked.questions import Reader
from services.segments.engine.engine import Engine


@dataclass(frozen=True)
class Said:
    """One published transition."""

    at_us: int
    segment_id: str
    profile: int
    entered: bool
    reason: str
    version: int
    ordinal: int


@dataclass
class Settled:
    """Engines at one instant, and everything said up to it."""

    at_us: int
    engines: list[Engine]
    said: list[Said]
    definitions: dict[str, segments_pb.SegmentDefined]
    witnesses: Witnesses

    def as_of(self, segment_id: str, at_us: int) -> dict[str, set[int]] | None:
        """Profile numbers as of an instant of the past, by what was published and by those who
        read the log again; None when there is no such segment."""
        if segment_id not in self.definitions:
            return None
        found = {
            "transitions": self._standing(segment_id, at_us),
            **self.witnesses.members(segment_id, at_us),
        }
        by_engine = self._by_engines(segment_id, at_us)
        return found if by_engine is None else {"as of": by_engine, **found}

    def _by_engines(self, segment_id: str, at_us: int) -> set[int] | None:
        """By the version, the lists, the items and the people of the instant; None when some of it
        was not kept."""
        found: set[int] = set()
        for engine in self.engines:
            part = engine.part
            one = rules_at(part, at_us, at_us).get(segment_id)
            if one is None or one.node is None:
                continue
            try:
                view = as_of(part, at_us, at_us, one.expression, at_us)
            except PastUnknown:
                return None
            rows = Reader(view).answer(one.expression).nonzero()[0]
            found |= {part.people.number_of(row) for row in rows.tolist()}
        return found

    def _standing(self, segment_id: str, at_us: int) -> set[int]:
        """Everyone who entered and has not left, by what was published."""
        standing: dict[int, bool] = {}
        for said in self.said:
            if said.segment_id == segment_id and said.at_us <= at_us:
                standing[said.profile] = said.entered
        return {profile for profile, entered in standing.items() if entered}

    def members(self, segment_id: str) -> dict[str, set[int]] | None:
        """Profile numbers by each reader; None when there is no such segment."""
        made = self.definitions.get(segment_id)
        if made is None:
            return None
        by_engine: set[int] = set()
        from_scratch: set[int] = set()
        for engine in [] if made.retired else self.engines:
            by_engine |= set(map(int, engine.members(segment_id)))
            rule = made.condition
            if made.HasField("list"):
                rule = condition_pb2.Condition(list={"list_id": segment_id})
            from_scratch |= set(map(int, engine.select(engine.compile(rule, made.zone))))
        return {
            "incremental": by_engine,
            "from scratch": from_scratch,
            "transitions": self._standing(segment_id, self.at_us),
            **self.witnesses.members(segment_id, self.at_us),
        }

    def disputed(self) -> Iterable[str]:
        """Transitions that were published and that the naive model would not have said, and the
        other way round. In one partition: a past that crosses partitions has its own time."""
        numbers = {made.segment_number: name for name, made in self.definitions.items()}
        naive = {
            (one.at_us, numbers[one.segment], one.profile, one.entered)
            for one in self.witnesses.transitions(self.at_us)
        }
        said = {(one.at_us, one.segment_id, one.profile, one.entered) for one in self.said}
        for who, found in (("was never published", naive - said), ("by nobody else", said - naive)):
            for at_us, segment_id, profile, entered in sorted(found):
                what = "entered" if entered else "left"
                yield f"{segment_id}: profile {profile} {what} at {instant_text(at_us)} {who}"


def reason_text(reason: int) -> str:
    """`event` for REASON_EVENT."""
    return common_pb2.Reason.Name(reason).removeprefix("REASON_").lower()


def instant_text(at_us: int) -> str:
    """ISO 8601 with Z."""
    moment: dt.datetime = EPOCH + at_us * MICROSECOND
    return moment.isoformat().replace("+00:00", "Z")

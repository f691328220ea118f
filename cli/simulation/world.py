"""A world in simulated time: events in, memberships out, by the cores that production runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from google.protobuf.message import Message

from cli.simulation.cores import (
    identity_core,
    ingest_core,
    print_of_identifier,
    print_of_request,
    printed,
    segments_core,
)
from cli.simulation.log_facts import LogFacts
from cli.simulation.settled import Said, Settled, instant_text, reason_text
from cli.simulation.streams import CutChoice, Stage, Streams, everything
from cli.simulation.witnesses import Witnesses
from muster.identity.v1 import facts_pb2 as identity_pb
from muster.ingest.v1 import catalogue_pb2
from muster.ingest.v1 import facts_pb2 as ingest_pb
from muster.segments.v1 import facts_pb2 as segments_pb
from muster.segments.v1 import lists_pb2
from muster.types.v1 import condition_pb2, event_pb2
from services.chassis import subjects
from services.segments.core import SegmentsCore
from services.segments.engine.engine import ConditionFaults

TENANT = "demo"
PUBLISHER = "case"


class Refused(Exception):
    """A rule that does not compile; says every fault with its path."""


class World:
    """Streams in memory, one ingest, one identity, an engine per partition.

    choose: how many waiting messages a step takes; with the default every message is one step,
    otherwise messages wait until something is asked, so that steps are cut as chosen.
    """

    def __init__(
        self, partitions: int = 1, start_us: int = 0, choose: CutChoice = everything
    ) -> None:
        self.time_us = start_us
        self.partitions = partitions
        self.streams = Streams()
        self.segments = [
            Stage(segments_core(TENANT, partition, partitions), self.streams, choose)
            for partition in range(partitions)
        ]
        self.stages = [
            Stage(ingest_core(TENANT), self.streams, choose),
            Stage(identity_core(TENANT, partitions), self.streams, choose),
            *self.segments,
        ]
        self.definitions: dict[str, segments_pb.SegmentDefined] = {}
        self._at_once = choose is everything
        self._tick(start_us)

    # What happens.

    def publish(self, events: Sequence[event_pb2.Event], at_us: int, import_id: str = "") -> int:
        """One message of a publisher arrives at an instant; its sequence in INTAKE."""
        batch = event_pb2.EventBatch(events=events, import_id=import_id)
        return self._append(subjects.INTAKE, subjects.intake(TENANT, PUBLISHER), at_us, batch)

    def define(
        self,
        segment_id: str,
        condition: condition_pb2.Condition,
        at_us: int,
        name: str = "",
        zone: str = "",
    ) -> None:
        """Defines a segment or its next version. Refused when it does not compile."""
        self.run_until(at_us)
        try:
            self._core(0).engine.compile(condition, zone)
        except ConditionFaults as faults:
            raise Refused("; ".join(f"{path}: {text}" for path, text in faults.faults)) from None
        made = self._version(segment_id)
        made.name, made.zone = name or segment_id, zone
        made.condition.CopyFrom(condition)
        self._control(made, at_us)

    def _version(self, segment_id: str) -> segments_pb.SegmentDefined:
        """The next version of a segment or list, or the first."""
        before = self.definitions.get(segment_id)
        return segments_pb.SegmentDefined(
            segment_id=segment_id,
            segment_number=before.segment_number if before else len(self.definitions) + 1,
            version=before.version + 1 if before else 1,
        )

    def keep_list(self, list_id: str, follows: str, at_us: int) -> None:
        """A list begins, or follows another segment from now on. Refused as a rule is."""
        self.run_until(at_us)
        made = self._version(list_id)
        made.condition.list.list_id = list_id
        made.list.follows_segment_id = follows
        made.list.SetInParent()
        try:
            self._core(0).engine.definitions.check(made)
        except ConditionFaults as faults:
            raise Refused("; ".join(f"{path}: {text}" for path, text in faults.faults)) from None
        self._control(made, at_us)

    def change_list(self, change: lists_pb2.ListChanged, at_us: int) -> None:
        """People are put into a list, or taken out. Refused when there is no such list."""
        known = self.definitions.get(change.list_id)
        if known is None or not known.HasField("list"):
            raise Refused(f"there is no list {change.list_id!r}")
        self._record("list", change, at_us)

    def set_catalogue(self, items: catalogue_pb2.CatalogueItemsSet, at_us: int) -> None:
        """Items of the catalogue change."""
        self._record("catalogue", items, at_us)

    def decide(
        self, identifiers: Sequence[Sequence[tuple[str, str]]], apart: bool, at_us: int
    ) -> None:
        """Somebody links people by hand, or takes the links between the first and others back."""
        request_id = f"decision-{len(self.streams.units[subjects.CONTROL]) + 1}"
        made = identity_pb.IdentityDecided(request_id=request_id, decide_time_us=at_us)
        made.print_high, made.print_low = print_of_request(request_id)
        named = [[printed(kind, value) for kind, value in of] for of in identifiers]
        if apart:
            for other in (one for of in named[1:] for one in of):
                for first in named[0]:
                    made.forbidden.pairs.add(first=first, second=other)
        else:
            made.asserted.identifiers.extend(one for of in named for one in of)
        self._record("identity", made, at_us)

    def retire(self, segment_id: str, at_us: int) -> None:
        """Takes a segment out of service. Refused when there is none."""
        before = self.definitions.get(segment_id)
        if before is None:
            raise Refused(f"there is no segment {segment_id!r}")
        self.run_until(at_us)
        made = segments_pb.SegmentDefined()
        made.CopyFrom(before)
        made.version += 1
        made.retired = True
        self._control(made, at_us)

    def run_until(self, at_us: int) -> None:
        """Lets time pass to an instant; everything that arrived by then is worked off."""
        self._tick(at_us)
        self._pump()

    def _control(self, made: segments_pb.SegmentDefined, at_us: int) -> None:
        made.define_time.FromMicroseconds(at_us)
        self.definitions[made.segment_id] = made
        self._record("segment", made, at_us)

    def _record(self, kind: str, message: Message, at_us: int) -> None:
        """A record takes effect where partitions stand, so they come there first."""
        self.run_until(at_us)
        self._append(subjects.CONTROL, subjects.control(TENANT, kind), at_us, message)
        self._tick(at_us)
        self._pump()

    def _tick(self, at_us: int) -> None:
        self._append(subjects.INTAKE, subjects.intake(TENANT, "tick"), at_us, None)

    def _append(self, stream: str, subject: str, at_us: int, message: Message | None) -> int:
        if at_us < self.time_us:
            raise ValueError(f"{instant_text(at_us)} lies before {instant_text(self.time_us)}")
        self.time_us = at_us
        body = b"" if message is None else message.SerializeToString()
        sequence = self.streams.append(stream, subject, at_us, (body,))
        if self._at_once:
            self._pump()
        return sequence

    def _pump(self) -> None:
        while any([stage.pump() for stage in self.stages]):  # noqa: C419 — every stage, each turn
            pass

    # What is known.

    @property
    def transitions(self) -> list[Said]:
        """Everything published so far, in order of (instant, segment, profile)."""
        self._pump()
        said: list[Said] = []
        for unit in self.streams.units[subjects.TRANSITIONS]:
            for body in unit.bodies:
                said += self._said(segments_pb.SegmentStep.FromString(body).transitions)
        return sorted(said, key=lambda t: (t.at_us, t.segment_id, t.profile))

    def _said(self, rows: segments_pb.TransitionColumns) -> Iterable[Said]:
        ids = {made.segment_number: made.segment_id for made in self.definitions.values()}
        for row, at_us in enumerate(rows.at_us):
            yield Said(
                at_us,
                ids[rows.segment[row]],
                rows.profile[row],
                bool(rows.entered[row]),
                reason_text(rows.reason[row]),
                rows.version[row],
                rows.ordinal[row],
            )

    def broken_promises(self) -> Iterable[str]:
        """What no case may ever show: instants before the step, ordinals with gaps, no alternation.

        Steps may share an instant: rules and pasts take effect at the time of the message before.
        """
        times: dict[str, int] = defaultdict(int)
        ordinals: dict[tuple[str, int], int] = defaultdict(int)
        for unit in self.streams.units[subjects.TRANSITIONS]:
            for body in unit.bodies:
                rows = segments_pb.SegmentStep.FromString(body).transitions
                for said in self._said(rows):
                    what = f"{said.segment_id}: {said.reason} of profile {said.profile}"
                    when = instant_text(said.at_us)
                    if not times[unit.subject] <= said.at_us <= unit.time_us:
                        step = instant_text(unit.time_us)
                        yield f"{what} at {when} was said in the step of {step}"
                    key = said.segment_id, said.profile
                    ordinals[key] += 1
                    if said.ordinal != ordinals[key] or said.entered != (said.ordinal % 2 == 1):
                        yield f"{what} at {when} has ordinal {said.ordinal}, entered {said.entered}"
            times[unit.subject] = unit.time_us

    def verdicts(self) -> dict[tuple[int, int], tuple[str, str]]:
        """(sequence in INTAKE, place in the batch) -> (duplicate or a refusal's code, detail)."""
        self._pump()
        found = {}
        for unit in self.streams.units[subjects.RECEIPTS]:
            for body in unit.bodies:
                for receipt in ingest_pb.ReceiptBatch.FromString(body).receipts:
                    for item in receipt.exceptions:
                        if item.verdict == ingest_pb.VERDICT_DUPLICATE:
                            found[receipt.intake_sequence, item.index] = ("duplicate", "")
                        elif item.verdict == ingest_pb.VERDICT_REJECTED:
                            found[receipt.intake_sequence, item.index] = (item.code, item.detail)
        return found

    def settle(self, at_us: int) -> Settled:
        """What is known when everything up to an instant is worked off in every partition.

        identity tells a partition the time every 100 ms; copies of the cores are taken to the very
        instant, so that the world itself goes on undisturbed.
        """
        self.run_until(at_us)
        engines, said = [], self.transitions
        for stage in self.segments:
            engine = _copy(cast("SegmentsCore", stage.core)).engine
            said += self._rest(engine.advance(at_us).transitions)
            engines.append(engine)
        said = [t for t in said if t.at_us <= at_us]
        said.sort(key=lambda t: (t.at_us, t.segment_id, t.profile, t.ordinal))
        witnesses = Witnesses(LogFacts(TENANT, self.streams).facts())
        return Settled(at_us, engines, said, dict(self.definitions), witnesses)

    def _rest(self, columns: dict[str, np.ndarray]) -> Iterable[Said]:
        """What a partition that was last touched a little earlier says by now."""
        plain = {
            name: value.tolist() if name not in ("entered", "reason", "row_flags") else bytes(value)
            for name, value in columns.items()
        }
        return self._said(segments_pb.TransitionColumns(**plain))

    def profiles_of(self, kind: str, value: str) -> list[int]:
        """Numbers of the profiles an identifier ever belonged to, in order; the last is now's."""
        self._pump()
        wanted = print_of_identifier(kind, value)
        found: dict[int, None] = {}
        atoms: set[int] = set()
        for entry in self._profile_entries():
            if entry.HasField("linked"):
                linked = entry.linked
                for row, profile in enumerate(linked.profile):
                    if tuple(linked.id_print[2 * row : 2 * row + 2]) == wanted:
                        atoms.add(linked.atom[row])
                        found.pop(profile, None)
                        found[profile] = None
            elif entry.HasField("moved") and atoms & set(entry.moved.atom):
                found.pop(entry.moved.to_profile, None)
                found[entry.moved.to_profile] = None
        return list(found)

    def _profile_entries(self) -> Iterable[identity_pb.ProfileEntry]:
        for unit in self.streams.units[subjects.PROFILES]:
            for body in unit.bodies:
                yield from identity_pb.ProfileStep.FromString(body).entries

    def counted(self) -> dict[str, int]:
        """Messages by stream, for a curious reader."""
        counts: dict[str, int] = defaultdict(int)
        for stream, units in self.streams.units.items():
            counts[stream] = len(units)
        return dict(counts)

    def _core(self, partition: int) -> SegmentsCore:
        return cast("SegmentsCore", self.segments[partition].core)


def _copy(core: SegmentsCore) -> SegmentsCore:
    """A core of its own with the same state, to look ahead with."""
    state = {name: memoryview(bytes(value)) for name, value in core.dump().items()}
    fresh = segments_core(core.tenant, core.partition, core.partitions)
    fresh.load(state)
    return fresh

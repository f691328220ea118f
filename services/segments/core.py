"""What a segments worker does with its log: profiles in, memberships that changed out.

It feeds the engine in log order and says what the engine says. A rule is built at the log time
reached before its message, after everything ahead of it has been said, whatever the cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from muster.identity.v1 import facts_pb2 as identity
from muster.ingest.v1 import catalogue_pb2
from muster.segments.v1 import cuts_pb2, lists_pb2
from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import common_pb2
from services.chassis import subjects
from services.chassis.core import Buffers, Facts, Message, Own, Source
from services.chassis.parking import timestamp
from services.segments.adapters import wire
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.asked.variants import VariantSet, variants_of
from services.segments.engine.engine import ENGINE_VERSION, Engine, EngineLimits

REFUSALS_MAX = 1_000
"""Refused rules remembered, so that whoever waits for one learns why it never came."""

TRANSITIONS = 0


class Live(NamedTuple):
    """A segment as the engine lives by it now."""

    number: int
    version: int
    members: int


class Control(NamedTuple):
    """What comes on a subject of CONTROL. code, hint: why a body that is none is parked, and what
    to do; take: what it changes, at an instant."""

    kind: type[Any]
    code: str
    hint: str
    take: Callable[[Any, int], None]


class Refused(Exception):
    """A record that is well formed and cannot be taken, with the reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class SegmentsCore:
    """One partition's memberships. Core of `services.chassis.core`."""

    version = 100 * ENGINE_VERSION + 2

    def __init__(
        self,
        tenant: str,
        partition: int,
        partitions: int,
        limits: EngineLimits | None = None,
    ) -> None:
        self.name = f"segments-{partition}"
        self.tenant = tenant
        self.partition = partition
        self.partitions = partitions
        self.engine = Engine(partition, partitions, limits or EngineLimits())
        self.live: dict[str, Live] = {}
        self.refused: dict[tuple[str, int], str] = {}
        self.variant_sets: dict[str, VariantSet] = {}
        self._variant_policy: dict[int, str] = {}
        self.steps = 0
        self.transitions = 0
        others = [other for other in range(partitions) if other != partition]
        profiles = Source(subjects.PROFILES, (subjects.profiles(tenant, partition),))
        history = Source(subjects.HISTORY, (subjects.history_to(tenant, partition),))
        self.sources: tuple[Source, ...] = (profiles, history) if others else (profiles,)
        self._history_place = {other: place for place, other in enumerate(others, TRANSITIONS + 1)}
        self._parked_place = len(others) + 1
        self.own: tuple[Own, ...] = (
            Own(subjects.TRANSITIONS, subjects.transitions(tenant, partition)),
            *(
                Own(subjects.HISTORY, subjects.history(tenant, other, partition))
                for other in others
            ),
            Own(subjects.PARKED, subjects.parked(tenant, "segments", partition)),
        )
        self._controls = {
            subjects.control(tenant, name): control for name, control in self._kinds().items()
        }
        self._feeds = {
            "created": lambda body: self.engine.create_profiles(wire.PROFILES_CREATED.decode(body)),
            "linked": lambda body: self.engine.link_identifiers(
                wire.IDENTIFIERS_LINKED.decode(body)
            ),
            "events": lambda body: self.engine.add_events(wire.EVENT_COLUMNS.decode(body)),
            "attributes": lambda body: self.engine.set_attributes(wire.ATTRIBUTES_SET.decode(body)),
        }

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        """Takes a cut of PROFILES (source 0) and HISTORY (source 1), in order."""
        facts = Facts()
        reached_us = self.engine.time_us
        for message in batch:
            if message.source:
                for target, body in self.engine.take_history(message.body):
                    self._export(target, [body], facts)
            else:
                self._take_profiles(message, reached_us, facts)
                reached_us = max(reached_us, message.time_us)
        self._advance(time_us, facts)
        self.steps += 1
        return facts

    def dump(self) -> Buffers:
        refused = [[*key, why] for key, why in self.refused.items()]
        own = {"steps": self.steps, "transitions": self.transitions, "refused": refused}
        own["variants"] = {name: asdict(one) for name, one in self.variant_sets.items()}
        state: dict[str, object] = {f"engine/{k}": v for k, v in self.engine.dump().items()}
        state["core"] = json.dumps(own).encode()
        return state  # type: ignore[return-value]

    def load(self, state: Mapping[str, memoryview]) -> None:
        own = json.loads(bytes(state["core"]))
        self.steps = own["steps"]
        self.transitions = own["transitions"]
        self.refused = {(segment, version): why for segment, version, why in own["refused"]}
        self.engine.load(
            {k.removeprefix("engine/"): v for k, v in state.items() if k.startswith("engine/")}
        )
        self.live = {
            one.segment_id: Live(one.number, one.version, one.members)
            for one in self.engine.segments()
            if not one.retired
        }
        self.variant_sets = {
            name: VariantSet(said["version"], tuple(map(tuple, said["rules"])), said["default"])
            for name, said in own.get("variants", {}).items()
        }
        for one in self.engine.segments():
            self._keep_variant_policy(segments.SegmentDefined.FromString(one.definition))

    def _take_profiles(self, message: Message, reached_us: int, facts: Facts) -> None:
        records: list[identity.ControlRecord] = []
        for kind, body in wire.entries_of(message.body):
            if kind == "control":
                record = identity.ControlRecord.FromString(body)
                if record.subject in self._controls:
                    records.append(record)
                continue
            self._define_all(records, reached_us, message.time_us, facts)
            records = []
            if kind == "moved":
                move = identity.AtomsMoved.FromString(body)
                target = subjects.partition_of(move.to_profile, self.partitions)
                self._export(target, self.engine.move_atoms(move), facts)
            else:
                self._feeds[kind](body)
        self._define_all(records, reached_us, message.time_us, facts)

    def _define_all(
        self, records: list[identity.ControlRecord], reached_us: int, time_us: int, facts: Facts
    ) -> None:
        """What lies ahead of the records is said first, then what they change, at one instant."""
        if records:
            self._advance(reached_us, facts)
            for record in records:
                self._control(record, reached_us, time_us, facts)
            self._advance(reached_us, facts)

    def _kinds(self) -> dict[str, Control]:
        """What comes on each subject of CONTROL that segments follows."""
        return {
            "segment": Control(
                segments.SegmentDefined, "malformed_definition",
                "publish definitions through DefineSegment", self._define,
            ),
            "list": Control(
                lists_pb2.ListChanged, "malformed_list_change",
                "change lists through ListsService", self._change_list,
            ),
            "catalogue": Control(
                catalogue_pb2.CatalogueItemsSet, "malformed_catalogue",
                "set items through ingest's door", self._set_catalogue,
            ),
            "cuts": Control(
                cuts_pb2.RfmCutsSet, "malformed_cuts", "only segments writes cuts", self._set_cuts
            ),
            "variant": Control(
                segments.VariantsDefined, "malformed_variants",
                "define sets through DefineVariants", self._define_variants,
            ),
        }  # fmt: skip

    def _control(
        self, record: identity.ControlRecord, at_us: int, time_us: int, facts: Facts
    ) -> None:
        """Takes a record of CONTROL; one that cannot be taken is parked."""
        control = self._controls[record.subject]
        try:
            control.take(control.kind.FromString(record.body), at_us)
        except DecodeError as error:
            detail = f"no {control.kind.__name__} ({error}); {control.hint}"
            self._park(record, control.code, detail, time_us, facts)
        except Refused as refused:
            self._park(record, refused.code, refused.detail, time_us, facts)

    def _define(self, definition: segments.SegmentDefined, at_us: int) -> None:
        try:
            self.engine.define(definition, at_us)
        except ConditionFaults as refusal:
            # The door lets no such rule in; somebody wrote to CONTROL past it.
            self.refused[definition.segment_id, definition.version] = str(refusal)
            while len(self.refused) > REFUSALS_MAX:
                del self.refused[next(iter(self.refused))]
            raise Refused("rule_refused", str(refusal)) from refusal
        self._keep_variant_policy(definition)
        if definition.retired:
            self.live.pop(definition.segment_id, None)
        else:
            number, version = definition.segment_number, definition.version
            self.live[definition.segment_id] = Live(number, version, 0)

    def _change_list(self, change: lists_pb2.ListChanged, at_us: int) -> None:
        if not self.engine.change_list(change, at_us):
            detail = f"there is no list {change.list_id!r}; define it first, through DefineList"
            raise Refused("no_such_list", detail)

    def _keep_variant_policy(self, definition: segments.SegmentDefined) -> None:
        """Which variant set the triggers of a segment name from now on."""
        self._variant_policy.pop(definition.segment_number, None)
        if definition.triggers.variant_set and not definition.retired:
            self._variant_policy[definition.segment_number] = definition.triggers.variant_set

    def _define_variants(self, given: segments.VariantsDefined, _: int) -> None:
        self.variant_sets.pop(given.variant_set_id, None)
        if not given.retired:
            rules = tuple((rule.segment_id, rule.variant) for rule in given.rules)
            made = VariantSet(given.version, rules, given.default_variant)
            self.variant_sets[given.variant_set_id] = made

    def _resolve_variants(self, transitions: dict[str, Any]) -> None:
        """Adds what the trigger policies' variant sets say of each transition."""
        sets = {
            number: self.variant_sets[name]
            for number, name in self._variant_policy.items()
            if name in self.variant_sets
        }
        found = variants_of(self.engine.part, sets, transitions) if sets else None
        if found is not None:
            transitions["variant"] = found

    def _set_catalogue(self, items: catalogue_pb2.CatalogueItemsSet, at_us: int) -> None:
        self.engine.set_catalogue(items, at_us)

    def _set_cuts(self, cuts: cuts_pb2.RfmCutsSet, at_us: int) -> None:
        self.engine.set_cuts(cuts, at_us)

    def _advance(self, time_us: int, facts: Facts) -> None:
        outcome = self.engine.advance(time_us)
        if outcome.transitions and self._variant_policy:
            self._resolve_variants(outcome.transitions)
        self.transitions += len(outcome.transitions.get("at_us", ()))
        for number, segment_id, version, members in outcome.sizes:
            if segment_id in self.live:
                self.live[segment_id] = Live(number, version, members)
        bodies = wire.step_bodies(outcome.transitions, outcome.activity, outcome.sizes)
        if bodies:
            facts.bodies.setdefault(TRANSITIONS, []).extend(bodies)

    def _export(self, target: int, bodies: Sequence[bytes], facts: Facts) -> None:
        if bodies:
            facts.bodies.setdefault(self._history_place[target], []).extend(bodies)

    def _park(
        self, record: identity.ControlRecord, code: str, detail: str, time_us: int, facts: Facts
    ) -> None:
        parked = common_pb2.Parked(
            service="segments",
            code=code,
            detail=detail,
            source_stream=subjects.CONTROL,
            source_sequence=record.control_sequence,
            source_subject=record.subject,
            body=record.body,
            park_time=timestamp(time_us),
        )
        facts.bodies.setdefault(self._parked_place, []).append(parked.SerializeToString())

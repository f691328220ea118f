"""Decides which transitions reach subscribers as triggers: reasons, re-entry, cool-down.

A row is judged by the policy of the very version that made it. Its definition is on CONTROL before
the row is on TRANSITIONS, but may reach us later: until then the rows of that segment are held, in
order. Triggers are committed atomically with the checkpoint, so each goes out once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import common_pb2
from services.chassis import subjects
from services.chassis.core import Buffers, Facts, Message, Own, Source
from services.chassis.parking import parked_body, timestamp
from services.segments.adapters import wire
from services.segments.adapters.cloud_events import cloud_headers
from services.segments.adapters.names import print_text, profile_id_text, transition_id

DEFAULT_REASONS = (
    common_pb2.REASON_EVENT,
    common_pb2.REASON_TIME,
    common_pb2.REASON_ATTRIBUTE,
    common_pb2.REASON_LIST_CHANGE,
)
HELD_ROWS_MAX = 1_000_000
"""Rows waiting for definitions; more means that CONTROL does not reach us: the process ends."""

TRIGGERS_PER_PART = 900
"""Triggers beside one message of the lead: what the worker commits in one atomic batch."""

SILENT = 1
TRIGGER_TYPE = "muster.segments.v1.SegmentTriggered"
_CONTROL = 1
_REASONS = 32


@dataclass(frozen=True, slots=True)
class Policy:
    """What one version of a segment lets out.

    reasons: numbers of Reason. cool_down_us: at most one entered per profile in this time, from one
    trigger to the next; a place is free again at exactly its end. reentry: False lets only the
    first entry of a profile out (ordinal 1: who was in before, even silently, is no newcomer).
    migrates_from: only who leaves that segment by the same cause at the same instant.
    """

    segment_id: str
    reasons: tuple[int, ...]
    cool_down_us: int
    reentry: bool
    migrates_from: str = ""
    shadow: bool = False


def policy_of(definition: segments.SegmentDefined) -> Policy:
    """The policy a definition states, with its defaults filled in; a shadow lets nothing out."""
    triggers = definition.triggers
    reasons = tuple(triggers.reasons) or DEFAULT_REASONS
    return Policy(
        segment_id=definition.segment_id,
        reasons=() if definition.shadow_of else reasons,
        cool_down_us=triggers.cool_down.ToMicroseconds(),
        reentry=triggers.reentry if triggers.HasField("reentry") else True,
        migrates_from=triggers.migrates_from,
        shadow=bool(definition.shadow_of),
    )


class RelayCore:
    """The triggers of one partition. Core of `services.chassis.core`."""

    version = 2

    def __init__(self, tenant: str, partition: int) -> None:
        self.name = f"relay-{partition}"
        self.tenant = tenant
        self.partition = partition
        self.sources: tuple[Source, ...] = (
            Source(subjects.TRANSITIONS, (subjects.transitions(tenant, partition),)),
            Source(subjects.CONTROL, (subjects.control(tenant, "segment"),), fenced=False),
        )
        self.own: tuple[Own, ...] = (
            Own(subjects.TRIGGERS, subjects.relay(tenant, partition)),
            Own(subjects.PARKED, subjects.parked(tenant, "relay", partition)),
        )
        self.policies: dict[tuple[int, int], Policy] = {}
        self.dense: dict[int, int] = {}
        self.rows = 0
        self.triggers = 0
        self._cooling: dict[int, dict[int, int]] = {}
        self._held: list[wire.Columns] = []
        self._source = f"/muster/{tenant}/segments/{partition}"

    @property
    def held_rows(self) -> int:
        """Rows that wait for their definition."""
        return sum(len(columns["at_us"]) for columns in self._held)

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        """Takes a cut: CONTROL (source 1) comes first, then TRANSITIONS (source 0)."""
        facts = Facts()
        arrived: list[wire.Columns] = []
        for message in batch:
            if message.source == _CONTROL:
                self._learn(message, time_us, facts)
            else:
                arrived.append(wire.transitions_of(message.body))
        waiting, self._held = self._held, []
        for columns in [*waiting, *arrived]:
            if len(columns["at_us"]):
                self._relay(columns, facts)
        if self.held_rows > HELD_ROWS_MAX:
            raise RuntimeError(
                f"{self.held_rows} transitions wait for definitions that CONTROL does not bring"
            )
        self._cool_off(time_us)
        for start in range(0, len(facts.batch), TRIGGERS_PER_PART):
            said = {"triggers": len(facts.batch[start : start + TRIGGERS_PER_PART])}
            facts.bodies.setdefault(0, []).append(json.dumps(said).encode())
        return facts

    def dump(self) -> Buffers:
        own = {
            "policies": [[*key, asdict(policy)] for key, policy in self.policies.items()],
            "dense": list(self.dense.items()),
            "cooling": [[n, list(since.items())] for n, since in self._cooling.items()],
            "counts": [self.rows, self.triggers],
        }
        state: dict[str, Any] = {"core": json.dumps(own).encode()}
        if self._held:
            state["held"] = wire.write_transitions(wire.joined_transitions(self._held))
        return state

    def load(self, state: Mapping[str, memoryview]) -> None:
        own = json.loads(bytes(state["core"]))
        self.policies = {
            (number, version): Policy(**{**values, "reasons": tuple(values["reasons"])})
            for number, version, values in own["policies"]
        }
        self.dense = dict(own["dense"])
        self._cooling = {number: dict(map(tuple, since)) for number, since in own["cooling"]}
        self.rows, self.triggers = own["counts"]
        held = state.get("held")
        self._held = [wire.read_transitions(bytes(held))] if held else []

    def _learn(self, message: Message, time_us: int, facts: Facts) -> None:
        try:
            definition = segments.SegmentDefined.FromString(message.body)
        except DecodeError as error:
            detail = f"not a SegmentDefined ({error}); publish definitions through DefineSegment"
            body = parked_body(self, message, time_us, "malformed_definition", detail)
            facts.bodies.setdefault(1, []).append(body)
            return
        key = definition.segment_number, definition.version
        self.policies[key] = policy_of(definition)

    def _relay(self, columns: wire.Columns, facts: Facts) -> None:
        versions = columns["segment"].astype(np.uint64) << np.uint64(32) | columns["version"]
        pairs, place = np.unique(versions, return_inverse=True)
        keys = [(int(pair) >> 32, int(pair) & 0xFFFFFFFF) for pair in pairs]
        unknown = {number for number, version in keys if (number, version) not in self.policies}
        unknown |= {int(n) for held in self._held for n in np.unique(held["segment"])}
        if any(number in unknown for number, _ in keys):
            waits = _waiting(columns, unknown)
            self._held.append(_chosen(columns, waits))
            columns = _chosen(columns, ~waits)
            if len(columns["at_us"]):
                self._relay(columns, facts)
            return
        self.rows += len(columns["at_us"])
        policies = [self.policies[key] for key in keys]
        lets_out = np.zeros((len(policies), _REASONS), bool)
        for row, policy in enumerate(policies):
            lets_out[row, list(policy.reasons)] = True
        first_only = np.array([not policy.reentry for policy in policies], bool)
        loud = lets_out[place, columns["reason"]] & (columns["row_flags"] & SILENT == 0)
        loud &= ~(first_only[place] & (columns["entered"] == 1) & (columns["ordinal"] > 1))
        starts = _group_starts(columns)
        groups = np.searchsorted(starts, np.flatnonzero(loud), side="right") - 1
        ends = [*starts[1:].tolist(), len(loud)]
        for row, group in zip(np.flatnonzero(loud).tolist(), groups.tolist(), strict=True):
            together = range(int(starts[group]), ends[group])
            moved = self._moved(columns, row, together) if len(together) > 1 else []
            self._emit(columns, row, policies[place[row]], moved, facts)

    def _moved(self, columns: wire.Columns, row: int, together: range) -> list[str]:
        """Segments that the same cause took the profile out of when it put it into one, or into
        when it took it out."""
        cause, entered = columns["cause_print"], columns["entered"]
        found = []
        for other in together:
            same = (cause[2 * other : 2 * other + 2] == cause[2 * row : 2 * row + 2]).all()
            silent = columns["row_flags"][other] & SILENT
            if same and not silent and entered[other] != entered[row]:
                key = int(columns["segment"][other]), int(columns["version"][other])
                if not self.policies[key].shadow:
                    found.append(self.policies[key].segment_id)
        return found

    def _emit(
        self, columns: wire.Columns, row: int, policy: Policy, moved: list[str], facts: Facts
    ) -> None:
        number = int(columns["segment"][row])
        profile = int(columns["profile"][row])
        at_us = int(columns["at_us"][row])
        entered = bool(columns["entered"][row])
        if entered and policy.migrates_from and policy.migrates_from not in moved:
            return
        if entered and policy.cool_down_us and self._cools(number, profile, at_us, policy):
            return
        self.dense[number] = self.dense.get(number, 0) + 1
        self.triggers += 1
        public_id = int(columns["public_id"][row])
        version, ordinal = int(columns["version"][row]), int(columns["ordinal"][row])
        cause = columns["cause_print"]
        trigger = segments.SegmentTriggered(
            trigger_id=transition_id(self.tenant, policy.segment_id, version, public_id, ordinal),
            tenant=self.tenant,
            segment_id=policy.segment_id,
            segment_version=version,
            profile_id=profile_id_text(public_id),
            profile_number=profile,
            direction=common_pb2.DIRECTION_ENTERED if entered else common_pb2.DIRECTION_LEFT,
            reason=int(columns["reason"][row]),  # type: ignore[arg-type]
            at_time=timestamp(at_us),
            dense_number=self.dense[number],
            ordinal=ordinal,
            partition=self.partition,
            variant=columns["variant"][row] if "variant" in columns else "",
            cause=print_text(int(cause[2 * row]), int(cause[2 * row + 1])),
            from_segment_ids=moved if entered else (),
            to_segment_ids=() if entered else moved,
        )
        headers = cloud_headers(
            trigger.trigger_id, TRIGGER_TYPE, self._source, policy.segment_id, at_us
        )
        subject = subjects.triggers(self.tenant, policy.segment_id)
        facts.batch.append((subject, trigger.SerializeToString(), headers))

    def _cools(self, number: int, profile: int, at_us: int, policy: Policy) -> bool:
        """Whether the profile still cools down; if not, it does from now on."""
        free_at = self._cooling.setdefault(number, {})
        if at_us < free_at.get(profile, at_us):
            return True
        free_at.pop(profile, None)
        free_at[profile] = at_us + policy.cool_down_us
        return False

    def _cool_off(self, time_us: int) -> None:
        """Forgets who is free again: rows to come lie at or after `time_us`, only held ones not."""
        if self._held:
            return
        for free_at in self._cooling.values():
            while free_at:
                profile, until_us = next(iter(free_at.items()))
                if until_us > time_us:
                    break
                del free_at[profile]


def _group_starts(columns: wire.Columns) -> np.ndarray:
    """First rows of what happened to one profile at one instant: rows stand in that order."""
    at, profile = columns["at_us"], columns["profile"]
    fresh = np.ones(len(at), bool)
    fresh[1:] = (at[1:] != at[:-1]) | (profile[1:] != profile[:-1])
    return np.flatnonzero(fresh)


def _waiting(columns: wire.Columns, unknown: set[int]) -> np.ndarray:
    """Rows that wait: those of unknown segments, what happened together with them, and then all of
    those segments, so that the order of none changes."""
    group = np.zeros(len(columns["at_us"]), np.int64)
    group[_group_starts(columns)] = 1
    group = np.cumsum(group) - 1
    waits = np.isin(columns["segment"], list(unknown))
    while True:
        together = np.isin(group, group[waits])
        wider = together | np.isin(columns["segment"], columns["segment"][together])
        if (wider == waits).all():
            return np.asarray(waits)
        waits = wider


def _chosen(columns: wire.Columns, rows: np.ndarray) -> wire.Columns:
    """The rows of a mask, in order."""
    return {
        name: column[np.repeat(rows, 2)] if name == "cause_print" else column[rows]
        for name, column in columns.items()
    }

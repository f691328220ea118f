"""What the identity worker does with its log: events and definitions in, ordered profiles out.

Canonical, the same for the same facts however they arrive: which identifiers stand together, and
each profile's public id. Not canonical: the dense numbers of profiles and atoms, and which earlier
ids resolve to a profile. A number keeps its profile as long as the fold allows; what late evidence
changes is said as moves of atoms, and as a number created once more when its public id changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from services.chassis import subjects
from services.chassis.columns import pool_of, pool_texts
from services.chassis.core import Appended, Buffers, Facts, Message, Own, Source
from services.identity.adapters import reading, wire
from services.identity.adapters.attribute_facts import ATTRIBUTES_TYPE, AttributeFacts
from services.identity.adapters.outbox import Outbox
from services.identity.domain.kinds import Kinds, Rules
from services.identity.engine import changes
from services.identity.engine.attributes import Attributes
from services.identity.engine.changes import Outcome, joined
from services.identity.engine.chronicle import Chronicle
from services.identity.engine.decisions import Decided, Decisions, rules_of
from services.identity.engine.evidence import Event
from services.identity.engine.matching import mark_new
from services.identity.engine.regions import Knowledge
from services.identity.engine.resolving import resolve
from services.identity.engine.shapes import (
    ROW_IDENTIFIERS_MAX,
    Joins,
    Limits,
    Rows,
    arrays_of,
    joins_for,
    limits_of,
)
from services.identity.engine.spare import Copy, Spare, fresh
from services.identity.engine.store import Store
from services.identity.engine.timeline import Timeline
from services.identity.engine.visits import Visits

TOUCH_US = 100_000
"""A partition that heard nothing for so much log time is told the time."""
TIMELINE_ROWS_MAX = 2_000_000
_NUMBERS = (
    "visit_count",
    "row_count",
    "run_count",
    "next_move",
    "id_order",
    "time_us",
    "touched_us",
)
"""Parts of a snapshot that are taken over as they stand."""
VISIT_SLACK = 4 * ROW_IDENTIFIERS_MAX
"""Room that rows decided one by one may need beside what the kernel needs."""


class IdentityCore:
    """All partitions of one tenant's profiles. Core of `services.chassis.core`."""

    name = "identity"
    version = 3

    def __init__(
        self,
        tenant: str,
        partitions: int,
        rules: Rules | None = None,
        timeline_rows_max: int = TIMELINE_ROWS_MAX,
    ) -> None:
        """timeline_rows_max: newest rows of the tenant that are found by profile."""
        self.partitions = partitions
        self.timeline_rows_max = timeline_rows_max
        self.rules = rules or Rules()
        self.decided_on = subjects.control(tenant, "identity")
        self.sources: tuple[Source, ...] = (
            Source(subjects.EVENTS, (subjects.events(tenant),)),
            Source(subjects.CONTROL, (subjects.control_of(tenant),), fenced=False),
        )
        self.own: tuple[Own, ...] = (
            *(
                Own(subjects.PROFILES, subjects.profiles(tenant, partition))
                for partition in range(partitions)
            ),
            Own(subjects.PARKED, subjects.parked(tenant, self.name)),
        )
        self._spare = Spare()
        self._begin(Kinds(self.rules))

    def _begin(self, kinds: Kinds) -> None:
        self.knowledge = Knowledge(Store(), kinds)
        self.visits = Visits(self.knowledge)
        self.attributes = Attributes()
        self.facts = AttributeFacts(self.store, self.attributes, self.partitions)
        self.chronicle = Chronicle()
        self.timeline = Timeline(self.timeline_rows_max)
        self.decisions = Decisions(self.visits)
        self.visit_count = 0
        self.row_count = 0
        self.run_count = 0
        self.next_move = 0
        self.id_order = 0
        self.time_us = 0
        self.touched_us = [0] * self.partitions
        self._limits_now: Limits | None = None

    @property
    def store(self) -> Store:
        return self.knowledge.store

    # -- one step ----------------------------------------------------------------------------

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        """Takes a cut of EVENTS (source 0) and CONTROL (source 1)."""
        told = self.next_move, self.id_order
        outbox = Outbox(self.store, self.knowledge.kinds, self.partitions, told)
        for message in batch:
            if message.source:
                outbox.control(message, time_us)
                if message.subject == self.decided_on:
                    self._take_decision(message, outbox)
            else:
                self._take_events(message, outbox)
        self.next_move, self.id_order = outbox.next_move, outbox.order
        self.time_us = time_us
        facts = Facts()
        for partition, entries in enumerate(outbox.entries):
            if entries:
                facts.bodies[partition] = wire.bodies_of(entries)
            elif time_us - self.touched_us[partition] >= TOUCH_US:
                facts.bodies[partition] = [b""]
            else:
                continue
            self.touched_us[partition] = time_us
        return facts

    def _take_events(self, message: Message, outbox: Outbox) -> None:
        columns = wire.EVENT_COLUMNS.decode(message.body)
        count = columns["rows"]
        if not count:
            return
        reading.check(columns)
        names = pool_texts(columns["name"], columns["name_end"])
        rows = reading.rows_of(columns, names, self.knowledge.kinds)
        self.row_count += count
        if self.knowledge.kinds.rules.patterns:
            self.store.reserve(1, VISIT_SLACK + 2 * len(rows.id_kind), len(columns["id_text"]), 0)
            mark_new(self.knowledge, rows, names)
        profiles, atoms = np.empty(count, np.int64), np.empty(count, np.int64)
        accepted = columns["accept_time_us"]
        said = at = 0

        def say(outcome: Outcome, event: Event, before: int) -> int:
            """Says moves that row `before` caused; how far rows are said then."""
            # A move stands at its instant: rows of earlier ones come before it in any case.
            earlier = said < before and accepted[said] < accepted[before]
            told = said
            if earlier or _concern(outcome.moves, profiles[said:before]):
                outbox.rows(message, columns, said, before, profiles, atoms)
                self.facts.set(columns, names, range(said, before), profiles, atoms, outbox)
                told = before
            self._move(outcome, event, changes.SPLIT, outbox)
            return told

        while at < count:
            at, decide, joins = self._resolved(at, rows, profiles, atoms, outbox)
            for outcome, row in joined(self.knowledge, joins):
                said = say(outcome, reading.cause_of(rows, row), row)
            if not decide:
                continue
            event = reading.event_of(rows, at)
            self.store.reserve(1, VISIT_SLACK, len(columns["id_text"]), len(event.event_id))
            outcome = self.visits.visit(event)
            self.visit_count += 1
            profiles[at], atoms[at] = outcome.profile, outcome.atom
            if outcome.moves:
                said = say(outcome, event, at)
            else:
                outbox.learn(outcome.linked, outcome.renamed)
            at += 1
        outbox.rows(message, columns, said, count, profiles, atoms)
        self.facts.set(columns, names, range(said, count), profiles, atoms, outbox)
        self.timeline.add(message.sequence, atoms)

    def _resolved(
        self, start: int, rows: Rows, profiles: np.ndarray, atoms: np.ndarray, outbox: Outbox
    ) -> tuple[int, bool, Joins]:
        """Resolves rows without Python: (row it stopped at, whether to decide that one, joins)."""
        store, left = self.store, len(rows.id_end) - start
        self.run_count += 1
        joins = joins_for(self.run_count)
        first = int(rows.id_end[start - 1]) if start else 0
        store.reserve(left, len(rows.id_kind) - first, len(rows.id_text), len(rows.event_id))
        renamed, former = np.empty(left, np.int64), np.empty(left, np.uint64)
        limits = self._limits()
        at, decide, renames = resolve(
            start, rows, arrays_of(store), limits, joins, profiles, atoms, renamed, former
        )
        if at < 0:
            raise ValueError(
                f"row {-1 - at} has no identifier, or more than {ROW_IDENTIFIERS_MAX} of them"
            )
        for number, public_id in zip(
            renamed[:renames].tolist(), former[:renames].tolist(), strict=True
        ):
            store.renamed(number, public_id)
        outbox.learn(renamed=renamed[:renames].tolist())
        return int(at), bool(decide), joins

    def _limits(self) -> Limits:
        """The rules for the kinds met so far."""
        kinds = self.knowledge.kinds
        known = self._limits_now
        if known is None or len(known.strength) != len(kinds.names):
            forbids = bool(self.knowledge.forbidden)
            known = self._limits_now = limits_of(kinds, forbids)
        return known

    def _take_decision(self, message: Message, outbox: Outbox) -> None:
        """A decision made by hand stands at the log time before this cut."""
        decided = reading.decided_of(message.body, self.knowledge.kinds, self.time_us)
        named = _named_by(decided)
        self.store.reserve(1 + named, VISIT_SLACK + 2 * named, len(message.body), 0)
        for outcome, otherwise in self.decisions.take(decided):
            self._limits_now = None
            if outcome.moves:
                self._move(outcome, decided.event, otherwise, outbox)
            else:
                outbox.learn(outcome.linked, outcome.renamed)
        outbox.tell_learnt()
        self.facts.ruled(self.decisions.attribute_rules, decided.event.time_us, outbox)

    def _move(self, outcome: Outcome, event: Event, otherwise: int, outbox: Outbox) -> None:
        """Says what moved, and remembers it. otherwise: what moves are that are no merges."""
        causes = [changes.cause_of(self.knowledge, move, otherwise) for move in outcome.moves]
        newest = self.decisions.attribute_rules.newest_at_merge()
        outbox.moves(outcome, event, causes, newest)
        public_ids = self.store.profiles["public_id"]
        for move, cause in zip(outcome.moves, causes, strict=True):
            ids = int(public_ids[move.source]), int(public_ids[move.target])
            numbers = move.source, move.target
            self.chronicle.add(cause, numbers, ids, event.time_us, event.event_id)
            others = None
            if move.ends:
                others = set(self.store.atoms_of(move.target)) - set(move.atoms)
            self.attributes.moved(move.atoms, *numbers, others, newest)
        changed = {n for move in outcome.moves for n in (move.source, move.target)}
        self.facts.moved(sorted(changed), event.time_us, outbox)

    # -- snapshots ---------------------------------------------------------------------------

    def dump(self) -> Buffers:
        """For a snapshot: what it hands out stands until the next dump."""
        return self._dumped(self._spare.copy)

    def copied(self) -> Buffers:
        """The same for somebody else, beside a snapshot that is being written."""
        return self._dumped(fresh)

    def _dumped(self, copy: Copy) -> Buffers:
        knowledge = self.knowledge
        own = {
            "kinds": knowledge.kinds.names,
            "stints": list(knowledge.stints.items()),
            "seen": [(e, list(seen.items())) for e, seen in knowledge.seen.items()],
            "further": list(knowledge.further.items()),
            "stale": list(knowledge.stale.items()),
            "left_out": self.visits.left_out,
            "decisions": self.decisions.dump(),
            "time_us": self.time_us,
            "visit_count": self.visit_count,
            "row_count": self.row_count,
            "run_count": self.run_count,
            "next_move": self.next_move,
            "id_order": self.id_order,
            "touched_us": self.touched_us,
        }
        state: dict[str, np.ndarray | bytes | Appended] = {"core": json.dumps(own).encode()}
        for part, dumped in (
            ("store", self.store.dump(copy)),
            ("attributes", self.attributes.dump(copy)),
            ("chronicle", self.chronicle.dump()),
            ("timeline", self.timeline.dump(copy)),
        ):
            state |= {f"{part}/{name}": value for name, value in dumped.items()}
        return state

    def load(self, state: Mapping[str, memoryview]) -> None:
        own = json.loads(bytes(state["core"]))
        decided = own["decisions"]
        # Rules that were never changed by a decision are those of the settings.
        rules = rules_of(decided) if decided["version"] > 1 else self.rules
        self._begin(Kinds(rules, own["kinds"]))
        self.decisions.load(decided)
        self.facts.rules = self.decisions.attribute_rules
        knowledge = self.knowledge
        knowledge.stints = {
            token: [(tuple(key), atom) for key, atom in stints] for token, stints in own["stints"]
        }
        knowledge.seen = {
            evidence: {tuple(key): changed for key, changed in seen}
            for evidence, seen in own["seen"]
        }
        knowledge.further = {token: list(atoms) for token, atoms in own["further"]}
        knowledge.stale = dict(own["stale"])
        self.visits.left_out = own["left_out"]
        for name in _NUMBERS:
            setattr(self, name, own[name])
        for part, loaded in (
            ("store/", self.store),
            ("attributes/", self.attributes),
            ("chronicle/", self.chronicle),
            ("timeline/", self.timeline),
        ):
            loaded.load({k.removeprefix(part): v for k, v in state.items() if k.startswith(part)})


def _concern(moves: Sequence[wire.Move], profiles: np.ndarray) -> bool:
    """Whether rows of these profiles stand on one side of a move only.

    Rows of others that arrived at the same instant may come after a move that was made behind them:
    nobody can tell, and a message stays in one piece.
    """
    numbers = {number for move in moves for number in (move.source, move.target)}
    return any(bool((profiles == number).any()) for number in numbers)


def _named_by(decided: Decided) -> int:
    """How many identifiers a decision names."""
    blocked = decided.rules[2] if decided.rules is not None else ()
    return 2 * len(decided.forbidden) + len(decided.event.named) + len(blocked)


def warm() -> None:
    """Compiles every kernel, or reads it from the cache, on tenants of its own."""
    name, name_end = pool_of(["user_id", "cookie", ATTRIBUTES_TYPE, "plan"])
    text, text_end = pool_of(["gold"])
    rows = 5
    body = wire.EVENT_COLUMNS.encode(
        {
            "rows": rows,
            "name": name,
            "name_end": name_end,
            "text": text,
            "text_end": text_end,
            "event_print": np.arange(1, 2 * rows + 1),
            "type": np.full(rows, 2),
            "occur_time_us": np.array([10, 20, 30, 5, 40]),
            "accept_time_us": np.full(rows, 50),
            # A cookie, another, a user with the first, the second seen earlier, both joined.
            "id_end": np.array([1, 2, 4, 5, 7]),
            "id_kind": np.array([1, 1, 0, 1, 1, 0, 1]),
            "id_print": np.array([1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3, 2, 2]),
            "id_text": b"abuabub",
            "id_text_end": np.arange(1, 8),
            "prop_end": np.arange(1, rows + 1),
            "prop_key": np.full(rows, 3),
            "prop_kind": np.ones(rows, np.uint8),
            "prop_value": np.zeros(rows),
            "prop_exponent": np.zeros(rows, np.uint8),
            "event_id": b"vwxyz",
            "event_id_end": np.arange(1, rows + 1),
            "row_flags": np.zeros(rows, np.uint8),
        }
    )
    for partitions in (1, 2):
        core = IdentityCore("warm", partitions)
        core.step([Message(0, "", 1, 50, body)], 50)
        core.store.profile_of_public_id(0)
        IdentityCore("warm", partitions).load(
            {k: memoryview(bytes(v)) for k, v in core.dump().items()}
        )

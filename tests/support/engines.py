"""Drives segments engines with a history, cut into steps at random; writes down what they say."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

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
    Transition,
)
from services.segments.engine.engine import Engine
from tests.support import encoding
from tests.support.histories import History

_BLOCKS: list[tuple[type, str, Callable[[Any], Any]]] = [
    (Created, "create_profiles", encoding.created_columns),
    (Linked, "link_identifiers", encoding.linked_columns),
    (Row, "add_events", encoding.event_columns),
    (Assigned, "set_attributes", encoding.attribute_columns),
]


@dataclass(frozen=True, order=True)
class Told:
    """One transition with what the engine says of its reason and cause."""

    transition: Transition
    reason: int
    cause: tuple[int, int]


@dataclass
class EngineRun:
    """Engines of all partitions of a history; `step` moves them to an instant."""

    history: History
    rng: random.Random
    engines: list[Engine] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    waiting: list[Fact] = field(default_factory=list)
    bodies: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        partitions = self.history.shape.partitions
        self.engines = [Engine(p, partitions) for p in range(partitions)]
        self.waiting = list(self.history.facts)

    def cuts(self, chance: float) -> list[int]:
        """Instants at which steps end: all pinned ones, others by chance, and the end."""
        pinned = self.history.pinned
        times = sorted({log_time(fact) for fact in self.history.facts} | pinned)
        chosen = {at_us for at_us in times if self.rng.random() < chance} | pinned
        for at_us, following in pairwise([*times, self.history.end_us]):
            if following > at_us + 1 and self.rng.random() < chance / 3:
                chosen.add(self.rng.randrange(at_us + 1, following))
        return sorted(chosen | {times[-1], self.history.end_us})

    def step(self, until_us: int) -> None:
        """Feeds everything accepted up to an instant and advances to it."""
        taken = []
        while self.waiting and log_time(self.waiting[0]) <= until_us:
            taken.append(self.waiting.pop(0))
        for partition, engine in enumerate(self.engines):
            self._feed(engine, partition, taken)
        for partition, engine in enumerate(self.engines):
            for body in [body for at, body in self.bodies[partition] if at == until_us]:
                forwarded = engine.take_history(body)
                assert not forwarded, "nothing moves on while it is in transit"
            outcome = engine.advance(until_us)
            self.told += transitions_of(outcome.transitions)

    def _feed(self, engine: Engine, partition: int, facts: list[Fact]) -> None:
        block: list[Fact] = []
        for fact in facts:
            if isinstance(fact, (Moved, Defined, Listed, Item)):
                self._feed_block(engine, block)
                block = []
                self._feed_single(engine, partition, fact)
            elif self._partition(fact.profile) == partition:
                block.append(fact)
        self._feed_block(engine, block)

    def _feed_block(self, engine: Engine, block: list[Fact]) -> None:
        for kind, method, columns in _BLOCKS:
            rows = [fact for fact in block if isinstance(fact, kind)]
            if rows:
                getattr(engine, method)(columns(rows))

    def _feed_single(
        self, engine: Engine, partition: int, fact: Moved | Defined | Listed | Item
    ) -> None:
        if isinstance(fact, Defined):
            engine.define(encoding.segment_defined(fact), fact.at_us)
            return
        if isinstance(fact, Listed):
            assert engine.change_list(encoding.list_changed(fact), fact.at_us)
            return
        if isinstance(fact, Item):
            engine.set_catalogue(encoding.items_set(fact), fact.at_us)
            return
        source, target = self._partition(fact.source), self._partition(fact.target)
        if partition not in (source, target):
            return
        if fact.arrive_us is not None and partition == target:
            self._introduce(engine, fact)
        bodies = engine.move_atoms(encoding.atoms_moved(fact))
        if bodies:
            assert fact.arrive_us is not None, "a past leaves only for another partition"
            assert partition == source
            self.bodies[target] += [(fact.arrive_us, body) for body in bodies]

    def _introduce(self, engine: Engine, move: Moved) -> None:
        """Tells another partition of the identifiers that come, as identity does before a move."""
        links = {f.atom: f for f in self.history.facts if isinstance(f, Linked)}
        coming = [replace(links[atom], profile=move.target) for atom in move.atoms]
        engine.link_identifiers(encoding.linked_columns(coming))

    def _partition(self, profile: int) -> int:
        return profile % self.history.shape.partitions


def transitions_of(columns: dict[str, Any]) -> list[Told]:
    """Rows of TransitionColumns, in their order."""
    told = []
    for row in range(len(columns.get("at_us", ()))):
        transition = Transition(
            int(columns["at_us"][row]),
            int(columns["profile"][row]),
            int(columns["segment"][row]),
            bool(columns["entered"][row]),
            int(columns["version"][row]),
            int(columns["ordinal"][row]),
        )
        high, low = (int(word) for word in columns["cause_print"][2 * row : 2 * row + 2])
        told.append(Told(transition, int(columns["reason"][row]), (high, low)))
    return told


def log_time(fact: Fact) -> int:
    """The instant at which the log has a fact."""
    return fact.accept_us if isinstance(fact, (Row, Assigned)) else fact.at_us

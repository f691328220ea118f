"""One step's facts in the making: what goes to which partition, in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from services.chassis.columns import Columns
from services.chassis.core import Message
from services.chassis.subjects import partition_of
from services.identity.adapters import wire
from services.identity.domain.kinds import Kinds
from services.identity.engine.changes import Outcome
from services.identity.engine.evidence import Event
from services.identity.engine.store import ATOMS, NONE, PROFILES, Store


class Outbox:
    """Entries per partition. What was learnt since the last rows goes before the next ones."""

    def __init__(self, store: Store, kinds: Kinds, partitions: int, told: tuple[int, int]) -> None:
        """told: number of the next move, place of the last thing that was said about ids."""
        self.entries: list[list[bytes]] = [[] for _ in range(partitions)]
        self.next_move, self.order = told
        self._store = store
        self._kinds = kinds
        self._partitions = partitions
        self._atoms = store.count(ATOMS)
        self._profiles = store.count(PROFILES)
        self._linked: list[tuple[np.ndarray, np.ndarray]] = []
        self._created: list[wire.Created] = []

    def control(self, message: Message, time_us: int) -> None:
        """A record of CONTROL goes to everybody, at its place."""
        record = wire.control_entry(message, time_us)
        for entries in self.entries:
            entries.append(record)

    def learn(self, linked: Sequence[int] = (), renamed: Sequence[int] = ()) -> None:
        """Notes new profiles and atoms as they stand now, and these older ones."""
        store = self._store
        atoms, profiles = store.count(ATOMS), store.count(PROFILES)
        if atoms > self._atoms or linked:
            new = np.arange(self._atoms, atoms)
            new = new[self._tellable(new)]
            older = np.array([a for a in dict.fromkeys(linked) if a < self._atoms], np.int64)
            chosen = np.concatenate([new, older[self._tellable(older)]])
            self._atoms = atoms
            self._linked.append((chosen, store.atoms["profile"][chosen].astype(np.int64)))
        if profiles > self._profiles or renamed:
            again = [number for number in dict.fromkeys(renamed) if number < self._profiles]
            numbers = np.concatenate(
                [np.arange(self._profiles, profiles), np.array(again, np.int64)]
            )
            self._profiles = profiles
            public_ids = store.profiles["public_id"][numbers]
            origins = store.profiles["origin"][numbers]
            anchors = store.evidence["anchor"][origins].astype(np.int64)
            former = self._former_ids(numbers, public_ids, len(again))
            self.order += bool(former.any())
            created = wire.Created(numbers, public_ids, former, anchors, self.order)
            self._created.append(created)

    def rows(
        self,
        message: Message,
        columns: Columns,
        start: int,
        end: int,
        profiles: np.ndarray,
        atoms: np.ndarray,
    ) -> None:
        """Rows [start, end) of a message, after what was learnt before them."""
        self.tell_learnt()
        if start == end:
            return
        whole = start == 0 and end == len(profiles) and self._partitions == 1
        one = wire.whole_events_entry(message.body, profiles, atoms) if whole else None
        if one is not None:
            self.entries[0].append(one)
            return
        chosen = np.arange(start, end)
        for partition, rows in self._by_partition(chosen, profiles[chosen]):
            self.entries[partition] += wire.events_entries(columns, rows, profiles, atoms)

    def attributes(
        self, columns: Columns, rows: np.ndarray, profiles: np.ndarray, atoms: np.ndarray
    ) -> None:
        """The attributes that these rows set, after the rows."""
        for partition, chosen in self._by_partition(rows, profiles[rows]):
            self.entries[partition] += wire.attributes_entries(columns, chosen, profiles, atoms)

    def corrections(self, columns: Columns) -> None:
        """Values said once more: columns of an AttributesSet, each to its profile's partition."""
        every = np.arange(len(columns["profile"]))
        for partition, chosen in self._by_partition(every, columns["profile"]):
            self.entries[partition] += wire.correction_entries(columns, chosen)

    def moves(
        self, outcome: Outcome, event: Event, causes: Sequence[int], newest: Collection[str]
    ) -> None:
        """Moves of atoms, each to the source's and the target's partition. causes: of each; newest:
        attributes whose newest value stands at a merge."""
        self.learn((*outcome.linked, *self._crossing(outcome)), outcome.renamed)
        self.tell_learnt()
        public_id = self._store.profiles["public_id"]
        for move, cause in zip(outcome.moves, causes, strict=True):
            source = partition_of(move.source, self._partitions)
            target = partition_of(move.target, self._partitions)
            across = source != target
            ids = int(public_id[move.source]), int(public_id[move.target])
            self.order += 1
            one = wire.moved_entry(
                move, self.next_move, event, cause, ids, self.order, across, newest
            )
            self.next_move += 1
            for partition in sorted({source, target}):
                self.entries[partition].append(one)

    def tell_learnt(self) -> None:
        """Says what was learnt: profiles, then identifiers."""
        for created in self._created:
            everybody = np.arange(len(created.numbers))
            for partition, at in self._by_partition(everybody, created.numbers):
                self.entries[partition] += wire.created_entries(self._store, created, at)
        for atoms, profiles in self._linked:
            for partition, at in self._by_partition(np.arange(len(atoms)), profiles):
                self.entries[partition] += wire.linked_entries(
                    self._store, self._kinds.names, atoms[at], profiles[at]
                )
        self._created, self._linked = [], []

    def _former_ids(self, numbers: np.ndarray, public_ids: np.ndarray, again: int) -> np.ndarray:
        """The ids that the last `again` numbers were told by; of a new number whose id another had,
        that id; else 0."""
        store, new = self._store, len(numbers) - again
        former = np.zeros(len(numbers), np.uint64)
        for place in range(new, len(numbers)):
            # Told before, with the id it has now, when an earlier outcome named it too.
            former[place] = store.renames.pop(int(numbers[place]), 0)
        first = int(numbers[0])
        for number in [n for n in store.revived | store.renames.keys() if 0 <= n - first < new]:
            former[number - first] = public_ids[number - first]
            store.renames.pop(number, None)
            store.revived.discard(number)
        return former

    def _tellable(self, atoms: np.ndarray) -> np.ndarray:
        """Which of these are identifiers that somebody holds; atoms for rows are not linked."""
        records = self._store.atoms[atoms]
        return (records["profile"] != NONE) & (records["identifier"] == atoms)

    def _crossing(self, outcome: Outcome) -> list[int]:
        """Identifiers that come into a partition that did not know them."""
        crossing = [
            atom
            for move in outcome.moves
            for atom in move.atoms
            if partition_of(move.source, self._partitions)
            != partition_of(move.target, self._partitions)
        ]
        atoms = np.array(crossing, np.int64)
        return [int(atom) for atom in atoms[self._tellable(atoms)]]

    def _by_partition(
        self, chosen: np.ndarray, profiles: np.ndarray
    ) -> list[tuple[int, np.ndarray]]:
        """(partition, those of `chosen` whose profile lives there), in order."""
        if self._partitions == 1:
            return [(0, chosen)] if len(chosen) else []
        partitions = profiles % self._partitions
        return [
            (int(partition), chosen[partitions == partition]) for partition in np.unique(partitions)
        ]

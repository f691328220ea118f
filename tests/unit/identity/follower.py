"""Reads PROFILES as a segments worker must: with the contract's messages, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from muster.identity.v1 import facts_pb2
from muster.types.v1 import columns_pb2
from services.chassis.core import PART_BYTES_MAX, Facts
from services.chassis.public_ids import text_of
from services.frequency.adapters.moves import Said, said_in
from tests.unit.identity.events import Happened, words_of


def texts(pool: bytes, ends: Sequence[int]) -> list[str]:
    found, start = [], 0
    for end in ends:
        found.append(pool[start:end].decode())
        start = end
    return found


def stand_in_print(kind: str, value: str) -> tuple[int, int]:
    """What tests/unit/identity/events.py prints."""
    return words_of(f"{kind} {value}")


@dataclass
class Followed:
    """What the partitions were told, with every rule of the stream checked on the way."""

    partitions: int
    print_of: Callable[[str, str], tuple[int, int]] = stand_in_print
    public_id: dict[int, int] = field(default_factory=dict)
    atom_of: dict[tuple[str, str], int] = field(default_factory=dict)
    ended: list[set[int]] = field(default_factory=list)
    rows: list[list[tuple[str, int, int]]] = field(default_factory=list)
    attributes: list[tuple] = field(default_factory=list)
    controls: list[list[bytes]] = field(default_factory=list)
    moves: dict[int, facts_pb2.AtomsMoved] = field(default_factory=dict)
    known: list[dict[int, int]] = field(default_factory=list)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    events_seen: list[columns_pb2.EventColumns] = field(default_factory=list)
    public_ids: set[int] = field(default_factory=set)
    """Every id that was ever said."""

    def __post_init__(self) -> None:
        self.rows = [[] for _ in range(self.partitions)]
        self.controls = [[] for _ in range(self.partitions)]
        self.known = [{} for _ in range(self.partitions)]
        self.ended = [set() for _ in range(self.partitions)]

    def take(self, facts: Facts) -> None:
        for partition, bodies in facts.bodies.items():
            assert partition < self.partitions
            for body in bodies:
                self.bodies.append((partition, body))
                assert len(body) <= PART_BYTES_MAX
                for entry in facts_pb2.ProfileStep.FromString(body).entries:
                    self.entry(partition, entry)

    def entry(self, partition: int, entry: facts_pb2.ProfileEntry) -> None:
        kind = entry.WhichOneof("entry")
        if kind == "created":
            self.created(partition, entry.created)
        elif kind == "linked":
            self.linked(partition, entry.linked)
        elif kind == "events":
            self.events_seen.append(entry.events)
            self.events(partition, entry.events)
        elif kind == "moved":
            self.moved(partition, entry.moved)
        elif kind == "attributes":
            self.set_attributes(partition, entry.attributes)
        else:
            assert kind == "control"
            self.controls[partition].append(entry.control.body)

    def created(self, partition: int, created: facts_pb2.ProfilesCreated) -> None:
        n = len(created.profile)
        assert n == len(created.public_id) == len(created.atom) == len(created.create_time_us) > 0
        for number, public_id in zip(created.profile, created.public_id, strict=True):
            assert number % self.partitions == partition
            assert number not in self.ended[partition], "a number never comes again after its end"
            self.public_id[number] = public_id
            self.public_ids.add(public_id)

    def linked(self, partition: int, linked: facts_pb2.IdentifiersLinked) -> None:
        kinds = texts(linked.kind, linked.kind_end)
        values = texts(linked.text, linked.text_end)
        assert len(linked.id_print) == 2 * len(kinds)
        for place, (atom, number) in enumerate(zip(linked.atom, linked.profile, strict=True)):
            identifier = kinds[place], values[place]
            printed = tuple(linked.id_print[2 * place : 2 * place + 2])
            assert printed == self.print_of(*identifier)
            assert number % self.partitions == partition
            self.known[partition][atom] = number
            assert self.atom_of.setdefault(identifier, atom) == atom

    def events(self, partition: int, events: columns_pb2.EventColumns) -> None:
        assert events.rows == len(events.profile) == len(events.atom) == len(events.type)
        for event_id, number, atom in zip(
            texts(events.event_id, events.event_id_end), events.profile, events.atom, strict=True
        ):
            assert number % self.partitions == partition
            assert number in self.public_id, "a profile is created before its rows"
            assert number not in self.ended[partition], "no rows after the end"
            # The atom for the rows of a push token is not linked.
            assert self.known[partition].setdefault(atom, number) == number
            self.rows[partition].append((event_id, number, atom))

    def set_attributes(self, partition: int, told: facts_pb2.AttributesSet) -> None:
        names = texts(told.name, told.name_end)
        pool = texts(told.text, told.text_end)
        for place, number in enumerate(told.profile):
            assert number % self.partitions == partition
            value = told.value[place]
            self.attributes.append(
                (
                    number,
                    told.atom[place],
                    names[told.key[place]],
                    pool[value] if told.kind[place] == 1 else value,
                    told.occur_time_us[place],
                )
            )

    def moved(self, partition: int, moved: facts_pb2.AtomsMoved) -> None:
        source = moved.from_profile % self.partitions
        target = moved.to_profile % self.partitions
        assert partition in (source, target)
        assert moved.across_partitions == (source != target)
        assert moved.cause_event_id and moved.atom
        assert self.moves.setdefault(moved.move_id, moved) == moved, "both hear the same"
        if partition == source:
            for atom in moved.atom:
                assert self.known[source].pop(atom, moved.from_profile) == moved.from_profile
            if moved.merge:
                assert moved.from_profile not in self.ended[source]
                assert moved.from_profile not in self.known[source].values()
                self.ended[source].add(moved.from_profile)
        if partition == target:
            for atom in moved.atom:
                self.known[target][atom] = moved.to_profile

    # -- what it comes to --------------------------------------------------------------------

    def ids_stand(self) -> None:
        """Who follows only what is said of ids knows them all: a living profile's id stands for
        itself, every other that was ever said leads to a living one."""
        newest: dict[str, Said] = {}
        for _, body in self.bodies:
            for one in said_in(body):
                if one.profile_id not in newest or one.at > newest[one.profile_id].at:
                    newest[one.profile_id] = one
        ended = set().union(*self.ended)
        living = {text_of(p) for number, p in self.public_id.items() if number not in ended}
        into = {one.profile_id: one.into for one in newest.values() if one.into}
        for public_id in self.public_ids:
            one, steps = text_of(public_id), 0
            if one in living:
                assert one not in into, "a living profile's id stands for itself"
            while one in into:
                one, steps = into[one], steps + 1
                assert steps <= len(into), "ids lead in a circle"
            assert one in living

    def profile_of(self) -> dict[int, int]:
        """Atom -> profile, now. Nothing stands under a number that ended or was never created."""
        assert sorted(self.moves) == list(range(len(self.moves))), "moves have no gap"
        self.ids_stand()
        found: dict[int, int] = {}
        for partition, known in enumerate(self.known):
            assert not known.keys() & found.keys(), "an atom stands in one partition"
            assert not set(known.values()) & self.ended[partition]
            assert set(known.values()) <= self.public_id.keys()
            found |= known
        return found

    def row_owners(self) -> dict[str, int]:
        """Event id -> public id of the profile its row stands under now."""
        profile_of = self.profile_of()
        return {
            event_id: self.public_id[profile_of[atom]]
            for rows in self.rows
            for event_id, _, atom in rows
        }

    def order(self, events: Sequence[Happened]) -> None:
        """Every row in exactly one partition, each partition in the order of the input."""
        place = {event.event_id: at for at, event in enumerate(events)}
        assert sorted(e for rows in self.rows for e, _, _ in rows) == sorted(place)
        for rows in self.rows:
            places = [place[event_id] for event_id, _, _ in rows]
            assert places == sorted(places)

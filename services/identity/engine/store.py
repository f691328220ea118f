"""Everything identity knows, in arrays that grow, and its way into a snapshot and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.chassis.core import Appended, roomy
from services.identity.engine import tables
from services.identity.engine.spare import Copy

NONE = 0xFFFFFFFF
"""No profile, no evidence, no atom."""

SHARED = 1
"""An identifier that is ignored as a whole."""
HANDED = 2
"""A push token that more than one known person held."""
VISIT = 1
"""Evidence that is decided in Python each time: it has a token that was handed on."""
UNTRUSTED = 2
"""Evidence of a publisher that may not join two known people."""
UNTRUSTED_SALT = 0x5851F42D4C957F2D
"""Sets of untrusted publishers are sets of their own: this goes into their print."""

SIGHTINGS_KEPT = 8
"""Latest sightings kept of a set with a push token that nobody disputes (256 B a set).

A dispute about the token that arrives later than this many sightings finds the first and the last
ones only: the holder at the end is exact, who held it between may depend on arrival.
"""

ATOM = np.dtype(
    [
        ("print_high", "u8"),
        ("print_low", "u8"),
        ("link_time_us", "i8"),
        ("profile", "u4"),
        ("evidence", "u4"),  # the set of this identifier alone
        ("identifier", "u4"),  # the atom it is, or whose rows it bears
        ("next", "u4"),  # next atom of the profile
        ("bears", "u4"),  # newest place in BEAR of this identifier
        ("kind", "u4"),
        ("degree", "u4"),  # identifiers of people it came with, counted per set: an upper bound
        ("flags", "u4"),
    ],
    align=True,
)
EVIDENCE = np.dtype(
    [
        ("time_us", "i8"),  # of the first event in canonical order, as are the next four
        ("word_0", "u8"),
        ("word_1", "u8"),
        ("print_high", "u8"),
        ("print_low", "u8"),
        ("set_high", "u8"),
        ("set_low", "u8"),
        ("event_at", "u8"),  # its event id among the ids, of sets only: place << 8 | bytes
        ("begin", "u4"),  # first place in BEAR; strongest identifier first
        ("anchor", "u4"),  # identifier whose owner the rows belong to
        ("sightings", "u4"),
        ("count", "u1"),
        ("flags", "u1"),
        ("left", "u1"),  # identifiers left out (at most 31) << 3 | why
        ("seen", "u1"),  # sightings held
        ("kept", "u8"),  # bit i: identifier i was kept
    ],
    align=True,
)
BEAR = np.dtype([("identifier", "u4"), ("evidence", "u4"), ("next", "u4")])
PROFILE = np.dtype(
    [
        ("public_id", "u8"),
        ("create_time_us", "i8"),  # log time
        ("last_time_us", "i8"),  # no evidence that touches it is newer
        ("kinds", "u8"),  # bit of each kind it holds; kinds from 63 on share the last
        ("origin", "u4"),  # evidence that first made it
        ("forward", "u4"),  # the profile it was absorbed by
        ("head", "u4"),  # newest atom
        ("size", "u4"),
        ("touched", "u4"),  # sets that name an identifier of it: an upper bound
        ("run", "u4"),  # the kernel's run that last made it, linked to it or joined it
    ],
    align=True,
)
SIGHTING = np.dtype([("time_us", "i8"), ("word_0", "u8"), ("word_1", "u8"), ("print_high", "u8")])

COUNTS = ("atoms", "evidence", "bears", "profiles", "sightings", "text", "event_ids")
ATOMS, EVIDENCES, BEARS, PROFILES, SIGHTINGS, TEXT, EVENT_IDS = range(len(COUNTS))


class Store:
    """The arrays. counts: how much of each is in use, in the order of COUNTS (int64)."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(COUNTS), np.int64)
        self.atoms = np.zeros(1 << 10, ATOM)
        self.evidence = np.zeros(1 << 10, EVIDENCE)
        self.bears = np.zeros(1 << 10, BEAR)
        self.profiles = np.zeros(1 << 10, PROFILE)
        self.sightings = np.zeros((16, SIGHTINGS_KEPT), SIGHTING)
        self.text = np.zeros(1 << 14, np.uint8)
        self.text_end = np.zeros(1 << 10, np.int64)
        self.event_ids = np.zeros(1 << 14, np.uint8)
        self.atom_slots = np.zeros(tables.SLOTS_MIN, np.uint64)
        self.set_slots = np.zeros(tables.SLOTS_MIN, np.uint64)
        self.public_slots = np.zeros(tables.SLOTS_MIN, np.uint64)
        self.public_indexed = 0
        self.public_entries = 0
        self.former_ids: dict[int, int] = {}
        self.renames: dict[int, int] = {}
        """Number -> the public id it was last told by, until the new one is told."""
        self.revived: set[int] = set()
        """New numbers whose public id another had, until they are told."""

    def count(self, which: int) -> int:
        return int(self.counts[which])

    def reserve(self, rows: int, identifiers: int, text_bytes: int, id_bytes: int) -> None:
        """Makes room for what so many rows can bring at most, so that kernels never grow."""
        atoms, evidence, bears, profiles, sightings, text, event_ids = self.counts.tolist()
        self.event_ids = _grown(self.event_ids, event_ids + id_bytes)
        self.atoms = _grown(self.atoms, atoms + 2 * identifiers + 1)
        self.text_end = _grown(self.text_end, len(self.atoms))
        self.evidence = _grown(self.evidence, evidence + rows + 1)
        self.bears = _grown(self.bears, bears + identifiers + 1)
        self.profiles = _grown(self.profiles, profiles + rows + 1)
        self.sightings = _grown(self.sightings, sightings + rows + 1)
        self.text = _grown(self.text, text + text_bytes)
        if 2 * (atoms + 2 * identifiers) > len(self.atom_slots):
            self.atom_slots = np.zeros(tables.slots_for(2 * (atoms + 2 * identifiers)), np.uint64)
            tables.put_first_prints(self.atom_slots, self.atoms, 0, atoms)
        if 2 * (evidence + rows) > len(self.set_slots):
            self.set_slots = np.zeros(tables.slots_for(2 * (evidence + rows)), np.uint64)
            tables.put_sets(self.set_slots, self.evidence, 0, evidence)

    # -- identifiers -------------------------------------------------------------------------

    def find_identifier(self, high: int, low: int) -> int | None:
        """The identifier of a print, or None."""
        number = int(
            tables.find_print(self.atom_slots, self.atoms, np.uint64(high), np.uint64(low))
        )
        return None if number < 0 else number

    def text_of(self, identifier: int) -> bytes:
        """The normalised value of an identifier."""
        start = int(self.text_end[identifier - 1]) if identifier else 0
        return bytes(self.text[start : int(self.text_end[identifier])])

    def add_identifier(self, high: int, low: int, kind: int, text: bytes, token: bool) -> int:
        """A new identifier that nobody holds. A token gets the atom for its rows next to it."""
        number = self._add_atom(high, low, kind, text)
        tables.put(self.atom_slots, np.uint64(high), np.uint64(low), number)
        if token:
            self.add_row_atom(number)
        return number

    def add_row_atom(self, token: int) -> int:
        """A further atom for the rows of a push token, without a profile."""
        record = self.atoms[token]
        number = self._add_atom(
            int(record["print_high"]), int(record["print_low"]), int(record["kind"]), b""
        )
        self.atoms["identifier"][number] = token
        return number

    def _add_atom(self, high: int, low: int, kind: int, text: bytes) -> int:
        number, at = self.count(ATOMS), self.count(TEXT)
        self.atoms = _grown(self.atoms, number + 1)
        self.text_end = _grown(self.text_end, len(self.atoms))
        self.text = _grown(self.text, at + len(text))
        atom = self.atoms[number]
        atom["print_high"], atom["print_low"], atom["kind"] = high, low, kind
        atom["profile"] = atom["evidence"] = atom["next"] = atom["bears"] = NONE
        atom["identifier"] = number
        atom["degree"] = atom["flags"] = atom["link_time_us"] = 0
        self.text[at : at + len(text)] = np.frombuffer(text, np.uint8)
        self.text_end[number] = at + len(text)
        self.counts[TEXT] += len(text)
        self.counts[ATOMS] += 1
        return number

    def note_event(self, evidence: int, event_id: bytes) -> None:
        """The event that a set of identifiers was first seen with."""
        at = self.count(EVENT_IDS)
        self.event_ids = _grown(self.event_ids, at + len(event_id))
        self.event_ids[at : at + len(event_id)] = np.frombuffer(event_id, np.uint8)
        self.evidence["event_at"][evidence] = at << 8 | len(event_id)
        self.counts[EVENT_IDS] += len(event_id)

    def event_of(self, evidence: int) -> bytes:
        """The id of the event that first showed a set of several identifiers."""
        at = int(self.evidence["event_at"][evidence])
        return bytes(self.event_ids[at >> 8 : (at >> 8) + (at & 0xFF)])

    # -- profiles ----------------------------------------------------------------------------

    def add_profile(self, time_us: int) -> int:
        """The next dense number, empty. time_us: log time of what makes it."""
        number = self.count(PROFILES)
        self.profiles = _grown(self.profiles, number + 1)
        profile = self.profiles[number]
        profile["forward"] = profile["head"] = profile["origin"] = NONE
        profile["size"] = profile["touched"] = profile["kinds"] = profile["public_id"] = 0
        profile["run"] = 0
        profile["last_time_us"] = -(1 << 63)
        profile["create_time_us"] = time_us
        self.counts[PROFILES] += 1
        return number

    def atoms_of(self, profile: int) -> list[int]:
        """Atoms of a profile, newest first."""
        found = []
        atom = int(self.profiles["head"][profile])
        following = self.atoms["next"]
        while atom != NONE:
            found.append(atom)
            atom = int(following[atom])
        return found

    def attach(self, atom: int, profile: int) -> None:
        """An atom without a profile gets one."""
        self.atoms["profile"][atom] = profile
        self.atoms["next"][atom] = self.profiles["head"][profile]
        self.profiles["head"][profile] = atom

    def detach(self, atom: int) -> None:
        """Takes an atom from its profile."""
        profile = int(self.atoms["profile"][atom])
        following = int(self.atoms["next"][atom])
        if int(self.profiles["head"][profile]) == atom:
            self.profiles["head"][profile] = following
        else:
            atoms = self.atoms_of(profile)
            self.atoms["next"][atoms[atoms.index(atom) - 1]] = following
        self.atoms["profile"][atom] = NONE

    def living(self, profile: int) -> int:
        """The profile that this number resolves to now."""
        forward = self.profiles["forward"]
        while int(forward[profile]) != NONE:
            profile = int(forward[profile])
        return profile

    def profile_of_public_id(self, public_id: int) -> int | None:
        """The number that bears this public id, or bore it when it ended."""
        return self.bearer_of(public_id, self.count(PROFILES))

    def bearer_of(self, public_id: int, profiles: int) -> int | None:
        """The same among the first so many numbers: all, or all but those not named yet."""
        self.public_entries += profiles - self.public_indexed
        if 2 * self.public_entries > len(self.public_slots):
            self.public_slots = np.zeros(tables.slots_for(2 * self.public_entries), np.uint64)
            self.public_indexed, self.public_entries = 0, profiles
        tables.put_public_ids(self.public_slots, self.profiles, self.public_indexed, profiles)
        self.public_indexed = profiles
        word = np.uint64(public_id)
        found = int(tables.find_public_id(self.public_slots, self.profiles, word, NONE))
        return self.former_ids.get(public_id) if found < 0 else found

    def renamed(self, profile: int, former_id: int) -> None:
        """A number got another public id (in `profiles`); the former one keeps resolving."""
        self.former_ids[former_id] = profile
        self.renames.setdefault(profile, former_id)
        if profile < self.public_indexed:
            # Its old slot stays behind and matches nothing.
            self.public_entries += 1
            if 2 * self.public_entries > len(self.public_slots):
                self.public_slots = np.zeros_like(self.public_slots)
                self.public_indexed = self.public_entries = 0
            else:
                word = self.profiles["public_id"][profile]
                tables.put(self.public_slots, word, word, profile)

    # -- snapshots ---------------------------------------------------------------------------

    def dump(self, copy: Copy) -> dict[str, np.ndarray | Appended]:
        """All that is in use; the tables are built anew from it. What only grows is handed out as
        it stands, what changes in place is copied."""
        atoms, evidence, bears, profiles, sightings, text, event_ids = self.counts.tolist()
        return {
            "counts": self.counts.copy(),
            "atoms": copy("atoms", self.atoms[:atoms]),
            "evidence": copy("evidence", self.evidence[:evidence]),
            "bears": Appended(self.bears[:bears]),
            "profiles": copy("profiles", self.profiles[:profiles]),
            "sightings": copy("sightings", self.sightings[:sightings]),
            "text": Appended(self.text[:text]),
            "text_end": Appended(self.text_end[:atoms]),
            "event_ids": Appended(self.event_ids[:event_ids]),
            "former_ids": np.array(list(self.former_ids.items()), np.uint64).reshape(-1, 2),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.counts = np.frombuffer(state["counts"], np.int64).copy()
        for name, dtype in (("atoms", ATOM), ("evidence", EVIDENCE), ("profiles", PROFILE)):
            setattr(self, name, np.frombuffer(state[name], dtype).copy())
        for name, kind in (
            ("bears", BEAR),
            ("text", np.uint8),
            ("text_end", np.int64),
            ("event_ids", np.uint8),
        ):
            setattr(self, name, roomy(state[name], kind))
        kept = np.frombuffer(state["sightings"], SIGHTING)
        self.sightings = kept.reshape(-1, SIGHTINGS_KEPT).copy()
        atoms, evidence = self.count(ATOMS), self.count(EVIDENCES)
        self.atom_slots = np.zeros(tables.slots_for(2 * atoms + 1), np.uint64)
        tables.put_first_prints(self.atom_slots, self.atoms, 0, atoms)
        self.set_slots = np.zeros(tables.slots_for(2 * evidence + 1), np.uint64)
        tables.put_sets(self.set_slots, self.evidence, 0, evidence)
        self.public_slots = np.zeros(tables.SLOTS_MIN, np.uint64)
        self.public_indexed = self.public_entries = 0
        former = np.frombuffer(state["former_ids"], np.uint64).reshape(-1, 2)
        self.former_ids = {int(public_id): int(number) for public_id, number in former}
        self.profile_of_public_id(0)


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    """The array with room for `size`, at least doubled when it was too small."""
    if len(array) >= size:
        return array
    grown = np.zeros((max(size, 2 * len(array)), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown

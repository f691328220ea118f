"""What an event changes in who stands where, and the atoms of push tokens that change hands."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from services.identity.domain import public_ids
from services.identity.domain.fold import Key
from services.identity.engine import evidence as taking
from services.identity.engine.regions import Knowledge
from services.identity.engine.store import NONE

_FIRST_KEY: Key = (-(1 << 63), 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Move:
    """Atoms that go from one number to another. ends: the source ends with it (a merge)."""

    source: int
    target: int
    atoms: tuple[int, ...]
    ends: bool


@dataclass(slots=True)
class Outcome:
    """Where a row belongs, and what changed before it. New numbers are the highest ones."""

    profile: int = 0
    atom: int = 0
    moves: list[Move] = field(default_factory=list)
    linked: list[int] = field(default_factory=list)
    unlinked: list[int] = field(default_factory=list)
    renamed: list[int] = field(default_factory=list)


def first_public_id(knowledge: Knowledge, evidence: int) -> int:
    """The public id of a profile that this evidence first made."""
    record = knowledge.store.evidence[evidence]
    return public_ids.derived(int(record["print_high"]), int(record["print_low"]))


def name(knowledge: Knowledge, number: int, public_id: int, origin: int, outcome: Outcome) -> None:
    """Gives a number its public id and origin; one that had another keeps resolving by it."""
    profiles = knowledge.store.profiles
    former = int(profiles["public_id"][number])
    new = int(profiles["origin"][number]) == NONE
    profiles["origin"][number] = origin
    if former != public_id:
        profiles["public_id"][number] = public_id
        if not new:
            knowledge.store.renamed(number, former)
            outcome.renamed.append(number)


def atoms_of_identifier(knowledge: Knowledge, identifier: int) -> list[int]:
    """The atoms of an identifier: itself, and for a disputed token one for each other holder."""
    return [identifier, *knowledge.further.get(identifier, ())]


def current_atom(knowledge: Knowledge, identifier: int) -> int:
    stints = knowledge.stints.get(identifier)
    return stints[-1][1] if stints else identifier


def atom_at(knowledge: Knowledge, identifier: int, key: Key) -> int:
    """The atom that stood for an identifier at a place of canonical order."""
    stints = knowledge.stints.get(identifier)
    if not stints:
        return identifier
    return stints[max(0, bisect_right([since for since, _ in stints], key) - 1)][1]


def further_atom(knowledge: Knowledge, token: int) -> int:
    """One more atom of a token, without a profile."""
    store = knowledge.store
    record = store.atoms[token]
    words = int(record["print_high"]), int(record["print_low"]), int(record["kind"])
    atom = store.add_atom(*words, b"", token)
    knowledge.further.setdefault(token, []).append(atom)
    return atom


def hand_on(knowledge: Knowledge, token: int, number: int, key: Key, time_us: int) -> list[int]:
    """A token goes to another known person, in canonical order; the atoms newly linked."""
    store = knowledge.store
    taking.dispute(knowledge, token)
    stints = knowledge.stints.setdefault(token, [(_FIRST_KEY, token)])
    for atom in atoms_of_identifier(knowledge, token):
        if int(store.atoms["profile"][atom]) == number:
            stints.append((key, atom))
            return []
    atom = further_atom(knowledge, token)
    taking.link(knowledge, atom, number, time_us)
    stints.append((key, atom))
    return [atom]


def settle_tokens(
    knowledge: Knowledge, timelines: dict[int, list[tuple[Key, int]]], targets: dict[int, int]
) -> None:
    """After a refold: the holders of tokens by number, as atoms. Adds their numbers to targets."""
    store = knowledge.store
    for token, timeline in sorted(timelines.items()):
        numbers = list(dict.fromkeys(number for _, number in timeline))
        if len(numbers) == 1 and token not in knowledge.stints:
            continue
        taking.dispute(knowledge, token)
        free = atoms_of_identifier(knowledge, token)
        atom_of: dict[int, int] = {}
        for atom in list(free):
            number = int(store.atoms["profile"][atom])
            if number in numbers and number not in atom_of:
                atom_of[number] = atom
                free.remove(atom)
        for number in numbers:
            if number not in atom_of:
                atom_of[number] = free.pop(0) if free else further_atom(knowledge, token)
        knowledge.stints[token] = [(key, atom_of[number]) for key, number in timeline]
        targets |= {atom: number for number, atom in atom_of.items()}
        targets |= dict.fromkeys(free, timeline[-1][1])

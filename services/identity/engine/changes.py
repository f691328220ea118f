"""What an event changes in who stands where, and the atoms of push tokens that change hands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.identity.domain import public_ids
from services.identity.domain.fold import Key
from services.identity.engine import evidence as taking
from services.identity.engine.evidence import Event
from services.identity.engine.regions import Knowledge
from services.identity.engine.shapes import Joins, kind_bit
from services.identity.engine.store import NONE

_FIRST_KEY: Key = (-(1 << 63), 0, 0, 0)

MERGE, SPLIT, HAND_OVER, UNMERGE, RULES = range(1, 6)
"""Why atoms move, numbered as in muster.identity.v1.MoveCause."""


@dataclass(frozen=True, slots=True)
class Move:
    """Atoms that go from one number to another. ends: the source ends with it (a merge).

    Otherwise a split, or a push token handed on (its rows have an atom of their own and stay).
    """

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
    renamed: list[int] = field(default_factory=list)


def cause_of(knowledge: Knowledge, move: Move, otherwise: int) -> int:
    """Why a move happens. otherwise: what it is when it is no merge: SPLIT, UNMERGE or RULES."""
    if move.ends:
        return MERGE
    identifier = knowledge.store.atoms["identifier"]
    rows_stay = all(
        knowledge.is_token(atom) and int(identifier[atom]) == atom for atom in move.atoms
    )
    return HAND_OVER if rows_stay and otherwise == SPLIT else otherwise


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
    if new and knowledge.store.bearer_of(public_id, number) is not None:
        knowledge.store.revived.add(number)
    if former != public_id:
        profiles["public_id"][number] = public_id
        if not new:
            knowledge.store.renamed(number, former)
            outcome.renamed.append(number)


def row_atoms(knowledge: Knowledge, identifier: int) -> list[int]:
    """The atoms that rows of an identifier may have: itself, or those kept for a token's rows."""
    if not knowledge.is_token(identifier):
        return [identifier]
    return [identifier + 1, *knowledge.further.get(identifier, ())]


def atom_at(knowledge: Knowledge, identifier: int, key: Key) -> int:
    """The atom that a row gets whose strongest identifier this is."""
    stints = knowledge.stints.get(identifier)
    if stints:
        return stints[max(0, bisect_right([since for since, _ in stints], key) - 1)][1]
    return row_atoms(knowledge, identifier)[0]


def further_atom(knowledge: Knowledge, token: int) -> int:
    """One more atom for the rows of a token, without a profile."""
    atom = knowledge.store.add_row_atom(token)
    knowledge.further.setdefault(token, []).append(atom)
    return atom


def link(
    knowledge: Knowledge, identifier: int, number: int, event: Event, outcome: Outcome
) -> None:
    """An identifier that nobody holds goes to a profile."""
    store = knowledge.store
    store.attach(identifier, number)
    store.atoms["link_time_us"][identifier] = event.time_us
    store.profiles["size"][number] += 1
    store.profiles["kinds"][number] |= kind_bit(int(store.atoms["kind"][identifier]))
    tell_link(knowledge, identifier, number, outcome)
    if knowledge.is_token(identifier):
        atom = _row_atom_of(knowledge, identifier, number, outcome)
        if identifier in knowledge.stints:
            knowledge.stints[identifier].append((event.key, atom))


def tell_link(knowledge: Knowledge, atom: int, number: int, outcome: Outcome) -> None:
    """Says that a profile has an atom; as a move when it was said of another before."""
    told = knowledge.stale.pop(atom, number)
    if told == number:
        outcome.linked.append(atom)
    else:
        outcome.moves.append(Move(told, number, (atom,), ends=False))


def stale_of(knowledge: Knowledge, source: int, target: int) -> list[int]:
    """Atoms nobody has that were last said to be of a profile that ends: they follow it."""
    found = [atom for atom, told in knowledge.stale.items() if told == source]
    knowledge.stale |= dict.fromkeys(found, target)
    return found


def joined(knowledge: Knowledge, joins: Joins) -> Iterator[tuple[Outcome, int]]:
    """What the kernel joined, in order: (outcome, row that joined them)."""
    start = 0
    for place in range(int(joins.count[0])):
        source, target = int(joins.source[place]), int(joins.target[place])
        end = int(joins.atom_end[place])
        atoms = joins.atom[start:end].tolist() + stale_of(knowledge, source, target)
        start = end
        move = Move(source, target, tuple(sorted(atoms)), ends=True)
        yield Outcome(moves=[move]), int(joins.row[place])


def hand_on(knowledge: Knowledge, token: int, number: int, event: Event, outcome: Outcome) -> None:
    """A token goes to another known person, in canonical order; its rows so far stay."""
    store = knowledge.store
    taking.dispute(knowledge, token)
    source = int(store.atoms["profile"][token])
    store.detach(token)
    store.attach(token, number)
    stints = knowledge.stints.setdefault(token, [(_FIRST_KEY, token + 1)])
    stints.append((event.key, _row_atom_of(knowledge, token, number, outcome)))
    store.profiles["kinds"][number] |= kind_bit(int(store.atoms["kind"][token]))
    store.profiles["size"][number] = len(knowledge.held(number))
    outcome.moves.append(Move(source, number, (token,), ends=False))


def settle_tokens(
    knowledge: Knowledge, timelines: dict[int, list[tuple[Key, int]]], targets: dict[int, int]
) -> None:
    """After a refold: the holders of tokens by number, as atoms. Adds their numbers to targets."""
    store = knowledge.store
    for token, timeline in sorted(timelines.items()):
        numbers = list(dict.fromkeys(number for _, number in timeline))
        last = timeline[-1][1]
        free = row_atoms(knowledge, token)
        if len(numbers) > 1 or token in knowledge.stints:
            taking.dispute(knowledge, token)
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
        targets |= dict.fromkeys([token, *free], last)


def _row_atom_of(knowledge: Knowledge, token: int, number: int, outcome: Outcome) -> int:
    """The atom for a token's rows while a profile holds it: one it has, one nobody has, or new."""
    store = knowledge.store
    atoms = row_atoms(knowledge, token)
    for wanted in (number, NONE):
        for atom in atoms:
            if int(store.atoms["profile"][atom]) == wanted:
                if wanted == NONE:
                    store.attach(atom, number)
                    tell_link(knowledge, atom, number, outcome)
                return atom
    atom = further_atom(knowledge, token)
    store.attach(atom, number)
    return atom

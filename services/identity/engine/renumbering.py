"""A region folded again becomes numbers: who keeps which, and what has to move for it."""

from __future__ import annotations

from collections import defaultdict

from services.identity.domain import public_ids
from services.identity.domain.fold import Group, Key
from services.identity.domain.settle import Carried, settle
from services.identity.engine import changes
from services.identity.engine.changes import Move, Outcome
from services.identity.engine.regions import Knowledge, Region
from services.identity.engine.shapes import kind_bit
from services.identity.engine.store import NONE


def renumber(
    knowledge: Knowledge, region: Region, alone: list[int], time_us: int, outcome: Outcome
) -> list[Group]:
    """Moves atoms so that every group of the region has a number of its own; the groups.

    alone: identifiers of the region that have just become shared; each is a profile by itself.
    """
    store = knowledge.store
    groups = region.groups()
    public = [changes.first_public_id(knowledge, group.evidence) for group in groups]
    for identifier in alone:
        groups.append(lone_group(knowledge, identifier))
        public.append(lone_public_id(knowledge, identifier, groups[-1].evidence))
    standing = {
        number: Carried(int(store.profiles["public_id"][number]), knowledge.held(number))
        for number in sorted(owner for owner in region.core if owner >= 0)
    }
    carried = [Carried(p, group.ever) for p, group in zip(public, groups, strict=True)]
    settlement = settle(carried, standing)
    targets: dict[int, int] = {}
    for place, group in enumerate(groups):
        kept = settlement.numbers[place]
        group.number = store.add_profile(time_us) if kept is None else kept
        changes.name(knowledge, group.number, public[place], group.evidence, outcome)
        targets |= dict.fromkeys(group.ever, group.number)
    for identifier in region.core_ids:
        target = targets.setdefault(identifier, NONE)
        targets |= dict.fromkeys(changes.row_atoms(knowledge, identifier), target)
    changes.settle_tokens(knowledge, _timelines(region), targets)
    for identifier in alone:
        knowledge.stints.pop(identifier, None)
        atoms = changes.row_atoms(knowledge, identifier)
        targets |= dict.fromkeys(atoms, targets[identifier])
    heirs = {n: groups[place].number or 0 for n, place in settlement.ended.items()}
    _move(knowledge, targets, set(standing), heirs, time_us, outcome)
    return groups


def lone_group(knowledge: Knowledge, identifier: int) -> Group:
    """A shared identifier by itself: made by the first event that has it."""
    origin = min(knowledge.bearing(identifier), key=knowledge.key)
    group = Group(knowledge.key(origin), origin)
    group.add(identifier, int(knowledge.store.atoms["kind"][identifier]), knowledge.kinds)
    return group


def lone_public_id(knowledge: Knowledge, identifier: int, origin: int) -> int:
    """Apart from the id of the profile that the same event made of its other identifiers."""
    salt = public_ids.mixed(int(knowledge.store.atoms["print_low"][identifier]))
    return public_ids.mixed(changes.first_public_id(knowledge, origin) ^ salt)


def _timelines(region: Region) -> dict[int, list[tuple[Key, int]]]:
    """Tokens of the core -> their holders by number, in order."""
    return {
        token: [(key, group.root().number or 0) for key, group in timeline]
        for token, timeline in region.state.timelines.items()
        if token in region.core_ids
    }


def _move(
    knowledge: Knowledge,
    targets: dict[int, int],
    standing: set[int],
    heirs: dict[int, int],
    time_us: int,
    outcome: Outcome,
) -> None:
    """Sends atoms to their targets; numbers that are left without atoms end."""
    store = knowledge.store
    pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for atom, target in sorted(targets.items()):
        source = int(store.atoms["profile"][atom])
        if source == target:
            continue
        store.atoms["profile"][atom] = target
        if source != NONE and target != NONE:
            pairs[source, target].append(atom)
        elif target == NONE:
            knowledge.stale[atom] = source
        else:
            store.atoms["link_time_us"][atom] = time_us
            changes.tell_link(knowledge, atom, target, outcome)
    ended = {}
    for number in sorted(standing - set(targets.values())):
        target = heirs.get(number, NONE)
        if (number, target) not in pairs:
            target = max(
                (p for p in pairs if p[0] == number),
                key=lambda p: len(pairs[p]),
                default=(number, _company(knowledge, number)),
            )[1]
            pairs.setdefault((number, target), [])
        ended[number] = target
    for source, target in sorted(pairs, key=lambda p: (p[0], ended.get(p[0]) == p[1], p[1])):
        ends = ended.get(source) == target
        atoms = pairs[source, target]
        if ends:
            atoms = sorted([*atoms, *changes.stale_of(knowledge, source, target)])
        outcome.moves.append(Move(source, target, tuple(atoms), ends))
    _rechain(knowledge, standing | set(targets.values()), targets)
    for number, target in ended.items():
        store.profiles["forward"][number] = target


def _company(knowledge: Knowledge, number: int) -> int:
    """Whom a profile ends in of which nobody holds anything any more.

    It was that of an identifier ignored as a whole, which no rule ignores now and every event that
    has it leaves out: the profile of the first such event.
    """
    origin = int(knowledge.store.profiles["origin"][number])
    return knowledge.owner(int(knowledge.store.evidence["anchor"][origin]))


def _rechain(knowledge: Knowledge, numbers: set[int], targets: dict[int, int]) -> None:
    """Lists the atoms of each number anew; all of them are among the targets."""
    store = knowledge.store
    atoms_of: dict[int, list[int]] = defaultdict(list)
    for atom, target in sorted(targets.items()):
        atoms_of[target].append(atom)
    for number in numbers - {NONE}:
        record = store.profiles[number]
        record["head"], record["kinds"] = NONE, 0
        atoms = atoms_of[number]
        for atom in atoms:
            store.atoms["next"][atom] = record["head"]
            record["head"] = atom
            record["kinds"] |= kind_bit(int(store.atoms["kind"][atom]))
        record["size"] = len({int(store.atoms["identifier"][atom]) for atom in atoms})

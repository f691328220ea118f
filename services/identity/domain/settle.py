"""Which number carries which group, so that as little as possible moves.

The fold says who stands together; dense numbers are ours to give. A group keeps the number that
bears its public id, else the one most of its atoms live under; what is left over gets new numbers;
a number that no group carries ends.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Carried:
    """A group as it should be, or a number as it stands: its public id and identifiers."""

    public_id: int
    ids: Set[int]


@dataclass(frozen=True, slots=True)
class Settlement:
    """numbers: place of a group -> the number it keeps, None for a new one.

    ended: number -> place of the group it resolves to from now on.
    """

    numbers: list[int | None]
    ended: dict[int, int]


def settle(groups: Sequence[Carried], standing: Mapping[int, Carried]) -> Settlement:
    """Matches groups with numbers; the same arguments give the same answer, in any order of dicts.

    Each standing number shares at least one identifier with some group.
    """
    bearers: dict[int, list[int]] = defaultdict(list)
    for number, stood in standing.items():
        for identifier in stood.ids:
            bearers[identifier].append(number)
    offers = []
    for place, group in enumerate(groups):
        shared = Counter(number for i in group.ids for number in bearers.get(i, ()))
        for number, count in shared.items():
            other_id = group.public_id != standing[number].public_id
            offers.append((other_id, -count, number, place))
    offers.sort()
    numbers: list[int | None] = [None] * len(groups)
    taken: set[int] = set()
    heirs: dict[int, tuple[bool, int, int, int]] = {}
    for offer in offers:
        number, place = offer[2], offer[3]
        heirs.setdefault(number, offer)
        if numbers[place] is None and number not in taken:
            numbers[place] = number
            taken.add(number)
    ended = {number: offer[3] for number, offer in heirs.items() if number not in taken}
    return Settlement(numbers, ended)

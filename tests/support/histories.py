"""Random histories from one seed: disorder, late and future rows, equal instants, moves, rules.

Times stand on a grid, so that windows end exactly where something else happens.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

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
)
from cli.simulation.naive.values import Instant, Value
from muster.types.v1 import condition_pb2 as pb
from tests.support import filters
from tests.support.leaves import EVENT_TYPES, SAID_TYPES
from tests.support.trees import Trees
from tests.support.windows import ZONES

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US
BEGIN_US = 1_772_323_200 * SECOND_US
"""1 March 2026, 00:00 UTC."""
_BEGINS_US = [
    BEGIN_US,
    *(
        seconds * SECOND_US
        for seconds in (
            1_774_742_400,  # 29 March 2026: the night in which Kyiv's clocks go on.
            1_792_886_400,  # 25 October 2026: back again.
            1_772_928_000,  # 8 March 2026: New York's go on.
            1_790_985_600,  # 3 October 2026: Lord Howe's, by half an hour.
            1_798_675_200,  # 31 December 2026.
            1_835_308_800,  # 28 February 2028, a leap year.
        )
    ),
]
"""Where histories begin: the first most often."""

_OWN = ["time_zone", "subscription.email", "subscription.web_push"]
"""Attributes by which profiles say their zone, and what they permit."""
_NUMERIC_TEXTS = ["10", "0.30", "10.0", "-1", "ten", "", "1e3", "+5", "0010"]
KINDS = ["user_id", "email", "phone", "web_push_token", "mobile_push_token", "cookie"]


@dataclass
class Shape:
    """How much of what a history holds."""

    instants: int = 36
    profiles: int = 6
    segments: int = 14
    merges: float = 0.05
    partitions: int = 1
    ordered: bool = True
    lists: int = 2
    items: bool = True
    """Whether there is a catalogue."""


@dataclass
class History:
    """Facts in log order; `pinned` are instants that a step must end at (arrivals of a past)."""

    seed: int
    shape: Shape
    facts: list[Fact] = field(default_factory=list)
    pinned: set[int] = field(default_factory=set)
    end_us: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Words that were drawn for its rules, and that the engine does not judge yet."""

    def conditions(self) -> list[Defined]:
        return [
            f for f in self.facts if isinstance(f, Defined) and not f.retired and f.follows is None
        ]


def random_history(seed: int, shape: Shape | None = None) -> History:
    """The history of a seed: the same seed and shape give the same facts."""
    shape = shape or Shape()
    made = _Maker(random.Random(f"{seed} {shape}"), seed, shape)
    return made.history()


class _Maker:
    def __init__(self, rng: random.Random, seed: int, shape: Shape) -> None:
        self.rng = rng
        self.shape = shape
        self.made = History(seed, shape)
        self.quantum_us = rng.choice(
            [SECOND_US, MINUTE_US, 10 * MINUTE_US, 60 * MINUTE_US, DAY_US // 4, DAY_US, 4 * DAY_US]
        )
        self.begin_us = self.now_us = rng.choice([BEGIN_US, *_BEGINS_US])
        self.owner: dict[int, int] = {}
        self.home: dict[int, int] = {}
        self.alive: list[int] = []
        self.in_transit: dict[int, int] = {}
        self.merged: list[Moved] = []
        self.kinds: dict[int, str] = {}
        self.segments: dict[str, tuple[int, int]] = {}
        self.listed: dict[str, int] = {}
        self.numbers = 0
        self.named: set[str] = set()
        self.next_event = self.next_profile = self.next_atom = self.next_move = 0
        durations = [self.quantum_us * n for n in (1, 2, 3, 5, 8, 13)]
        grid = [self.begin_us + self.quantum_us * n for n in range(shape.instants + 8)]
        self.trees = Trees(
            rng, sorted({*durations, 10 * MINUTE_US, 1}), grid, ordered=shape.ordered
        )

    def history(self) -> History:
        for place in range(self.shape.instants):
            self.now_us += self._pause_us()
            if place == 0 or self.rng.random() < 0.25:
                self._define(2 if place == 0 else 1)
                continue
            for _ in range(self.rng.choice([1, 2, 2, 3, 4])):
                self._happen()
        self.made.refused = self.trees.refused
        self.made.end_us = self.now_us + 15 * self.quantum_us + 15 * MINUTE_US
        return self.made

    def _pause_us(self) -> int:
        draw = self.rng.random()
        if draw < 0.75:
            ahead = self.quantum_us * self.rng.choice([1, 1, 1, 2, 3])
            return ahead - (self.now_us - self.begin_us) % self.quantum_us
        return self.rng.choice([1, 2, SECOND_US // 3, self.quantum_us // 2 or 1])

    def _happen(self) -> None:
        draw = self.rng.random()
        if len(self.alive) >= 2 and draw < self.shape.merges:
            self._merge()
        elif self.merged and draw < 2 * self.shape.merges:
            self._split()
        elif self.listed and self.alive and draw > 0.96:
            self._list()
        elif self.shape.items and 0.93 < draw <= 0.96:
            self._item()
        else:
            self._event()

    # Events.

    def _event(self) -> None:
        rng = self.rng
        if not self.alive or (rng.random() < 0.25 and self.next_profile < self.shape.profiles):
            atom = self._new_profile()
        else:
            atom = self._atom_of(rng.choice(self.alive))
        occur_us = self._occur_us()
        event_id = f"e{self.next_event}"
        self.next_event += 1
        kind = rng.choices(EVENT_TYPES, weights=[4, 4, 1, 1, 3])[0]
        if rng.random() < 0.08:
            kind = rng.choice(SAID_TYPES)
        profile = self.owner[atom]
        row = Row(
            profile, atom, event_id, kind, occur_us, self.now_us, self._properties(kind),
            imported=rng.random() < 0.04,
        )  # fmt: skip
        self.made.facts.append(row)
        if kind == "profile_updated":
            for key in rng.sample([*filters.ATTRIBUTES, *_OWN], rng.randint(1, 2)):
                values = self._attribute_values(key)
                assigned = Assigned(profile, atom, event_id, key, values, occur_us, self.now_us)
                self.made.facts.append(assigned)

    def _new_profile(self) -> int:
        profile, atom = self.next_profile, self._new_atom()
        self.next_profile += 1
        self.alive.append(profile)
        self.owner[atom] = self.home[atom] = profile
        public_id = (profile + 1) * 1_000_003
        self.made.facts.append(Created(profile, public_id, atom, self.now_us))
        self._link(atom)
        return atom

    def _new_atom(self) -> int:
        self.next_atom += 1
        return self.next_atom - 1

    def _link(self, atom: int) -> None:
        kind = self.kinds[atom] = self.rng.choice(KINDS)
        linked = Linked(atom, self.owner[atom], kind, f"{kind}-{atom}", self.now_us)
        self.made.facts.append(linked)

    def _atom_of(self, profile: int) -> int:
        atoms = [atom for atom, owner in self.owner.items() if owner == profile]
        if self.rng.random() < 0.2 or not atoms:
            atom = self._new_atom()
            self.owner[atom] = self.home[atom] = profile
            self._link(atom)
            return atom
        return self.rng.choice(atoms)

    def _occur_us(self) -> int:
        rng = self.rng
        draw = rng.random()
        if draw < 0.4:
            return self.now_us
        if draw < 0.6:
            return self.now_us - int(rng.lognormvariate(0, 1) * 80_000)
        if draw < 0.85:
            return self.now_us - self.quantum_us * rng.choice([1, 1, 2, 3, 5, 8, 20])
        if draw < 0.9:
            return self.now_us - 10 * MINUTE_US - rng.choice([0, 1])
        on_grid = self.quantum_us - (self.now_us - self.begin_us) % self.quantum_us
        return self.now_us + min(10 * MINUTE_US, rng.choice([on_grid, 1, 10 * MINUTE_US]))

    def _properties(self, kind: str) -> dict[str, dict[int, Value]]:
        rng = self.rng
        made: dict[str, dict[int, Value]] = {}
        if rng.random() < 0.8:
            made["amount"] = {0: self._amount()}
        if rng.random() < 0.5:
            made["category"] = {0: rng.choice(filters.TEXTS)}
        if rng.random() < 0.2:
            made["note"] = {n: rng.choice(filters.TEXTS) for n in range(rng.randint(1, 3))}
        if rng.random() < 0.3:
            places = range(rng.randint(1, 3))
            made["lines.quantity"] = {n: self._amount() for n in places if rng.random() < 0.8}
            made["lines.sku"] = {n: rng.choice(filters.TEXTS[:6]) for n in places}
        if kind in SAID_TYPES:
            made["channel"] = {0: rng.choice([*filters.CHANNELS, *filters.CHANNELS[3:], "pigeon"])}
            made["platform"] = {0: rng.choice(["ios", "iOS", "android", ""])}
            made["hard"] = {0: rng.choice([True, False, "true"])}
        if rng.random() < 0.6:
            made[filters.SAME] = {0: rng.choice(filters.SAME_VALUES)}
        if rng.random() < 0.15:
            made["currency"] = {0: rng.choice(["USD", "USD", "EUR"])}
        if rng.random() < 0.2:
            made["when"] = {0: self._instant()}
        return {key: values for key, values in made.items() if values}

    def _instant(self) -> Instant:
        return Instant(self.begin_us + self.quantum_us * self.rng.randint(0, self.shape.instants))

    def _amount(self) -> Value:
        draw = self.rng.random()
        if draw < 0.8:
            return self.rng.choice(filters.NUMBERS)
        if draw < 0.95:
            return self.rng.choice(_NUMERIC_TEXTS)
        others: list[Value] = [True, False, Instant(self.begin_us)]
        return self.rng.choice(others)

    def _attribute_values(self, key: str) -> tuple[Value, ...] | None:
        rng = self.rng
        if rng.random() < 0.1:
            return None
        if key == "tags":
            return tuple(rng.choice(filters.TEXTS) for _ in range(rng.randint(1, 3)))
        if key == "vip":
            return (rng.choice([True, False]),)
        if key == "age":
            return (self._amount(),)
        if key == "seen":
            return (self._instant(),)
        if key == "born":
            return (rng.choice(filters.BIRTHDAYS),)
        if key.startswith("subscription."):
            return (rng.choice([True, True, False, "false"]),)
        if key == "time_zone":
            return (rng.choice([*ZONES, "Nowhere/Land", Fraction(7)]),)
        return (rng.choice(filters.TEXTS),)

    # Lists and the catalogue.

    def _list(self) -> None:
        profile = self.rng.choice(self.alive)
        if self.in_transit.get(profile, 0) < self.now_us:
            self.now_us += 3  # What a list follows has its instants, this has its own.
            name = self.rng.choice(sorted(self.listed))
            added = self.rng.random() < 0.7
            self.made.facts.append(Listed(name, profile, added, self.now_us))

    def _item(self) -> None:
        rng = self.rng
        properties: dict[str, dict[int, Value]] | None = None
        if rng.random() < 0.9:
            names = rng.sample(filters.ITEM_PROPERTIES, rng.randint(1, 3))
            properties = {name: {0: self._amount()} for name in names}
            if "category" in names:
                properties["category"] = {0: rng.choice(filters.TEXTS)}
            if rng.random() < 0.2:
                properties[rng.choice(filters.ITEM_PROPERTIES)] = {}
        occur_us = self.now_us - self.quantum_us * rng.choice([0, 0, 0, 0, 1, 4])
        item = rng.choice(["c1", "c1", "c2", "c3", "7"])
        self.made.facts.append(Item(item, properties, occur_us, self.now_us))

    # Merges and splits.

    def _merge(self) -> None:
        source, target = self.rng.sample(self.alive, 2)
        atoms = tuple(a for a, owner in self.owner.items() if owner == source)
        busy = any(self.in_transit.get(p, 0) >= self.now_us for p in (source, target))
        if not atoms or busy:
            self._event()
            return
        self.alive.remove(source)
        self.merged.append(self._move(source, target, atoms, merge=True))

    def _split(self) -> None:
        move = self.rng.choice(self.merged)
        holder = self.owner[move.atoms[0]]
        busy = any(self.in_transit.get(p, 0) >= self.now_us for p in (holder, move.source))
        if busy or move.target != holder or any(self.owner[a] != holder for a in move.atoms):
            self._event()
            return
        self.merged.remove(move)
        self.alive.append(move.source)
        self._move(holder, move.source, move.atoms, merge=False)

    def _move(self, source: int, target: int, atoms: tuple[int, ...], merge: bool) -> Moved:
        across = source % self.shape.partitions != target % self.shape.partitions
        arrive_us = None
        if across:
            arrive_us = self.now_us + self.rng.choice([1, SECOND_US, self.quantum_us])
            self.in_transit[source] = self.in_transit[target] = arrive_us
            self.made.pinned |= {self.now_us, arrive_us}
        self.next_move += 1
        moved = Moved(
            self.next_move, source, target, atoms, merge,
            f"m{self.next_move}", self.now_us, arrive_us,
        )  # fmt: skip
        for atom in atoms:
            self.owner[atom] = target
        self.made.facts.append(moved)
        return moved

    # Definitions.

    def _define(self, count: int) -> None:
        rng = self.rng
        if self.numbers == 0:
            for place in range(self.shape.lists):
                self.numbers += 1
                self._keep_list(f"list-{place}", "")
        for _ in range(count):
            free = [s for s in self.segments if s not in self.named]
            if self.segments and rng.random() < 0.2:
                segment = rng.choice(sorted(self.segments))
                number, version = self.segments[segment]
                if segment in free and rng.random() < 0.2:
                    self._defined(segment, number, version + 1, retired=True)
                    del self.segments[segment]
                    continue
            elif len(self.made.conditions()) < self.shape.segments:
                self.numbers += 1
                number = self.numbers
                segment, version = f"s{number}", 0
            else:
                continue
            self._defined(segment, number, version + 1, retired=False)
            if version == 0 and self.shape.merges == 0.0 and len(self.listed) <= self.shape.lists:
                self._follow(segment)

    def _follow(self, segment: str) -> None:
        """A list that follows a segment, which therefore stays."""
        self.numbers += 1
        self.named.add(segment)
        self._keep_list(f"list-{len(self.listed)}", segment)

    def _keep_list(self, name: str, follows: str) -> None:
        self.listed[name] = self.numbers
        rule = pb.Condition(list=pb.ListLeaf(list_id=name))
        made = Defined(name, self.numbers, 1, rule, self.now_us, follows=follows)
        self.made.facts.append(made)

    def _defined(self, segment: str, number: int, version: int, retired: bool) -> None:
        self.trees.segments = [s for s, (n, _) in self.segments.items() if n < number]
        self.trees.lists = [name for name, other in self.listed.items() if other < number]
        condition = self.trees.tree(self.rng.choice([0, 1, 2, 3]))
        self.segments[segment] = (number, version)
        text = str(condition)
        self.named |= {s for s in self.segments if f'segment_id: "{s}"' in text}
        zone = self.rng.choice(["", "", *ZONES])
        defined = Defined(segment, number, version, condition, self.now_us, zone, retired)
        self.made.facts.append(defined)

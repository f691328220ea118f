"""Current attributes by atom: columns that grow, newest value by event time.

They belong to atoms, so they go where a profile's atoms go, and each names the profile whose own
it is (its home), as in segments. A newer event replaces a key as a whole, with all its items; of
equal times the later in the log wins. At a merge the source's own values become the target's own
where the target has none, or wherever the tenant's rule for the attribute is the newest; a split
makes all values that move the target's own, so both sides have again what they had.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numba import njit

from services.identity.engine.spare import Copy
from services.identity.engine.store import NONE

TEXT_KIND = 1
ATTRIBUTE = np.dtype(
    [
        ("value", "i8"),  # for texts the place of its first byte
        ("occur_time_us", "i8"),
        ("event", "u8"),  # upper half of the event's print
        ("atom", "u4"),
        ("key", "u4"),
        ("item", "u4"),
        ("length", "u4"),
        ("next", "u4"),
        ("home", "u4"),
        ("kind", "u1"),
        ("exponent", "u1"),
    ],
    align=True,
)
Given = tuple[int, int, int, int, bytes]
"""item, kind, value, exponent, text of one value."""


@njit(nogil=True, cache=True)
def _chain(records: Any, heads: Any, start: int, end: int) -> None:
    for place in range(start, end):
        atom = records[place].atom
        records[place].next = heads[atom]
        heads[atom] = place


class Attributes:
    """What `profile_updated` events said, per atom."""

    def __init__(self) -> None:
        self.count = 0
        self.records = np.zeros(256, ATTRIBUTE)
        self.heads = np.full(256, NONE, np.uint32)
        self.text = bytearray()
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, names: list[str], columns: Mapping[str, Any]) -> None:
        """Takes the columns of an AttributesSet, one entry a value; names: its pool of names."""
        n = len(columns["atom"])
        self._make_room(n, int(columns["atom"].max()))
        new = self.records[self.count : self.count + n]
        codes = np.array([self._number(name) for name in names], np.uint32)
        new["atom"], new["key"] = columns["atom"], codes[columns["key"]]
        new["item"] = columns["item"]
        new["home"] = columns["profile"]
        new["kind"], new["exponent"] = columns["kind"], columns["exponent"]
        new["occur_time_us"] = columns["occur_time_us"]
        new["event"] = columns["event_print"][0::2]
        new["value"], new["length"] = columns["value"], 0
        texts = np.flatnonzero(columns["kind"] == TEXT_KIND)
        if len(texts):
            ends = columns["text_end"].astype(np.int64)
            starts = np.concatenate([[0], ends[:-1]])
            chosen = columns["value"][texts]
            new["value"][texts] = len(self.text) + starts[chosen]
            new["length"][texts] = (ends - starts)[chosen]
            self.text += columns["text"].tobytes()
        _chain(self.records, self.heads, self.count, self.count + n)
        self.count += n

    def of(self, atoms: Iterable[int], profile: int) -> dict[str, list[Given]]:
        """Key -> the values of the newest event that set it, by item, of a profile's own.

        Removed keys are left out.
        """
        given: dict[str, list[Given]] = {}
        for key, places in sorted(self._standing(atoms, profile).items()):
            values = [self._given(self.records[place]) for place in places]
            if any(kind for _, kind, *_ in values):
                given[self.names[key]] = [value for value in values if value[1]]
        return given

    def moved(
        self,
        atoms: Iterable[int],
        source: int,
        target: int,
        others: Iterable[int] | None,
        newest: Container[str],
    ) -> None:
        """Values go with their atoms. others: atoms the target has already, None for a split;
        newest: attributes whose newest value stands at a merge.

        Asked before or after the atoms have their new profile, as long as `others` is without them.
        """
        records = self.records
        places = [place for atom in atoms for place in self._places(atom)]
        if not places:
            return
        if others is None:
            records["home"][places] = target
            return
        own = self._standing(others, target)
        for place in places:
            key = int(records["key"][place])
            if int(records["home"][place]) == source and (
                self.names[key] in newest or not self._says(own.get(key, ()))
            ):
                records["home"][place] = target

    def _says(self, places: Iterable[int]) -> bool:
        """Whether values are there: neither removed nor an empty text."""
        records = self.records
        return any(
            int(records["kind"][place]) not in (0, TEXT_KIND) or int(records["length"][place])
            for place in places
        )

    def _standing(self, atoms: Iterable[int], profile: int) -> dict[int, list[int]]:
        """Key -> places of the values of its newest event among a profile's own, in log order."""
        records = self.records
        newest: dict[int, tuple[tuple[int, int], int]] = {}
        found = [
            place
            for atom in atoms
            for place in self._places(atom)
            if int(records["home"][place]) == profile
        ]
        for place in found:
            order = (int(records["occur_time_us"][place]), place)
            key = int(records["key"][place])
            if key not in newest or order > newest[key][0]:
                newest[key] = (order, int(records["event"][place]))
        standing: dict[int, list[int]] = {}
        for place in sorted(found):
            key = int(records["key"][place])
            (time_us, _), event = newest[key]
            if (int(records["occur_time_us"][place]), int(records["event"][place])) == (
                time_us,
                event,
            ):
                standing.setdefault(key, []).append(place)
        return standing

    def _places(self, atom: int) -> Iterator[int]:
        """Places of an atom's values, newest in the log first."""
        place = int(self.heads[atom]) if atom < len(self.heads) else NONE
        following = self.records["next"]
        while place != NONE:
            yield place
            place = int(following[place])

    def _given(self, record: Any) -> Given:
        value, length = int(record["value"]), int(record["length"])
        text = bytes(self.text[value : value + length]) if int(record["kind"]) == TEXT_KIND else b""
        return int(record["item"]), int(record["kind"]), value, int(record["exponent"]), text

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number

    def _make_room(self, values: int, atom: int) -> None:
        if self.count + values > len(self.records):
            self._compact()
            size = max(2 * self.count, self.count + values, 256)
            grown = np.zeros(size, ATTRIBUTE)
            grown[: self.count] = self.records[: self.count]
            self.records = grown
        if atom >= len(self.heads):
            heads = np.full(max(2 * len(self.heads), atom + 1), NONE, np.uint32)
            heads[: len(self.heads)] = self.heads
            self.heads = heads

    def _compact(self) -> None:
        """Forgets values that a newer event of the same atom and home replaced, and their texts."""
        records = self.records[: self.count]
        by = ("home", "key", "atom")
        order = np.lexsort((records["occur_time_us"], *(records[name] for name in by)))
        ordered = records[order]
        differs = np.zeros(max(len(ordered) - 1, 0), np.bool_)
        for name in by:
            differs |= ordered[name][1:] != ordered[name][:-1]
        last = np.flatnonzero(np.append(differs, True))
        group = np.concatenate([[0], np.cumsum(differs)]) if len(ordered) else last
        winner = ordered[last][group]
        kept = (ordered["occur_time_us"] == winner["occur_time_us"]) & (
            ordered["event"] == winner["event"]
        )
        self.records = records[np.sort(order[kept])]
        self.count = len(self.records)
        text = bytearray()
        for place in np.flatnonzero(self.records["length"]).tolist():
            start, length = int(self.records["value"][place]), int(self.records["length"][place])
            self.records["value"][place] = len(text)
            text += self.text[start : start + length]
        self.text = text
        self.heads[:] = NONE
        _chain(self.records, self.heads, 0, self.count)

    def dump(self, copy: Copy) -> dict[str, Any]:
        return {
            "records": copy("records", self.records[: self.count]),
            "text": bytes(self.text),
            "names": "\n".join(self.names).encode(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.records = np.frombuffer(state["records"], ATTRIBUTE).copy()
        self.count = len(self.records)
        self.text = bytearray(state["text"])
        text = bytes(state["names"]).decode()
        self.names = text.split("\n") if text else []
        self._numbers = {name: number for number, name in enumerate(self.names)}
        atoms = int(self.records["atom"].max()) + 1 if self.count else 0
        self.heads = np.full(max(256, atoms), NONE, np.uint32)
        _chain(self.records, self.heads, 0, self.count)

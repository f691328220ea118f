"""Current attributes by atom: columns that grow, newest value by event time.

They belong to atoms, so they go where a profile's atoms go, and each names the profile whose own
it is (its home), as in segments. A newer event replaces a key as a whole, with all its items; of
equal times the later in the log wins. At a merge the source's own values become the target's own
where the target has none, or wherever the tenant's rule for the attribute is the newest; a split
makes all values that move the target's own, so both sides have again what they had.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from services.identity.engine.spare import Copy
from services.identity.engine.store import NONE

TEXT_KIND = 1
ATTRIBUTE = np.dtype(
    [
        ("value", "i8"),  # for texts the place of its first byte
        ("occur_time_us", "i8"),
        ("accept_time_us", "i8"),
        ("event", "u8"),  # the event's print
        ("event_low", "u8"),
        ("atom", "u4"),
        ("key", "u4"),
        ("item", "u4"),
        ("length", "u4"),
        ("next", "u4"),
        ("home", "u4"),
        ("born", "u4"),  # the profile it was said of
        ("mark", "u4"),  # 0, or the number of a correction
        ("source", "u2"),  # who published it, 0 for nobody known
        ("kind", "u1"),
        ("exponent", "u1"),
    ],
    align=True,
)
Given = tuple[int, int, int, int, bytes]
"""item, kind, value, exponent, text of one value."""
SOURCES_MAX = 10_000


class Statement(NamedTuple):
    """All that one event said of an attribute, in the order in which followers let it stand.

    at_us: when; accept_us: log time; place: in the log; born: the profile it was said of; rank: of
    its source. said: whether there is a value in it, or it removes one. mark: it is a correction.
    """

    at_us: int
    accept_us: int
    place: int
    born: int
    places: tuple[int, ...]
    rank: int
    mark: bool
    content: tuple[Given, ...]
    said: bool


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
        self.sources: list[str] = [""]
        self.marks = 0
        self._numbers: dict[str, int] = {}
        self._ordered: set[int] = set()
        """Attributes whose older values are kept."""

    def add(
        self,
        names: list[str],
        columns: Mapping[str, Any],
        sources: np.ndarray,
        marks: np.ndarray | None = None,
    ) -> None:
        """Takes the columns of an AttributesSet, one entry a value; names: its pool of names.

        sources: by number. marks: of corrections, which value belongs to which of them, from 0.
        """
        n = len(columns["atom"])
        self._make_room(n, int(columns["atom"].max()))
        new = self.records[self.count : self.count + n]
        codes = np.array([self._number(name) for name in names], np.uint32)
        new["atom"], new["key"] = columns["atom"], codes[columns["key"]]
        new["item"] = columns["item"]
        new["home"] = new["born"] = columns["profile"]
        new["kind"], new["exponent"] = columns["kind"], columns["exponent"]
        new["occur_time_us"] = columns["occur_time_us"]
        new["accept_time_us"] = columns["accept_time_us"]
        new["event"] = columns["event_print"][0::2]
        new["event_low"] = columns["event_print"][1::2]
        new["source"], new["mark"] = sources, 0
        if marks is not None:
            new["mark"] = self.marks + 1 + marks
            self.marks += int(marks[-1]) + 1
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
        newest: dict[int, tuple[tuple[int, int, int], tuple[int, int]]] = {}
        found = [
            place
            for atom in atoms
            for place in self._places(atom)
            if int(records["home"][place]) == profile
        ]
        for place in found:
            record = records[place]
            order = int(record["occur_time_us"]), int(record["accept_time_us"]), place
            key = int(records["key"][place])
            if key not in newest or order > newest[key][0]:
                newest[key] = (order, self._event(place))
        standing: dict[int, list[int]] = {}
        for place in sorted(found):
            key = int(records["key"][place])
            (time_us, _, _), event = newest[key]
            if (int(records["occur_time_us"][place]), self._event(place)) == (time_us, event):
                standing.setdefault(key, []).append(place)
        return standing

    def _event(self, place: int) -> tuple[int, int]:
        """What the values of one event, or of one correction, have in common."""
        record = self.records[place]
        return int(record["event"]), int(record["mark"])

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

    # -- rules of attributes -------------------------------------------------------------------

    def source(self, name: str) -> int:
        """The number of who publishes; 0 when there are too many of them."""
        if name not in self.sources:
            if len(self.sources) > SOURCES_MAX:
                return 0
            self.sources.append(name)
        return self.sources.index(name)

    def rule(self, ordered: Iterable[str]) -> None:
        """From now on older values of these attributes are kept, of others only the newest."""
        # What was replaced is forgotten now, whenever it would have been: the same in every life.
        self._compact()
        self._ordered = {self._number(name) for name in ordered}

    def disputed(self, key: str) -> list[int]:
        """Profiles that have more than one value of an attribute."""
        records = self.records[: self.count]
        homes = records["home"][records["key"] == self._number(key)]
        found, times = np.unique(homes[homes != NONE], return_counts=True)
        return [int(home) for home in found[times > 1]]

    def statements(
        self, atoms: Iterable[int], profile: int, key: str, rank: Callable[[str], int]
    ) -> list[Statement]:
        """Everything that was said of an attribute of a profile."""
        number = self._number(key)
        said: dict[tuple[int, int, int], list[int]] = {}
        for atom in atoms:
            for place in self._places(atom):
                record = self.records[place]
                if int(record["key"]) == number and int(record["home"]) == profile:
                    of = (int(record["occur_time_us"]), *self._event(place))
                    said.setdefault(of, []).append(place)
        return [self._statement(sorted(places), rank) for places in said.values()]

    def _statement(self, places: list[int], rank: Callable[[str], int]) -> Statement:
        record = self.records[places[0]]
        return Statement(
            int(record["occur_time_us"]),
            int(record["accept_time_us"]),
            places[0],
            int(record["born"]),
            tuple(places),
            rank(self.sources[int(record["source"])]),
            bool(record["mark"]),
            tuple(self._told(self.records[place]) for place in places),
            self._says(places),
        )

    def _told(self, record: Any) -> Given:
        """A value without the place where its text lies."""
        item, kind, value, exponent, text = self._given(record)
        return item, kind, 0 if kind == TEXT_KIND else value, exponent, text

    def forget(self, statements: Iterable[Statement]) -> None:
        """These are no profile's any more."""
        for one in statements:
            self.records["home"][list(one.places)] = NONE

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
        if not self.count:
            return
        records = self.records[: self.count]
        by = ("home", "key", "atom")
        times = records["accept_time_us"], records["occur_time_us"]
        order = np.lexsort((*times, *(records[name] for name in by)))
        ordered = records[order]
        differs = np.zeros(max(len(ordered) - 1, 0), np.bool_)
        for name in by:
            differs |= ordered[name][1:] != ordered[name][:-1]
        last = np.flatnonzero(np.append(differs, True))
        group = np.concatenate([[0], np.cumsum(differs)]) if len(ordered) else last
        winner = ordered[last][group]
        kept = np.isin(ordered["key"], list(self._ordered))
        kept |= (
            (ordered["occur_time_us"] == winner["occur_time_us"])
            & (ordered["event"] == winner["event"])
            & (ordered["mark"] == winner["mark"])
        )
        kept &= ordered["home"] != NONE
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
            "sources": "\n".join(self.sources).encode(),
            "marks": np.array([self.marks, *sorted(self._ordered)], np.int64),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.records = np.frombuffer(state["records"], ATTRIBUTE).copy()
        self.count = len(self.records)
        self.text = bytearray(state["text"])
        text = bytes(state["names"]).decode()
        self.names = text.split("\n") if text else []
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self.sources = bytes(state["sources"]).decode().split("\n")
        self.marks, *ordered = np.frombuffer(state["marks"], np.int64).tolist()
        self._ordered = set(ordered)
        atoms = int(self.records["atom"].max()) + 1 if self.count else 0
        self.heads = np.full(max(256, atoms), NONE, np.uint32)
        _chain(self.records, self.heads, 0, self.count)

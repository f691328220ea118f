"""Everything one partition of one tenant knows: the log in memory and what is kept up from it."""

from __future__ import annotations

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array, grown, widened
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.base.tables import Table
from services.segments.engine.language.expressions import LeafSpec
from services.segments.engine.live.anniversaries import Anniversaries
from services.segments.engine.live.cursor_table import CursorTable
from services.segments.engine.live.memberships import ALIVE, Rules, Scratch, State
from services.segments.engine.live.routing import Routes, build_routes
from services.segments.engine.live.rules import Segment, build_rules, make_scratch
from services.segments.engine.live.streams import StreamTable
from services.segments.engine.live.versions import Versions
from services.segments.engine.pasts.table import PastTable
from services.segments.engine.store.attributes import Attributes
from services.segments.engine.store.catalogue import Catalogue
from services.segments.engine.store.catalogue_log import CatalogueLog
from services.segments.engine.store.cuts import CutTable
from services.segments.engine.store.events import Events
from services.segments.engine.store.filters import FilterTable
from services.segments.engine.store.former import Former
from services.segments.engine.store.lists import Lists
from services.segments.engine.store.people import People
from services.segments.engine.store.predicates import TestTable
from services.segments.engine.store.texts import Names, Texts
from services.segments.engine.store.words import Words


class Partition:
    """The state that readers read and the walker moves. `now`: everything up to it is done."""

    def __init__(self, partition: int, partitions: int, limits: EngineLimits) -> None:
        self.limits = limits
        self.now = 0
        self.names = Names()
        self.texts = Texts()
        self.people = People(partition, partitions, limits)
        self.former = Former()
        self.events = Events(limits)
        self.attributes = Attributes()
        self.tests = TestTable(self.texts)
        self.filters = FilterTable(self.tests, self.names)
        self.streams = StreamTable()
        self.cursors = CursorTable()
        self.days = Anniversaries(self)
        self.lists = Lists(self)
        self.catalogue = Catalogue(self)
        self.catalogue_log = CatalogueLog()
        self.cuts = CutTable(self)
        self.words = Words(self)
        self.pasts = PastTable(self)
        self.segments: dict[str, Segment] = {}
        self.by_place: list[Segment] = []
        self.versions = Versions(self)
        self.leaf_numbers: dict[LeafSpec, int] = {}
        """Leaves in use, with their bits; `Leaves` keeps it."""
        self.capacity = 64
        self.bits = np.zeros((64, 1), np.uint64)
        self.member = np.zeros((64, 1), np.uint64)
        self.ordinal = np.zeros((64, 8), np.uint8)
        self.carry = Table(4096)
        self.carry_used = np.zeros(1, np.int64)
        self.sizes = np.zeros(8, np.int64)
        self.changed = np.zeros(8, np.uint8)
        self.leaf_count = ALIVE + 1
        """Leaf bits in use, those free between them included."""
        self._tables: tuple[Rules, Scratch] | None = None
        self.rule_changes = 0
        self.move_high = np.zeros(4, np.uint64)
        self.move_low = np.zeros(4, np.uint64)
        self.move_reason = np.zeros(4, np.uint8)
        self.moves = 0
        """Moves so far: causes of flips."""
        self._routes: Routes | None = None
        self._routed_names = -1

    def reserve_profiles(self, rows: int) -> None:
        """Room for profiles up to `rows` in everything kept per profile."""
        self.people.reserve_rows(rows)
        if rows <= self.capacity:
            return
        self.bits = grown(self.bits, rows)
        self.member = grown(self.member, rows)
        self.ordinal = grown(self.ordinal, rows)
        self.capacity = min(one.shape[0] for one in (self.bits, self.member, self.ordinal))
        self.streams.reserve_profiles(self.capacity)
        self.cursors.reserve_profiles(self.capacity)
        self.attributes.reserve_profiles(self.capacity)
        self.days.reserve_profiles(self.capacity)
        self.pasts.reserve_profiles(self.capacity)

    def reserve_places(self, places: int) -> None:
        self.member = widened(self.member, (places + 63) // 64, self.people.rows)
        self.ordinal = widened(self.ordinal, places, self.people.rows)
        self.sizes = grown(self.sizes, places)
        self.changed = grown(self.changed, places)

    def reserve_leaves(self, leaves: int) -> None:
        self.leaf_count = max(self.leaf_count, leaves)
        words = self.bits.shape[1]
        self.bits = widened(self.bits, (leaves + 63) // 64, self.people.rows)
        if self.bits.shape[1] != words:
            self._tables = None

    def state(self) -> State:
        return State(
            self.bits, self.member, self.ordinal, self.carry.keys, self.carry.values,
            self.carry_used, self.sizes, self.changed,
        )  # fmt: skip

    def tables(self) -> tuple[Rules, Scratch]:
        """The rules in force for the kernel that judges them."""
        if self._tables is None:
            leaves = 64 * self.bits.shape[1]  # A leaf that begins must not cost new tables.
            scratch = make_scratch(leaves, len(self.by_place))
            ended = self.lists.ended_by(self.leaf_numbers)
            self._tables = (build_rules(self.by_place, leaves, ended), scratch)
        return self._tables

    def members_of(self, place: int) -> Array:
        """Rows of a segment's members."""
        words = self.member[: self.people.rows, place >> 6]
        return np.flatnonzero((words >> np.uint64(place & 63)) & np.uint64(1))

    def state_of_homes(self) -> tuple[int, int]:
        """Another value when pasts have moved between profiles or definitions have changed."""
        return self.people.moves, self.rule_changes

    def rules_changed(self) -> None:
        """A definition came, changed or went."""
        self.rule_changes += 1
        self._tables = None

    def routes(self) -> Routes:
        """The routing index, rebuilt when streams or names were added."""
        if self._routes is None or self._routed_names != len(self.names.names):
            self._routes = build_routes(
                list(self.streams.streams.values()), self.filters, self.names, self.texts
            )
            self._routed_names = len(self.names.names)
        return self._routes

    def rerouted(self) -> None:
        """Streams were added or dropped."""
        self._routes = None

    def wanted_types(self, selector: rule.Selector) -> Array:
        """One byte per name: whether it is a type the selection looks at."""
        if not selector.types and not selector.prefix:
            return np.ones(len(self.names.names), np.uint8)
        wanted = np.zeros(len(self.names.names), np.uint8)
        for name in selector.types:
            number = self.names.numbers.get(name.encode())
            if number is not None:
                wanted[number] = 1
        if selector.prefix:
            for number, name in enumerate(self.names.names):
                wanted[number] |= name.startswith(selector.prefix)
        return wanted

    def cause_of_move(self, high: int, low: int, reason: int) -> int:
        """Numbers a move, so that flips can name it as their cause; the number within the log."""
        number = self.moves
        self.move_high = grown(self.move_high, number + 1)
        self.move_low = grown(self.move_low, number + 1)
        self.move_reason = grown(self.move_reason, number + 1)
        self.move_high[number], self.move_low[number] = high, low
        self.move_reason[number] = reason
        self.moves += 1
        return number

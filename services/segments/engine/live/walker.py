"""The walk of time: takes what arrived to its instants and says what changed.

`walk(until)` moves everything from `part.now` to `until`: rows and attribute records that take
effect, profiles that begin, cursors whose rows leave, midnights. Its result does not depend on how
the way is cut. Something that arrives for an instant already past takes effect at `part.now`.
"""

from __future__ import annotations

import numpy as np

from services.segments.engine.base.arrays import Array
from services.segments.engine.live.arrivals import effective, insert_all
from services.segments.engine.live.cursor_table import CursorLeaf
from services.segments.engine.live.cursors import EVENT_CAUSE, walk
from services.segments.engine.live.flips import Flips, in_order, larger, new_flips
from services.segments.engine.live.inbox import Inbox
from services.segments.engine.live.leaves import Leaves
from services.segments.engine.live.memberships import ALIVE, BIRTH_CAUSE, apply
from services.segments.engine.live.routing import distribute, route
from services.segments.engine.live.said import Said
from services.segments.engine.partition import Partition
from services.segments.engine.pasts.turning import Arrived, turned
from services.segments.engine.store import persons
from services.segments.engine.store.attributes import turn


class Walker:
    """Moves a partition through time."""

    def __init__(self, part: Partition, leaves: Leaves) -> None:
        self.part, self.leaves = part, leaves
        self.inbox = Inbox()
        self.carried: list[tuple[int, Array, int, Array, int]] = []
        """Flips that wait for their instant: (instant, profile rows, leaf, states, cause)."""
        self.arrived = Arrived()
        """What takes effect in the stretch that is walked."""
        self.flips = new_flips(4096)
        self.ordered = new_flips(4096)
        self.touches = new_flips(1024)
        self.pairs = (np.zeros(1024, np.int64), np.zeros(1024, np.int64))
        self.said = Said()

    def walk(self, until: int) -> None:
        """To `until`, midnights included; `until` may be now."""
        until = max(until, self.part.now)
        self.inbox.begin_due(self.part.people, self.part.now, until, late=False)
        while (midnight := self.part.days.next_us()) <= until:
            if midnight - 1 > self.part.now:
                self._stretch(midnight - 1)
            for leaf, rows, holds in self.part.days.turn(midnight):
                self.carry(midnight, rows, leaf, holds, 0)
        self._stretch(until)

    def carry(self, at: int, rows: Array, leaf: int, states: Array, cause: int) -> None:
        """Notes flips of one leaf for the group of an instant; nobody has walked past it."""
        self.carried.append((at, rows, leaf, states, cause))

    def _stretch(self, until: int) -> None:
        part = self.part
        part.cursors.refill(part.now, until)
        rows, effects = self._rows_due(until)
        self.arrived = Arrived()
        k = self._carry(until)
        k = self._births(until, rows, effects, k)
        k = self._links(until, k)
        k = self._records(until, k)
        k = self._words(rows, effects, k)
        k = self._events(until, rows, effects, k)
        k = self._pasts(until, k)
        if k or rows.size:
            self._apply(k, rows, effects)
        part.now = until
        done = part.streams.merge_due(part.limits.tail_rows_max, part.limits.late_rows_min)
        if done:
            part.cursors.merged(done)

    def _rows_due(self, until: int) -> tuple[Array, Array]:
        inbox, events = self.inbox, self.part.events
        room = inbox.rows.size + events.count - inbox.first
        if not room:
            return inbox.rows, inbox.rows
        rows, effects, still = (np.empty(room, np.int64) for _ in range(3))
        n, w, ordered = effective(
            events.view, inbox.rows, inbox.first, events.count, self.part.now, until, rows, effects,
            still,
        )  # fmt: skip
        inbox.first = events.count
        inbox.rows = still[:w]
        rows, effects = rows[:n], effects[:n]
        if not ordered:
            order = np.lexsort((rows, effects))
            rows, effects = rows[order], effects[order]
        return rows, effects

    def _room(self, used: int, more: int) -> None:
        if used + more > self.flips.at.size:
            self.flips = larger(self.flips, used, used + more)

    def _put(
        self, k: int, at: Array, rows: Array, leaf: Array | int, state: Array | int, cause: Array
    ) -> int:
        """Writes flips, one for each instant, from place k on; the place after them."""
        self._room(k, at.size)
        stretch, flips = slice(k, k + at.size), self.flips
        flips.at[stretch], flips.row[stretch], flips.leaf[stretch] = at, rows, leaf
        flips.state[stretch], flips.cause[stretch] = state, cause
        return k + at.size

    def _put_all(self, k: int, flips: list[tuple[int, int, int, int, int]]) -> int:
        if not flips:
            return k
        at, rows, leaves, states, causes = np.array(flips, np.int64).T
        return self._put(k, at, rows, leaves, states, causes)

    def _carry(self, until: int) -> int:
        if not self.carried:
            return 0
        due = [flips for flips in self.carried if flips[0] <= until]
        self.carried = [flips for flips in self.carried if flips[0] > until]
        k = 0
        for at, rows, leaf, states, cause in due:
            same = np.full(rows.size, at)
            k = self._put(k, same, rows, leaf, states, np.full(rows.size, cause))
        return k

    def _births(self, until: int, rows: Array, effects: Array, k: int) -> int:
        """Profiles that begin; the first event of theirs at that instant is the cause."""
        if not self.inbox.births:
            return k
        part = self.part
        view = part.events.view
        at, born, cause = self.inbox.born(part.people, view, part.now, until, rows, effects)
        stand = part.people.absorbed[born] == 0
        return self._put(k, at[stand], born[stand], ALIVE, 1, cause[stand])

    def _links(self, until: int, k: int) -> int:
        """Identifiers that became known."""
        if not self.inbox.links:
            return k
        part = self.part
        at, slots = self.inbox.links.due(until)
        at, rows, kinds = np.maximum(at, part.now), *part.people.owners_and_kinds(slots)
        for spec, leaf in self.leaves.kinds.items():
            wanted = [part.names.number_of(kind) for kind in spec.kinds]
            mine = np.flatnonzero(np.isin(kinds, wanted) & (rows >= 0))
            k = self._put(k, at[mine], rows[mine], leaf, 1, BIRTH_CAUSE + rows[mine])
        return k

    def _records(self, until: int, k: int) -> int:
        """Attributes that were set."""
        records = self.inbox.records
        if not records.size:
            return k
        part, columns = self.part, self.part.attributes.columns
        effects = np.maximum(columns["occur"][records], columns["accept"][records])
        effects = np.maximum(effects, part.now)
        self.inbox.records = records[effects > until]
        records, effects = records[effects <= until], effects[effects <= until]
        order = np.lexsort((records, effects))
        records, effects = records[order], effects[order]
        self.arrived.records, self.arrived.record_effects = records, effects
        if not records.size or not self.leaves.attributes_asked():
            return k
        addresses, ptr, numbers, tests = self.leaves.attribute_view()
        keys = columns["key"][records]
        wanted = int((ptr[keys + 1] - ptr[keys]).sum())
        self._room(k, wanted)
        rest = Flips(*(column[k:] for column in self.flips))
        people = part.people
        while True:
            n = turn(
                part.attributes.view, part.tests.view(), people.view(), people.partition,
                people.partitions, records, effects, addresses, ptr, numbers, tests, rest,
            )  # fmt: skip
            if part.tests.answered():
                break
        k += int(n)
        return self._days(records, effects, k)

    def _words(self, rows: Array, effects: Array, k: int) -> int:
        """What people said about being written to."""
        arrived = self.arrived
        records = arrived.records, arrived.record_effects
        return self._put(k, *self.part.words.heard(rows, effects, *records))

    def _days(self, records: Array, effects: Array, k: int) -> int:
        """Anniversaries of attributes that were set."""
        part, found = self.part, []
        for one in part.days.calendars.values():
            for i in np.flatnonzero(part.attributes.columns["key"][records] == one.key).tolist():
                record = int(records[i])
                row = int(part.people.slot_row[part.attributes.columns["slot"][record]])
                if row < 0:
                    continue
                standing = persons.standing_record(part, row, one.key, int(effects[i]))
                holds = part.days.set_record(one, row, standing)
                found.append((int(effects[i]), row, one.leaf, int(holds), 1 + record))
        return self._put_all(k, found)

    def _events(self, until: int, rows: Array, effects: Array, k: int) -> int:
        """Rows go to their streams, cursors walk."""
        part = self.part
        view = part.events.view
        count = part.streams.length.shape[0]
        ptr = np.zeros(count + 1, np.int64)
        stream_rows = stream_effects = np.zeros(0, np.int64)
        if rows.size and part.streams.streams:
            counts, n = self._route(rows, count)
            if n:
                stream_rows, stream_effects = np.empty(n, np.int64), np.empty(n, np.int64)
                distribute(n, *self.pairs, counts, rows, effects, ptr, stream_rows, stream_effects)
                self.arrived.ptr = ptr
                self.arrived.rows, self.arrived.effects = stream_rows, stream_effects
                part.streams.reserve(counts)
                insert_all(
                    ptr, stream_rows, part.streams.view(), part.cursors.view(), view,
                    part.tests.view(), part.people.slot_row, part.limits.shift_rows_max, part.now,
                )  # fmt: skip
        if not part.cursors.cursors:
            return k
        first_new = int(rows.min()) if rows.size else part.events.count
        resume = np.array([0, -1, k, 0], np.int64)
        while not walk(
            part.cursors.view(), part.streams.view(), view, part.tests.view(),
            part.people.slot_row, part.now, until, ptr, stream_rows, stream_effects, first_new,
            self.flips, self.touches, resume,
        ):  # fmt: skip
            self.flips = larger(self.flips, int(resume[2]), int(resume[2]) + 4096)
            self.touches = larger(self.touches, int(resume[3]), int(resume[3]) + 1024)
        return self._touched(int(resume[2]), int(resume[3]))

    def _pasts(self, until: int, k: int) -> int:
        """Leaves judged from whole pasts, where something touches them or their instant comes."""
        if not self.part.pasts.kept:
            return k
        return self._put_all(k, turned(self.part, until, self.arrived))

    def _route(self, rows: Array, count: int) -> tuple[Array, int]:
        part = self.part
        counts, seen = np.zeros(count, np.int64), np.zeros(count, np.int64)
        while True:
            n = int(
                route(
                    part.routes(), part.events.view, part.tests.view(), part.filters.view(),
                    part.people.slot_row, rows, seen, *self.pairs, counts,
                )
            )  # fmt: skip
            if n < 0:
                size = max(self.pairs[0].size * 2, count * 2)
                self.pairs = (np.zeros(size, np.int64), np.zeros(size, np.int64))
                part.tests.unknown_count[0] = 0
            elif part.tests.answered():
                return counts, n

    def _touched(self, k: int, touched: int) -> int:
        """Figures that are computed from a profile's rows, at the instants they may change.

        What happens to one profile at one instant is taken step by step as cursors do it, rows that
        go or come by time first, so that the cause is the row that made the difference.
        """
        part, touches = self.part, self.touches
        found: list[tuple[int, int, int, int, int]] = []
        seen: dict[tuple[int, int, int], list[int]] = {}
        for i in range(touched):
            key = (int(touches.leaf[i]), int(touches.row[i]), int(touches.at[i]))
            seen.setdefault(key, []).append(int(touches.cause[i]))
        for (number, row, at), causes in seen.items():
            cursor = part.cursors.cursors[number]
            past = persons.matching(part, persons.rows_of(part, row), cursor.key[0])
            inside = persons.in_window(part, past, cursor.window, at).tolist()
            new = [cause for cause in causes if cause]
            to_come = {cause - EVENT_CAUSE for cause in new}
            for cause in [0, *new] if len(new) < len(causes) else new:
                to_come.discard(cause - EVENT_CAUSE)
                rows = [one for one in inside if one not in to_come] if to_come else inside
                for spec, leaf in cursor.leaves.items():
                    found.append((at, row, leaf, int(holds_for(part, spec, rows)), cause))
        return self._put_all(k, found)

    def _apply(self, k: int, rows: Array, effects: Array) -> None:
        part, said = self.part, self.said
        rules, scratch = part.tables()
        places = len(part.by_place)
        said.count_in(max(places, 1), max(len(part.names.names), 1))
        self.ordered = in_order(self.flips, k, part.people.rows, self.ordered)
        before = said.changes
        resume = np.array([0, 0, before, said.lines, before, -1], np.int64)
        while not apply(
            rules, part.state(), scratch, self.ordered, k, part.events.view,
            part.people.slot_row, rows, effects, part.events.types_in_order, said.transitions,
            said.activity, resume,
        ):  # fmt: skip
            part.carry.used = int(part.carry_used[0])
            part.carry.reserve(1024)
            said.larger(int(resume[2]), int(resume[3]), places)
        said.end_stretch(int(resume[2]), int(resume[3]))
        new, told = slice(before, said.changes), said.transitions
        part.lists.transitions(told.place[new], told.row[new], told.at[new])


def holds_for(part: Partition, spec: CursorLeaf, inside: list[int]) -> bool:
    """Whether a leaf holds over these rows of a profile, all in its window, in order of time."""
    return spec.over(persons.figure_of(part, inside, spec.aggregate))

"""What arrived and has not taken effect: rows, attribute records, links, profiles that begin.

Everything waits as columns: ten thousand new profiles in a step cost no Python per profile. Hot
kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from services.segments.engine.base.arrays import Array, bare
from services.segments.engine.live.cursors import EVENT_CAUSE
from services.segments.engine.live.memberships import BIRTH_CAUSE
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.people import NEVER, UNBORN, People

_CODE = np.int64(-(1 << 62))
"""Below it an instant of creation stands for the place of a birth that is being looked at."""


@njit(cache=True, nogil=True)
def _first_rows(
    at: Array, who: Array, created_us: Array, e: EventRows, slot_row: Array, rows: Array,
    effects: Array, cause: Array,
) -> None:  # fmt: skip
    """The cause of each birth: the first row of the profile's own at that instant, else itself."""
    created_us, e, slot_row, rows = bare(created_us), bare(e), bare(slot_row), bare(rows)
    for i in range(who.size):
        created_us[who[i]] = _CODE - i
        cause[i] = BIRTH_CAUSE + who[i]
    for j in range(rows.size):
        owner = slot_row[e.slot[rows[j]]]
        if owner >= 0 and created_us[owner] <= _CODE:
            i = _CODE - created_us[owner]
            if effects[j] == at[i] and cause[i] < EVENT_CAUSE:
                cause[i] = EVENT_CAUSE + rows[j]
    for i in range(who.size):
        created_us[who[i]] = at[i]


class Waiting:
    """(instant, number) pairs in the order in which they came."""

    def __init__(self) -> None:
        self.at = self.what = np.zeros(0, np.int64)
        self._more: list[tuple[Array, Array]] = []
        self.earliest = NEVER
        """No pair that waits has an earlier instant."""

    def __bool__(self) -> bool:
        return bool(self._more) or self.at.size > 0

    def add(self, at: Array, what: Array) -> None:
        """Pairs that came; both int64[n]."""
        if at.size:
            self._more.append((at, what))
            self.earliest = min(self.earliest, int(at.min()))

    def all(self) -> tuple[Array, Array]:
        """(instants, numbers) of what waits."""
        if self._more:
            self.at = np.concatenate((self.at, *(at for at, _ in self._more)))
            self.what = np.concatenate((self.what, *(what for _, what in self._more)))
            self._more = []
        return self.at, self.what

    def keep(self, mask: Array) -> None:
        """Only those of `all` where the mask is set go on waiting."""
        self.at, self.what = self.at[mask], self.what[mask]
        self.earliest = int(self.at.min()) if self.at.size else NEVER

    def due(self, until: int) -> tuple[Array, Array]:
        """(instants, numbers) up to an instant; they wait no longer."""
        if self.earliest > until:
            return self.at[:0], self.what[:0]
        at, what = self.all()
        mask = at <= until
        self.keep(~mask)
        return at[mask], what[mask]

    def pairs(self) -> list[list[int]]:
        """What a snapshot keeps, as plain values: (instant, number)."""
        at, what = self.all()
        return [[int(a), int(w)] for a, w in zip(at.tolist(), what.tolist(), strict=True)]

    @staticmethod
    def of(pairs: list[list[int]]) -> Waiting:
        """What `pairs` told of."""
        made, columns = Waiting(), np.array(pairs, np.int64).reshape(-1, 2)
        made.add(columns[:, 0].copy(), columns[:, 1].copy())
        return made


@dataclass(slots=True)
class Inbox:
    """What arrived at one partition."""

    first: int = 0
    """Event rows from here on have not been looked at."""
    rows: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    records: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    births: Waiting = field(default_factory=Waiting)
    """(instant, profile row)."""
    unborn: Waiting = field(default_factory=Waiting)
    """(instant of creation as given, profile row), until something is heard of the profile; pairs
    of those that have begun since are left over."""
    links: Waiting = field(default_factory=Waiting)
    """(instant, slot)."""

    def expect(self, rows: Array, created_us: Array) -> None:
        """Profiles were noted that nothing has been heard of."""
        if rows.size > 1 and not bool((rows[1:] > rows[:-1]).all()):
            # Noted twice in one batch, the last instant stands.
            rows, last = np.unique(rows[::-1], return_index=True)
            created_us = created_us[::-1][last]
        self.unborn.add(created_us.astype(np.int64), rows.astype(np.int64))

    def expected(self, people: People, rows: Array) -> Array:
        """When these profiles are to begin if nothing is heard of them; NEVER: they have begun."""
        found = np.full(rows.size, NEVER, np.int64)
        asked = np.flatnonzero(people.created_us[rows] == UNBORN)
        at, who = self.unborn.all()
        if asked.size and who.size:
            # Of several pairs of one profile only the last can be of one that has not begun.
            order = np.argsort(who, kind="stable")
            place = np.searchsorted(who[order], rows[asked], side="right") - 1
            known = (place >= 0) & (who[order][place] == rows[asked])
            found[asked[known]] = at[order][place[known]]
        return found

    def begin(self, people: People, rows: Array, at: Array) -> None:
        """Profiles exist from an instant on, each row named once."""
        people.created_us[rows] = at
        self.births.add(at, rows)

    def heard_of(self, people: People, owners: Array, accepts: Array) -> None:
        """Something of these profiles was accepted: those that do not exist yet begin with it."""
        if not self.unborn:
            return
        first = np.flatnonzero((people.created_us[owners] == UNBORN) & (owners >= 0))
        if first.size:
            rows, places = np.unique(owners[first], return_index=True)
            self.begin(people, rows.astype(np.int64), accepts[first[places]].astype(np.int64))

    def begin_due(self, people: People, now: int, until: int, late: bool) -> None:
        """Profiles nothing was heard of begin with their creation: those created within
        (now, until]; with `late` those created before begin now."""
        if not self.unborn or (not late and self.unborn.earliest > until):
            return
        at, who = self.unborn.all()
        still = people.created_us[who] == UNBORN
        due = still & (at <= until)
        if not late:
            due &= at > now
        self.unborn.keep(still & ~due)
        if due.any():
            self.begin(people, who[due], np.maximum(at[due], now))

    def born(
        self, people: People, e: EventRows, now: int, until: int, rows: Array, effects: Array
    ) -> tuple[Array, Array, Array]:
        """(instants, profile rows, causes) of the births by `until`, at the earliest now.

        rows, effects: the event rows that take effect meanwhile, in order.
        """
        at, who = self.births.due(until)
        cause = np.empty(at.size, np.int64)
        if at.size:
            at = np.maximum(at, now)
            _first_rows(at, who, people.created_us, e, people.slot_row, rows, effects, cause)
        return at, who, cause

"""What people said about being written to: who may not be reached over a channel any more, and on
which platform somebody takes push messages.

A word hangs on the slot of the event or attribute that said it, with its time, so merges unite
words and splits part them again. A channel is *stopped* for a profile when on one of its slots a
stop is not older than the last permission: of two subscriptions the stricter stands, until somebody
says yes again, which counts for all the profile consists of at that instant. A platform is *on*
when on one of its slots the last word was to subscribe. Late words count by their own time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from muster.identity.v1 import facts_pb2 as identity
from services.segments.domain.conditions import CHANNEL_KINDS
from services.segments.domain.values import FLAG, TEXT
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.base.tables import Table, find, put
from services.segments.engine.language.expressions import WordLeaf, stopped, taking
from services.segments.engine.live.cursors import EVENT_CAUSE
from services.segments.engine.live.flips import Flips, new_flips
from services.segments.engine.live.memberships import ATTRIBUTE_CAUSE
from services.segments.engine.store import persons
from services.segments.engine.store.events import EventRows
from services.segments.engine.store.former import NO, YES
from services.segments.engine.store.people import Slots

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

STOPPING = ("message_unsubscribed", "message_complained", "message_bounced")
"""Events after which nothing more is sent over their `channel`; a bounce only when it is `hard`."""
SUBSCRIBED, UNSUBSCRIBED = "push_subscribed", "push_unsubscribed"
"""Events of push tokens, with their `platform`, and `channel` when it is one of the two."""
SUBSCRIPTION = "subscription."
"""Attributes by channel: false stops, true permits."""
PUSH_CHANNELS = ("web_push", "mobile_push")
TOPICS_MAX = 10_000
NONE = np.zeros(0, np.int64)


class Heard(NamedTuple):
    """Words: the instant, the cause, the slot, the word's own time, the topic's number, whether it
    says no; int64 each."""

    at: Array
    cause: Array
    slot: Array
    time: Array
    topic: Array
    says_no: Array


NOTHING_HEARD = Heard(NONE, NONE, NONE, NONE, NONE, NONE)
NO_FLIPS = new_flips(0)


@njit(cache=True, nogil=True)
def _first_values(e: EventRows, rows: Array, keys: Array, found: Array) -> None:
    """Of the first present value of properties of rows: the number of its text, 0 when it is none;
    of the last property whether it is a flag that is set."""
    e = bare(e)
    for i in range(rows.size):
        row = rows[i]
        start = e.prop_end[row - 1] if row > 0 else np.int64(0)
        for j in range(keys.size):
            for q in range(start, e.prop_end[row]):
                kind, value = e.kind[q], e.value[q]
                if e.key[q] == keys[j] and not (kind == TEXT and value == 0):
                    if j + 1 < keys.size:
                        found[i, j] = value if kind == TEXT else np.int64(0)
                    else:
                        found[i, j] = 1 if kind == FLAG and value != 0 else 0
                    break


@njit(cache=True, nogil=True)
def _notes_max(slots: Slots, said: Heard) -> Number:
    """How many entries words may change at most."""
    total = np.int64(0)
    for i in range(said.at.size):
        row = slots.row[said.slot[i]]
        total += 1
        slot = np.int64(slots.first_slot[row]) if row >= 0 and not said.says_no[i] else np.int64(-1)
        while slot >= 0:
            total += 1
            slot = np.int64(slots.next[slot])
    return total


@njit(cache=True, nogil=True)
def _take(
    slots: Slots, said: Heard, yes_keys: Array, yes_values: Array, yes_used: int, no_keys: Array,
    no_values: Array, no_used: int, leaves: Array, notes: Array, out: Flips,
) -> tuple[int, int, int]:  # fmt: skip
    """Takes words in order; (changes noted, entries in use after). leaves: see `_leaves`.

    notes: (whether it says no, key, time until then, instant). out: a flip for each word, its leaf
    -1 when nobody looks at it.
    """
    slots, said, out = bare(slots), bare(said), bare(out)
    n = 0
    for i in range(said.at.size):
        out.leaf[i] = -1
        topic, row = said.topic[i], np.int64(slots.row[said.slot[i]])
        if row < 0:
            continue
        leaf, stops = leaves[topic, 0], leaves[topic, 1] == 1
        high = np.uint64(topic) << np.uint64(32)
        permits = stops and not said.says_no[i]
        slot = np.int64(slots.first_slot[row]) if permits else said.slot[i]
        while slot >= 0 and topic >= 0:
            key = high | np.uint64(slot)
            keys, values = (no_keys, no_values) if said.says_no[i] else (yes_keys, yes_values)
            before = find(keys, values, key)
            time = max(said.time[i], 0)
            if time > before:
                notes[n, 0] = said.says_no[i]
                notes[n, 1], notes[n, 2], notes[n, 3] = np.int64(key), before, said.at[i]
                n += 1
                new = put(keys, values, key, time)
                if said.says_no[i]:
                    no_used += new
                else:
                    yes_used += new
            slot = np.int64(slots.next[slot]) if permits else np.int64(-1)
        out.at[i], out.row[i], out.leaf[i], out.cause[i] = said.at[i], row, leaf, said.cause[i]
        out.state[i] = 0
        slot = np.int64(slots.first_slot[row]) if leaf >= 0 and topic >= 0 else np.int64(-1)
        while slot >= 0:
            key = high | np.uint64(slot)
            yes, no = find(yes_keys, yes_values, key), find(no_keys, no_values, key)
            if (no >= 0 and no >= yes) if stops else (yes >= 0 and yes > no):
                out.state[i] = 1
            slot = np.int64(slots.next[slot])
    return n, yes_used, no_used


def _stops(topic: str) -> bool:
    return topic.startswith("stop:")


def _says(topic: str, yes_us: int, no_us: int) -> bool:
    """Whether the last words on a slot, -1 for none, make the topic so."""
    if _stops(topic):
        return no_us >= 0 and no_us >= yes_us
    return yes_us >= 0 and yes_us > no_us


def _where(mask: Array, mine: Array, starts: Array) -> tuple[Array, Array]:
    return mine[mask], starts[mask]


class Words:
    """The words of one partition's profiles."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.topics: dict[str, int] = {}
        self.yes, self.no = Table(), Table()
        """topic number << 32 | slot -> time of the last word."""
        self._types: Array = np.zeros(0, bool)

    # What rules see.

    def bears(self, topic: str, row: int) -> bool:
        """Whether a profile has stopped a channel, or takes push messages on a platform."""
        number = self.topics.get(topic)
        slots = self.part.people.slots_of(row) if number is not None else []
        return any(self._holds(topic, number << 32 | slot) for slot in slots if number is not None)

    def _holds(self, topic: str, key: int) -> bool:
        return _says(topic, self.yes.get(key), self.no.get(key))

    def holding(self, leaf: WordLeaf) -> Array:
        """Which profiles that is so for, one bool per profile row."""
        part, number = self.part, self.topics.get(leaf.topic)
        found = np.zeros(part.people.rows, bool)
        if number is None:
            return found
        table = self.no if _stops(leaf.topic) else self.yes
        mine = (table.values >= 0) & (table.keys >> np.uint64(32) == np.uint64(number))
        for key in table.keys[mine].tolist():
            owner = int(part.people.slot_row[key & 0xFFFFFFFF])
            if owner >= 0 and not found[owner]:
                found[owner] = self._holds(leaf.topic, key)
        return found

    def ahead(self, row: int) -> Iterator[tuple[int, dict[str, bool]]]:
        """Instants at which words of a profile that came already take effect, in order: by topic
        what `bears` will say if nothing more happens."""
        part, people = self.part, self.part.people
        slots = people.slots_of(row)
        view, columns = part.events.view, part.attributes.columns
        rows = persons.rows_of(part, row)
        records = np.array(part.attributes.hanging_on(slots, people), np.int64)
        said: list[tuple[int, ...]] = []
        for of, (these, effects) in (
            (self._of_rows, (rows, np.maximum(view.occur[rows], view.accept[rows]))),
            (self._of_records, (records, np.maximum(columns["occur"][records],
                                                    columns["accept"][records]))),
        ):  # fmt: skip
            later = effects > part.now
            said += zip(*(one.tolist() for one in of(these[later], effects[later])), strict=True)
        topics = {number: topic for topic, number in self.topics.items()}
        known = {
            (table is self.no, topic, slot): table.get(topic << 32 | slot)
            for table in (self.yes, self.no) for topic in topics for slot in slots
        }  # fmt: skip
        said.sort(key=lambda one: (one[0], one[1], one[4]))
        for at, words in groupby(said, key=itemgetter(0)):
            for _, _, slot, time_us, topic, says_no in words:
                permits = topic >= 0 and _stops(topics[topic]) and not says_no
                for one in slots if permits else [slot]:
                    key = bool(says_no), topic, one
                    known[key] = max(known.get(key, -1), time_us, 0)
            yield (
                at,
                {
                    name: any(
                        _says(name, known[False, topic, slot], known[True, topic, slot])
                        for slot in slots
                    )
                    for topic, name in topics.items()
                },
            )

    # What changes them.

    def heard(self, rows: Array, effects: Array, records: Array, record_effects: Array) -> Flips:
        """Takes the words among what takes effect in a stretch; flips of leaves that look at them,
        in the order of (instant, what said it)."""
        of_rows, of_records = (
            self._of_rows(rows, effects),
            self._of_records(records, record_effects),
        )
        if not (of_rows.at.size or of_records.at.size):
            return NO_FLIPS
        said = Heard(*map(np.concatenate, zip(of_rows, of_records, strict=True)))
        order = np.lexsort((said.topic, said.cause, said.at))
        said = Heard(*(column[order] for column in said))
        people, former = self.part.people, self.part.former
        room = int(_notes_max(people.view(), said))
        for table in (self.yes, self.no):
            table.reserve(room)
        notes, flips = np.zeros((room, 4), np.int64), new_flips(said.at.size)
        n, self.yes.used, self.no.used = _take(
            people.view(), said, self.yes.keys, self.yes.values, self.yes.used, self.no.keys,
            self.no.values, self.no.used, self._leaves(), notes, flips,
        )  # fmt: skip
        for what, no in ((YES, 0), (NO, 1)):
            mine = notes[:n][notes[:n, 0] == no]
            former.note_all(what, mine[:, 1], mine[:, 2], mine[:, 3])
        turned = flips.leaf >= 0
        return Flips(*(column[turned] for column in flips))

    def _leaves(self) -> Array:
        """By number of the topic, and last for one there was no room for: the leaf that looks at
        it, -1 for none; whether it is about stopping."""
        found = np.full((len(self.topics) + 1, 2), -1, np.int64)
        for topic, number in self.topics.items():
            found[number] = self.part.leaf_numbers.get(WordLeaf(topic), -1), _stops(topic)
        return found

    def _number_of(self, topic: str) -> int:
        """The number of a topic, made when there is none; -1 when there are too many."""
        if topic not in self.topics and len(self.topics) >= TOPICS_MAX:
            return -1
        return self.topics.setdefault(topic, len(self.topics))

    def _of_rows(self, rows: Array, effects: Array) -> Heard:
        part, view = self.part, self.part.events.view
        names = part.names
        if self._types.size != len(names.names):
            wanted = {*STOPPING, SUBSCRIBED, UNSUBSCRIBED}
            self._types = np.array([name in wanted for name in names.names], bool)
        chosen = np.flatnonzero(self._types[view.type[rows]]) if rows.size else rows
        if not chosen.size:
            return NOTHING_HEARD
        rows, effects = rows[chosen], effects[chosen]
        keys = np.array([names.number_of(name) for name in ("channel", "platform", "hard")])
        values = np.zeros((rows.size, 3), np.int64)
        _first_values(view, rows, keys, values)
        # Those alike share one look: there are few channels and platforms.
        alike = view.type[rows].astype(np.int64)
        for column in values.T:
            alike = np.unique(alike << 32 | column, return_inverse=True)[1]
        _, first, which = np.unique(alike, return_index=True, return_inverse=True)
        kinds, found = view.type[rows[first]].tolist(), values[first].tolist()
        topics = [self._said(kind, *one) for kind, one in zip(kinds, found, strict=True)]
        count = np.array([len(one) for one in topics])[which]
        flat = np.array([pair for one in which.tolist() for pair in topics[one]], np.int64)
        of = np.repeat(np.arange(rows.size), count)
        topic, says_no = flat.reshape(-1, 2).T
        return Heard(
            effects[of], EVENT_CAUSE + rows[of], view.slot[rows[of]].astype(np.int64),
            view.occur[rows[of]], topic, says_no,
        )  # fmt: skip

    def _said(self, kind: int, channel: int, platform: int, hard: int) -> list[tuple[int, int]]:
        """(number of the topic, whether it says no) of an event with these values."""
        texts = self.part.texts
        name, of = self.part.names.names[kind], texts.text_of(channel)
        if name in STOPPING:
            counts = (name != "message_bounced" or hard) and of in CHANNEL_KINDS
            return [(self._number_of(stopped(of).topic), 1)] if counts else []
        on = texts.text_of(platform)
        channels = [of] if of in PUSH_CHANNELS else PUSH_CHANNELS
        topics = [taking(one, on).topic for one in channels if on]
        return [(self._number_of(topic), int(name == UNSUBSCRIBED)) for topic in topics]

    def _of_records(self, records: Array, effects: Array) -> Heard:
        if not records.size:
            return NOTHING_HEARD
        part, columns = self.part, self.part.attributes.columns
        keys, ends = columns["key"][records], columns["value_end"]
        found = [NOTHING_HEARD]
        for channel in CHANNEL_KINDS:
            key = part.names.numbers.get(f"{SUBSCRIPTION}{channel}".encode())
            mine = np.flatnonzero(keys == key) if key is not None else NONE
            starts = np.where(records[mine] > 0, ends[records[mine] - 1], 0)
            mine, starts = _where(ends[records[mine]] == starts + 1, mine, starts)
            mine, starts = _where(columns["kind"][starts] == FLAG, mine, starts)
            if mine.size:
                of, topic = records[mine], self._number_of(stopped(channel).topic)
                found.append(
                    Heard(
                        effects[mine], ATTRIBUTE_CAUSE + of, columns["slot"][of].astype(np.int64),
                        columns["occur"][of], np.full(of.size, topic),
                        (columns["value"][starts] == 0).astype(np.int64),
                    )
                )  # fmt: skip
        return Heard(*map(np.concatenate, zip(*found, strict=True)))

    # Pasts that move, and snapshots.

    def export(self, slots: list[int]) -> list[identity.SaidWords]:
        """Words of slots that leave the partition."""
        atoms, found = self.part.people.slot_atom, []
        for topic, number in sorted(self.topics.items()):
            for slot in slots:
                yes, no = (table.get(number << 32 | slot) for table in (self.yes, self.no))
                if yes >= 0 or no >= 0:
                    made = identity.SaidWords(topic=topic, atom=int(atoms[slot]))
                    made.yes_us, made.no_us = yes + 1, no + 1
                    found.append(made)
        return found

    def arrive(self, said: identity.SaidWords, slots: dict[int, int]) -> None:
        """Words that came with an atom from another partition. slots: atom -> its slot here."""
        number = self.topics.setdefault(said.topic, len(self.topics))
        key = number << 32 | slots[said.atom]
        for table, time_us in ((self.yes, said.yes_us - 1), (self.no, said.no_us - 1)):
            if time_us > table.get(key):
                table.set(key, time_us)

    def dump(self) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for name, table in (("yes", self.yes), ("no", self.no)):
            kept = table.values >= 0
            found[f"words.{name}"] = table.keys[kept]
            found[f"words.{name}_us"] = table.values[kept]
        return found

    def load(self, topics: dict[str, int], buffers: dict[str, Any]) -> None:
        """Takes over a dump into a fresh object."""
        self.topics = dict(topics)
        self.yes.fill(buffers["yes"], buffers["yes_us"])
        self.no.fill(buffers["no"], buffers["no_us"])

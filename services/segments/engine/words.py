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
from typing import TYPE_CHECKING, Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from services.segments.domain.conditions import CHANNEL_KINDS
from services.segments.domain.values import FLAG, TEXT, Scalar
from services.segments.engine import persons
from services.segments.engine.arrays import Array
from services.segments.engine.cursors import EVENT_CAUSE
from services.segments.engine.expressions import WordLeaf, stopped, taking
from services.segments.engine.former import NO, YES
from services.segments.engine.memberships import ATTRIBUTE_CAUSE
from services.segments.engine.tables import Table

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
Word = tuple[int, int, int, int, str, bool, int]
"""(instant, order at it, slot, time, topic, whether it says no, cause)."""


class Words:
    """The words of one partition's profiles."""

    def __init__(self, part: Partition) -> None:
        self.part = part
        self.topics: dict[str, int] = {}
        self.yes, self.no = Table(), Table()
        """topic number << 32 | slot -> time of the last word."""
        self._types: Array = np.zeros(0, bool)
        self._channels: dict[int, str] = {}

    # What rules see.

    def bears(self, topic: str, row: int) -> bool:
        """Whether a profile has stopped a channel, or takes push messages on a platform."""
        number = self.topics.get(topic)
        slots = self.part.people.slots_of(row) if number is not None else []
        return any(self._holds(topic, number << 32 | slot) for slot in slots if number is not None)

    def _holds(self, topic: str, key: int) -> bool:
        yes, no = self.yes.get(key), self.no.get(key)
        return no >= 0 and no >= yes if topic.startswith("stop:") else yes >= 0 and yes > no

    def holding(self, leaf: WordLeaf) -> Array:
        """Which profiles that is so for, one bool per profile row."""
        part, number = self.part, self.topics.get(leaf.topic)
        found = np.zeros(part.people.rows, bool)
        if number is None:
            return found
        table = self.no if leaf.topic.startswith("stop:") else self.yes
        mine = (table.values >= 0) & (table.keys >> np.uint64(32) == np.uint64(number))
        for key in table.keys[mine].tolist():
            owner = int(part.people.slot_row[key & 0xFFFFFFFF])
            if owner >= 0 and not found[owner]:
                found[owner] = self._holds(leaf.topic, key)
        return found

    # What changes them.

    def heard(
        self, rows: Array, effects: Array, records: Array, record_effects: Array
    ) -> list[tuple[int, int, int, int, int]]:
        """Takes the words among what takes effect in a stretch; flips of leaves that look at them,
        as (instant, profile row, leaf, state, cause)."""
        words = [*self._of_rows(rows, effects), *self._of_records(records, record_effects)]
        found = []
        for at, _, slot, time_us, topic, says_no, cause in sorted(words):
            row = int(self.part.people.slot_row[slot])
            if row < 0:
                continue
            self._take(topic, slot, row, max(time_us, 0), says_no, at)
            leaf = self.part.leaf_numbers.get(WordLeaf(topic))
            if leaf is not None:
                found.append((at, row, leaf, int(self.bears(topic, row)), cause))
        return found

    def _take(self, topic: str, slot: int, row: int, time_us: int, says_no: bool, at: int) -> None:
        if topic not in self.topics and len(self.topics) >= TOPICS_MAX:
            return
        number = self.topics.setdefault(topic, len(self.topics))
        permits = topic.startswith("stop:") and not says_no
        table = self.no if says_no else self.yes
        for one in self.part.people.slots_of(row) if permits else [slot]:
            key = number << 32 | one
            before = table.get(key)
            if time_us > before:
                self.part.former.note(NO if says_no else YES, key, before, at)
                table.set(key, time_us)

    def _of_rows(self, rows: Array, effects: Array) -> Iterator[Word]:
        if not rows.size:
            return
        part, view = self.part, self.part.events.view
        names = part.names
        if self._types.size != len(names.names):
            wanted = {*STOPPING, SUBSCRIBED, UNSUBSCRIBED}
            self._types = np.array([name in wanted for name in names.names], bool)
        for i in np.flatnonzero(self._types[view.type[rows]]).tolist():
            row, kind = int(rows[i]), names.names[int(view.type[rows[i]])]
            for topic, says_no in self._said(row, kind):
                yield (
                    int(effects[i]), EVENT_CAUSE + row, int(view.slot[row]),
                    int(view.occur[row]), topic, says_no, EVENT_CAUSE + row,
                )  # fmt: skip

    def _said(self, row: int, kind: str) -> list[tuple[str, bool]]:
        """(topic, whether it says no) of an event."""
        channel = self._text(row, "channel")
        if kind in STOPPING:
            hard = kind != "message_bounced" or self._flag(row, "hard")
            return [(stopped(channel).topic, True)] if hard and channel in CHANNEL_KINDS else []
        platform = self._text(row, "platform")
        channels = [channel] if channel in PUSH_CHANNELS else PUSH_CHANNELS
        return [(taking(one, platform).topic, kind == UNSUBSCRIBED) for one in channels if platform]

    def _of_records(self, records: Array, effects: Array) -> Iterator[Word]:
        if not records.size:
            return
        part, columns = self.part, self.part.attributes.columns
        keys = columns["key"][records]
        for channel in CHANNEL_KINDS:
            key = part.names.numbers.get(f"{SUBSCRIPTION}{channel}".encode())
            if key is None:
                continue
            for i in np.flatnonzero(keys == key).tolist():
                record = int(records[i])
                values = part.attributes.scalars(record, part.texts)
                if len(values) == 1 and values[0].kind == FLAG:
                    yield (
                        int(effects[i]), ATTRIBUTE_CAUSE + record, int(columns["slot"][record]),
                        int(columns["occur"][record]), stopped(channel).topic, not values[0].units,
                        ATTRIBUTE_CAUSE + record,
                    )  # fmt: skip

    def _first(self, row: int, name: str) -> Scalar | None:
        found = persons.scalars_of(self.part, row, self.part.names.number_of(name))
        return found[0] if found else None

    def _text(self, row: int, name: str) -> str:
        value = self._first(row, name)
        return value.text if value is not None and value.kind == TEXT else ""

    def _flag(self, row: int, name: str) -> bool:
        value = self._first(row, name)
        return value is not None and value.kind == FLAG and bool(value.units)

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

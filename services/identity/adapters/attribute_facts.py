"""What identity says of attributes: what events set, and corrections by the tenant's rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from services.chassis.columns import Columns, pool_of, pool_texts
from services.chassis.subjects import partition_of
from services.identity.adapters import wire
from services.identity.adapters.outbox import Outbox
from services.identity.domain.attribute_rules import AttributeRule, AttributeRules
from services.identity.engine.attribute_order import Correction, corrections, forgettable
from services.identity.engine.attributes import TEXT_KIND, Attributes, Statement
from services.identity.engine.store import Store

ATTRIBUTES_TYPE = "profile_updated"
"""Events of this type set their properties as attributes."""


class _Corrected(NamedTuple):
    """A correction of one profile. accept_us: log time of what made it necessary."""

    profile: int
    key: str
    accept_us: int
    one: Correction


class AttributeFacts:
    """Keeps attributes and says them; a part of the core."""

    def __init__(self, store: Store, attributes: Attributes, partitions: int) -> None:
        self._store = store
        self._partitions = partitions
        self.attributes = attributes
        self.rules = AttributeRules()

    def set(
        self,
        columns: Columns,
        names: list[str],
        rows: range,
        profiles: np.ndarray,
        atoms: np.ndarray,
        outbox: Outbox,
    ) -> None:
        """Takes the attributes that rows of a message set."""
        if not rows or ATTRIBUTES_TYPE not in names or not len(columns["prop_end"]):
            return
        setting = columns["type"][rows.start : rows.stop] == names.index(ATTRIBUTES_TYPE)
        chosen = rows.start + np.flatnonzero(setting)
        counts = np.diff(columns["prop_end"].astype(np.int64), prepend=0)
        chosen = chosen[counts[chosen] > 0]
        if not len(chosen):
            return
        outbox.attributes(columns, chosen, profiles, atoms)
        said = wire.attributes_of(columns, chosen, profiles, atoms)
        self.attributes.add(names, said, self._sources(columns, np.repeat(chosen, counts[chosen])))
        ordered = self.rules.ordered().keys() & set(names)
        if ordered:
            keys = [place for place, name in enumerate(names) if name in ordered]
            of_rule = np.isin(said["key"], keys)
            self._settle(
                zip(
                    said["profile"][of_rule].tolist(),
                    [names[key] for key in said["key"][of_rule].tolist()],
                    said["accept_time_us"][of_rule].tolist(),
                    strict=True,
                ),
                outbox,
            )

    def moved(self, profiles: Iterable[int], time_us: int, outbox: Outbox) -> None:
        """Atoms of these profiles came or went: what stands may be another value."""
        ordered = self.rules.ordered()
        if ordered:
            pairs = [(profile, key, time_us) for profile in profiles for key in sorted(ordered)]
            self._settle(pairs, outbox)

    def ruled(self, rules: AttributeRules, time_us: int, outbox: Outbox) -> None:
        """Takes other rules: what stands is said anew where it is another value by them.

        Of what was said before, they know the newest value of each identifier and profile.
        """
        if rules == self.rules:
            return
        before, after = self.rules.ordered(), rules.ordered()
        again = rules.sources != self.rules.sources
        keys = {
            key
            for key in (*before, *after)
            if before.get(key) != after.get(key)
            or (again and after.get(key) is AttributeRule.SOURCE)
        }
        self.rules = rules
        self.attributes.rule(after)
        pairs = [(profile, key, time_us) for key in sorted(keys) for profile in self._with(key)]
        self._settle(pairs, outbox)

    def _with(self, key: str) -> list[int]:
        """Profiles with more than one value of an attribute."""
        return self.attributes.disputed(key)

    def _settle(self, pairs: Iterable[tuple[int, str, int]], outbox: Outbox) -> None:
        """pairs: (profile, attribute, log time), each looked at once, at its last."""
        latest = {(profile, key): time_us for profile, key, time_us in pairs}
        found: list[_Corrected] = []
        for (profile, key), time_us in latest.items():
            rule = self.rules.rules.get(key, AttributeRule.NEWEST)
            atoms = self._store.atoms_of(profile)
            every = self.attributes.statements(atoms, profile, key, self.rules.rank)
            found += [
                _Corrected(profile, key, self._after(one.instead, profile, time_us), one)
                for one in corrections(every, rule)
            ]
            self.attributes.forget(forgettable(every))
        if found:
            self._say(found, outbox)

    def _after(self, instead: Statement, profile: int, time_us: int) -> int:
        """Log time at which a correction stands before another value.

        A value of another partition comes to this one over HISTORY, behind the correction: it must
        not be of the same instant.
        """
        at = max(time_us, instead.accept_us)
        here, there = (partition_of(n, self._partitions) for n in (profile, instead.born))
        return at + 1 if here != there and at == instead.accept_us else at

    def _say(self, found: Sequence[_Corrected], outbox: Outbox) -> None:
        names = list(dict.fromkeys(one.key for one in found))
        name, name_end = pool_of(names)
        texts: dict[bytes, int] = {}
        rows: list[tuple[int, ...]] = []
        prints: list[int] = []
        records = self.attributes.records
        for corrected in found:
            of = corrected.one.of
            record = records[of.place]
            for item, kind, value, exponent, text in of.content:
                number = texts.setdefault(text, len(texts)) if kind == TEXT_KIND else value
                rows.append(
                    (corrected.profile, int(record["atom"]), names.index(corrected.key), item,
                     kind, number, exponent, corrected.one.at_us, corrected.accept_us)
                )  # fmt: skip
                prints += [int(record["event"]), int(record["event_low"])]
        table = np.array(rows, np.int64).T
        each = ("profile", "atom", "key", "item", "kind", "value", "exponent", "occur_time_us",
                "accept_time_us")  # fmt: skip
        raw = list(texts)
        columns: dict[str, Any] = {
            **dict(zip(each, table, strict=True)),
            "name": name,
            "name_end": name_end,
            "text": np.frombuffer(b"".join(raw), np.uint8),
            "text_end": np.cumsum([len(one) for one in raw], dtype=np.uint32),
            "event_print": np.array(prints, np.uint64),
        }
        columns["kind"] = columns["kind"].astype(np.uint8)
        columns["exponent"] = columns["exponent"].astype(np.uint8)
        outbox.corrections(columns)
        marks = np.repeat(np.arange(len(found)), [len(one.one.of.content) for one in found])
        sources = np.repeat(
            [int(records["source"][one.one.of.place]) for one in found],
            [len(one.one.of.content) for one in found],
        )
        self.attributes.add(names, columns, sources, marks)

    def _sources(self, columns: Columns, rows: np.ndarray) -> np.ndarray:
        """The numbers of who published these rows; 0 for nobody known."""
        of_row = columns["row_source"]
        if not len(of_row):
            return np.zeros(len(rows), np.uint16)
        pool = pool_texts(columns["source_name"], columns["source_name_end"])
        numbers = np.array([0, *(self.attributes.source(name) for name in pool)], np.uint16)
        return numbers[of_row[rows]]

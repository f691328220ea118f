"""Which variant of a content a profile gets: the first rule whose segment holds it, else a default.

A transition carries the variant of its own instant, however the log was cut into steps: where a
membership changed again later in the same step, the later change is taken back first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.segments.engine.asked.trials import members_of
from services.segments.engine.base.arrays import Array
from services.segments.engine.live.reader import standing_profiles
from services.segments.engine.partition import Partition

SILENT = 1


@dataclass(frozen=True, slots=True)
class VariantSet:
    """rules: (segment id, variant), read from the top; default: for whom none holds."""

    version: int
    rules: tuple[tuple[str, str], ...]
    default: str

    def name_of(self, rule: int) -> str:
        """The variant of a rule's place; the default's place comes after the last rule."""
        return self.rules[rule][1] if rule < len(self.rules) else self.default

    def segment_of(self, rule: int) -> str:
        """The segment of a rule's place; empty for the default."""
        return self.rules[rule][0] if rule < len(self.rules) else ""


def deciding_rules(part: Partition, variants: VariantSet, rows: Array) -> Array:
    """The place of the rule that decides for each row now; len(rules) for the default."""
    found = np.full(rows.size, len(variants.rules), np.int64)
    for place in reversed(range(len(variants.rules))):
        found[_members(part, variants.rules[place][0], rows)] = place
    return found


def divide(part: Partition, variants: VariantSet) -> tuple[list[int], list[int]]:
    """Over everybody who stands: whom each rule (and, last, the default) decides for, and how many
    members each rule's segment has (of the default: everybody)."""
    rows = np.flatnonzero(standing_profiles(part))
    decided = np.bincount(deciding_rules(part, variants, rows), minlength=len(variants.rules) + 1)
    members = [
        int(np.count_nonzero(_members(part, segment_id, rows))) for segment_id, _ in variants.rules
    ]
    return decided.tolist(), [*members, int(rows.size)]


def variants_of(
    part: Partition, by_segment: Mapping[int, VariantSet], columns: Mapping[str, Any]
) -> Array | None:
    """A text for each transition, empty for none; None when no row has one.

    by_segment: number of the segment -> the set its trigger policy names. columns: transitions of
    one advance, whose end is now. Silent rows trigger nothing and get none.
    """
    segment = columns["segment"]
    loud = columns["row_flags"] & SILENT == 0
    found: Array | None = None
    for number, variants in sorted(by_segment.items()):
        chosen = np.flatnonzero((segment == number) & loud)
        if not chosen.size:
            continue
        if found is None:
            found = np.full(segment.size, "", object)
        decided = _decided_at(part, variants, columns, chosen)
        names = [variants.name_of(place) for place in range(len(variants.rules) + 1)]
        found[chosen] = np.array(names, object)[decided]
    return found


def _decided_at(
    part: Partition, variants: VariantSet, columns: Mapping[str, Any], chosen: Array
) -> Array:
    """The place of the rule that decides for chosen transitions at their own instants."""
    rows = columns["profile"][chosen].astype(np.int64) // part.people.partitions
    found = np.full(chosen.size, len(variants.rules), np.int64)
    for place in reversed(range(len(variants.rules))):
        segment_id = variants.rules[place][0]
        holds = _members(part, segment_id, rows)
        if segment_id in part.segments:
            _take_back(columns, part.segments[segment_id].number, chosen, holds)
        found[holds] = place
    return found


def _take_back(columns: Mapping[str, Any], number: int, chosen: Array, holds: Array) -> None:
    """Turns memberships now into those of the chosen transitions' instants, in place.

    What the first later transition of the profile came from is what held before it.
    """
    profiles, at = columns["profile"], columns["at_us"]
    changes = np.flatnonzero(columns["segment"] == number)
    changes = changes[np.isin(profiles[changes], profiles[chosen])]
    if not changes.size:
        return
    of_profile: dict[int, list[int]] = {}
    for row in changes.tolist():
        of_profile.setdefault(int(profiles[row]), []).append(row)
    for i, row in enumerate(chosen.tolist()):
        for change in of_profile.get(int(profiles[row]), ()):
            if at[change] > at[row]:
                holds[i] = not columns["entered"][change]
                break


def _members(part: Partition, segment_id: str, rows: Array) -> Array:
    """Which of the rows are members now; nobody is of a segment there is not."""
    if segment_id not in part.segments:
        return np.zeros(rows.size, bool)
    return np.asarray(members_of(part, segment_id)[rows])

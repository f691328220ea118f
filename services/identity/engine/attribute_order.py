"""Which value of an attribute stands when an older one may stand before a newer one.

Whoever follows PROFILES lets the newest value stand, by event time, then place in the log. So where
another one is to stand from an instant on, it is said once more at that instant: a correction. It
stays with the identifier of the value it repeats, so that a split takes both along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.identity.domain.attribute_rules import AttributeRule
from services.identity.engine.attributes import Statement

STATEMENTS_MAX = 64
"""Values of one attribute and profile that are compared; beyond it the oldest are forgotten."""


class Correction(NamedTuple):
    """A value is said once more, as of an instant, instead of the newest of that instant."""

    at_us: int
    instead: Statement
    of: Statement


def corrections(every: Sequence[Statement], rule: AttributeRule) -> list[Correction]:
    """What has to be said so that what stands by the rule is the newest, at every instant."""
    told = sorted(every)
    spoken = [one for one in told if not one.mark]
    found: list[Correction] = []
    for place, one in enumerate(told):
        if place + 1 < len(told) and told[place + 1].at_us == one.at_us:
            continue
        before = [other for other in spoken if other.at_us <= one.at_us]
        if not before:
            continue
        wanted = standing(before, rule)
        if one.content != wanted.content:
            found.append(Correction(one.at_us, one, wanted))
    return found


def standing(spoken: Sequence[Statement], rule: AttributeRule) -> Statement:
    """The one that stands of these, in order of time; one without a value when none has any."""
    if rule is AttributeRule.FIRST:
        return next((one for one in spoken if one.said), spoken[-1])
    if rule is AttributeRule.SOURCE:
        newest = {one.rank: one for one in spoken}
        return next((newest[rank] for rank in sorted(newest) if newest[rank].said), spoken[-1])
    return spoken[-1]


def forgettable(every: Sequence[Statement]) -> list[Statement]:
    """The oldest beyond STATEMENTS_MAX, but for the first value and the newest of each source."""
    told = sorted(every)
    spoken = [one for one in told if not one.mark]
    kept = {one.rank: one.place for one in spoken}
    first = next((one.place for one in spoken if one.said), -1)
    needed = {*kept.values(), first}
    idle = [one for one in told[:-1] if one.place not in needed]
    return idle[: max(0, len(told) - STATEMENTS_MAX)]

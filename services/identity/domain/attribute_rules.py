"""Whose value of an attribute stands: the tenant's rule for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class AttributeRule(IntEnum):
    """The numbers are those of the contract."""

    SURVIVOR = 1
    NEWEST = 2
    SOURCE = 3
    FIRST = 4


@dataclass(frozen=True, slots=True)
class AttributeRules:
    """rules: attribute -> its rule; those not named: the newest, at a merge the survivor's.

    sources: publishers, strongest first; those not named follow, all alike.
    """

    rules: Mapping[str, AttributeRule] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def newest_at_merge(self) -> frozenset[str]:
        """Attributes that do not go by who survives."""
        return frozenset(
            name for name, rule in self.rules.items() if rule is not AttributeRule.SURVIVOR
        )

    def ordered(self) -> dict[str, AttributeRule]:
        """Attributes of which an older value may stand before a newer one."""
        by_value = (AttributeRule.SOURCE, AttributeRule.FIRST)
        return {name: rule for name, rule in self.rules.items() if rule in by_value}

    def rank(self, source: str) -> int:
        """0 is the strongest."""
        return self.sources.index(source) if source in self.sources else len(self.sources)

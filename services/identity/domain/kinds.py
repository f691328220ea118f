"""Kinds of identifiers: which is stronger, how many a profile may hold, which may be handed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from services.identity.domain.patterns import Pattern

PRIORITY = ("user_id", "email", "phone", "mobile_push_token", "web_push_token", "cookie")
KNOWING = frozenset({"user_id", "email", "phone"})
"""Kinds that make a person known."""
TOKENS = frozenset({"mobile_push_token", "web_push_token"})
"""Kinds that are handed on from one known person to another."""
UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Rules:
    """What a tenant may set. limits: kind -> how many one profile may ever hold.

    shared_others_max: an identifier that came with more than this many different others is ignored
    as a whole. profile_identifiers_max: the size brake; a join beyond it is not made. patterns: of
    values that never join anybody.
    """

    priority: tuple[str, ...] = PRIORITY
    limits: Mapping[str, int] = field(default_factory=lambda: {"user_id": 1})
    shared_others_max: int = 100
    profile_identifiers_max: int = 200
    patterns: tuple[Pattern, ...] = ()


class Kinds:
    """The kinds met so far, by code (0, 1, ... in order of first sight), under the rules.

    Lists by code: names; rank (strongest first: the priority order, then others by name); limit;
    token; knows.
    """

    def __init__(self, rules: Rules, names: Iterable[str] = ()) -> None:
        self.rules = rules
        self.names: list[str] = []
        self.rank: list[tuple[int, str]] = []
        self.limit: list[int] = []
        self.token: list[bool] = []
        self.knows: list[bool] = []
        self._codes: dict[str, int] = {}
        self._places = {name: place for place, name in enumerate(rules.priority)}
        for name in names:
            self.code(name)

    def code(self, name: str) -> int:
        """The code of a kind; a new one gets the next."""
        known = self._codes.get(name)
        if known is not None:
            return known
        code = self._codes[name] = len(self.names)
        self.names.append(name)
        self.rank.append((self._places.get(name, len(self._places)), name))
        self.limit.append(self.rules.limits.get(name, UNLIMITED))
        self.token.append(name in TOKENS)
        self.knows.append(name in KNOWING)
        return code

    def ruled(self, rules: Rules) -> None:
        """Takes other limits; the order of strength stays as it is."""
        self.rules = replace(rules, priority=self.rules.priority)
        self.limit = [rules.limits.get(name, UNLIMITED) for name in self.names]

    def strengths(self) -> list[int]:
        """Code -> place in the order of strength, 0 the strongest."""
        order = sorted(range(len(self.names)), key=self.rank.__getitem__)
        places = [0] * len(order)
        for place, code in enumerate(order):
            places[code] = place
        return places

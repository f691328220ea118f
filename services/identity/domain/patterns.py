"""Values that never join anybody, by what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

TEXT_MAX = 64
STARS_MAX = 4
"""A pattern with many stars could be slow to match."""
_CHARACTERS_MIN = 4
"""So few alike are no sign: a user 777 may be real."""


@dataclass(frozen=True, slots=True, order=True)
class Pattern:
    """Values of a kind (empty: of every one). text: the whole value, * any characters, ? one; or,
    instead, one_character: at least 4 letters and digits, all the same."""

    kind: str
    text: str
    one_character: bool = False

    @property
    def label(self) -> str:
        """As people write it: `email=test@*`, `phone: one character`."""
        if self.one_character:
            return f"{self.kind}: one character".lstrip(": ")
        return f"{self.kind}={self.text}".lstrip("=")

    def fault(self) -> str:
        """What is wrong with it, and what to do; empty when nothing is."""
        if self.one_character:
            return "write a pattern or one_character, not both" if self.text else ""
        if not 1 <= len(self.text) <= TEXT_MAX:
            return f"write 1 to {TEXT_MAX} characters, such as test@*"
        if self.text.count("*") > STARS_MAX:
            return f"at most {STARS_MAX} stars"
        if not self.text.strip("*?"):
            return "matches everything: name at least one character"
        return ""

    def matches(self, value: str) -> bool:
        """Whether a normalised value of its kind looks like it."""
        if self.one_character:
            signs = [sign for sign in value if sign.isalnum()]
            return len(signs) >= _CHARACTERS_MIN and len(set(signs)) == 1
        return _expression(self.text).fullmatch(value) is not None


@lru_cache(maxsize=1_024)
def _expression(text: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(sign) or re.escape(sign) for sign in text)
    return re.compile(expression, re.IGNORECASE | re.DOTALL)


def by_kind(patterns: Iterable[Pattern], kinds: Iterable[str]) -> Mapping[str, list[Pattern]]:
    """Of each of these kinds the patterns that speak of it; kinds without any are left out."""
    every = list(patterns)
    spoken = {kind: [p for p in every if p.kind in ("", kind)] for kind in kinds}
    return {kind: found for kind, found in spoken.items() if found}


def matching(patterns: Iterable[Pattern], kind: str, value: str) -> Pattern | None:
    """The first pattern that a value matches."""
    return next((p for p in patterns if p.kind in ("", kind) and p.matches(value)), None)

"""Friendly YAML or JSON as a tree with paths: each fault is named where it stands."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

MICROSECOND = dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

DURATION_US_MAX = 100 * 366 * 86_400_000_000
"""The engine takes no longer window, and the wire no duration above 10,000 years."""

UNIT_US = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 7 * 86_400_000_000,
}
_SHORT = {
    "us": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
}
NO_MAPPING = "must be a mapping"
_AMOUNT = re.compile(r"(\d+)\s*([a-z]+)")


class TreeFaults(ValueError):
    """What is wrong with a tree: one (path, message) each, such as all[0].event.window."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path or '(top)'}: {message}" for path, message in faults))
        self.faults = faults


@dataclass(slots=True)
class Node:
    """One place of a tree: what stands there, its path, and the list that faults go to."""

    tree: Any
    path: str = ""
    faults: list[tuple[str, str]] = field(default_factory=list)
    short: str = ""
    """The key that a short form leaves out: what stands under it stands here."""

    def fault(self, message: str) -> None:
        """Notes a fault here; reading goes on elsewhere. One mistake is one fault: said once, and
        nothing is missing below what should have been a mapping and is none."""
        if (self.path, message) in self.faults:
            return
        for path, said in self.faults:
            below = not path or self.path.startswith((f"{path}.", f"{path}["))
            if below and self.path != path and NO_MAPPING in said:
                return
        self.faults.append((self.path, message))

    def fault_at_last(self, message: str) -> None:
        """Notes what is missing here, unless something here or below was found wrong already."""
        if not any(path.startswith(self.path) for path, _ in self.faults):
            self.fault(message)

    def has(self, key: str) -> bool:
        return isinstance(self.tree, Mapping) and key in self.tree

    def at(self, key: str) -> Node:
        """The child under a key; its tree is None when absent."""
        child = self.tree.get(key) if isinstance(self.tree, Mapping) else None
        if key == self.short:
            return Node(child, self.path, self.faults)
        return Node(child, f"{self.path}.{key}" if self.path else str(key), self.faults)

    def aside(self, tree: Any, short: str = "") -> Node:
        """The same place read as another tree: a short form spelled out. short: its one key."""
        return Node(tree, self.path, self.faults, short)

    def items(self) -> Iterator[Node]:
        """The elements of a list; a fault when it is none."""
        if not isinstance(self.tree, list):
            self.fault(f"must be a list, not {describe(self.tree)}")
            return
        for place, tree in enumerate(self.tree):
            yield Node(tree, f"{self.path}[{place}]", self.faults)

    def keys(self, known: set[str], what: str) -> list[str]:
        """Keys of a mapping; a fault for each that `what` does not have."""
        if not isinstance(self.tree, Mapping):
            self.fault(f"{what} {NO_MAPPING}, not {describe(self.tree)}")
            return []
        for key in self.tree:
            if key not in known:
                self.at(str(key)).fault(f"{what} has no {key!r}; it has {', '.join(sorted(known))}")
        return [str(key) for key in self.tree if key in known]

    def names(self, what: str) -> list[str]:
        """Keys that the writer chose, such as ids; none of nothing, a fault when no mapping."""
        if self.tree is not None and not isinstance(self.tree, Mapping):
            self.fault(f"{what} {NO_MAPPING}, not {describe(self.tree)}")
        return [str(key) for key in self.tree] if isinstance(self.tree, Mapping) else []

    def text(self, needed: bool = True) -> str:
        if self.tree is None and not needed:
            return ""
        if not isinstance(self.tree, str) or not self.tree:
            self.fault(f"must be a text, not {describe(self.tree)}")
            return ""
        return self.tree

    def whole(self, least: int = 0, most: int = 2**32 - 1, default: int | None = None) -> int:
        if self.tree is None and default is not None:
            return default
        if not isinstance(self.tree, int) or isinstance(self.tree, bool):
            self.fault(f"must be a whole number, not {describe(self.tree)}")
            return least
        if not least <= self.tree <= most:
            self.fault(f"must be from {least} to {most}, not {self.tree}")
            return least
        return self.tree

    def duration_us(self) -> int:
        """Microseconds of `90 days`, `1 hour 30 minutes`, `500ms`; a fault for months and years."""
        spelled = str(self.tree).strip().lower()
        parts = _AMOUNT.findall(spelled)
        if not parts or _AMOUNT.sub("", spelled).strip(" ,"):
            self.fault(f"must be a duration such as '90 days' or '1h 30m', not {self.tree!r}")
            return 0
        total = 0
        for amount, unit in parts:
            unit = _SHORT.get(unit, unit.removesuffix("s"))
            if unit not in UNIT_US:
                self.fault(f"a duration has no {unit!r}; use {', '.join(UNIT_US)}")
                return 0
            total += int(amount) * UNIT_US[unit]
        if total <= 0:
            self.fault("must be longer than nothing")
        elif total > DURATION_US_MAX:
            self.fault("must be at most 100 years")
            return 0
        return total

    def instant_us(self) -> int:
        """UTC microseconds of an ISO 8601 instant; a date is its midnight in UTC."""
        try:
            return instant_us_of(self.tree)
        except ValueError as wrong:
            self.fault(str(wrong))
            return 0


def instant_us_of(tree: Any) -> int:
    """UTC microseconds of a text or a YAML timestamp. ValueError says what is missing."""
    moment = tree
    if isinstance(tree, str):
        try:
            moment = dt.datetime.fromisoformat(tree)
        except ValueError:
            raise ValueError(
                f"must be an instant such as 2026-05-01T10:00:00Z, not {tree!r}"
            ) from None
        if len(tree) == len("2026-05-01"):
            moment = moment.date()
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{moment.isoformat()} needs a zone: write Z or an offset after it")
        return (moment - EPOCH) // MICROSECOND
    if isinstance(moment, dt.date):
        midnight = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
        return (midnight - EPOCH) // MICROSECOND
    raise ValueError(f"must be an instant such as 2026-05-01T10:00:00Z, not {describe(tree)}")


def describe(tree: Any) -> str:
    """What stands there, for a message."""
    if tree is None:
        return "nothing"
    if isinstance(tree, Mapping):
        return f"a mapping with {', '.join(map(str, tree)) or 'nothing'}"
    if isinstance(tree, list):
        return f"a list of {len(tree)}"
    return f"{tree!r}"


class _ExactLoader(yaml.SafeLoader):
    """YAML whose numbers with a point are exact decimals."""


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal | float:
    written = str(loader.construct_scalar(node)).replace("_", "")
    if written.lower().lstrip("+-") in {".inf", ".nan"}:
        return float(written.replace(".", "", 1))
    return Decimal(written)


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _decimal)


def read_document(text: str) -> Any:
    """A YAML or JSON document with exact numbers. TreeFaults when it is neither."""
    try:
        return yaml.load(text, _ExactLoader)  # noqa: S506 — a SafeLoader with exact decimals
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise TreeFaults([(where, f"is not YAML: {getattr(wrong, 'problem', wrong)}")]) from None

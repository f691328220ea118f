"""What happened, as the naive model takes it: plain facts in the order of the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from cli.simulation.naive.values import Value
from muster.types.v1 import condition_pb2 as pb

LATE_AFTER_US = 10 * 60 * 1_000_000


@dataclass(frozen=True)
class Row:
    """An accepted event of a profile. properties: name -> item -> value."""

    profile: int
    atom: int
    event_id: str
    type: str
    occur_us: int
    accept_us: int
    properties: dict[str, dict[int, Value]] = field(default_factory=dict, hash=False)
    imported: bool = False

    @property
    def effect_us(self) -> int:
        return max(self.occur_us, self.accept_us)


@dataclass(frozen=True)
class Assigned:
    """An event sets an attribute; values None removes it."""

    profile: int
    atom: int
    event_id: str
    key: str
    values: tuple[Value, ...] | None
    occur_us: int
    accept_us: int

    @property
    def effect_us(self) -> int:
        return max(self.occur_us, self.accept_us)


@dataclass(frozen=True)
class Created:
    """A profile begins to exist."""

    profile: int
    public_id: int
    atom: int
    at_us: int


@dataclass(frozen=True)
class Linked:
    """An identifier is known from now on."""

    atom: int
    profile: int
    kind: str
    text: str
    at_us: int


@dataclass(frozen=True)
class Moved:
    """Atoms go from one profile to another; from another partition, their past at arrive_us."""

    move_id: int
    source: int
    target: int
    atoms: tuple[int, ...]
    merge: bool
    cause: str
    at_us: int
    arrive_us: int | None = None


@dataclass(frozen=True)
class Defined:
    """A version of a segment; or the segment is taken out of service."""

    segment: str
    number: int
    version: int
    condition: pb.Condition = field(hash=False)
    at_us: int = 0
    zone: str = ""
    retired: bool = False
    follows: str | None = None
    """Set when it is a list: the segment it follows, or an empty text."""


@dataclass(frozen=True)
class Listed:
    """A profile is put into a list, or taken out."""

    list_id: str
    profile: int
    added: bool
    at_us: int
    atom: int = -1
    """The identifier that what was added hangs on; known from then on."""


@dataclass(frozen=True)
class Item:
    """An item of the catalogue gets these properties, others stay; one without values is taken
    away. None: the item is gone with all that was said of earlier times."""

    item_id: str
    properties: dict[str, dict[int, Value]] | None = field(hash=False)
    occur_us: int = 0
    at_us: int = 0


Fact = Row | Assigned | Created | Linked | Moved | Defined | Listed | Item


@dataclass(frozen=True, order=True)
class Transition:
    """One change of a membership, as both the engine and the naive model tell it."""

    at_us: int
    profile: int
    segment: int
    entered: bool
    version: int
    ordinal: int

"""Decides what a tenant's registry says: publishers, described event types, how strict it is.

Facts come from CONTROL in one order, so the doors and the worker behind the log hold the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.ingest.domain.faults import Fault
from services.ingest.domain.publishers import Publisher, Scope
from services.ingest.domain.schemas import STANDARD, Kind, Schema

PUBLISHERS_MAX = 10_000
EVENT_TYPES_MAX = 10_000
RULES_MAX = 500
DERIVED_TYPE = "purchase_counted"
"""Events of this type are made by ingest; nobody may publish them."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """quarantine: events of undescribed types are parked; check_standard: ours are checked too."""

    quarantine: bool = False
    check_standard: bool = False


@dataclass(frozen=True, slots=True)
class TypeRetired:
    """A type is no longer described."""

    type: str


Change = Publisher | Schema | TypeRetired | Vocabulary


@dataclass(slots=True)
class Registry:
    """What was said last of everything. revision: grows with every change."""

    publishers: dict[str, Publisher] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
    vocabulary: Vocabulary = Vocabulary()
    by_key: dict[bytes, str] = field(default_factory=dict)
    revision: int = 0

    @property
    def is_plain(self) -> bool:
        """No event can be refused by a schema."""
        return not (self.schemas or self.vocabulary.quarantine or self.vocabulary.check_standard)

    def schema(self, event_type: str) -> Schema | None:
        """What holds for events of this type; None when nobody described it."""
        found = self.schemas.get(event_type)
        if found is None and (self.vocabulary.check_standard or self.vocabulary.quarantine):
            return STANDARD.get(event_type)
        return found

    def refuses(self, publisher: str, is_import: bool) -> Fault:
        """Why this publisher may not send such events; CLEAN when it may, or is not registered."""
        found = self.publishers.get(publisher)
        if found is None:
            return Fault.CLEAN
        if found.retired:
            return Fault.PUBLISHER_RETIRED
        needed = Scope.IMPORT if is_import else Scope.EVENTS
        return Fault.CLEAN if needed in found.scopes else Fault.SCOPE_MISSING

    def is_untrusted(self, publisher: str) -> bool:
        found = self.publishers.get(publisher)
        return found is not None and found.untrusted


def evolve(registry: Registry, change: Change) -> None:
    """Takes a fact."""
    registry.revision += 1
    if isinstance(change, Publisher):
        before = registry.publishers.get(change.name)
        for key_hash in before.key_hashes if before else ():
            registry.by_key.pop(key_hash, None)
        registry.publishers[change.name] = change
        if not change.retired:
            registry.by_key.update(dict.fromkeys(change.key_hashes, change.name))
    elif isinstance(change, Schema):
        registry.schemas[change.type] = change
    elif isinstance(change, TypeRetired):
        registry.schemas.pop(change.type, None)
    else:
        registry.vocabulary = change


@dataclass(frozen=True, slots=True)
class Use:
    """How a live rule looks at events: of which types, at which property, as what.

    types: exact ones; prefix: of types; property: "" for the event as such; kind: what the rule
    needs the property to be, ANY when every kind will do.
    """

    segment_id: str
    types: tuple[str, ...]
    prefix: str = ""
    property: str = ""
    kind: Kind = Kind.ANY

    def concerns(self, event_type: str) -> bool:
        if self.prefix:
            return event_type.startswith(self.prefix)
        return event_type in self.types


def broken_by(schema: Schema, uses: list[Use]) -> list[str]:
    """Every live rule that would never again see what it looks at, with the reason; sorted."""
    said = set()
    for use in uses:
        if not use.property or not use.concerns(schema.type):
            continue
        rule = schema.rule(use.property)
        if rule is None:
            if schema.closed:
                said.add(
                    f"segment {use.segment_id} looks at {use.property}, which the closed schema "
                    f"of {schema.type} does not have"
                )
        elif not _serves(rule.kind, use.kind):
            said.add(
                f"segment {use.segment_id} takes {use.property} as {use.kind.name.lower()}, and "
                f"{schema.type} would have it as {rule.kind.name.lower()}"
            )
    return sorted(said)


def retiring_breaks(event_type: str, registry: Registry, uses: list[Use]) -> list[str]:
    """The live rules that lose their events when a type is described no longer; sorted."""
    if not registry.vocabulary.quarantine or event_type in STANDARD:
        return []
    return sorted(
        {
            f"segment {use.segment_id} looks at {event_type}, which would be quarantined"
            for use in uses
            if use.concerns(event_type)
        }
    )


def quarantining_breaks(registry: Registry, uses: list[Use]) -> list[str]:
    """The live rules over types that nobody described; sorted."""
    return sorted(
        {
            f"segment {use.segment_id} looks at {event_type}, which nobody described"
            for use in uses
            for event_type in use.types
            if event_type not in registry.schemas and event_type not in STANDARD
        }
    )


def _serves(given: Kind, needed: Kind) -> bool:
    return Kind.ANY in (given, needed) or given is needed

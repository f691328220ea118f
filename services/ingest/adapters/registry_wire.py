"""Facts of the registry between the contract and the domain."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from muster.ingest.v1 import registry_pb2 as wire
from services.ingest.domain.publishers import ALL_SCOPES, Publisher, Scope
from services.ingest.domain.registry import Change, Registry, TypeRetired, Vocabulary
from services.ingest.domain.schemas import Kind, Rule, Schema

_SCOPES = {int(scope) for scope in Scope}
_KINDS = {int(kind) for kind in Kind}


def change_of(body: bytes) -> Change | None:
    """The change in a record of CONTROL; None when it is none of ours."""
    try:
        record = wire.RegistryChanged.FromString(body)
    except DecodeError:
        return None
    return change_in(record)


def change_in(record: wire.RegistryChanged) -> Change | None:
    which = record.WhichOneof("change")
    if which == "publisher":
        return publisher_of(record.publisher)
    if which == "event_type":
        if record.event_type.retired:
            return TypeRetired(record.event_type.type)
        return schema_of(record.event_type)
    if which == "vocabulary":
        return vocabulary_of(record.vocabulary)
    return None


def publisher_of(said: wire.Publisher) -> Publisher:
    """Without scopes it has all of them."""
    scopes = frozenset(Scope(int(scope)) for scope in said.scopes if int(scope) in _SCOPES)
    return Publisher(
        said.name,
        tuple(said.key_hashes),
        scopes or ALL_SCOPES,
        said.untrusted,
        said.events_per_second,
        said.bytes_per_second,
        said.retired,
    )


def publisher_said(publisher: Publisher, *, hashes: bool = True) -> wire.Publisher:
    """hashes: false for what callers see."""
    return wire.Publisher(
        name=publisher.name,
        key_hashes=publisher.key_hashes if hashes else (),
        scopes=[wire.Scope.Name(scope) for scope in sorted(publisher.scopes)],
        untrusted=publisher.untrusted,
        events_per_second=publisher.events_per_s,
        bytes_per_second=publisher.bytes_per_s,
        retired=publisher.retired,
    )


def schema_of(said: wire.EventType) -> Schema:
    rules = tuple(
        Rule(rule.key, _kind(rule.type), rule.required, rule.description)
        for rule in said.properties
    )
    return Schema(said.type, rules, said.closed, said.description)


def schema_said(schema: Schema) -> wire.EventType:
    rules = [
        wire.PropertyRule(
            key=rule.key,
            type=wire.PropertyType.Name(rule.kind),
            required=rule.required,
            description=rule.description,
        )
        for rule in schema.rules
    ]
    return wire.EventType(
        type=schema.type, properties=rules, closed=schema.closed, description=schema.description
    )


def vocabulary_of(said: wire.Vocabulary) -> Vocabulary:
    return Vocabulary(said.undescribed == wire.UNDESCRIBED_QUARANTINE, said.check_standard)


def vocabulary_said(vocabulary: Vocabulary) -> wire.Vocabulary:
    undescribed = wire.UNDESCRIBED_QUARANTINE if vocabulary.quarantine else wire.UNDESCRIBED_ACCEPT
    return wire.Vocabulary(undescribed=undescribed, check_standard=vocabulary.check_standard)


def state_of(registry: Registry) -> bytes:
    """The registry as a snapshot keeps it."""
    changes = [
        *(wire.RegistryChanged(publisher=publisher_said(p)) for p in registry.publishers.values()),
        *(wire.RegistryChanged(event_type=schema_said(s)) for s in registry.schemas.values()),
        wire.RegistryChanged(vocabulary=vocabulary_said(registry.vocabulary)),
    ]
    return bytes(wire.RegistryState(changes=changes).SerializeToString(deterministic=True))


def changes_of(state: bytes) -> Iterable[Change]:
    """The changes that bring an empty registry to what `state_of` gave."""
    for record in wire.RegistryState.FromString(state).changes:
        change = change_in(record)
        if change is not None:
            yield change


def _kind(number: int) -> Kind:
    return Kind(number) if number in _KINDS else Kind.ANY

"""Makes the cores of the services as their wiring does, with production's defaults."""

from __future__ import annotations

from typing import cast

from muster.identity.v1 import facts_pb2 as identity_pb
from services.chassis import prints
from services.chassis.core import Core
from services.chassis.identifiers import BadIdentifier
from services.identity.core import IdentityCore
from services.identity.settings import IdentitySettings
from services.ingest.core import IngestCore, normaliser_of
from services.ingest.settings import IngestSettings
from services.segments.core import SegmentsCore


def ingest_core(tenant: str) -> Core:
    return cast("Core", IngestCore(IngestSettings.model_validate({"tenant": tenant})))


def identity_core(tenant: str, partitions: int) -> Core:
    rules = IdentitySettings.model_validate({}).rules()
    return cast("Core", IdentityCore(tenant, partitions, rules))


def segments_core(tenant: str, partition: int, partitions: int) -> SegmentsCore:
    return SegmentsCore(tenant, partition, partitions)


def normal_identifier(kind: str, value: str) -> str | None:
    """An identifier as ingest writes it; None when it never identifies."""
    try:
        return normaliser_of(IngestSettings.model_validate({})).normal(kind, value)
    except BadIdentifier:
        return None


def print_of_identifier(kind: str, value: str) -> prints.Print | None:
    """The two words by which ingest names an identifier; None when it never identifies."""
    settings = IngestSettings.model_validate({})
    normal = normal_identifier(kind, value)
    if normal is None:
        return None
    return prints.print_of(kind, normal, prints.print_key(settings.print_key))


def printed(kind: str, value: str) -> identity_pb.PrintedIdentifier:
    """An identifier as a decision of identity names it."""
    high, low = print_of_identifier(kind, value) or (0, 0)
    normal = normal_identifier(kind, value) or value
    return identity_pb.PrintedIdentifier(kind=kind, value=normal, print_high=high, print_low=low)


def print_of_request(request_id: str) -> prints.Print:
    """The print by which a decision is named as a cause."""
    settings = IngestSettings.model_validate({})
    return prints.event_print(request_id, prints.print_key(settings.print_key))

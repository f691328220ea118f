"""The subject of CONTROL that says what was handed out to whom."""

from __future__ import annotations

from dataclasses import dataclass

from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from services.chassis import subjects
from services.chassis.control_log import ControlLog
from services.segments.settings import SegmentsSettings


@dataclass(frozen=True, slots=True)
class Audited:
    """An export that is written down."""

    sequence: int


class AuditLog(ControlLog[segments.SegmentExported, Audited]):
    """Who was handed out to whom. Nothing of it is kept here."""

    def __init__(self, client: Client, settings: SegmentsSettings) -> None:
        subject = subjects.control(settings.tenant, "audit")
        attempts = settings.define_attempts_max
        super().__init__(client, subject, segments.SegmentExported, _audited, attempts)

    def take(self, standing: Audited) -> None:
        pass


def _audited(_record: segments.SegmentExported, sequence: int) -> Audited:
    return Audited(sequence)

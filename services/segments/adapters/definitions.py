"""The door's knowledge of rules, followed from CONTROL: every version of every segment."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from services.chassis import subjects
from services.chassis.checkpoint import Origin
from services.chassis.control_log import ControlLog
from services.segments.settings import SegmentsSettings


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition and its sequence on CONTROL."""

    definition: segments.SegmentDefined
    sequence: int

    @property
    def token(self) -> str:
        """The position from which every engine lives by it."""
        return Origin(control=self.sequence).token()


class Definitions(ControlLog[segments.SegmentDefined, Defined]):
    """The segments of a tenant, in the order of CONTROL. Version and number are dense."""

    def __init__(self, client: Client, settings: SegmentsSettings) -> None:
        subject = subjects.control(settings.tenant, "segment")
        attempts = settings.define_attempts_max
        super().__init__(client, subject, segments.SegmentDefined, Defined, attempts)
        self._requests_max = settings.requests_remembered_max
        self._by_request: OrderedDict[str, Defined] = OrderedDict()
        self.by_id: dict[str, Defined] = {}
        self.id_of: dict[int, str] = {}
        self.history: dict[str, list[Defined]] = {}
        """Everything ever said of a segment, oldest first."""
        self.shadows: dict[str, int] = {}
        """Segments that are computed beside others: id -> number."""

    def take(self, standing: Defined) -> None:
        definition = standing.definition
        self.by_id[definition.segment_id] = standing
        self.id_of[definition.segment_number] = definition.segment_id
        self.history.setdefault(definition.segment_id, []).append(standing)
        self.shadows.pop(definition.segment_id, None)
        if definition.shadow_of:
            self.shadows[definition.segment_id] = definition.segment_number
        if definition.request_id:
            self._by_request[definition.request_id] = standing
            while len(self._by_request) > self._requests_max:
                self._by_request.popitem(last=False)

    def requested(self, request_id: str) -> Defined | None:
        """What a request id has brought about, if it is remembered."""
        return self._by_request.get(request_id) if request_id else None

    def present(self) -> dict[str, segments.SegmentDefined]:
        """The latest definition of every segment."""
        return {name: one.definition for name, one in self.by_id.items()}

    def in_service(self) -> dict[str, segments.SegmentDefined]:
        """The latest definition of every segment that is not retired."""
        return {name: one for name, one in self.present().items() if not one.retired}

    def version(self, segment_id: str, version: int) -> Defined | None:
        """A version as last described; 0 is the present one."""
        said = self.history.get(segment_id, ())
        found = [one for one in said if version in (0, one.definition.version)]
        return found[-1] if found else None

    def next_number(self) -> int:
        """The dense number of a new segment; numbers begin at 1."""
        return max(self.id_of, default=0) + 1

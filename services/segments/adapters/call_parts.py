"""What calls on segments have in common: who may be asked, what is known, tokens of pages."""

from __future__ import annotations

import base64
import json
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis.errors import InvalidRequest, NotFound
from services.segments.adapters.asks import Partition
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.validation import refuse, segment_id_faults
from services.segments.adapters.variant_sets import VariantSets
from services.segments.adapters.watch import Watches
from services.segments.handlers import PartitionAnswers
from services.segments.settings import SegmentsSettings

PAGE_DEFAULT = 100
AT_ONCE = 20
"""Rules put into words before steps may run again."""


class Shared:
    """What the parts of grpc_api.SegmentsApi have in common."""

    answers: PartitionAnswers
    settings: SegmentsSettings
    definitions: Definitions
    variants: VariantSets
    watches: Watches
    partitions: list[Partition]

    # -- of the other part ----------------------------------------------------------------------

    async def define(self, request: api.DefineSegmentRequest) -> Defined:
        """Writes a definition, or finds the one that stands."""
        raise NotImplementedError

    async def live(
        self, defined: Defined, at_least: str
    ) -> tuple[api.Segment, common_pb2.Position]:
        """The segment once every partition lives by it."""
        raise NotImplementedError

    def segment(self, definition: segments.SegmentDefined, members: int) -> api.Segment:
        """A segment in the words of the API."""
        raise NotImplementedError

    def check_tenant(self, request: Any) -> None:
        """NotFound for another tenant than ours."""
        raise NotImplementedError

    def page_size(self, asked: int, default: int, limit: str) -> int:
        """How many to answer; InvalidRequest beyond the limit of the settings."""
        raise NotImplementedError

    async def known(self, segment_id: str) -> list[Defined]:
        """All that was said of a segment, oldest first, as CONTROL stands now."""
        refuse(segment_id_faults(segment_id))
        await self.definitions.refresh()
        said = self.definitions.history.get(segment_id)
        if not said:
            raise NotFound(f"no segment {segment_id}; ListSegments shows what there is")
        return said

    def version(self, segment_id: str, version: int) -> segments.SegmentDefined:
        found = self.definitions.version(segment_id, version)
        if found is None:
            raise NotFound(f"{segment_id} has no version {version}; ListVersions shows them")
        return found.definition


def token(said: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


def _said_of(page_token: str) -> object:
    try:
        return json.loads(base64.b64decode(page_token, b"-_", validate=True))
    except ValueError:
        return None


def text_of(page_token: str) -> str:
    said = _said_of(page_token) if page_token else ""
    if not isinstance(said, str):
        raise _no_token()
    return said


def place_of(page_token: str, count: int) -> int:
    said = _said_of(page_token) if page_token else count
    if not isinstance(said, int) or not 0 <= said <= count:
        raise _no_token()
    return said


def _no_token() -> InvalidRequest:
    return InvalidRequest([("page_token", "not a token of ours; hand back next_page_token")])

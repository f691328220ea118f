"""What calls on segments have in common: who may be asked, what is known, tokens of pages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest, NotFound, Precondition, Refusal
from services.segments.adapters import gather
from services.segments.adapters.asks import Partition, ask_all
from services.segments.adapters.audit_log import AuditLog
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.door import decide_definition
from services.segments.adapters.export_right import ExportRight
from services.segments.adapters.life_answers import NOT_YET
from services.segments.adapters.lists_log import ListsLog
from services.segments.adapters.validation import references_of, refuse, segment_id_faults
from services.segments.adapters.variant_sets import VariantSets
from services.segments.adapters.watch import Watches
from services.segments.adapters.wording import kind_of
from services.segments.handlers import PartitionAnswers
from services.segments.settings import SegmentsSettings

PAGE_DEFAULT = 100
AT_ONCE = 20
"""Rules put into words before steps may run again."""


class Shared:
    """The base of the parts of grpc_api.SegmentsApi; `connect` comes before the first call."""

    def __init__(self, answers: PartitionAnswers, settings: SegmentsSettings) -> None:
        self.answers = answers
        self.settings = settings

    def connect(
        self,
        definitions: Definitions,
        variants: VariantSets,
        watches: Watches,
        partitions: list[Partition],
        lists: ListsLog,
        audit: AuditLog,
    ) -> None:
        """Gives what needs the connection. partitions: all of them, in order."""
        self.lists = lists
        self.audit = audit
        self.export_right = ExportRight(self.settings)
        self.definitions = definitions
        self.variants = variants
        self.watches = watches
        self.partitions = partitions

    async def define(self, request: api.DefineSegmentRequest) -> Defined:
        """Writes a definition, or finds the one that stands."""
        await self.answers.reach("")
        if request.triggers.variant_set:
            await self.variants.refresh()

        async def decide() -> segments.SegmentDefined | Defined:
            if references_of(request.condition):
                # The engine must know what other doors wrote before it compiles the rule.
                await self.answers.reach(self.definitions.token)
            return decide_definition(
                self.definitions,
                request,
                self.settings,
                self.answers.compile_faults,
                self.variants.in_service(),
            )

        await self.definitions.refresh()
        wanted = await decide()
        if isinstance(wanted, segments.SegmentDefined):
            await self._prepare(wanted)
        return await self.definitions.write(decide)

    async def _prepare(self, wanted: segments.SegmentDefined) -> None:
        """Has every partition begin what a rule needs, so that the definition finds it and holds no
        step."""
        request = api.PreviewChangeRequest(
            segment_id=wanted.segment_id, condition=wanted.condition, zone=wanted.zone
        )
        # A partition that cannot now begins it when the definition comes.
        with contextlib.suppress(Refusal, TimeoutError):
            async with asyncio.timeout(self.settings.prepare_wait_ms / 1_000):
                while any(
                    one.value == NOT_YET
                    for one in await ask_all(self.partitions, "prepare", request)
                ):
                    pass

    async def live(
        self, defined: Defined, at_least: str
    ) -> tuple[api.Segment, common_pb2.Position]:
        """The segment as every partition lives by it; waits for all of them."""
        wanted = Origin.parse(at_least).merged(Origin.parse(defined.token)).token()
        sizes = await gather.count_members(
            self.partitions, api.CountMembersRequest(at_least=wanted)
        )
        definition = defined.definition
        why = self.answers.core.refused.get((definition.segment_id, definition.version))
        if why is not None:
            raise Precondition(f"{definition.segment_id} cannot be lived by: {why}")
        members = {size.segment_id: size.members for size in sizes.sizes}
        segment = self.segment(definition, members.get(definition.segment_id, 0))
        return segment, sizes.position

    def segment(self, definition: segments.SegmentDefined, members: int) -> api.Segment:
        """A segment in the words of the API."""
        sentence = self.answers.sentence(definition)
        return api.Segment(
            definition=definition, members=members, sentence=sentence, kind=kind_of(definition)
        )

    def check_tenant(self, request: Any) -> None:
        """NotFound for another tenant than ours."""
        if request.tenant not in ("", self.settings.tenant):
            raise NotFound(f"no tenant {request.tenant} here")

    def page_size(self, asked: int, default: int, limit: str) -> int:
        """How many to answer; InvalidRequest beyond the limit of the settings."""
        most: int = getattr(self.settings, limit)
        if not 0 <= asked <= most:
            raise InvalidRequest([("page_size", f"1 to {most}; 0 is {default}")])
        return asked or default

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

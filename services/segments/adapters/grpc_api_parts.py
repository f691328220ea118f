"""Calls that take members out of a segment: freeze, split, export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import lists_pb2
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.chassis import clock
from services.chassis.errors import Conflict, Precondition
from services.chassis.parking import timestamp
from services.segments.adapters import gather, gather_life
from services.segments.adapters.asks import ask_all
from services.segments.adapters.call_parts import Shared
from services.segments.adapters.definitions import Defined
from services.segments.adapters.lists_log import decide_list
from services.segments.adapters.member_answers import PROFILE_ID
from services.segments.adapters.validation import SEGMENT_ID, Fault, refuse, text_faults
from services.segments.domain.conditions import CHANNEL_KINDS
from services.segments.domain.shares import (
    MEMBERS_MIN,
    PERMILLE,
    REACHABLE_ADVISED,
    salt_key,
    salted,
    sizes,
)

PARTS_MAX = 26
COLUMNS_MAX = 50
PAGE_NUMBERS = 20_000
PAGE_ROWS = 1_000
HASHED_AT_ONCE = 2_000
"""Profiles put into salted order before steps may run again."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """Members of a segment, held by every partition. tokens: one each, empty for nobody."""

    tokens: list[str]
    members: int
    position: common_pb2.Position


class PartCalls(Shared):
    """A part of grpc_api.SegmentsApi."""

    async def FreezeSegment(
        self, request: api.FreezeSegmentRequest, context: Any
    ) -> api.FreezeSegmentResponse:
        self.check_tenant(request)
        refuse(_text_faults(request))
        defined = await self._in_service(request.segment_id)
        request_id = request.request_id or clock.new_id()
        name = request.name or f"{defined.definition.name} (frozen)"
        await self._free([request.list_id], request_id)
        await self._new_list(request.list_id, name, request.author, request_id)
        pinned = await self._pin(request.segment_id, (), defined.token)
        numbers = await self._numbers(pinned)
        frozen = await self._fill(request.list_id, numbers, request.author, request_id)
        return api.FreezeSegmentResponse(list=frozen, position=pinned.position)

    async def SplitSegment(
        self, request: api.SplitSegmentRequest, context: Any
    ) -> api.SplitSegmentResponse:
        self.check_tenant(request)
        refuse(_split_faults(request))
        defined = await self._in_service(request.segment_id)
        pinned = await self._pin(request.segment_id, (), defined.token)
        if pinned.members < MEMBERS_MIN:
            raise Precondition(
                f"{request.segment_id} has {pinned.members} members; to be split it needs "
                f"{MEMBERS_MIN}"
            )
        request_id = request.request_id or clock.new_id()
        await self._free([part.list_id for part in request.parts], request_id)
        response = api.SplitSegmentResponse(position=pinned.position)
        salt = request.salt or request_id
        if request.live:
            parts = await self._live_parts(request, defined, salt, request_id)
        else:
            numbers = await self._in_salted_order(pinned, salt)
            parts = await self._listed_parts(request, defined, numbers, request_id)
        response.lists.extend(parts)
        reachable = await self._reachable(request.segment_id)
        if reachable < REACHABLE_ADVISED:
            response.warnings.append(
                f"{reachable} members can be reached; under {REACHABLE_ADVISED} a difference "
                "between the parts says little"
            )
        return response

    async def _listed_parts(
        self, request: api.SplitSegmentRequest, of: Defined, numbers: list[int], request_id: str
    ) -> list[api.Segment]:
        """Lists of exactly so many, cut from the salted order one after the other."""
        found, start = [], 0
        shares = sizes(len(numbers), [part.share_permille for part in request.parts])
        for place, (part, size) in enumerate(zip(request.parts, shares, strict=True), 1):
            name = part.name or f"{of.definition.name} ({place})"
            await self._new_list(part.list_id, name, request.author, request_id)
            mine = numbers[start : start + size]
            start += size
            found.append(await self._fill(part.list_id, mine, request.author, request_id))
        return found

    async def _live_parts(
        self, request: api.SplitSegmentRequest, of: Defined, salt: str, request_id: str
    ) -> list[api.Segment]:
        """Segments of who is in the segment and in a part of the thousandths."""
        found, start = [], 0
        shares = sizes(PERMILLE, [part.share_permille for part in request.parts])
        for place, (part, size) in enumerate(zip(request.parts, shares, strict=True), 1):
            split = pb.SplitLeaf(salt=salt, from_permille=start, to_permille=start + size)
            member = pb.SegmentLeaf(segment_id=request.segment_id)
            start += size
            wish = api.DefineSegmentRequest(
                segment_id=part.list_id,
                name=part.name or f"{of.definition.name} ({place})",
                condition=pb.Condition(
                    all=pb.Group(of=[pb.Condition(segment=member), pb.Condition(split=split)])
                ),
                author=request.author,
                note=f"part {place} of {request.segment_id}",
                request_id=f"{request_id}/{part.list_id}",
            )
            segment, _ = await self.live(await self.define(wish), "")
            found.append(segment)
        return found

    async def ExportSegment(
        self, request: api.ExportSegmentRequest, context: Any
    ) -> AsyncIterator[api.ExportSegmentResponse]:
        self.check_tenant(request)
        key_name = self.export_right.holder_of(context)
        columns = list(request.columns) or [PROFILE_ID]
        defined = await self._in_service(request.segment_id)
        refuse(self._column_faults(columns) + text_faults("author", request.author))
        pinned = await self._pin(request.segment_id, columns, request.at_least or defined.token)
        # Written down first: nobody is handed out without a trace.
        await self.write_down(
            segments.SegmentExported(
                segment_id=request.segment_id,
                segment_version=defined.definition.version,
                author=request.author,
                columns=columns,
                members=pinned.members,
                key_name=key_name,
            )
        )
        yield api.ExportSegmentResponse(columns=columns, position=pinned.position)
        for place, token in enumerate(pinned.tokens):
            page = api.ReadListingRequest(page_token=token, page_size=PAGE_ROWS, columns=columns)
            while page.page_token:
                answer = await self.partitions[place].ask("members", page)
                yield api.ExportSegmentResponse(rows=answer.rows, position=pinned.position)
                page.page_token = answer.next_page_token

    async def write_down(self, exported: segments.SegmentExported) -> None:
        """Says on CONTROL, for good, who was handed out to whom."""
        exported.export_time.CopyFrom(timestamp(clock.wall_us()))

        async def decide() -> segments.SegmentExported:
            return exported

        await self.audit.write(decide)

    # -- members --------------------------------------------------------------------------------

    async def _in_service(self, segment_id: str) -> Defined:
        defined = (await self.known(segment_id))[-1]
        if defined.definition.retired:
            raise Precondition(f"{segment_id} is out of service; nobody is in it")
        return defined

    async def _pin(self, segment_id: str, columns: Sequence[str], at_least: str) -> Pinned:
        """Members as they are now, held by every partition."""
        asked = api.ReadListingRequest(segment_id=segment_id, columns=columns, at_least=at_least)
        answers = await ask_all(self.partitions, "members", asked)
        return Pinned(
            [answer.next_page_token for answer in answers],
            sum(answer.members for answer in answers),
            gather.smallest(answer.position for answer in answers),
        )

    async def _numbers(self, pinned: Pinned) -> list[int]:
        """Numbers of the members, partition by partition."""
        found: list[int] = []
        for place, token in enumerate(pinned.tokens):
            page = api.ReadListingRequest(page_token=token, page_size=PAGE_NUMBERS)
            while page.page_token:
                answer = await self.partitions[place].ask("members", page)
                found += answer.numbers
                page.page_token = answer.next_page_token
        return found

    async def _in_salted_order(self, pinned: Pinned, salt: str) -> list[int]:
        keyed: list[tuple[int, int]] = []
        key = salt_key(salt)
        for number in await self._numbers(pinned):
            keyed.append((salted(key, number), number))
            if len(keyed) % HASHED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return [number for _, number in sorted(keyed)]

    async def _reachable(self, segment_id: str) -> int:
        """Members that at least one channel reaches."""
        condition = pb.Condition(segment=pb.SegmentLeaf(segment_id=segment_id))
        wish = api.PreviewSegmentRequest(condition=condition)
        return (await gather_life.preview(self.partitions, wish)).reachable

    def _column_faults(self, columns: Sequence[str]) -> list[Fault]:
        if len(columns) > COLUMNS_MAX:
            return [("columns", f"at most {COLUMNS_MAX}; this has {len(columns)}")]
        known = self.definitions.in_service()
        faults = []
        for place, name in enumerate(columns):
            kind, _, of = name.partition(".")
            fits = {"attribute": bool(of), "channel": of in CHANNEL_KINDS, "segment": of in known}
            if name != PROFILE_ID and not fits.get(kind, False):
                text = (
                    f"no column {name!r}: use profile_id, attribute.<path>, segment.<id> or "
                    f"channel.<one of {', '.join(CHANNEL_KINDS)}>"
                )
                faults.append((f"columns[{place}]", text))
        return faults

    # -- lists ----------------------------------------------------------------------------------

    async def _free(self, list_ids: Sequence[str], request_id: str) -> None:
        """Conflict when something of such an id is in service that this call did not make."""
        await self.definitions.refresh()
        present = self.definitions.in_service()
        for name in list_ids:
            ours = self.definitions.requested(f"{request_id}/{name}")
            if name in present and ours is None:
                raise Conflict(f"there is a segment or list {name} already; name another id")

    async def _new_list(self, list_id: str, name: str, author: str, request_id: str) -> None:
        wish = lists_pb2.DefineListRequest(
            list_id=list_id, name=name, author=author, request_id=f"{request_id}/{list_id}"
        )

        async def decide() -> segments.SegmentDefined | Defined:
            return decide_list(self.definitions, wish, self.settings)

        await self.definitions.write(decide)

    async def _fill(
        self, list_id: str, numbers: Sequence[int], author: str, request_id: str
    ) -> api.Segment:
        """Puts people into a list once for a request id; the list as everybody lives by it."""
        name = f"{request_id}/{list_id}"
        changed = await self.lists.change(list_id, numbers, actor=author, request_id=name)
        at_least = "" if changed is None else changed.token
        segment, _ = await self.live(self.definitions.by_id[list_id], at_least)
        return segment


def _text_faults(request: api.FreezeSegmentRequest | api.SplitSegmentRequest) -> list[Fault]:
    return [
        *text_faults("author", request.author),
        *text_faults("request_id", request.request_id),
    ]


def _split_faults(request: api.SplitSegmentRequest) -> list[Fault]:
    faults = _text_faults(request) + text_faults("salt", request.salt)
    if not 2 <= len(request.parts) <= PARTS_MAX:
        return [*faults, ("parts", f"2 to {PARTS_MAX} parts; this has {len(request.parts)}")]
    shares = [part.share_permille for part in request.parts]
    if any(shares) and (sum(shares) != PERMILLE or not all(shares)):
        text = "either none says a share, and they are even, or all do and they add up to 1,000"
        faults.append(("parts", text))
    seen: set[str] = set()
    for place, part in enumerate(request.parts):
        if not SEGMENT_ID.fullmatch(part.list_id):
            faults.append((f"parts[{place}].list_id", "name the list to make, such as buyers-a"))
        elif part.list_id in seen:
            faults.append((f"parts[{place}].list_id", f"{part.list_id} is named twice"))
        seen.add(part.list_id)
    return faults

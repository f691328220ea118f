"""ListsService over gRPC: lists defined, filled by hand or by import, emptied, read, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import lists_pb2 as api
from muster.segments.v1 import lists_pb2_grpc as rpc
from muster.segments.v1 import service_pb2
from muster.types.v1 import common_pb2
from services.chassis.errors import InvalidRequest, Precondition
from services.chassis.subjects import partition_of
from services.segments.adapters import gather
from services.segments.adapters.asks import ask_all
from services.segments.adapters.definitions import Defined
from services.segments.adapters.grpc_api import SegmentsApi
from services.segments.adapters.lists_log import ListsLog, decide_list, standing_list
from services.segments.adapters.member_answers import PROFILE_ID
from services.segments.adapters.names import profile_id_text
from services.segments.adapters.validation import refuse, text_faults

LISTS_SERVICE = "muster.segments.v1.ListsService"
NOBODY = -1
ASK_BYTES_MAX = 512 << 10
"""References put to a partition in one question."""
EXPORT_PAGE = 5_000
TAKEN_BEFORE = "was in an import of this request_id and is out again; use a new request_id"

ADDED = api.LIST_VERDICT_ADDED
ALREADY_IN = api.LIST_VERDICT_ALREADY_IN
REMOVED = api.LIST_VERDICT_REMOVED
NOT_IN = api.LIST_VERDICT_NOT_IN
REJECTED = api.LIST_VERDICT_REJECTED


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody named in a call. number: NOBODY when unknown; fault: why, or what is wrong."""

    number: int
    member: bool = False
    public_id: int = 0
    fault: str = ""


@dataclass(slots=True)
class Receipt:
    """An import as far as it came."""

    response: api.ImportListResponse = field(default_factory=api.ImportListResponse)
    seen: set[int] = field(default_factory=set)
    rejected_max: int = 1_000

    def take(self, found: Sequence[Found], repeated: bool) -> list[int]:
        """Accounts for some rows; the numbers of those to add. repeated: they were taken before."""
        said, fresh = self.response, []
        for one in found:
            said.read += 1
            gone = repeated and one.number != NOBODY and not one.member
            if one.number == NOBODY or gone:
                said.rejected += 1
                if len(said.rejected_rows) < self.rejected_max:
                    said.rejected_rows.add(
                        row=said.read, reason=TAKEN_BEFORE if gone else one.fault
                    )
                continue
            said.matched += 1
            if one.number in self.seen:
                said.repeated += 1
                continue
            self.seen.add(one.number)
            if one.member:
                said.already_in += 1
            else:
                said.added += 1
                fresh.append(one.number)
        return fresh


class ListsApi(rpc.ListsServiceServicer):
    """The servicer; it stands on that of segments, which knows definitions and partitions."""

    def __init__(self, on: SegmentsApi) -> None:
        self._on = on

    def connect(self, log: ListsLog) -> None:
        """Gives what needs the connection, before the first call."""
        self.log = log

    # -- lists ----------------------------------------------------------------------------------

    async def DefineList(
        self, request: api.DefineListRequest, context: Any
    ) -> api.DefineListResponse:
        self._on.check_tenant(request)
        await self._on.answers.reach("")
        if request.triggers.variant_set:
            await self._on.variants.refresh()

        async def decide() -> segments.SegmentDefined | Defined:
            sets = self._on.variants.in_service()
            return decide_list(self._on.definitions, request, self._on.settings, sets)

        defined = await self._on.definitions.write(decide)
        segment, position = await self._on.live(defined, "")
        return api.DefineListResponse(
            definition=segment.definition, members=segment.members, position=position
        )

    async def EmptyList(self, request: api.EmptyListRequest, context: Any) -> api.EmptyListResponse:
        defined = await self._list(request)
        before, _ = await self._size(request.list_id, defined.token)
        changed = await self.log.change(
            request.list_id, emptied=True, actor=request.actor, request_id=request.request_id
        )
        assert changed is not None
        left, position = await self._size(request.list_id, changed.token)
        return api.EmptyListResponse(removed=max(0, before - left), position=position)

    async def DeleteList(
        self, request: api.DeleteListRequest, context: Any
    ) -> api.DeleteListResponse:
        defined = await self._list(request)
        members, _ = await self._size(request.list_id, defined.token)
        if request.with_people:
            raise Precondition(
                f"not built: erasure. The people in {request.list_id} ({members}) cannot be "
                "deleted with it; nothing was changed. Delete the list alone (with_people false)"
            )
        retired = await self._on.RetireSegment(
            service_pb2.RetireSegmentRequest(
                segment_id=request.list_id, request_id=request.request_id
            ),
            context,
        )
        return api.DeleteListResponse(members=members, position=retired.position)

    async def ExportList(
        self, request: api.ExportListRequest, context: Any
    ) -> AsyncIterator[api.ExportListResponse]:
        key_name = self._on.export_right.holder_of(context)
        defined = await self._list(request)
        members, _ = await self._size(request.list_id, request.at_least or defined.token)
        # Written down first: nobody is handed out without a trace.
        await self._on.write_down(
            segments.SegmentExported(
                segment_id=request.list_id,
                segment_version=defined.definition.version,
                author=request.author,
                columns=[PROFILE_ID],
                members=members,
                key_name=key_name,
            )
        )
        page = service_pb2.ListMembersRequest(
            segment_id=request.list_id, page_size=EXPORT_PAGE, at_least=request.at_least
        )
        position = None
        while position is None or page.page_token:
            answer = await gather.list_members(self._on.partitions, page)
            position = position or answer.position
            yield api.ExportListResponse(profile_ids=answer.profile_ids, position=position)
            page.page_token = answer.next_page_token

    # -- who is in them -------------------------------------------------------------------------

    async def ChangeList(
        self, request: api.ChangeListRequest, context: Any
    ) -> api.ChangeListResponse:
        most = self._on.settings.list_items_max
        if len(request.add) + len(request.remove) > most:
            raise InvalidRequest([("add", f"at most {most} people a call; ImportList takes more")])
        defined = await self._list(request)
        found = await self._located(request.list_id, [*request.add, *request.remove], defined.token)
        add, remove = found[: len(request.add)], found[len(request.add) :]
        both = {one.number for one in add} & {one.number for one in remove} - {NOBODY}
        if both:
            text = "somebody is to be added and taken out in one call; say which, in two calls"
            raise InvalidRequest([("remove", text)])
        repeated = await self._repeated(request.request_id)
        added, adding = _verdicts(add, into=True, repeated=repeated)
        removed, removing = _verdicts(remove, into=False, repeated=repeated)
        position = await self._write(
            request.list_id, adding, removing, request.actor, request.request_id, defined.token
        )
        return api.ChangeListResponse(added=added, removed=removed, position=position)

    async def ImportList(
        self, requests: AsyncIterator[api.ImportListRequest], context: Any
    ) -> api.ImportListResponse:
        head: api.ImportListHead | None = None
        receipt = Receipt(rejected_max=self._on.settings.rejected_rows_max)
        token, chunk = "", 0
        async for one in requests:
            if one.WhichOneof("part") == "head":
                if head is not None:
                    raise InvalidRequest([("head", "comes once, before the rows")])
                head = one.head
                token = (await self._list(head)).token
                continue
            if head is None:
                raise InvalidRequest([("head", "say first into which list; then send rows")])
            rows = one.rows.rows
            self._check_rows(len(rows), receipt)
            chunk += 1
            name = f"{head.request_id}#{chunk}" if head.request_id else ""
            found = await self._located(head.list_id, rows, token)
            fresh = receipt.take(found, await self._repeated(name))
            position = await self._write(head.list_id, fresh, [], head.actor, name, token)
            receipt.response.position.CopyFrom(position)
        if head is None:
            raise InvalidRequest([("head", "say first into which list; then send rows")])
        return receipt.response

    def _check_rows(self, rows: int, receipt: Receipt) -> None:
        settings = self._on.settings
        if rows > settings.list_items_max:
            raise InvalidRequest([("rows", f"at most {settings.list_items_max} in one message")])
        if receipt.response.read + rows > settings.import_rows_max:
            text = f"at most {settings.import_rows_max} rows an import; what came before is in"
            raise InvalidRequest([("rows", text)])

    async def _repeated(self, request_id: str) -> bool:
        """Whether a request id has brought something about."""
        if request_id:
            await self.log.refresh()
        return self.log.requested(request_id) is not None

    # -- parts ----------------------------------------------------------------------------------

    async def _list(self, request: Any) -> Defined:
        """The list a request names, as defined now; its fields of text checked."""
        self._on.check_tenant(request)
        fields = request.DESCRIPTOR.fields_by_name
        named = [name for name in ("actor", "author", "request_id") if name in fields]
        refuse([fault for name in named for fault in text_faults(name, getattr(request, name))])
        await self._on.answers.reach("")
        await self._on.definitions.refresh()
        return standing_list(self._on.definitions, request.list_id)

    async def _size(self, list_id: str, at_least: str) -> tuple[int, common_pb2.Position]:
        """Members at a position that reflects another."""
        request = service_pb2.CountMembersRequest(segment_ids=[list_id], at_least=at_least)
        answer = await gather.count_members(self._on.partitions, request)
        return sum(size.members for size in answer.sizes), answer.position

    async def _write(
        self, list_id: str, added: list[int], removed: list[int], actor: str, request_id: str,
        at_least: str,
    ) -> common_pb2.Position:  # fmt: skip
        """Writes a change and waits for every partition to live by it."""
        changed = await self.log.change(list_id, added, removed, actor=actor, request_id=request_id)
        _, position = await self._size(list_id, at_least if changed is None else changed.token)
        return position

    async def _located(
        self, list_id: str, refs: Sequence[common_pb2.ProfileRef], at_least: str
    ) -> list[Found]:
        """Who the people named are, in their order."""
        found: list[Found] = []
        for chunk in _chunks(refs):
            asked = api.LocateProfilesRequest(list_id=list_id, profiles=chunk, at_least=at_least)
            answers = await ask_all(self._on.partitions, "located", asked)
            found += [_chosen(answers, place, ref) for place, ref in enumerate(chunk)]
        return found


def _chunks(refs: Sequence[common_pb2.ProfileRef]) -> Iterator[list[common_pb2.ProfileRef]]:
    chunk: list[common_pb2.ProfileRef] = []
    size = 0
    for ref in refs:
        length = ref.ByteSize() + 4
        if chunk and size + length > ASK_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
        chunk.append(ref)
        size += length
    if chunk:
        yield chunk


def _chosen(
    answers: Sequence[api.LocateProfilesResponse], place: int, ref: common_pb2.ProfileRef
) -> Found:
    """What the partition says that holds the profile, before one that only names it."""
    named = NOBODY
    for partition, answer in enumerate(answers):
        number = answer.number[place]
        if number != NOBODY and partition_of(number, len(answers)) == partition:
            return Found(number, answer.member[place], answer.public_id[place])
        named = max(named, number)
    if named != NOBODY:
        return Found(named)
    fault = next((a.fault[place] for a in answers if a.fault[place]), "")
    kind = ref.identifier.kind if ref.WhichOneof("ref") == "identifier" else "id"
    return Found(NOBODY, fault=fault or f"nobody has this {kind}; publish them first")


def _verdicts(
    found: Sequence[Found], into: bool, repeated: bool
) -> tuple[list[api.ListItemResult], list[int]]:
    """Results in order, and the numbers of those to change, each once; of a repeat what holds."""
    results, chosen = [], dict[int, None]()
    for one in found:
        if one.number == NOBODY:
            results.append(api.ListItemResult(verdict=REJECTED, reason=one.fault))
            continue
        if repeated:
            verdict = ALREADY_IN if one.member else NOT_IN
        elif one.member == into or one.number in chosen:
            verdict = ALREADY_IN if into else NOT_IN
        else:
            chosen[one.number] = None
            verdict = ADDED if into else REMOVED
        profile_id = profile_id_text(one.public_id) if one.public_id else ""
        results.append(api.ListItemResult(verdict=verdict, profile_id=profile_id))
    return results, list(chosen)

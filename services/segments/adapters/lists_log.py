"""Changes of lists on CONTROL, and what a wish to define a list becomes.

A list is defined as a segment is, in one log of definitions; what people do to it by hand is
another subject, written by whoever knows its last record, so that a request id works once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass

from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import lists_pb2 as api
from services.chassis import clock, subjects
from services.chassis.checkpoint import Origin
from services.chassis.control_log import ControlLog
from services.chassis.errors import Conflict, InvalidRequest, NotFound, Precondition
from services.chassis.parking import timestamp
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.door import policy_faults
from services.segments.adapters.validation import (
    SEGMENT_ID,
    Fault,
    refuse,
    rests_on,
    tag_faults,
    text_faults,
    trigger_faults,
)
from services.segments.adapters.wishes import content
from services.segments.settings import SegmentsSettings

PROFILES_MAX = 100_000
"""Of one record: 4 bytes each."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that is on the log: its request id and place."""

    request_id: str
    sequence: int

    @property
    def token(self) -> str:
        """The position from which every engine lives by it."""
        return Origin(control=self.sequence).token()


class ListsLog(ControlLog[api.ListChanged, Changed]):
    """The subject of list changes; remembers request ids, not who was changed."""

    def __init__(self, client: Client, settings: SegmentsSettings) -> None:
        subject = subjects.control(settings.tenant, "list")
        attempts = settings.define_attempts_max
        super().__init__(client, subject, api.ListChanged, _changed, attempts)
        self._requests_max = settings.requests_remembered_max
        self._by_request: OrderedDict[str, Changed] = OrderedDict()

    def take(self, standing: Changed) -> None:
        if standing.request_id:
            self._by_request[standing.request_id] = standing
            while len(self._by_request) > self._requests_max:
                self._by_request.popitem(last=False)

    def requested(self, request_id: str) -> Changed | None:
        """What a request id has brought about, if it is remembered."""
        return self._by_request.get(request_id) if request_id else None

    async def change(
        self,
        list_id: str,
        added: Sequence[int] = (),
        removed: Sequence[int] = (),
        *,
        emptied: bool = False,
        actor: str = "",
        request_id: str = "",
    ) -> Changed | None:
        """Writes a change, in as many records as it takes; the last one. None: nothing to say.

        A request id that was used changes nothing. Numbers are dense profile numbers.
        """
        last = None
        every = [(number, True) for number in added] + [(number, False) for number in removed]
        for start in range(0, max(len(every), int(emptied)), PROFILES_MAX):
            chunk = every[start : start + PROFILES_MAX]
            name = f"{request_id}/{start}" if request_id and start else request_id
            record = api.ListChanged(
                list_id=list_id,
                added=[number for number, into in chunk if into],
                removed=[number for number, into in chunk if not into],
                emptied=emptied and not start,
                actor=actor,
                request_id=name,
            )

            async def decide(record: api.ListChanged = record) -> api.ListChanged | Changed:
                return self.requested(record.request_id) or record

            last = await self.write(decide)
        return last


def _changed(record: api.ListChanged, sequence: int) -> Changed:
    return Changed(record.request_id, sequence)


def decide_list(
    known: Definitions,
    request: api.DefineListRequest,
    settings: SegmentsSettings,
    variant_sets: Container[str] = (),
) -> segments.SegmentDefined | Defined:
    """The next version of a list. It settles: the same wish twice gives one version.

    variant_sets: ids of those in service, which a trigger policy may name.
    """
    wanted = segments.SegmentDefined(
        segment_id=request.list_id,
        name=request.name or request.list_id,
        triggers=request.triggers,
        tags=request.tags,
        author=request.author,
        request_id=request.request_id,
        list=segments.ListRule(follows_segment_id=request.follows_segment_id),
    )
    wanted.condition.list.list_id = request.list_id
    repeated = known.requested(request.request_id)
    if repeated is not None:
        if content(repeated.definition) == content(wanted):
            return repeated
        text = f"was used for {repeated.definition.segment_id}; a new wish needs a new request_id"
        raise InvalidRequest([("request_id", text)])
    named = policy_faults(known, request.list_id, request.triggers, variant_sets)
    refuse(_faults(known, request, settings) + named)
    standing = known.by_id.get(request.list_id)
    if standing and not standing.definition.retired and not standing.definition.HasField("list"):
        raise Precondition(
            f"{request.list_id} is a segment with a rule; retire it first, or take another id"
        )
    version = standing.definition.version if standing else 0
    if request.expected_version and request.expected_version != version:
        raise Conflict(
            f"{request.list_id} is at version {version}, not {request.expected_version}; "
            "read it again and repeat"
        )
    if standing is not None and content(standing.definition) == content(wanted):
        return standing
    wanted.version = version + 1
    number = standing.definition.segment_number if standing else known.next_number()
    wanted.segment_number = number
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def standing_list(known: Definitions, list_id: str) -> Defined:
    """A list in service; NotFound when there is none of that id."""
    standing = known.by_id.get(list_id)
    if standing is None or standing.definition.retired:
        raise NotFound(f"no list {list_id}; define it first, or see ListSegments")
    if not standing.definition.HasField("list"):
        raise NotFound(f"{list_id} is a segment with a rule; nobody is put into it by hand")
    return standing


def _faults(
    known: Definitions, request: api.DefineListRequest, settings: SegmentsSettings
) -> list[Fault]:
    faults: list[Fault] = []
    if not SEGMENT_ID.fullmatch(request.list_id):
        text = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter, such as vip"
        faults.append(("list_id", text))
    for path in ("name", "author", "request_id"):
        faults += text_faults(path, getattr(request, path))
    faults += tag_faults(request.tags)
    faults += trigger_faults(request.triggers, settings)
    if request.follows_segment_id:
        faults += _follow_faults(known, request.list_id, request.follows_segment_id)
    return faults


def _follow_faults(known: Definitions, list_id: str, followed: str) -> list[Fault]:
    present = known.in_service()
    if followed not in present:
        return [("follows_segment_id", f"there is no segment {followed!r}: define it first")]
    if present[followed].shadow_of:
        return [("follows_segment_id", f"{followed!r} is a shadow; name a live segment")]
    open_ids, seen = [followed], {followed}
    while open_ids:
        one = open_ids.pop()
        if one == list_id:
            text = f"{followed} depends on {list_id} already; a circle has no answer"
            return [("follows_segment_id", text)]
        below = [name for name in rests_on(present[one]) if name in present and name not in seen]
        open_ids += below
        seen.update(below)
    return []

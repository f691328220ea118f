"""Decides what a wish to define or retire a segment becomes: a record, an old answer, a refusal."""

from __future__ import annotations

from collections.abc import Callable

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1.condition_pb2 import Condition
from services.chassis import clock
from services.chassis.errors import Conflict, InvalidRequest, NotFound, Precondition
from services.chassis.parking import timestamp
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.validation import (
    Fault,
    cycle_faults,
    definition_faults,
    references_of,
    refuse,
)
from services.segments.settings import SegmentsSettings

_BOOKKEEPING = ("define_time", "version", "segment_number", "request_id", "author")


def decide_definition(
    known: Definitions,
    request: api.DefineSegmentRequest,
    settings: SegmentsSettings,
    compile_faults: Callable[[Condition, str], list[Fault]],
) -> segments.SegmentDefined | Defined:
    """The next version of a segment. It settles: the same wish twice gives one version."""
    wanted = segments.SegmentDefined(
        segment_id=request.segment_id,
        name=request.name or request.segment_id,
        condition=request.condition,
        triggers=request.triggers,
        author=request.author,
        tags=request.tags,
        request_id=request.request_id,
        zone=request.zone,
    )
    repeated = known.requested(request.request_id)
    if repeated is not None:
        return _same_wish(repeated, wanted)
    faults = definition_faults(request, settings, compile_faults)
    if not faults:
        faults = cycle_faults(request.segment_id, request.condition, known.present())
    refuse(faults)
    standing = known.by_id.get(request.segment_id)
    version = standing.definition.version if standing else 0
    if request.expected_version and request.expected_version != version:
        raise Conflict(
            f"{request.segment_id} is at version {version}, not {request.expected_version}; "
            "read it again and repeat"
        )
    if standing is not None and _content(standing.definition) == _content(wanted):
        return standing
    wanted.version = version + 1
    number = standing.definition.segment_number if standing else known.next_number()
    wanted.segment_number = number
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def decide_retirement(
    known: Definitions, request: api.RetireSegmentRequest
) -> segments.SegmentDefined | Defined:
    """The record that takes a segment out of service; what is retired already stays as it is."""
    repeated = known.requested(request.request_id)
    if repeated is not None:
        retired = repeated.definition.retired
        if retired and repeated.definition.segment_id == request.segment_id:
            return repeated
        raise _other_wish(repeated)
    standing = known.by_id.get(request.segment_id)
    if standing is None:
        raise NotFound(f"no segment {request.segment_id}; ListSegments shows what there is")
    if standing.definition.retired:
        return standing
    dependents = sorted(
        name
        for name, definition in known.present().items()
        if not definition.retired
        and any(named == request.segment_id for _, named in references_of(definition.condition))
    )
    if dependents:
        shown = ", ".join(dependents[:10])
        raise Precondition(f"{request.segment_id} is part of {shown}; change or retire that first")
    wanted = segments.SegmentDefined()
    wanted.CopyFrom(standing.definition)
    wanted.retired = True
    wanted.version += 1
    wanted.request_id = request.request_id
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def _same_wish(repeated: Defined, wanted: segments.SegmentDefined) -> Defined:
    if _content(repeated.definition) == _content(wanted):
        return repeated
    raise _other_wish(repeated)


def _other_wish(repeated: Defined) -> InvalidRequest:
    standing = repeated.definition
    text = (
        f"was used for version {standing.version} of {standing.segment_id}, which says something "
        "else; a new wish needs a new request_id"
    )
    return InvalidRequest([("request_id", text)])


def _content(definition: segments.SegmentDefined) -> bytes:
    """What a definition says, without who, when and which number."""
    bare = segments.SegmentDefined()
    bare.CopyFrom(definition)
    for field in _BOOKKEEPING:
        bare.ClearField(field)
    return bytes(bare.SerializeToString(deterministic=True))

"""Decides what a wish to define or retire a segment becomes: a record, an old answer, a refusal."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1.condition_pb2 import Condition
from services.chassis import clock
from services.chassis.errors import Conflict, NotFound, Precondition
from services.chassis.parking import timestamp
from services.segments.adapters.definitions import Defined, Definitions
from services.segments.adapters.validation import (
    Fault,
    cycle_faults,
    definition_faults,
    references_of,
    refuse,
    rests_on,
    tag_faults,
    text_faults,
)
from services.segments.adapters.wishes import content, other_wish
from services.segments.settings import SegmentsSettings


def decide_definition(
    known: Definitions,
    request: api.DefineSegmentRequest,
    settings: SegmentsSettings,
    compile_faults: Callable[[Condition, str], list[Fault]],
    variant_sets: Container[str] = (),
) -> segments.SegmentDefined | Defined:
    """The next version of a segment. It settles: the same wish twice gives one version.

    variant_sets: ids of those in service, which a trigger policy may name.
    """
    wanted = segments.SegmentDefined(
        segment_id=request.segment_id,
        name=request.name or request.segment_id,
        condition=request.condition,
        triggers=request.triggers,
        author=request.author,
        tags=request.tags,
        request_id=request.request_id,
        zone=request.zone,
        note=request.note,
        shadow_of=request.shadow_of,
    )
    repeated = known.requested(request.request_id)
    if repeated is not None:
        return _same_wish(repeated, wanted)
    faults = definition_faults(request, settings, compile_faults)
    faults += _shadow_faults(known, request)
    if (listed := known.in_service().get(request.segment_id)) and listed.HasField("list"):
        faults.append(("segment_id", f"{request.segment_id} is a list: change it by DefineList"))
    faults += policy_faults(known, request.segment_id, request.triggers, variant_sets)
    if not faults:
        faults = cycle_faults(request.segment_id, request.condition, known.present())
    refuse(faults)
    standing = known.by_id.get(request.segment_id)
    version = standing.definition.version if standing else 0
    _expect(request.segment_id, request.expected_version, version)
    if standing is not None and content(standing.definition) == content(wanted):
        return standing
    wanted.version = version + 1
    number = standing.definition.segment_number if standing else known.next_number()
    wanted.segment_number = number
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def decide_description(
    known: Definitions, request: api.DescribeSegmentRequest
) -> segments.SegmentDefined | Defined:
    """The same version under another name and other tags: a revision of it. It settles."""
    repeated = known.requested(request.request_id)
    if repeated is not None:
        if _describes(repeated.definition, request):
            return repeated
        raise other_wish(repeated.definition.version, repeated.definition.segment_id)
    faults = tag_faults(request.tags)
    for path in ("name", "author", "note", "request_id"):
        faults += text_faults(path, getattr(request, path))
    refuse(faults)
    standing = _in_service(known, request.segment_id)
    _expect(request.segment_id, request.expected_version, standing.definition.version)
    if _describes(standing.definition, request):
        return standing
    wanted = segments.SegmentDefined()
    wanted.CopyFrom(standing.definition)
    wanted.name = request.name or request.segment_id
    del wanted.tags[:]
    wanted.tags.extend(request.tags)
    wanted.revision += 1
    return _signed(wanted, request.author, request.note, request.request_id)


def decide_retirement(
    known: Definitions, request: api.RetireSegmentRequest, naming: Sequence[str] = ()
) -> segments.SegmentDefined | Defined:
    """The record that takes a segment out of service; what is retired already stays as it is.

    naming: variant sets with a rule for it. Whatever depends on it must go first.
    """
    repeated = known.requested(request.request_id)
    if repeated is not None:
        retired = repeated.definition.retired
        if retired and repeated.definition.segment_id == request.segment_id:
            return repeated
        raise other_wish(repeated.definition.version, repeated.definition.segment_id)
    standing = known.by_id.get(request.segment_id)
    if standing is None:
        raise NotFound(f"no segment {request.segment_id}; ListSegments shows what there is")
    if standing.definition.retired:
        return standing
    dependents = dependents_of(known, request.segment_id) + [f"variant set {n}" for n in naming]
    if dependents:
        shown = ", ".join(dependents[:10])
        raise Precondition(
            f"{request.segment_id} is part of {shown}; change or retire that first, "
            "or force it: then they are retired with it"
        )
    wanted = segments.SegmentDefined()
    wanted.CopyFrom(standing.definition)
    wanted.retired = True
    wanted.version += 1
    wanted.revision = 0
    return _signed(wanted, request.author, request.note, request.request_id)


def dependents_of(known: Definitions, segment_id: str) -> list[str]:
    """Segments in service whose rule or trigger policy speaks of one, and its shadows, by id."""
    return sorted(
        name
        for name, definition in known.in_service().items()
        if segment_id in (definition.shadow_of, definition.triggers.migrates_from)
        or segment_id in rests_on(definition)
    )


def retirement_order(known: Definitions, segment_id: str) -> list[str]:
    """A segment and all that depends on it, directly or not: each before what it depends on."""
    order: list[str] = []
    open_ids: list[tuple[str, bool]] = [(segment_id, False)]
    while open_ids:
        name, done = open_ids.pop()
        if done:
            order.append(name)
        elif name not in order:
            open_ids.append((name, True))
            above = (one for one in dependents_of(known, name) if one not in order)
            open_ids += [(one, False) for one in above]
    return list(dict.fromkeys(order))


def _in_service(known: Definitions, segment_id: str) -> Defined:
    standing = known.by_id.get(segment_id)
    if standing is None:
        raise NotFound(f"no segment {segment_id}; ListSegments shows what there is")
    if standing.definition.retired:
        raise Precondition(f"{segment_id} is out of service; define it again to change it")
    return standing


def _describes(definition: segments.SegmentDefined, request: api.DescribeSegmentRequest) -> bool:
    """Whether a definition is named and tagged as asked."""
    name = request.name or request.segment_id
    return (definition.segment_id, definition.name, list(definition.tags)) == (
        request.segment_id, name, list(request.tags)
    )  # fmt: skip


def _shadow_faults(known: Definitions, request: api.DefineSegmentRequest) -> list[Fault]:
    """A shadow stands beside a live segment, has no triggers, and no live rule rests on it."""
    present = known.in_service()
    faults: list[Fault] = []
    beside = request.shadow_of
    if beside:
        shadowed = present.get(beside)
        if shadowed is None or shadowed.shadow_of:
            faults.append(("shadow_of", f"{beside!r} is no live segment; name one"))
        if request.HasField("triggers"):
            faults.append(("triggers", "a shadow never triggers; leave them out"))
    else:
        faults += [
            (f"condition.{path}", f"{named} is a shadow; only shadows may rest on it")
            for path, named in references_of(request.condition)
            if named in present and present[named].shadow_of
        ]
    standing = present.get(request.segment_id)
    if standing is not None and bool(standing.shadow_of) != bool(beside):
        what = f"a shadow of {standing.shadow_of}" if standing.shadow_of else "a live segment"
        text = f"{request.segment_id} is {what} and stays one; use PromoteShadow, or another id"
        faults.append(("shadow_of", text))
    return faults


def policy_faults(
    known: Definitions,
    segment_id: str,
    triggers: segments.TriggerPolicy,
    variant_sets: Container[str],
) -> list[Fault]:
    """Names in a trigger policy that mean nothing in service."""
    faults: list[Fault] = []
    named, left = triggers.variant_set, triggers.migrates_from
    if named and named not in variant_sets:
        text = f"there is no variant set {named!r}: define it first"
        faults.append(("triggers.variant_set", text))
    if left and (left not in known.in_service() or left == segment_id):
        text = f"{left!r} is no other segment; define it first"
        faults.append(("triggers.migrates_from", text))
    return faults


def _expect(segment_id: str, expected: int, version: int) -> None:
    if expected and expected != version:
        raise Conflict(
            f"{segment_id} is at version {version}, not {expected}; read it again and repeat"
        )


def _signed(
    wanted: segments.SegmentDefined, author: str, note: str, request_id: str
) -> segments.SegmentDefined:
    wanted.author, wanted.note, wanted.request_id = author, note, request_id
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def _same_wish(repeated: Defined, wanted: segments.SegmentDefined) -> Defined:
    if content(repeated.definition) == content(wanted):
        return repeated
    raise other_wish(repeated.definition.version, repeated.definition.segment_id)

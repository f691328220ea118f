"""Refuses a definition at the door, every fault at once and each with its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from zoneinfo import ZoneInfo

from google.protobuf.duration_pb2 import Duration

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from muster.types.v1.condition_pb2 import Condition
from services.chassis.errors import InvalidRequest
from services.segments.settings import SegmentsSettings

Fault = tuple[str, str]
"""Path of the field, what is wrong and what to do."""

FAULTS_MAX = 10
"""Faults named in one answer: they travel in gRPC's trailers, which are small."""
SEGMENT_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
TEXT_BYTES_MAX = 200
TAGS_MAX = 32
DAY_S = 24 * 60 * 60


def refuse(faults: list[Fault]) -> None:
    """Raises InvalidRequest when there is a fault; names the first ones and counts the rest."""
    more = len(faults) - FAULTS_MAX
    if more > 0:
        faults = [*faults[:FAULTS_MAX], ("", f"and {more} more faults")]
    if faults:
        raise InvalidRequest(faults)


def segment_id_faults(segment_id: str) -> list[Fault]:
    """Faults of a segment's id."""
    if SEGMENT_ID.fullmatch(segment_id):
        return []
    text = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter, such as big-spenders"
    return [("segment_id", text)]


def definition_faults(
    request: api.DefineSegmentRequest,
    settings: SegmentsSettings,
    compile_faults: Callable[[Condition, str], list[Fault]],
) -> list[Fault]:
    """Every fault of a definition; [] when it may be written.

    compile_faults: what the engine says of (condition, zone); asked only when its size is allowed.
    """
    faults = segment_id_faults(request.segment_id)
    for path in ("name", "author", "note", "request_id"):
        faults += text_faults(path, getattr(request, path))
    faults += tag_faults(request.tags)
    faults += zone_faults(request.zone)
    faults += trigger_faults(request.triggers, settings)
    faults += condition_faults(request.condition, request.zone, settings, compile_faults)
    return faults


def condition_faults(
    condition: Condition,
    zone: str,
    settings: SegmentsSettings,
    compile_faults: Callable[[Condition, str], list[Fault]],
) -> list[Fault]:
    """Every fault of a rule, paths beginning with `condition`."""
    if condition.WhichOneof("node") is None:
        return [("condition", "say who is in it: a group (all, any, none, not) or a leaf")]
    size, most = condition.ByteSize(), settings.condition_bytes_max
    if size > most:
        text = f"{size} bytes, at most {most}: make segments of parts and name them here"
        return [("condition", text)]
    if zone_faults(zone):
        return []
    return [
        (f"condition.{path}" if path else "condition", text)
        for path, text in compile_faults(condition, zone)
    ]


def zone_faults(zone: str) -> list[Fault]:
    """Faults of an IANA zone name; empty is UTC."""
    try:
        if zone:
            ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return [("zone", "not a time zone; use an IANA name such as Europe/Kyiv")]
    return []


def children_of(condition: Condition) -> list[tuple[str, Condition]]:
    """The conditions directly inside, each with its step of the path."""
    node = condition.WhichOneof("node")
    if node in ("all", "any", "none", "at_least"):
        name = "at_least.of" if node == "at_least" else node
        return [(f"{name}[{i}]", one) for i, one in enumerate(getattr(condition, node).of)]
    if node == "not":
        return [("not", getattr(condition, "not"))]
    return []


def leaves_of(condition: Condition) -> Iterator[tuple[str, Condition]]:
    """Every leaf (and empty group) with its path, in order."""
    open_nodes = [("", condition)]
    while open_nodes:
        path, one = open_nodes.pop()
        children = children_of(one)
        if not children:
            yield path, one
        for step, child in reversed(children):
            open_nodes.append((f"{path}.{step}" if path else step, child))


def references_of(condition: Condition) -> list[tuple[str, str]]:
    """Other segments and lists a rule speaks of: (path of the leaf, its id)."""
    found = []
    for path, leaf in leaves_of(condition):
        node = leaf.WhichOneof("node")
        if node in ("segment", "list"):
            named = leaf.segment.segment_id if node == "segment" else leaf.list.list_id
            found.append((f"{path}.{node}" if path else node, named))
    return found


def rests_on(definition: segments.SegmentDefined) -> list[str]:
    """What a segment or list cannot be without: those its rule names, or what it follows."""
    if definition.HasField("list"):
        followed = definition.list.follows_segment_id
        return [followed] if followed else []
    return [named for _, named in references_of(definition.condition)]


def cycle_faults(
    segment_id: str, condition: Condition, definitions: dict[str, segments.SegmentDefined]
) -> list[Fault]:
    """Faults of a rule that would, through other segments, speak of itself."""
    faults = []
    for path, named in references_of(condition):
        seen: set[str] = set()
        open_ids = [named]
        while open_ids:
            one = open_ids.pop()
            if one == segment_id:
                text = f"{named} depends on {segment_id} already; a circle has no answer"
                faults.append((f"condition.{path}", text))
                break
            definition = definitions.get(one)
            if one not in seen and definition is not None and not definition.retired:
                seen.add(one)
                open_ids += rests_on(definition)
    return faults


def tag_faults(tags: Sequence[str]) -> list[Fault]:
    """Faults of a segment's tags."""
    faults: list[Fault] = []
    if len(tags) > TAGS_MAX:
        faults.append(("tags", f"at most {TAGS_MAX} tags; this has {len(tags)}"))
    for place, tag in enumerate(tags[:TAGS_MAX]):
        faults += text_faults(f"tags[{place}]", tag)
    return faults


def text_faults(path: str, text: str) -> list[Fault]:
    """Faults of a short text a caller gives: a name, a note, an author."""
    if len(text.encode()) > TEXT_BYTES_MAX:
        return [(path, f"at most {TEXT_BYTES_MAX} bytes; this has {len(text.encode())}")]
    if any(ord(letter) < 32 for letter in text):
        return [(path, "control characters cannot stand here; leave them out")]
    return []


def trigger_faults(triggers: segments.TriggerPolicy, settings: SegmentsSettings) -> list[Fault]:
    """Faults of a policy's reasons and cool-down."""
    faults: list[Fault] = []
    known = set(common_pb2.Reason.values()) - {common_pb2.REASON_UNSPECIFIED}
    faults += [
        (f"triggers.reasons[{place}]", f"{reason} is not a reason; name one of REASON_EVENT …")
        for place, reason in enumerate(triggers.reasons)
        if reason not in known
    ]
    most_s = settings.cool_down_days_max * DAY_S
    cool: Duration = triggers.cool_down
    if not 0 <= cool.seconds <= most_s or not 0 <= cool.nanos < 1_000_000_000:
        text = f"a cool-down lies between 0 and {settings.cool_down_days_max} days"
        faults.append(("triggers.cool_down", text))
    return faults

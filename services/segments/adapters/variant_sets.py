"""Variant sets as a door knows them, and what a wish to define or retire one becomes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable
from dataclasses import dataclass

from nats.aio.client import Client

from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import variants_pb2 as api
from services.chassis import clock, subjects
from services.chassis.checkpoint import Origin
from services.chassis.control_log import ControlLog
from services.chassis.errors import Conflict, NotFound, Precondition
from services.chassis.parking import timestamp
from services.segments.adapters.validation import (
    SEGMENT_ID,
    Fault,
    refuse,
    text_faults,
)
from services.segments.adapters.wishes import content, other_wish
from services.segments.settings import SegmentsSettings

RULES_MAX = 100
VARIANT_BYTES_MAX = 64


@dataclass(frozen=True, slots=True)
class StandingVariants:
    """A variant set and its sequence on CONTROL."""

    variants: segments.VariantsDefined
    sequence: int

    @property
    def token(self) -> str:
        """The position from which every engine lives by it."""
        return Origin(control=self.sequence).token()


class VariantSets(ControlLog[segments.VariantsDefined, StandingVariants]):
    """The variant sets of a tenant, every version."""

    def __init__(self, client: Client, settings: SegmentsSettings) -> None:
        subject = subjects.control(settings.tenant, "variant")
        attempts = settings.define_attempts_max
        super().__init__(client, subject, segments.VariantsDefined, StandingVariants, attempts)
        self._requests_max = settings.requests_remembered_max
        self._by_request: OrderedDict[str, StandingVariants] = OrderedDict()
        self.by_id: dict[str, StandingVariants] = {}
        self.history: dict[str, list[StandingVariants]] = {}

    def take(self, standing: StandingVariants) -> None:
        variants = standing.variants
        self.by_id[variants.variant_set_id] = standing
        self.history.setdefault(variants.variant_set_id, []).append(standing)
        if variants.request_id:
            self._by_request[variants.request_id] = standing
            while len(self._by_request) > self._requests_max:
                self._by_request.popitem(last=False)

    def requested(self, request_id: str) -> StandingVariants | None:
        """What a request id has brought about, if it is remembered."""
        return self._by_request.get(request_id) if request_id else None

    def in_service(self) -> dict[str, segments.VariantsDefined]:
        """The present version of every set that is not retired, by id."""
        return {
            name: one.variants
            for name, one in sorted(self.by_id.items())
            if not one.variants.retired
        }

    def get(self, variant_set_id: str) -> StandingVariants:
        """NotFound when there is no such set in service."""
        found = self.by_id.get(variant_set_id)
        if found is None or found.variants.retired:
            raise NotFound(f"no variant set {variant_set_id}; ListVariants shows what there is")
        return found

    def naming(self, segment_ids: Container[str]) -> list[str]:
        """Sets with a rule for one of these segments."""
        return [
            name
            for name, one in self.in_service().items()
            if any(rule.segment_id in segment_ids for rule in one.rules)
        ]


def decide_variants(
    known: VariantSets, request: api.DefineVariantsRequest, segment_ids: Container[str]
) -> segments.VariantsDefined | StandingVariants:
    """The next version of a set. It settles: the same wish twice gives one version."""
    wanted = segments.VariantsDefined(
        variant_set_id=request.variant_set_id,
        name=request.name or request.variant_set_id,
        rules=request.rules,
        default_variant=request.default_variant,
        author=request.author,
        note=request.note,
        request_id=request.request_id,
    )
    repeated = known.requested(request.request_id)
    if repeated is not None:
        if content(repeated.variants) == content(wanted):
            return repeated
        raise other_wish(repeated.variants.version, repeated.variants.variant_set_id)
    refuse(variants_faults(request, segment_ids))
    standing = known.by_id.get(request.variant_set_id)
    version = standing.variants.version if standing else 0
    if request.expected_version and request.expected_version != version:
        raise Conflict(
            f"{request.variant_set_id} is at version {version}, not {request.expected_version}; "
            "read it again and repeat"
        )
    if standing is not None and content(standing.variants) == content(wanted):
        return standing
    wanted.version = version + 1
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def decide_variants_retirement(
    known: VariantSets,
    request: api.RetireVariantsRequest,
    present: dict[str, segments.SegmentDefined],
) -> segments.VariantsDefined | StandingVariants:
    """The record that takes a set out of service; refused while a trigger policy names it."""
    repeated = known.requested(request.request_id)
    if repeated is not None:
        if repeated.variants.retired and repeated.variants.variant_set_id == request.variant_set_id:
            return repeated
        raise other_wish(repeated.variants.version, repeated.variants.variant_set_id)
    standing = known.by_id.get(request.variant_set_id)
    if standing is None:
        raise NotFound(f"no variant set {request.variant_set_id}; ListVariants shows what there is")
    if standing.variants.retired:
        return standing
    named = sorted(
        name
        for name, one in present.items()
        if not one.retired and one.triggers.variant_set == request.variant_set_id
    )
    if named:
        shown = ", ".join(named[:10])
        raise Precondition(f"triggers of {shown} name it; change their policy first")
    return changed(standing, request.author, request.request_id, retired=True)


def without_segment(
    standing: StandingVariants, segment_id: str, author: str, request_id: str
) -> segments.VariantsDefined | StandingVariants:
    """The set without its rules for a segment that goes out of service."""
    if all(rule.segment_id != segment_id for rule in standing.variants.rules):
        return standing
    wanted = changed(standing, author, request_id)
    kept = [rule for rule in wanted.rules if rule.segment_id != segment_id]
    del wanted.rules[:]
    wanted.rules.extend(kept)
    wanted.note = f"{segment_id} was retired"
    return wanted


def changed(
    standing: StandingVariants, author: str, request_id: str, *, retired: bool = False
) -> segments.VariantsDefined:
    """The next version, to be changed further."""
    wanted = segments.VariantsDefined()
    wanted.CopyFrom(standing.variants)
    wanted.version += 1
    wanted.author, wanted.request_id, wanted.note = author, request_id, ""
    wanted.retired = retired
    wanted.define_time.CopyFrom(timestamp(clock.wall_us()))
    return wanted


def variants_faults(request: api.DefineVariantsRequest, segment_ids: Container[str]) -> list[Fault]:
    """Every fault of a set; [] when it may be written. segment_ids: those in service."""
    faults: list[Fault] = []
    if not SEGMENT_ID.fullmatch(request.variant_set_id):
        text = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter, such as spring-mail"
        faults.append(("variant_set_id", text))
    for path in ("name", "author", "note", "request_id"):
        faults += text_faults(path, getattr(request, path))
    faults += variant_faults("default_variant", request.default_variant)
    return faults + rules_faults(request.rules, segment_ids)


def rules_faults(rules: Iterable[segments.VariantRule], segment_ids: Container[str]) -> list[Fault]:
    """Every fault of a set's rules; a rule below one for the same segment never speaks."""
    given = list(rules)
    if not given:
        return [("rules", "say at least one: a segment and its variant")]
    if len(given) > RULES_MAX:
        return [("rules", f"at most {RULES_MAX}; this has {len(given)}")]
    faults: list[Fault] = []
    seen: set[str] = set()
    for place, rule in enumerate(given):
        if rule.segment_id not in segment_ids:
            text = f"there is no segment {rule.segment_id!r}: define it first"
            faults.append((f"rules[{place}].segment_id", text))
        elif rule.segment_id in seen:
            text = f"{rule.segment_id} has a rule above, so this one never speaks; leave it out"
            faults.append((f"rules[{place}].segment_id", text))
        seen.add(rule.segment_id)
        if not rule.variant:
            faults.append((f"rules[{place}].variant", "name the variant"))
        faults += variant_faults(f"rules[{place}].variant", rule.variant)
    return faults


def variant_faults(path: str, variant: str) -> list[Fault]:
    """Faults of a variant's name: thousands of them travel in one message."""
    if len(variant.encode()) > VARIANT_BYTES_MAX:
        return [(path, f"at most {VARIANT_BYTES_MAX} bytes; this has {len(variant.encode())}")]
    return text_faults(path, variant)

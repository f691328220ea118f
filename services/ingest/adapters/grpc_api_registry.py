"""The registry's questions and wishes over gRPC."""

from __future__ import annotations

from typing import Any

from muster.ingest.v1 import registry_pb2 as wire
from muster.types.v1.common_pb2 import Position
from services.chassis import clock, subjects
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest, NotFound, Precondition
from services.ingest.adapters import registry_wire
from services.ingest.adapters.registry_log import RegistryLog
from services.ingest.domain import faults
from services.ingest.domain import registry as rules
from services.ingest.domain.publishers import hash_of
from services.ingest.domain.schemas import STANDARD
from services.ingest.settings import IngestSettings

SERVICE = "muster.ingest.v1.RegistryService"
PAGE_MAX = 1_000
KEYS_MAX = 8
ACTOR_BYTES_MAX = 256


class RegistryServicer:
    """muster.ingest.v1.RegistryService."""

    def __init__(self, settings: IngestSettings, log: RegistryLog) -> None:
        self._tenant = settings.tenant
        self._log = log

    async def SetPublisher(
        self, request: wire.SetPublisherRequest, context: Any
    ) -> wire.SetPublisherResponse:
        del context
        wanted = request.publisher
        found = self._faults(request)
        found += _publisher_faults(wanted)
        if found:
            raise InvalidRequest(found)
        key = clock.new_secret() if request.new_key else ""

        def decide() -> wire.RegistryChanged:
            before = self._log.registry.publishers.get(wanted.name)
            if before is None and len(self._log.registry.publishers) >= rules.PUBLISHERS_MAX:
                raise Precondition(f"at most {rules.PUBLISHERS_MAX} publishers; retire some")
            hashes = list(before.key_hashes) if before and not request.revoke_keys else []
            if key:
                hashes.append(hash_of(key))
            if len(hashes) > KEYS_MAX:
                raise Precondition(f"at most {KEYS_MAX} keys are good at once; revoke the others")
            said = wire.Publisher()
            said.CopyFrom(wanted)
            said.ClearField("key_hashes")
            said.key_hashes.extend(hashes)
            return self._record(request, publisher=said)

        record, sequence = await self._log.write(request.request_id, decide)
        if key and hash_of(key) not in record.publisher.key_hashes:
            key = ""  # a repeat: the key was shown when it was made
        said = registry_wire.publisher_of(record.publisher)
        return wire.SetPublisherResponse(
            publisher=registry_wire.publisher_said(said, hashes=False),
            key=key,
            position=_position(sequence),
        )

    async def ListPublishers(
        self, request: wire.ListPublishersRequest, context: Any
    ) -> wire.ListPublishersResponse:
        del context
        self._refuse_tenant(request.tenant)
        names = sorted(self._log.registry.publishers)
        page, token = _page(names, request.page_size, request.page_token)
        shown = [self._log.registry.publishers[name] for name in page]
        return wire.ListPublishersResponse(
            publishers=[registry_wire.publisher_said(one, hashes=False) for one in shown],
            next_page_token=token,
        )

    async def SetEventType(
        self, request: wire.SetEventTypeRequest, context: Any
    ) -> wire.SetEventTypeResponse:
        del context
        wanted = request.event_type
        found = self._faults(request) + _type_faults(wanted)
        if found:
            raise InvalidRequest(found)
        broken: list[str] = []

        def decide() -> wire.RegistryChanged:
            registry = self._log.registry
            if wanted.retired and wanted.type not in registry.schemas:
                raise NotFound(f"nobody described {wanted.type}")
            if len(registry.schemas) >= rules.EVENT_TYPES_MAX:
                raise Precondition(f"at most {rules.EVENT_TYPES_MAX} types; retire some")
            broken[:] = self._broken(wanted)
            if broken and not request.force:
                raise Precondition(
                    "this would break live rules: "
                    + "; ".join(broken)
                    + ". Change those first, or say force"
                )
            return self._record(request, event_type=wanted)

        record, sequence = await self._log.write(request.request_id, decide)
        return wire.SetEventTypeResponse(
            event_type=record.event_type, broken=broken, position=_position(sequence)
        )

    def _broken(self, wanted: wire.EventType) -> list[str]:
        uses = self._log.uses()
        if wanted.retired:
            return rules.retiring_breaks(wanted.type, self._log.registry, uses)
        return rules.broken_by(registry_wire.schema_of(wanted), uses)

    async def ListEventTypes(
        self, request: wire.ListEventTypesRequest, context: Any
    ) -> wire.ListEventTypesResponse:
        del context
        self._refuse_tenant(request.tenant)
        registry = self._log.registry
        schemas = {**(STANDARD if request.standard else {}), **registry.schemas}
        page, token = _page(sorted(schemas), request.page_size, request.page_token)
        uses = self._log.uses()
        shown = []
        for name in page:
            one = _use_of(name, uses)
            one.event_type.CopyFrom(registry_wire.schema_said(schemas[name]))
            one.standard = name not in registry.schemas
            shown.append(one)
        return wire.ListEventTypesResponse(
            event_types=shown,
            next_page_token=token,
            vocabulary=registry_wire.vocabulary_said(registry.vocabulary),
        )

    async def SetVocabulary(
        self, request: wire.SetVocabularyRequest, context: Any
    ) -> wire.SetVocabularyResponse:
        del context
        if found := self._faults(request):
            raise InvalidRequest(found)

        def decide() -> wire.RegistryChanged:
            if request.vocabulary.undescribed == wire.UNDESCRIBED_QUARANTINE:
                broken = rules.quarantining_breaks(self._log.registry, self._log.uses())
                if broken:
                    raise Precondition(
                        "this would break live rules: "
                        + "; ".join(broken)
                        + ". Describe those event types first"
                    )
            return self._record(request, vocabulary=request.vocabulary)

        record, sequence = await self._log.write(request.request_id, decide)
        return wire.SetVocabularyResponse(
            vocabulary=record.vocabulary, position=_position(sequence)
        )

    def _record(self, request: Any, **change: Any) -> wire.RegistryChanged:
        record = wire.RegistryChanged(actor=request.actor, request_id=request.request_id, **change)
        record.change_time.FromMicroseconds(clock.wall_us())
        return record

    def _refuse_tenant(self, tenant: str) -> None:
        if tenant != self._tenant:
            raise InvalidRequest([("tenant", "this door belongs to another tenant; name yours")])

    def _faults(self, request: Any) -> list[tuple[str, str]]:
        self._refuse_tenant(request.tenant)
        return [
            (name, f"at most {ACTOR_BYTES_MAX} bytes")
            for name in ("actor", "request_id")
            if len(getattr(request, name).encode()) > ACTOR_BYTES_MAX
        ]


def _use_of(event_type: str, uses: list[rules.Use]) -> wire.EventTypeUse:
    """Lineage: the segments that look at a type, and at which of its properties."""
    ours = [use for use in uses if use.concerns(event_type)]
    properties: dict[str, set[str]] = {}
    for use in ours:
        if use.property:
            properties.setdefault(use.property, set()).add(use.segment_id)
    return wire.EventTypeUse(
        segments=sorted({use.segment_id for use in ours}),
        properties=[
            wire.PropertyUse(property=name, segments=sorted(segments))
            for name, segments in sorted(properties.items())
        ],
    )


def _publisher_faults(wanted: wire.Publisher) -> list[tuple[str, str]]:
    try:
        subjects.token(wanted.name)
    except subjects.BadToken as wrong:
        return [("publisher.name", str(wrong))]
    if wanted.name == "tick":
        return [("publisher.name", "this name is ours; choose another")]
    known = {int(scope) for scope in wire.Scope.values() if scope}
    return [
        (f"publisher.scopes[{place}]", "not a scope that we know")
        for place, scope in enumerate(wanted.scopes)
        if int(scope) not in known
    ]


def _type_faults(wanted: wire.EventType) -> list[tuple[str, str]]:
    found = []
    name = wanted.type.encode()
    if not 0 < len(name) <= faults.TYPE_BYTES_MAX or any(byte <= 32 for byte in name):
        found.append(("event_type.type", faults.Fault.BAD_TYPE.detail))
    if wanted.type == rules.DERIVED_TYPE:
        found.append(("event_type.type", faults.Fault.RESERVED_TYPE.detail))
    if len(wanted.properties) > rules.RULES_MAX:
        found.append(("event_type.properties", f"at most {rules.RULES_MAX}"))
    seen: set[str] = set()
    for place, rule in enumerate(wanted.properties[: rules.RULES_MAX]):
        path = f"event_type.properties[{place}]"
        if not 0 < len(rule.key.encode()) <= faults.KEY_BYTES_MAX:
            found.append((f"{path}.key", f"1 to {faults.KEY_BYTES_MAX} bytes"))
        if rule.key in seen:
            found.append((f"{path}.key", "is described twice"))
        if rule.type not in wire.PropertyType.values() or not rule.type:
            found.append((f"{path}.type", "say what it is: any, text, number, flag or time"))
        seen.add(rule.key)
    return found


def _page(names: list[str], size: int, token: str) -> tuple[list[str], str]:
    """Names after `token`, and the token of the next page."""
    rest = [name for name in names if name > token]
    page = rest[: min(size or PAGE_MAX, PAGE_MAX)]
    return page, page[-1] if len(page) < len(rest) else ""


def _position(sequence: int) -> Position:
    return Position(token=Origin(control=sequence).token())

"""The door of the catalogue: items that are right go onto CONTROL, the others are named."""

from __future__ import annotations

import math
from collections.abc import Callable

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from muster.ingest.v1.catalogue_pb2 import CatalogueItem, CatalogueItemsSet
from muster.ingest.v1.facts_pb2 import ItemReceipt, Verdict
from muster.ingest.v1.service_pb2 import PutCatalogueItemsRequest, PutCatalogueItemsResponse
from muster.types.v1.event_pb2 import Property
from services.chassis import clock, subjects
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest, NotReady
from services.ingest.adapters import rows as at_
from services.ingest.adapters.checks import exact_number
from services.ingest.adapters.gate import Gate
from services.ingest.domain import faults
from services.ingest.domain.publishers import Scope
from services.ingest.settings import IngestSettings

ITEMS_MAX = 1_000
ITEM_ID_BYTES_MAX = 256
WRITE_TIMEOUT_S = 4.0


class CatalogueDoor:
    """Takes items of the catalogue for one tenant. jetstream: of the running connection."""

    def __init__(
        self, settings: IngestSettings, gate: Gate, jetstream: Callable[[], JetStreamContext]
    ) -> None:
        self._tenant = settings.tenant
        self._gate = gate
        self._jetstream = jetstream

    async def put(self, request: PutCatalogueItemsRequest, key: str) -> PutCatalogueItemsResponse:
        """Stores what is right, in one fact; NotReady when it is not known whether it was."""
        self._refuse_wrong(request)
        self._gate.enter(request.publisher, key, Scope.CATALOGUE)
        self._gate.pay(request.publisher, len(request.items), request.ByteSize())
        now_us = clock.wall_us()
        fact = CatalogueItemsSet()
        response = PutCatalogueItemsResponse()
        for place, item in enumerate(request.items):
            wrong = _wrong(item, now_us)
            if wrong:
                response.refused.append(_refusal(place, item, *wrong))
                continue
            taken = fact.items.add()
            taken.CopyFrom(item)
            if not taken.HasField("occur_time"):
                taken.occur_time.FromMicroseconds(now_us)
            for one in taken.properties:
                _make_exact(one)
        if fact.items:
            sequence = await self._store(fact.SerializeToString(deterministic=True))
            response.stored = len(fact.items)
            response.position.token = Origin(control=sequence).token()
            response.position.time.FromMicroseconds(now_us)
        return response

    async def _store(self, body: bytes) -> int:
        subject = subjects.control(self._tenant, "catalogue")
        try:
            answer = await self._jetstream().publish(subject, body, timeout=WRITE_TIMEOUT_S)
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            raise NotReady(
                f"it is unknown whether the items were stored ({type(error).__name__}); send them "
                "again: the same values change nothing"
            ) from error
        return answer.seq

    def _refuse_wrong(self, request: PutCatalogueItemsRequest) -> None:
        found = []
        if request.tenant != self._tenant:
            found.append(("tenant", "this door belongs to another tenant; name yours"))
        try:
            subjects.token(request.publisher)
        except subjects.BadToken as wrong:
            found.append(("publisher", str(wrong)))
        if not 0 < len(request.items) <= ITEMS_MAX or request.ByteSize() > faults.BATCH_BYTES_MAX:
            limits = f"1 to {ITEMS_MAX} items and at most {faults.BATCH_BYTES_MAX} bytes"
            found.append(("items", limits))
        if found:
            raise InvalidRequest(found)


def _wrong(item: CatalogueItem, now_us: int) -> tuple[str, str] | None:
    """(code, detail) of what is wrong with an item."""
    if not 0 < len(item.item_id.encode()) <= ITEM_ID_BYTES_MAX:
        return "bad_item_id", f"item_id: 1 to {ITEM_ID_BYTES_MAX} bytes, as events name it"
    if "\0" in item.item_id:
        return "bad_text", "item_id: holds NUL"
    if item.HasField("occur_time"):
        try:
            at_us = item.occur_time.ToMicroseconds()
        except ValueError:
            return "bad_time", "occur_time: is no instant of the years 1 to 9999"
        if at_us <= 0:
            return "bad_time", "occur_time: lies before 1970"
        if at_us > now_us + faults.FUTURE_US:
            return "event_time_in_future", "occur_time: more than 10 minutes ahead of our clock"
    if len(item.properties) > faults.PROPERTIES_MAX:
        return "too_many_properties", f"properties: at most {faults.PROPERTIES_MAX}"
    for one in item.properties:
        if not 0 < len(one.key.encode()) <= faults.KEY_BYTES_MAX:
            return "missing_property_key", f"a key has 1 to {faults.KEY_BYTES_MAX} bytes"
        if len(one.text.encode()) > faults.TEXT_BYTES_MAX:
            return "text_too_long", f"{one.key}: at most {faults.TEXT_BYTES_MAX} bytes"
        if "\0" in one.text or "\0" in one.key:
            return "bad_text", f"{one.key}: holds NUL"
        if one.decimal.exponent > faults.DECIMAL_EXPONENT_MAX:
            return "bad_decimal", f"{one.key}: at most {faults.DECIMAL_EXPONENT_MAX} places"
        if not math.isfinite(one.number):
            return "not_a_number", f"{one.key}: NaN or infinite"
    return None


def _make_exact(one: Property) -> None:
    """A double as the decimal it stands for."""
    if one.WhichOneof("value") != "number":
        return
    kind, value, exponent, text = exact_number(one.number)
    if kind == at_.WHOLE:
        one.whole = value
    elif kind == at_.DECIMAL:
        one.decimal.units, one.decimal.exponent = value, exponent
    else:
        one.text = text.decode()


def _refusal(place: int, item: CatalogueItem, code: str, detail: str) -> ItemReceipt:
    return ItemReceipt(
        index=place,
        event_id=item.item_id,
        verdict=Verdict.VERDICT_REJECTED,
        code=code,
        detail=detail,
    )

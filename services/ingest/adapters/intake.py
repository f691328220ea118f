"""Opens messages of INTAKE: upb decides what is an event; one bad event spoils no other."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from muster.types.v1 import event_pb2
from services.chassis.columns import varint
from services.ingest.adapters.decoder import KernelDecoder, NotOnTheWire
from services.ingest.adapters.reference import RAW_BATCH
from services.ingest.domain.faults import (
    BATCH_BYTES_MAX,
    EVENTS_MAX,
    IMPORT_ID_BYTES_MAX,
    Fault,
)

Refused = tuple[int, str, Fault, bytes]
_LENIENT = KernelDecoder(events=8, identifiers=64, properties=256)


@dataclass(slots=True)
class Opened:
    """What a batch holds. body: the events that are events, as an EventBatch (b"" without any).

    places: for each event of `body` its place in the batch; None when that is the same. refused:
    (place, event id, why, event as it came). whole: why nothing of the message could be taken.
    """

    events: int = 0
    body: bytes = b""
    import_id: str = ""
    places: list[int] | None = None
    refused: list[Refused] = field(default_factory=list)
    whole: Fault = Fault.CLEAN

    @property
    def taken(self) -> int:
        """Events in `body`."""
        return self.events - len(self.refused) if self.body else 0

    def place(self, event: int) -> int:
        """Place in the batch of an event of `body`."""
        return event if self.places is None else self.places[event]


def open_batch(body: bytes) -> Opened:
    """Takes a message apart; never raises, whatever the bytes are."""
    if len(body) > BATCH_BYTES_MAX:
        return Opened(whole=Fault.BATCH_TOO_LARGE)
    try:
        batch = event_pb2.EventBatch.FromString(body)
    except DecodeError:
        return _salvaged(body)
    return _bounded(Opened(len(batch.events), body, batch.import_id))


def open_events(raws: list[bytes], import_id: str) -> Opened:
    """Sorts single events, as they lie on the wire, into those that are events and the others."""
    opened = Opened(len(raws), import_id=import_id)
    good: list[int] = []
    for place, raw in enumerate(raws):
        try:
            event_pb2.Event.FromString(raw)
        except DecodeError:
            opened.refused.append((place, *_why_refused(raw), raw))
        else:
            good.append(place)
    if opened.refused:
        opened.places = good
    opened.body = batch_of([raws[place] for place in good])
    return _bounded(opened)


def batch_of(raws: list[bytes], import_id: str = "") -> bytes:
    """The EventBatch of events as they lie on the wire, byte for byte."""
    parts = []
    for raw in raws:
        parts += [b"\x0a", varint(len(raw)), raw]
    if import_id:
        name = import_id.encode()
        parts += [b"\x12", varint(len(name)), name]
    return b"".join(parts)


def _salvaged(body: bytes) -> Opened:
    try:
        batch = RAW_BATCH.FromString(body)
    except DecodeError:
        return Opened(whole=Fault.MALFORMED_BATCH)
    return open_events(list(batch.events), batch.import_id)


def _bounded(opened: Opened) -> Opened:
    if opened.events > EVENTS_MAX:
        return Opened(opened.events, whole=Fault.BATCH_TOO_LARGE)
    name = opened.import_id.encode()
    if len(name) > IMPORT_ID_BYTES_MAX or b"\0" in name:
        return Opened(opened.events, whole=Fault.BAD_IMPORT_ID)
    if not opened.taken:
        opened.body = b""
    return opened


def _why_refused(raw: bytes) -> tuple[str, Fault]:
    """(event id, why). The walk reads texts without judging them: what it can read at all upb
    refused for a text."""
    try:
        rows = _LENIENT.decode([batch_of([raw])])
    except NotOnTheWire:
        return "", Fault.MALFORMED_EVENT
    return rows.event_id(0), Fault.BAD_TEXT

"""What ingest says of events it did not simply accept: receipts, and PARKED for what it refused.

A receipt names only exceptions. What was refused behind the log had been acknowledged to its
publisher, so it is kept, byte for byte: publish the body of a Parked record again to retry it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from muster.ingest.v1.facts_pb2 import ItemReceipt, Receipt, ReceiptBatch, Verdict
from muster.types.v1.common_pb2 import Parked
from services.chassis.core import PART_BYTES_MAX, Message
from services.chassis.parking import timestamp
from services.ingest.adapters.intake import Opened, Refused, batch_of
from services.ingest.domain.faults import Fault

PARKED_BODY_BYTES_MAX = PART_BYTES_MAX - (4 << 10)
"""Leaves room for the rest of the record."""
DUPLICATE_DETAIL = "this id was taken before; the first delivery stands"
SERVICE = "ingest"


@dataclass(slots=True)
class Account:
    """What became of one message. Lists are by event, in the order of the batch.

    refused: (place, event id, why, event as it came). duplicates: (place, event id). left_out:
    (place, event id, [(identifier's place, code)]), of events that were accepted without them.
    """

    message: Message
    opened: Opened
    refused: list[Refused] = field(default_factory=list)
    duplicates: list[tuple[int, str]] = field(default_factory=list)
    left_out: list[tuple[int, str, list[tuple[int, str]]]] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)
    """Key of the property for which the event at a place was refused."""

    @property
    def is_plain(self) -> bool:
        """Everything was accepted as it is: nothing to say."""
        refused = self.refused or self.opened.whole
        return not (refused or self.duplicates or self.left_out)

    @property
    def accepted(self) -> int:
        if self.opened.whole:
            return 0
        return self.opened.events - len(self.refused) - len(self.duplicates)


def item_of(place: int, event_id: str, fault: Fault, named: str = "") -> ItemReceipt:
    """The receipt of a refused event. named: the property at fault, if it is one."""
    return ItemReceipt(
        index=place,
        event_id=event_id,
        verdict=Verdict.VERDICT_REJECTED,
        code=fault.code,
        detail=f"{named}: {fault.detail}" if named else fault.detail,
    )


def item_left_out(place: int, event_id: str, missing: Sequence[tuple[int, str]]) -> ItemReceipt:
    """The receipt of an event accepted without some of its identifiers."""
    named = ", ".join(f"{at} ({code})" for at, code in missing)
    return ItemReceipt(
        index=place,
        event_id=event_id,
        verdict=Verdict.VERDICT_ACCEPTED,
        code="identifiers_left_out",
        detail=f"accepted without the identifiers that cannot identify a person: {named}",
    )


def receipt_bodies(accounts: Iterable[Account]) -> list[bytes]:
    """ReceiptBatch bodies of the accounts that are not plain, each at most PART_BYTES_MAX."""
    bodies: list[bytes] = []
    batch, size = ReceiptBatch(), 0
    for account in accounts:
        receipt = _receipt(account)
        grows = receipt.ByteSize() + 8
        if batch.receipts and size + grows > PART_BYTES_MAX:
            bodies.append(batch.SerializeToString(deterministic=True))
            batch, size = ReceiptBatch(), 0
        batch.receipts.append(receipt)
        size += grows
    if batch.receipts:
        bodies.append(batch.SerializeToString(deterministic=True))
    return bodies


def parked_bodies(accounts: Iterable[Account], time_us: int) -> list[bytes]:
    """Parked records of everything refused, a record per message and reason (cut by size)."""
    bodies: list[bytes] = []
    for account in accounts:
        message = account.message
        if account.opened.whole:
            bodies += _parked_whole(message, account.opened.whole, time_us)
        for fault in dict.fromkeys(fault for _, _, fault, _ in account.refused):
            raws = [raw for _, _, why, raw in account.refused if why is fault]
            for piece in _pieces(raws):
                detail = f"{len(piece)} event{'s' * (len(piece) > 1)}: {fault.detail}"
                body = batch_of(piece, account.opened.import_id)
                bodies.append(_record(message, fault, detail, body, time_us))
    return bodies


def _receipt(account: Account) -> Receipt:
    items: list[ItemReceipt] = [
        item_of(place, name, fault, account.named.get(place, ""))
        for place, name, fault, _ in account.refused
    ]
    items += [
        ItemReceipt(
            index=place,
            event_id=name,
            verdict=Verdict.VERDICT_DUPLICATE,
            code="duplicate",
            detail=DUPLICATE_DETAIL,
        )
        for place, name in account.duplicates
    ]
    items += [item_left_out(*line) for line in account.left_out]
    if account.opened.whole:
        items.append(item_of(0, "", account.opened.whole))
    items.sort(key=lambda item: item.index)
    return Receipt(
        intake_sequence=account.message.sequence,
        intake_subject=account.message.subject,
        events=account.opened.events,
        accepted=account.accepted,
        exceptions=items,
        accept_time=timestamp(account.message.time_us),
    )


def _parked_whole(message: Message, fault: Fault, time_us: int) -> Iterator[bytes]:
    """A message nothing could be taken from; the bodies of its records end to end are its body."""
    step = PARKED_BODY_BYTES_MAX
    pieces = [message.body[at : at + step] for at in range(0, len(message.body), step)]
    for number, piece in enumerate(pieces, 1):
        cut = f"part {number} of {len(pieces)}; " if len(pieces) > 1 else ""
        yield _record(message, fault, cut + fault.detail, piece, time_us)


def _pieces(raws: list[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for raw in raws:
        if piece and size + len(raw) + 8 > PARKED_BODY_BYTES_MAX:
            yield piece
            piece, size = [], 0
        piece.append(raw)
        size += len(raw) + 8
    if piece:
        yield piece


def _record(message: Message, fault: Fault, detail: str, body: bytes, time_us: int) -> bytes:
    record = Parked(
        service=SERVICE,
        code=fault.code,
        detail=detail,
        source_stream="INTAKE",
        source_sequence=message.sequence,
        source_subject=message.subject,
        body=body,
        park_time=timestamp(time_us),
    )
    return bytes(record.SerializeToString(deterministic=True))

"""Decides what a door answers: each item for itself, before and after the log has spoken.

The same checks run here and behind the log, so what is wrong is refused before it is stored. The
doors hold no state of the tenant: whether an id was seen before is decided behind the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from muster.ingest.v1.facts_pb2 import ItemReceipt, Receipt, Verdict
from muster.ingest.v1.service_pb2 import SubmitEventsResponse
from services.chassis import clock, subjects
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest
from services.chassis.prints import print_key
from services.ingest.adapters.answers import item_left_out, item_of
from services.ingest.adapters.checks import Checker, Envelope
from services.ingest.adapters.decoder import KernelDecoder
from services.ingest.adapters.gate import Gate
from services.ingest.adapters.intake import Opened, open_events
from services.ingest.adapters.schema_checks import check_schemas
from services.ingest.core import normaliser_of
from services.ingest.domain.faults import BATCH_BYTES_MAX, EVENTS_MAX, Fault
from services.ingest.domain.publishers import Scope
from services.ingest.domain.registry import Registry
from services.ingest.settings import IngestSettings

RESERVED_PUBLISHERS = frozenset({"tick"})


@dataclass(frozen=True, slots=True)
class Stored:
    """Where events lie in INTAKE: the message, and the place of the first of them in it."""

    sequence: int
    first: int


class IntakeStore(Protocol):
    """Where accepted wishes become durable."""

    async def put(self, publisher: str, import_id: str, raws: Sequence[bytes]) -> Stored:
        """Returns once they are durable; Overloaded or NotReady (unknown) otherwise."""


class VerdictSource(Protocol):
    """Tells what became of a message of INTAKE."""

    async def verdict(self, sequence: int, timeout_s: float) -> Receipt | None:
        """The receipt (empty when everything was accepted); None when the time is up."""


@dataclass(slots=True)
class Submission:
    """What a publisher hands in: events as they lie on the wire.

    wait_s: how long to wait for ACCEPTED or DUPLICATE; None answers as soon as it is durable. key:
    what the caller showed; None where somebody else (the HTTP door, the broker) knows who it is.
    """

    tenant: str
    publisher: str
    raws: list[bytes]
    import_id: str = ""
    wait_s: float | None = None
    key: str | None = None


class Door:
    """Answers submissions for one tenant."""

    def __init__(
        self,
        settings: IngestSettings,
        store: IntakeStore,
        verdicts: VerdictSource,
        registry: Registry | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._verdicts = verdicts
        self.registry = registry or Registry()
        self.gate = Gate(settings, self.registry)
        self._decoder = KernelDecoder()
        self._checker = Checker(normaliser_of(settings), print_key(settings.print_key))

    async def submit(self, submission: Submission) -> SubmitEventsResponse:
        """Stores what is right and answers every item; refuses only what cannot be answered so."""
        self._refuse_wrong(submission)
        if submission.key is not None:
            scope = Scope.IMPORT if submission.import_id else Scope.EVENTS
            self.gate.enter(submission.publisher, submission.key, scope)
        size = sum(map(len, submission.raws))
        self.gate.pay(submission.publisher, len(submission.raws), size)
        opened = open_events(submission.raws, submission.import_id)
        if opened.whole:
            path = "import_id" if opened.whole is Fault.BAD_IMPORT_ID else "events"
            raise InvalidRequest([(path, opened.whole.detail)])
        items, good = self._checked(opened)
        if not good:
            return SubmitEventsResponse(items=items)
        raws = submission.raws
        stored = await self._store.put(
            submission.publisher,
            submission.import_id,
            raws if len(good) == len(raws) else [raws[place] for place in good],
        )
        if submission.wait_s is not None:
            wait_s = min(submission.wait_s, self._settings.verdict_wait_max_ms / 1_000)
            receipt = await self._verdicts.verdict(stored.sequence, wait_s)
            if receipt is not None:
                _judge(items, good, stored, receipt)
        response = SubmitEventsResponse(items=items)
        response.position.token = Origin(intake=stored.sequence).token()
        response.position.time.FromMicroseconds(clock.wall_us())
        return response

    def _refuse_wrong(self, submission: Submission) -> None:
        faults = []
        if submission.tenant != self._settings.tenant:
            faults.append(("tenant", "this door belongs to another tenant; name yours"))
        try:
            subjects.token(submission.publisher)
        except subjects.BadToken as wrong:
            faults.append(("publisher", str(wrong)))
        if submission.publisher in RESERVED_PUBLISHERS:
            faults.append(("publisher", "this name is ours; choose another"))
        if not submission.raws:
            faults.append(("events", "there are none; send at least one"))
        size = sum(map(len, submission.raws)) + 4 * len(submission.raws)
        if len(submission.raws) > EVENTS_MAX or size > BATCH_BYTES_MAX:
            faults.append(("events", Fault.BATCH_TOO_LARGE.detail))
        if faults:
            raise InvalidRequest(faults)

    def _checked(self, opened: Opened) -> tuple[list[ItemReceipt], list[int]]:
        """(an item for every event, places of those to store)."""
        items = [ItemReceipt()] * opened.events
        for place, event_id, fault, _ in opened.refused:
            items[place] = item_of(place, event_id, fault)
        if not opened.body:
            return items, []
        rows = self._decoder.decode([opened.body])
        envelope = Envelope(clock.wall_us(), opened.import_id)
        checked = self._checker.check(rows, [envelope])
        check_schemas(checked, self.registry)
        stored = Verdict.VERDICT_STORED
        good = []
        for row, fault in enumerate(checked.faults.tolist()):
            place = opened.place(row)
            event_id = rows.event_id(row)
            if fault:
                items[place] = item_of(place, event_id, Fault(fault), checked.named.get(row, ""))
            else:
                items[place] = ItemReceipt(index=place, event_id=event_id, verdict=stored)
                good.append(place)
        missing: dict[int, list[tuple[int, str]]] = {}
        for row, identifier, code in checked.left_out:
            if not checked.faults[row]:
                missing.setdefault(row, []).append((identifier, code))
        for row, codes in missing.items():
            place = opened.place(row)
            items[place] = item_left_out(place, items[place].event_id, codes)
            items[place].verdict = stored
        return items, good


def _judge(items: list[ItemReceipt], good: list[int], stored: Stored, receipt: Receipt) -> None:
    """Turns STORED into what the receipt says; several calls may share one message."""
    said = {item.index: item for item in receipt.exceptions}
    for order, place in enumerate(good):
        item = items[place]
        exception = said.get(stored.first + order)
        if exception is None or exception.verdict == Verdict.VERDICT_ACCEPTED:
            item.verdict = Verdict.VERDICT_ACCEPTED
        else:
            item.verdict = exception.verdict
            item.code = exception.code
            item.detail = exception.detail


def warm(settings: IngestSettings) -> None:
    """Compiles the kernels that a door uses."""
    from services.ingest.core import sample_batch

    rows = KernelDecoder().decode([sample_batch()])
    checker = Checker(normaliser_of(settings), print_key(""))
    assert not np.any(checker.check(rows, [Envelope(1)]).faults)

"""Imports a file so that every row is accounted for, once, whatever happens in between.

Rows are deduplicated by (import, row), so sending again is safe. What was answered is written down
before more is sent: a file of progress, and a receipt with a line for each row that was not
accepted. After a kill the same command goes on where the receipt ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cli.events import BATCH_BYTES, BATCH_EVENTS
from cli.file_rows import FileRows, Row
from cli.problems import Problem

if TYPE_CHECKING:
    from cli.running import Running
    from muster.ingest.v1.service_pb2 import SubmitEventsRequest

CALLS_AT_ONCE = 4
TRIES_MAX = 30
RETRY_S_MAX = 5.0
CALL_TIMEOUT_S = 60.0
VERDICT_S = 30
PUBLISHER = "import"


@dataclass(slots=True)
class Progress:
    """What became of the rows so far. read = accepted + already_in + rejected.

    sending: rows up to here may have been sent by an earlier life. receipt_bytes: of the receipt
    that stand for them.
    """

    bytes: int
    modified_ns: int
    read: int = 0
    sending: int = 0
    accepted: int = 0
    already_in: int = 0
    rejected: int = 0
    receipt_bytes: int = 0
    complete: bool = False
    token: str = ""


@dataclass(slots=True)
class _Batch:
    rows: list[Row]
    request: SubmitEventsRequest
    in_doubt: bool


class FileImport:
    """One import of one file. folder: where progress and receipt are kept."""

    def __init__(self, running: Running, rows: FileRows, folder: Path) -> None:
        self._running = running
        self._rows = rows
        name = re.sub(r"[^A-Za-z0-9._-]", "_", rows.layout.import_id)
        folder.mkdir(parents=True, exist_ok=True)
        self.receipt = folder / f"{name}.receipt.ndjson"
        self._place = folder / f"{name}.progress.json"
        self.progress = self._begun()
        self.resumed = self.progress.read

    async def run(self, show: Callable[[float], None] = lambda _share: None) -> Progress:
        """Sends what is left; returns when every row is accounted for. Problem when the door
        stays away: the same command goes on later."""
        import grpc

        from cli.running import address_of, stub_class

        progress = self.progress
        rows = iter(self._rows)
        for _ in islice(rows, progress.read):
            pass
        mode = "r+b" if self.receipt.exists() else "w+b"
        with self.receipt.open(mode) as receipt:
            receipt.truncate(progress.receipt_bytes)
            receipt.seek(progress.receipt_bytes)
            address = address_of(self._running, "ingest")
            async with grpc.aio.insecure_channel(address) as channel:
                stub = stub_class("ingest")(channel)
                while taken := self._round(rows):
                    await self._send_round(stub, taken, receipt)
                    show(self._rows.share)
            if not progress.complete:
                progress.complete = True
                self._write(receipt, [_summary(progress)])
        return progress

    # -- one round -------------------------------------------------------------------------------

    def _round(self, rows: Iterator[Row]) -> list[Row]:
        return list(islice(rows, CALLS_AT_ONCE * BATCH_EVENTS))

    async def _send_round(self, stub: Any, taken: list[Row], receipt: IO[bytes]) -> None:
        progress = self.progress
        doubt_until = progress.sending
        progress.sending = max(progress.sending, progress.read + len(taken))
        self._save()
        batches = list(self._batches(taken, doubt_until))
        answers = await asyncio.gather(*(self._answered(stub, batch) for batch in batches))
        lines = [_line(row.number, "", "rejected", "not_an_event", row.wrong) for row in taken]
        lines = [line for line, row in zip(lines, taken, strict=True) if row.event is None]
        progress.rejected += len(lines)
        for batch, items in zip(batches, answers, strict=True):
            lines += self._account(batch, items)
        lines.sort(key=lambda line: line["row"])
        progress.read += len(taken)
        self._write(receipt, lines)

    def _batches(self, taken: list[Row], doubt_until: int) -> Iterator[_Batch]:
        """Full batches of the round's events. doubt_until: rows up to here may be known already."""
        from cli.running import publisher_or
        from muster.ingest.v1.service_pb2 import SubmitEventsRequest

        def fresh(place: int) -> _Batch:
            request = SubmitEventsRequest(
                tenant=self._running.tenant,
                publisher=publisher_or(PUBLISHER),
                import_id=self._rows.layout.import_id,
            )
            request.verdict_deadline.FromSeconds(VERDICT_S)
            return _Batch([], request, self.progress.read + place < doubt_until)

        batch, size = fresh(0), 0
        for place, row in enumerate(taken):
            if row.event is None:
                continue
            more = row.event.ByteSize() + 4
            if batch.rows and (len(batch.rows) == BATCH_EVENTS or size + more > BATCH_BYTES):
                yield batch
                batch, size = fresh(place), 0
            batch.rows.append(row)
            batch.request.events.append(row.event)
            size += more
        if batch.rows:
            yield batch

    async def _answered(self, stub: Any, batch: _Batch) -> Any:
        """The items of the answer once every one of them is decided."""
        import grpc

        from cli.running import key_metadata
        from muster.ingest.v1.facts_pb2 import VERDICT_STORED

        again = (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        for attempt in range(TRIES_MAX):
            try:
                answer = await stub.SubmitEvents(
                    batch.request, timeout=CALL_TIMEOUT_S, metadata=key_metadata()
                )
            except grpc.aio.AioRpcError as error:
                if error.code() not in again:
                    raise
            else:
                if all(item.verdict != VERDICT_STORED for item in answer.items):
                    self.progress.token = answer.position.token or self.progress.token
                    return answer.items
            batch.in_doubt = True
            await asyncio.sleep(min(RETRY_S_MAX, 0.1 * 2**attempt))
        raise Problem(
            "the door of ingest does not answer; run the same command again: it goes on from there"
        )

    def _account(self, batch: _Batch, items: Any) -> list[dict[str, Any]]:
        from muster.ingest.v1.facts_pb2 import VERDICT_DUPLICATE, VERDICT_REJECTED

        lines = []
        for row, item in zip(batch.rows, items, strict=True):
            if item.verdict == VERDICT_REJECTED:
                self.progress.rejected += 1
                lines.append(_line(row.number, item.event_id, "rejected", item.code, item.detail))
            elif item.verdict == VERDICT_DUPLICATE and not batch.in_doubt:
                self.progress.already_in += 1
                detail = "this import has had this event"
                lines.append(_line(row.number, item.event_id, "already_in", item.code, detail))
            else:
                # In doubt: an earlier attempt of ours brought it, and got no answer.
                self.progress.accepted += 1
        return lines

    # -- what is kept --------------------------------------------------------------------------

    def _begun(self) -> Progress:
        found = self._rows.path.stat()
        fresh = Progress(found.st_size, found.st_mtime_ns)
        try:
            known = Progress(**json.loads(self._place.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return fresh
        same = (known.bytes, known.modified_ns) == (fresh.bytes, fresh.modified_ns)
        return known if same and not known.complete else fresh

    def _write(self, receipt: IO[bytes], lines: list[dict[str, Any]]) -> None:
        for line in lines:
            receipt.write(json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n")
        receipt.flush()
        os.fsync(receipt.fileno())
        self.progress.receipt_bytes = receipt.tell()
        self._save()

    def _save(self) -> None:
        unfinished = self._place.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self.progress)))
        unfinished.replace(self._place)


def _line(row: int, event_id: str, verdict: str, code: str, detail: str) -> dict[str, Any]:
    return {"row": row, "event_id": event_id, "verdict": verdict, "code": code, "detail": detail}


def _summary(progress: Progress) -> dict[str, Any]:
    names = ("read", "accepted", "already_in", "rejected")
    return {name: getattr(progress, name) for name in names}

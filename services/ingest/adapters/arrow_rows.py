"""Rows of an Arrow IPC stream as events.

Columns event_id, type, occur_time and send_time; one per kind of identifier (user_id, email ...,
others as `id:<kind>`); every other column is a property, structs and lists as JSON has them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from muster.ingest.v1.facts_pb2 import ItemReceipt, Verdict
from services.chassis.errors import InvalidRequest, Precondition
from services.ingest.adapters.encoding import event_of
from services.ingest.domain.drafts import KINDS, Draft, DraftFault, flat, instant_us

ROWS_MAX = 10_000
OTHER_KIND = "id:"
_FIELDS = ("event_id", "type", "occur_time", "send_time")

Found = tuple[int, list[tuple[int, bytes]], list[ItemReceipt]]


def events_in(body: bytes, now_us: int) -> Found:
    """(rows, (row, event on the wire) of each that is one, refusals of the others)."""
    trees = _rows(body)
    events: list[tuple[int, bytes]] = []
    refused: list[ItemReceipt] = []
    for row, tree in enumerate(trees):
        try:
            events.append((row, event_of(_draft(tree, now_us)).SerializeToString()))
        except DraftFault as fault:
            refused.append(
                ItemReceipt(
                    index=row,
                    event_id=str(tree.get("event_id") or ""),
                    verdict=Verdict.VERDICT_REJECTED,
                    code=fault.code,
                    detail=str(fault),
                )
            )
    return len(trees), events, refused


def _rows(body: bytes) -> list[dict[str, Any]]:
    try:
        import pyarrow as arrow
        import pyarrow.ipc
    except ImportError:
        raise Precondition("this door reads no Arrow: it runs without pyarrow") from None
    try:
        with pyarrow.ipc.open_stream(body) as stream:
            trees: list[dict[str, Any]] = []
            for batch in stream:
                if len(trees) + batch.num_rows > ROWS_MAX:
                    raise InvalidRequest([("arrow", f"at most {ROWS_MAX} rows at once")])
                # The reader believes every offset it is told; this does not.
                batch.validate(full=True)
                trees += batch.to_pylist()
    except (arrow.ArrowException, ValueError, OSError) as wrong:
        raise InvalidRequest([("arrow", f"is not an Arrow IPC stream: {wrong}")]) from None
    return trees


def _draft(tree: dict[str, Any], now_us: int) -> Draft:
    event_id, kind = tree.get("event_id"), tree.get("type")
    if not isinstance(event_id, str) or not event_id:
        raise DraftFault("event_id", "missing_event_id", "every row needs one, to count once")
    if not isinstance(kind, str):
        raise DraftFault("type", "missing_type", "name what happened, such as order_completed")
    occur_us = _time(tree, "occur_time", now_us)
    draft = Draft(event_id, kind, occur_us, _time(tree, "send_time", occur_us))
    for name in KINDS:
        draft.identify(name, tree.get(name))
    said = {}
    for key, value in tree.items():
        if key.startswith(OTHER_KIND):
            draft.identify(key.removeprefix(OTHER_KIND), value, key)
        elif key not in _FIELDS and key not in KINDS:
            said[key] = _plain(value)
    draft.properties = list(flat(said))
    return draft


def _time(tree: Mapping[str, Any], key: str, default_us: int) -> int:
    value = tree.get(key)
    if value is None:
        return default_us
    return instant_us(key, value.isoformat() if isinstance(value, dt.datetime) else value)


def _plain(value: Any) -> Any:
    """As JSON would have it: instants and days are texts."""
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value

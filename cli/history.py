"""Histories from files: the two data sets of examples/data, CSV and NDJSON, plain or gzipped.

The example sets are shifted in time so that they end now; their rhythm stays as it was.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal as Exact
from pathlib import Path

from cli.events import KNOWN_KINDS, event_of, properties_of, spoken_value
from cli.problems import Problem
from muster.types.v1.event_pb2 import Event

DAY_S = 86_400
SECOND_US = 1_000_000
ENDS_BEFORE_NOW_US = 60 * SECOND_US
"""The last row of a shifted history lies this long before now."""

CLICKS = {
    "product_view": "product_viewed",
    "add_to_cart": "product_added",
    "purchase": "order_completed",
    "support_chat": "support_asked",
    "payment_error": "payment_failed",
}
"""Kinds of the clickstream with a type of their own; the others are pages."""


def open_text(path: Path) -> io.TextIOBase:
    """A text file, unpacked when it is gzipped. Problem when it cannot be read."""
    try:
        if path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from None


def cdnow(path: Path, now_us: int) -> list[Event]:
    """Purchases of CDNOW, one completed order per row, in time order.

    The rows know the day only: the time of day is drawn from the row's number, the same each time.
    """
    rows = []
    with open_text(path) as lines:
        next(lines)
        for number, line in enumerate(lines):
            customer, day, quantity, amount = line.split()
            noon = dt.datetime.strptime(day, "%Y%m%d").replace(tzinfo=dt.UTC)
            second = int(noon.timestamp()) + zlib.crc32(b"%d" % number) % DAY_S
            rows.append((second * SECOND_US, number, customer, int(quantity), amount))
    rows.sort()
    shift_us = now_us - ENDS_BEFORE_NOW_US - rows[-1][0]
    events = []
    for occur_us, row, customer, pieces, paid in rows:
        event = Event(
            event_id=f"cdnow-{row}", type="order_completed", occur_time_us=occur_us + shift_us
        )
        event.identifiers.add(kind="user_id", value=f"cdnow-{customer}")
        event.properties.add(key="quantity", whole=pieces)
        total = event.properties.add(key="total")
        total.decimal.units, total.decimal.exponent = int(paid.replace(".", "")), 2
        event.properties.add(key="currency", text="USD")
        events.append(event)
    return events


def clickstream(path: Path, now_us: int) -> list[Event]:
    """Visits to an electronics shop: the session is a cookie, the user a user_id."""
    with open_text(path) as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        row["timestamp"] = f"{row['timestamp']}+00:00"
    rows.sort(key=lambda row: row["timestamp"])
    times = [int(dt.datetime.fromisoformat(row["timestamp"]).timestamp()) for row in rows]
    shift_us = now_us - ENDS_BEFORE_NOW_US - times[-1] * SECOND_US
    events = []
    for number, (row, second) in enumerate(zip(rows, times, strict=True)):
        kind = row["event"]
        event = Event(
            event_id=f"shop-{number}",
            type=CLICKS.get(kind, "page_viewed"),
            occur_time_us=second * SECOND_US + shift_us,
        )
        event.identifiers.add(kind="user_id", value=row["user_id"])
        event.identifiers.add(kind="cookie", value=row["session_id"])
        if kind not in CLICKS:
            event.properties.add(key="page", text=kind)
        event.properties.add(key="platform", text=row["platform"])
        event.properties.add(key="source", text=row["acquisition_channel"])
        events.append(event)
    return events


def ndjson(path: Path, now_us: int) -> Iterator[Event]:
    """One event per line, as `muster publish --file` takes them; event_id may be left out."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    tree = json.loads(line, parse_float=Exact)
                    yield event_of(tree, now_us, f"{path.name}-{number}")
                except (ValueError, KeyError, TypeError) as wrong:
                    raise Problem(f"{path}, line {number}: {wrong}") from None


def table(path: Path, now_us: int) -> Iterator[Event]:
    """CSV with a heading: type, occur_time, event_id, identifiers by kind; else properties."""
    with open_text(path) as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            given = {key: value for key, value in row.items() if key and value}
            fields = {k: given.pop(k) for k in ("event_id", "type", "occur_time") if k in given}
            fields |= {k: given.pop(k) for k in KNOWN_KINDS if k in given}
            try:
                event = event_of(fields, now_us, f"{path.name}-{number}")
                spoken = {key: spoken_value(value) for key, value in given.items()}
                event.properties.extend(properties_of(spoken))
            except (ValueError, KeyError, TypeError) as wrong:
                raise Problem(f"{path}, line {number}: {wrong}") from None
            yield event


READERS: dict[str, Callable[[Path, int], list[Event] | Iterator[Event]]] = {
    "cdnow": cdnow,
    "clickstream": clickstream,
    "csv": table,
    "ndjson": ndjson,
}


def kind_of(path: Path) -> str:
    """Which reader fits, by the file's name. Problem when none does."""
    name = path.name.removesuffix(".gz")
    if name.startswith("cdnow"):
        return "cdnow"
    if name.startswith("shop_clickstream"):
        return "clickstream"
    if name.endswith(".csv"):
        return "csv"
    if name.endswith((".ndjson", ".jsonl")):
        return "ndjson"
    raise Problem(f"{path}: say what it is with --as {' | '.join(READERS)}")

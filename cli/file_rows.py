"""Rows of a file as events, one by one: CSV, NDJSON, Parquet, Arrow, and the sets of examples.

A row that is no event is handed on with what is wrong with it; the others go on. A row's number is
what its reader shows: the line for text (a heading is line 1), the row from 1 otherwise.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from cli.events import KNOWN_KINDS, event_of, properties_of, spoken_value
from cli.history import READERS, kind_of
from cli.problems import Problem
from muster.types.v1.event_pb2 import Event

PARQUET_ROWS = 1_000
"""Rows of a columnar file taken at a time."""
FIELD_BYTES_MAX = 1 << 20
LINES_MAX = 100
"""Lines one row of a CSV may have, in quotes; more are a quote that is not closed."""
EVENT_BYTES_MAX = 32 << 10
_FIELDS = ("event_id", "type", "occur_time", "send_time")
_COLUMNAR = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: an event, or why it is none. named: it brought an event_id of its own."""

    number: int
    event: Event | None = None
    wrong: str = ""
    named: bool = False


@dataclass(slots=True)
class Layout:
    """What the file does not say itself. columns: its names to ours; event_type: without one."""

    import_id: str
    now_us: int
    event_type: str = ""
    columns: dict[str, str] = field(default_factory=dict)


class FileRows:
    """The rows of one file. `share` says how much of it was read, from 0 to 1."""

    def __init__(self, path: Path, kind: str | None, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.kind = kind or _COLUMNAR.get(path.suffix) or kind_of(path)
        if self.kind not in ("csv", "ndjson", "parquet", "arrow", *READERS):
            raise Problem(
                f"--as {self.kind}: use csv, ndjson, parquet, arrow, {', '.join(READERS)}"
            )
        self._raw: IO[bytes] | None = None
        self._rows = self._read = 0
        try:
            self._bytes = max(1, path.stat().st_size)
        except OSError as error:
            raise Problem(f"{path} cannot be read: {error.strerror}") from None

    @property
    def share(self) -> float:
        if self._rows:
            return self._read / self._rows
        if self._raw is None or self._raw.closed:
            return 1.0
        return min(1.0, self._raw.tell() / self._bytes)

    def __iter__(self) -> Iterator[Row]:
        if self.kind in ("parquet", "arrow"):
            return self._columnar()
        if self.kind == "csv":
            return self._to_the_end(self._csv())
        if self.kind == "ndjson":
            return self._to_the_end(self._ndjson())
        return self._examples()

    def _to_the_end(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows; a packed file that ends in the middle has one more, which says so."""
        last = 0
        try:
            for row in rows:
                last = row.number
                yield row
        except (EOFError, gzip.BadGzipFile, zlib.error) as wrong:
            yield Row(last + 1, wrong=f"the packed file is broken from here on: {wrong}")

    # -- text ----------------------------------------------------------------------------------

    def _lines(self) -> io.TextIOWrapper:
        # Bytes that are no UTF-8 spoil their own row, not the file.
        try:
            self._raw = self.path.open("rb")
        except OSError as error:
            raise Problem(f"{self.path} cannot be read: {error.strerror}") from None
        packed = self.path.suffix == ".gz"
        unpacked: Any = gzip.GzipFile(fileobj=self._raw) if packed else self._raw
        # A mark of the byte order in front is none of the first heading.
        return io.TextIOWrapper(unpacked, "utf-8-sig", errors="surrogateescape", newline="")

    def _csv(self) -> Iterator[Row]:
        csv.field_size_limit(FIELD_BYTES_MAX)
        with self._lines() as lines:
            reader = csv.reader(lines)
            try:
                heads = [self.layout.columns.get(head, head) for head in next(reader)]
            except (StopIteration, csv.Error) as wrong:
                raise Problem(f"{self.path}: no heading can be read: {wrong}") from None
            twice = {head for head in heads if head and heads.count(head) > 1}
            if twice:
                names = ", ".join(sorted(twice))
                raise Problem(f"{self.path}: several columns are called {names}; rename them")
            while True:
                number = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as wrong:
                    where = _not_closed(number, reader.line_num)
                    yield Row(number, wrong=f"cannot be read: {wrong}; {where}")
                    continue
                if not cells:
                    continue
                if len(cells) > len(heads):
                    yield Row(number, wrong=f"{len(cells)} fields under {len(heads)} headings")
                    continue
                if reader.line_num - number >= LINES_MAX:
                    yield Row(number, wrong=_not_closed(number, reader.line_num))
                    continue
                cellmap = {h: c for h, c in zip(heads, cells, strict=False) if h and c}
                yield self._row(number, cellmap, spoken=True)

    def _ndjson(self) -> Iterator[Row]:
        with self._lines() as lines:
            number = 0
            while line := lines.readline(FIELD_BYTES_MAX):
                number += 1
                if len(line) == FIELD_BYTES_MAX:
                    while line and not line.endswith("\n"):
                        line = lines.readline(FIELD_BYTES_MAX)
                    yield Row(number, wrong=f"is longer than {FIELD_BYTES_MAX} letters")
                    continue
                if not line.strip():
                    continue
                try:
                    tree = json.loads(line, parse_float=Decimal)
                except (ValueError, ArithmeticError, RecursionError) as wrong:
                    yield Row(number, wrong=f"is not JSON: {wrong}")
                    continue
                if not isinstance(tree, dict):
                    yield Row(number, wrong="is not an object")
                elif "properties" in tree or "identifiers" in tree:
                    yield self._event(number, {self._named(k): v for k, v in tree.items()})
                else:
                    yield self._row(number, {self._named(k): v for k, v in tree.items()})

    def _named(self, key: str) -> str:
        return self.layout.columns.get(key, key)

    # -- columns -------------------------------------------------------------------------------

    def _columnar(self) -> Iterator[Row]:
        number = 0
        for batch in self._batches():
            for tree in batch.to_pylist():
                number += 1
                self._read = number
                named = {self._named(key): _spoken(value) for key, value in tree.items()}
                yield self._row(number, {k: v for k, v in named.items() if v is not None})

    def _batches(self) -> Iterator[Any]:
        try:
            import pyarrow as arrow
            import pyarrow.ipc
            import pyarrow.parquet
        except ImportError:
            raise Problem(
                f"{self.path}: `make setup-files` brings what {self.kind} needs"
            ) from None
        try:
            if self.kind == "parquet":
                with pyarrow.parquet.ParquetFile(self.path) as parquet:
                    self._rows = parquet.metadata.num_rows
                    yield from parquet.iter_batches(PARQUET_ROWS)
                return
            with arrow.memory_map(str(self.path)) as mapped:
                try:
                    reader = pyarrow.ipc.open_file(mapped)
                    batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
                except arrow.ArrowInvalid:
                    mapped.seek(0)
                    batches = iter(pyarrow.ipc.open_stream(mapped))
                for batch in batches:
                    for at in range(0, batch.num_rows, PARQUET_ROWS):
                        yield batch.slice(at, PARQUET_ROWS)
        except (arrow.ArrowException, OSError) as wrong:
            raise Problem(f"{self.path} is not {self.kind}: {wrong}") from None

    def _examples(self) -> Iterator[Row]:
        events = list(READERS[self.kind](self.path, self.layout.now_us))
        self._rows = len(events)
        for number, event in enumerate(events, start=1):
            self._read = number
            yield Row(number, event, named=True)

    # -- one row -------------------------------------------------------------------------------

    def _row(self, number: int, cells: dict[str, Any], *, spoken: bool = False) -> Row:
        """Fields and identifiers by name; everything else is a property. spoken: all are texts."""
        tree = {key: cells.pop(key) for key in (*_FIELDS, *KNOWN_KINDS) if key in cells}
        try:
            event = self._made(number, tree)
            given = {k: spoken_value(v) for k, v in cells.items()} if spoken else cells
            event.properties.extend(properties_of(given))
        except (ValueError, KeyError, TypeError, ArithmeticError) as wrong:
            return Row(number, wrong=_words(wrong))
        return _bounded(Row(number, event, named="event_id" in tree))

    def _event(self, number: int, tree: dict[str, Any]) -> Row:
        try:
            event = self._made(number, tree)
        except (ValueError, KeyError, TypeError, ArithmeticError) as wrong:
            return Row(number, wrong=_words(wrong))
        return _bounded(Row(number, event, named="event_id" in tree))

    def _made(self, number: int, tree: dict[str, Any]) -> Event:
        if self.layout.event_type:
            tree.setdefault("type", self.layout.event_type)
        return event_of(tree, self.layout.now_us, f"{self.layout.import_id}-{number}")


def _bounded(row: Row) -> Row:
    if row.event is not None and row.event.ByteSize() > EVENT_BYTES_MAX:
        return Row(row.number, wrong=f"is larger than {EVENT_BYTES_MAX} bytes as an event")
    return row


def _not_closed(first: int, last: int) -> str:
    return f"lines {first} to {last} are one row: is a quote not closed?"


def _spoken(value: Any) -> Any:
    """A value of a columnar file as NDJSON would have it."""
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {key: _spoken(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_spoken(inner) for inner in value]
    return value


def _words(wrong: Exception) -> str:
    if isinstance(wrong, UnicodeError):
        return "a text is not UTF-8"
    return str(wrong)

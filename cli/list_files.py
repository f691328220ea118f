"""People in a file, for a list: CSV with a heading, or NDJSON; plain or gzipped.

Columns are kinds of identifiers (user_id, email, phone, …) or `profile_id`; of several in a row the
first that is filled in names the person. A row that names nobody is kept, so that the receipt can
say which it was.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.history import open_text
from cli.problems import Problem
from muster.segments.v1.lists_pb2 import ImportListHead, ImportListRequest, ImportListRows
from muster.types.v1.common_pb2 import ProfileRef

ROWS_AT_ONCE = 5_000
BYTES_AT_ONCE = 1 << 20


def people_of(path: Path) -> Iterator[ProfileRef]:
    """One reference per row. Problem for a file that cannot be read as such."""
    with open_text(path) as lines:
        name = path.name.removesuffix(".gz")
        if name.endswith((".ndjson", ".jsonl")):
            yield from (_ref_of(_object(path, n, line)) for n, line in enumerate(lines, 1))
            return
        rows = csv.DictReader(lines)
        if not rows.fieldnames:
            raise Problem(f"{path} is empty: its first line names kinds, such as email")
        for row in rows:
            yield _ref_of(row)


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise Problem(f"{path}:{number}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise Problem(f'{path}:{number}: a row is an object, such as {{"email": "ada@…"}}')
    return found


def _ref_of(row: Mapping[Any, Any]) -> ProfileRef:
    made = ProfileRef()
    for kind, value in row.items():
        text = value.strip() if isinstance(value, str) else ""
        if not kind or not text:
            continue
        if kind.strip() == "profile_id":
            made.profile_id = text
        else:
            made.identifier.kind, made.identifier.value = kind.strip(), text
        break
    return made


def import_requests(
    tenant: str, list_id: str, request_id: str, actor: str, people: Iterator[ProfileRef]
) -> Iterator[ImportListRequest]:
    """The stream of an import: its head, then rows by thousands."""
    head = ImportListHead(tenant=tenant, list_id=list_id, request_id=request_id, actor=actor)
    yield ImportListRequest(head=head)
    rows, size = ImportListRows(), 0
    for person in people:
        rows.rows.append(person)
        size += person.ByteSize() + 4
        if len(rows.rows) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield ImportListRequest(rows=rows)
            rows, size = ImportListRows(), 0
    if rows.rows:
        yield ImportListRequest(rows=rows)

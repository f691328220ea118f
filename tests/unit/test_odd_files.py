"""Files as people really have them: every line is an event or a row that says why it is none."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.events import event_of, property_of
from cli.file_rows import FIELD_BYTES_MAX, FileRows, Layout, Row
from cli.problems import Problem

NOW = 1_790_000_000_000_000


def rows_of(path: Path, body: bytes | str) -> list[Row]:
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return list(FileRows(path, None, Layout("import-1", NOW)))


def good(rows: list[Row]) -> list[int]:
    return [row.number for row in rows if row.event is not None]


def test_a_mark_of_byte_order_and_windows_lines_change_nothing(tmp_path: Path) -> None:
    plain = "type,user_id,note\nx,u1,a\nx,u2,b\n"
    want = rows_of(tmp_path / "plain.csv", plain)
    for name, body in (
        ("bom", b"\xef\xbb\xbf" + plain.encode()),
        ("crlf", plain.replace("\n", "\r\n").encode()),
        ("cr", plain.replace("\n", "\r").encode()),
        ("no-end", plain.rstrip("\n").encode()),
        ("quoted", b'"type","user_id","note"\n"x","u1","a"\n"x","u2","b"\n'),
        ("blank-lines", b"type,user_id,note\nx,u1,a\nx,u2,b\n\n\n"),
    ):
        found = rows_of(tmp_path / f"{name}.csv", body)
        assert [row.event for row in found] == [row.event for row in want], name
    lines = rows_of(tmp_path / "bom.ndjson", b'\xef\xbb\xbf{"type": "x", "user_id": "u1"}\r\n')
    assert good(lines) == [1]


def test_rows_of_another_width_are_said_and_the_others_go_on(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path / "w.csv", "type,user_id,note\nx,u1\nx,u2,a,b\nx\n,,\nx,u5,c,\nx,u6,d\n"
    )
    assert good(rows) == [2, 7]
    assert "4 fields under 3 headings" in rows[1].wrong
    assert all(row.wrong for row in rows if row.event is None)


@pytest.mark.parametrize("heading", ["type,user_id,total,total", "type,type,user_id"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, heading: str) -> None:
    with pytest.raises(Problem, match=r"several columns are called (total|type)"):
        rows_of(tmp_path / "twice.csv", heading + "\nx,u,1,2\n")


def test_a_file_without_anything_has_no_heading(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no heading can be read"):
        rows_of(tmp_path / "empty.csv", b"")
    assert rows_of(tmp_path / "heading.csv", "type,user_id\n") == []
    assert rows_of(tmp_path / "empty.ndjson", b"") == []


def test_a_quote_that_is_not_closed_names_the_lines_it_swallows(tmp_path: Path) -> None:
    body = 'type,user_id,note\nx,u1,a\nx,u2,"never\n' + "x,u3,c\n" * 300
    rows = rows_of(tmp_path / "quote.csv", body)
    assert [row.number for row in rows] == [2, 3]
    assert "lines 3 to 303 are one row: is a quote not closed?" in rows[1].wrong
    rows = rows_of(tmp_path / "huge.csv", 'type,user_id,note\nx,u1,"' + "y" * (FIELD_BYTES_MAX + 9))
    assert "cannot be read" in rows[0].wrong
    two = rows_of(
        tmp_path / "two.csv", 'type,user_id,note\nx,u1,"two\nlines, ""quoted"""\nx,u2,b\n'
    )
    assert good(two) == [2, 4]
    assert two[0].event and two[0].event.properties[0].text == 'two\nlines, "quoted"'


def test_bytes_that_are_no_text_spoil_their_own_row(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "bytes.csv", b"type,user_id\nx,u1\nx,\xff\xfe\nx\0,u3\nx,u4\n")
    assert [row.wrong for row in rows if row.event is None] == ["a text is not UTF-8"]
    assert rows_of(tmp_path / "utf16.csv", "type,user_id\nx,u\n".encode("utf-16"))[0].event is None


ODD_LINES: list[tuple[str, str]] = [
    ('{"type": "x", "user_id": "u"', "is not JSON"),
    ('["x"]', "is not an object"),
    ("null", "is not an object"),
    ("[" * 100_000, "is not JSON"),
    ('{"type": "x", "user_id": "u", "a": 1' + "0" * 5_000 + "}", "is not JSON"),
    ('{"type": "x", "user_id": "u", "a": 1e999999999}', "digits"),
    ('{"type": "x", "user_id": "u", "a": 1e99999999999999999999}', "is not JSON"),
    ('{"type": "x", "user_id": "u", "a": NaN}', "neither text"),
    ('{"type": "x", "user_id": "u", "a": [[1]]}', "neither text"),
    ('{"type": "x", "user_id": "u", "a": ' + '{"a": ' * 300 + "1" + "}" * 301, "deep"),
    ('{"type": "x", "user_id": "u", "properties": [1]}', "must be an object"),
    ('{"type": "x", "user_id": "u", "properties": "a"}', "must be an object"),
    ('{"type": "x", "identifiers": 7, "properties": {}}', "identifiers"),
    ('{"type": "x", "identifiers": "ab", "properties": {}}', "identifiers"),
    ('{"type": "x", "identifiers": [{"kind": "user_id"}], "properties": {}}', "value"),
    ('{"type": "x", "user_id": {"a": 1}}', "must be a text or a number"),
    ('{"type": "x", "user_id": null}', "needs at least one"),
    ('{"type": 7, "user_id": "u"}', "needs a type"),
    ('{"type": "x", "user_id": "u", "event_id": []}', "event_id"),
    ('{"type": "x", "user_id": "u", "occur_time": [1]}', "occur_time"),
    ('{"type": "\\ud800", "user_id": "u"}', "UTF-8"),
    ('{"type": "x", "user_id": "u", "a": "' + "y" * FIELD_BYTES_MAX + '"}', "longer than"),
    ('{"type": "x", "user_id": "u", "a": "' + "y" * 40_000 + '"}', "larger than"),
]


def test_lines_nobody_should_write_are_refused_one_by_one(tmp_path: Path) -> None:
    line = '{"type": "x", "user_id": "u"}'
    body = "\n".join(text for odd, _ in ODD_LINES for text in (odd, line)) + "\n"
    rows = rows_of(tmp_path / "odd.ndjson", body)
    assert [row.number for row in rows] == list(range(1, 2 * len(ODD_LINES) + 1))
    assert good(rows) == list(range(2, 2 * len(ODD_LINES) + 1, 2))
    for (odd, wanted), row in zip(ODD_LINES, rows[::2], strict=True):
        assert wanted in row.wrong, (odd[:60], row.wrong)


def test_a_row_without_an_id_gets_one_of_its_own(tmp_path: Path) -> None:
    """`null` was once the id `None`, so all such rows but one were repeats."""
    lines = [{"type": "x", "user_id": "u", "event_id": one} for one in (None, "", "e1", 7)]
    rows = rows_of(tmp_path / "ids.ndjson", "\n".join(map(json.dumps, lines)))
    ids = [row.event.event_id for row in rows if row.event]
    assert ids == ["import-1-1", "import-1-2", "e1", "7"]


def test_a_packed_file_that_is_cut_says_where_it_ends(tmp_path: Path) -> None:
    text = "type,user_id\n" + "".join(f"x,user-{n}\n" for n in range(5_000))
    packed = gzip.compress(text.encode())
    rows = rows_of(tmp_path / "cut.csv.gz", packed[: len(packed) // 2])
    assert len(good(rows)) > 100
    assert [row.number for row in rows] == list(range(2, len(rows) + 2))
    assert "broken from here on" in rows[-1].wrong
    rows = rows_of(tmp_path / "none.csv.gz.ndjson.gz", b"no gzip at all\n")
    assert [row.number for row in rows] == [1]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (Decimal("1e3"), 1_000),
        (Decimal("0.1"), Decimal("0.1")),
        (Decimal("-1.5"), Decimal("-1.5")),
        (Decimal("123456789012345678901.5"), "123456789012345678901.5"),
        (Decimal("1e-19"), "0.0000000000000000001"),
        (Decimal("0.12345678901234567890123456789012"), "0.12345678901234567890123456789012"),
    ],
)
def test_numbers_keep_their_digits(value: Any, wanted: Any) -> None:
    made = property_of("a", value)
    which = made.WhichOneof("value")
    found: Any = getattr(made, str(which))
    if which == "decimal":
        found = Decimal(made.decimal.units).scaleb(-made.decimal.exponent)
    assert found == wanted
    assert event_of({"type": "x", "user_id": "u", "properties": {"a": value}}, NOW, "1")

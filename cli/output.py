"""How answers look in a terminal: tables, times, and JSON where a program reads them."""

from __future__ import annotations

import datetime as dt
from typing import Any


def print_json(message: Any) -> None:
    """A protobuf message as JSON with the names of the contract."""
    from google.protobuf.json_format import MessageToJson

    print(MessageToJson(message, preserving_proto_field_name=True, indent=2))


def print_table(heads: list[str], rows: list[list[str]], empty: str = "nothing yet") -> None:
    """Columns aligned; numbers to the right. A line that says so when there are no rows."""
    if not rows:
        print(empty)
        return
    widths = [max(len(head), *(len(row[i]) for row in rows)) for i, head in enumerate(heads)]
    rights = [all(row[i].replace(",", "").isdigit() for row in rows) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, rights, strict=True)
        ]
        print("  ".join(cells).rstrip())


def moment(time: Any) -> str:
    """A Timestamp in UTC to the millisecond; empty when absent."""
    if time is None or not (time.seconds or time.nanos):
        return ""
    at = dt.datetime.fromtimestamp(time.seconds, dt.UTC) + dt.timedelta(
        microseconds=time.nanos // 1_000
    )
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def number(value: int) -> str:
    return f"{value:,}"


def word(enum: Any, value: int) -> str:
    """REASON_LATE_EVENT as `late event`."""
    name: str = enum.Name(value)
    prefix: str = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return " ".join(name.removeprefix(prefix).lower().split("_"))


def value_text(value: Any) -> str:
    """A types.v1.Value as people write it."""
    kind = value.WhichOneof("kind")
    if kind is None:
        return ""
    held = getattr(value, kind)
    if kind == "decimal":
        digits = str(abs(held.units)).rjust(held.exponent + 1, "0")
        whole, part = digits[: len(digits) - held.exponent], digits[len(digits) - held.exponent :]
        sign = "-" if held.units < 0 else ""
        return sign + whole + ("." + part if part else "")
    if kind == "time":
        return moment(held)
    if kind == "list":
        return "[" + ", ".join(value_text(item) for item in held.values) + "]"
    return str(held)

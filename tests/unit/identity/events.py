"""Events as tests write them, and the EventColumns that ingest would make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from muster.types.v1 import columns_pb2
from services.chassis import subjects
from services.chassis.core import Message

TENANT = "demo"
START_US = 1_700_000_000_000_000


@dataclass(frozen=True)
class Happened:
    """One accepted event. ids: (kind, value) as published; properties: key -> text, whole or None,
    which removes it. source: its publisher."""

    event_id: str
    occur_us: int
    ids: tuple[tuple[str, str], ...]
    type: str = "page_viewed"
    properties: dict[str, str | int | None] = field(default_factory=dict, hash=False)
    trusted: bool = True
    source: str = ""


def words_of(text: str) -> tuple[int, int]:
    """A stand-in for the keyed prints of ingest: any 128 bits that differ will do."""
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


class Pool:
    """Distinct texts, numbered as they come."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def ends(self) -> tuple[bytes, list[int]]:
        return pooled(self.texts)


def pooled(texts: Sequence[str] | dict[str, int]) -> tuple[bytes, list[int]]:
    ends, total = [], 0
    for text in texts:
        total += len(text.encode())
        ends.append(total)
    return "".join(texts).encode(), ends


def columns_of(events: Sequence[Happened], accept_us: int) -> columns_pb2.EventColumns:
    """Written value by value from the contract, not with our codec."""
    names, texts = Pool(), Pool()
    out = columns_pb2.EventColumns(rows=len(events))
    id_texts: list[str] = []
    for event in events:
        out.event_print.extend(words_of(f"event {event.event_id}"))
        out.type.append(names(event.type))
        out.occur_time_us.append(event.occur_us)
        out.send_time_us.append(event.occur_us)
        out.accept_time_us.append(accept_us)
        for kind, value in event.ids:
            out.id_kind.append(names(kind))
            out.id_print.extend(words_of(f"{kind} {value}"))
            id_texts.append(value)
        out.id_end.append(len(id_texts))
        for key, value in event.properties.items():
            out.prop_key.append(names(key))
            out.prop_value.append(texts(value) if isinstance(value, str) else value or 0)
            out.prop_kind += bytes([0 if value is None else 1 if isinstance(value, str) else 2])
            out.prop_exponent += b"\0"
        out.prop_end.append(len(out.prop_key))
    out.row_flags = bytes(0 if event.trusted else 2 for event in events)
    sources = Pool()
    if any(event.source for event in events):
        of = [1 + sources(event.source) if event.source else 0 for event in events]
        out.row_source = bytes(of)
        out.source_name, source_name_end = sources.ends()
        out.source_name_end.extend(source_name_end)
    out.name, name_end = names.ends()
    out.name_end.extend(name_end)
    out.text, text_end = texts.ends()
    out.text_end.extend(text_end)
    out.id_text, id_text_end = pooled(id_texts)
    out.id_text_end.extend(id_text_end)
    out.event_id, event_id_end = pooled([event.event_id for event in events])
    out.event_id_end.extend(event_id_end)
    return out


def message_of(events: Sequence[Happened], sequence: int, accept_us: int) -> Message:
    body = columns_of(events, accept_us).SerializeToString()
    return Message(0, subjects.events(TENANT), sequence, accept_us, body)

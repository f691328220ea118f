"""Ingest against a naive one: what counts, once, in order, exactly, in any cuts.

The naive one reads protobuf objects and keeps a set of everything it ever took; its rules are
written from the semantics (2, 3, 6), not from the code.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from muster.ingest.v1.facts_pb2 import ReceiptBatch, Verdict
from muster.types.v1.columns_pb2 import EventColumns
from muster.types.v1.common_pb2 import Parked
from muster.types.v1.event_pb2 import Event, EventBatch, Property
from services.chassis.core import PART_BYTES_MAX, Message
from services.chassis.prints import event_print, import_key, print_bytes, print_key, print_of
from services.ingest.adapters.reference import UpbDecoder
from services.ingest.core import EVENTS, PARKED, RECEIPTS, IngestCore
from services.ingest.settings import IngestSettings

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
BEGIN = 1_750_000_000 * SECOND
SETTINGS = IngestSettings(phone_country="CZ")
KEY = print_key(SETTINGS.print_key)
WORDS = ("null", "None", "UNDEFINED", "0", "000-0", "n/a", "-1", "", "  ")


@dataclass
class Naive:
    """Everything accepted, by reading field by field."""

    taken: set[tuple[str, str]] = field(default_factory=set)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    refused: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    duplicates: set[tuple[int, int]] = field(default_factory=set)

    def take(self, message: Message) -> None:
        batch = EventBatch.FromString(message.body)
        for index, event in enumerate(batch.events):
            place = message.sequence, index
            faults = faults_of(event, message.time_us, bool(batch.import_id))
            who = [x for i in event.identifiers if (x := normal(i.kind, i.value))]
            if not faults and not who:
                faults = {"only_blocked_identifiers"}
            if faults:
                self.refused[place] = faults
            elif (batch.import_id, event.event_id) in self.taken:
                self.duplicates.add(place)
            else:
                self.taken.add((batch.import_id, event.event_id))
                self.events.append(row_of(event, who, message.time_us, batch.import_id))


def faults_of(event: Event, now: int, is_import: bool) -> set[str]:
    """Every rule the event breaks."""
    send = event.send_time_us if event.send_time_us > 0 else event.occur_time_us
    texts = [event.event_id, event.type]
    texts += [t for i in event.identifiers for t in (i.kind, i.value)]
    texts += [t for p in event.properties for t in (p.key, p.text)]
    numbers = [p.number for p in event.properties if p.WhichOneof("value") == "number"]
    rules = {
        "event_too_large": event.ByteSize() > 32 * 1024,
        "missing_event_id": not event.event_id,
        "event_id_too_long": len(event.event_id.encode()) > 128,
        "missing_type": not event.type,
        "bad_type": len(event.type.encode()) > 64
        or any(c <= " " or c == "\x7f" for c in event.type),
        "no_identifier": not event.identifiers,
        "too_many_identifiers": len(event.identifiers) > 20,
        "too_many_properties": len(event.properties) > 256,
        "missing_occur_time": event.occur_time_us <= 0,
        "event_time_in_future": event.occur_time_us > now + 600 * SECOND,
        "send_time_in_future": send > now + 600 * SECOND,
        "too_old_to_deduplicate": send < now - DAY and not is_import,
        "bad_text": any("\0" in text for text in texts),
        "missing_property_key": any(not p.key for p in event.properties),
        "property_key_too_long": any(len(p.key.encode()) > 128 for p in event.properties),
        "text_too_long": any(len(p.text.encode()) > 8_192 for p in event.properties),
        "not_a_number": not all(map(math.isfinite, numbers)),
        "bad_decimal": any(p.decimal.exponent > 18 for p in event.properties),
    }
    return {code for code, broken in rules.items() if broken}


def normal(kind: str, value: str) -> tuple[str, str] | None:
    """For the values this test makes: what an identifier means, if anything."""
    value = value.strip()
    if value.lower() in (w.strip().lower() for w in WORDS) or not value.strip("0-"):
        return None
    if kind == "email":
        return (kind, value.lower()) if "@" in value else None
    if kind == "phone":
        digits = "".join(c for c in value if c.isdigit())
        return (kind, f"+{digits}" if value.startswith("+") else f"+420{digits}")
    return kind, value


def row_of(
    event: Event, who: list[tuple[str, str]], accepted: int, import_id: str
) -> tuple[Any, ...]:
    send = event.send_time_us if event.send_time_us > 0 else event.occur_time_us
    if import_id:
        words = print_bytes(event.event_id.encode(), import_key(KEY, import_id))
    else:
        words = event_print(event.event_id, KEY)
    people = [(kind, value, print_of(kind, value, KEY)) for kind, value in who]
    values = [v for p in event.properties if (v := value_of(p)) is not None]
    return (
        event.event_id,
        words,
        event.type,
        event.occur_time_us,
        send,
        accepted,
        int(bool(import_id)),
        people,
        values,
    )


def value_of(item: Property) -> tuple[Any, ...] | None:
    """(key, item, kind, exact value); a double is its shortest decimal form."""
    which = item.WhichOneof("value")
    head = item.key, item.item
    if which is None:
        return None
    if which == "decimal":
        return (*head, "decimal", Decimal(item.decimal.units).scaleb(-item.decimal.exponent))
    if which == "number":
        exact = Decimal(repr(item.number))
        if exact == exact.to_integral_value() and abs(exact) < 2**63:
            return (*head, "whole", int(exact))
        _, digits, exponent = exact.normalize().as_tuple()
        if len(digits) <= 18 and -18 <= int(exponent) <= 0:
            return (*head, "decimal", exact)
        return (*head, "text", format(exact, "f"))
    kind = {"text": "text", "whole": "whole", "flag": "flag", "time_us": "time"}[which]
    return (*head, kind, getattr(item, which))


def read(body: bytes) -> list[tuple[Any, ...]]:
    """The rows of EventColumns, read with the plain contract as any language would."""
    c = EventColumns.FromString(body)

    def slices(pool: bytes, ends: Sequence[int]) -> list[str]:
        return [pool[a:b].decode() for a, b in zip([0, *ends][:-1], ends, strict=True)]

    names, texts = slices(c.name, c.name_end), slices(c.text, c.text_end)
    ids, values = slices(c.event_id, c.event_id_end), slices(c.id_text, c.id_text_end)
    items = list(c.prop_item) or [0] * len(c.prop_key)
    kinds = ("", "text", "whole", "decimal", "flag", "time")
    rows, id_from, prop_from = [], 0, 0
    for r in range(c.rows):
        people = [
            (names[c.id_kind[k]], values[k], (c.id_print[2 * k], c.id_print[2 * k + 1]))
            for k in range(id_from, c.id_end[r])
        ]
        properties = []
        for k in range(prop_from, c.prop_end[r]):
            kind, value = kinds[c.prop_kind[k]], c.prop_value[k]
            exact: Any = texts[value] if kind == "text" else value
            if kind == "decimal":
                exact = Decimal(value).scaleb(-c.prop_exponent[k])
            properties.append((names[c.prop_key[k]], items[k], kind, exact))
        id_from, prop_from = c.id_end[r], c.prop_end[r]
        rows.append(
            (
                ids[r],
                (c.event_print[2 * r], c.event_print[2 * r + 1]),
                names[c.type[r]],
                c.occur_time_us[r],
                c.send_time_us[r],
                c.accept_time_us[r],
                c.row_flags[r],
                people,
                properties,
            )
        )
    return rows


class Stream:
    """Random messages of INTAKE: retries, imports, faults, log time that jumps over a day."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = BEGIN
        self.sent: list[tuple[str, Event]] = []
        self.sequence = 0

    def message(self) -> Message:
        chance = self.chance
        self.now += chance.choice((0, 7, SECOND, 40 * SECOND, 15 * 60 * SECOND, HOUR, 7 * HOUR))
        self.sequence += chance.randint(1, 3)
        body = b""
        if chance.random() < 0.9:
            import_id = chance.choice(("", "", "", "history", "crm"))
            events = [self.event(import_id) for _ in range(chance.randint(0, 8))]
            body = EventBatch(events=events, import_id=import_id).SerializeToString()
        return Message(0, "muster.intake.v1.demo.shop", self.sequence, self.now, body)

    def event(self, import_id: str) -> Event:
        chance = self.chance
        known = [event for name, event in self.sent if name == import_id]
        if known and chance.random() < 0.25:
            return chance.choice(known)
        occur = self.now - chance.choice((0, SECOND, HOUR, 23 * HOUR, 3 * DAY))
        event = Event(
            event_id=f"e{len(self.sent)}",
            type=chance.choice(("page_viewed", "order", "žluťoučký")),
            occur_time_us=occur,
            send_time_us=chance.choice((0, self.now - SECOND, self.now - 5 * HOUR, -4)),
        )
        for _ in range(chance.choice((1, 1, 2, 3))):
            self.add_identifier(event)
        for _ in range(chance.choice((0, 1, 3, 9))):
            self.add_property(event)
        if chance.random() < 0.25:
            self.spoil(event)
        self.sent.append((import_id, event))
        return event

    def add_identifier(self, event: Event) -> None:
        n = self.chance.randrange(50)
        kind, value = self.chance.choice(
            (
                ("user_id", f"u{n}"),
                ("user_id", f" U{n} "),
                ("cookie", self.chance.choice(WORDS)),
                ("email", f"Ann.{n}@Example.com"),
                ("email", f"ann.{n}@example.com"),
                ("phone", f"+420601123{n:03d}"),
                ("phone", f"601 123 {n:03d}"),
                ("loyalty_card", f"{n:04d}x"),
            )
        )
        event.identifiers.add(kind=kind, value=value)

    def add_property(self, event: Event) -> None:
        chance = self.chance
        item = event.properties.add(key=f"k{chance.randrange(9)}", item=chance.choice((0, 0, 2)))
        match chance.randrange(8):
            case 0:
                item.text = chance.choice(("blue", "", "🦔" * 9, "x" * 30, "12.50"))
            case 1:
                item.whole = chance.choice((0, -1, 2**63 - 1, -(2**63), 2**53 + 1))
            case 2:
                item.decimal.units = chance.choice((1999, -5, 0, 10**18))
                item.decimal.exponent = chance.choice((0, 2, 18))
            case 3:
                item.flag = chance.random() < 0.5
            case 4:
                item.time_us = self.now
            case 5:
                item.number = chance.choice((0.1, 0.1 + 0.2, 999.995, -0.0, 1e300, 5e-324, 2.5e15))
            case 6:
                item.number = chance.uniform(-1e6, 1e6)

    def spoil(self, event: Event) -> None:
        chance = self.chance
        match chance.randrange(14):
            case 0:
                event.event_id = chance.choice(("", "x" * 129, "a\0b"))
            case 1:
                event.type = chance.choice(("", "a b", "x" * 65, "a\0", "a\x7f"))
            case 2:
                del event.identifiers[:]
            case 3:
                for k in range(21):
                    event.identifiers.add(kind="user_id", value=f"many{k}")
            case 4:
                for k in range(257):
                    event.properties.add(key=f"p{k}", flag=True)
            case 5:
                event.properties.add(key="big", text="x" * chance.choice((8_193, 40_000)))
            case 6:
                event.occur_time_us = chance.choice((0, -1, self.now + HOUR))
            case 7:
                event.send_time_us = chance.choice((self.now + HOUR, self.now - 2 * DAY))
            case 8:
                event.properties.add(key="n", number=chance.choice((math.nan, math.inf, -math.inf)))
            case 9:
                event.properties.add(key=chance.choice(("", "k" * 129, "a\0")), flag=True)
            case 10:
                event.properties.add(key="d").decimal.exponent = chance.choice((19, 2**32 - 1))
            case 11:
                event.identifiers[0].value = "a\0"
            case 12:
                event.properties.add(key="t", text="late\0")
            case _:
                del event.identifiers[:]
                event.identifiers.add(kind="user_id", value=chance.choice(WORDS))


@dataclass
class Said:
    """What a core said, step after step."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    duplicates: set[tuple[int, int]] = field(default_factory=set)
    parked: list[tuple[int, bytes]] = field(default_factory=list)

    def step(self, core: IngestCore, cut: list[Message]) -> None:
        facts = core.step(cut, cut[-1].time_us)
        for body in facts.bodies.get(EVENTS, []):
            assert len(body) <= PART_BYTES_MAX
            self.bodies.append(body)
            self.rows += read(body)
        for body in facts.bodies.get(RECEIPTS, []):
            for receipt in ReceiptBatch.FromString(body).receipts:
                refused = 0
                for item in receipt.exceptions:
                    place = receipt.intake_sequence, item.index
                    if item.verdict == Verdict.VERDICT_REJECTED:
                        self.refused[place] = item.code
                        refused += 1
                    elif item.verdict == Verdict.VERDICT_DUPLICATE:
                        self.duplicates.add(place)
                        refused += 1
                assert receipt.accepted == receipt.events - refused
        for body in facts.bodies.get(PARKED, []):
            parked = Parked.FromString(body)
            for event in EventBatch.FromString(parked.body).events:
                self.parked.append((parked.source_sequence, event.SerializeToString()))


def cuts_of(messages: list[Message], chance: random.Random) -> list[list[Message]]:
    cuts, at = [], 0
    while at < len(messages):
        size = chance.choice((1, 2, 5, 20))
        cuts.append(messages[at : at + size])
        at += size
    return cuts


@pytest.mark.parametrize("seed", range(101, 107))
def test_it_counts_what_the_naive_one_counts(seed: int) -> None:
    print("seed", seed)
    stream = Stream(seed)
    messages = [stream.message() for _ in range(150)]
    naive, said, core = Naive(), Said(), IngestCore(SETTINGS)
    for message in messages:
        naive.take(message)
    for cut in cuts_of(messages, random.Random(seed)):
        said.step(core, cut)
    assert said.rows == naive.events
    assert said.duplicates == naive.duplicates
    assert set(said.refused) == set(naive.refused)
    for place, code in said.refused.items():
        assert code in naive.refused[place]
    # Nothing is lost: every refused event is parked as it came.
    batches = {m.sequence: EventBatch.FromString(m.body).events for m in messages}
    came = [(s, batches[s][index].SerializeToString()) for s, index in naive.refused]
    assert sorted(said.parked) == sorted(came)
    assert core.disagreements == 0
    assert len(naive.events) > 200
    assert len(naive.duplicates) > 20
    assert len({code for codes in naive.refused.values() for code in codes}) > 12


@pytest.mark.parametrize("seed", [201, 202, 203])
def test_cuts_decoders_and_restarts_change_nothing(seed: int) -> None:
    """Rows, verdicts and order do not depend on cuts; the same cuts give the same bytes."""
    print("seed", seed)
    chance = random.Random(seed)
    stream = Stream(seed)
    messages = [stream.message() for _ in range(120)]
    cuts = cuts_of(messages, chance)
    once, again, other = Said(), Said(), Said()
    core = IngestCore(SETTINGS)
    for cut in cuts:
        once.step(core, cut)
    core = IngestCore(SETTINGS, UpbDecoder())
    for cut in cuts:
        again.step(core, cut)
        if chance.random() < 0.2:
            state = {name: memoryview(bytes(buffer)) for name, buffer in core.dump().items()}
            core = IngestCore(SETTINGS)
            core.load(state)
    core = IngestCore(SETTINGS)
    for cut in cuts_of(messages, chance):
        other.step(core, cut)
    assert again.bodies == once.bodies
    assert other.rows == once.rows
    assert (other.refused, other.duplicates) == (once.refused, once.duplicates)

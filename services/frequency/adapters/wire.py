"""Strategies, asks and receipts between the contract and the domain."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from muster.frequency.v1 import facts_pb2, service_pb2
from muster.types.v1 import common_pb2
from services.chassis.columns import shadow_of, varint
from services.chassis.errors import InvalidRequest
from services.chassis.parking import timestamp
from services.frequency.domain.allowance import HOURS, Verdict
from services.frequency.domain.calendar import Calendar, Unit
from services.frequency.domain.hours import Hours
from services.frequency.domain.strategy import DEFAULT_TTL_US, Ask, Kind, Limit, Strategy, faults

COUNTED_KEYS_MAX = 100
NAME_MAX = 64
KEY_MAX = 128
"""Characters; at most four times as many bytes."""
SECOND_US = 1_000_000
UNITS: set[int] = {int(unit) for unit in Unit}
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
Faults = list[tuple[str, str]]


def microseconds(duration: Duration) -> int:
    return duration.seconds * SECOND_US + int(duration.nanos / 1_000)


def time_us(moment: Timestamp) -> int:
    return moment.seconds * SECOND_US + moment.nanos // 1_000


def check_id(path: str, value: str) -> Faults:
    if _ID.fullmatch(value):
        return []
    return [(path, f"{value!r}: use a letter, then up to 62 of a-z, 0-9 and '-'")]


def check_text(path: str, value: str, most: int = NAME_MAX, least: int = 0) -> Faults:
    if least <= len(value) <= most and "\0" not in value:
        return []
    return [(path, f"must have {least} to {most} characters and no NUL")]


def strategy_of(message: service_pb2.Strategy) -> Strategy:
    """A strategy from the contract. Raises InvalidRequest with every fault."""
    found: Faults = check_id("strategy_id", message.strategy_id)
    limits = tuple(
        limit
        for place, wanted in enumerate(message.limits)
        if (limit := _limit_of(f"limits[{place}]", wanted, found))
    )
    strategy = Strategy(
        strategy_id=message.strategy_id,
        version=message.version,
        limits=limits,
        min_gap_us=microseconds(message.min_gap),
        hours=_hours_of(message.hours, found) if message.HasField("hours") else None,
        defer_on_limit=message.defer_on_limit,
        defer_on_hours=message.defer_on_hours,
        longest_deferral_us=microseconds(message.longest_deferral),
        zone_name=message.zone,
        asks=tuple(_asks_of(message, found)),
        ttl_us=microseconds(message.reservation_ttl) or DEFAULT_TTL_US,
    )
    found += faults(strategy)
    if found:
        raise InvalidRequest([(f"strategy.{path}", text) for path, text in found])
    return strategy


def _limit_of(path: str, message: service_pb2.Limit, found: Faults) -> Limit | None:
    for name, values in (("channels", message.channels), ("message_types", message.message_types)):
        for place, value in enumerate(values):
            found += check_text(f"{path}.{name}[{place}]", value, least=1)
    window: int | Calendar
    which = message.WhichOneof("window")
    if which == "rolling":
        window = microseconds(message.rolling)
    elif which == "calendar":
        if message.calendar.unit not in UNITS:
            found.append((f"{path}.calendar.unit", "name day, week or month"))
            return None
        window = Calendar(
            Unit(message.calendar.unit),
            message.calendar.length or 1,
            message.calendar.week_start or 1,
        )
    else:
        found.append((f"{path}.window", "give a rolling or a calendar window"))
        return None
    return Limit(message.max, window, frozenset(message.channels), frozenset(message.message_types))


def _hours_of(message: service_pb2.Hours, found: Faults) -> Hours | None:
    minutes = []
    for name in ("from", "to"):
        read = _HOURS.fullmatch(getattr(message, name))
        if read is None or (read[1] == "24" and (name, read[2]) != ("to", "00")):
            found.append((f"hours.{name}", "must be a time such as 09:00 or 21:30"))
        else:
            minutes.append((int(read[1]) * 60 + int(read[2])) % 1_440)
    return Hours(*minutes) if len(minutes) == 2 else None


def _asks_of(message: service_pb2.Strategy, found: Faults) -> Iterator[Ask]:
    entered, left = common_pb2.DIRECTION_ENTERED, common_pb2.DIRECTION_LEFT
    for place, ask in enumerate(message.asks):
        path = f"asks[{place}]"
        found += check_id(f"{path}.segment_id", ask.segment_id)
        found += check_text(f"{path}.message.message_type", ask.message.message_type, least=1)
        found += check_text(f"{path}.message.channel", ask.message.channel, least=1)
        if ask.direction not in (entered, left):
            found.append((f"{path}.direction", "name entered or left"))
        kind = Kind(ask.message.message_type, ask.message.channel)
        content = tuple(sorted(ask.message.content.items()))
        yield Ask(ask.segment_id, ask.direction == entered, kind, content)


def content_of(ask: Ask) -> facts_pb2.MessageContent:
    """What to send, as the facts carry it."""
    kind = ask.kind
    return facts_pb2.MessageContent(
        message_type=kind.message_type, channel=kind.channel, content=dict(ask.content)
    )


def receipt_of(message_key: str, verdict: Verdict, strategy: Strategy, now_us: int) -> bytes:
    """Wire bytes of the receipt of a deferred or denied wish."""
    receipt = facts_pb2.Receipt(
        message_key=message_key,
        decision=facts_pb2.Decision.Name(int(verdict.decision)),
        decision_time=timestamp(now_us),
        strategy_id=strategy.strategy_id,
        strategy_version=strategy.version,
    )
    if verdict.next_us is not None:
        receipt.next_allowed_time.CopyFrom(timestamp(verdict.next_us))
    block = verdict.binding
    if block is not None:
        receipt.rule = block.rule
        receipt.counted = len(block.counted)
        receipt.max = block.max
        keys = [stand.message_key for stand in block.counted[-COUNTED_KEYS_MAX:]]
        receipt.counted_keys.extend(keys)
        if block.rule != HOURS:
            receipt.window_from_time.CopyFrom(timestamp(block.from_us))
            receipt.window_to_time.CopyFrom(timestamp(block.to_us))
    return bytes(receipt.SerializeToString())


def allowed_tail(strategy: Strategy, deadline_us: int, now_us: int) -> bytes:
    """The end of the receipts of all wishes allowed in one transaction until one deadline."""
    tail = facts_pb2.Receipt(
        decision=facts_pb2.DECISION_ALLOWED,
        deadline_time=timestamp(deadline_us),
        decision_time=timestamp(now_us),
        strategy_id=strategy.strategy_id,
        strategy_version=strategy.version,
    )
    return bytes(tail.SerializeToString())


def allowed_receipt(message_key: str, tail: bytes) -> bytes:
    """A receipt of an allowed wish: its key before a tail (field 1 of the message, on the wire)."""
    key = message_key.encode()
    return b"\x0a" + varint(len(key)) + key + tail


def plain(value: str, most: int) -> bool:
    """Whether a text has 1 to `most` characters and no NUL."""
    return 0 < len(value) <= most and "\0" not in value


_RECEIPTS = shadow_of(service_pb2.ReserveMessagesResponse)


def receipts(each: list[bytes]) -> bytes:
    """Wire bytes of a ReserveMessagesResponse with these receipts."""
    return bytes(_RECEIPTS(receipts=each).SerializeToString())


def kind_of(content: facts_pb2.MessageContent) -> Kind:
    return Kind(content.message_type, content.channel)


def wish_faults(place: int, wish: service_pb2.MessageWish) -> Faults:
    path = f"wishes[{place}]"
    return [
        *check_text(f"{path}.message_key", wish.message_key, KEY_MAX, least=1),
        *check_text(f"{path}.profile_id", wish.profile_id, least=1),
        *check_text(f"{path}.message_type", wish.message_type),
        *check_text(f"{path}.channel", wish.channel),
    ]

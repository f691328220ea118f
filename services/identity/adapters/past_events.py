"""Events as they were accepted, read from EVENTS by the places a timeline points at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import nats.errors
import nats.js.errors
from nats.js.client import JetStreamContext

from muster.identity.v1 import service_pb2 as api
from services.chassis import subjects
from services.chassis.columns import Columns
from services.chassis.errors import NotReady
from services.chassis.parking import timestamp
from services.identity.adapters.values import value_of
from services.identity.adapters.wire import EVENT_COLUMNS
from services.identity.engine.attributes import Given
from services.identity.engine.timeline import Pointed

READS_AT_ONCE = 8


class PastEvents:
    """Reads messages of EVENTS, each once a call, a few at a time."""

    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream

    async def read(self, pointed: Sequence[Pointed]) -> list[api.TimelineEvent]:
        """The events at these places, in their order; NotReady when the log does not answer."""
        gate = asyncio.Semaphore(READS_AT_ONCE)
        wanted = sorted({one.sequence for one in pointed})
        read = await asyncio.gather(*(self._message(sequence, gate) for sequence in wanted))
        columns = dict(zip(wanted, read, strict=True))
        return [event_at(columns[one.sequence], one.row) for one in pointed]

    async def _message(self, sequence: int, gate: asyncio.Semaphore) -> Columns:
        async with gate:
            try:
                message = await self._jetstream.get_msg(subjects.EVENTS, seq=sequence, direct=True)
            except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
                why = f"{subjects.EVENTS} {sequence} could not be read ({error}); ask again"
                raise NotReady(why) from None
            return EVENT_COLUMNS.decode(message.data or b"")


def event_at(columns: Columns, row: int) -> api.TimelineEvent:
    """One row of EventColumns as an event. Sealed properties are left out."""
    event = api.TimelineEvent(
        event_id=_text(columns, "event_id", row),
        type=_text(columns, "name", int(columns["type"][row])),
        occur_time=timestamp(int(columns["occur_time_us"][row])),
        accept_time=timestamp(int(columns["accept_time_us"][row])),
    )
    for place in _slice(columns["id_end"], row):
        event.identifiers.add(
            kind=_text(columns, "name", int(columns["id_kind"][place])),
            value=_text(columns, "id_text", place),
        )
    if len(columns["prop_end"]):
        for key, given in _properties(columns, row).items():
            event.properties[key].CopyFrom(value_of(given))
    return event


def _properties(columns: Columns, row: int) -> dict[str, list[Given]]:
    sealed = set(columns["sealed_prop"].tolist())
    items, exponents = columns["prop_item"], columns["prop_exponent"]
    found: dict[str, list[Given]] = {}
    for place in _slice(columns["prop_end"], row):
        kind, value = int(columns["prop_kind"][place]), int(columns["prop_value"][place])
        if place in sealed or not kind:
            continue
        text = _text(columns, "text", value).encode() if kind == 1 else b""
        item = int(items[place]) if len(items) else 0
        exponent = int(exponents[place]) if len(exponents) else 0
        key = _text(columns, "name", int(columns["prop_key"][place]))
        found.setdefault(key, []).append((item, kind, value, exponent, text))
    return found


def _slice(ends: object, place: int) -> range:
    """The places that belong to one, of a column of running ends."""
    return range(int(ends[place - 1]) if place else 0, int(ends[place]))  # type: ignore[index]


def _text(columns: Columns, pool: str, place: int) -> str:
    inside = _slice(columns[f"{pool}_end"], place)
    return bytes(columns[pool][inside.start : inside.stop]).decode()

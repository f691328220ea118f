"""Drafts to events on the wire."""

from __future__ import annotations

from decimal import Decimal

from muster.types.v1.event_pb2 import Event
from services.ingest.domain.drafts import Draft, DraftFault, Value


def event_of(draft: Draft) -> Event:
    """The draft as an Event. DraftFault when a text is not Unicode."""
    try:
        event = Event(
            event_id=draft.event_id,
            type=draft.type,
            occur_time_us=draft.occur_us,
            send_time_us=draft.send_us,
        )
        for kind, value in draft.identifiers:
            event.identifiers.add(kind=kind, value=value)
        for key, item, given in draft.properties:
            _add(event, key, item, given)
    except (UnicodeEncodeError, ValueError) as wrong:
        raise DraftFault("", "bad_text", f"cannot be written as an event: {wrong}") from None
    return event


def _add(event: Event, key: str, item: int, value: Value) -> None:
    made = event.properties.add(key=key, item=item)
    if isinstance(value, bool):
        made.flag = value
    elif isinstance(value, int):
        made.whole = value
    elif isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        units = int("".join(map(str, digits)))
        made.decimal.units = -units if sign else units
        made.decimal.exponent = -exponent
    else:
        made.text = value

"""Decides what an event may be: limits, and a code and advice for everything that breaks one.

The numbers of `Fault` are what the kernels write per row; the codes are contract, so members are
renumbered freely but never renamed.
"""

from __future__ import annotations

from enum import IntEnum

EVENTS_MAX = 1_000
BATCH_BYTES_MAX = 512 << 10
EVENT_BYTES_MAX = 32 << 10
EVENT_ID_BYTES_MAX = 128
TYPE_BYTES_MAX = 64
IMPORT_ID_BYTES_MAX = 128
IDENTIFIERS_MAX = 20
PROPERTIES_MAX = 256
KEY_BYTES_MAX = 128
TEXT_BYTES_MAX = 8 << 10
DECIMAL_EXPONENT_MAX = 18
FUTURE_US = 10 * 60 * 1_000_000
"""How far ahead of ours an event's times may lie."""
HORIZON_US = 24 * 60 * 60 * 1_000_000
"""How long a retry is recognised; a first attempt longer ago is refused."""


class Fault(IntEnum):
    """Why one event, or one message of INTAKE, was not taken."""

    CLEAN = 0
    EVENT_TOO_LARGE = 1
    MISSING_EVENT_ID = 2
    EVENT_ID_TOO_LONG = 3
    MISSING_TYPE = 4
    BAD_TYPE = 5
    NO_IDENTIFIER = 6
    TOO_MANY_IDENTIFIERS = 7
    TOO_MANY_PROPERTIES = 8
    MISSING_OCCUR_TIME = 9
    EVENT_TIME_IN_FUTURE = 10
    SEND_TIME_IN_FUTURE = 11
    TOO_OLD_TO_DEDUPLICATE = 12
    BAD_TEXT = 13
    MISSING_PROPERTY_KEY = 14
    PROPERTY_KEY_TOO_LONG = 15
    TEXT_TOO_LONG = 16
    NOT_A_NUMBER = 17
    BAD_DECIMAL = 18
    ONLY_BLOCKED_IDENTIFIERS = 19
    DEDUPLICATION_FULL = 20
    MALFORMED_EVENT = 21
    MALFORMED_BATCH = 22
    BATCH_TOO_LARGE = 23
    BAD_IMPORT_ID = 24
    EVENT_TYPE_NOT_DESCRIBED = 25
    PROPERTY_NOT_DESCRIBED = 26
    PROPERTY_OF_WRONG_TYPE = 27
    PROPERTY_MISSING = 28
    RESERVED_TYPE = 29
    PUBLISHER_RETIRED = 30
    SCOPE_MISSING = 31
    ORDERS_FULL = 32

    @property
    def code(self) -> str:
        """For programs, such as missing_event_id."""
        return self.name.lower()

    @property
    def detail(self) -> str:
        """For people: what is wrong and what to do. Never holds a value of the event."""
        return _DETAILS[self]


_DETAILS = {
    Fault.CLEAN: "",
    Fault.EVENT_TOO_LARGE: (
        f"the event is larger than {EVENT_BYTES_MAX} bytes; leave out properties or shorten them"
    ),
    Fault.MISSING_EVENT_ID: "event_id is empty; give each event an id of its own and repeat it "
    "when you send the event again",
    Fault.EVENT_ID_TOO_LONG: f"event_id is longer than {EVENT_ID_BYTES_MAX} bytes; a UUID has 36",
    Fault.MISSING_TYPE: "type is empty; name what happened, such as order_completed",
    Fault.BAD_TYPE: f"type is 1 to {TYPE_BYTES_MAX} bytes without blanks or control characters, "
    "such as order_completed",
    Fault.NO_IDENTIFIER: "the event has no identifier; send at least one, such as user_id or "
    "cookie",
    Fault.TOO_MANY_IDENTIFIERS: f"the event has more than {IDENTIFIERS_MAX} identifiers; send "
    "those of the one person it is about",
    Fault.TOO_MANY_PROPERTIES: f"the event has more than {PROPERTIES_MAX} properties; split it or "
    "leave some out",
    Fault.MISSING_OCCUR_TIME: "occur_time_us is 0 or negative; send the instant it happened in "
    "microseconds since 1970, UTC",
    Fault.EVENT_TIME_IN_FUTURE: "occur_time_us is more than 10 minutes ahead of our clock; "
    "check the publisher's clock and unit (microseconds)",
    Fault.SEND_TIME_IN_FUTURE: "send_time_us is more than 10 minutes ahead of our clock; "
    "check the publisher's clock and unit (microseconds)",
    Fault.TOO_OLD_TO_DEDUPLICATE: "the first attempt (send_time_us, or occur_time_us without it) "
    "lies more than 24 hours back, so a repeat could not be recognised; send it as an import "
    "(import_id), or set send_time_us when you first send it",
    Fault.BAD_TEXT: "a text holds NUL or is not valid UTF-8; send clean UTF-8",
    Fault.MISSING_PROPERTY_KEY: "a property has no key; name it",
    Fault.PROPERTY_KEY_TOO_LONG: f"a property's key is longer than {KEY_BYTES_MAX} bytes",
    Fault.TEXT_TOO_LONG: f"a property's text is longer than {TEXT_BYTES_MAX} bytes; shorten it",
    Fault.NOT_A_NUMBER: "a property is NaN or infinite; leave it out, or send a number",
    Fault.BAD_DECIMAL: f"a decimal's exponent is above {DECIMAL_EXPONENT_MAX}; send fewer places, "
    "or the number as text",
    Fault.ONLY_BLOCKED_IDENTIFIERS: "none of the event's identifiers can identify a person "
    "(placeholders such as null, or malformed addresses); send a real one",
    Fault.DEDUPLICATION_FULL: "the memory of event ids is at its named maximum "
    "(MUSTER_DEDUPE_PRINTS_MAX, MUSTER_IMPORT_PRINTS_MAX), so a repeat could not be recognised; "
    "raise it, then send the event again from PARKED",
    Fault.MALFORMED_EVENT: "the event is not a muster.types.v1.Event; check the encoder",
    Fault.MALFORMED_BATCH: "the message is not a muster.types.v1.EventBatch; check the encoder "
    "and the subject",
    Fault.BATCH_TOO_LARGE: f"a batch holds at most {EVENTS_MAX} events and {BATCH_BYTES_MAX} "
    "bytes; split it",
    Fault.BAD_IMPORT_ID: f"import_id is at most {IMPORT_ID_BYTES_MAX} bytes without NUL",
    Fault.EVENT_TYPE_NOT_DESCRIBED: "nobody described this event type, and this tenant quarantines "
    "such events; describe it (SetEventType), then send the event again from PARKED",
    Fault.PROPERTY_NOT_DESCRIBED: "the schema of the event type is closed and does not have this "
    "property; describe it or leave it out",
    Fault.PROPERTY_OF_WRONG_TYPE: "the property is not what the schema of the event type says",
    Fault.PROPERTY_MISSING: "the schema of the event type requires this property",
    Fault.RESERVED_TYPE: "events of this type are made by ingest itself; choose another name",
    Fault.PUBLISHER_RETIRED: "this publisher may no longer publish",
    Fault.SCOPE_MISSING: "this publisher has no right to do this; give it the scope "
    "(RegistryService.SetPublisher)",
    Fault.ORDERS_FULL: "as many orders as can be remembered (MUSTER_ORDERS_MAX) are; raise it, "
    "then send the event again from PARKED",
}

"""Names on the log: which stream, which subject. Computed here, never typed by hand."""

from __future__ import annotations

import re

INTAKE = "INTAKE"
RECEIPTS = "RECEIPTS"
EVENTS = "EVENTS"
CONTROL = "CONTROL"
PROFILES = "PROFILES"
HISTORY = "HISTORY"
TRANSITIONS = "TRANSITIONS"
TRIGGERS = "TRIGGERS"
MESSAGES = "MESSAGES"
ALERTS = "ALERTS"
PARKED = "PARKED"

_TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class BadToken(ValueError):
    """A name that cannot stand in a subject: use at most 63 of a-z, 0-9 and dashes."""


def token(text: str) -> str:
    """`text` when it may stand in a subject; raises BadToken otherwise."""
    if not _TOKEN.fullmatch(text):
        raise BadToken(
            f"{text!r} is not a valid name: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'"
        )
    return text


def _subject(noun: str, *tokens: str | int) -> str:
    return ".".join(["muster", noun, "v1", *(token(str(t)) for t in tokens)])


def intake(tenant: str, publisher: str) -> str:
    return _subject("intake", tenant, publisher)


def intake_of(tenant: str) -> str:
    """Everything any publisher of the tenant sends: a filter."""
    return _subject("intake", tenant) + ".>"


def events(tenant: str) -> str:
    return _subject("events", tenant)


def receipts(tenant: str) -> str:
    return _subject("receipts", tenant)


def control(tenant: str, kind: str) -> str:
    """kind: segment, list, catalogue, variant, audit, cuts."""
    return _subject("control", tenant, kind)


def control_of(tenant: str) -> str:
    return _subject("control", tenant) + ".>"


def profiles(tenant: str, partition: int) -> str:
    return _subject("profiles", tenant, partition)


def history(tenant: str, to_partition: int, from_partition: int) -> str:
    return _subject("history", tenant, to_partition, from_partition)


def history_to(tenant: str, to_partition: int) -> str:
    return _subject("history", tenant, to_partition) + ".*"


def transitions(tenant: str, partition: int) -> str:
    return _subject("transitions", tenant, partition)


def transitions_of(tenant: str) -> str:
    return _subject("transitions", tenant) + ".*"


def triggers(tenant: str, segment_id: str) -> str:
    return _subject("triggers", tenant, segment_id)


def triggers_of(tenant: str) -> str:
    return _subject("triggers", tenant) + ".*"


def relay(tenant: str, partition: int) -> str:
    """The relay's checkpoints, in the stream TRIGGERS beside what they commit."""
    return _subject("relay", tenant, partition)


def messages(tenant: str, strategy_id: str) -> str:
    return _subject("messages", tenant, strategy_id)


def alerts(tenant: str, watch_id: str) -> str:
    return _subject("alerts", tenant, watch_id)


def parked(tenant: str, service: str, partition: int = 0) -> str:
    return _subject("parked", tenant, service, partition)


def parked_of(tenant: str) -> str:
    """What any service of the tenant has parked: a filter."""
    return _subject("parked", tenant) + ".>"


def submit(tenant: str, publisher: str) -> str:
    """Where a publisher asks for a verdict: request and reply, not a stream."""
    return _subject("submit", tenant, publisher)


def submit_of(tenant: str) -> str:
    """Where every publisher of the tenant asks: a filter."""
    return _subject("submit", tenant) + ".*"


def doors(tenant: str) -> str:
    """Where the doors of ingest tell each other what publishers have spent: not a stream."""
    return _subject("doors", tenant)


def ask(tenant: str, partition: int, service: str, question: str) -> str:
    """Where a service asks another partition of its own: request and reply."""
    return _subject("ask", tenant, partition, service, question)


def publisher_of(intake_subject: str) -> str:
    """The publisher's name in an intake subject."""
    return intake_subject.rsplit(".", 1)[-1]


def partition_of(profile_number: int, partitions: int) -> int:
    """The partition a profile lives in: its dense number modulo the number of partitions."""
    return profile_number % partitions

"""CloudEvents 1.0 attributes as NATS headers (its NATS binding, binary mode).

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md
"""

from __future__ import annotations

from services.chassis.parking import timestamp


def cloud_headers(
    event_id: str, event_type: str, source: str, subject: str, time_us: int
) -> dict[str, str]:
    """Headers of one public fact: who, what, where from, about what, when (UTC microseconds)."""
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": event_type,
        "ce-source": source,
        "ce-subject": subject,
        "ce-time": timestamp(time_us).ToJsonString(),
        "content-type": "application/protobuf",
    }

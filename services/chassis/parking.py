"""What could not be processed, kept untouched with its reason."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from muster.types.v1.common_pb2 import Parked
from services.chassis.core import Core, Message


def parked_body(
    core: Core,
    message: Message,
    time_us: int,
    code: str = "kills_the_process",
    detail: str = "Stepping this message ended the process three times. Mend the defect it shows, "
    "then publish its body again.",
) -> bytes:
    """Wire bytes of a Parked record for one input message."""
    record = Parked(
        service=core.name,
        code=code,
        detail=detail,
        source_stream=core.sources[message.source].stream,
        source_sequence=message.sequence,
        source_subject=message.subject,
        body=message.body,
        park_time=timestamp(time_us),
    )
    return bytes(record.SerializeToString(deterministic=True))


def timestamp(time_us: int) -> Timestamp:
    """A protobuf Timestamp of UTC microseconds since 1970."""
    return Timestamp(seconds=time_us // 1_000_000, nanos=time_us % 1_000_000 * 1_000)

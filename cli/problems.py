"""What went wrong, in words for the person at the keyboard, with what to do about it."""

from __future__ import annotations

from typing import Any

ADVICE = {
    "UNAVAILABLE": "is the stack running? `./muster up` starts it, `./muster doctor` looks at it",
    "DEADLINE_EXCEEDED": "it did not answer in time; `./muster doctor` looks at it",
    "UNIMPLEMENTED": "this service does not offer that; is it of another version?",
}


class Problem(Exception):
    """Ends a command with exit code 1. The message says what is wrong and what to do."""


def describe_call(error: Any) -> str:
    """A failed gRPC call: its message, each faulty field with its path, and when to try again."""
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    code = error.code().name
    lines = [f"{error.details() or 'no answer'} ({code})"]
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(request):
            named = [v for v in request.field_violations if v.field]
            lines = [f"refused ({code}):"] if named else lines
            lines += [f"  {v.field}: {v.description}" for v in named]
        elif detail.Unpack(retry):
            lines.append(f"  try again in {retry.retry_delay.ToMilliseconds() / 1000:g} s")
    if code in ADVICE:
        lines.append(f"  {ADVICE[code]}")
    return "\n".join(lines)

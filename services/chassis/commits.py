"""Publishes the messages of a step, each fenced by the last sequence of its subject.

Success is an answer with a sequence, without error and without `duplicate`. A refusal means that
another owner was first; any other outcome is unknown. Both end the process: nothing is repeated in
place, the next life reads the log.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client

from services.chassis import clock
from services.chassis.checkpoint import EXPECTED
from services.chassis.errors import ExitCode, Stop

WRONG_LAST_SEQUENCE = {10071, 10164}
BATCH_MESSAGES_MAX = 900
"""The server takes at most 1,000 messages in one atomic batch."""

Public = tuple[str, bytes, dict[str, str]]
"""Subject, body and headers of a message committed together with a lead."""


async def publish_fenced(
    client: Client, subject: str, body: bytes, headers: dict[str, str], after: int, timeout_s: float
) -> int:
    """Publishes one message if the subject's last sequence is `after` (0: none yet).

    Returns its stream sequence. Stop(FENCED) when somebody else wrote first, Stop(UNKNOWN) when the
    outcome is not known.
    """
    fenced = {**headers, EXPECTED: str(after)}
    try:
        answer = await client.request(subject, body, headers=fenced, timeout=timeout_s)
    except (nats.errors.Error, OSError) as error:
        raise Stop(ExitCode.UNKNOWN, f"{subject}: {type(error).__name__} {error}") from error
    return _sequence(subject, json.loads(answer.data))


async def publish_batch(
    client: Client,
    batch: Sequence[Public],
    subject: str,
    body: bytes,
    headers: dict[str, str],
    after: int,
    timeout_s: float,
) -> int:
    """Publishes `batch` and the lead atomically: all stored in order, the lead last, or none.

    Returns the lead's stream sequence; refusals as in `publish_fenced`.
    """
    if not batch:
        return await publish_fenced(client, subject, body, headers, after, timeout_s)
    if len(batch) > BATCH_MESSAGES_MAX:
        raise ValueError(f"a batch of {len(batch)} messages; at most {BATCH_MESSAGES_MAX}")
    batch_id = clock.new_id()

    def numbered(place: int, extra: dict[str, str]) -> dict[str, str]:
        return {**extra, "Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(place)}

    try:
        first, *rest = batch
        opened = await client.request(
            first[0], first[1], headers=numbered(1, first[2]), timeout=timeout_s
        )
        if opened.data:
            _sequence(first[0], json.loads(opened.data))
        for place, (public, content, extra) in enumerate(rest, 2):
            await client.publish(public, content, headers=numbered(place, extra))
        last = numbered(len(batch) + 1, {**headers, EXPECTED: str(after)})
        last["Nats-Batch-Commit"] = "1"
        answer = await client.request(subject, body, headers=last, timeout=timeout_s)
    except (nats.errors.Error, OSError) as error:
        raise Stop(ExitCode.UNKNOWN, f"{subject}: {type(error).__name__} {error}") from error
    return _sequence(subject, json.loads(answer.data))


def _sequence(subject: str, answer: dict[str, Any]) -> int:
    error = answer.get("error")
    if error:
        code = error.get("err_code")
        fenced = code in WRONG_LAST_SEQUENCE
        raise Stop(ExitCode.FENCED if fenced else ExitCode.UNKNOWN, f"{subject}: {error}")
    if answer.get("duplicate") or "seq" not in answer:
        raise Stop(ExitCode.UNKNOWN, f"{subject}: not a plain acknowledgement: {answer}")
    return int(answer["seq"])

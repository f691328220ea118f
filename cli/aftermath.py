"""What went out about a person since an instant: triggers and messages, from the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

from cli.running import Running

PULL = 500


@dataclass(frozen=True)
class Sent:
    """One trigger or message. about: the profile id it was said of."""

    at: Any
    what: str
    about: str
    text: str


async def sent_since(
    running: Running, profile_ids: Collection[str], since: dt.datetime
) -> list[Sent]:
    """Triggers and messages of some profiles that the log took since an instant, oldest first."""
    import nats

    from muster.frequency.v1.facts_pb2 import MessageDecided
    from muster.segments.v1.facts_pb2 import SegmentTriggered
    from services.chassis import subjects

    client = await nats.connect(running.nats_url, allow_reconnect=False)
    found = []
    try:
        jetstream = client.jetstream()
        wanted = subjects.triggers_of(running.tenant)
        async for body in _bodies(jetstream, subjects.TRIGGERS, wanted, since):
            trigger = SegmentTriggered.FromString(body)
            if trigger.profile_id in profile_ids:
                found.append(_of_trigger(trigger))
        wanted = subjects.messages(running.tenant, "any").rsplit(".", 1)[0] + ".*"
        async for body in _bodies(jetstream, subjects.MESSAGES, wanted, since):
            message = MessageDecided.FromString(body)
            if message.profile_id in profile_ids:
                found.append(_of_message(message))
    finally:
        await client.close()
    return sorted(found, key=lambda one: (one.at.seconds, one.at.nanos))


def _of_trigger(trigger: Any) -> Sent:
    from cli.output import word
    from muster.types.v1.common_pb2 import Direction, Reason

    said, why = word(Direction, trigger.direction), word(Reason, trigger.reason)
    text = f"{said} {trigger.segment_id} ({why})"
    return Sent(trigger.at_time, "trigger", trigger.profile_id, text)


def _of_message(message: Any) -> Sent:
    from cli.output import word
    from muster.frequency.v1.facts_pb2 import Decision

    content, decision = message.message, word(Decision, message.receipt.decision)
    text = f"{decision}: {content.message_type} by {content.channel}"
    return Sent(message.receipt.decision_time, "message", message.profile_id, text)


async def _bodies(
    jetstream: Any, stream: str, subject: str, since: dt.datetime
) -> AsyncIterator[bytes]:
    """Bodies of a subject from an instant of the broker's on, up to now."""
    from nats.js.api import ConsumerConfig, DeliverPolicy

    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since)
    consumer = await jetstream.pull_subscribe(subject, stream=stream, config=config)
    left = (await consumer.consumer_info()).num_pending or 0
    while left > 0:
        for message in await consumer.fetch(min(PULL, left), timeout=5):
            left -= 1
            if message.data:
                yield message.data
    await consumer.unsubscribe()

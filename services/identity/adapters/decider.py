"""Writes what people decide to CONTROL and waits until it is taken."""

from __future__ import annotations

import nats.errors
import nats.js.errors
from nats.js.client import JetStreamContext

from muster.identity.v1 import facts_pb2 as identity
from services.chassis import clock, prints, subjects
from services.chassis.checkpoint import Origin
from services.chassis.errors import InvalidRequest, NotReady
from services.identity.adapters.door import Reached
from services.identity.engine.previews import Pair, Wanted
from services.identity.handlers import Answers
from services.identity.settings import IdentitySettings

REQUEST_ID_BYTES_MAX = 128
TEXT_CHARS_MAX = 500


class Decider:
    """The door's hand: one record of CONTROL per decision, whoever repeats it is told the same."""

    def __init__(
        self, jetstream: JetStreamContext, answers: Answers, settings: IdentitySettings
    ) -> None:
        self._jetstream = jetstream
        self._answers = answers
        self._settings = settings
        self._subject = subjects.control(settings.tenant, "identity")

    def record(self, request_id: str, actor: str, reason: str) -> identity.IdentityDecided:
        """A decision without what is decided; InvalidRequest."""
        faults = [
            (path, f"say {what}, in at most {TEXT_CHARS_MAX} characters")
            for path, text, what in (
                ("actor", actor, "who decides"),
                ("reason", reason, "why: the profile's history shows it"),
            )
            if not 0 < len(text) <= TEXT_CHARS_MAX
        ]
        if len(request_id.encode()) > REQUEST_ID_BYTES_MAX:
            faults.append(("request_id", f"at most {REQUEST_ID_BYTES_MAX} bytes"))
        if faults:
            raise InvalidRequest(faults)
        request_id = request_id or clock.new_id()
        high, low = prints.event_print(request_id, self._answers.print_key)
        return identity.IdentityDecided(
            request_id=request_id,
            actor=actor,
            reason=reason,
            decide_time_us=clock.wall_us(),
            print_high=high,
            print_low=low,
        )

    async def decide(self, record: identity.IdentityDecided, worker: Reached) -> None:
        """Returns once the core has taken it; NotReady when that is not known."""
        if self._answers.decided(record.request_id) is not None:
            return
        try:
            ack = await self._jetstream.publish(
                self._subject, record.SerializeToString(deterministic=True)
            )
        except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
            raise NotReady(
                f"it is not known whether the decision was stored ({error!r}); repeat with the "
                f"request id {record.request_id}"
            ) from None
        token = Origin(control=ack.seq).token()
        await worker.reflects(token, self._settings.at_least_wait_ms / 1_000)


def printed(one: Wanted) -> identity.PrintedIdentifier:
    return identity.PrintedIdentifier(
        kind=one.kind, value=one.value, print_high=one.high, print_low=one.low
    )


def printed_pair(answers: Answers, pair: Pair) -> identity.IdentifierPair:
    first, second = (printed(answers.wanted_of(identifier)) for identifier in pair)
    return identity.IdentifierPair(first=first, second=second)

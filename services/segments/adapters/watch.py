"""Transitions as they are committed, for whoever watches; resumes to the row.

A watch reads TRANSITIONS itself, so it sees what is in the log and nothing else. Its resume token
says how far it came: `t<sequence>.<rows>`, a place of the stream and rows of the message after it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import nats.errors
import numpy as np
from nats.aio.client import Client

from muster.segments.v1 import service_pb2 as api
from muster.types.v1 import common_pb2
from services.chassis import clock, subjects
from services.chassis.application import position_of
from services.chassis.errors import (
    ExitCode,
    InvalidRequest,
    NotFound,
    NotReady,
    OutOfRange,
    Overloaded,
    Stop,
)
from services.chassis.parking import timestamp
from services.chassis.pull import Pull, Pulled
from services.segments.adapters import wire
from services.segments.adapters.definitions import Definitions
from services.segments.adapters.names import print_text, profile_id_text, transition_id
from services.segments.settings import SegmentsSettings

READ_BYTES = 1 << 20
ROWS_PER_RESPONSE = 250
"""Few enough to be put together in a slice."""

_TOKEN = re.compile(r"t(\d{1,19})\.(\d{1,9})")


class Watches:
    """The watches of one process, at most `watches_max` at once."""

    def __init__(
        self, client: Client, definitions: Definitions, settings: SegmentsSettings
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._settings = settings
        self._subjects = [
            subjects.transitions(settings.tenant, partition)
            for partition in range(settings.partitions)
        ]
        self._heard: list[frozenset[str]] = []

    @property
    def open(self) -> int:
        """Watches that are open."""
        return len(self._heard)

    def hearing(self, segment_ids: set[str]) -> int:
        """Open watches of this process that hear of one of these segments; one that names none
        hears of all but shadows."""
        loud = segment_ids - self._definitions.shadows.keys()
        return sum(bool(named & segment_ids if named else loud) for named in self._heard)

    async def watch(
        self, request: api.WatchTransitionsRequest
    ) -> AsyncIterator[api.WatchTransitionsResponse]:
        """Responses from the resume token on (from now without one), until the caller leaves.

        The first one is empty and says where the watch begins. OutOfRange when the token is older
        than what the log keeps, NotFound for an unknown segment, Overloaded beyond `watches_max`.
        """
        if self.open >= self._settings.watches_max:
            raise Overloaded(f"{self.open} watches are open, the most there can be; try later", 5.0)
        heard = frozenset(request.segment_ids)
        self._heard.append(heard)
        try:
            numbers = await self._numbers_of(request)
            after, rows = await self._begin(request.resume_token)
            yield api.WatchTransitionsResponse(resume_token=_token(after, rows))
            async for response in self._read(after, rows, numbers):
                yield response
        finally:
            self._heard.remove(heard)

    async def _read(
        self, after: int, rows: int, numbers: np.ndarray | None
    ) -> AsyncIterator[api.WatchTransitionsResponse]:
        pull = Pull(self._client, subjects.TRANSITIONS, self._subjects, after)
        quiet_s = self._settings.watch_quiet_ms / 1_000
        told_s = clock.monotonic()
        try:
            while True:
                for pulled in await pull.take(READ_BYTES, quiet_s):
                    async for response in self._said(pulled, after, rows, numbers):
                        yield response
                        told_s = clock.monotonic()
                    after, rows = pulled.sequence, 0
                if clock.monotonic() - told_s >= quiet_s:
                    yield api.WatchTransitionsResponse(resume_token=_token(after, 0))
                    told_s = clock.monotonic()
        except Stop as stop:
            if stop.code is ExitCode.LOST:
                raise OutOfRange(str(stop)) from None
            raise NotReady(f"the watch broke off ({stop}); resume with the last token") from stop
        finally:
            await pull.close()

    async def _said(
        self, pulled: Pulled, after: int, skip: int, numbers: np.ndarray | None
    ) -> AsyncIterator[api.WatchTransitionsResponse]:
        columns = wire.transitions_of(pulled.body)
        number = columns["segment"]
        chosen = np.arange(len(number)) >= skip
        if numbers is not None:
            chosen &= np.isin(number, numbers)
        if not chosen.any():
            return
        if not set(np.unique(number[chosen]).tolist()) <= self._definitions.id_of.keys():
            await self._definitions.refresh()
        if numbers is None and self._definitions.shadows:
            chosen &= ~np.isin(number, list(self._definitions.shadows.values()))
        found = np.flatnonzero(chosen)
        if not len(found):
            return
        position = None
        if pulled.checkpoint is not None:
            position = position_of(pulled.checkpoint.origin, pulled.checkpoint.time_us)
        for start in range(0, len(found), ROWS_PER_RESPONSE):
            part = found[start : start + ROWS_PER_RESPONSE].tolist()
            last = start + ROWS_PER_RESPONSE >= len(found)
            token = _token(pulled.sequence, 0) if last else _token(after, part[-1] + 1)
            yield api.WatchTransitionsResponse(
                transitions=[self._transition(columns, row) for row in part],
                resume_token=token,
                position=position,
            )

    def _transition(self, columns: wire.Columns, row: int) -> api.Transition:
        segment_id = self._definitions.id_of[int(columns["segment"][row])]
        version, ordinal = int(columns["version"][row]), int(columns["ordinal"][row])
        public_id = int(columns["public_id"][row])
        cause = columns["cause_print"]
        entered = columns["entered"][row]
        direction = common_pb2.DIRECTION_ENTERED if entered else common_pb2.DIRECTION_LEFT
        return api.Transition(
            transition_id=transition_id(
                self._settings.tenant, segment_id, version, public_id, ordinal
            ),
            segment_id=segment_id,
            segment_version=version,
            profile_id=profile_id_text(public_id),
            direction=direction,
            reason=int(columns["reason"][row]),  # type: ignore[arg-type]
            at_time=timestamp(int(columns["at_us"][row])),
            ordinal=ordinal,
            cause=print_text(int(cause[2 * row]), int(cause[2 * row + 1])),
        )

    async def _numbers_of(self, request: api.WatchTransitionsRequest) -> np.ndarray | None:
        if not request.segment_ids:
            return None
        most = self._settings.watch_segments_max
        if len(request.segment_ids) > most:
            text = f"at most {most} segments; name none to watch all"
            raise InvalidRequest([("segment_ids", text)])
        await self._definitions.refresh()
        known = self._definitions.by_id
        missing = sorted(set(request.segment_ids) - known.keys())
        if missing:
            raise NotFound(
                f"no segment {', '.join(missing[:10])}; ListSegments shows what there is"
            )
        numbers = [known[name].definition.segment_number for name in request.segment_ids]
        return np.array(numbers, np.uint32)

    async def _begin(self, token: str) -> tuple[int, int]:
        """Sequence after which the watch reads, and rows of the next message to pass over."""
        try:
            jetstream = self._client.jetstream(timeout=5)
            state = (await jetstream.stream_info(subjects.TRANSITIONS)).state
        except nats.errors.Error as error:
            raise NotReady(f"TRANSITIONS does not answer ({type(error).__name__})") from error
        if not token:
            return state.last_seq, 0
        parsed = _TOKEN.fullmatch(token)
        if parsed is None or int(parsed[1]) > state.last_seq:
            text = "not a token of this log; hand back one from an earlier response, or none"
            raise InvalidRequest([("resume_token", text)])
        after, rows = int(parsed[1]), int(parsed[2])
        if after + 1 < state.first_seq:
            raise OutOfRange(
                f"the log begins at {state.first_seq}, the token stands at {after}: what lies "
                "between is no longer kept. Watch from now and read the members anew."
            )
        return after, rows


def _token(sequence: int, rows: int) -> str:
    return f"t{sequence}.{rows}"
